//! The sweep of a bucket: its due tables are visited, one page after another.

use futures::{FutureExt as _, future::join_all};
use icepress_coordination::{Conclusion, CoordinationError, Lease, TableRow};
use icepress_model::TimestampMs;

use super::{
    evaluation,
    limits::{self, Blockers},
    under_way::{self, Depth},
    waiting::{Obstacle, no_longer_waiting},
};
use crate::{Context, Deadline, Event};

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
        let depth = Depth::default();
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
                .map(|row| look_at(context, held, row, &blockers, &depth, deadline).boxed());
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
    depth: &Depth,
    deadline: Deadline,
) -> Result<(), CoordinationError> {
    let obstacle = blockers.obstacle(context, &row.table);
    let looked = match (&row.active_process, obstacle) {
        (None, Some(obstacle)) => wait(context, lease, row, &obstacle).await,
        (None, None) => evaluation::evaluate_and_start(context, lease, row).await,
        (Some(process), obstacle) => {
            let held_back = obstacle;
            under_way::look_after_or_tell(context, lease, row, process, held_back, depth, deadline)
                .await
        }
    };
    match looked {
        // The number of buckets was changed: the table is left to the owner of its new bucket.
        Err(CoordinationError::Moved(_)) => Ok(()),
        other => other,
    }
}

/// Leaves a table as it is for a time, and says why.
pub(super) async fn wait(
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

pub(super) async fn look_again_later(
    context: &Context,
    lease: &Lease,
    row: &TableRow,
) -> Result<(), CoordinationError> {
    let next_look = context.ambient.now() + context.settings.check_interval;
    look_again_at(context, lease, row, next_look).await
}

pub(super) async fn look_again_at(
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
