//! A state store that goes away for good at a chosen write, as the store of a worker that is killed does; or in which
//! something else happens just before that write. It counts the rows of tables that are listed.

use std::{
    fmt::Debug,
    sync::{
        Arc,
        atomic::{AtomicI64, AtomicU64, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use futures::{FutureExt as _, future::BoxFuture};
use icepress_coordination::{
    Buckets, CancelOutcome, CensusRecord, ClaimOutcome, CommitClaim, Component, Conclusion,
    CoordinationError, Digest, DigestStore, Examine, Finding, GivenBack, Home, KeyRange, Layout,
    LayoutStore, Lease, LeaseStore, LimitStore, MarkOutcome, NewProcess, NewTask, PartPage,
    Payload, ProcessRow, ProcessStore, ReportOutcome, RunningVersion, Search, StartOutcome,
    StateStore, TableRow, TableStore, TablesPage, TaskRow, TaskStore, VersionStore,
    limits::{Blocker, QuotaRow, Usage},
};
use icepress_model::{
    Attempt, BucketCount, BucketId, CatalogName, DatabaseId, Generation, MetadataLocation,
    ProcessId, ProcessOutcome, RewriteFailure, Scope, TableId, TaskId, TimestampMs, WorkerId,
};

type Result<T> = std::result::Result<T, CoordinationError>;

/// Passes everything on until the chosen write.
#[derive(Debug)]
pub struct DyingStore {
    inner: Arc<dyn StateStore>,
    /// Writes that are passed on before.
    left: AtomicI64,
    then: Then,
    /// Rows of tables that were listed, of whatever list.
    listed: AtomicU64,
}

/// What somebody else does in between.
type Deed = Box<dyn Fn() -> BoxFuture<'static, ()> + Send + Sync>;

/// What the chosen write meets.
enum Then {
    /// The end: from then on nothing is passed on. Whether the write at which it dies takes effect.
    Dies { last_acts: bool },
    /// Somebody else's deed; everything is passed on afterwards, this write too.
    Follows(Deed),
    /// A store that asks for fewer requests: so many times.
    Refused { times: i64 },
}

impl Debug for Then {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Dies { last_acts } => write!(f, "dies, acting: {last_acts}"),
            Self::Follows(_) => f.write_str("goes on after somebody else"),
            Self::Refused { times } => write!(f, "is refused {times} times"),
        }
    }
}

impl DyingStore {
    /// Around `inner`, dead after `writes` writes: the next one is lost before it acts, or after.
    pub fn around(inner: Arc<dyn StateStore>, writes: u32, last_acts: bool) -> Arc<Self> {
        Arc::new(Self {
            inner,
            left: AtomicI64::new(i64::from(writes)),
            then: Then::Dies { last_acts },
            listed: AtomicU64::new(0),
        })
    }

    /// Around `inner`; after `writes` writes, before the next one, somebody else does `deed`.
    pub fn interrupted<F: Future<Output = ()> + Send + 'static>(
        inner: Arc<dyn StateStore>,
        writes: u32,
        deed: impl Fn() -> F + Send + Sync + 'static,
    ) -> Arc<Self> {
        Arc::new(Self {
            inner,
            left: AtomicI64::new(i64::from(writes)),
            then: Then::Follows(Box::new(move || deed().boxed())),
            listed: AtomicU64::new(0),
        })
    }

    /// Around `inner`, which after `writes` writes asks for fewer requests, so many times.
    pub fn throttled(inner: Arc<dyn StateStore>, writes: u32, times: u32) -> Arc<Self> {
        Arc::new(Self {
            inner,
            left: AtomicI64::new(i64::from(writes)),
            then: Then::Refused {
                times: i64::from(times),
            },
            listed: AtomicU64::new(0),
        })
    }

    /// Around `inner`, of which nothing becomes.
    pub fn watching(inner: Arc<dyn StateStore>) -> Arc<Self> {
        Self::around(inner, u32::MAX, true)
    }

    /// How many rows of tables were listed since the last call.
    pub fn rows_listed(&self) -> u64 {
        self.listed.swap(0, Ordering::SeqCst)
    }

    fn count<T>(&self, rows: &[T]) {
        self.listed.fetch_add(rows.len() as u64, Ordering::SeqCst);
    }

    /// Whether the chosen write was reached.
    pub fn was_reached(&self) -> bool {
        self.left.load(Ordering::SeqCst) < 0
    }

    /// Whether it has died.
    pub fn is_dead(&self) -> bool {
        self.was_reached() && matches!(self.then, Then::Dies { .. })
    }

    async fn write<T>(&self, act: impl Future<Output = Result<T>> + Send) -> Result<T> {
        match (self.left.fetch_sub(1, Ordering::SeqCst), &self.then) {
            (left, _) if left > 0 => act.await,
            (0, Then::Dies { last_acts: true }) => {
                act.await?;
                Err(dead())
            }
            (_, Then::Dies { .. }) => Err(dead()),
            (left, Then::Refused { times }) if -left < *times => {
                Err(CoordinationError::Throttled {
                    store: "the store".to_owned(),
                    message: "too many writes".to_owned(),
                })
            }
            (_, Then::Refused { .. }) => act.await,
            (left, Then::Follows(deed)) => {
                if left == 0 {
                    deed().await;
                }
                act.await
            }
        }
    }

    async fn read<T>(&self, act: impl Future<Output = Result<T>> + Send) -> Result<T> {
        if self.is_dead() {
            return Err(dead());
        }
        act.await
    }
}

