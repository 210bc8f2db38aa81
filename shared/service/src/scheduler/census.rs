//! Seeing change: a database is listed and compared with what was seen last (protocols.md, section 2).
//!
//! Marks come first, then the digest: a crash between the two repeats marks and loses none. A listing that fails half
//! way changes no digest and removes nothing.

mod digest;

use std::collections::BTreeSet;

use futures::future::join_all;
use icepress_catalog::CatalogError;
use icepress_coordination::{CoordinationError, Digest, Layout, Lease, MarkOutcome};
use icepress_model::{BucketId, DatabaseId, MetadataLocation, TableId, TimestampMs};
use thiserror::Error;

use crate::{Context, Event};
use digest::{Seen, SeenTables};

/// Marks written at once.
const MARKS_AT_ONCE: usize = 16;

/// Tables of a database that can't be marked, before the store is in trouble, not they.
const MOST_UNMARKED: u32 = 20;

/// Tables that are asked for at once where the listing does not carry their state.
const LOCATED_AT_ONCE: usize = 16;

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
    /// The record to be: what was listed, and what is missing for the first time.
    seen: SeenTables,
    /// Tables that are new or moved.
    changed: Vec<(TableId, MetadataLocation)>,
    /// Names' hashes of tables that two complete listings lacked.
    gone: Vec<u64>,
}

impl Look {
    /// Whether there is anything to write: an idle database is listed, and nothing more.
    pub(crate) fn found_nothing_new(&self) -> bool {
        self.changed.is_empty() && self.gone.is_empty() && self.seen.encode() == self.last
    }
}

/// Lists one database and compares. Needs no lease, since it writes nothing.
pub(crate) async fn look(context: &Context, database: &DatabaseId) -> Result<Look, CensusError> {
    let listed = list(context, database).await?;
    let last = context.store.digest(database).await?;
    let last_seen = SeenTables::decode(&last);
    let mut changed = Vec::new();
    let mut seen = SeenTables::default();
    for (table, location) in listed {
        let entry = Seen::new(&table, &location);
        if last_seen.contains(&entry) {
            context.tell(Event::TableUnchanged {
                table: table.clone(),
            });
        } else {
            changed.push((table, location));
        }
        seen.insert(entry);
    }
    context.tell(Event::DatabaseListed {
        database: database.to_string(),
        tables: seen.len(),
        changed: changed.len() as u64,
    });
    let gone = seen.carry_over_missing(&last_seen);
    Ok(Look {
        database: database.clone(),
        last,
        seen,
        changed,
        gone,
    })
}

/// Marks what is new or moved as due, and remembers what was seen, under the lease of the database's bucket. Says in
/// which buckets it made something due.
pub(crate) async fn record(
    context: &Context,
    layout: &Layout,
    lease: &Lease,
    look: Look,
) -> Result<BTreeSet<BucketId>, CensusError> {
    // Somebody else's census came between: its record is newer than this look.
    let stale = context.store.digest(&look.database).await? != look.last;
    let Look {
        database,
        last,
        mut seen,
        changed,
        gone,
    } = if stale {
        self::look(context, &look.database).await?
    } else {
        look
    };
    let now = context.ambient.now();
    let mut marked = BTreeSet::new();
    let mut unmarked = 0;
    for some in changed.chunks(MARKS_AT_ONCE) {
        let marks = some
            .iter()
            .map(|(table, location)| mark(context, layout, table, location, now));
        for ((table, location), outcome) in some.iter().zip(join_all(marks).await) {
            match outcome {
                Ok(MarkOutcome::AlreadyKnown) => {}
                Ok(MarkOutcome::Marked) => {
                    marked.insert(layout.home_of(table).bucket);
                }
                // One row that can't be read or written does not stop the rest (cases B11, C56). It stays out of the digest, so that its table
                // is marked again until somebody has mended it.
                Err(error) if unmarked < MOST_UNMARKED => {
                    unmarked += 1;
                    seen.remove(&Seen::new(table, location));
                    context.tell(Event::TableFailed {
                        table: table.clone(),
                        message: format!("table {table}: {error}"),
                    });
                }
                Err(error) => return Err(error.into()),
            }
        }
    }
    if !gone.is_empty() {
        mark_gone(context, layout, &database, &gone).await?;
    }
    let digest = seen.encode();
    if digest != last {
        context
            .store
            .put_digest(lease, layout.generation, &database, &digest)
            .await?;
    }
    Ok(marked)
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

/// All Iceberg tables of a database with their state. Where the listing does not carry it, each table is asked for; one
/// that can't be is reported and left out of this census alone: its old entry in the digest is lost, so that it
/// counts as changed when it can be read again.
async fn list(
    context: &Context,
    database: &DatabaseId,
) -> Result<Vec<(TableId, MetadataLocation)>, CatalogError> {
    let catalog = &context.catalogs.get(&database.catalog)?.catalog;
    let mut tables = Vec::new();
    let mut next: Option<String> = None;
    loop {
        let page = catalog.list_tables(database, next.as_deref()).await?;
        let mut unlocated = Vec::new();
        for listed in page.tables {
            match listed.metadata_location {
                Some(location) => tables.push((listed.table, location)),
                None => unlocated.push(listed.table),
            }
        }
        for some in unlocated.chunks(LOCATED_AT_ONCE) {
            let located = join_all(some.iter().map(|table| catalog.locate(table))).await;
            for (table, located) in some.iter().zip(located) {
                match located {
                    Ok(location) => tables.push((table.clone(), location)),
                    // Dropped since it was listed.
                    Err(CatalogError::NoSuchTable(_)) => {}
                    Err(error) => context.tell(Event::TableFailed {
                        table: table.clone(),
                        message: error.to_string(),
                    }),
                }
            }
        }
        match page.next {
            Some(token) => next = Some(token),
            None => return Ok(tables),
        }
    }
}

/// Lets the owners of tables that two complete listings lacked look at them: they forget what is really gone.
async fn mark_gone(
    context: &Context,
    layout: &Layout,
    database: &DatabaseId,
    gone: &[u64],
) -> Result<(), CoordinationError> {
    let now = context.ambient.now();
    let mut from = None;
    loop {
        let page = context.store.tables_page(from.as_deref()).await?;
        // An unreadable row is reported by the sweep of its bucket.
        for row in page.rows.into_iter().flatten() {
            if row.table.database() == *database && gone.contains(&digest::name_hash(&row.table)) {
                let home = layout.home_of(&row.table);
                context.store.force_due(home, &row.table, now).await?;
            }
        }
        from = page.next;
        if from.is_none() {
            return Ok(());
        }
    }
}
