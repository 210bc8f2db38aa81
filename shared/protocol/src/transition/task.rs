//! Tasks: their claims and their results.

use super::*;

/// What a claim meets.
pub enum Claim {
    /// The row to be written: it is the caller's then.
    Free(TaskRow),
    /// Nothing to be written.
    Not(ClaimOutcome),
}

/// A claim on a task.
pub fn claim_task(
    row: &TaskRow,
    process: Option<&ProcessRow>,
    worker: &WorkerId,
    now: TimestampMs,
    deadline: TimestampMs,
) -> Claim {
    match &row.state {
        TaskState::Done(_) | TaskState::Failed(_) => return Claim::Not(ClaimOutcome::Finished),
        _ if process.is_none_or(ProcessRow::has_ended) => return Claim::Not(ClaimOutcome::Gone),
        TaskState::Running { deadline, .. } if *deadline >= now => {
            return Claim::Not(ClaimOutcome::Held { until: *deadline });
        }
        TaskState::Running { .. } | TaskState::Queued => {}
    }
    let after = TaskRow {
        attempt: Attempt(row.attempt.get() + 1),
        state: TaskState::Running {
            worker: worker.clone(),
            deadline,
        },
        ..row.clone()
    };
    invariants::assert_task_step(row, &after);
    Claim::Free(after)
}

fn is_running(row: &TaskRow, attempt: Attempt) -> bool {
    row.attempt == attempt && matches!(row.state, TaskState::Running { .. })
}

/// The task with its result; `None` where the attempt is not the one at work.
pub fn report(
    row: &TaskRow,
    attempt: Attempt,
    result: &std::result::Result<Payload, RewriteFailure>,
) -> Option<TaskRow> {
    if !is_running(row, attempt) {
        return None;
    }
    let after = TaskRow {
        state: match result {
            Ok(payload) => TaskState::Done(payload.clone()),
            Err(failure) => TaskState::Failed(failure.clone().bounded()),
        },
        ..row.clone()
    };
    invariants::assert_task_step(row, &after);
    Some(after)
}

/// What giving a task back comes to.
pub enum Return {
    /// The row to be written.
    Queued(TaskRow),
    /// This attempt gave it back already.
    Already,
    /// The attempt is not the newest, or has reported.
    Stale,
}

/// The task given back by an attempt. Of one that waits the message is answered: whoever finds it without a holder sends
/// another, so that the queue does not count what is nobody's fault.
pub fn return_task(row: &TaskRow, attempt: Attempt, why: GivenBack) -> Return {
    if row.attempt == attempt && row.state == TaskState::Queued && attempt != Attempt(0) {
        return Return::Already;
    }
    if !is_running(row, attempt) {
        return Return::Stale;
    }
    let after = TaskRow {
        state: TaskState::Queued,
        waits: row.waits + why.waits(),
        sent_at: row.sent_at.filter(|_| why == GivenBack::Tried),
        ..row.clone()
    };
    invariants::assert_task_step(row, &after);
    Return::Queued(after)
}

/// The task with its claim prolonged; `Fenced` where the attempt is not the one at work.
pub fn extend_claim(row: &TaskRow, attempt: Attempt, deadline: TimestampMs) -> Result<TaskRow> {
    match &row.state {
        TaskState::Running { worker, .. } if row.attempt == attempt => {
            let after = TaskRow {
                state: TaskState::Running {
                    worker: worker.clone(),
                    deadline,
                },
                ..row.clone()
            };
            invariants::assert_task_step(row, &after);
            Ok(after)
        }
        _ => Err(lost_task(&row.task, attempt)),
    }
}

/// The error of a write under an attempt that is not at work any more.
pub fn lost_task(task: &TaskId, attempt: Attempt) -> CoordinationError {
    CoordinationError::Fenced(format!("attempt {attempt} at task {task} is not at work"))
}
