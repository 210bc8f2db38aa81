//! The sweep of a bucket: its due tables are visited, one page after another. What the store does to one of them is that
//! table's alone, and one at which somebody died before comes last and by itself.

mod keeper;

use std::collections::BTreeSet;

use futures::{FutureExt as _, future::join_all};
use icepress_coordination::{Conclusion, CoordinationError, Lease, TableRow};
use icepress_model::{TableId, TimestampMs};

pub(crate) use self::keeper::keep_lease;
use super::{
    elsewhere, evaluate, evaluation,
    limits::{self, Blockers},
    under_way,
    visit::{Depth, Visit, Visited, wait},
    waiting::Obstacle,
};
use crate::{About, Context, Deadline, Event};

/// Tables in a row that can't even be put back, before the bucket itself is in trouble.
const MOST_UNWRITTEN: u32 = 5;

/// What came of the sweep of a bucket.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Swept {
    /// Whether it got to the end; else the deadline was near.
    pub(crate) completed: bool,
    /// Tables left as they are, since not even that they failed could be written.
    pub(crate) unwritten: u32,
    /// Since when the table was due that had waited longest.
    pub(crate) oldest_due: Option<TimestampMs>,
}

/// What one sweep remembers.
#[derive(Debug, Default)]
struct Round {
    /// Tables that are still due and were had already, whatever came of it.
    had: BTreeSet<TableId>,
    /// Those that come last.
    doubtful: Vec<TableRow>,
    /// Tables that could not even be put back; and how many of them in a row.
    unwritten: u32,
    in_a_row: u32,
    /// Since when the first table was due, which had waited longest.
    oldest_due: Option<TimestampMs>,
}

/// Looks at every due table of the bucket until none is left or the deadline is near.
pub(crate) async fn sweep(
    context: &Context,
    lease: &mut Lease,
    deadline: Deadline,
) -> Result<Swept, CoordinationError> {
    let mut round = Round::default();
    let completed = visit_all(context, lease, deadline, &mut round).await?;
    Ok(Swept {
        completed,
        unwritten: round.unwritten,
        oldest_due: round.oldest_due,
    })
}

async fn visit_all(
    context: &Context,
    lease: &mut Lease,
    deadline: Deadline,
    round: &mut Round,
) -> Result<bool, CoordinationError> {
    loop {
        let due = next_page(context, lease, round).await?;
        if due.is_empty() {
            break;
        }
        let longest_due = due.iter().filter_map(|row| row.due_at).min();
        round.oldest_due = round.oldest_due.or(longest_due);
        let blockers = blockers_of(context, &due).await?;
        let depth = Depth::default();
        let (doubtful, sound): (Vec<_>, Vec<_>) = due.into_iter().partition(is_doubtful);
        set_aside(round, doubtful);
        for some in limits::by_turns(context, sound).chunks(context.settings.evaluations_at_once) {
            let page = (&blockers, &depth);
            if !visit(context, lease, some, page, deadline, round).await? {
                return Ok(false);
            }
        }
    }
    let mut last = std::mem::take(&mut round.doubtful);
    last.sort_by_key(|row| row.begun);
    let blockers = blockers_of(context, &last).await?;
    let depth = Depth::default();
    for row in &last {
        let alone = std::slice::from_ref(row);
        let page = (&blockers, &depth);
        if !visit(context, lease, alone, page, deadline, round).await? {
            return Ok(false);
        }
    }
    Ok(true)
}

async fn blockers_of(context: &Context, rows: &[TableRow]) -> Result<Blockers, CoordinationError> {
    let catalogs = rows.iter().map(|row| row.table.catalog.clone());
    Blockers::of(context, catalogs.collect()).await
}

/// Due tables that this sweep has not had yet.
async fn next_page(
    context: &Context,
    lease: &Lease,
    round: &Round,
) -> Result<Vec<TableRow>, CoordinationError> {
    let now = context.ambient.now();
    let limit = context.settings.due_page + round.had.len();
    let due = context.store.due_tables(lease.bucket, now, limit).await?;
    let mut readable = Vec::with_capacity(due.len());
    for row in due {
        match row {
            Ok(row) if round.had.contains(&row.table) => {}
            Ok(row) => readable.push(row),
            Err(error) => context.tell(Event::Notice {
                about: About::NONE,
                message: error.to_string(),
            }),
        }
    }
    Ok(readable)
}

/// Whether somebody may have died at the table: then it is seen to by itself.
fn is_doubtful(row: &TableRow) -> bool {
    row.active_process.is_none() && (row.begun > 0 || evaluate::never_ended(row))
}

fn set_aside(round: &mut Round, rows: Vec<TableRow>) {
    round.had.extend(rows.iter().map(|row| row.table.clone()));
    round.doubtful.extend(rows);
}

