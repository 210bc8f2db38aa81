//! The swap of a pointer: a catalog keeps where a table's metadata lies, and changes it only if nobody did before.
//!
//! One loop for all services of AWS that keep such a pointer. Their SDKs must not try the change again by themselves: a
//! second try after a lost answer finds another state and looks like a lost race, while the commit is in. Tried again
//! here, compared with the same state and with the same outcome, it can take effect once at most; and where the state is
//! another by then, looking at it tells who made it.

use std::time::Duration;

use async_trait::async_trait;
use icepress_model::{MetadataLocation, ambient::Ambient};
use icepress_storage::Storage;

use crate::{
    CatalogError, CommitError, LoadedTable,
    aws::{AwsFailure, AwsFailureKind},
    metadata::{StagedMetadata, outcome_by_looking},
};

/// Tries of the change.
const ATTEMPTS: u32 = 4;
/// The longest wait before the second try; doubles from try to try.
const FIRST_BACKOFF: Duration = Duration::from_millis(100);

/// One table's entry in its catalog, about to be pointed elsewhere.
#[async_trait]
pub trait Pointer: Sync {
    /// The entry as it was seen, with what a change is compared with.
    type Entry: Send + Sync;

    /// The entry as it is now.
    async fn look(&self) -> Result<Self::Entry, CatalogError>;

    /// Where an entry points to; `None` where it is no Iceberg table.
    fn location(&self, entry: &Self::Entry) -> Option<MetadataLocation>;

    /// How long the next try may take. Nothing is tried where that is zero.
    fn time_left(&self) -> Duration;

    /// One try to change `seen` if it is unchanged.
    async fn change(&self, seen: &Self::Entry) -> Result<(), Refusal<Self::Entry>>;

    /// What `now` tells of tries at `seen` whose answers were lost.
    fn trace(&self, seen: &Self::Entry, now: &Self::Entry) -> Trace;

    /// A failure for people, and for whoever decides on it.
    fn failed(&self, failure: AwsFailure) -> CatalogError;
}

/// A try that was not carried out, or of which nobody knows.
#[derive(Debug)]
pub struct Refusal<E> {
    /// Why.
    pub failure: AwsFailure,
    /// The entry that was there instead of the one compared with, where the answer has it.
    pub now: Option<E>,
}

impl<E> From<AwsFailure> for Refusal<E> {
    fn from(failure: AwsFailure) -> Self {
        Self { failure, now: None }
    }
}

/// What an entry tells of earlier tries at it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trace {
    /// One of them made it.
    Ours,
    /// Somebody changed it, and none of ours can take effect any more.
    Overtaken,
    /// Nothing.
    None,
}

/// Points the entry from `base` to `staged`, if it still points to `base`.
pub async fn swap<P: Pointer>(
    pointer: &P,
    base: &LoadedTable,
    staged: &StagedMetadata,
    storage: &dyn Storage,
    ambient: &Ambient,
) -> Result<(), CommitError> {
    let table = &base.table;
    let seen = pointer.look().await.map_err(gone_or_refused)?;
    match pointer.location(&seen) {
        Some(location) if location == base.metadata_location => {}
        Some(_) => return Err(CommitError::Conflict(table.clone())),
        None => {
            let error = CatalogError::NotIceberg(table.clone());
            return Err(CommitError::Refused(error));
        }
    }
    let mut may_be_in = false;
    let mut attempt = 0;
    loop {
        attempt += 1;
        let tried = if pointer.time_left().is_zero() {
            let message =
                "half of the commit lock's lease passed before the table could be changed";
            Err(AwsFailure::not_sent(message).into())
        } else {
            pointer.change(&seen).await
        };
        let Err(Refusal { failure, now }) = tried else {
            return Ok(());
        };
        may_be_in |= failure.kind == AwsFailureKind::Unknown;
        let is_worth_it = matches!(failure.kind, AwsFailureKind::Unknown | AwsFailureKind::Busy);
        if is_worth_it && attempt < ATTEMPTS {
            let longest = FIRST_BACKOFF.saturating_mul(1 << attempt);
            ambient.clock.sleep(ambient.jitter(longest)).await;
            continue;
        }
        if !may_be_in {
            return Err(match failure.kind {
                AwsFailureKind::Stale => CommitError::Conflict(table.clone()),
                AwsFailureKind::NotFound => CommitError::NoSuchTable(table.clone()),
                _ => CommitError::Refused(pointer.failed(failure)),
            });
        }
        let now = match now {
            Some(now) => Ok(now),
            None => pointer.look().await,
        };
        match now.as_ref().map(|now| pointer.trace(&seen, now)) {
            Ok(Trace::Ours) => return Ok(()),
            Ok(Trace::Overtaken) if points_to_base(pointer, &now, base) => {
                return Err(CommitError::Conflict(table.clone()));
            }
            _ => {}
        }
        let location = now.and_then(|now| {
            let not_iceberg = || CatalogError::NotIceberg(table.clone());
            pointer.location(&now).ok_or_else(not_iceberg)
        });
        return outcome_by_looking(storage, base, staged, location, &failure.message).await;
    }
}

/// Whether somebody changed something else of the entry.
fn points_to_base<P: Pointer>(
    pointer: &P,
    now: &Result<P::Entry, CatalogError>,
    base: &LoadedTable,
) -> bool {
    let location = now.as_ref().ok().and_then(|now| pointer.location(now));
    location.is_some_and(|location| location == base.metadata_location)
}

fn gone_or_refused(error: CatalogError) -> CommitError {
    match error {
        CatalogError::NoSuchTable(table) => CommitError::NoSuchTable(table),
        error => CommitError::Refused(error),
    }
}
