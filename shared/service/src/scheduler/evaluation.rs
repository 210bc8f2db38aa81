//! The evaluation of a table that is due: it is loaded and planned within its limits, and what came of it is concluded.

use icepress_catalog::{CatalogError, LoadedTable};
use icepress_coordination::{Conclusion, CoordinationError, Lease, ProcessRow, TableRow};
use icepress_model::TablePlan;
use icepress_planner::{Repeated, Sliced, slice};
use icepress_table::TableError;

use super::{
    evaluate::{self, EvaluateError, Outlook},
    header::Known,
    limits::{self, Room, RoomError},
    start::start,
    sweep::wait,
    waiting::{Obstacle, WaitsFor},
};
use crate::{Context, Event};

pub(super) async fn evaluate_and_start(
    context: &Context,
    lease: &Lease,
    row: &TableRow,
) -> Result<(), CoordinationError> {
    let last = last_process(context, row).await?;
    match plan_within_limits(context, row, last.as_ref()).await {
        Ok(Planned::Something(work)) => start(context, lease, row, *work).await,
        Ok(Planned::Waits(obstacle)) => wait(context, lease, row, &obstacle).await,
        Err(PlanningError::Table(error)) => conclude_failure(context, lease, row, error).await,
        Err(PlanningError::Coordination(error)) => Err(error),
    }
}

/// What looking at a table comes to.
enum Planned {
    /// A plan that its limits allow now; an empty one where there is nothing to do.
    Something(Box<Work>),
    /// It has to wait.
    Waits(Obstacle),
}

/// What is to be done about a table now.
pub(super) struct Work {
    pub(super) loaded: LoadedTable,
    pub(super) plan: TablePlan,
    pub(super) room: Room,
    /// What was known of the table.
    pub(super) known: Known,
    /// What was taken out of the plan, because the last process had done it.
    pub(super) repeated: Repeated,
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
    row: &TableRow,
    last: Option<&ProcessRow>,
) -> Result<Planned, PlanningError> {
    let table = &row.table;
    let loaded = evaluate::load(context, table)
        .await
        .map_err(PlanningError::Table)?;
    let room = match limits::room(context, table, &loaded).await? {
        Ok(room) => room,
        Err(obstacle) => return Ok(Planned::Waits(obstacle)),
    };
    let mut outlook = Outlook::new(context, &loaded, last, row.failures.into())?;
    loop {
        let mut plan = evaluate::plan_loaded(context, table, &loaded, &outlook.options)
            .await
            .map_err(PlanningError::Table)?;
        let repeated = outlook.take_out_repeats(&mut plan);
        let wanted = plan.groups.clone();
        let turn = outlook.options.turn;
        return Ok(
            match slice(plan, turn, |groups| room.allows(context, groups)) {
                Sliced::Whole(plan) | Sliced::Part(plan) => Planned::Something(Box::new(Work {
                    loaded,
                    plan,
                    room,
                    known: outlook.known,
                    repeated,
                })),
                Sliced::Inseparable if !outlook.options.separable => {
                    outlook.options.separable = true;
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
            },
        );
    }
}

/// The table's last process, which tells how large groups may be, and what was done already.
async fn last_process(
    context: &Context,
    row: &TableRow,
) -> Result<Option<ProcessRow>, CoordinationError> {
    // A table that no process ever ended on costs no question.
    if row.committed_location.is_none() && row.conclusion.is_none() {
        return Ok(None);
    }
    match context.store.processes_of(&row.table, 1).await {
        Ok(processes) => Ok(processes.into_iter().next()),
        Err(CoordinationError::UnreadableRow { .. }) => Ok(None),
        Err(error) => Err(error),
    }
}

pub(super) async fn conclude_failure(
    context: &Context,
    lease: &Lease,
    row: &TableRow,
    error: EvaluateError,
) -> Result<(), CoordinationError> {
    let message = error.to_string();
    if error.is_throttling() {
        let obstacle = Obstacle::throttled(context, row, message);
        return wait(context, lease, row, &obstacle).await;
    }
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
