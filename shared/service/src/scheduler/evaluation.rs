//! The evaluation of a table that is due: it is loaded and planned within its limits, and what came of it is concluded.

use icepress_catalog::LoadedTable;
use icepress_coordination::{CoordinationError, Lease, ProcessRow, TableRow};
use icepress_model::{Bytes, Group};
use icepress_planner::{PlanError, Sliced, slice};

use super::{
    elsewhere::{self, Finding, Past},
    evaluate::{self, EvaluateError, Outlook, Planned},
    failure::{Failure, conclude_failure},
    limits::{self, Room, RoomError},
    start::{Work, start},
    visit::wait,
    waiting::{Obstacle, WaitsFor},
};
use crate::{
    Context, Mode, Ruling,
    ground::plans::{Place, Sources},
};

pub(super) async fn evaluate_and_start(
    context: &Context,
    lease: &Lease,
    row: &TableRow,
) -> Result<(), CoordinationError> {
    let past = Past::of(context, row).await?;
    // A person may want another plan than was made for nobody in particular.
    let finding = match context.settings.by_hand {
        true => None,
        false => past.finding(context, row).await?,
    };
    let row = &past.as_found(finding.as_ref(), row);
    let turns = past.turns();
    let decided = match finding {
        // Whether a table is gone its catalog says without a file of it being read, and says it anew.
        Some(Finding::Failure(failure)) if failure.is_gone() => {
            plan_within_limits(context, row, past.last.as_ref(), Some(Bytes::ZERO)).await
        }
        Some(Finding::Failure(failure)) => {
            // Where it is looked at again, it is anew.
            let row = elsewhere::no_longer_awaited(row);
            return conclude_failure(context, lease, &row, failure).await;
        }
        Some(Finding::Plan(mut planned)) => {
            planned.learned.elsewhere = turns;
            within_limits(context, row, *planned).await
        }
        None if turns > 0 && elsewhere::is_possible_for(context, &row.table) => {
            return elsewhere::hand_over_again(context, lease, row, turns - 1).await;
        }
        None => {
            let metadata = metadata_size(context, row).await;
            plan_within_limits(context, row, past.last.as_ref(), metadata).await
        }
    };
    match decided {
        Ok(Decided::Something(work)) => start(context, lease, row, *work, &past).await,
        Ok(Decided::Waits(obstacle)) => wait(context, lease, row, &obstacle).await,
        Err(PlanningError::Table(error @ EvaluateError::TooLarge { .. }))
            if elsewhere::is_possible_for(context, &row.table) =>
        {
            elsewhere::hand_over_large(context, lease, row, &error.to_string()).await
        }
        Err(PlanningError::Table(error) | PlanningError::Observed(error)) => {
            conclude_failure(context, lease, row, Failure::of(&error)).await
        }
        Err(PlanningError::Coordination(error)) => Err(error),
    }
}

/// What looking at a table comes to.
enum Decided {
    /// A plan that its limits allow now; an empty one where there is nothing to do.
    Something(Box<Work>),
    /// It has to wait.
    Waits(Obstacle),
}

