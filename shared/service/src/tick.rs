//! What a scheduler does when it is woken: it takes the buckets that were swept longest ago, one after another, as
//! long as its time allows.

use std::collections::BTreeSet;

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

/// What one bucket's turn came to.
struct Turn {
    /// Whether census and sweep got to their end.
    completed: bool,
    /// Buckets in which its census made tables due.
    marked: BTreeSet<BucketId>,
}

/// Works through the buckets. Any number of schedulers may do this at once.
///
/// A census marks tables of any bucket. Those that were swept before it had its say are swept once more, so that what
/// one tick sees it also plans.
pub async fn tick(context: &Context, deadline: Deadline) -> Result<TickReport, CoordinationError> {
    let mut rows: Vec<BucketRow> = context.store.buckets(context.settings.buckets).await?;
    rows.sort_by_key(|row| (row.last_swept_at, row.bucket));
    let databases = census::databases(context).await;
    let mut report = TickReport::default();
    let mut swept = BTreeSet::new();
    let mut missed = BTreeSet::new();
    for row in &rows {
        if !has_time(context, deadline) {
            report.not_begun += 1;
            continue;
        }
        match work_bucket(context, row.bucket, &databases, deadline).await? {
            None => report.held_by_others += 1,
            Some(turn) => {
                missed.extend(turn.marked.intersection(&swept));
                if turn.completed {
                    report.swept += 1;
                    swept.insert(row.bucket);
                } else {
                    report.unfinished += 1;
                }
            }
        }
    }
    for bucket in missed {
        // What there is no time for stays due: the next tick has it.
        if has_time(context, deadline) {
            work_bucket(context, bucket, &[], deadline).await?;
        }
    }
    Ok(report)
}

fn has_time(context: &Context, deadline: Deadline) -> bool {
    deadline.allows(&context.ambient, context.settings.deadline_margin)
}

/// Census and sweep of one bucket, under a lease that is let go at the end whatever happened. `None` where somebody
/// else holds the bucket.
async fn work_bucket(
    context: &Context,
    bucket: BucketId,
    databases: &[(BucketId, DatabaseId)],
    deadline: Deadline,
) -> Result<Option<Turn>, CoordinationError> {
    let settings = &context.settings;
    let lease = context
        .store
        .take_lease(
            bucket,
            &settings.worker,
            context.ambient.now(),
            settings.lease_ttl,
            settings.lease_guard,
        )
        .await?;
    let Some(mut lease) = lease else {
        return Ok(None);
    };
    let mut marked = BTreeSet::new();
    let worked = census_and_sweep(context, &mut lease, databases, &mut marked, deadline).await;
    let swept_at = matches!(worked, Ok(true)).then(|| context.ambient.now());
    let released = context.store.release_lease(&lease, swept_at).await;
    match worked.and_then(|completed| released.map(|()| completed)) {
        Ok(completed) => Ok(Some(Turn { completed, marked })),
        Err(CoordinationError::Fenced(reason)) => {
            context.tell(Event::Notice {
                message: format!("bucket {bucket} was taken over: {reason}"),
            });
            Ok(Some(Turn {
                completed: false,
                marked,
            }))
        }
        Err(error) => Err(error),
    }
}

async fn census_and_sweep(
    context: &Context,
    lease: &mut Lease,
    databases: &[(BucketId, DatabaseId)],
    marked: &mut BTreeSet<BucketId>,
    deadline: Deadline,
) -> Result<bool, CoordinationError> {
    let bucket = lease.bucket;
    for (_, database) in databases.iter().filter(|(of, _)| *of == bucket) {
        if !has_time(context, deadline) {
            return Ok(false);
        }
        *lease = sweep::keep_lease(context, lease).await?;
        match census::take(context, lease, database).await {
            Ok(buckets) => marked.extend(buckets),
            Err(census::CensusError::Catalog(error)) => context.tell(Event::ListingFailed {
                database: database.to_string(),
                message: error.to_string(),
            }),
            Err(census::CensusError::Coordination(error)) => return Err(error),
        }
    }
    sweep::sweep(context, lease, deadline).await
}
