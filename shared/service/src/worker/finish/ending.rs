//! How a process ended, when its table is looked at again, and that this is written down.

use std::collections::HashMap;

use icepress_coordination::{CommitClaim, CoordinationError};
use icepress_model::{FailureCause, Lessons, MetadataLocation, ProcessOutcome, TimestampMs};
use icepress_table::{CommitOutcome, DropCause, DroppedGroup, FinishedGroup};

use crate::{About, Context, Event, scheduler::header::ProcessHeader, worker::leftovers};

/// What the tasks came to, for whoever ends the process.
pub(super) struct TaskReports<'a> {
    /// How many data files each group has.
    pub(super) sizes: &'a HashMap<u32, u64>,
    pub(super) lessons: Lessons,
    pub(super) failures: Vec<String>,
    /// See [`super::gather::Gathered::next_is_smaller`].
    pub(super) next_is_smaller: bool,
}

/// How many data files each group has.
pub(super) fn sizes(groups: &[FinishedGroup]) -> HashMap<u32, u64> {
    groups
        .iter()
        .map(|group| (group.index, group.group.inputs.len() as u64))
        .collect()
}

/// What a commit left out, and why.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Lost {
    /// Data files in the largest group that lost against another writer.
    files: u64,
    /// How many groups lost, or were left out by an earlier commit.
    conflicts: u64,
    /// How many the last gate refused.
    pub(super) refused: u64,
}

impl Lost {
    pub(super) fn among(dropped: &[DroppedGroup], sizes: &HashMap<u32, u64>) -> Self {
        let conflicts = dropped
            .iter()
            .filter(|group| group.cause == DropCause::Conflict);
        let is_refused = |group: &&DroppedGroup| group.cause == DropCause::Gate;
        let refused = dropped.iter().filter(is_refused).count() as u64;
        let sizes = conflicts.map(|group| sizes.get(&group.index).copied().unwrap_or(1));
        Self {
            files: sizes.max().unwrap_or(0),
            conflicts: dropped.len() as u64 - refused,
            refused,
        }
    }

    /// What it teaches, beside `lessons`.
    pub(super) fn and(self, mut lessons: Lessons) -> Lessons {
        lessons.lost_files = self.files;
        lessons.count(FailureCause::Conflict, self.conflicts);
        lessons.count(FailureCause::Gate, self.refused);
        lessons
    }

    /// Whether smaller groups can be made, which may win where these lost.
    pub(super) fn can_shrink(self, context: &Context) -> bool {
        self.files > context.settings.plan.min_input_files
    }
}

/// When the table is looked at again.
#[derive(Debug, Clone, Copy)]
pub(in crate::worker) enum Next {
    /// When its state changes.
    WhenChanged,
    /// At once.
    Now,
    /// Then, or when its state changes.
    At(TimestampMs),
    /// After a wait that is short at first, and grows with the failures.
    AfterLoss,
    /// After a wait that grows with the failures.
    AfterBackoff,
}

pub(in crate::worker) struct Ending {
    pub(in crate::worker) outcome: ProcessOutcome,
    pub(in crate::worker) committed: Option<MetadataLocation>,
    pub(in crate::worker) next: Next,
    pub(in crate::worker) failures: u32,
    pub(in crate::worker) removed_delete_files: u64,
}

impl Ending {
    /// No group is in because each lost against another writer: they are tried again soon. Where the next are smaller this
    /// counts as no failure; where they are not, it does, so that work on a group that always loses gets rare.
    pub(super) fn lost(
        failures: Vec<String>,
        failures_before: u32,
        lessons: Lessons,
        shrinks: bool,
    ) -> Self {
        let failed = Self::failed(failures, failures_before, lessons);
        let failures = match shrinks {
            true => failures_before,
            false => failed.failures,
        };
        failed.tried_again_soon(failures)
    }

    /// The next plan may well succeed where this one did not.
    pub(super) fn tried_again_soon(self, failures: u32) -> Self {
        Self {
            next: Next::AfterLoss,
            failures,
            ..self
        }
    }

    pub(super) fn failed(failures: Vec<String>, failures_before: u32, lessons: Lessons) -> Self {
        Self {
            outcome: ProcessOutcome::Failed { failures, lessons },
            committed: None,
            next: Next::AfterBackoff,
            failures: failures_before.saturating_add(1),
            removed_delete_files: 0,
        }
    }

