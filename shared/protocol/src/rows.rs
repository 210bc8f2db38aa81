//! The rows that are kept, as protocols.md has them.

use icepress_model::{
    Attempt, BucketId, Epoch, Generation, MetadataLocation, ProcessId, ProcessKind, ProcessOutcome,
    RewriteFailure, Scope, TableId, TaskId, TimestampMs, WorkerId,
};
use serde::{Deserialize, Serialize};

use crate::{Home, limits::Reservation};

/// A bucket: who may plan it, and when it was swept last. A bucket that was never leased has epoch 0 and no owner.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BucketRow {
    /// The bucket.
    pub bucket: BucketId,
    /// Who holds it, if anybody.
    pub owner: Option<WorkerId>,
    /// The epoch of its last lease.
    pub epoch: Epoch,
    /// When the lease ends by itself; meaningless without an owner.
    pub expires_at: TimestampMs,
    /// When a sweep of it was completed last; 0 for never.
    pub last_swept_at: TimestampMs,
    /// When it was leased last, whatever came of it; 0 for never. One at which its owner dies has had its turn.
    pub last_begun_at: TimestampMs,
}

impl BucketRow {
    /// A bucket that nobody ever leased.
    pub fn never_leased(bucket: BucketId) -> Self {
        Self {
            bucket,
            owner: None,
            epoch: Epoch(0),
            expires_at: TimestampMs(0),
            last_swept_at: TimestampMs(0),
            last_begun_at: TimestampMs(0),
        }
    }
}

/// The right to plan one bucket for a time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lease {
    /// The bucket.
    pub bucket: BucketId,
    /// The holder.
    pub owner: WorkerId,
    /// What every write made under this lease carries.
    pub epoch: Epoch,
    /// When it ends unless renewed.
    pub expires_at: TimestampMs,
}

/// What the last census of a database saw: for each table, 8 bytes of hash of its name and 8 of its location, sorted
/// by the first. Opaque to the store, which keeps it in chunks below its row limit.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Digest(pub Vec<u8>);

/// Text that is either small enough for a row or lies elsewhere.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Payload {
    /// The text itself.
    Inline(String),
    /// Where the text lies in object storage.
    Stored(String),
}

/// What is known of one table. A table that never changed since it was first seen healthy has a row; one that was
/// never due has none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TableRow {
    /// The table.
    pub table: TableId,
    /// The bucket whose owner plans it. This counts, whatever its name's hash says.
    pub bucket: BucketId,
    /// The layout under which it came into that bucket.
    pub layout: Generation,
    /// The newest epoch that wrote the planning side of this row.
    pub epoch: Epoch,
    /// The state that is to be evaluated, as the census or an event saw it.
    pub due_location: Option<MetadataLocation>,
    /// When the table is to be looked at next; `None` when nothing is due. While a process is under way: when to look
    /// whether it got stuck.
    pub due_at: Option<TimestampMs>,
    /// While a process is under way: when the table falls due after its end, because it was marked in between.
    pub marked_at: Option<TimestampMs>,
    /// How often the table was marked so far. What was concluded from a row clears only the marks that the row had.
    pub marks: u64,
    /// How many of `marks` the newest conclusion knew of.
    pub seen_marks: u64,
    /// The state evaluated last.
    pub evaluated_location: Option<MetadataLocation>,
    /// The state that our own last commit made.
    pub committed_location: Option<MetadataLocation>,
    /// What the planner concluded and why, for people (JSON).
    pub conclusion: Option<String>,
    /// Failures in a row.
    pub failures: u32,
    /// Evaluations that were begun and never ended, in a row: whoever was at them died, or had no time left.
    pub begun: u32,
    /// The process under way. One whose row is gone (its retention ran out) counts as ended.
    pub active_process: Option<ProcessId>,
}

impl TableRow {
    /// The row of a table of which nothing is known yet.
    pub fn unknown(home: Home, table: TableId) -> Self {
        Self {
            table,
            bucket: home.bucket,
            layout: home.layout,
            epoch: Epoch(0),
            due_location: None,
            due_at: None,
            marked_at: None,
            marks: 0,
            seen_marks: 0,
            evaluated_location: None,
            committed_location: None,
            conclusion: None,
            failures: 0,
            begun: 0,
            active_process: None,
        }
    }

    /// Where the row belongs, and since which layout.
    pub fn home(&self) -> Home {
        Home {
            bucket: self.bucket,
            layout: self.layout,
        }
    }
}

