//! What a tick hands to further runs of the scheduler, and what such a run does: one bucket's turn, or a part of one long
//! listing.
//!
//! Nothing depends on an errand: what is lost, done twice or late is looked at by a later tick. So there are never many
//! more of them under way than there are buckets, however many schedulers hand out and however slow the others are.

use icepress_coordination::{CoordinationError, Errand, Layout};
use icepress_model::{BucketId, DatabaseId, Epoch};

use super::{
    census::long::{self, Listed},
    turn::{tell_of_listing, work_bucket},
};
use crate::{About, Context, Deadline, Event};

/// Databases that one errand names: a message holds some hundred kilobytes.
const DATABASES_OF_ERRAND: usize = 500;

/// What a tick did not do itself.
#[derive(Debug, Default)]
pub(super) struct Rest {
    /// Buckets with the epochs that they have now, those first that are to have their turn first.
    pub(super) buckets: Vec<(BucketId, Epoch)>,
    /// Databases that are too long for a bucket's turn.
    pub(super) listings: Vec<DatabaseId>,
}

/// How long a tick works by itself.
pub(super) fn own_share(context: &Context, deadline: Deadline) -> Deadline {
    if context.errands.is_none() {
        return deadline;
    }
    // The margin is kept free before any end, and so before this one.
    let share = context.settings.own_share + context.settings.deadline_margin;
    deadline.sooner(Deadline::after(&context.ambient, share))
}

/// Hands out what is left, and says how much was taken; `None` where there is nobody to hand it to. What is not taken is
/// the next tick's.
pub(super) async fn hand_out(
    context: &Context,
    layout: &Layout,
    rest: &Rest,
    databases: &[(BucketId, DatabaseId)],
) -> Result<Option<u32>, CoordinationError> {
    let Some(errands) = &context.errands else {
        return Ok(None);
    };
    let buckets = rest
        .buckets
        .iter()
        .flat_map(|(bucket, epoch)| of_bucket(*bucket, *epoch, databases));
    let listings = rest.listings.iter().map(|database| Errand::Listing {
        database: database.clone(),
    });
    // A listing takes longer than a bucket: it had better begin first.
    let mut left: Vec<Errand> = listings.chain(buckets).collect();
    if left.is_empty() {
        return Ok(Some(0));
    }
    let most = u64::from(layout.swept().0.get()) + rest.listings.len() as u64;
    let room = most.saturating_sub(errands.waiting().await?);
    left.truncate(usize::try_from(room).unwrap_or(usize::MAX));
    if left.is_empty() {
        return Ok(Some(0));
    }
    let taken = errands.leave(&left).await?;
    Ok(Some(u32::try_from(taken).unwrap_or(u32::MAX)))
}

/// The turn of a bucket; of more databases than one message holds, each of the others by itself.
fn of_bucket(bucket: BucketId, epoch: Epoch, databases: &[(BucketId, DatabaseId)]) -> Vec<Errand> {
    let own = databases.iter().filter(|(of, _)| *of == bucket);
    let mut own: Vec<DatabaseId> = own.map(|(_, database)| database.clone()).collect();
    let others = own.split_off(own.len().min(DATABASES_OF_ERRAND));
    let turn = Errand::Bucket {
        bucket,
        epoch,
        databases: own,
    };
    let listings = others
        .into_iter()
        .map(|database| Errand::Listing { database });
    std::iter::once(turn).chain(listings).collect()
}

/// Does what another run of the scheduler had no time for. Safe to call for an errand that comes twice, late, or out of
/// order. What there is no time for here either is handed on, or left to the next tick.
pub async fn run_errand(
    context: &Context,
    errand: &Errand,
    deadline: Deadline,
) -> Result<(), CoordinationError> {
    match errand {
        Errand::Bucket {
            bucket,
            epoch,
            databases,
        } => take_turn(context, *bucket, *epoch, databases, deadline).await,
        Errand::Listing { database } => list(context, database, deadline).await,
    }
}

async fn take_turn(
    context: &Context,
    bucket: BucketId,
    epoch: Epoch,
    databases: &[DatabaseId],
    deadline: Deadline,
) -> Result<(), CoordinationError> {
    let found = context.store.buckets(context.settings.buckets).await?;
    let (Some(layout), Some(row)) = (
        found.layout,
        found.rows.iter().find(|row| row.bucket == bucket),
    ) else {
        return Ok(());
    };
    // Somebody has been there since.
    if row.epoch > epoch {
        return Ok(());
    }
    // By the layout that stands now, which need not be the one that it was handed out by.
    let databases: Vec<(BucketId, DatabaseId)> = databases
        .iter()
        .map(|database| (layout.bucket_of_database(database), database.clone()))
        .collect();
    let turn = work_bucket(context, &layout, row, &databases, deadline).await?;
    if let Some(turn) = turn {
        let rest = Rest {
            buckets: Vec::new(),
            listings: turn.too_long,
        };
        hand_out(context, &layout, &rest, &databases).await?;
    }
    Ok(())
}

async fn list(
    context: &Context,
    database: &DatabaseId,
    deadline: Deadline,
) -> Result<(), CoordinationError> {
    let layout = context.layout().await?;
    match long::go_on(context, &layout, database, deadline).await {
        Ok(Listed::ToTheEnd | Listed::ByAnother) => Ok(()),
        Ok(Listed::InPart) => {
            // It takes the place of this one: there is always room for it.
            if let Some(errands) = &context.errands {
                let next = Errand::Listing {
                    database: database.clone(),
                };
                errands.leave(&[next]).await?;
            }
            Ok(())
        }
        Err(error) => match tell_of_listing(context, database, error) {
            Err(CoordinationError::Fenced(reason)) => {
                context.tell(Event::Notice {
                    about: About::NONE,
                    message: format!("the listing of {database} is another's by now: {reason}"),
                });
                Ok(())
            }
            told => told,
        },
    }
}