/// Visits tables together while the lease is kept. Whether there was time for it.
async fn visit(
    context: &Context,
    lease: &mut Lease,
    rows: &[TableRow],
    (blockers, depth): (&Blockers, &Depth),
    deadline: Deadline,
    round: &mut Round,
) -> Result<bool, CoordinationError> {
    if !deadline.allows(&context.ambient, context.settings.deadline_margin) {
        return Ok(false);
    }
    *lease = keep_lease(context, lease).await?;
    let held = lease.clone();
    let visit = Visit {
        lease: &held,
        blockers,
        depth,
        deadline,
        alone: rows.len() == 1 && round.had.contains(&rows[0].table),
    };
    // Boxed one by one: else the compiler can't tell that the whole may move between threads.
    let looks = rows.iter().map(|row| look_at(context, &visit, row).boxed());
    let looked = keeper::while_kept(context, lease, deadline, join_all(looks)).await?;
    let Some(outcomes) = looked else {
        for row in rows {
            context.tell(Event::Notice { about: About::table(&row.table),
                message: format!(
                    "table {}: the time was up while it was looked at; it is looked at again by itself",
                    row.table
                ),
            });
        }
        return Ok(false);
    };
    for (row, outcome) in rows.iter().zip(outcomes) {
        match outcome {
            Ok(Visited::Done) => round.in_a_row = 0,
            Ok(Visited::Doubtful) => set_aside(round, vec![row.clone()]),
            Err(error @ CoordinationError::Fenced(_)) => return Err(error),
            Err(error) => put_back(context, lease, row, error, round).await?,
        }
    }
    Ok(true)
}

/// Looks at one table.
pub(crate) async fn look_at(
    context: &Context,
    visit: &Visit<'_>,
    row: &TableRow,
) -> Result<Visited, CoordinationError> {
    let lease = visit.lease;
    let obstacle = visit.blockers.obstacle(context, &row.table);
    let looked = match (&row.active_process, obstacle) {
        (None, Some(obstacle)) => wait(context, lease, row, &obstacle).await,
        (None, None) if is_given_up(context, row) => {
            if elsewhere::is_possible_for(context, &row.table) && !elsewhere::is_awaited(row) {
                elsewhere::hand_over_deadly(context, lease, row).await
            } else {
                put_off(context, lease, row).await
            }
        }
        (None, None) => match context.store.note_begun(lease, row).await {
            Ok(()) => evaluation::evaluate_and_start(context, lease, row).await,
            Err(error) => Err(error),
        },
        (Some(process), obstacle) => {
            return under_way::look_after_or_tell(context, visit, row, process, obstacle).await;
        }
    };
    match looked {
        // The number of buckets was changed: the table is left to the owner of its new bucket.
        Ok(()) | Err(CoordinationError::Moved(_)) => Ok(Visited::Done),
        Err(error) => Err(error),
    }
}

/// Whether the table's evaluation was begun so often, and never ended, that it waits before it is begun again: twice, or
/// once where it has waited for that before. A person who asks for it is not kept waiting.
fn is_given_up(context: &Context, row: &TableRow) -> bool {
    let chances = if evaluate::never_ended(row) { 1 } else { 2 };
    row.begun >= chances && !context.settings.by_hand
}

/// Has a table wait at whose evaluation whoever was at it died, or had no time left.
async fn put_off(
    context: &Context,
    lease: &Lease,
    row: &TableRow,
) -> Result<(), CoordinationError> {
    let message = format!(
        "table {}: looking at it was begun {} times and never ended: the scheduler seems to run out of memory or time at \
         it; give it more of both, or expire snapshots and rewrite manifests",
        row.table, row.begun
    );
    context.tell(Event::TableFailed {
        table: row.table.clone(),
        message: message.clone(),
    });
    let failures = row.failures.saturating_add(1);
    let conclusion = Conclusion {
        evaluated_location: None,
        text: evaluate::conclusion_of_never_ended(&message),
        next_due_at: Some(after_backoff(context, failures)),
        failures,
    };
    context.store.conclude(lease, row, &conclusion).await
}

fn after_backoff(context: &Context, failures: u32) -> TimestampMs {
    let wait = context.settings.backoff(failures);
    context.ambient.now() + wait + context.ambient.jitter(wait / 4)
}

/// What the store does to one table is told and put back, and the others go on (case C56): one that is not even written
/// then is left out of this sweep. Where that happens again and again, the bucket itself is in trouble. To be asked for
/// fewer requests is no failure of a table.
async fn put_back(
    context: &Context,
    lease: &Lease,
    row: &TableRow,
    error: CoordinationError,
    round: &mut Round,
) -> Result<(), CoordinationError> {
    let message = format!("table {}: {error}", row.table);
    let written = if matches!(error, CoordinationError::Throttled { .. }) {
        let obstacle = Obstacle::throttled(context, row, message);
        wait(context, lease, row, &obstacle).await
    } else {
        context.tell(Event::TableFailed {
            table: row.table.clone(),
            message: message.clone(),
        });
        let failures = row.failures.saturating_add(1);
        let conclusion = Conclusion {
            evaluated_location: None,
            text: evaluate::conclusion_of_failure(&message),
            next_due_at: Some(after_backoff(context, failures)),
            failures,
        };
        context.store.conclude(lease, row, &conclusion).await
    };
    match written {
        Ok(()) | Err(CoordinationError::Moved(_)) => {
            round.in_a_row = 0;
            Ok(())
        }
        Err(error @ CoordinationError::Fenced(_)) => Err(error),
        Err(error) => {
            round.had.insert(row.table.clone());
            round.unwritten += 1;
            round.in_a_row += 1;
            if round.in_a_row >= MOST_UNWRITTEN {
                return Err(error);
            }
            context.tell(Event::Notice {
                about: About::table(&row.table),
                message: format!("table {} is left as it is for now: {error}", row.table),
            });
            Ok(())
        }
    }
}