    pub(super) fn committed(
        outcome: CommitOutcome,
        told: TaskReports<'_>,
        header: &ProcessHeader,
        lost: Lost,
    ) -> Self {
        let mut task_failures = told.failures;
        // A group whose files are unreadable, or were written wrong, would fail again at once; one that lost against a writer, or more work
        // that the plan left out, is worth another plan now.
        let unreadable = !(task_failures.is_empty() || told.next_is_smaller) || lost.refused > 0;
        let worth_another = header.follow_up
            || outcome.rebased
            || !outcome.dropped.is_empty()
            || told.next_is_smaller;
        task_failures.extend(outcome.dropped.into_iter().map(|group| group.reason));
        let next = match (unreadable, worth_another) {
            (true, _) => Next::AfterBackoff,
            (false, true) => Next::Now,
            (false, false) => header.tidied_at.map_or(Next::WhenChanged, Next::At),
        };
        let failures = if unreadable {
            header.failures.saturating_add(1)
        } else {
            0
        };
        let committed = outcome.location.clone();
        let ended = if task_failures.is_empty() {
            ProcessOutcome::Committed {
                location: outcome.location,
                snapshot_id: outcome.snapshot_id,
                lessons: lost.and(told.lessons),
            }
        } else {
            ProcessOutcome::PartlyCommitted {
                location: outcome.location,
                snapshot_id: outcome.snapshot_id,
                failures: task_failures,
                lessons: lost.and(told.lessons),
            }
        };
        Self {
            outcome: ended,
            committed: Some(committed),
            next,
            failures,
            removed_delete_files: outcome.removed_delete_files,
        }
    }

    fn next_due_at(&self, context: &Context) -> Option<TimestampMs> {
        let now = context.ambient.now();
        match self.next {
            Next::WhenChanged => None,
            Next::At(at) => Some(at.max(now)),
            Next::Now => Some(now),
            Next::AfterLoss => {
                let wait = context.settings.backoff_after_loss(self.failures);
                Some(now + wait + context.ambient.jitter(wait))
            }
            Next::AfterBackoff => {
                let wait = context.settings.backoff(self.failures);
                Some(now + wait + context.ambient.jitter(wait / 4))
            }
        }
    }
}

/// Ends a process of whose commit nothing took effect, and then deletes what its tasks wrote, if it is certain that nothing
/// of it can come into the table any more.
pub(super) async fn end_unapplied(
    context: &Context,
    claim: &CommitClaim,
    ending: Ending,
    is_certain: bool,
) -> Result<Option<TimestampMs>, CoordinationError> {
    let next = end(context, claim, ending).await?;
    if is_certain {
        let process = &claim.process;
        leftovers::delete_reported(context, &process.table, &process.process).await;
    }
    Ok(next)
}

/// Writes the end down, and tells of it.
pub(in crate::worker) async fn end(
    context: &Context,
    claim: &CommitClaim,
    ending: Ending,
) -> Result<Option<TimestampMs>, CoordinationError> {
    write_end(
        context,
        claim,
        &ending.outcome,
        ending.committed.as_ref(),
        ending.next_due_at(context),
        ending.failures,
    )
    .await?;
    context.tell(Event::ProcessEnded {
        table: claim.process.table.clone(),
        process: claim.process.process.clone(),
        kind: claim.process.kind,
        outcome: ending.outcome,
        removed_delete_files: ending.removed_delete_files,
    });
    Ok(None)
}

/// Writes the end of a process down in the store, in one step with its table and its quotas.
///
/// Where the store refuses the table's row, none of it is written, and whoever claims the process next tries again. Its tasks
/// are over all the same: what it holds of its quotas is let go of, for other tables would wait for it as long as the row is
/// refused.
pub(in crate::worker) async fn write_end(
    context: &Context,
    claim: &CommitClaim,
    outcome: &ProcessOutcome,
    committed: Option<&MetadataLocation>,
    next_due_at: Option<TimestampMs>,
    failures: u32,
) -> Result<(), CoordinationError> {
    let store = &context.store;
    let written = store
        .end_process(claim, outcome, committed, next_due_at, failures)
        .await;
    let is_refused = match &written {
        Ok(()) | Err(CoordinationError::Fenced(_) | CoordinationError::Throttled { .. }) => false,
        Err(_) => true,
    };
    if is_refused {
        let process = &claim.process;
        for scope in &process.quotas {
            if let Err(error) = store.free_reservation(scope, &process.process).await {
                let id = &process.process;
                context.tell(Event::Notice {
                    about: About::process(id).of(&process.table),
                    message: format!(
                        "what process {id} holds of {scope}'s quota could not be let go of: {error}"
                    ),
                });
            }
        }
    }
    written
}
