//! The state store in the SQLite file. What an operation makes of a row stands in `transition`.

use std::time::Duration;

use async_trait::async_trait;
use futures::TryStreamExt as _;
use icepress_model::{
    Attempt, BucketCount, BucketId, CatalogName, DatabaseId, Epoch, Generation, MetadataLocation,
    ProcessId, ProcessOutcome, RewriteFailure, Scope, TableId, TaskId, TimestampMs, WorkerId,
};
use sqlx::{Sqlite, SqliteConnection, Transaction, pool::PoolConnection, sqlite::SqliteRow};

use super::{Result, SqliteFile};
use crate::{
    BucketRow, Buckets, CancelOutcome, ClaimOutcome, CommitClaim, Component, Conclusion,
    CoordinationError, Digest, Finding, Home, Layout, Lease, MarkOutcome, NewProcess, NewTask,
    Payload, ProcessRow, ReportOutcome, RunningVersion, StartOutcome, StateStore, TableRow,
    TablesPage, TaskRow, encoding, key,
    limits::{Blocker, QuotaRow, Usage},
    transition,
};

/// Leases, digests, tables, processes and tasks, in the state file.
#[derive(Debug, Clone)]
pub struct SqliteStore {
    pub(super) file: SqliteFile,
}

type Write = Transaction<'static, Sqlite>;

impl SqliteStore {
    pub(super) fn new(file: SqliteFile) -> Self {
        Self { file }
    }

    async fn reader(&self) -> Result<PoolConnection<Sqlite>> {
        self.file
            .readers
            .acquire()
            .await
            .map_err(|error| self.file.failed("no connection", error))
    }

    /// The table's row, without a process whose own row is gone.
    async fn read_table_to_plan(
        &self,
        on: &mut SqliteConnection,
        table: &TableId,
    ) -> Result<Option<TableRow>> {
        let Some(row) = self.read_table(on, table).await? else {
            return Ok(None);
        };
        if let Some(process) = &row.active_process
            && self.read_process(on, process).await?.is_none()
        {
            return Ok(Some(transition::without_lost_process(&row)));
        }
        Ok(Some(row))
    }

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

    async fn mark(
        &self,
        home: Home,
        table: &TableId,
        location: Option<&MetadataLocation>,
        due_at: TimestampMs,
    ) -> Result<MarkOutcome> {
        let mut transaction = self.file.begin().await?;
        let row = self.read_table(&mut transaction, table).await?;
        let Some(marked) = transition::mark(row.as_ref(), home, table, location, due_at) else {
            return Ok(MarkOutcome::AlreadyKnown);
        };
        self.write_table(&mut transaction, &marked).await?;
        self.file.commit(transaction).await?;
        Ok(MarkOutcome::Marked)
    }

    pub(super) fn decode_tables(row: &SqliteRow) -> Result<TableRow> {
        use crate::encoding::Fields as _;
        encoding::decode_table(row).map_err(|message| CoordinationError::UnreadableRow {
            row: format!(
                "table {}",
                row.text("table_id").ok().flatten().unwrap_or_default()
            ),
            message,
        })
    }
}

#[async_trait]
impl StateStore for SqliteStore {
    async fn layout(&self) -> Result<Option<Layout>> {
        let mut reader = self.reader().await?;
        self.read_layout(&mut reader).await
    }

    async fn found_layout(&self, buckets: BucketCount) -> Result<Layout> {
        self.found(buckets).await
    }

    async fn resize(&self, buckets: BucketCount, now: TimestampMs) -> Result<Layout> {
        self.lay_out_anew(buckets, now).await
    }

    async fn settle_layout(&self, generation: Generation) -> Result<bool> {
        self.settle(generation).await
    }

    async fn rehome(&self, table: &TableId, home: Home) -> Result<bool> {
        self.move_table(table, home).await
    }

    async fn buckets(&self, first: BucketCount) -> Result<Buckets> {
        let layout = self.layout().await?;
        let count = layout.map_or(first, |layout| layout.swept());
        let rows = sqlx::query("SELECT * FROM bucket WHERE bucket < ?")
            .bind(count.0.get())
            .fetch_all(&self.file.readers)
            .await
            .map_err(|error| self.file.failed("buckets could not be read", error))?;
        let mut buckets: Vec<Option<BucketRow>> = count
            .all()
            .map(|bucket| Some(BucketRow::never_leased(bucket)))
            .collect();
        for row in rows {
            use sqlx::Row as _;
            let number: u32 = row
                .try_get("bucket")
                .map_err(|error| self.file.failed("buckets could not be read", error))?;
            buckets[number as usize] = match encoding::decode_bucket(BucketId(number), &row) {
                Ok(bucket) => Some(bucket),
                Err(message) => {
                    tracing::error!(bucket = number, message, "left out an unreadable bucket");
                    None
                }
            };
        }
        Ok(Buckets {
            layout,
            rows: buckets.into_iter().flatten().collect(),
        })
    }

