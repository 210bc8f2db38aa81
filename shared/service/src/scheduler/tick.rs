//! What a scheduler does when it is woken: it takes the buckets that were begun longest ago, one after another, as
//! long as its time allows.

use std::collections::BTreeSet;

use icepress_coordination::{BucketRow, CoordinationError, Layout, Lease};
use icepress_model::{BucketId, DatabaseId, Epoch};

use crate::{
    Context, Deadline, Event,
    people::buckets,
    scheduler::{
        census,
        errands::{self, Rest},
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
    /// Buckets that there was no time to begin, and nobody to hand them to.
    pub not_begun: u32,
    /// Buckets that were given up because the store failed them; each is told of.
    pub failed: u32,
    /// Tables left as they are because the store refused to write even that they failed.
    pub unwritten: u32,
    /// Buckets and long listings that were handed to others.
    pub handed_out: u32,
}

/// What one bucket's turn came to.
#[derive(Default)]
pub(super) struct Turn {
    /// Whether census and sweep got to their end.
    pub(super) completed: bool,
    /// Buckets in which its census made tables due.
    pub(super) marked: BTreeSet<BucketId>,
    /// Tables that could not even be put back.
    pub(super) unwritten: u32,
    /// Under which epoch, where a lease was taken.
    pub(super) epoch: Option<Epoch>,
    /// Its databases that were not listed, since they are too long for a turn.
    pub(super) too_long: Vec<DatabaseId>,
}

/// Works through the buckets. Any number of schedulers may do this at once.
///
/// A census marks tables of any bucket. Those that were swept before it had its say are swept once more, so that what
/// one tick sees it also plans.
///
/// What the store does to one bucket is that bucket's alone. It is an error only where it did so to all.
///
/// Where there is somebody to hand it to, a tick works for a short time only, and hands out what is left then.
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
    let mut rest = Rest::default();
    let until = errands::own_share(context, deadline);
    for row in &rows {
        if !has_time(context, until) {
            rest.buckets.push((row.bucket, row.epoch));
            continue;
        }
        let turn = match work_bucket(context, &layout, row, &databases, until).await {
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
                    rest.buckets
                        .push((row.bucket, turn.epoch.unwrap_or(row.epoch)));
                }
                rest.listings.extend(turn.too_long);
            }
        }
    }
    for row in rows.iter().filter(|row| missed.contains(&row.bucket)) {
        // What there is no time for stays due: the next tick has it.
        if has_time(context, until)
            && let Err(error) = work_bucket(context, &layout, row, &[], until).await
        {
            context.tell(Event::BucketFailed {
                bucket: row.bucket,
                message: error.to_string(),
            });
        }
    }
    let begun = report.swept + report.held_by_others + report.unfinished + report.failed;
    match errands::hand_out(context, &layout, &rest, &databases).await {
        Ok(Some(handed_out)) => report.handed_out = handed_out,
        Ok(None) => report.not_begun = u32::try_from(rows.len()).unwrap_or(u32::MAX) - begun,
        // The next tick has what is left.
        Err(error) => {
            context.tell(Event::Notice {
                message: format!("what is left of a tick could not be handed out: {error}"),
            });
            report.not_begun = u32::try_from(rest.buckets.len()).unwrap_or(u32::MAX);
        }
    }
    match failure {
        Some(error) if report.swept + report.unfinished + report.held_by_others == 0 => Err(error),
        _ => Ok(report),
    }
}

pub(super) fn has_time(context: &Context, deadline: Deadline) -> bool {
    deadline.allows(&context.ambient, context.settings.deadline_margin)
}

/// Census and sweep of one bucket. `None` where somebody else holds it.
///
/// It is looked at first, which needs no lease: a bucket in which nothing changed and nothing is due costs reads alone.
pub(super) async fn work_bucket(
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
    let mut turn = Turn::default();
    let looks =
        look_at_databases(context, layout, row.bucket, databases, deadline, &mut turn).await?;
    let Some(looks) = looks else {
        return Ok(Some(turn));
    };
    let rested = now.since(row.last_swept_at) < settings.longest_rest;
    if rested && looks.is_empty() && !anything_due(context, row.bucket).await? {
        turn.completed = true;
        return Ok(Some(turn));
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
        Some(lease) => {
            work_under_lease(context, layout, lease, looks, &mut turn, deadline).await?;
            Ok(Some(turn))
        }
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
    layout: &Layout,
    bucket: BucketId,
    databases: &[(BucketId, DatabaseId)],
    deadline: Deadline,
    turn: &mut Turn,
) -> Result<Option<Vec<census::Look>>, CoordinationError> {
    let mut looks = Vec::new();
    for (_, database) in databases.iter().filter(|(of, _)| *of == bucket) {
        if !has_time(context, deadline) {
            return Ok(None);
        }
        match census::look(context, layout, database, deadline).await {
            Ok(census::Looked::Whole(look)) if look.found_nothing_new() => {}
            Ok(census::Looked::Whole(look)) => looks.push(look),
            Ok(census::Looked::TooLong) => turn.too_long.push(database.clone()),
            Err(error) => tell_of_listing(context, database, error)?,
        }
    }
    Ok(Some(looks))
}

/// A database that can't be listed holds up nothing else; a store that fails does.
pub(super) fn tell_of_listing(
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
    turn: &mut Turn,
    deadline: Deadline,
) -> Result<(), CoordinationError> {
    turn.epoch = Some(lease.epoch);
    let marked = &mut turn.marked;
    let worked = record_and_sweep(context, layout, &mut lease, looks, marked, deadline).await;
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
    turn.completed = swept.completed;
    turn.unwritten = swept.unwritten;
    Ok(())
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
        match census::record(context, layout, lease, look, deadline).await {
            Ok(buckets) => marked.extend(buckets),
            Err(error) => tell_of_listing(context, &database, error)?,
        }
    }
    sweep::sweep(context, lease, deadline).await
}
