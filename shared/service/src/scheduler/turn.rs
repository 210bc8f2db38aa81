//! One bucket's turn: its databases are listed, and what is due in it is looked at.

use std::collections::BTreeSet;

use icepress_coordination::{BucketRow, CoordinationError, Layout, Lease};
use icepress_model::{BucketId, DatabaseId, Epoch, TimestampMs};

use crate::{
    About, BucketTurn, Context, Deadline, Event,
    scheduler::{
        census,
        sweep::{self, Swept},
    },
};

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
    /// Since when the table had been due that had waited longest.
    oldest_due: Option<TimestampMs>,
}

pub(super) fn has_time(context: &Context, deadline: Deadline) -> bool {
    deadline.allows(&context.ambient, context.settings.deadline_margin)
}

/// Census and sweep of one bucket, of which it is told. `None` where somebody else holds it.
pub(super) async fn work_bucket(
    context: &Context,
    layout: &Layout,
    row: &BucketRow,
    databases: &[(BucketId, DatabaseId)],
    deadline: Deadline,
) -> Result<Option<Turn>, CoordinationError> {
    let turn = take_turn(context, layout, row, databases, deadline).await?;
    let (came_to, oldest_due) = match &turn {
        None => (BucketTurn::HeldByAnother, None),
        Some(turn) if turn.completed => (BucketTurn::Completed, turn.oldest_due),
        Some(turn) => (BucketTurn::Unfinished, turn.oldest_due),
    };
    context.tell(Event::BucketLookedAfter {
        bucket: row.bucket,
        turn: came_to,
        oldest_due,
    });
    Ok(turn)
}

/// It is looked at first, which needs no lease: a bucket in which nothing changed and nothing is due costs reads alone.
async fn take_turn(
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
            Ok(census::Looked::Whole(look)) => looks.push(*look),
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
                about: About::NONE,
                message: format!("bucket {} is another's by now: {reason}", lease.bucket),
            });
            Swept::default()
        }
        Err(error) => return Err(error),
    };
    turn.completed = swept.completed;
    turn.unwritten = swept.unwritten;
    turn.oldest_due = swept.oldest_due;
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
