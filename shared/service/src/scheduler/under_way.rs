//! Processes under way: one that nobody committed is committed, and what seems lost is sent again.

use std::time::Duration;

use icepress_coordination::{
    Conclusion, CoordinationError, Lease, ProcessRow, ProcessState, TableRow, TaskRow, TaskState,
};
use icepress_model::{Attempt, BucketId, ProcessId, TaskId, TimestampMs};

use super::{
    elsewhere,
    header::header_of,
    send::send,
    visit::{Depth, Visit, Visited, look_again_at, look_again_later},
    waiting::Obstacle,
};
use crate::{About, Context, Event, Stage, worker::finish};

pub(super) async fn look_after_or_tell(
    context: &Context,
    visit: &Visit<'_>,
    row: &TableRow,
    process: &ProcessId,
    obstacle: Option<Obstacle>,
) -> Result<Visited, CoordinationError> {
    let lease = visit.lease;
    match look_after(context, visit, row, process, obstacle).await {
        // One unreadable row does not stop the rest (case B11): it is told, and asked for again.
        Err(CoordinationError::UnreadableRow { row: key, message }) => {
            context.tell(Event::TableFailed {
                table: row.table.clone(),
                message: format!(
                    "table {}: its process can't be looked after: row {key} can't be read: {message}",
                    row.table
                ),
            });
            look_again_later(context, lease, row).await?;
            Ok(Visited::Done)
        }
        // The number of buckets was changed: the table is left to the owner of its new bucket.
        Err(CoordinationError::Moved(_)) => Ok(Visited::Done),
        other => other,
    }
}

/// Sees to a process under way: commits it if nobody did, and sends again what seems lost.
async fn look_after(
    context: &Context,
    visit: &Visit<'_>,
    row: &TableRow,
    process: &ProcessId,
    obstacle: Option<Obstacle>,
) -> Result<Visited, CoordinationError> {
    let Visit { lease, depth, .. } = *visit;
    let now = context.ambient.now();
    if let Some(process_row) = context.store.process(process).await? {
        if process_row.open_tasks == 0 {
            tell_stage(context, &process_row, Stage::Committing);
            if let Some(obstacle) = obstacle {
                hold_back(context, lease, row, obstacle).await?;
                return Ok(Visited::Done);
            }
            if is_for_optimizers(context, &process_row, now) {
                let any = TaskId {
                    process: process.clone(),
                    index: 0,
                };
                // Who is sent a task that is done sees to the commit.
                let what = (&row.table, process_row.kind);
                send(context, lease, what, process_row.epoch, &[any]).await?;
                look_again_later(context, lease, row).await?;
                return Ok(Visited::Done);
            }
            // Somebody was at this commit before and may have died of it.
            if process_row.commit_claims > 0 && !visit.alone {
                return Ok(Visited::Doubtful);
            }
            let next_try =
                match finish::commit_process(context, &row.table, process, visit.deadline).await {
                    // Another has the claim on the commit by now: that says nothing of our lease.
                    Err(CoordinationError::Fenced(reason)) => {
                        context.tell(Event::Notice {
                            about: About::process(process).of(&row.table),
                            message: format!("table {}: {reason}", row.table),
                        });
                        None
                    }
                    other => other?,
                };
            // Ended, it has freed its table; else another's claim is running and the next check decides.
            let freed = context
                .store
                .table(&row.table)
                .await?
                .is_none_or(|row| row.active_process.is_none());
            if freed {
                return Ok(Visited::Done);
            }
            if let Some(next_try) = next_try {
                look_again_at(context, lease, row, next_try).await?;
                return Ok(Visited::Done);
            }
        } else {
            // The other queue is looked at by itself: few processes are in it.
            let own = Depth::of_kind(process_row.kind);
            let depth = if process_row.kind.deletes() {
                &own
            } else {
                depth
            };
            send_again(context, lease, &process_row, depth, now).await?;
        }
    }
    look_again_later(context, lease, row).await?;
    Ok(Visited::Done)
}

fn tell_stage(context: &Context, process: &ProcessRow, stage: Stage) {
    context.tell(Event::UnderWay {
        table: process.table.clone(),
        process: process.process.clone(),
        stage,
        since: process.created_at,
    });
}

/// How far a process is whose tasks are not all over.
fn stage_of(tasks: &[TaskRow]) -> Stage {
    match tasks.iter().all(|task| task.attempt == Attempt(0)) {
        true => Stage::Queued,
        false => Stage::Running,
    }
}

/// Whether a commit that nobody is at is one for optimizers, who have more memory and time: what it is made of is too much for
/// what there is here, or two were at it before who never came back.
fn is_for_optimizers(context: &Context, process: &ProcessRow, now: TimestampMs) -> bool {
    if !elsewhere::is_possible(context) {
        return false;
    }
    // One that evaluates ends without a commit.
    let Some(header) = header_of(process) else {
        return false;
    };
    let is_deadly = match &process.state {
        ProcessState::Committing { deadline, .. } if *deadline >= now => return false,
        ProcessState::Committing { .. } => process.commit_claims >= 2,
        ProcessState::Running | ProcessState::Ended(_) => false,
    };
    is_deadly || header.sources.memory() > context.settings.plan_memory
}

