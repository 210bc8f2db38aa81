//! The port for state, by what it is about: the layout, leases, digests, tables, processes, tasks, limits, what runs.
//! [`StateStore`] is their sum; whoever has one can do it all.
//!
//! Every method is one atomic step unless it says otherwise. Times are passed in. A write under a lease is refused
//! with `Fenced` when a newer epoch has written that bucket's lease or that row.

use std::{fmt::Debug, time::Duration};

use async_trait::async_trait;
use icepress_model::{
    Attempt, BucketCount, BucketId, CatalogName, DatabaseId, Generation, MetadataLocation,
    ProcessId, ProcessOutcome, RewriteFailure, Scope, TableId, TaskId, TimestampMs, WorkerId,
};

use crate::{
    BucketRow, CancelOutcome, ClaimOutcome, CommitClaim, Component, Conclusion, CoordinationError,
    Digest, Finding, GivenBack, Home, KeyRange, Layout, Lease, MarkOutcome, NewProcess, NewTask,
    PartPage, Payload, ProcessRow, ReportOutcome, RunningVersion, StartOutcome, TableRow, TaskRow,
    limits::{Blocker, QuotaRow, Usage},
};

type Result<T> = std::result::Result<T, CoordinationError>;

/// All buckets at one look.
#[derive(Debug, Clone)]
pub struct Buckets {
    /// The layout; `None` where the store was never laid out.
    pub layout: Option<Layout>,
    /// The buckets that have to be looked after, by number, also those that were never leased.
    pub rows: Vec<BucketRow>,
}

/// Where names that are kept for no row are looked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Search {
    /// Nowhere: a row that was marked of late has its name kept.
    KeptNames,
    /// Among the keys of all rows of the database, where there is one name that is kept for none: rows that were made before
    /// names were kept have none.
    AmongRows,
}

/// Some of the tables.
#[derive(Debug)]
pub struct TablesPage {
    /// Their rows, or why one can't be read.
    pub rows: Vec<Result<TableRow>>,
    /// Where the next page begins; `None` after the last.
    pub next: Option<String>,
}

/// The state of the whole system: all that is kept about it.
pub trait StateStore:
    LayoutStore
    + LeaseStore
    + DigestStore
    + TableStore
    + ProcessStore
    + TaskStore
    + LimitStore
    + VersionStore
    + Examine
{
}

impl<S> StateStore for S where
    S: LayoutStore
        + LeaseStore
        + DigestStore
        + TableStore
        + ProcessStore
        + TaskStore
        + LimitStore
        + VersionStore
        + Examine
{
}

/// The layout: into how many buckets the tables are laid out.
#[async_trait]
pub trait LayoutStore: Send + Sync + Debug {
    /// The layout, where there is one.
    async fn layout(&self) -> Result<Option<Layout>>;

    /// Lays out a store that never was; returns the layout that stands, whoever made it.
    async fn found_layout(&self, buckets: BucketCount) -> Result<Layout>;

    /// Changes the number of buckets of a store that was laid out; returns the layout that stands. Tables move to it one
    /// by one ([`LayoutStore::rehome`]), and until [`LayoutStore::settle_layout`] all buckets that there were have to be
    /// looked after. `now` is noted as when the move began.
    async fn resize(&self, buckets: BucketCount, now: TimestampMs) -> Result<Layout>;

    /// Notes that nothing keeps buckets of former layouts any more. Whether it did: not where another layout stands by
    /// now, nor where that was noted before.
    async fn settle_layout(&self, generation: Generation) -> Result<bool>;

    /// Moves a table's row to where a newer layout has it. Whether it did: not where it is there already, or gone.
    async fn rehome(&self, table: &TableId, home: Home) -> Result<bool>;
}

/// Buckets and their leases (protocols.md, section 1).
#[async_trait]
pub trait LeaseStore: Send + Sync + Debug {
    /// The layout with all its buckets; with the first `first` of them where there is none. One whose row can't be read
    /// is left out and logged.
    async fn buckets(&self, first: BucketCount) -> Result<Buckets>;