/// What the owner of a bucket writes after it looked at a table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Conclusion {
    /// The state that was evaluated; `None` where the table could not be loaded, which keeps what was noted before.
    pub evaluated_location: Option<MetadataLocation>,
    /// What was concluded and why, for people (JSON).
    pub text: String,
    /// When to look again although nothing changed; `None` waits for a change.
    pub next_due_at: Option<TimestampMs>,
    /// Failures in a row from now on: 0 after a success.
    pub failures: u32,
}

/// Where a process stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ProcessState {
    /// Tasks are open, or all done and not yet committed.
    Running,
    /// Somebody has claimed the commit.
    Committing {
        /// Who.
        worker: WorkerId,
        /// When the claim ends by itself.
        deadline: TimestampMs,
    },
    /// Ended, in exactly one way.
    Ended(ProcessOutcome),
}

/// One maintenance run of one table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProcessRow {
    /// Its id.
    pub process: ProcessId,
    /// What it is for. Rows that were written before there were kinds are of rewrites.
    pub kind: ProcessKind,
    /// The table.
    pub table: TableId,
    /// The bucket that the table was in when it was planned: whose queue carries the tasks.
    pub bucket: BucketId,
    /// The epoch that it was planned under.
    pub epoch: Epoch,
    /// When it was planned.
    pub created_at: TimestampMs,
    /// Where it stands.
    pub state: ProcessState,
    /// Claims of the commit so far; the newest alone may end the process.
    pub commit_claims: u32,
    /// Claims of the commit that were given back since a service asked for fewer requests: they count for nothing.
    pub waits: u32,
    /// Tasks in all.
    pub tasks: u32,
    /// Tasks that are neither done nor failed.
    pub open_tasks: u32,
    /// The base state and what the commit needs beside the tasks (JSON); opaque here.
    pub header: String,
    /// Of whose quotas it holds something while it is under way.
    pub quotas: Vec<Scope>,
}

impl ProcessRow {
    /// How often its commit was tried, but for tries that came to nothing because a service asked for fewer requests.
    pub fn tries(&self) -> u32 {
        self.commit_claims.saturating_sub(self.waits)
    }

    /// Whether it has ended, in whatever way.
    pub fn has_ended(&self) -> bool {
        matches!(self.state, ProcessState::Ended(_))
    }

    /// Whether it takes something of its quotas no more: it has ended, or nothing but its end is left to do.
    pub fn needs_no_quota(&self) -> bool {
        self.has_ended() || self.open_tasks == 0
    }
}

/// A process to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewProcess {
    /// Its id.
    pub process: ProcessId,
    /// What it is for.
    pub kind: ProcessKind,
    /// The table.
    pub table: TableId,
    /// When.
    pub created_at: TimestampMs,
    /// See [`ProcessRow::header`].
    pub header: String,
    /// When the owner of the bucket should look whether it got stuck; becomes the table's `due_at`.
    pub check_at: TimestampMs,
    /// What it takes of quotas; `None` where there are none.
    pub reservation: Option<Reservation>,
    /// What to write about the table at the same time. Its `next_due_at` is not used: `check_at` is.
    pub conclusion: Conclusion,
}

/// A task to be. Its id is the process's with the index in the list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewTask {
    /// The group, as JSON of `icepress_model::GroupTask`.
    pub payload: Payload,
}

/// Where a task stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TaskState {
    /// Nobody works on it.
    Queued,
    /// Somebody works on it.
    Running {
        /// Who.
        worker: WorkerId,
        /// When the claim ends by itself.
        deadline: TimestampMs,
    },
    /// Done, with its result (JSON of `icepress_model::GroupResult`).
    Done(Payload),
    /// Failed for good in this process.
    Failed(RewriteFailure),
}

/// What one optimizer does in one go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TaskRow {
    /// Its id.
    pub task: TaskId,
    /// The kind of its process: who may do it, and how its payload is read.
    pub kind: ProcessKind,
    /// The bucket that the table was in when it was planned: which queue carries it.
    pub bucket: BucketId,
    /// The newest attempt; `Attempt(0)` before the first.
    pub attempt: Attempt,
    /// Attempts that were given back since a service asked for fewer requests: they count for nothing.
    pub waits: u32,
    /// Where it stands.
    pub state: TaskState,
    /// The group, as JSON of `icepress_model::GroupTask`.
    pub payload: Payload,
    /// When its message was sent last.
    pub sent_at: Option<TimestampMs>,
}

impl TaskRow {
    /// How often it was tried, but for tries that came to nothing because a service asked for fewer requests.
    pub fn tries(&self) -> u32 {
        self.attempt.get().saturating_sub(self.waits)
    }
}
