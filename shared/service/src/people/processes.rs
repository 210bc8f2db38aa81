//! Processes under way, and what each waits for: the answer to "why does nothing happen?".

use std::time::Duration;

use futures::{StreamExt as _, TryStreamExt as _, future, stream};
use icepress_coordination::{
    CancelOutcome, CoordinationError, Listing, ProcessRow, ProcessState, TableRow, TaskRow,
    TaskState,
};
use icepress_model::{ProcessId, ProcessOutcome, TableId, TimestampMs};
use serde::Serialize;

use crate::{
    Context, Waiting,
    worker::{forsaken::end_forsaken, leftovers},
};

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
    pub process: ProcessId,
    /// Its table.
    pub table: TableId,
    /// When it was planned.
    pub started_at: TimestampMs,
    /// How long ago that was.
    pub age: Duration,
    /// Tasks in all.
    pub all_tasks: u32,
    /// Tasks that are neither done nor failed.
    pub open_tasks: u32,
    /// Its tasks by where they stand.
    pub tasks: TaskCounts,
    /// What it waits for, one line.
    pub waits_for: String,
}

/// What a table's row says of a process under way.
#[derive(Debug)]
pub(crate) struct AtWork {
    process: ProcessId,
    /// What the table waits for.
    waits: Option<String>,
}

impl AtWork {
    pub(crate) fn of(row: &TableRow) -> Option<Self> {
        let process = row.active_process.clone()?;
        let waits = Waiting::of(row).map(|waiting| waiting.reason);
        Some(Self { process, waits })
    }
}

/// Processes that are looked at at the same time: each may have a thousand tasks.
const LOOKS_AT_ONCE: usize = 8;

/// Gives up a process because a person says so. One that is being committed is not, for whether its snapshot is in the
/// table is for the committer to find out; once the committer's claim is over, nobody is at it, and this does.
pub async fn cancel(
    context: &Context,
    process: &ProcessId,
    reason: &str,
) -> Result<CancelOutcome, CoordinationError> {
    let outcome = context.store.cancel_process(process, reason).await?;
    let now = context.ambient.now();
    match &outcome {
        CancelOutcome::Committing { until, .. } if *until < now => {}
        CancelOutcome::Cancelled => {
            delete_uncommitted(context, process).await?;
            return Ok(outcome);
        }
        _ => return Ok(outcome),
    }
    let settings = &context.settings;
    let until = now + settings.commit_ttl;
    let claimed = context
        .store
        .claim_commit(process, &settings.worker, now, until)
        .await?;
    let Some(claim) = claimed else {
        // Somebody else was faster.
        return context.store.cancel_process(process, reason).await;
    };
    let abandoned = |unknown| ProcessOutcome::Abandoned {
        reason: format!("{reason}{unknown}"),
    };
    let row = context.store.table(&claim.process.table).await?;
    let failures = row.map_or(0, |row| row.failures);
    match end_forsaken(context, &claim, abandoned, None, failures).await? {
        ProcessOutcome::Abandoned { .. } => Ok(CancelOutcome::Cancelled),
        ended => Ok(CancelOutcome::EndedBefore(ended)),
    }
}

/// Deletes what a process that was cancelled had written, if nobody ever began to commit it. What its tasks write that are
/// at work still, they delete themselves: their reports are turned down.
async fn delete_uncommitted(
    context: &Context,
    process: &ProcessId,
) -> Result<(), CoordinationError> {
    match context.store.process(process).await? {
        Some(row) if row.commit_claims == 0 => {
            leftovers::delete_reported(context, &row.table, process).await;
        }
        _ => {}
    }
    Ok(())
}

/// All processes under way, of one table or of all, the oldest first. Rows that can't be read are left out.
pub async fn under_way(
    context: &Context,
    table: Option<&TableId>,
) -> Result<Vec<Work>, CoordinationError> {
    let mut at_work = Vec::new();
    match table {
        Some(table) => match context.store.table(table).await {
            Ok(row) => at_work.extend(row.as_ref().and_then(AtWork::of)),
            Err(CoordinationError::UnreadableRow { .. }) => {}
            Err(error) => return Err(error),
        },
        None => {
            let mut rows = Listing::of_all(&context.store);
            while let Some(listed) = rows.next().await? {
                at_work.extend(listed.row.ok().as_ref().and_then(AtWork::of));
            }
        }
    }
    older_than(context, Duration::ZERO, at_work).await
}

/// Those of the processes that were planned so long ago, the oldest first.
pub(crate) async fn older_than(
    context: &Context,
    age: Duration,
    at_work: Vec<AtWork>,
) -> Result<Vec<Work>, CoordinationError> {
    let looks = at_work
        .into_iter()
        .map(|at_work| look(context, age, at_work));
    let looks = stream::iter(looks).buffer_unordered(LOOKS_AT_ONCE);
    let mut all: Vec<Work> = looks.try_filter_map(future::ok).try_collect().await?;
    all.sort_by(|a, b| (a.started_at, &a.process).cmp(&(b.started_at, &b.process)));
    Ok(all)
}

async fn look(
    context: &Context,
    least_age: Duration,
    at_work: AtWork,
) -> Result<Option<Work>, CoordinationError> {
    let now = context.ambient.now();
    let process = match context.store.process(&at_work.process).await {
        Ok(Some(process)) if now.since(process.created_at) >= least_age => process,
        Ok(_) | Err(CoordinationError::UnreadableRow { .. }) => return Ok(None),
        Err(error) => return Err(error),
    };
    let tasks = TaskCounts::of(&context.store.tasks(&at_work.process).await?, now);
    Ok(Some(Work {
        // What the table's row says of it is of the last look, and may be over.
        waits_for: match at_work.waits.filter(|_| process.open_tasks == 0) {
            Some(reason) => reason,
            None => waits_for(&process, tasks, now),
        },
        age: now.since(process.created_at),
        started_at: process.created_at,
        all_tasks: process.tasks,
        open_tasks: process.open_tasks,
        process: process.process,
        table: process.table,
        tasks,
    }))
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