enum PlanningError {
    Table(EvaluateError),
    /// The same of a table that is only observed, by its own properties: nobody else is asked to look at it.
    Observed(EvaluateError),
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

/// Loads a table, from a metadata file of so many bytes where that is known, looks whether it may be worked on now, and plans as much
/// as its quotas allow. Where optimizers have more memory than is here, nothing of the table is read before there is room for it beside
/// others; and where it turns out to be more, all of it is given back before there is a wait for room: nobody waits for one that waits
/// for him.
async fn plan_within_limits(
    context: &Context,
    row: &TableRow,
    last: Option<&ProcessRow>,
    metadata: Option<Bytes>,
) -> Result<Decided, PlanningError> {
    let Some(memory) = memory_for_plans(context) else {
        let loaded = evaluate::load(context, &row.table).await?;
        return plan_loaded(context, row, last, &loaded, Sources::default(), None).await;
    };
    let share = memory.get() / context.settings.evaluations_at_once.max(1) as u64;
    let mut known = match metadata {
        Some(metadata) => Sources {
            metadata,
            ..Sources::default()
        },
        None => Sources::of_unknown(Bytes(share)),
    };
    loop {
        evaluate::check_memory(context, known)?;
        let mut place = context.plans.enter(memory, known.memory()).await;
        let loaded = match metadata {
            Some(_) => evaluate::load(context, &row.table).await,
            None => evaluate::load_up_to(context, &row.table, known).await,
        };
        let decided = match loaded {
            Ok(loaded) => plan_loaded(context, row, last, &loaded, known, Some(&mut place)).await,
            Err(error) => Err(error.into()),
        };
        match decided {
            Err(PlanningError::Table(EvaluateError::Crowded {
                metadata,
                manifests,
            })) => {
                known = Sources {
                    metadata,
                    manifests,
                }
            }
            decided => return decided,
        }
    }
}

/// The same of a table as it was loaded, of which `known` is known, in its place.
async fn plan_loaded(
    context: &Context,
    row: &TableRow,
    last: Option<&ProcessRow>,
    loaded: &LoadedTable,
    known: Sources,
    mut place: Option<&mut Place<'_>>,
) -> Result<Decided, PlanningError> {
    let properties = loaded.metadata.properties();
    let ruling = context.settings.modes.of(&row.table, properties);
    let ruling = ruling.map_err(PlanError::from)?;
    let mut room = match limits::room(context, &row.table, properties, ruling.mode).await? {
        Ok(room) => room,
        Err(obstacle) => return Ok(Decided::Waits(obstacle)),
    };
    let mut outlook = Outlook::new(context, loaded, last, row.failures.into())?;
    loop {
        let planned = outlook
            .plan(context, loaded, known, place.as_deref_mut())
            .await;
        let planned = planned.map_err(|error| match (ruling.mode, error) {
            (_, error @ EvaluateError::Crowded { .. }) => PlanningError::Table(error),
            (Mode::Observe, error) => PlanningError::Observed(error),
            (Mode::Maintain, error) => PlanningError::Table(error),
        })?;
        match fit(context, row, room, &ruling, planned) {
            Fit::Decided(decided) => return Ok(decided),
            Fit::Inseparable(same, wanted) if outlook.options.separable => {
                return Ok(Decided::Waits(obstacle(context, &same, &wanted)));
            }
            Fit::Inseparable(same, _) => {
                outlook.options.separable = true;
                room = same;
            }
        }
    }
}

/// The memory that a plan may take here; `None` where there is nobody who has more.
fn memory_for_plans(context: &Context) -> Option<Bytes> {
    elsewhere::is_possible(context).then_some(context.settings.plan_memory)
}

/// How large the table's metadata file is that is about to be read: one that would be the end of whoever reads it is known before.
/// Nobody is asked where that decides nothing.
async fn metadata_size(context: &Context, row: &TableRow) -> Option<Bytes> {
    memory_for_plans(context)?;
    let known = [
        &row.due_location,
        &row.committed_location,
        &row.evaluated_location,
    ];
    let newest = known.into_iter().flatten().next();
    evaluate::metadata_size(context, &row.table, newest).await
}

/// The same with a plan that was made elsewhere.
async fn within_limits(
    context: &Context,
    row: &TableRow,
    planned: Planned,
) -> Result<Decided, PlanningError> {
    let ruling = context.settings.modes.of(&row.table, &planned.properties);
    let ruling = ruling.map_err(PlanError::from)?;
    let room = match limits::room(context, &row.table, &planned.properties, ruling.mode).await? {
        Ok(room) => room,
        Err(obstacle) => return Ok(Decided::Waits(obstacle)),
    };
    Ok(match fit(context, row, room, &ruling, planned) {
        Fit::Decided(decided) => decided,
        Fit::Inseparable(room, wanted) => Decided::Waits(obstacle(context, &room, &wanted)),
    })
}

/// What a plan comes to under its table's limits.
enum Fit {
    Decided(Decided),
    /// A part of it might do, if its groups were such that they may be taken apart.
    Inseparable(Room, Vec<Group>),
}

fn fit(context: &Context, row: &TableRow, room: Room, ruling: &Ruling, planned: Planned) -> Fit {
    let wanted = planned.plan.groups.clone();
    let turn = row.failures.into();
    match slice(planned.plan, turn, |groups| room.allows(context, groups)) {
        Sliced::Whole(plan) | Sliced::Part(plan) => {
            let planned = Planned { plan, ..planned };
            Fit::Decided(Decided::Something(Box::new(Work {
                planned,
                room,
                ruling: ruling.clone(),
            })))
        }
        Sliced::Inseparable => Fit::Inseparable(room, wanted),
        Sliced::Nothing => Fit::Decided(Decided::Waits(obstacle(context, &room, &wanted))),
    }
}

/// What keeps all of these groups back.
fn obstacle(context: &Context, room: &Room, wanted: &[Group]) -> Obstacle {
    room.obstacle(context, wanted).unwrap_or_else(|| Obstacle {
        waits_for: WaitsFor::Quota,
        reason: "its quotas allow none of its groups".to_owned(),
        quota_of: None,
        until: None,
    })
}
