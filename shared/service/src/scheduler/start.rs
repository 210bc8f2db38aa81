//! The start of a process: what was planned is written down, and its tasks are sent.

use std::sync::Arc;

use icepress_coordination::{
    Conclusion, CoordinationError, Lease, NewProcess, NewTask, StartOutcome, TableRow,
};
use icepress_model::{
    GroupTask, MetadataLocation, NanoDollars, Pace, ProcessId, ProcessKind, TableId, TablePlan,
    TaskId, TimestampMs,
};

use super::{
    elsewhere::Past,
    evaluate::{self, EvaluateError, Planned},
    failure::{Failure, conclude_failure},
    header::ProcessHeader,
    limits::{self, Room},
    observed,
    send::send,
    upkeep::{self, Beginning, Memory, Prospects, Verdict},
    visit::wait,
    waiting,
};
use crate::{Context, Event, Mode, Ruling, worker::payload};

/// What is to be done about a table now.
pub(super) struct Work {
    /// As much of the plan as may be done.
    pub(super) planned: Planned,
    pub(super) room: Room,
    pub(super) ruling: Ruling,
}

/// Writes what was concluded; starts a process and sends its tasks where there is something to do.
pub(super) async fn start(
    context: &Context,
    lease: &Lease,
    row: &TableRow,
    work: Work,
    past: &Past,
) -> Result<(), CoordinationError> {
    let Work {
        planned,
        room,
        ruling,
    } = work;
    let Planned {
        location,
        plan,
        repeated,
        shrunk_to,
        learned,
        sources,
        prospects,
        snapshot_id,
        oldest,
        ..
    } = planned;
    let now = context.ambient.now();
    let plan = Arc::new(plan);
    let memory = Memory::after(past.newest.as_ref());
    let upkeep = upkeep_now(context, &prospects, &memory, now);
    if repeated > 0 {
        let message = message_of_repeats(repeated);
        context.tell(Event::Repeats {
            table: row.table.clone(),
            message: message.clone(),
        });
        if plan.groups.is_empty() {
            return rest_after_repeats(context, lease, row, &location, &plan, &message).await;
        }
    }
    let text = waiting::with_priority(&evaluate::conclusion_of_plan(&plan), room.priority);
    let conclusion = Conclusion {
        evaluated_location: Some(location.clone()),
        text: observed::with_mode(upkeep::tell_of(&text, &upkeep), &ruling),
        next_due_at: upkeep.next(),
        failures: row.failures,
    };
    // Whoever asks for a table by its name has it worked on.
    if ruling.mode == Mode::Observe && !context.settings.by_hand {
        return observed::conclude(context, lease, row, plan, &upkeep, conclusion).await;
    }
    let is_its_turn = plan.groups.is_empty() || past.ends_with_a_rewrite();
    if let Some(due) = upkeep.due.first().cloned().filter(|_| is_its_turn) {
        let beginning = Beginning {
            due,
            base: location,
            snapshot_id,
            memory,
            last_rewrite: past.last.as_ref().map(|last| last.process.clone()),
            conclusion,
        };
        return upkeep::start(context, lease, row, &room, beginning).await;
    }
    let base = match &plan.base {
        Some(base) if !plan.groups.is_empty() => base.clone(),
        _ => {
            let conclusion = Conclusion {
                failures: 0,
                ..conclusion
            };
            context.store.conclude(lease, row, &conclusion).await?;
            if let Some(reason) = evaluate::refusal(&plan) {
                context.tell(Event::Refused {
                    table: row.table.clone(),
                    reason,
                });
            }
            context.tell(Event::Planned {
                table: row.table.clone(),
                plan,
                process: None,
                price: NanoDollars::default(),
                oldest: None,
            });
            return Ok(());
        }
    };

    let process = ProcessId::from_uuid(context.ambient.uuid());
    let tasks = match tasks_of(context, &row.table, &process, &plan, learned.pace).await {
        Ok(tasks) => tasks,
        Err(error) => {
            let error = EvaluateError::NotKept {
                is_throttling: error.is_throttling(),
                message: error.to_string(),
            };
            return conclude_failure(context, lease, row, Failure::of(&error)).await;
        }
    };
    let price = limits::reckoned(context, &plan.groups).cost;
    let reservation = room.reservation(context, &plan.groups);
    let header = ProcessHeader {
        base,
        follow_up: plan.follow_up,
        failures: row.failures,
        shrunk_to,
        sources,
        learned,
        upkeep: memory,
        // What is due then comes next, and what falls due later is waited for.
        tidied_at: upkeep.next_after_commit,
        reserved: reservation
            .as_ref()
            .map(|reservation| reservation.usage)
            .unwrap_or_default(),
    };
    let new_process = NewProcess {
        process: process.clone(),
        kind: ProcessKind::Rewrite,
        table: row.table.clone(),
        created_at: now,
        header: serde_json::to_string(&header).expect("a header has string keys only"),
        check_at: now + context.settings.check_interval,
        reservation,
        conclusion,
    };
    let started = context
        .store
        .start_process(lease, row, &new_process, &tasks)
        .await?;
    match started {
        StartOutcome::Started => {}
        StartOutcome::AlreadyActive(_) => return Ok(()),
        // Another table of the same quota was faster.
        StartOutcome::OverQuota(shortage) => {
            let obstacle = limits::obstacle_of(shortage);
            return wait(context, lease, row, &obstacle).await;
        }
    }
    let ids: Vec<TaskId> = (0..plan.groups.len())
        .map(|index| TaskId {
            process: process.clone(),
            index: u32::try_from(index).unwrap_or(u32::MAX),
        })
        .collect();
    context.tell(Event::Planned {
        table: row.table.clone(),
        plan,
        process: Some(process),
        price,
        oldest,
    });
    let what = (&row.table, ProcessKind::Rewrite);
    send(context, lease, what, lease.epoch, &ids).await
}