    async fn take_lease(
        &self,
        bucket: BucketId,
        owner: &WorkerId,
        now: TimestampMs,
        ttl: Duration,
        guard: Duration,
    ) -> Result<Option<Lease>> {
        let mut transaction = self.file.begin().await?;
        let before = self
            .read_bucket(&mut transaction, bucket)
            .await?
            .unwrap_or_else(|| BucketRow::never_leased(bucket));
        let Some(after) = transition::take_lease(&before, owner, now, ttl, guard) else {
            return Ok(None);
        };
        self.write_bucket(&mut transaction, &after).await?;
        self.file.commit(transaction).await?;
        Ok(Some(Lease {
            bucket,
            owner: owner.clone(),
            epoch: after.epoch,
            expires_at: after.expires_at,
        }))
    }

    async fn renew_lease(&self, lease: &Lease, now: TimestampMs, ttl: Duration) -> Result<Lease> {
        let mut transaction = self.file.begin().await?;
        let before = self.leased(&mut transaction, lease).await?;
        let after = transition::renew_lease(&before, lease, now, ttl)?;
        self.write_bucket(&mut transaction, &after).await?;
        self.file.commit(transaction).await?;
        Ok(Lease {
            expires_at: after.expires_at,
            ..lease.clone()
        })
    }

    async fn release_lease(&self, lease: &Lease, swept_at: Option<TimestampMs>) -> Result<()> {
        let mut transaction = self.file.begin().await?;
        let before = self
            .read_bucket(&mut transaction, lease.bucket)
            .await?
            .unwrap_or_else(|| BucketRow::never_leased(lease.bucket));
        let Some(after) = transition::release_lease(&before, lease, swept_at)? else {
            return Ok(());
        };
        self.write_bucket(&mut transaction, &after).await?;
        self.file.commit(transaction).await
    }

    async fn digest(&self, database: &DatabaseId) -> Result<Digest> {
        let digest: Option<Vec<u8>> =
            sqlx::query_scalar("SELECT digest FROM digest WHERE database = ?")
                .bind(key::of_database(database))
                .fetch_optional(&self.file.readers)
                .await
                .map_err(|error| self.file.failed("a digest could not be read", error))?;
        Ok(Digest(digest.unwrap_or_default()))
    }

    async fn put_digest(
        &self,
        lease: &Lease,
        layout: Generation,
        database: &DatabaseId,
        digest: &Digest,
    ) -> Result<()> {
        let mut transaction = self.file.begin().await?;
        let bucket = self.read_bucket(&mut transaction, lease.bucket).await?;
        let bucket = bucket.unwrap_or_else(|| BucketRow::never_leased(lease.bucket));
        let stands = self.read_layout(&mut transaction).await?;
        let written: Option<(i64, i64)> =
            sqlx::query_as("SELECT layout, epoch FROM digest WHERE database = ?")
                .bind(key::of_database(database))
                .fetch_optional(&mut *transaction)
                .await
                .map_err(|error| self.file.failed("a digest could not be read", error))?;
        let number = |stored| u64::try_from(stored).unwrap_or(0);
        let written =
            written.map(|(layout, epoch)| (Generation(number(layout)), Epoch(number(epoch))));
        transition::check_digest(&bucket, lease, layout, stands.as_ref(), written)?;
        sqlx::query(
            "INSERT OR REPLACE INTO digest (database, layout, epoch, digest) VALUES (?, ?, ?, ?)",
        )
        .bind(key::of_database(database))
        .bind(encoding::signed(layout.get()))
        .bind(encoding::signed(lease.epoch.get()))
        .bind(&digest.0)
        .execute(&mut *transaction)
        .await
        .map_err(|error| self.file.failed("a digest could not be written", error))?;
        self.file.commit(transaction).await
    }

    async fn mark_due(
        &self,
        home: Home,
        table: &TableId,
        location: &MetadataLocation,
        due_at: TimestampMs,
    ) -> Result<MarkOutcome> {
        self.mark(home, table, Some(location), due_at).await
    }

    async fn force_due(&self, home: Home, table: &TableId, due_at: TimestampMs) -> Result<()> {
        self.mark(home, table, None, due_at).await?;
        Ok(())
    }

