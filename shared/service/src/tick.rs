//! What a scheduler does when it is woken: it takes the buckets that were swept longest ago, one after another, as
//! long as its time allows.

use icepress_coordination::{BucketRow, CoordinationError, Lease};
use icepress_model::{BucketId, DatabaseId};

use crate::{Context, Deadline, Event, census, sweep};

/// What came of a tick.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct TickReport {
    /// Buckets whose census and sweep were completed.
    pub swept: u32,
    /// Buckets that somebody else holds.
    pub held_by_others: u32,
    /// Buckets that were begun and not completed: the deadline came, or the lease was lost.
    pub unfinished: u32,
    /// Buckets that there was no time to begin.
    pub not_begun: u32,
}

/// Works through the buckets. Any number of schedulers may do this at once.
pub async fn tick(context: &Context, deadline: Deadline) -> Result<TickReport, CoordinationError> {
    let mut rows: Vec<BucketRow> = context.store.buckets(context.settings.buckets).await?;
    rows.sort_by_key(|row| (row.last_swept_at, row.bucket));
    let databases = census::databases(context).await;
    let mut report = TickReport::default();
    for row in &rows {
        if !deadline.allows(&context.ambient, context.settings.deadline_margin) {
            report.not_begun += 1;
            continue;
        }
        let settings = &context.settings;
        let lease = context
            .store
            .take_lease(
                row.bucket,
                &settings.worker,
                context.ambient.now(),
                settings.lease_ttl,
                settings.lease_guard,
            )
            .await?;
        let Some(lease) = lease else {
            report.held_by_others += 1;
            continue;
        };
        match work_bucket(context, lease, &databases, deadline).await {
            Ok(true) => report.swept += 1,
            Ok(false) => report.unfinished += 1,
            Err(CoordinationError::Fenced(reason)) => {
                report.unfinished += 1;
                context.tell(Event::Notice {
                    message: format!("bucket {} was taken over: {reason}", row.bucket),
                });
            }
            Err(error) => return Err(error),
        }
    }
    Ok(report)
}

/// Census and sweep of one bucket, under its lease, which is let go at the end whatever happened.
async fn work_bucket(
    context: &Context,
    mut lease: Lease,
    databases: &[(BucketId, DatabaseId)],
    deadline: Deadline,
) -> Result<bool, CoordinationError> {
    let worked = census_and_sweep(context, &mut lease, databases, deadline).await;
    let swept_at = matches!(worked, Ok(true)).then(|| context.ambient.now());
    let released = context.store.release_lease(&lease, swept_at).await;
    match (worked, released) {
        (Err(error), _) | (_, Err(error)) => Err(error),
        (Ok(completed), Ok(())) => Ok(completed),
    }
}

async fn census_and_sweep(
    context: &Context,
    lease: &mut Lease,
    databases: &[(BucketId, DatabaseId)],
    deadline: Deadline,
) -> Result<bool, CoordinationError> {
    let bucket = lease.bucket;
    for (_, database) in databases.iter().filter(|(of, _)| *of == bucket) {
        if !deadline.allows(&context.ambient, context.settings.deadline_margin) {
            return Ok(false);
        }
        *lease = sweep::keep_lease(context, lease).await?;
        match census::take(context, lease, database).await {
            Ok(()) => {}
            Err(census::CensusError::Catalog(error)) => context.tell(Event::ListingFailed {
                database: database.to_string(),
                message: error.to_string(),
            }),
            Err(census::CensusError::Coordination(error)) => return Err(error),
        }
    }
    sweep::sweep(context, lease, deadline).await
}
