//! The listing of a database that is too long for the turn of its bucket: in a run of its own, which goes on where the
//! last one stopped.
//!
//! One run at a time is at it, under a lease of the listing's own, so that its bucket is swept meanwhile. What is new or
//! moved is marked page by page; the digest is written at the end and not before. What it has seen so far is kept with the
//! place in the listing when the time is up, and now and then, for those who are killed.

use std::time::Duration;

use icepress_coordination::{CensusNote, CoordinationError, Digest, Layout, Lease};
use icepress_model::{BucketId, DatabaseId, Generation, TimestampMs, listing_of_database};

use super::{
    CensusError, Found,
    begun::Begun,
    digest::{SeenTables, number},
    mark_all, remember,
    survey::Survey,
};
use crate::{Context, Deadline, Event, scheduler::sweep::keep_lease};

/// How often a run keeps how far it got, in case that it dies.
const KEEP_EVERY: Duration = Duration::from_secs(60);

/// A listing that stopped so long ago begins anew: its place may mean nothing to the catalog any more.
const STALE_AFTER: Duration = Duration::from_secs(3600);

/// Between two tries for the lease of the database's bucket.
const BETWEEN_TRIES: Duration = Duration::from_secs(2);

/// What came of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Listed {
    /// It got to the end.
    ToTheEnd,
    /// The time was up: another run has to go on.
    InPart,
    /// Another run is at it, or it has to wait because those before died of it.
    ByAnother,
}

/// How far a listing got.
#[derive(Debug, PartialEq, Eq)]
struct Place {
    began_at: TimestampMs,
    /// The layout by which the tables were marked that were seen: under another they have to be marked anew.
    layout: Generation,
    /// What the next page is asked for with; `None` where all pages were read.
    next: Option<String>,
    seen: SeenTables,
}

impl Place {
    fn encode(&self) -> Digest {
        let next = self.next.as_deref().map(str::as_bytes);
        let mut bytes = Vec::new();
        bytes.extend_from_slice(&self.began_at.get().to_le_bytes());
        bytes.extend_from_slice(&self.layout.get().to_le_bytes());
        bytes.push(u8::from(next.is_some()));
        let next = next.unwrap_or_default();
        bytes.extend_from_slice(&(next.len() as u64).to_le_bytes());
        bytes.extend_from_slice(next);
        bytes.extend_from_slice(&self.seen.encode().0);
        Digest(bytes)
    }

    /// Reads what [`Place::encode`] wrote; `None` for anything else.
    fn decode(note: &Digest) -> Option<Self> {
        let (head, rest) = note.0.split_at_checked(25)?;
        let length = usize::try_from(number(&head[17..])).ok()?;
        let (next, entries) = rest.split_at_checked(length)?;
        let next = std::str::from_utf8(next).ok()?;
        Some(Self {
            began_at: TimestampMs(i64::from_le_bytes(head[..8].try_into().ok()?)),
            layout: Generation(number(&head[8..16])),
            next: (head[16] == 1).then(|| next.to_owned()),
            seen: SeenTables::decode(&Digest(entries.to_vec())),
        })
    }
}

/// Lists a database from where the last run stopped, as far as the time allows.
pub(crate) async fn go_on(
    context: &Context,
    layout: &Layout,
    database: &DatabaseId,
    deadline: Deadline,
) -> Result<Listed, CensusError> {
    let Some(mut lease) = take(context, listing_of_database(database)).await? else {
        return Ok(Listed::ByAnother);
    };
    let (begun, generation) = (Begun::of(context, database).await?, layout.generation);
    if let Some(until) = begun.waits_until(context) {
        context.store.release_lease(&lease, None).await?;
        let seconds = until.since(context.ambient.now()).as_secs();
        context.tell(Event::ListingFailed {
            database: database.to_string(),
            message: format!(
                "listing it was begun {} times and never ended: the scheduler seems to run out of memory or time at it; give \
                 it more of both. It is tried again in {seconds} s",
                begun.times
            ),
        });
        return Ok(Listed::ByAnother);
    }
    begun.note(context, &lease, generation, database).await?;
    let mut run = Run {
        context,
        layout,
        database,
        deadline,
        kept: false,
    };
    let listed = run.list(&mut lease).await;
    Begun::clear(context, &lease, generation, database).await?;
    context.store.release_lease(&lease, None).await?;
    listed
}

pub(super) async fn take(
    context: &Context,
    number: BucketId,
) -> Result<Option<Lease>, CoordinationError> {
    let settings = &context.settings;
    let (ttl, guard) = (settings.lease_ttl, settings.lease_guard);
    let now = context.ambient.now();
    context
        .store
        .take_lease(number, &settings.worker, now, ttl, guard)
        .await
}

struct Run<'a> {
    context: &'a Context,
    layout: &'a Layout,
    database: &'a DatabaseId,
    deadline: Deadline,
    /// Whether a place is kept.
    kept: bool,
}