    /// Takes a bucket that has no owner, or whose lease ended more than `guard` ago. `None` where somebody holds it,
    /// the caller itself included.
    async fn take_lease(
        &self,
        bucket: BucketId,
        owner: &WorkerId,
        now: TimestampMs,
        ttl: Duration,
        guard: Duration,
    ) -> Result<Option<Lease>>;

    /// Prolongs a lease to `now + ttl`; `Fenced` where it is another's by now or was let go.
    async fn renew_lease(&self, lease: &Lease, now: TimestampMs, ttl: Duration) -> Result<Lease>;

    /// Lets go of a lease, keeping its epoch; notes the time of the sweep where one was completed. Again is harmless;
    /// `Fenced` where it is another's by now.
    async fn release_lease(&self, lease: &Lease, swept_at: Option<TimestampMs>) -> Result<()>;
}

/// What is kept beside a database's digest. It saves work and decides nothing: whoever loses it does more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum CensusNote {
    /// How far a listing got that is not at its end yet.
    Listing,
    /// What the catalog calls the states that were seen (ETags).
    Tags,
    /// That a listing was begun and has not ended.
    Begun,
}

/// What is kept of a database for its censuses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CensusRecord {
    /// What the last one saw.
    Digest,
    /// A note beside that.
    Note(CensusNote),
}

impl CensusRecord {
    /// The word for it in keys.
    pub(crate) fn kind(self) -> &'static str {
        match self {
            Self::Digest => "digest",
            Self::Note(CensusNote::Listing) => "listing",
            Self::Note(CensusNote::Tags) => "tags",
            Self::Note(CensusNote::Begun) => "begun",
        }
    }
}

/// What the censuses saw (section 2).
#[async_trait]
pub trait DigestStore: Send + Sync + Debug {
    /// What is kept of a database. Empty where nothing is.
    async fn census_record(&self, database: &DatabaseId, record: CensusRecord) -> Result<Digest>;

    /// Replaces what is kept of a database, chunk by chunk, all or nothing for readers; `Fenced` under an old epoch, and
    /// where another layout stands by now than the one under which the tables were marked.
    async fn put_census_record(
        &self,
        lease: &Lease,
        layout: Generation,
        database: &DatabaseId,
        record: CensusRecord,
        content: &Digest,
    ) -> Result<()>;

    /// What the last census of a database saw. Empty before the first.
    async fn digest(&self, database: &DatabaseId) -> Result<Digest> {
        self.census_record(database, CensusRecord::Digest).await
    }

    /// Replaces a database's digest.
    async fn put_digest(
        &self,
        lease: &Lease,
        layout: Generation,
        database: &DatabaseId,
        digest: &Digest,
    ) -> Result<()> {
        let record = CensusRecord::Digest;
        self.put_census_record(lease, layout, database, record, digest)
            .await
    }

    /// A note beside a database's digest. Empty where there is none.
    async fn census_note(&self, database: &DatabaseId, note: CensusNote) -> Result<Digest> {
        self.census_record(database, CensusRecord::Note(note)).await
    }

    /// Replaces a note. All notes of one kind of one database have to be written under leases of one number: epochs of
    /// others say nothing about it.
    async fn put_census_note(
        &self,
        lease: &Lease,
        layout: Generation,
        database: &DatabaseId,
        note: CensusNote,
        content: &Digest,
    ) -> Result<()> {
        let record = CensusRecord::Note(note);
        self.put_census_record(lease, layout, database, record, content)
            .await
    }
}

/// What is known of tables, and which are due (sections 2 and 3).
#[async_trait]
pub trait TableStore: Send + Sync + Debug {
    /// Marks a table due at `due_at` for the state `location`, unless the row names that state already as due, as
    /// evaluated, or as committed by us. Needs no lease. An earlier `due_at` that stands is kept, and so is the pause
    /// of a table that failed: the mark waits for its end. While a process is under way the mark waits for its end (`marked_at`) and the table does not fall due earlier.
    /// A row is made in `home`; one that an older layout put elsewhere moves there, whatever state is known.
    async fn mark_due(
        &self,
        home: Home,
        table: &TableId,
        location: &MetadataLocation,
        due_at: TimestampMs,
    ) -> Result<MarkOutcome>;

