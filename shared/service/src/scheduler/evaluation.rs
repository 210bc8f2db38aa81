//! The evaluation of a table that is due: it is loaded and planned within its limits, and what came of it is concluded.

use icepress_catalog::{CatalogError, LoadedTable};
use icepress_coordination::{Conclusion, CoordinationError, Lease, TableRow};
use icepress_model::{TableId, TablePlan};
use icepress_planner::{PlanOptions, Sliced, slice};
use icepress_table::TableError;

use super::{
    evaluate::{self, EvaluateError},
    header,
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

pub(super) async fn conclude_failure(
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
