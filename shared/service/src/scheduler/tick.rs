//! What a scheduler does when it is woken: it takes the buckets that were begun longest ago, one after another, as
//! long as its time allows.

use std::collections::BTreeSet;

use icepress_coordination::{BucketRow, CoordinationError, Layout, Lease};
use icepress_model::{BucketId, DatabaseId};

use crate::{
    Context, Deadline, Event,
    people::buckets,
    scheduler::{
        census,
        sweep::{self, Swept},
    },
};

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
    /// Buckets that were given up because the store failed them; each is told of.
    pub failed: u32,
    /// Tables left as they are because the store refused to write even that they failed.
    pub unwritten: u32,
}

/// What one bucket's turn came to.
#[derive(Default)]
struct Turn {
    /// Whether census and sweep got to their end.
    completed: bool,
    /// Buckets in which its census made tables due.
    marked: BTreeSet<BucketId>,
    /// Tables that could not even be put back.
    unwritten: u32,
}

/// Works through the buckets. Any number of schedulers may do this at once.
///
/// A census marks tables of any bucket. Those that were swept before it had its say are swept once more, so that what
/// one tick sees it also plans.
///
/// What the store does to one bucket is that bucket's alone. It is an error only where it did so to all.
pub async fn tick(context: &Context, deadline: Deadline) -> Result<TickReport, CoordinationError> {
    let found = context.store.buckets(context.settings.buckets).await?;
    let layout = match found.layout {
        Some(layout) => layout,
        None => context.layout().await?,
    };
    if layout.is_moving() {
        // What moves can wait; what is due can't.
        if let Err(error) = buckets::go_on(context, &layout, deadline).await {
            context.tell(Event::Notice {
                message: format!("tables could not be moved to their buckets now: {error}"),
            });
        }
    }
    let mut rows: Vec<BucketRow> = found.rows;
    rows.sort_by_key(|row| (row.last_begun_at, row.last_swept_at, row.bucket));
    let databases = census::databases(context, &layout).await;
    let mut report = TickReport::default();
    let mut swept: BTreeSet<BucketId> = BTreeSet::new();
    let mut missed: BTreeSet<BucketId> = BTreeSet::new();
    let mut failure = None;
    for row in &rows {
        if !has_time(context, deadline) {
            report.not_begun += 1;
            continue;
        }
        let turn = match work_bucket(context, &layout, row, &databases, deadline).await {
            Ok(turn) => turn,
            Err(error) => {
                report.failed += 1;
                context.tell(Event::BucketFailed {
                    bucket: row.bucket,
                    message: error.to_string(),
                });
                failure.get_or_insert(error);
                continue;
            }
        };
        match turn {
            None => report.held_by_others += 1,
            Some(turn) => {
                missed.extend(turn.marked.intersection(&swept));
                report.unwritten += turn.unwritten;
                if turn.completed {
                    report.swept += 1;
                    swept.insert(row.bucket);
                } else {
                    report.unfinished += 1;
                }
            }
        }
    }
    for row in rows.iter().filter(|row| missed.contains(&row.bucket)) {
        // What there is no time for stays due: the next tick has it.
        if has_time(context, deadline)
            && let Err(error) = work_bucket(context, &layout, row, &[], deadline).await
        {
            context.tell(Event::BucketFailed {
                bucket: row.bucket,
                message: error.to_string(),
            });
        }
    }
    match failure {
        Some(error) if report.swept + report.unfinished + report.held_by_others == 0 => Err(error),
        _ => Ok(report),
    }
}

fn has_time(context: &Context, deadline: Deadline) -> bool {
    deadline.allows(&context.ambient, context.settings.deadline_margin)
}

