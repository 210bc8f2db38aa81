//! Tasks on their way to those who may do them.

use icepress_coordination::{CoordinationError, Lease, TaskMessage};
use icepress_model::{Epoch, ProcessKind, TableId, TaskId};

use crate::{About, Context, Event};

/// Sends the tasks' messages to those who may do them, under the bucket that the table is in now, noting each that went out. One that
/// did not is sent by a later sweep.
pub(super) async fn send(
    context: &Context,
    lease: &Lease,
    (table, kind): (&TableId, ProcessKind),
    epoch: Epoch,
    tasks: &[TaskId],
) -> Result<(), CoordinationError> {
    if tasks.is_empty() {
        return Ok(());
    }
    let Some(queue) = context.queue_of(kind) else {
        context.tell(Event::Notice {
            about: About::table(table),
            message: format!("a task of table {table} was not sent: nobody here may do {kind}"),
        });
        return Ok(());
    };
    let messages: Vec<TaskMessage> = tasks
        .iter()
        .map(|task| TaskMessage {
            task: task.clone(),
            table: table.clone(),
            epoch,
        })
        .collect();
    let now = context.ambient.now();
    let results = match queue.send(lease.bucket, &messages).await {
        Ok(results) => results,
        // The process stands: the next check sends again. The other tables need not wait for it.
        Err(error) => {
            context.tell(Event::Notice {
                about: About::table(table),
                message: format!("the tasks of table {table} were not sent yet: {error}"),
            });
            return Ok(());
        }
    };
    for (task, result) in tasks.iter().zip(results) {
        match result {
            Ok(()) => context.store.note_sent(task, now).await?,
            Err(error) => context.tell(Event::Notice {
                about: About::task(task).of(table),
                message: format!("task {task} of table {table} was not sent yet: {error}"),
            }),
        }
    }
    Ok(())
}