    /// Marks a table due whatever was evaluated before, and whatever state was due: a person asked, or two complete
    /// listings lacked it. Creates the row where there is none. While a
    /// process is under way this waits for its end too.
    async fn force_due(&self, home: Home, table: &TableId, due_at: TimestampMs) -> Result<()>;

    /// Tables of a bucket that are due at `now`, the longest due first, at most `limit`. One row that can't be read
    /// does not hide the others: it stands in the list as an error, and does not count towards the limit.
    async fn due_tables(
        &self,
        bucket: BucketId,
        now: TimestampMs,
        limit: usize,
    ) -> Result<Vec<Result<TableRow>>>;

    /// Tables of a bucket that somebody has to look at now or later, since they are due, failed, wait, or have a process
    /// under way: in no order, from the begin or from where another page ended. A page may be empty and not the last. Reads
    /// no row of a table at rest. One that is written meanwhile may be missed, or come twice.
    async fn watched_page(&self, bucket: BucketId, from: Option<&str>) -> Result<TablesPage>;

    /// When the next table of the bucket falls due, if any will.
    async fn next_due(&self, bucket: BucketId) -> Result<Option<TimestampMs>>;

    /// What is known of a table.
    async fn table(&self, table: &TableId) -> Result<Option<TableRow>>;

    /// The tables of a database that have a row and whose names have one of these hashes ([`hash_of_name`]), in no order.
    /// Reads rows of no other database. `search` says whether names that are kept for no row are looked for among the rows of
    /// this one.
    ///
    /// [`hash_of_name`]: crate::hash_of_name
    async fn tables_by_hash(
        &self,
        database: &DatabaseId,
        hashes: &[u64],
        search: Search,
    ) -> Result<Vec<TableId>>;

    /// Tables with a row, of all buckets, in no order, from the begin or from where another page ended. A page may be
    /// empty and not the last.
    async fn tables_page(&self, from: Option<&str>) -> Result<TablesPage>;

    /// In how many parts the tables' rows are kept, each of which can be listed by itself.
    fn parts_of_tables(&self) -> u32;

    /// At most `limit` rows of one part, in the order of their keys, with all that was written before this was asked. See [`crate::Listing`], which puts
    /// the parts together.
    async fn tables_of_part(&self, part: u32, range: &KeyRange, limit: usize) -> Result<PartPage>;

    /// Every table with a row, in no order. For few tables: [`crate::Listing`] holds a page at a time.
    async fn tables(&self) -> Result<Vec<Result<TableRow>>> {
        let mut rows = Vec::new();
        let mut from = None;
        loop {
            let page = self.tables_page(from.as_deref()).await?;
            rows.extend(page.rows);
            from = page.next;
            if from.is_none() {
                return Ok(rows);
            }
        }
    }

    /// Notes, before it begins, that one more evaluation of a table is begun than `seen` says: what is concluded clears
    /// it, so that one who dies at it leaves a trace. One write of the row. Noting it again (an answer was lost) is
    /// harmless, as is a row that is gone; `Fenced` and `Moved` as below, but for the lease, which DynamoDB does not
    /// look at here.
    async fn note_begun(&self, lease: &Lease, seen: &TableRow) -> Result<()>;

    /// Writes what was concluded about a table. The due mark is cleared, or moved to `next_due_at`, only if no mark
    /// came since `seen` was read (`marks`); else it stands, and the table is looked at again. A mark whose state could
    /// not be loaded (`evaluated_location` is `None`) keeps its location when it is moved. While a process is under
    /// way no mark is cleared and no state noted as evaluated: only the next look (`next_due_at`, where there is one),
    /// text and failures are written. `Fenced` under an epoch older than the lease's or the row's; `Moved` where the row is
    /// in another bucket than the lease's.
    async fn conclude(&self, lease: &Lease, seen: &TableRow, conclusion: &Conclusion)
    -> Result<()>;

