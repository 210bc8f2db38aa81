//! Processes under way, and what each waits for: the answer to "why does nothing happen?".

use std::time::Duration;

use futures::{StreamExt as _, stream};
use icepress_coordination::{
    CancelOutcome, CoordinationError, ProcessRow, ProcessState, TableRow, TaskRow, TaskState,
};
use icepress_model::{ProcessId, ProcessKind, ProcessOutcome, TableId, TimestampMs};
use serde::Serialize;
use thiserror::Error;

use crate::{
    Context, Waiting,
    worker::{finish::forsaken::end_forsaken, leftovers},
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
    /// What it is for.
    pub kind: ProcessKind,
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
/// Processes that are collected before they are looked at.
pub(crate) const LOOKS_TOGETHER: usize = 100;
/// Rows that can't be read that are told one by one.
const MOST_UNREAD: usize = 20;

/// Why a process could not be cancelled.
#[derive(Debug, Error)]
#[error(
    "process {process} is not cancelled, and nothing was changed: {source}. An outage passes: try again. Where this stays, the \
     state store does not take a row of it{of_table}: mend or remove that row, and its table is looked at anew; no other table \
     waits for it"
)]
pub struct CancelError {
    process: ProcessId,
    /// Of which table it is, as far as that can be read.
    of_table: String,
    source: CoordinationError,
}

/// Gives up a process because a person says so. One that is being committed is not, for whether its snapshot is in the
/// table is for the committer to find out; once the committer's claim is over, nobody is at it, and this does.
pub async fn cancel(
    context: &Context,
    process: &ProcessId,
    reason: &str,
) -> Result<CancelOutcome, CancelError> {
    let source = match try_to_cancel(context, process, reason).await {
        Ok(outcome) => return Ok(outcome),
        Err(error) => error,
    };
    let table = match context.store.process(process).await {
        Ok(Some(row)) => format!(", its own or that of table {}", row.table),
        _ => String::new(),
    };
    Err(CancelError {
        process: process.clone(),
        of_table: table,
        source,
    })
}

async fn try_to_cancel(
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

/// What is under way.
#[derive(Debug, Clone, Default)]
pub struct UnderWay {
    /// Processes, the oldest first.
    pub work: Vec<Work>,
    /// Younger ones beside them.
    pub more: u64,
    /// Which rows could not be read, and why: the first of them.
    pub unread: Vec<String>,
    /// Further ones that could not be read.
    pub more_unread: u64,
}

/// The oldest processes under way, at most `most`, of one table or of all. A row that can't be read hides no other.
pub async fn under_way(
    context: &Context,
    table: Option<&TableId>,
    most: usize,
) -> Result<UnderWay, CoordinationError> {
    let mut oldest = Oldest::new(Duration::ZERO, most);
    match table {
        Some(table) => match context.store.table(table).await {
            Ok(row) => {
                let at_work = row.as_ref().and_then(AtWork::of);
                oldest.add(context, at_work.into_iter().collect()).await;
            }
            Err(error) => oldest.note_unread(format!("table {table}: {error}")),
        },
        None => {
            let mut rows = context.watched().await?;
            let mut some = Vec::with_capacity(LOOKS_TOGETHER);
            while let Some(row) = rows.next().await? {
                match row {
                    Ok(row) => some.extend(AtWork::of(&row)),
                    Err(error) => oldest.note_unread(error.to_string()),
                }
                if some.len() == LOOKS_TOGETHER {
                    oldest.add(context, std::mem::take(&mut some)).await;
                }
            }
            oldest.add(context, some).await;
        }
    }
    Ok(oldest.look_at_tasks(context).await)
}

/// The oldest processes of those that are handed to it, of however many.
#[derive(Debug)]
pub(crate) struct Oldest {
    least_age: Duration,
    most: usize,
    kept: Vec<(ProcessRow, Option<String>)>,
    found: UnderWay,
}

impl Oldest {
    /// Those that were planned so long ago, at most `most`.
    pub(crate) fn new(least_age: Duration, most: usize) -> Self {
        Self {
            least_age,
            most,
            kept: Vec::new(),
            found: UnderWay::default(),
        }
    }

    /// Looks at some more.
    pub(crate) async fn add(&mut self, context: &Context, some: Vec<AtWork>) {
        let now = context.ambient.now();
        let looks = some.into_iter().map(|at_work| read(context, at_work));
        let mut looks = stream::iter(looks).buffer_unordered(LOOKS_AT_ONCE);
        while let Some((at_work, read)) = looks.next().await {
            match read {
                Ok(Some(process)) if now.since(process.created_at) >= self.least_age => {
                    self.kept.push((process, at_work.waits));
                }
                Ok(_) => {}
                Err(error) => self.note_unread(format!("process {}: {error}", at_work.process)),
            }
            // Sorted once in a while: that costs little, and twice the memory at most.
            if self.kept.len() > self.most.saturating_mul(2).saturating_add(LOOKS_TOGETHER) {
                self.shorten();
            }
        }
    }

    fn shorten(&mut self) {
        let age = |(process, _): &(ProcessRow, _)| (process.created_at, process.process.clone());
        self.kept.sort_by_cached_key(age);
        self.found.more += self.kept.len().saturating_sub(self.most) as u64;
        self.kept.truncate(self.most);
    }

    pub(crate) fn note_unread(&mut self, text: String) {
        if self.found.unread.len() < MOST_UNREAD {
            self.found.unread.push(text);
        } else {
            self.found.more_unread += 1;
        }
    }

    /// The oldest, with how their tasks stand.
    pub(crate) async fn look_at_tasks(mut self, context: &Context) -> UnderWay {
        self.shorten();
        let kept = std::mem::take(&mut self.kept);
        let looks = kept
            .into_iter()
            .map(|(process, waits)| look(context, process, waits));
        let mut looks = stream::iter(looks).buffered(LOOKS_AT_ONCE);
        while let Some(looked) = looks.next().await {
            match looked {
                Ok(work) => self.found.work.push(work),
                Err(unread) => self.note_unread(unread),
            }
        }
        self.found
    }
}

async fn read(
    context: &Context,
    at_work: AtWork,
) -> (AtWork, Result<Option<ProcessRow>, CoordinationError>) {
    let row = context.store.process(&at_work.process).await;
    (at_work, row)
}

async fn look(
    context: &Context,
    process: ProcessRow,
    waits: Option<String>,
) -> Result<Work, String> {
    let now = context.ambient.now();
    let tasks = context.store.tasks(&process.process).await;
    let tasks = tasks.map_err(|error| format!("tasks of process {}: {error}", process.process))?;
    let tasks = TaskCounts::of(&tasks, now);
    Ok(Work {
        // What the table's row says of it is of the last look, and may be over.
        waits_for: match waits.filter(|_| process.open_tasks == 0) {
            Some(reason) => reason,
            None => waits_for(&process, tasks, now),
        },
        age: now.since(process.created_at),
        started_at: process.created_at,
        all_tasks: process.tasks,
        open_tasks: process.open_tasks,
        process: process.process,
        kind: process.kind,
        table: process.table,
        tasks,
    })
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
