//! Processes under way: one that nobody committed is committed, and what seems lost is sent again.

use std::time::Duration;

use icepress_coordination::{
    Conclusion, CoordinationError, Lease, ProcessRow, QueueDepth, TableRow, TaskRow, TaskState,
};
use icepress_model::{BucketId, ProcessId, TaskId, TimestampMs};
use tokio::sync::OnceCell;

use super::{
    start::send,
    sweep::{Visit, Visited, look_again_at, look_again_later},
    waiting::Obstacle,
};
use crate::{Context, Event, worker::finish};

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
            if let Some(obstacle) = obstacle {
                hold_back(context, lease, row, obstacle).await?;
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
            send_again(context, lease, &process_row, depth, now).await?;
        }
    }
    look_again_later(context, lease, row).await?;
    Ok(Visited::Done)
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
        reason: obstacle.reason,
        until: obstacle.until,
    });
    context.store.conclude(lease, row, &conclusion).await
}

/// What lies in the bucket's queue: asked once for a page of tables, and only where that decides anything.
#[derive(Debug, Default)]
pub(crate) struct Depth(OnceCell<Option<QueueDepth>>);

impl Depth {
    /// `None` where the queue does not say: then nothing counts as lost by it.
    async fn of(&self, context: &Context, bucket: BucketId) -> Option<QueueDepth> {
        let asked = self.0.get_or_init(|| async {
            match context.queue.depth(bucket).await {
                Ok(depth) => Some(depth),
                Err(error) => {
                    context.tell(Event::Notice {
                        message: format!(
                            "whether tasks of bucket {bucket} are lost can't be told: {error}"
                        ),
                    });
                    None
                }
            }
        });
        *asked.await
    }
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

/// Sends messages again for tasks that nobody works on and whose message is lost: a backlog, however old, is no loss.
/// Twice is harmless, but each costs a request and a run.
async fn send_again(
    context: &Context,
    lease: &Lease,
    process: &ProcessRow,
    depth: &Depth,
    now: TimestampMs,
) -> Result<(), CoordinationError> {
    let patience = context.settings.check_interval;
    let mut lost: Vec<TaskId> = Vec::new();
    for task in context.store.tasks(&process.process).await? {
        let is_lost = match Message::of(&task, now, patience) {
            Message::NotMissed => false,
            Message::Lost => true,
            Message::SentAgo(ago) => {
                let here = depth.of(context, lease.bucket).await;
                here.is_some_and(|here| here.has_lost_what_is(ago))
                    && (task.bucket == lease.bucket
                        || has_former_queue_lost(context, task.bucket, ago).await)
            }
        };
        if is_lost {
            lost.push(task.task);
        }
    }
    send(context, lease, &process.table, process.epoch, &lost).await
}

#[cfg(test)]
mod tests;