/// Leaves a process uncommitted that is done with its tasks. It is looked at as often as any process under way: nothing
/// else wakes it when the blocker is taken away.
async fn hold_back(
    context: &Context,
    lease: &Lease,
    row: &TableRow,
    obstacle: Obstacle,
) -> Result<(), CoordinationError> {
    let next_look = context.ambient.now() + context.settings.check_interval;
    let until = obstacle
        .until
        .map_or(next_look, |until| until.min(next_look));
    let conclusion = Conclusion {
        next_due_at: Some(until.max(context.ambient.now() + Duration::from_millis(1))),
        ..obstacle.conclusion(context, row)
    };
    context.tell(Event::Waiting {
        table: row.table.clone(),
        task: None,
        waits_for: obstacle.waits_for,
        reason: obstacle.reason,
        until: obstacle.until,
    });
    context.store.conclude(lease, row, &conclusion).await
}

/// Whether a task's message is on its way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Message {
    /// It is, or none is needed: the task is done, in somebody's hands, or was sent a moment ago.
    NotMissed,
    /// There certainly is none, or none that will be seen soon.
    Lost,
    /// It is not for as long as nobody has taken it out of the queue: the queue has to be asked.
    SentAgo(Duration),
}

impl Message {
    fn of(task: &TaskRow, now: TimestampMs, patience: Duration) -> Self {
        let claim_end = match &task.state {
            TaskState::Done(_) | TaskState::Failed(_) => return Self::NotMissed,
            TaskState::Running { deadline, .. } if *deadline >= now => return Self::NotMissed,
            TaskState::Running { deadline, .. } => Some(*deadline),
            TaskState::Queued => None,
        };
        let Some(sent_at) = task.sent_at else {
            // It was never sent, or acknowledged since somebody else had the task, who died or gave it back.
            return Self::Lost;
        };
        let ago = now.since(sent_at);
        if ago < patience {
            Self::NotMissed
        } else if claim_end.is_some_and(|end| sent_at <= end) {
            // Who took it died with it: it stays hidden for far longer than the claim lasted.
            Self::Lost
        } else {
            Self::SentAgo(ago)
        }
    }
}

/// The same of the queue of the bucket that the table was in when it was planned, which may be taken away by now.
async fn has_former_queue_lost(context: &Context, bucket: BucketId, ago: Duration) -> bool {
    match context.queue.depth(bucket).await {
        Ok(depth) => depth.has_lost_what_is(ago),
        Err(_) => true,
    }
}

/// A message is lost past which so much later ones were taken out of the same queue, which keeps about their order: one that
/// somebody received who died before the claim comes back within six times the longest run of a function.
const PASSED_BY: Duration = Duration::from_secs(2 * 3600);

/// That is said of processes with no more open tasks than this. Of a table with more, queues hold some back on purpose while
/// those of others pass; when no more than these are left, it holds again.
const FEW_OPEN: u32 = 10;

/// Sends messages again for tasks that nobody works on and whose message is lost: a backlog, however old, is no loss.
/// Twice is harmless, but each costs a request and a run.
///
/// A queue that is empty has lost what is not in it; one that never empties has lost what later messages have passed.
async fn send_again(
    context: &Context,
    lease: &Lease,
    process: &ProcessRow,
    depth: &Depth,
    now: TimestampMs,
) -> Result<(), CoordinationError> {
    let patience = context.settings.check_interval;
    let mut lost: Vec<TaskId> = Vec::new();
    let tasks = context.store.tasks(&process.process).await?;
    tell_stage(context, process, stage_of(&tasks));
    if let Some(newest) = newest_taken(lease.bucket, &tasks, now) {
        context.taken.note(lease.bucket, newest);
    }
    let newest = context.taken.newest(lease.bucket);
    for task in tasks {
        let is_passed = || {
            let is_few = process.open_tasks <= FEW_OPEN;
            is_few
                && task.bucket == lease.bucket
                && task.sent_at.is_some_and(|at| has_passed(newest, at))
        };
        let is_lost = match Message::of(&task, now, patience) {
            Message::NotMissed => false,
            Message::Lost => true,
            Message::SentAgo(_) if is_passed() => true,
            Message::SentAgo(ago) => {
                let here = depth.of(context, lease.bucket).await;
                here.is_some_and(|here| here.has_lost_what_is(ago))
                    && (task.bucket == lease.bucket
                        || process.kind.deletes()
                        || has_former_queue_lost(context, task.bucket, ago).await)
            }
        };
        if is_lost {
            lost.push(task.task);
        }
    }
    let what = (&process.table, process.kind);
    send(context, lease, what, process.epoch, &lost).await
}

/// When the newest message in the queue of `bucket` was sent that somebody has taken out, of those of `tasks`.
fn newest_taken(bucket: BucketId, tasks: &[TaskRow], now: TimestampMs) -> Option<TimestampMs> {
    let taken = tasks.iter().filter(|task| match &task.state {
        TaskState::Done(_) => true,
        TaskState::Running { deadline, .. } => *deadline >= now,
        TaskState::Queued | TaskState::Failed(_) => false,
    });
    let here = taken.filter(|task| task.bucket == bucket);
    here.filter_map(|task| task.sent_at).max()
}

/// Whether messages that were sent long after `sent_at` have been taken out.
fn has_passed(newest: Option<TimestampMs>, sent_at: TimestampMs) -> bool {
    newest.is_some_and(|newest| newest.since(sent_at) >= PASSED_BY)
}

#[cfg(test)]
mod tests;
