//! The listing of a database that is too long for the turn of its bucket: in a run of its own, which goes on where the
//! last one stopped.
//!
//! One run at a time is at it, under a lease of the listing's own, so that its bucket is swept meanwhile: a page can't be asked
//! for before the one that names it was read, so that a listing is a chain of pages and of runs. Other listings, of the same
//! bucket too, are other errands, and go on beside it.
//!
//! What is new or moved is marked as its pages are read; the digest is written at the end and not before. What was seen so far
//! is kept with the place in the listing when the time is up, and now and then, for those who are killed. Names of tables that
//! nobody knows yet are kept before these get rows, as short listings announce them: whatever becomes of a run, each table
//! with a row stands in the digest or in the place, and whoever finds a place goes on with its names.

use std::time::Duration;

use icepress_coordination::{CensusNote, CoordinationError, Digest, Layout, Lease, hash_of_name};
use icepress_model::{
    BucketId, DatabaseId, MetadataLocation, TableId, TimestampMs, listing_of_database,
};

use super::{
    CensusError, Found,
    begun::Begun,
    digest::SeenTables,
    mark_all,
    place::{ListingProgress, Next},
    remember,
    survey::Survey,
};
use crate::{Context, Deadline, Event, scheduler::sweep::keep_lease};

/// How often a run keeps how far it got, in case that it dies.
const KEEP_EVERY: Duration = Duration::from_secs(60);

/// New tables that are announced together, so that a first listing does not keep its place at every page.
const ANNOUNCED_TOGETHER: usize = 4_000;

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
    let last = context.store.digest(database).await?;
    let mut run = Run::resumed(context, layout, database, &last, deadline).await?;
    let listed = run.list(&mut lease, &last).await;
    let begun = begun.in_part(run.kept.is_some());
    begun.end(context, &lease, generation, database).await?;
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

/// A run that is at it.
struct Run<'a> {
    context: &'a Context,
    layout: &'a Layout,
    database: &'a DatabaseId,
    deadline: Deadline,
    began_at: TimestampMs,
    survey: Survey,
    /// So far the pages were read.
    read_to: Next,
    /// So far their tables were marked as well.
    marked_to: Next,
    /// Tables of the pages in between that nobody has heard of yet.
    unannounced: Vec<(TableId, MetadataLocation)>,
    /// What the kept place has seen; `None` where none is kept.
    kept: Option<SeenTables>,
    changed: u64,
}

impl<'a> Run<'a> {
    /// Where the last run stopped, or at the begin.
    async fn resumed(
        context: &'a Context,
        layout: &'a Layout,
        database: &'a DatabaseId,
        last: &Digest,
        deadline: Deadline,
    ) -> Result<Self, CoordinationError> {
        let (now, generation) = (context.ambient.now(), layout.generation);
        let last = SeenTables::decode(last);
        let note = context
            .store
            .census_note(database, CensusNote::Listing)
            .await?;
        let place = ListingProgress::decode(&note);
        let kept = (note != Digest::default()).then(|| {
            place
                .as_ref()
                .map(|place| place.seen.clone())
                .unwrap_or_default()
        });
        let place = place
            .filter(|place| place.layout == generation && now.since(place.began_at) < STALE_AFTER)
            .unwrap_or_else(|| ListingProgress::anew(now, generation, kept.as_ref(), &last));
        Ok(Self {
            context,
            layout,
            database,
            deadline,
            began_at: place.began_at,
            survey: Survey::after(last, place.seen),
            read_to: place.next.clone(),
            marked_to: place.next,
            unannounced: Vec::new(),
            kept,
            changed: 0,
        })
    }

    async fn list(&mut self, lease: &mut Lease, last: &Digest) -> Result<Listed, CensusError> {
        let context = self.context;
        let mut is_first = true;
        let mut kept_at = context.ambient.clock.monotonic();
        while self.read_to != Next::End {
            let has_time = self.has_time();
            let since_kept = context.ambient.clock.monotonic().saturating_sub(kept_at);
            let is_worth_it = !is_first || self.read_to != Next::Begin;
            if is_worth_it && (!has_time || since_kept > KEEP_EVERY) {
                self.announce_and_mark(lease).await?;
                self.keep(lease).await?;
                kept_at = context.ambient.clock.monotonic();
            }
            if !has_time {
                return Ok(Listed::InPart);
            }
            *lease = keep_lease(context, lease).await?;
            if let Err(error) = self.read_page().await {
                if let CensusError::Catalog(_) = error {
                    // The place itself may be what the catalog does not take any more.
                    match is_first {
                        true => self.start_over(lease).await?,
                        false => {
                            self.announce_and_mark(lease).await?;
                            self.keep(lease).await?;
                        }
                    }
                }
                return Err(error);
            }
            is_first = false;
            if self.unannounced.len() >= ANNOUNCED_TOGETHER {
                self.announce_and_mark(lease).await?;
            }
        }
        self.announce_and_mark(lease).await?;
        context.tell(Event::DatabaseListed {
            database: self.database.to_string(),
            tables: self.survey.seen.len(),
            changed: self.changed,
        });
        self.record(lease, last).await
    }

