//! What happens, told to whoever wants to know: a progress bar, a log, a report.

mod about;
mod log;

use std::{fmt::Debug, sync::Arc, time::Duration};

use icepress_model::{
    BucketId, Bytes, GroupResult, NanoDollars, ProcessId, ProcessKind, ProcessOutcome, Rows,
    TableId, TablePlan, TaskId, TimestampMs,
};
use icepress_rewrite::Progress;

pub use self::{about::About, log::LogObserver};
use crate::{Observed, TickReport, WaitsFor};

/// Something that happened.
#[derive(Debug, Clone)]
pub enum Event {
    /// A census listed a database.
    DatabaseListed {
        /// `catalog.namespace`.
        database: String,
        /// Tables in it.
        tables: u64,
        /// Of those, new or moved since the last census.
        changed: u64,
    },
    /// A census saw a table, and nothing about it changed.
    TableUnchanged {
        /// The table.
        table: TableId,
    },
    /// A database could not be listed, or one of its tables not be told about. The others go on.
    ListingFailed {
        /// What was listed.
        database: String,
        /// One line.
        message: String,
    },
    /// A bucket was given up in the midst of its turn; the others go on.
    BucketFailed {
        /// The bucket.
        bucket: BucketId,
        /// One line.
        message: String,
    },
    /// A table was looked at, and a plan made: an empty one where there is nothing to do.
    Planned {
        /// The table.
        table: TableId,
        /// The plan.
        plan: Arc<TablePlan>,
        /// The process that carries it out; `None` for an empty plan.
        process: Option<ProcessId>,
        /// What that process is reckoned to cost; nothing for an empty plan.
        price: NanoDollars,
        /// When the oldest of the files was committed that the plan is about, as far as the snapshots tell that there are still.
        oldest: Option<TimestampMs>,
    },
    /// A table that is only observed was looked at.
    Observed {
        /// The table.
        table: TableId,
        /// The plan that is not carried out.
        plan: Arc<TablePlan>,
        /// What it comes to.
        observed: Observed,
    },
    /// A process of upkeep was begun.
    UpkeepBegun {
        /// The table.
        table: TableId,
        /// The process.
        process: ProcessId,
        /// Its kind.
        kind: ProcessKind,
        /// Why, one line.
        reason: String,
    },
    /// A table is left alone for a reason that only a person can change.
    Refused {
        /// The table.
        table: TableId,
        /// One line.
        reason: String,
    },
    /// A table is due, and waits.
    Waiting {
        /// The table.
        table: TableId,
        /// The task that waits, where it is one alone.
        task: Option<TaskId>,
        /// For what.
        waits_for: WaitsFor,
        /// The same in one line.
        reason: String,
        /// Until when, as far as is known.
        until: Option<TimestampMs>,
    },
    /// A plan would do again what the last process did. That is an error of Icepress; such groups are left alone.
    Repeats {
        /// The table.
        table: TableId,
        /// One line.
        message: String,
    },
    /// A table is more than whoever looks at tables gets to the end of: an optimizer looks at it.
    HandedOver {
        /// The table.
        table: TableId,
        /// The process that looks at it.
        process: ProcessId,
        /// Why, one line.
        reason: String,
    },
    /// Something about a table failed; it is tried again later.
    TableFailed {
        /// The table.
        table: TableId,
        /// One line.
        message: String,
    },
    /// The rewrite of a group began.
    GroupStarted {
        /// The table.
        table: TableId,
        /// The process.
        process: ProcessId,
        /// Which group of its plan.
        index: u32,
        /// Rows to read.
        rows: Rows,
        /// Bytes to read.
        bytes: Bytes,
        /// How far it is; grows while it works.
        progress: Arc<Progress>,
    },
    /// The rewrite of a group ended: with its result, or with the reason it failed.
    GroupFinished {
        /// The table.
        table: TableId,
        /// The process.
        process: ProcessId,
        /// Which group of its plan.
        index: u32,
        /// What it was made of.
        read: GroupRead,
        /// What came of it.
        result: Result<GroupResult, String>,
    },
    /// A task failed for good: its process goes on without that group, and the table is planned anew.
    TaskFailed {
        /// The table.
        table: TableId,
        /// The task.
        task: TaskId,
        /// The kind of its process.
        kind: ProcessKind,
        /// Why, one line.
        reason: String,
    },
    /// A process ended.
    ProcessEnded {
        /// The table.
        table: TableId,
        /// The process.
        process: ProcessId,
        /// Its kind.
        kind: ProcessKind,
        /// How.
        outcome: ProcessOutcome,
        /// Delete files that the commit removed.
        removed_delete_files: u64,
    },
    /// A process under way was looked after: nobody had ended it by then.
    UnderWay {
        /// The table.
        table: TableId,
        /// The process.
        process: ProcessId,
        /// How far it is.
        stage: Stage,
        /// When it was begun.
        since: TimestampMs,
    },
    /// A bucket had its turn.
    BucketLookedAfter {
        /// The bucket.
        bucket: BucketId,
        /// What came of it.
        turn: BucketTurn,
        /// Since when the table had been due that had waited longest when the turn began; `None` where none was, or nobody looked.
        oldest_due: Option<TimestampMs>,
    },
    /// A tick ended.
    TickEnded {
        /// What came of it.
        report: TickReport,
        /// How long it took.
        took: Duration,
        /// How long it could have taken; `None` where nothing ends it.
        limit: Option<Duration>,
        /// For how long the bucket had not been swept to its end whose turn was longest ago; `None` where each is to have its first.
        longest_rest: Option<Duration>,
    },
    /// Something unexpected about coordination that costs nobody a row: a lease lost, an unreadable row.
    Notice {
        /// What it is about, as far as it is known.
        about: About,
        /// One line.
        message: String,
    },
}

/// What the rewrite of a group reads.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct GroupRead {
    /// Data files, and delete files that apply to them.
    pub files: u64,
    /// Bytes that are read of them.
    pub bytes: Bytes,
    /// What the attempt cost that finished it, by the time that it took; nothing where it failed, since nobody measured that.
    pub price: NanoDollars,
}

/// How far a process is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stage {
    /// Nobody has begun any of its tasks.
    Queued,
    /// Some of its tasks were begun, and not all are over.
    Running,
    /// All of its tasks are over, and it is not committed.
    Committing,
}

impl Stage {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Queued, Self::Running, Self::Committing];

    /// Its word.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Running => "running",
            Self::Committing => "committing",
        }
    }
}

/// What came of a bucket's turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum BucketTurn {
    /// It was looked after to the end: there was nothing to do, or all of it was done.
    Completed,
    /// The time was up before.
    Unfinished,
    /// Somebody else holds it.
    HeldByAnother,
}

/// Somebody who wants to know.
pub trait Observer: Send + Sync + Debug {
    /// Called for each event, in the order of things for each table. Must not block.
    fn observe(&self, event: &Event);
}
