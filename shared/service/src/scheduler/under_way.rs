//! Processes under way: one that nobody committed is committed, and what seems lost is sent again.

use std::time::Duration;

use icepress_coordination::{
    Conclusion, CoordinationError, Lease, ProcessRow, TableRow, TaskRow, TaskState,
};
use icepress_model::{ProcessId, TaskId, TimestampMs};

use super::{
    start::send,
    sweep::{look_again_at, look_again_later},
    waiting::Obstacle,
};
use crate::{Context, Deadline, Event, worker::finish};

pub(super) async fn look_after_or_tell(
    context: &Context,
    lease: &Lease,
    row: &TableRow,
    process: &ProcessId,
    obstacle: Option<Obstacle>,
    deadline: Deadline,
) -> Result<(), CoordinationError> {
    match look_after(context, lease, row, process, obstacle, deadline).await {
        // One unreadable row does not stop the rest (case B11): it is told, and asked for again.
        Err(CoordinationError::UnreadableRow { row: key, message }) => {
            context.tell(Event::TableFailed {
                table: row.table.clone(),
                message: format!(
                    "table {}: its process can't be looked after: row {key} can't be read: {message}",
                    row.table
                ),
            });
            look_again_later(context, lease, row).await
        }
        other => other,
    }
}

/// Sees to a process under way: commits it if nobody did, and sends again what seems lost.
async fn look_after(
    context: &Context,
    lease: &Lease,
    row: &TableRow,
    process: &ProcessId,
    obstacle: Option<Obstacle>,
    deadline: Deadline,
) -> Result<(), CoordinationError> {
    let now = context.ambient.now();
    if let Some(process_row) = context.store.process(process).await? {
        if process_row.open_tasks == 0 {
            if let Some(obstacle) = obstacle {
                return hold_back(context, lease, row, obstacle).await;
            }
            let next_try = finish::commit_process(context, &row.table, process, deadline).await?;
            // Ended, it has freed its table; else another's claim is running and the next check decides.
            let freed = context
                .store
                .table(&row.table)
                .await?
                .is_none_or(|row| row.active_process.is_none());
            if freed {
                return Ok(());
            }
            if let Some(next_try) = next_try {
                return look_again_at(context, lease, row, next_try).await;
            }
        } else {
            send_again(context, lease, &process_row, now).await?;
        }
    }
    look_again_later(context, lease, row).await
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

/// Sends messages again for tasks that nobody works on and whose message is old: it may never have been sent, lies in a
/// dead-letter queue, or in a queue that was taken away. Twice is harmless.
async fn send_again(
    context: &Context,
    lease: &Lease,
    process: &ProcessRow,
    now: TimestampMs,
) -> Result<(), CoordinationError> {
    let patience = context.settings.check_interval;
    let lost: Vec<TaskRow> = context
        .store
        .tasks(&process.process)
        .await?
        .into_iter()
        .filter(|task| {
            let idle = match &task.state {
                TaskState::Queued => true,
                TaskState::Running { deadline, .. } => *deadline < now,
                TaskState::Done(_) | TaskState::Failed(_) => false,
            };
            let sent_lately = task.sent_at.is_some_and(|sent| now.since(sent) < patience);
            idle && !sent_lately
        })
        .collect();
    let ids: Vec<TaskId> = lost.into_iter().map(|task| task.task).collect();
    send(context, lease, &process.table, process.epoch, &ids).await
}