    /// Removes the row of a table that two complete listings of its database lacked; `Fenced` and `Moved` as above. Returns whether
    /// it is gone: a table with a process under way is kept, and to be asked about again after its end; so is one that
    /// was marked since `seen` was read, for it may have been made anew.
    async fn forget_table(&self, lease: &Lease, seen: &TableRow) -> Result<bool>;
}

/// Processes and their commits (section 3).
#[async_trait]
pub trait ProcessStore: Send + Sync + Debug {
    /// Starts a process with its tasks: the table's row gets `active_process`, `conclusion` and `due_at = check_at`
    /// under the same rule about the due mark as [`TableStore::conclude`] (a newer mark stays as `due_location` and
    /// `marked_at`). Tasks may be written before the rest; the process exists when all are there. Starting one that
    /// stands already (an answer was lost) is `Started` again and writes nothing. `Fenced` and `Moved` as above. A process id is never used for
    /// anything else: tasks of a start that failed may lie under it until their retention is over.
    ///
    /// What it reserves of quotas is held from the same moment on; where a quota does not allow it, nothing of all that
    /// is written (`OverQuota`).
    async fn start_process(
        &self,
        lease: &Lease,
        seen: &TableRow,
        process: &NewProcess,
        tasks: &[NewTask],
    ) -> Result<StartOutcome>;

    /// A process.
    async fn process(&self, process: &ProcessId) -> Result<Option<ProcessRow>>;

    /// The newest processes of a table, newest first, at most `limit`.
    async fn processes_of(&self, table: &TableId, limit: usize) -> Result<Vec<ProcessRow>>;

    /// Claims the commit of a process with no open task: only one claim at a time, a claim past its deadline may be
    /// taken over. `None` where it is held, ended, or has open tasks.
    async fn claim_commit(
        &self,
        process: &ProcessId,
        worker: &WorkerId,
        now: TimestampMs,
        deadline: TimestampMs,
    ) -> Result<Option<CommitClaim>>;

    /// Prolongs a claim on a commit; `Fenced` where it is not the newest any more, or the process has ended.
    async fn extend_commit(&self, claim: &CommitClaim, deadline: TimestampMs) -> Result<()>;

    /// Gives a claim on a commit back before its time is over, and has the process looked at again at `look_at`, if it would
    /// not be sooner. Only for one who knows that no swap of this process can act any more. Giving it back again (an answer
    /// was lost) is harmless; `Fenced` where the claim is not the newest any more, or the process has ended.
    async fn give_back_commit(
        &self,
        claim: &CommitClaim,
        why: GivenBack,
        look_at: TimestampMs,
    ) -> Result<()>;

    /// Ends a process, and in the same transaction frees its table: `active_process` is cleared,
    /// `committed_location` set where there is one, `failures` set, and `due_at` becomes `next_due_at`, or the
    /// earlier mark where the census left one in between. A single mark that names the very state that we committed
    /// is dropped: our own commits trigger nothing. `Fenced` for an old claim; ending it again by the same claim in
    /// the same way (an answer was lost) is harmless.
    ///
    /// Where the commit was made on another state than the plan (somebody wrote in between), pass a `next_due_at` of
    /// now: the census sees only our own state, which it does not mark, so nobody else would look at what they wrote.
    async fn end_process(
        &self,
        claim: &CommitClaim,
        outcome: &ProcessOutcome,
        committed_location: Option<&MetadataLocation>,
        next_due_at: Option<TimestampMs>,
        failures: u32,
    ) -> Result<()>;

    /// Ends a process that is not being committed as abandoned, for `reason`, and frees its table in the same
    /// transaction. The table falls due again when it changes, or at once if it was marked meanwhile. What its workers
    /// report afterwards is stale.
    async fn cancel_process(&self, process: &ProcessId, reason: &str) -> Result<CancelOutcome>;
}

/// Tasks and their attempts (section 3).
#[async_trait]
pub trait TaskStore: Send + Sync + Debug {
    /// All tasks of a process, by index.
    async fn tasks(&self, process: &ProcessId) -> Result<Vec<TaskRow>>;