    async fn due_tables(
        &self,
        bucket: BucketId,
        now: TimestampMs,
        limit: usize,
    ) -> Result<Vec<Result<TableRow>>> {
        let mut rows = sqlx::query(
            "SELECT * FROM table_state WHERE bucket = ? AND due_at <= ? ORDER BY due_at, table_id",
        )
        .bind(bucket.0)
        .bind(now.get())
        .fetch(&self.file.readers);
        let mut tables = Vec::new();
        let mut readable = 0;
        while readable < limit {
            let row = rows
                .try_next()
                .await
                .map_err(|error| self.file.failed("due tables could not be read", error))?;
            let Some(row) = row else { break };
            let table = Self::decode_tables(&row);
            readable += usize::from(table.is_ok());
            tables.push(table);
        }
        Ok(tables)
    }

    async fn next_due(&self, bucket: BucketId) -> Result<Option<TimestampMs>> {
        let due_at: Option<i64> =
            sqlx::query_scalar("SELECT min(due_at) FROM table_state WHERE bucket = ?")
                .bind(bucket.0)
                .fetch_one(&self.file.readers)
                .await
                .map_err(|error| self.file.failed("due tables could not be read", error))?;
        Ok(due_at.map(TimestampMs))
    }

    async fn table(&self, table: &TableId) -> Result<Option<TableRow>> {
        let mut reader = self.reader().await?;
        self.read_table(&mut reader, table).await
    }

    async fn tables_page(&self, from: Option<&str>) -> Result<TablesPage> {
        self.page_of_tables(from).await
    }

    async fn conclude(
        &self,
        lease: &Lease,
        seen: &TableRow,
        conclusion: &Conclusion,
    ) -> Result<()> {
        let mut transaction = self.file.begin().await?;
        self.leased(&mut transaction, lease).await?;
        let row = self
            .read_table_to_plan(&mut transaction, &seen.table)
            .await?;
        let concluded = transition::conclude(row.as_ref(), lease, seen, conclusion)?;
        self.write_table(&mut transaction, &concluded).await?;
        self.file.commit(transaction).await
    }

    async fn forget_table(&self, lease: &Lease, seen: &TableRow) -> Result<bool> {
        let table = &seen.table;
        let mut transaction = self.file.begin().await?;
        self.leased(&mut transaction, lease).await?;
        let row = self.read_table_to_plan(&mut transaction, table).await?;
        let Some(row) = row else { return Ok(true) };
        if !transition::may_forget(&row, lease, seen)? {
            return Ok(false);
        }
        sqlx::query("DELETE FROM table_state WHERE table_id = ?")
            .bind(key::of_table(table))
            .execute(&mut *transaction)
            .await
            .map_err(|error| {
                self.file
                    .failed("a table's state could not be removed", error)
            })?;
        self.file.commit(transaction).await?;
        Ok(true)
    }

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

    async fn tasks(&self, process: &ProcessId) -> Result<Vec<TaskRow>> {
        let rows = sqlx::query("SELECT * FROM task WHERE process = ? ORDER BY task_index")
            .bind(process.as_str())
            .fetch_all(&self.file.readers)
            .await
            .map_err(|error| self.file.failed("tasks could not be read", error))?;
        rows.iter()
            .map(encoding::decode_task)
            .collect::<std::result::Result<_, _>>()
            .map_err(Self::unreadable(format!("a task of process {process}")))
    }

    async fn note_sent(&self, task: &TaskId, now: TimestampMs) -> Result<()> {
        sqlx::query("UPDATE task SET sent_at = ? WHERE process = ? AND task_index = ?")
            .bind(now.get())
            .bind(task.process.as_str())
            .bind(task.index)
            .execute(&self.file.writer)
            .await
            .map_err(|error| self.file.failed("a task could not be written", error))?;
        Ok(())
    }

    async fn claim_task(
        &self,
        task: &TaskId,
        worker: &WorkerId,
        now: TimestampMs,
        deadline: TimestampMs,
    ) -> Result<ClaimOutcome> {
        let mut transaction = self.file.begin().await?;
        let Some(row) = self.read_task(&mut transaction, task).await? else {
            return Ok(ClaimOutcome::Gone);
        };
        let process = self.read_process(&mut transaction, &task.process).await?;
        match transition::claim_task(&row, process.as_ref(), worker, now, deadline) {
            transition::Claim::Free(claimed) => {
                self.write_task(&mut transaction, &claimed).await?;
                self.file.commit(transaction).await?;
                Ok(ClaimOutcome::Claimed(claimed))
            }
            transition::Claim::Not(outcome) => Ok(outcome),
        }
    }

    async fn extend_claim(
        &self,
        task: &TaskId,
        attempt: Attempt,
        deadline: TimestampMs,
    ) -> Result<()> {
        let mut transaction = self.file.begin().await?;
        let row = self.read_task(&mut transaction, task).await?;
        let Some(row) = row else {
            return Err(transition::lost_task(task, attempt));
        };
        let extended = transition::extend_claim(&row, attempt, deadline)?;
        self.write_task(&mut transaction, &extended).await?;
        self.file.commit(transaction).await
    }