fn dead() -> CoordinationError {
    CoordinationError::Unavailable {
        store: "the store".to_owned(),
        message: "its worker was killed".to_owned(),
        source: None,
    }
}

#[async_trait]
impl LayoutStore for DyingStore {
    async fn layout(&self) -> Result<Option<Layout>> {
        self.read(self.inner.layout()).await
    }

    async fn found_layout(&self, buckets: BucketCount) -> Result<Layout> {
        self.write(self.inner.found_layout(buckets)).await
    }

    async fn resize(&self, buckets: BucketCount, now: TimestampMs) -> Result<Layout> {
        self.write(self.inner.resize(buckets, now)).await
    }

    async fn settle_layout(&self, generation: Generation) -> Result<bool> {
        self.write(self.inner.settle_layout(generation)).await
    }

    async fn rehome(&self, table: &TableId, home: Home) -> Result<bool> {
        self.write(self.inner.rehome(table, home)).await
    }
}

#[async_trait]
impl LeaseStore for DyingStore {
    async fn buckets(&self, first: BucketCount) -> Result<Buckets> {
        self.read(self.inner.buckets(first)).await
    }

    async fn take_lease(
        &self,
        bucket: BucketId,
        owner: &WorkerId,
        now: TimestampMs,
        ttl: Duration,
        guard: Duration,
    ) -> Result<Option<Lease>> {
        self.write(self.inner.take_lease(bucket, owner, now, ttl, guard))
            .await
    }

    async fn renew_lease(&self, lease: &Lease, now: TimestampMs, ttl: Duration) -> Result<Lease> {
        self.write(self.inner.renew_lease(lease, now, ttl)).await
    }

    async fn release_lease(&self, lease: &Lease, swept_at: Option<TimestampMs>) -> Result<()> {
        self.write(self.inner.release_lease(lease, swept_at)).await
    }
}

#[async_trait]
impl DigestStore for DyingStore {
    async fn census_record(&self, database: &DatabaseId, record: CensusRecord) -> Result<Digest> {
        self.read(self.inner.census_record(database, record)).await
    }

    async fn put_census_record(
        &self,
        lease: &Lease,
        layout: Generation,
        database: &DatabaseId,
        record: CensusRecord,
        content: &Digest,
    ) -> Result<()> {
        let store = &self.inner;
        let put = store.put_census_record(lease, layout, database, record, content);
        self.write(put).await
    }
}

