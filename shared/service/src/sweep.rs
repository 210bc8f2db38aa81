//! The sweep of a bucket: its due tables are looked at, and what they need is put into the queue.

use std::{sync::Arc, time::Duration};

use futures::{FutureExt as _, future::join_all};
use icepress_catalog::{CatalogError, LoadedTable};
use icepress_coordination::{
    Conclusion, CoordinationError, Lease, NewProcess, NewTask, ProcessRow, StartOutcome, TableRow,
    TaskMessage, TaskRow, TaskState,
};
use icepress_model::{GroupTask, ProcessId, TableId, TablePlan, TaskId, TimestampMs};
use icepress_planner::{PlanOptions, Sliced, slice};
use icepress_table::TableError;

use crate::{
    Context, Deadline, Event,
    evaluate::{self, EvaluateError},
    finish,
    header::{self, ProcessHeader},
    limits::{self, Blockers, Room, RoomError},
    payload,
    waiting::{self, Obstacle, WaitsFor, no_longer_waiting},
};

/// Looks at every due table of the bucket until none is left or the deadline is near. Says whether it got to the end.
pub(crate) async fn sweep(
    context: &Context,
    lease: &mut Lease,
    deadline: Deadline,
) -> Result<bool, CoordinationError> {
    loop {
        let now = context.ambient.now();
        let due = context
            .store
            .due_tables(lease.bucket, now, context.settings.due_page)
            .await?;
        let mut readable = Vec::with_capacity(due.len());
        for row in due {
            match row {
                Ok(row) => readable.push(row),
                Err(error) => context.tell(Event::Notice {
                    message: error.to_string(),
                }),
            }
        }
        if readable.is_empty() {
            return Ok(true);
        }
        let catalogs = readable.iter().map(|row| row.table.catalog.clone());
        let blockers = Blockers::of(context, catalogs.collect()).await?;
        let readable = limits::by_turns(context, readable);
        for some in readable.chunks(context.settings.evaluations_at_once) {
            if !deadline.allows(&context.ambient, context.settings.deadline_margin) {
                return Ok(false);
            }
            *lease = keep_lease(context, lease).await?;
            let held: &Lease = lease;
            // Boxed one by one: else the compiler can't tell that the whole may move between threads.
            let looks = some
                .iter()
                .map(|row| look_at(context, held, row, &blockers, deadline).boxed());
            for outcome in join_all(looks).await {
                outcome?;
            }
        }
    }
}

/// Renews the lease when half of it is over.
pub(crate) async fn keep_lease(
    context: &Context,
    lease: &Lease,
) -> Result<Lease, CoordinationError> {
    let now = context.ambient.now();
    let ttl = context.settings.lease_ttl;
    if lease.expires_at.since(now) > ttl / 2 {
        return Ok(lease.clone());
    }
    context.store.renew_lease(lease, now, ttl).await
}

pub(crate) async fn look_at(
    context: &Context,
    lease: &Lease,
    row: &TableRow,
    blockers: &Blockers,
    deadline: Deadline,
) -> Result<(), CoordinationError> {
    let obstacle = blockers.obstacle(context, &row.table);
    let looked = match (&row.active_process, obstacle) {
        (None, Some(obstacle)) => wait(context, lease, row, &obstacle).await,
        (None, None) => evaluate_and_start(context, lease, row).await,
        (Some(process), obstacle) => {
            look_after_or_tell(context, lease, row, process, obstacle, deadline).await
        }
    };
    match looked {
        // The number of buckets was changed: the table is left to the owner of its new bucket.
        Err(CoordinationError::Moved(_)) => Ok(()),
        other => other,
    }
}