    async fn report_task(
        &self,
        task: &TaskId,
        attempt: Attempt,
        result: std::result::Result<Payload, RewriteFailure>,
    ) -> Result<ReportOutcome> {
        let mut transaction = self.file.begin().await?;
        let Some(row) = self.read_task(&mut transaction, task).await? else {
            return Ok(ReportOutcome::Stale);
        };
        let process = self.read_process(&mut transaction, &task.process).await?;
        let Some(process) = process.filter(|process| !process.has_ended()) else {
            return Ok(ReportOutcome::Stale);
        };
        let Some(reported) = transition::report(&row, attempt, &result) else {
            return Ok(ReportOutcome::Stale);
        };
        let counted = transition::count_down(&process);
        self.write_task(&mut transaction, &reported).await?;
        self.write_process(&mut transaction, &counted).await?;
        self.file.commit(transaction).await?;
        Ok(ReportOutcome::Accepted {
            open_tasks: counted.open_tasks,
        })
    }

    async fn return_task(&self, task: &TaskId, attempt: Attempt) -> Result<ReportOutcome> {
        let mut transaction = self.file.begin().await?;
        let row = self.read_task(&mut transaction, task).await?;
        let process = self.read_process(&mut transaction, &task.process).await?;
        let (Some(row), Some(process)) = (row, process.filter(|process| !process.has_ended()))
        else {
            return Ok(ReportOutcome::Stale);
        };
        match transition::return_task(&row, attempt) {
            transition::Return::Stale => return Ok(ReportOutcome::Stale),
            transition::Return::Already => {}
            transition::Return::Queued(returned) => {
                self.write_task(&mut transaction, &returned).await?;
                self.file.commit(transaction).await?;
            }
        }
        Ok(ReportOutcome::Accepted {
            open_tasks: process.open_tasks,
        })
    }

    async fn claim_commit(
        &self,
        process: &ProcessId,
        worker: &WorkerId,
        now: TimestampMs,
        deadline: TimestampMs,
    ) -> Result<Option<CommitClaim>> {
        self.claim_process(process, worker, now, deadline).await
    }

    async fn extend_commit(&self, claim: &CommitClaim, deadline: TimestampMs) -> Result<()> {
        self.prolong_commit(claim, deadline).await
    }

    async fn give_back_commit(&self, claim: &CommitClaim, look_at: TimestampMs) -> Result<()> {
        self.return_commit(claim, look_at).await
    }

    async fn end_process(
        &self,
        claim: &CommitClaim,
        outcome: &ProcessOutcome,
        committed_location: Option<&MetadataLocation>,
        next_due_at: Option<TimestampMs>,
        failures: u32,
    ) -> Result<()> {
        self.finish_process(claim, outcome, committed_location, next_due_at, failures)
            .await
    }

    async fn cancel_process(&self, process: &ProcessId, reason: &str) -> Result<CancelOutcome> {
        self.abandon_process(process, reason).await
    }

    async fn block(&self, blocker: &Blocker) -> Result<()> {
        self.write_blocker(blocker).await
    }

    async fn unblock(&self, scope: &Scope, owner: &str) -> Result<bool> {
        self.remove_blocker(scope, owner).await
    }

    async fn blockers(&self, catalog: &CatalogName) -> Result<Vec<Blocker>> {
        self.list_blockers(catalog).await
    }

    async fn quotas(&self, scopes: &[Scope]) -> Result<Vec<QuotaRow>> {
        let mut reader = self
            .file
            .readers
            .acquire()
            .await
            .map_err(|error| self.file.failed("no connection", error))?;
        let mut rows = Vec::with_capacity(scopes.len());
        for scope in scopes {
            rows.push(self.read_quota(&mut reader, scope).await?);
        }
        Ok(rows)
    }

    async fn correct_usage(&self, process: &ProcessId, usage: Usage) -> Result<()> {
        self.write_usage(process, usage).await
    }

    async fn free_reservation(&self, scope: &Scope, process: &ProcessId) -> Result<bool> {
        self.free(scope, process).await
    }

    async fn note_version(
        &self,
        component: Component,
        version: &str,
        now: TimestampMs,
    ) -> Result<()> {
        self.write_version(component, version, now).await
    }

    async fn versions(&self, now: TimestampMs) -> Result<Vec<RunningVersion>> {
        self.list_versions(now).await
    }

    async fn examine(&self) -> Vec<Finding> {
        self.file.findings().await
    }
}
