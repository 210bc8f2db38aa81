//! What operations on the state come to.

use icepress_model::{ProcessId, ProcessOutcome, TimestampMs, WorkerId};

use crate::{ProcessRow, TaskRow, limits::Shortage};

/// What became of a due mark.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MarkOutcome {
    /// The table is due now.
    Marked,
    /// Nothing was written: the row names that state already as due, as evaluated, or as committed by us.
    AlreadyKnown,
}

/// What became of a wish to cancel a process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CancelOutcome {
    /// It has ended as abandoned, and its table is free.
    Cancelled,
    /// It had ended before.
    EndedBefore(ProcessOutcome),
    /// Somebody has claimed its commit: it can't be stopped any more.
    Committing {
        /// Who.
        worker: WorkerId,
        /// When the claim ends by itself.
        until: TimestampMs,
    },
    /// There is no such process, or no more.
    Unknown,
}

/// What became of a process to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StartOutcome {
    /// It stands, with its tasks queued.
    Started,
    /// The table has a process under way: nothing was written.
    AlreadyActive(ProcessId),
    /// A quota does not allow it now: nothing was written.
    OverQuota(Shortage),
}

/// What became of a claim on a task.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ClaimOutcome {
    /// The task is the caller's, under `attempt` of the row returned.
    Claimed(TaskRow),
    /// Another attempt is at work until then.
    Held {
        /// When its claim ends.
        until: TimestampMs,
    },
    /// It is done or failed already: acknowledge the message.
    Finished,
    /// There is no such task, or its process has ended: acknowledge the message.
    Gone,
}

/// What became of a report.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReportOutcome {
    /// Accepted. Exactly one report of a process sees 0, and whoever sees it commits.
    Accepted {
        /// Open tasks of the process after this one: exact where it is 0; else it may have fallen since.
        open_tasks: u32,
    },
    /// Not the newest attempt, or reported already, or the process has ended: nothing was written.
    Stale,
}

/// The right to commit a process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommitClaim {
    /// The process as it is now.
    pub process: ProcessRow,
    /// The number of this claim; only the newest may end the process.
    pub claim: u32,
}

/// Why somebody gives back what he claimed, a task or a commit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GivenBack {
    /// It came to no end: that counts as a try.
    Tried,
    /// A service asked for fewer requests, for longer than could be waited: nobody's fault, and no try (case C56).
    Waits,
}

impl GivenBack {
    /// By how much it raises a row's `waits`.
    pub(crate) fn waits(self) -> u32 {
        u32::from(self == Self::Waits)
    }
}