async fn look_after_or_tell(
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

/// Leaves a table as it is for a time, and says why.
async fn wait(
    context: &Context,
    lease: &Lease,
    row: &TableRow,
    obstacle: &Obstacle,
) -> Result<(), CoordinationError> {
    context.tell(Event::Waiting {
        table: row.table.clone(),
        reason: obstacle.reason.clone(),
        until: obstacle.until,
    });
    let conclusion = obstacle.conclusion(context, row);
    context.store.conclude(lease, row, &conclusion).await
}

async fn look_again_later(
    context: &Context,
    lease: &Lease,
    row: &TableRow,
) -> Result<(), CoordinationError> {
    let next_look = context.ambient.now() + context.settings.check_interval;
    look_again_at(context, lease, row, next_look).await
}

async fn look_again_at(
    context: &Context,
    lease: &Lease,
    row: &TableRow,
    next_look: TimestampMs,
) -> Result<(), CoordinationError> {
    let conclusion = Conclusion {
        evaluated_location: None,
        text: no_longer_waiting(row),
        next_due_at: Some(next_look),
        failures: row.failures,
    };
    context.store.conclude(lease, row, &conclusion).await
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

async fn evaluate_and_start(
    context: &Context,
    lease: &Lease,
    row: &TableRow,
) -> Result<(), CoordinationError> {
    let shrunk_to = smaller_groups(context, row).await?;
    let options = PlanOptions {
        shrunk_to,
        ..context.settings.plan.clone()
    };
    match plan_within_limits(context, &row.table, &options).await {
        Ok(Planned::Something { loaded, plan, room }) => {
            start(context, lease, row, &loaded, plan, &room, shrunk_to).await
        }
        Ok(Planned::Waits(obstacle)) => wait(context, lease, row, &obstacle).await,
        Err(PlanningError::Table(error)) => conclude_failure(context, lease, row, error).await,
        Err(PlanningError::Coordination(error)) => Err(error),
    }
}

/// What looking at a table comes to.
enum Planned {
    /// A plan that its limits allow now; an empty one where there is nothing to do.
    Something {
        loaded: Box<LoadedTable>,
        plan: TablePlan,
        room: Room,
    },
    /// It has to wait.
    Waits(Obstacle),
}

enum PlanningError {
    Table(EvaluateError),
    Coordination(CoordinationError),
}

impl<E: Into<EvaluateError>> From<E> for PlanningError {
    fn from(error: E) -> Self {
        Self::Table(error.into())
    }
}

impl From<RoomError> for PlanningError {
    fn from(error: RoomError) -> Self {
        match error {
            RoomError::Limit(error) => Self::Table(error.into()),
            RoomError::Coordination(error) => Self::Coordination(error),
        }
    }
}

/// Loads a table, looks whether it may be worked on now, and plans as much as its quotas allow.
async fn plan_within_limits(
    context: &Context,
    table: &TableId,
    options: &PlanOptions,
) -> Result<Planned, PlanningError> {
    let loaded = Box::new(
        evaluate::load(context, table)
            .await
            .map_err(PlanningError::Table)?,
    );
    let room = match limits::room(context, table, &loaded).await? {
        Ok(room) => room,
        Err(obstacle) => return Ok(Planned::Waits(obstacle)),
    };
    let mut options = options.clone();
    loop {
        let plan = evaluate::plan_loaded(context, table, &loaded, &options)
            .await
            .map_err(PlanningError::Table)?;
        let wanted = plan.groups.clone();
        return Ok(match slice(plan, |groups| room.allows(context, groups)) {
            Sliced::Whole(plan) | Sliced::Part(plan) => Planned::Something { loaded, plan, room },
            Sliced::Inseparable if !options.separable => {
                options.separable = true;
                continue;
            }
            Sliced::Nothing | Sliced::Inseparable => {
                let obstacle = room.obstacle(context, &wanted);
                Planned::Waits(obstacle.unwrap_or_else(|| Obstacle {
                    waits_for: WaitsFor::Quota,
                    reason: "its quotas allow none of its groups".to_owned(),
                    quota_of: None,
                    until: None,
                }))
            }
        });
    }
}

/// How large groups may be for now: half of the largest that lost against another writer in the table's last process
/// (case C05), and twice as large again with each process that lost none.
async fn smaller_groups(
    context: &Context,
    row: &TableRow,
) -> Result<Option<u64>, CoordinationError> {
    // A table that no process ever ended on costs no question.
    if row.committed_location.is_none() && row.conclusion.is_none() {
        return Ok(None);
    }
    let last = match context.store.processes_of(&row.table, 1).await {
        Ok(processes) => processes.into_iter().next(),
        Err(CoordinationError::UnreadableRow { .. }) => None,
        Err(error) => return Err(error),
    };
    Ok(last.and_then(|process| header::shrunk_to(&process)))
}

async fn conclude_failure(
    context: &Context,
    lease: &Lease,
    row: &TableRow,
    error: EvaluateError,
) -> Result<(), CoordinationError> {
    let message = error.to_string();
    match error {
        EvaluateError::Catalog(CatalogError::NoSuchTable(_)) if row.due_location.is_none() => {
            // The census forced this look because two complete listings lacked the table.
            context.store.forget_table(lease, row).await?;
            return Ok(());
        }
        EvaluateError::Catalog(CatalogError::NoSuchTable(_)) => {
            context.tell(Event::TableFailed {
                table: row.table.clone(),
                message: message.clone(),
            });
            let conclusion = Conclusion {
                evaluated_location: row.due_location.clone(),
                text: evaluate::conclusion_of_failure(&message),
                next_due_at: None,
                failures: 0,
            };
            return context.store.conclude(lease, row, &conclusion).await;
        }
        EvaluateError::Table(TableError::Unsupported { .. })
        | EvaluateError::Catalog(CatalogError::NotIceberg(_) | CatalogError::Unsupported { .. }) => {
            context.tell(Event::Refused {
                table: row.table.clone(),
                reason: message.clone(),
            });
            let conclusion = Conclusion {
                evaluated_location: row.due_location.clone(),
                text: evaluate::conclusion_of_refusal(&message),
                next_due_at: None,
                failures: 0,
            };
            return context.store.conclude(lease, row, &conclusion).await;
        }
        EvaluateError::Catalog(_)
        | EvaluateError::Table(_)
        | EvaluateError::Plan(_)
        | EvaluateError::Limit(_)
        | EvaluateError::NotKept(_) => {}
    }
    context.tell(Event::TableFailed {
        table: row.table.clone(),
        message: message.clone(),
    });
    let failures = row.failures.saturating_add(1);
    let wait = context.settings.backoff(failures);
    let conclusion = Conclusion {
        evaluated_location: None,
        text: evaluate::conclusion_of_failure(&message),
        next_due_at: Some(context.ambient.now() + wait + context.ambient.jitter(wait / 4)),
        failures,
    };
    context.store.conclude(lease, row, &conclusion).await
}

/// Writes what was concluded; starts a process and sends its tasks where there is something to do.
async fn start(
    context: &Context,
    lease: &Lease,
    row: &TableRow,
    loaded: &LoadedTable,
    plan: TablePlan,
    room: &Room,
    shrunk_to: Option<u64>,
) -> Result<(), CoordinationError> {
    let now = context.ambient.now();
    let plan = Arc::new(plan);
    let conclusion = Conclusion {
        evaluated_location: Some(loaded.metadata_location.clone()),
        text: waiting::with_priority(&evaluate::conclusion_of_plan(&plan), room.priority),
        next_due_at: None,
        failures: row.failures,
    };
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
            });
            return Ok(());
        }
    };

    let process = ProcessId::from_uuid(context.ambient.uuid());
    let tasks = match tasks_of(context, &row.table, &process, &plan).await {
        Ok(tasks) => tasks,
        Err(error) => {
            let error = EvaluateError::NotKept(format!("the plan can't be kept: {error}"));
            return conclude_failure(context, lease, row, error).await;
        }
    };
    let reservation = room.reservation(context, &plan.groups);
    let header = ProcessHeader {
        base,
        follow_up: plan.follow_up,
        failures: row.failures,
        shrunk_to,
        reserved: reservation
            .as_ref()
            .map(|reservation| reservation.usage)
            .unwrap_or_default(),
    };
    let new_process = NewProcess {
        process: process.clone(),
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
    });
    send(context, lease, &row.table, lease.epoch, &ids).await
}

