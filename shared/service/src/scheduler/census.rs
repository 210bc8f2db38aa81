//! Seeing change: a database is listed and compared with what was seen last (protocols.md, section 2).
//!
//! The names of new tables are written down first, then come the marks, then the digest: a crash in between repeats marks and
//! loses none, and leaves no row that no digest knows. A listing that fails half way removes nothing.

pub(crate) mod announced;
mod begun;
mod digest;
pub(crate) mod long;
mod place;
mod released;
mod survey;
mod tags;

use std::collections::BTreeSet;

use futures::future::join_all;
use icepress_catalog::CatalogError;
use icepress_coordination::{
    CensusNote, CoordinationError, Digest, Layout, Lease, MarkOutcome, Search, hash_of_name,
};
use icepress_model::{
    BucketId, DatabaseId, MetadataLocation, TableId, TimestampMs, listing_of_database,
};
use thiserror::Error;

use crate::{About, Context, Deadline, Event};
use begun::Begun;
use digest::{Gone, SeenTables};
use survey::Survey;

/// Marks written at once.
const MARKS_AT_ONCE: usize = 16;

/// Tables of a database that can't be marked, before the store is in trouble, not they.
const MOST_UNMARKED: u32 = 20;

/// A census that could not be completed.
#[derive(Debug, Error)]
pub(crate) enum CensusError {
    /// The catalog failed: this database is listed again at the next tick.
    #[error(transparent)]
    Catalog(#[from] CatalogError),
    /// The state store failed, or the lease is another's by now.
    #[error(transparent)]
    Coordination(#[from] CoordinationError),
}

/// The databases of all catalogs, each with its bucket. A catalog that can't be asked is reported and skipped: its
/// digests stay as they are.
pub(crate) async fn databases(context: &Context, layout: &Layout) -> Vec<(BucketId, DatabaseId)> {
    let mut databases = Vec::new();
    for open in context.catalogs.iter() {
        let catalog = &open.catalog;
        match catalog.list_namespaces().await {
            Ok(namespaces) => databases.extend(namespaces.into_iter().map(|namespace| {
                let database = DatabaseId {
                    catalog: catalog.name().clone(),
                    namespace,
                };
                (layout.bucket_of_database(&database), database)
            })),
            Err(error) => context.tell(Event::ListingFailed {
                database: catalog.name().to_string(),
                message: error.to_string(),
            }),
        }
    }
    databases
}

/// What a listing of one database showed, beside what was seen last.
pub(crate) struct Look {
    /// The database.
    pub(crate) database: DatabaseId,
    /// The record that it was compared with.
    last: Digest,
    /// Tables that are new or moved.
    changed: Vec<(TableId, MetadataLocation)>,
    /// What is to be written once they are marked.
    found: Found,
}

impl Look {
    /// Whether there is anything to write: an idle database is listed, and nothing more.
    pub(crate) fn found_nothing_new(&self) -> bool {
        self.changed.is_empty() && self.found.is_known(&self.last)
    }
}

/// What a complete listing found.
struct Found {
    /// The record to be: what was listed, and what is missing for the first time.
    seen: SeenTables,
    /// Tables that two complete listings lacked.
    gone: Gone,
    /// What the catalog calls the states, where it is to be kept anew.
    tags: Option<Digest>,
}

impl Found {
    /// What the survey found, now that it is complete.
    fn by(context: &Context, survey: Survey) -> Self {
        let tags = survey.tags_to_keep();
        let mut seen = survey.seen;
        let gone = seen.carry_over_missing(&survey.last);
        seen.modes = context.settings.modes.fingerprint();
        Self { seen, gone, tags }
    }

    /// Takes over what a newer record than the one that it was compared with has beside it.
    fn know(&mut self, stands: &SeenTables) {
        let gone = self.seen.carry_over_missing(stands);
        self.gone = std::mem::take(&mut self.gone).and(gone);
    }

    /// Whether all of it is recorded already.
    fn is_known(&self, last: &Digest) -> bool {
        self.gone.is_empty() && self.tags.is_none() && self.seen.encode() == *last
    }
}

/// What came of looking at a database.
pub(crate) enum Looked {
    /// All of it was listed.
    Whole(Box<Look>),
    /// It is too long for the turn of its bucket, and there are others to hand it to ([`long`]).
    TooLong,
}

/// Lists one database and compares. Needs no lease, since it writes nothing but that it is begun: where it takes long, and
/// where this process has never got to the end of it, for then the one before may have died of it.
///
/// One that somebody died at is left to a run of its own, and so is one for which the time does not do: that goes on where it
/// stopped, and waits where it died.
pub(crate) async fn look(
    context: &Context,
    layout: &Layout,
    database: &DatabaseId,
    deadline: Deadline,
) -> Result<Looked, CensusError> {
    let begun = Begun::of(context, database).await?;
    if begun.is_for_a_run_of_its_own() && context.errands.is_some() {
        return Ok(Looked::TooLong);
    }
    let looking = list_and_compare(context, database);
    tokio::pin!(looking);
    let cut = deadline.earlier_by(context.settings.deadline_margin / 2);
    let too_late = cut.passed(&context.ambient);
    tokio::pin!(too_late);
    if context.listed.has(database) {
        let clock = &context.ambient.clock;
        tokio::select! {
            biased;
            looked = &mut looking => return looked,
            () = &mut too_late => return Ok(Looked::TooLong),
            () = clock.sleep(context.settings.note_listing_after) => {}
        }
    }
    // Whoever is at it besides has noted it.
    let Some(lease) = long::take(context, listing_of_database(database)).await? else {
        return looking.await;
    };
    // By now a run of its own may have been at it.
    let begun = Begun::of(context, database).await?;
    if begun.is_for_a_run_of_its_own() && context.errands.is_some() {
        context.store.release_lease(&lease, None).await?;
        return Ok(Looked::TooLong);
    }
    let generation = layout.generation;
    begun.note(context, &lease, generation, database).await?;
    let looked = tokio::select! {
        biased;
        looked = &mut looking => looked,
        () = &mut too_late => Ok(Looked::TooLong),
    };
    context.listed.note(database);
    // Where the note stays, the next listing is a run of its own.
    let cleared = begun.end(context, &lease, generation, database).await;
    let released = context.store.release_lease(&lease, None).await;
    if let Err(error) = cleared.and(released) {
        context.tell(Event::Notice {
            about: About::NONE,
            message: format!("that {database} was listed to the end could not be noted: {error}"),
        });
    }
    looked
}

async fn list_and_compare(context: &Context, database: &DatabaseId) -> Result<Looked, CensusError> {
    let most = match &context.errands {
        Some(_) => context.settings.long_listing,
        None => u64::MAX,
    };
    let last = context.store.digest(database).await?;
    let last_seen = SeenTables::decode(&last);
    if last_seen.len() > most {
        return Ok(Looked::TooLong);
    }
    let mut survey = Survey::new(last_seen);
    let mut changed = Vec::new();
    let mut next = None;
    loop {
        let page = survey.read_page(context, database, next.as_deref()).await?;
        changed.extend(page.changed);
        next = page.next;
        if next.is_none() {
            break;
        }
        if survey.seen.len() > most {
            return Ok(Looked::TooLong);
        }
    }
    context.tell(Event::DatabaseListed {
        database: database.to_string(),
        tables: survey.seen.len(),
        changed: changed.len() as u64,
    });
    let look = Look {
        database: database.clone(),
        last,
        changed,
        found: Found::by(context, survey),
    };
    Ok(Looked::Whole(Box::new(look)))
}

/// Marks what is new or moved as due, and remembers what was seen, under the lease of the database's bucket. Says in
/// which buckets it made something due.
pub(crate) async fn record(
    context: &Context,
    layout: &Layout,
    lease: &Lease,
    look: Look,
    deadline: Deadline,
) -> Result<BTreeSet<BucketId>, CensusError> {
    // Somebody else's census came between: its record is newer than this look.
    let stale = context.store.digest(&look.database).await? != look.last;
    let mut look = match stale {
        true => match self::look(context, layout, &look.database, deadline).await? {
            Looked::Whole(again) => *again,
            Looked::TooLong => return Ok(BTreeSet::new()),
        },
        false => look,
    };
    let stands = announce(context, layout, lease, &look).await?;
    let seen = &mut look.found.seen;
    let mut marked = mark_all(context, layout, &look.changed, seen).await?;
    let released = remember(context, layout, lease, &look.database, &stands, look.found).await?;
    marked.extend(released);
    Ok(marked)
}

/// Writes down which tables are about to be marked for the first time, before they have rows: whoever dies in between leaves
/// no row that no digest knows, which nobody would ask for once its table is dropped. Returns the digest that stands then.
async fn announce(
    context: &Context,
    layout: &Layout,
    lease: &Lease,
    look: &Look,
) -> Result<Digest, CensusError> {
    let mut known = SeenTables::decode(&look.last);
    let names = look
        .changed
        .iter()
        .map(|(table, _)| hash_of_name(&table.name));
    let new: Vec<u64> = names.filter(|name| !known.has_name(*name)).collect();
    if new.is_empty() {
        return Ok(look.last.clone());
    }
    known.miss_again(&new);
    let digest = known.encode();
    context
        .store
        .put_digest(lease, layout.generation, &look.database, &digest)
        .await?;
    Ok(digest)
}

/// Marks tables as due. Says in which buckets it made something due. Needs no lease: to mark twice is harmless.
async fn mark_all(
    context: &Context,
    layout: &Layout,
    changed: &[(TableId, MetadataLocation)],
    seen: &mut SeenTables,
) -> Result<BTreeSet<BucketId>, CensusError> {
    let now = context.ambient.now();
    let mut marked = BTreeSet::new();
    let mut unmarked = 0;
    for some in changed.chunks(MARKS_AT_ONCE) {
        let marks = some
            .iter()
            .map(|(table, location)| mark(context, layout, table, location, now));
        for ((table, _), outcome) in some.iter().zip(join_all(marks).await) {
            match outcome {
                Ok(MarkOutcome::AlreadyKnown) => {}
                Ok(MarkOutcome::Marked) => {
                    marked.insert(layout.home_of(table).bucket);
                }
                // One row that can't be read or written does not stop the rest (cases B11, C56). The digest has its name and no state, so
                // that its table is marked again until somebody has mended it, and missed once it is dropped: it may have a row.
                Err(error) if unmarked < MOST_UNMARKED => {
                    unmarked += 1;
                    seen.miss_again(&[hash_of_name(&table.name)]);
                    context.tell(Event::TableFailed {
                        table: table.clone(),
                        message: format!("table {table}: {error}"),
                    });
                }
                Err(error) => return Err(error.into()),
            }
        }
    }
    Ok(marked)
}

/// Remembers what a complete listing found whose new tables are marked, in the place of `last`. Where that was seen under other
/// modes, tables are marked first that were only observed and are not any more: says in which buckets.
async fn remember(
    context: &Context,
    layout: &Layout,
    lease: &Lease,
    database: &DatabaseId,
    last: &Digest,
    mut found: Found,
) -> Result<BTreeSet<BucketId>, CensusError> {
    if !found.gone.is_empty() {
        let remembered = mark_gone(context, layout, database, &found.gone).await?;
        found.seen.ask_again(&remembered);
    }
    let before = SeenTables::decode(last).modes;
    let mut released = BTreeSet::new();
    // Under none that observe nobody was observed.
    if before.is_some() && before != found.seen.modes {
        let all;
        (released, all) = released::mark(context, layout, database).await?;
        if !all {
            found.seen.modes = before;
        }
    }
    let generation = layout.generation;
    let digest = found.seen.encode();
    if digest != *last {
        context
            .store
            .put_digest(lease, generation, database, &digest)
            .await?;
    }
    if let Some(tags) = &found.tags {
        context
            .store
            .put_census_note(lease, generation, database, CensusNote::Tags, tags)
            .await?;
    }
    Ok(released)
}

async fn mark(
    context: &Context,
    layout: &Layout,
    table: &TableId,
    location: &MetadataLocation,
    now: TimestampMs,
) -> Result<MarkOutcome, CoordinationError> {
    let home = layout.home_of(table);
    let outcome = context.store.mark_due(home, table, location, now).await?;
    if outcome == MarkOutcome::AlreadyKnown {
        context.tell(Event::TableUnchanged {
            table: table.clone(),
        });
    }
    Ok(outcome)
}

/// Lets the owners of tables that two complete listings lacked look at them: they forget what is really gone. The hashes of
/// names are returned that still have a row, or whose rows the store refused: the digest keeps them, and the next census asks
/// for them again, until the row is forgotten. For an owner that finds the table there again, and keeps its row, says so to
/// no digest; once it is dropped anew, nobody would ask for that row.
async fn mark_gone(
    context: &Context,
    layout: &Layout,
    database: &DatabaseId,
    gone: &Gone,
) -> Result<Vec<u64>, CoordinationError> {
    let mut remembered = Vec::new();
    let mut refused = 0;
    let store = &context.store;
    let mut tables = store
        .tables_by_hash(database, &gone.first, Search::AmongRows)
        .await?;
    // Whose row was there when it was marked has its name kept, or no row any more.
    tables.extend(
        store
            .tables_by_hash(database, &gone.again, Search::KeptNames)
            .await?,
    );
    for table in tables {
        match mark_if_known(context, layout, &table).await {
            Ok(false) => {}
            // An unreadable row is reported by the sweep of its bucket.
            Ok(true) | Err(CoordinationError::UnreadableRow { .. }) => {
                remembered.push(hash_of_name(&table.name));
            }
            Err(error) if refused < MOST_UNMARKED => {
                refused += 1;
                remembered.push(hash_of_name(&table.name));
                context.tell(Event::TableFailed {
                    table: table.clone(),
                    message: format!("table {table}, which is gone: {error}"),
                });
            }
            Err(error) => return Err(error),
        }
    }
    Ok(remembered)
}

/// Has a table looked at that has a row, by somebody who is not told of a state and so forgets it if it is gone. To mark one
/// without a row would make one. Says whether it has.
async fn mark_if_known(
    context: &Context,
    layout: &Layout,
    table: &TableId,
) -> Result<bool, CoordinationError> {
    let Some(row) = context.store.table(table).await? else {
        return Ok(false);
    };
    let (home, now) = (layout.home_of(table), context.ambient.now());
    let is_forced = row.due_location.is_none() && row.due_at.is_some_and(|due_at| due_at <= now);
    if !is_forced {
        context.store.force_due(home, table, now).await?;
    }
    Ok(true)
}