/// What upkeep is due, as far as there is anybody to do it.
fn upkeep_now(
    context: &Context,
    prospects: &Prospects,
    memory: &Memory,
    now: TimestampMs,
) -> Verdict {
    // A person who asks for a rewrite gets a rewrite.
    if prospects.is_empty() || context.settings.by_hand {
        return Verdict::default();
    }
    let mut verdict = upkeep::decide(&context.settings, prospects, memory, now);
    let reason = "there is nobody here who may delete: the function cleaner is not deployed";
    let Verdict { due, refused, .. } = &mut verdict;
    due.retain(|due| {
        let is_somebodys = context.queue_of(due.kind).is_some();
        if !is_somebodys {
            refused.insert(due.kind, reason.to_owned());
        }
        is_somebodys
    });
    verdict
}

/// Leaves a table alone for which nothing is planned but what was just done. It is looked at again after a wait that grows:
/// only what changes its files, its settings or the program changes that.
async fn rest_after_repeats(
    context: &Context,
    lease: &Lease,
    row: &TableRow,
    location: &MetadataLocation,
    plan: &TablePlan,
    message: &str,
) -> Result<(), CoordinationError> {
    let failures = row.failures.saturating_add(1);
    let wait = context.settings.backoff(failures);
    let conclusion = Conclusion {
        evaluated_location: Some(location.clone()),
        text: evaluate::conclusion_of_repeats(plan, message),
        next_due_at: Some(context.ambient.now() + wait + context.ambient.jitter(wait / 4)),
        failures,
    };
    context.store.conclude(lease, row, &conclusion).await
}

fn message_of_repeats(groups: u64) -> String {
    let groups = match groups {
        1 => "1 group".to_owned(),
        groups => format!("{groups} groups"),
    };
    format!(
        "{groups} of its plan would do again what the last run did, and are left alone: an error of Icepress; please report \
         it with what explain says of the table"
    )
}

async fn tasks_of(
    context: &Context,
    table: &TableId,
    process: &ProcessId,
    plan: &TablePlan,
    pace: Option<Pace>,
) -> Result<Vec<NewTask>, payload::PayloadError> {
    let Some(base) = &plan.base else {
        return Ok(Vec::new());
    };
    let mut tasks = Vec::with_capacity(plan.groups.len());
    for (index, group) in plan.groups.iter().enumerate() {
        let task = GroupTask {
            table: table.clone(),
            process: process.clone(),
            index: u32::try_from(index).unwrap_or(u32::MAX),
            base: base.clone(),
            group: group.clone(),
            pace,
        };
        let name = format!("plans/{process}-{index:05}");
        tasks.push(NewTask {
            payload: payload::keep(context, &name, &task).await?,
        });
    }
    Ok(tasks)
}
