//! Processes: their start, the claims of their commit, their end.

use super::*;

/// A process at its start.
pub fn new_process(lease: &Lease, process: &NewProcess, tasks: &[NewTask]) -> ProcessRow {
    let tasks = u32::try_from(tasks.len()).unwrap_or(u32::MAX);
    ProcessRow {
        process: process.process.clone(),
        kind: process.kind,
        table: process.table.clone(),
        bucket: lease.bucket,
        epoch: lease.epoch,
        created_at: process.created_at,
        state: ProcessState::Running,
        commit_claims: 0,
        waits: 0,
        tasks,
        open_tasks: tasks,
        header: process.header.clone(),
        quotas: process
            .reservation
            .iter()
            .flat_map(|reservation| &reservation.of)
            .map(|(scope, _)| scope.clone())
            .collect(),
    }
}

/// Its tasks, queued.
pub fn new_tasks(process: &ProcessRow, tasks: &[NewTask]) -> Vec<TaskRow> {
    (0..)
        .zip(tasks)
        .map(|(index, task)| TaskRow {
            task: TaskId {
                process: process.process.clone(),
                index,
            },
            kind: process.kind,
            bucket: process.bucket,
            attempt: Attempt(0),
            waits: 0,
            state: TaskState::Queued,
            payload: task.payload.clone(),
            sent_at: None,
        })
        .collect()
}

/// The process with its commit claimed; `None` where it is held, ended, or has open tasks.
pub fn claim_commit(
    row: &ProcessRow,
    worker: &WorkerId,
    now: TimestampMs,
    deadline: TimestampMs,
) -> Option<ProcessRow> {
    let free = match &row.state {
        ProcessState::Running => true,
        ProcessState::Committing { deadline, .. } => *deadline < now,
        ProcessState::Ended(_) => false,
    };
    if !free || row.open_tasks > 0 {
        return None;
    }
    let after = ProcessRow {
        state: ProcessState::Committing {
            worker: worker.clone(),
            deadline,
        },
        commit_claims: row.commit_claims + 1,
        ..row.clone()
    };
    invariants::assert_process_step(row, &after);
    Some(after)
}

/// The process with its newest claim on the commit prolonged, whether or not its time was over; `Fenced` where the claim
/// is not the newest any more.
pub fn extend_commit(row: &ProcessRow, claim: u32, deadline: TimestampMs) -> Result<ProcessRow> {
    match &row.state {
        ProcessState::Committing {
            worker,
            deadline: before,
        } if row.commit_claims == claim => {
            let after = ProcessRow {
                state: ProcessState::Committing {
                    worker: worker.clone(),
                    deadline: deadline.max(*before),
                },
                ..row.clone()
            };
            invariants::assert_process_step(row, &after);
            Ok(after)
        }
        _ => Err(lost_commit(&row.process, claim)),
    }
}

/// The process with its commit free for the next claim; `None` where this very claim was given back already. `Fenced`
/// where the claim is not the newest any more, or the process has ended.
pub fn give_back_commit(
    row: &ProcessRow,
    claim: u32,
    why: GivenBack,
) -> Result<Option<ProcessRow>> {
    match &row.state {
        ProcessState::Committing { .. } if row.commit_claims == claim => {
            let after = ProcessRow {
                state: ProcessState::Running,
                waits: row.waits + why.waits(),
                ..row.clone()
            };
            invariants::assert_process_step(row, &after);
            Ok(Some(after))
        }
        ProcessState::Running if row.commit_claims == claim => Ok(None),
        _ => Err(lost_commit(&row.process, claim)),
    }
}

/// The error of a write under a claim on a commit that is not the newest any more.
pub fn lost_commit(process: &ProcessId, claim: u32) -> CoordinationError {
    CoordinationError::Fenced(format!(
        "claim {claim} on the commit of process {process} is not the newest, or the process has ended"
    ))
}

/// The process ended under its `claim`; `None` where that very end stands already.
pub fn end(
    row: Option<&ProcessRow>,
    process: &ProcessId,
    claim: u32,
    outcome: &ProcessOutcome,
) -> Result<Option<ProcessRow>> {
    let fenced = |what: &str| {
        Err(CoordinationError::Fenced(format!(
            "process {process} {what}: claim {claim} of its commit can't end it"
        )))
    };
    let Some(row) = row else {
        return fenced("is gone");
    };
    let outcome = outcome.clone().bounded();
    match &row.state {
        ProcessState::Ended(ended) if row.commit_claims == claim && *ended == outcome => Ok(None),
        ProcessState::Ended(_) => fenced("has ended"),
        ProcessState::Committing { .. } if row.commit_claims == claim => {
            let after = ProcessRow {
                state: ProcessState::Ended(outcome),
                ..row.clone()
            };
            invariants::assert_process_step(row, &after);
            Ok(Some(after))
        }
        _ => fenced("was claimed by somebody else"),
    }
}

/// What cancelling a process comes to.
pub enum Cancel {
    /// The row to be written: the process has ended then.
    Ended(ProcessRow),
    /// Nothing to be written.
    Not(CancelOutcome),
}

/// The process given up because a person said so. One whose commit was claimed is not: whether its snapshot is in the
/// table is for the committer to find out.
pub fn cancel(row: &ProcessRow, reason: &str) -> Cancel {
    match &row.state {
        ProcessState::Ended(outcome) => Cancel::Not(CancelOutcome::EndedBefore(outcome.clone())),
        ProcessState::Committing { worker, deadline } => Cancel::Not(CancelOutcome::Committing {
            worker: worker.clone(),
            until: *deadline,
        }),
        ProcessState::Running => {
            let after = ProcessRow {
                state: ProcessState::Ended(
                    ProcessOutcome::Abandoned {
                        reason: reason.to_owned(),
                    }
                    .bounded(),
                ),
                ..row.clone()
            };
            invariants::assert_process_step(row, &after);
            Cancel::Ended(after)
        }
    }
}

/// The process with one open task less.
pub fn count_down(row: &ProcessRow) -> ProcessRow {
    let after = ProcessRow {
        open_tasks: row.open_tasks.saturating_sub(1),
        ..row.clone()
    };
    invariants::assert_process_step(row, &after);
    after
}