#[async_trait]
impl TableStore for DyingStore {
    async fn mark_due(
        &self,
        home: Home,
        table: &TableId,
        location: &MetadataLocation,
        due_at: TimestampMs,
    ) -> Result<MarkOutcome> {
        self.write(self.inner.mark_due(home, table, location, due_at))
            .await
    }

    async fn force_due(&self, home: Home, table: &TableId, due_at: TimestampMs) -> Result<()> {
        self.write(self.inner.force_due(home, table, due_at)).await
    }

    async fn due_tables(
        &self,
        bucket: BucketId,
        now: TimestampMs,
        limit: usize,
    ) -> Result<Vec<Result<TableRow>>> {
        let rows = self.read(self.inner.due_tables(bucket, now, limit)).await?;
        self.count(&rows);
        Ok(rows)
    }

    async fn next_due(&self, bucket: BucketId) -> Result<Option<TimestampMs>> {
        self.read(self.inner.next_due(bucket)).await
    }

    async fn table(&self, table: &TableId) -> Result<Option<TableRow>> {
        self.read(self.inner.table(table)).await
    }

    async fn tables_by_hash(
        &self,
        database: &DatabaseId,
        hashes: &[u64],
        search: Search,
    ) -> Result<Vec<TableId>> {
        self.read(self.inner.tables_by_hash(database, hashes, search))
            .await
    }

    async fn tables_page(&self, from: Option<&str>) -> Result<TablesPage> {
        let page = self.read(self.inner.tables_page(from)).await?;
        self.count(&page.rows);
        Ok(page)
    }

    async fn watched_page(&self, bucket: BucketId, from: Option<&str>) -> Result<TablesPage> {
        let page = self.read(self.inner.watched_page(bucket, from)).await?;
        self.count(&page.rows);
        Ok(page)
    }

    fn parts_of_tables(&self) -> u32 {
        self.inner.parts_of_tables()
    }

    async fn tables_of_part(&self, part: u32, range: &KeyRange, limit: usize) -> Result<PartPage> {
        let page = self
            .read(self.inner.tables_of_part(part, range, limit))
            .await?;
        self.count(&page.rows);
        Ok(page)
    }

    async fn note_begun(&self, lease: &Lease, seen: &TableRow) -> Result<()> {
        self.write(self.inner.note_begun(lease, seen)).await
    }

    async fn conclude(
        &self,
        lease: &Lease,
        seen: &TableRow,
        conclusion: &Conclusion,
    ) -> Result<()> {
        self.write(self.inner.conclude(lease, seen, conclusion))
            .await
    }

    async fn forget_table(&self, lease: &Lease, seen: &TableRow) -> Result<bool> {
        self.write(self.inner.forget_table(lease, seen)).await
    }
}

#[async_trait]
impl ProcessStore for DyingStore {
    async fn start_process(
        &self,
        lease: &Lease,
        seen: &TableRow,
        process: &NewProcess,
        tasks: &[NewTask],
    ) -> Result<StartOutcome> {
        self.write(self.inner.start_process(lease, seen, process, tasks))
            .await
    }

    async fn process(&self, process: &ProcessId) -> Result<Option<ProcessRow>> {
        self.read(self.inner.process(process)).await
    }

    async fn processes_of(&self, table: &TableId, limit: usize) -> Result<Vec<ProcessRow>> {
        self.read(self.inner.processes_of(table, limit)).await
    }

    async fn claim_commit(
        &self,
        process: &ProcessId,
        worker: &WorkerId,
        now: TimestampMs,
        deadline: TimestampMs,
    ) -> Result<Option<CommitClaim>> {
        self.write(self.inner.claim_commit(process, worker, now, deadline))
            .await
    }

    async fn extend_commit(&self, claim: &CommitClaim, deadline: TimestampMs) -> Result<()> {
        self.write(self.inner.extend_commit(claim, deadline)).await
    }

