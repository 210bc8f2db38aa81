//! Processes under way, and what each waits for: the answer to "why does nothing happen?".

use std::time::Duration;

use icepress_coordination::{CoordinationError, ProcessRow, ProcessState, TaskRow, TaskState};
use icepress_model::{TableId, TimestampMs};
use serde::Serialize;

use crate::{Context, Waiting};

/// Tasks of a process by where they stand.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct TaskCounts {
    /// Their message was never sent.
    pub unsent: u32,
    /// Their message was sent, and nobody works on them.
    pub waiting: u32,
    /// Somebody works on them.
    pub running: u32,
    /// Whoever worked on them let the claim run out.
    pub forsaken: u32,
    /// Done.
    pub done: u32,
    /// Failed for good.
    pub failed: u32,
}

impl TaskCounts {
    fn of(tasks: &[TaskRow], now: TimestampMs) -> Self {
        let mut counts = Self::default();
        for task in tasks {
            let count = match &task.state {
                TaskState::Queued if task.sent_at.is_none() => &mut counts.unsent,
                TaskState::Queued => &mut counts.waiting,
                TaskState::Running { deadline, .. } if *deadline < now => &mut counts.forsaken,
                TaskState::Running { .. } => &mut counts.running,
                TaskState::Done(_) => &mut counts.done,
                TaskState::Failed(_) => &mut counts.failed,
            };
            *count += 1;
        }
        counts
    }
}

/// A process under way.
#[derive(Debug, Clone)]
pub struct Work {
    /// The process.
    pub process: ProcessRow,
    /// Its tasks.
    pub tasks: TaskCounts,
    /// How long ago it was planned.
    pub age: Duration,
    /// What it waits for, one line.
    pub waits_for: String,
}

/// All processes under way, of one table or of all, the oldest first. Rows that can't be read are left out.
pub async fn under_way(
    context: &Context,
    table: Option<&TableId>,
) -> Result<Vec<Work>, CoordinationError> {
    let now = context.ambient.now();
    let rows = match table {
        Some(table) => match context.store.table(table).await {
            Ok(row) => row.into_iter().collect(),
            Err(CoordinationError::UnreadableRow { .. }) => Vec::new(),
            Err(error) => return Err(error),
        },
        None => context
            .store
            .tables()
            .await?
            .into_iter()
            .flatten()
            .collect(),
    };
    let mut all = Vec::new();
    for row in rows {
        let Some(id) = &row.active_process else {
            continue;
        };
        let process = match context.store.process(id).await {
            Ok(Some(process)) => process,
            Ok(None) | Err(CoordinationError::UnreadableRow { .. }) => continue,
            Err(error) => return Err(error),
        };
        let tasks = TaskCounts::of(&context.store.tasks(id).await?, now);
        all.push(Work {
            // What the row says of it is of the last look, and may be over.
            waits_for: match Waiting::of(&row).filter(|_| process.open_tasks == 0) {
                Some(waiting) => waiting.reason,
                None => waits_for(&process, tasks, now),
            },
            age: now.since(process.created_at),
            process,
            tasks,
        });
    }
    all.sort_by_key(|work| work.process.created_at);
    Ok(all)
}

fn waits_for(process: &ProcessRow, tasks: TaskCounts, now: TimestampMs) -> String {
    match &process.state {
        ProcessState::Ended(_) => "nothing: it has ended".to_owned(),
        ProcessState::Committing { worker, deadline } if *deadline < now => {
            format!("a scheduler to take over its commit, since {worker} let the claim run out")
        }
        ProcessState::Committing { worker, .. } => format!("{worker}, who commits it"),
        ProcessState::Running if process.open_tasks == 0 => {
            "a scheduler to commit it, since whoever finished the last task did not".to_owned()
        }
        ProcessState::Running if tasks.running > 0 => {
            format!("{} at work", tasks_text(tasks.running))
        }
        ProcessState::Running if tasks.forsaken > 0 => format!(
            "another worker for {} whose worker is gone",
            tasks_text(tasks.forsaken)
        ),
        ProcessState::Running if tasks.waiting > 0 => {
            format!("an optimizer to take {}", tasks_text(tasks.waiting))
        }
        ProcessState::Running => format!(
            "a scheduler to send {} to the queue",
            tasks_text(tasks.unsent)
        ),
    }
}

fn tasks_text(number: u32) -> String {
    match number {
        1 => "1 task".to_owned(),
        number => format!("{number} tasks"),
    }
}