    /// Reads the next page, and marks what has moved of what is known. What is new waits until it is announced.
    async fn read_page(&mut self) -> Result<(), CensusError> {
        let (context, database) = (self.context, self.database);
        let token = self.read_to.token();
        let page = self.survey.read_page(context, database, token).await?;
        self.changed += page.changed.len() as u64;
        let is_known = |(table, _): &(TableId, _)| {
            let name = hash_of_name(&table.name);
            let is_kept = self.kept.as_ref().is_some_and(|kept| kept.has_name(name));
            is_kept || self.survey.last.has_name(name)
        };
        let (known, new): (Vec<_>, Vec<_>) = page.changed.into_iter().partition(is_known);
        mark_all(context, self.layout, &known, &mut self.survey.seen).await?;
        self.unannounced.extend(new);
        self.read_to = Next::of_page(page.next);
        if self.unannounced.is_empty() {
            self.marked_to = self.read_to.clone();
        }
        Ok(())
    }

    /// Keeps the names of new tables, with the place before the pages that have them, and then marks them.
    async fn announce_and_mark(&mut self, lease: &Lease) -> Result<(), CensusError> {
        let new = std::mem::take(&mut self.unannounced);
        if !new.is_empty() {
            let names: Vec<u64> = new
                .iter()
                .map(|(table, _)| hash_of_name(&table.name))
                .collect();
            let mut seen = self.survey.seen.clone();
            seen.miss_again(&names);
            self.put(lease, self.place(self.marked_to.clone(), seen))
                .await?;
            mark_all(self.context, self.layout, &new, &mut self.survey.seen).await?;
        }
        self.marked_to = self.read_to.clone();
        Ok(())
    }

    fn has_time(&self) -> bool {
        let margin = self.context.settings.deadline_margin;
        self.deadline.allows(&self.context.ambient, margin)
    }

    fn place(&self, next: Next, seen: SeenTables) -> ListingProgress {
        ListingProgress {
            began_at: self.began_at,
            layout: self.layout.generation,
            next,
            seen,
        }
    }

    /// Keeps how far it got.
    async fn keep(&mut self, lease: &Lease) -> Result<(), CensusError> {
        let place = self.place(self.marked_to.clone(), self.survey.seen.clone());
        self.put(lease, place).await
    }

    /// Has the next run begin at the first page.
    async fn start_over(&mut self, lease: &Lease) -> Result<(), CensusError> {
        let Some(kept) = &self.kept else {
            return Ok(());
        };
        let (now, layout) = (self.context.ambient.now(), self.layout.generation);
        let place = ListingProgress::anew(now, layout, Some(kept), &self.survey.last);
        self.put(lease, place).await
    }

    /// Lets go of the place, now that the digest has all of it.
    async fn forget_place(&mut self, lease: &Lease) -> Result<(), CensusError> {
        if self.kept.is_none() {
            return Ok(());
        }
        let place = self.place(Next::Begin, SeenTables::default());
        self.put(lease, place).await
    }

    async fn put(&mut self, lease: &Lease, place: ListingProgress) -> Result<(), CensusError> {
        let (layout, note) = (self.layout.generation, CensusNote::Listing);
        let encoded = place.encode();
        self.context
            .store
            .put_census_note(lease, layout, self.database, note, &encoded)
            .await?;
        self.kept = (encoded != Digest::default()).then_some(place.seen);
        Ok(())
    }

    /// Writes the digest, under the lease of the database's bucket.
    async fn record(&mut self, lease: &mut Lease, last: &Digest) -> Result<Listed, CensusError> {
        let (context, database) = (self.context, self.database);
        let mut found = Found::by(context, self.survey.clone());
        if !found.is_known(last) {
            let bucket = self.layout.bucket_of_database(database);
            let of_bucket = loop {
                if let Some(of_bucket) = take(context, bucket).await? {
                    break of_bucket;
                }
                if !self.has_time() {
                    self.keep(lease).await?;
                    return Ok(Listed::InPart);
                }
                context.ambient.clock.sleep(BETWEEN_TRIES).await;
                *lease = keep_lease(context, lease).await?;
            };
            // Somebody else's census may have come between: what it knows is not forgotten.
            let stands = context.store.digest(database).await?;
            if stands != *last {
                found.know(&SeenTables::decode(&stands));
            }
            let remembered =
                remember(context, self.layout, &of_bucket, database, &stands, found).await;
            context.store.release_lease(&of_bucket, None).await?;
            remembered?;
        }
        self.forget_place(lease).await?;
        Ok(Listed::ToTheEnd)
    }
}
