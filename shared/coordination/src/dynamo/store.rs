//! The port, each operation handed to the file that has it.

use std::time::Duration;

use async_trait::async_trait;
use icepress_model::{
    Attempt, BucketCount, BucketId, CatalogName, DatabaseId, Generation, MetadataLocation,
    ProcessId, ProcessOutcome, RewriteFailure, Scope, TableId, TaskId, TimestampMs, WorkerId,
};

use super::{DynamoStore, Result};
use crate::{
    Buckets, CancelOutcome, ClaimOutcome, CommitClaim, Component, Conclusion, Digest, Finding,
    Home, Layout, Lease, MarkOutcome, NewProcess, NewTask, Payload, ProcessRow, ReportOutcome,
    RunningVersion, StartOutcome, StateStore, TableRow, TablesPage, TaskRow,
    limits::{Blocker, QuotaRow, Usage},
};

#[async_trait]
impl StateStore for DynamoStore {
    async fn layout(&self) -> Result<Option<Layout>> {
        Ok(self.read_layout().await?.row)
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
        self.list_buckets(first).await
    }

    async fn take_lease(
        &self,
        bucket: BucketId,
        owner: &WorkerId,
        now: TimestampMs,
        ttl: Duration,
        guard: Duration,
    ) -> Result<Option<Lease>> {
        self.take(bucket, owner, now, ttl, guard).await
    }

    async fn renew_lease(&self, lease: &Lease, now: TimestampMs, ttl: Duration) -> Result<Lease> {
        self.renew(lease, now, ttl).await
    }

    async fn release_lease(&self, lease: &Lease, swept_at: Option<TimestampMs>) -> Result<()> {
        self.release(lease, swept_at).await
    }

    async fn digest(&self, database: &DatabaseId) -> Result<Digest> {
        self.read_digest(database).await
    }

    async fn put_digest(
        &self,
        lease: &Lease,
        layout: Generation,
        database: &DatabaseId,
        digest: &Digest,
    ) -> Result<()> {
        self.write_digest(lease, layout, database, digest).await
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
        self.list_due(bucket, now, limit).await
    }

    async fn next_due(&self, bucket: BucketId) -> Result<Option<TimestampMs>> {
        self.earliest_due(bucket).await
    }

    async fn table(&self, table: &TableId) -> Result<Option<TableRow>> {
        Ok(self.read_table(table).await?.row)
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
        self.write_conclusion(lease, seen, conclusion).await
    }

    async fn forget_table(&self, lease: &Lease, seen: &TableRow) -> Result<bool> {
        self.remove_table(lease, seen).await
    }

    async fn start_process(
        &self,
        lease: &Lease,
        seen: &TableRow,
        process: &NewProcess,
        tasks: &[NewTask],
    ) -> Result<StartOutcome> {
        self.begin_process(lease, seen, process, tasks).await
    }

    async fn process(&self, process: &ProcessId) -> Result<Option<ProcessRow>> {
        Ok(self.read_process(process).await?.row)
    }

    async fn processes_of(&self, table: &TableId, limit: usize) -> Result<Vec<ProcessRow>> {
        self.list_processes(table, limit).await
    }

    async fn tasks(&self, process: &ProcessId) -> Result<Vec<TaskRow>> {
        self.list_tasks(process).await
    }

    async fn note_sent(&self, task: &TaskId, now: TimestampMs) -> Result<()> {
        self.write_sent(task, now).await
    }

    async fn claim_task(
        &self,
        task: &TaskId,
        worker: &WorkerId,
        now: TimestampMs,
        deadline: TimestampMs,
    ) -> Result<ClaimOutcome> {
        self.claim(task, worker, now, deadline).await
    }

    async fn extend_claim(
        &self,
        task: &TaskId,
        attempt: Attempt,
        deadline: TimestampMs,
    ) -> Result<()> {
        self.extend(task, attempt, deadline).await
    }

    async fn report_task(
        &self,
        task: &TaskId,
        attempt: Attempt,
        result: std::result::Result<Payload, RewriteFailure>,
    ) -> Result<ReportOutcome> {
        self.report(task, attempt, &result).await
    }

    async fn return_task(&self, task: &TaskId, attempt: Attempt) -> Result<ReportOutcome> {
        self.give_back(task, attempt).await
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
        let mut rows = Vec::with_capacity(scopes.len());
        for scope in scopes {
            rows.push(self.read_quota(scope).await?.row);
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
        self.findings().await
    }
}
