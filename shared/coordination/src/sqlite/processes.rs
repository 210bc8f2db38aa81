//! The commits of processes, and their ends.

use icepress_model::{MetadataLocation, ProcessId, ProcessOutcome, TimestampMs, WorkerId};

use super::{Result, store::SqliteStore};
use crate::{CancelOutcome, CommitClaim, transition};

impl SqliteStore {
    pub(super) async fn claim_process(
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

    pub(super) async fn prolong_commit(
        &self,
        claim: &CommitClaim,
        deadline: TimestampMs,
    ) -> Result<()> {
        let process = &claim.process.process;
        let mut transaction = self.file.begin().await?;
        let Some(row) = self.read_process(&mut transaction, process).await? else {
            return Err(transition::lost_commit(process, claim.claim));
        };
        let extended = transition::extend_commit(&row, claim.claim, deadline)?;
        self.write_process(&mut transaction, &extended).await?;
        self.file.commit(transaction).await
    }

    pub(super) async fn return_commit(
        &self,
        claim: &CommitClaim,
        look_at: TimestampMs,
    ) -> Result<()> {
        let process = &claim.process.process;
        let mut transaction = self.file.begin().await?;
        let Some(row) = self.read_process(&mut transaction, process).await? else {
            return Err(transition::lost_commit(process, claim.claim));
        };
        let Some(given_back) = transition::give_back_commit(&row, claim.claim)? else {
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

    pub(super) async fn finish_process(
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
        if let Some(freed) = freed {
            self.write_table(&mut transaction, &freed).await?;
        }
        self.file.commit(transaction).await
    }

    pub(super) async fn abandon_process(
        &self,
        process: &ProcessId,
        reason: &str,
    ) -> Result<CancelOutcome> {
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