impl Run<'_> {
    async fn list(&mut self, lease: &mut Lease) -> Result<Listed, CensusError> {
        let (context, database) = (self.context, self.database);
        let last = context.store.digest(database).await?;
        let (place, is_begun) = self.place().await?;
        let began_at = place.began_at;
        let mut next = place.next;
        let mut survey = Survey::after(SeenTables::decode(&last), place.seen);
        let mut is_at_end = is_begun && next.is_none();
        let mut is_first = true;
        let mut changed = 0;
        let mut kept_at = context.ambient.clock.monotonic();
        while !is_at_end {
            let has_time = self.has_time();
            let since_kept = context.ambient.clock.monotonic().saturating_sub(kept_at);
            if let Some(next) = &next
                && (!has_time || since_kept > KEEP_EVERY)
            {
                self.keep(lease, began_at, next, &survey).await?;
                kept_at = context.ambient.clock.monotonic();
            }
            if !has_time {
                return Ok(Listed::InPart);
            }
            *lease = keep_lease(context, lease).await?;
            let page = match survey.read_page(context, database, next.as_deref()).await {
                Ok(page) => page,
                Err(CensusError::Catalog(error)) => {
                    // The place itself may be what the catalog does not take any more.
                    match &next {
                        Some(next) if !is_first => {
                            self.keep(lease, began_at, next, &survey).await?;
                        }
                        _ => self.forget_place(lease).await?,
                    }
                    return Err(error.into());
                }
                Err(error) => return Err(error),
            };
            mark_all(context, self.layout, &page.changed, &mut survey.seen).await?;
            changed += page.changed.len() as u64;
            is_first = false;
            is_at_end = page.next.is_none();
            next = page.next;
        }
        context.tell(Event::DatabaseListed {
            database: database.to_string(),
            tables: survey.seen.len(),
            changed,
        });
        self.record(lease, began_at, &last, survey).await
    }

    /// Where to go on, and whether that is anywhere but at the begin.
    async fn place(&mut self) -> Result<(Place, bool), CensusError> {
        let now = self.context.ambient.now();
        let note = CensusNote::Listing;
        let note = self.context.store.census_note(self.database, note).await?;
        self.kept = note != Digest::default();
        let layout = self.layout.generation;
        let place = Place::decode(&note)
            .filter(|place| place.layout == layout && now.since(place.began_at) < STALE_AFTER);
        let is_begun = place.is_some();
        let at_the_begin = Place {
            began_at: now,
            layout,
            next: None,
            seen: SeenTables::default(),
        };
        Ok((place.unwrap_or(at_the_begin), is_begun))
    }

    fn has_time(&self) -> bool {
        let margin = self.context.settings.deadline_margin;
        self.deadline.allows(&self.context.ambient, margin)
    }

    async fn keep(
        &mut self,
        lease: &Lease,
        began_at: TimestampMs,
        next: &str,
        survey: &Survey,
    ) -> Result<(), CensusError> {
        let place = Place {
            began_at,
            layout: self.layout.generation,
            next: Some(next.to_owned()),
            seen: survey.seen.clone(),
        };
        self.put(lease, &place.encode()).await
    }

    async fn forget_place(&mut self, lease: &Lease) -> Result<(), CensusError> {
        if self.kept {
            self.put(lease, &Digest::default()).await?;
        }
        Ok(())
    }

    async fn put(&mut self, lease: &Lease, place: &Digest) -> Result<(), CensusError> {
        let (generation, note) = (self.layout.generation, CensusNote::Listing);
        let store = &self.context.store;
        store
            .put_census_note(lease, generation, self.database, note, place)
            .await?;
        self.kept = *place != Digest::default();
        Ok(())
    }

    /// Writes the digest, under the lease of the database's bucket.
    async fn record(
        &mut self,
        lease: &mut Lease,
        began_at: TimestampMs,
        last: &Digest,
        survey: Survey,
    ) -> Result<Listed, CensusError> {
        let (context, database) = (self.context, self.database);
        let all_read = Place {
            began_at,
            layout: self.layout.generation,
            next: None,
            seen: survey.seen.clone(),
        };
        let found = Found::by(survey);
        if !found.is_known(last) {
            let bucket = self.layout.bucket_of_database(database);
            let of_bucket = loop {
                if let Some(of_bucket) = take(context, bucket).await? {
                    break of_bucket;
                }
                if !self.has_time() {
                    self.put(lease, &all_read.encode()).await?;
                    return Ok(Listed::InPart);
                }
                context.ambient.clock.sleep(BETWEEN_TRIES).await;
                *lease = keep_lease(context, lease).await?;
            };
            let remembered =
                remember(context, self.layout, &of_bucket, database, last, found).await;
            context.store.release_lease(&of_bucket, None).await?;
            remembered?;
        }
        self.forget_place(lease).await?;
        Ok(Listed::ToTheEnd)
    }
}

#[cfg(test)]
mod tests {
    use icepress_model::{CatalogName, Namespace, TableId};

    use super::{super::digest::Seen, *};

    #[test]
    fn a_place_is_read_as_it_was_kept_and_nothing_else_is_one() {
        let table = TableId {
            catalog: CatalogName::from("lake"),
            namespace: Namespace::from_dotted("sales"),
            name: "orders".to_owned(),
        };
        let mut seen = SeenTables::default();
        seen.insert(Seen::new(&table, &"s3://lake/orders/1.json".into()));
        for next in [None, Some("token-é".to_owned())] {
            let place = Place {
                began_at: TimestampMs(1_760_000_000_123),
                layout: Generation(3),
                next,
                seen: seen.clone(),
            };
            assert_eq!(Place::decode(&place.encode()), Some(place));
        }
        for other in [vec![], vec![1; 16], vec![255; 40]] {
            assert_eq!(Place::decode(&Digest(other)), None);
        }
    }
}