    /// Notes that a task's message was sent.
    async fn note_sent(&self, task: &TaskId, now: TimestampMs) -> Result<()>;

    /// Notes that a task's message was acknowledged although the task is open, since somebody else has it: whoever finds
    /// the task without a holder sends another one.
    async fn note_acknowledged(&self, task: &TaskId) -> Result<()>;

    /// Claims a task that is queued, or running past its deadline: `running` with the next attempt.
    async fn claim_task(
        &self,
        task: &TaskId,
        worker: &WorkerId,
        now: TimestampMs,
        deadline: TimestampMs,
    ) -> Result<ClaimOutcome>;

    /// Prolongs the claim of an attempt; `Fenced` where it is not the newest any more.
    async fn extend_claim(
        &self,
        task: &TaskId,
        attempt: Attempt,
        deadline: TimestampMs,
    ) -> Result<()>;

    /// Reports a task done or failed for good, counting the process's open tasks down in the same transaction.
    async fn report_task(
        &self,
        task: &TaskId,
        attempt: Attempt,
        result: std::result::Result<Payload, RewriteFailure>,
    ) -> Result<ReportOutcome>;

    /// Gives a task back: queued again, its attempt used up; one that waits also without a message, as after
    /// [`TaskStore::note_acknowledged`]. Again is harmless. `Stale` where the attempt is not the newest, or has reported.
    async fn return_task(
        &self,
        task: &TaskId,
        attempt: Attempt,
        why: GivenBack,
    ) -> Result<ReportOutcome>;
}

/// Blockers and quotas.
#[async_trait]
pub trait LimitStore: Send + Sync + Debug {
    /// Sets a blocker, in the place of one of the same owner for the same scope. Whoever reads blockers after this has
    /// returned sees it.
    async fn block(&self, blocker: &Blocker) -> Result<()>;

    /// Takes a blocker away; whether there was one.
    async fn unblock(&self, scope: &Scope, owner: &str) -> Result<bool>;

    /// Every blocker of a catalog, its databases and its tables that was written before this was asked, also those whose
    /// time is over. One that can't be read is given as a blocker without an end, of what it says it blocks or else of the
    /// whole catalog: silence must not be taken for permission.
    async fn blockers(&self, catalog: &CatalogName) -> Result<Vec<Blocker>>;

    /// What was taken of the quotas of these scopes, in this order.
    async fn quotas(&self, scopes: &[Scope]) -> Result<Vec<QuotaRow>>;

    /// Puts what a process did take in the place of what it reserved, in each of its quotas that it holds something of.
    /// Again is harmless, and after its end nothing is written. What it holds is booked and let go in the same step that
    /// ends it ([`ProcessStore::end_process`], [`ProcessStore::cancel_process`]).
    async fn correct_usage(&self, process: &ProcessId, usage: Usage) -> Result<()>;

    /// Books and lets go of what a process holds that needs it no more: its row is gone (its retention ran out), it has
    /// ended, or none of its tasks is open and its end can't be written. Whether it did.
    async fn free_reservation(&self, scope: &Scope, process: &ProcessId) -> Result<bool>;
}

/// What runs.
#[async_trait]
pub trait VersionStore: Send + Sync + Debug {
    /// Notes that an instance of this version of a component is alive. Writes at most once in ten minutes for each
    /// version of each component, however many instances start.
    async fn note_version(
        &self,
        component: Component,
        version: &str,
        now: TimestampMs,
    ) -> Result<()>;

    /// Every version that was noted within the retention before `now`, the last noted first. A note that can't be read
    /// is left out and logged.
    async fn versions(&self, now: TimestampMs) -> Result<Vec<RunningVersion>>;
}

/// Whether the store itself is well.
#[async_trait]
pub trait Examine: Send + Sync + Debug {
    /// Looks whether the store is as it should be and may be used: one line for each thing looked at. Writes nothing.
    async fn examine(&self) -> Vec<Finding>;
}