    async fn give_back_commit(
        &self,
        claim: &CommitClaim,
        why: GivenBack,
        look_at: TimestampMs,
    ) -> Result<()> {
        self.write(self.inner.give_back_commit(claim, why, look_at))
            .await
    }

    async fn end_process(
        &self,
        claim: &CommitClaim,
        outcome: &ProcessOutcome,
        committed_location: Option<&MetadataLocation>,
        next_due_at: Option<TimestampMs>,
        failures: u32,
    ) -> Result<()> {
        self.write(self.inner.end_process(
            claim,
            outcome,
            committed_location,
            next_due_at,
            failures,
        ))
        .await
    }

    async fn cancel_process(&self, process: &ProcessId, reason: &str) -> Result<CancelOutcome> {
        self.write(self.inner.cancel_process(process, reason)).await
    }
}

#[async_trait]
impl TaskStore for DyingStore {
    async fn tasks(&self, process: &ProcessId) -> Result<Vec<TaskRow>> {
        self.read(self.inner.tasks(process)).await
    }

    async fn note_sent(&self, task: &TaskId, now: TimestampMs) -> Result<()> {
        self.write(self.inner.note_sent(task, now)).await
    }

    async fn note_acknowledged(&self, task: &TaskId) -> Result<()> {
        self.write(self.inner.note_acknowledged(task)).await
    }

    async fn claim_task(
        &self,
        task: &TaskId,
        worker: &WorkerId,
        now: TimestampMs,
        deadline: TimestampMs,
    ) -> Result<ClaimOutcome> {
        self.write(self.inner.claim_task(task, worker, now, deadline))
            .await
    }

    async fn extend_claim(
        &self,
        task: &TaskId,
        attempt: Attempt,
        deadline: TimestampMs,
    ) -> Result<()> {
        self.write(self.inner.extend_claim(task, attempt, deadline))
            .await
    }

    async fn report_task(
        &self,
        task: &TaskId,
        attempt: Attempt,
        result: std::result::Result<Payload, RewriteFailure>,
    ) -> Result<ReportOutcome> {
        self.write(self.inner.report_task(task, attempt, result))
            .await
    }

    async fn return_task(
        &self,
        task: &TaskId,
        attempt: Attempt,
        why: GivenBack,
    ) -> Result<ReportOutcome> {
        self.write(self.inner.return_task(task, attempt, why)).await
    }
}

#[async_trait]
impl LimitStore for DyingStore {
    async fn block(&self, blocker: &Blocker) -> Result<()> {
        self.write(self.inner.block(blocker)).await
    }

    async fn unblock(&self, scope: &Scope, owner: &str) -> Result<bool> {
        self.write(self.inner.unblock(scope, owner)).await
    }

    async fn blockers(&self, catalog: &CatalogName) -> Result<Vec<Blocker>> {
        self.read(self.inner.blockers(catalog)).await
    }

    async fn quotas(&self, scopes: &[Scope]) -> Result<Vec<QuotaRow>> {
        self.read(self.inner.quotas(scopes)).await
    }

    async fn correct_usage(&self, process: &ProcessId, usage: Usage) -> Result<()> {
        self.write(self.inner.correct_usage(process, usage)).await
    }

    async fn free_reservation(&self, scope: &Scope, process: &ProcessId) -> Result<bool> {
        self.write(self.inner.free_reservation(scope, process))
            .await
    }
}

#[async_trait]
impl VersionStore for DyingStore {
    async fn note_version(
        &self,
        component: Component,
        version: &str,
        now: TimestampMs,
    ) -> Result<()> {
        self.write(self.inner.note_version(component, version, now))
            .await
    }

    async fn versions(&self, now: TimestampMs) -> Result<Vec<RunningVersion>> {
        self.read(self.inner.versions(now)).await
    }
}

#[async_trait]
impl Examine for DyingStore {
    async fn examine(&self) -> Vec<Finding> {
        self.inner.examine().await
    }
}
