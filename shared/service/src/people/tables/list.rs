//! All tables of a catalog with what is known of them, by name: read from the state, and from the catalog only where no
//! census has listed a database yet. Nothing is loaded or planned, and no more than a page of each share is in memory.

use std::{
    collections::VecDeque,
    pin::pin,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use futures::{
    StreamExt as _,
    future::{Either, select},
    stream,
};
use icepress_catalog::{Catalog, CatalogError};
use icepress_coordination::{CoordinationError, KeyRange, ListedRow, Listing, TableKey, TableRow};
use icepress_model::{CatalogName, DatabaseId, Scope, TableId};
use thiserror::Error;

use crate::Context;

/// How long the catalog is asked for tables that nobody looked at yet. The list is about what is known, and must not wait for
/// a catalog that is slow or silent.
const PATIENCE: Duration = Duration::from_secs(5);

/// Databases asked about at the same time.
const ASKED_AT_ONCE: usize = 16;

/// Which tables are listed.
#[derive(Debug, Clone)]
pub struct Wanted {
    /// Those of this catalog, or of this database and what lies below it.
    pub scope: Scope,
    /// Those that come after this one.
    pub after: Option<TableKey>,
    /// How many the caller is going to ask for, where that is known.
    pub first: Option<usize>,
    /// Whether tables that Icepress never looked at are asked of the catalog.
    pub with_unseen: bool,
}

/// A table with what is known of it.
#[derive(Debug)]
pub struct KnownTable {
    /// The table.
    pub table: TableId,
    /// Where it stands in the list.
    pub key: TableKey,
    /// What Icepress knows, or why it can't be read; `None` before it first looked.
    pub row: Option<Result<TableRow, CoordinationError>>,
}

/// A list under way.
#[derive(Debug)]
pub struct KnownTables {
    rows: Listing,
    next_row: Option<ListedRow>,
    /// Tables without a row, the first first.
    unseen: VecDeque<(TableKey, TableId)>,
    /// Why the catalog did not name all that it has.
    left_out: Option<String>,
}

impl KnownTables {
    /// Begins the list. The state must answer; a catalog that does not is told in [`Self::left_out`].
    pub async fn open(context: &Context, wanted: &Wanted) -> Result<Self, CoordinationError> {
        let range = KeyRange::new(Some(&wanted.scope), wanted.after.as_ref());
        let mut rows = Listing::new(&context.store, &range, wanted.first);
        let next_row = rows.next().await?;
        let (unseen, left_out) = if wanted.with_unseen {
            unseen(context, wanted).await
        } else {
            (VecDeque::new(), None)
        };
        Ok(Self {
            rows,
            next_row,
            unseen,
            left_out,
        })
    }

    /// The next table; `None` after the last.
    pub async fn next(&mut self) -> Result<Option<KnownTable>, CoordinationError> {
        loop {
            let unseen = self.unseen.front().map(|(key, _)| key);
            let row_is_next = match (&self.next_row, unseen) {
                (None, None) => return Ok(None),
                (Some(row), Some(unseen)) => row.key <= *unseen,
                (row, _) => row.is_some(),
            };
            if !row_is_next {
                let unseen = self.unseen.pop_front();
                return Ok(unseen.map(|(key, table)| KnownTable {
                    table,
                    key,
                    row: None,
                }));
            }
            let Some(ListedRow { key, row }) = self.next_row.take() else {
                return Ok(None);
            };
            self.next_row = self.rows.next().await?;
            // Marked since, or by a census that has not come to its end.
            if self
                .unseen
                .front()
                .is_some_and(|(unseen, _)| *unseen == key)
            {
                self.unseen.pop_front();
            }
            // A key that is none is that of a row by no version of ours.
            let Ok(table) = key.table() else { continue };
            return Ok(Some(KnownTable {
                table,
                key,
                row: Some(row),
            }));
        }
    }

    /// Why tables that Icepress never looked at may be missing in the list, if they may.
    pub fn left_out(&self) -> Option<&str> {
        self.left_out.as_deref()
    }
}

/// Why the catalog was not asked to the end.
#[derive(Debug, Error)]
enum AskError {
    #[error(transparent)]
    Catalog(#[from] CatalogError),
    #[error(transparent)]
    Coordination(#[from] CoordinationError),
}

/// Tables of databases that no census has listed, in their order, and why they may not be all.
async fn unseen(
    context: &Context,
    wanted: &Wanted,
) -> (VecDeque<(TableKey, TableId)>, Option<String>) {
    let found = Mutex::new(Vec::new());
    let asking = ask(context, wanted, &found);
    let patience = context.ambient.clock.sleep(PATIENCE);
    let left_out = match select(pin!(asking), pin!(patience)).await {
        Either::Left((Ok(()), _)) => None,
        Either::Left((Err(error), _)) => Some(error.to_string()),
        Either::Right(_) => Some(format!(
            "catalog {} did not name all its tables within {} s",
            wanted.scope.catalog(),
            PATIENCE.as_secs()
        )),
    };
    let mut found = found.into_inner().unwrap_or_else(PoisonError::into_inner);
    found.sort_unstable();
    found.dedup();
    (found.into(), left_out)
}

async fn ask(
    context: &Context,
    wanted: &Wanted,
    found: &Mutex<Vec<(TableKey, TableId)>>,
) -> Result<(), AskError> {
    let name: &CatalogName = wanted.scope.catalog();
    let catalog = &context.catalogs.get(name)?.catalog;
    let mut databases: Vec<DatabaseId> = catalog
        .list_namespaces()
        .await?
        .into_iter()
        .map(|namespace| DatabaseId {
            catalog: name.clone(),
            namespace,
        })
        .filter(|database| covers(&wanted.scope, database))
        .collect();
    databases.sort_unstable();
    let is_wanted = |key: &TableKey| wanted.after.as_ref().is_none_or(|after| key > after);
    let mut asked = stream::iter(databases)
        .map(async |database| {
            // What a census has listed has a row for each of its tables.
            if !context.store.digest(&database).await?.0.is_empty() {
                return Ok(());
            }
            tables_of(catalog.as_ref(), &database, |table| {
                let key = TableKey::of(&table);
                if is_wanted(&key) {
                    let mut found = found.lock().unwrap_or_else(PoisonError::into_inner);
                    found.push((key, table));
                }
            })
            .await
        })
        .buffered(ASKED_AT_ONCE);
    while let Some(asked) = asked.next().await {
        asked?;
        let found = found.lock().unwrap_or_else(PoisonError::into_inner).len();
        // Databases come in their order: what the others have comes later.
        if wanted.first.is_some_and(|first| found > first) {
            break;
        }
    }
    Ok(())
}

fn covers(scope: &Scope, database: &DatabaseId) -> bool {
    match scope {
        Scope::Catalog(catalog) => *catalog == database.catalog,
        Scope::Database(outer) => {
            outer.catalog == database.catalog
                && database.namespace.0.starts_with(&outer.namespace.0)
        }
        Scope::Table(table) => table.database() == *database,
    }
}

async fn tables_of(
    catalog: &dyn Catalog,
    database: &DatabaseId,
    mut hand_over: impl FnMut(TableId),
) -> Result<(), AskError> {
    let mut next: Option<String> = None;
    loop {
        let page = catalog.list_tables(database, next.as_deref()).await?;
        for listed in page.tables {
            hand_over(listed.table);
        }
        match page.next {
            Some(token) => next = Some(token),
            None => return Ok(()),
        }
    }
}
