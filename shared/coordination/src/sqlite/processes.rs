//! Processes in the state file: their start, their commits, and their ends.

use async_trait::async_trait;
use icepress_model::{MetadataLocation, ProcessId, ProcessOutcome, TableId, TimestampMs, WorkerId};

use super::{
    Result,
    store::{SqliteStore, Write},
};
use crate::{
    CancelOutcome, CommitClaim, GivenBack, Lease, NewProcess, NewTask, ProcessRow, ProcessStore,
    StartOutcome, TableRow, encoding, key, transition,
};

impl SqliteStore {
    /// Removes processes that ended and are older than the retention, a few at a time.
    async fn remove_old_processes(&self, on: &mut Write, now: TimestampMs) -> Result<()> {
        sqlx::query(
            "DELETE FROM process WHERE process IN
                 (SELECT process FROM process WHERE state = 'ended' AND created_at < ? LIMIT 10)",
        )
        .bind((now - self.file.options.retention).get())
        .execute(&mut **on)
        .await
        .map_err(|error| {
            self.file
                .failed("old processes could not be removed", error)
        })?;
        Ok(())
    }
}

#[async_trait]
impl ProcessStore for SqliteStore {
    async fn start_process(
        &self,
        lease: &Lease,
        seen: &TableRow,
        process: &NewProcess,
        tasks: &[NewTask],
    ) -> Result<StartOutcome> {
        let mut transaction = self.file.begin().await?;
        self.leased(&mut transaction, lease).await?;
        let row = self
            .read_table_to_plan(&mut transaction, &process.table)
            .await?;
        if let Some(active) = row.as_ref().and_then(|row| row.active_process.clone()) {
            return Ok(if active == process.process {
                StartOutcome::Started
            } else {
                StartOutcome::AlreadyActive(active)
            });
        }
        let started = transition::start(row.as_ref(), lease, seen, process)?;
        self.write_table(&mut transaction, &started).await?;
        let process_row = transition::new_process(lease, process, tasks);
        self.write_process(&mut transaction, &process_row).await?;
        if let Some(shortage) = self.reserve(&mut transaction, process).await? {
            return Ok(StartOutcome::OverQuota(shortage));
        }
        for task in transition::new_tasks(&process_row, tasks) {
            self.write_task(&mut transaction, &task).await?;
        }
        self.remove_old_processes(&mut transaction, process.created_at)
            .await?;
        self.file.commit(transaction).await?;
        Ok(StartOutcome::Started)
    }

    async fn process(&self, process: &ProcessId) -> Result<Option<ProcessRow>> {
        let mut reader = self.reader().await?;
        self.read_process(&mut reader, process).await
    }

    async fn processes_of(&self, table: &TableId, limit: usize) -> Result<Vec<ProcessRow>> {
        let rows = sqlx::query(
            "SELECT * FROM process WHERE table_id = ? ORDER BY created_at DESC, process DESC LIMIT ?",
        )
        .bind(key::of_table(table))
        .bind(i64::try_from(limit).unwrap_or(i64::MAX))
        .fetch_all(&self.file.readers)
        .await
        .map_err(|error| self.file.failed("processes could not be read", error))?;
        Ok(rows
            .iter()
            .filter_map(|row| match encoding::decode_process(row) {
                Ok(process) => Some(process),
                Err(message) => {
                    tracing::error!(%table, message, "left out an unreadable process");
                    None
                }
            })
            .collect())
    }

    async fn claim_commit(
        &self,
        process: &ProcessId,
        worker: &WorkerId,
        now: TimestampMs,
        deadline: TimestampMs,
    ) -> Result<Option<CommitClaim>> {
        let mut transaction = self.file.begin().await?;
        let Some(row) = self.read_process(&mut transaction, process).await? else {
            return Ok(None);
        };
        let Some(claimed) = transition::claim_commit(&row, worker, now, deadline) else {
            return Ok(None);
        };
        self.write_process(&mut transaction, &claimed).await?;
        self.file.commit(transaction).await?;
        Ok(Some(CommitClaim {
            claim: claimed.commit_claims,
            process: claimed,
        }))
    }

    async fn extend_commit(&self, claim: &CommitClaim, deadline: TimestampMs) -> Result<()> {
        let process = &claim.process.process;
        let mut transaction = self.file.begin().await?;
        let Some(row) = self.read_process(&mut transaction, process).await? else {
            return Err(transition::lost_commit(process, claim.claim));
        };
        let extended = transition::extend_commit(&row, claim.claim, deadline)?;
        self.write_process(&mut transaction, &extended).await?;
        self.file.commit(transaction).await
    }

    async fn give_back_commit(
        &self,
        claim: &CommitClaim,
        why: GivenBack,
        look_at: TimestampMs,
    ) -> Result<()> {
        let process = &claim.process.process;
        let mut transaction = self.file.begin().await?;
        let Some(row) = self.read_process(&mut transaction, process).await? else {
            return Err(transition::lost_commit(process, claim.claim));
        };
        let Some(given_back) = transition::give_back_commit(&row, claim.claim, why)? else {
            return Ok(());
        };
        self.write_process(&mut transaction, &given_back).await?;
        let table = self.read_table(&mut transaction, &row.table).await?;
        let sooner = table.and_then(|table| transition::look_sooner(&table, process, look_at));
        if let Some(sooner) = sooner {
            self.write_table(&mut transaction, &sooner).await?;
        }
        self.file.commit(transaction).await
    }

    async fn end_process(
        &self,
        claim: &CommitClaim,
        outcome: &ProcessOutcome,
        committed_location: Option<&MetadataLocation>,
        next_due_at: Option<TimestampMs>,
        failures: u32,
    ) -> Result<()> {
        let process = &claim.process;
        let mut transaction = self.file.begin().await?;
        let row = self
            .read_process(&mut transaction, &process.process)
            .await?;
        let Some(ended) = transition::end(row.as_ref(), &process.process, claim.claim, outcome)?
        else {
            return Ok(());
        };
        self.write_process(&mut transaction, &ended).await?;
        self.release(&mut transaction, &ended).await?;
        let table = self.read_table(&mut transaction, &ended.table).await?;
        let freed = table.and_then(|table| {
            transition::free(
                &table,
                &ended.process,
                committed_location,
                next_due_at,
                failures,
            )
        });
        let freed = freed.map(|row| transition::with_ending(row, outcome));
        if let Some(freed) = freed {
            self.write_table(&mut transaction, &freed).await?;
        }
        self.file.commit(transaction).await
    }

    async fn cancel_process(&self, process: &ProcessId, reason: &str) -> Result<CancelOutcome> {
        let mut transaction = self.file.begin().await?;
        let Some(row) = self.read_process(&mut transaction, process).await? else {
            return Ok(CancelOutcome::Unknown);
        };
        let ended = match transition::cancel(&row, reason) {
            transition::Cancel::Not(outcome) => return Ok(outcome),
            transition::Cancel::Ended(ended) => ended,
        };
        self.write_process(&mut transaction, &ended).await?;
        self.release(&mut transaction, &ended).await?;
        let table = self.read_table(&mut transaction, &ended.table).await?;
        let freed =
            table.and_then(|table| transition::free(&table, process, None, None, table.failures));
        if let Some(freed) = freed {
            self.write_table(&mut transaction, &freed).await?;
        }
        self.file.commit(transaction).await?;
        Ok(CancelOutcome::Cancelled)
    }
}