async fn tasks_of(
    context: &Context,
    table: &TableId,
    process: &ProcessId,
    plan: &TablePlan,
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
        };
        let name = format!("plans/{process}-{index:05}");
        tasks.push(NewTask {
            payload: payload::keep(context, &name, &task).await?,
        });
    }
    Ok(tasks)
}

/// Sends the tasks' messages into the queue of the bucket that the table is in now, noting each that went out. One that
/// did not is sent by a later sweep.
async fn send(
    context: &Context,
    lease: &Lease,
    table: &TableId,
    epoch: icepress_model::Epoch,
    tasks: &[TaskId],
) -> Result<(), CoordinationError> {
    if tasks.is_empty() {
        return Ok(());
    }
    let messages: Vec<TaskMessage> = tasks
        .iter()
        .map(|task| TaskMessage {
            task: task.clone(),
            table: table.clone(),
            epoch,
        })
        .collect();
    let now = context.ambient.now();
    let results = match context.queue.send(lease.bucket, &messages).await {
        Ok(results) => results,
        // The process stands: the next check sends again. The other tables need not wait for it.
        Err(error) => {
            context.tell(Event::Notice {
                message: format!("the tasks of table {table} were not sent yet: {error}"),
            });
            return Ok(());
        }
    };
    for (task, result) in tasks.iter().zip(results) {
        match result {
            Ok(()) => context.store.note_sent(task, now).await?,
            Err(error) => context.tell(Event::Notice {
                message: format!("task {task} of table {table} was not sent yet: {error}"),
            }),
        }
    }
    Ok(())
}