/// Census and sweep of one bucket. `None` where somebody else holds it.
///
/// It is looked at first, which needs no lease: a bucket in which nothing changed and nothing is due costs reads alone.
async fn work_bucket(
    context: &Context,
    layout: &Layout,
    row: &BucketRow,
    databases: &[(BucketId, DatabaseId)],
    deadline: Deadline,
) -> Result<Option<Turn>, CoordinationError> {
    let settings = &context.settings;
    let now = context.ambient.now();
    if row.owner.is_some() && row.expires_at + settings.lease_guard >= now {
        return Ok(None);
    }
    let Some(looks) = look_at_databases(context, row.bucket, databases, deadline).await? else {
        return Ok(Some(Turn::default()));
    };
    let rested = now.since(row.last_swept_at) < settings.longest_rest;
    if rested && looks.is_empty() && !anything_due(context, row.bucket).await? {
        return Ok(Some(Turn {
            completed: true,
            ..Turn::default()
        }));
    }
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
    match lease {
        Some(lease) => Ok(Some(
            work_under_lease(context, layout, lease, looks, deadline).await?,
        )),
        None => Ok(None),
    }
}

async fn anything_due(context: &Context, bucket: BucketId) -> Result<bool, CoordinationError> {
    let now = context.ambient.now();
    let due = context.store.next_due(bucket).await?;
    Ok(due.is_some_and(|due| due <= now))
}

/// Lists the bucket's databases; those that changed since the last census are returned. `None` where the time is up.
async fn look_at_databases(
    context: &Context,
    bucket: BucketId,
    databases: &[(BucketId, DatabaseId)],
    deadline: Deadline,
) -> Result<Option<Vec<census::Look>>, CoordinationError> {
    let mut looks = Vec::new();
    for (_, database) in databases.iter().filter(|(of, _)| *of == bucket) {
        if !has_time(context, deadline) {
            return Ok(None);
        }
        match census::look(context, database).await {
            Ok(look) if look.found_nothing_new() => {}
            Ok(look) => looks.push(look),
            Err(error) => tell_of_listing(context, database, error)?,
        }
    }
    Ok(Some(looks))
}

/// A database that can't be listed holds up nothing else; a store that fails does.
fn tell_of_listing(
    context: &Context,
    database: &DatabaseId,
    error: census::CensusError,
) -> Result<(), CoordinationError> {
    match error {
        census::CensusError::Catalog(error) => {
            context.tell(Event::ListingFailed {
                database: database.to_string(),
                message: error.to_string(),
            });
            Ok(())
        }
        census::CensusError::Coordination(error) => Err(error),
    }
}

/// Records what the census saw and sweeps; the lease is let go at the end whatever happened.
async fn work_under_lease(
    context: &Context,
    layout: &Layout,
    mut lease: Lease,
    looks: Vec<census::Look>,
    deadline: Deadline,
) -> Result<Turn, CoordinationError> {
    let mut marked = BTreeSet::new();
    let worked = record_and_sweep(context, layout, &mut lease, looks, &mut marked, deadline).await;
    let completed = matches!(worked, Ok(swept) if swept.completed);
    let swept_at = completed.then(|| context.ambient.now());
    let released = context.store.release_lease(&lease, swept_at).await;
    let swept = match worked.and_then(|swept| released.map(|()| swept)) {
        Ok(swept) => swept,
        Err(CoordinationError::Fenced(reason)) => {
            context.tell(Event::Notice {
                message: format!("bucket {} is another's by now: {reason}", lease.bucket),
            });
            Swept {
                completed: false,
                unwritten: 0,
            }
        }
        Err(error) => return Err(error),
    };
    Ok(Turn {
        completed: swept.completed,
        marked,
        unwritten: swept.unwritten,
    })
}

async fn record_and_sweep(
    context: &Context,
    layout: &Layout,
    lease: &mut Lease,
    looks: Vec<census::Look>,
    marked: &mut BTreeSet<BucketId>,
    deadline: Deadline,
) -> Result<Swept, CoordinationError> {
    for look in looks {
        *lease = sweep::keep_lease(context, lease).await?;
        let database = look.database.clone();
        match census::record(context, layout, lease, look).await {
            Ok(buckets) => marked.extend(buckets),
            Err(error) => tell_of_listing(context, &database, error)?,
        }
    }
    sweep::sweep(context, lease, deadline).await
}
