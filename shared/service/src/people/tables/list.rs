//! All tables of a catalog with what is known of them, by name: read from the state, and from the catalog only where no
//! census has listed a database yet. Nothing is loaded or planned, and no more than a page of each share is in memory.

use std::{collections::VecDeque, pin::pin, sync::Arc, time::Duration};

use futures::future::{Either, join_all, select};
use icepress_catalog::CatalogError;
use icepress_coordination::{CoordinationError, KeyRange, ListedRow, Listing, TableKey, TableRow};
use icepress_model::{CatalogName, DatabaseId, Namespace, Scope, TableId};
use thiserror::Error;

use crate::{Context, scheduler::census::announced::without_rows};

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
    unseen: Unseen,
}

impl KnownTables {
    /// Begins the list. The state must answer; a catalog that does not is told in [`Self::left_out`].
    pub async fn open(context: &Context, wanted: &Wanted) -> Result<Self, CoordinationError> {
        let range = KeyRange::new(Some(&wanted.scope), wanted.after.as_ref());
        let mut rows = Listing::new(&context.store, &range, wanted.first);
        let next_row = rows.next().await?;
        let mut unseen = Unseen::none(context, wanted);
        if wanted.with_unseen {
            unseen.find_databases().await;
        }
        Ok(Self {
            rows,
            next_row,
            unseen,
        })
    }

    /// The next table; `None` after the last.
    pub async fn next(&mut self) -> Result<Option<KnownTable>, CoordinationError> {
        loop {
            let row = self.next_row.as_ref().map(|row| &row.key);
            self.unseen.ask_before(row).await;
            let row_is_next = match (row, self.unseen.first()) {
                (None, None) => return Ok(None),
                (Some(row), Some(unseen)) => row <= unseen,
                (row, _) => row.is_some(),
            };
            if !row_is_next {
                let unseen = self.unseen.found.pop_front();
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
            if self.unseen.first() == Some(&key) {
                self.unseen.found.pop_front();
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

    /// Why tables that Icepress never looked at may be missing in what was listed so far, if they may.
    pub fn left_out(&self) -> Option<&str> {
        self.unseen.left_out.as_deref()
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

/// Tables without a row. Databases are asked about as the list comes to them, so that a page costs what lies on it.
#[derive(Debug)]
struct Unseen {
    context: Context,
    scope: Scope,
    after: Option<TableKey>,
    /// Databases that were not asked about yet, each with the key before those of its tables; the first first.
    databases: VecDeque<(TableKey, DatabaseId)>,
    /// What was found and not given out yet, the first first.
    found: VecDeque<(TableKey, TableId)>,
    /// How long the catalog may be asked yet.
    patience: Duration,
    /// Why not all was found.
    left_out: Option<String>,
}

impl Unseen {
    fn none(context: &Context, wanted: &Wanted) -> Self {
        Self {
            context: context.clone(),
            scope: wanted.scope.clone(),
            after: wanted.after.clone(),
            databases: VecDeque::new(),
            found: VecDeque::new(),
            patience: PATIENCE,
            left_out: None,
        }
    }

    fn first(&self) -> Option<&TableKey> {
        self.found.front().map(|(key, _)| key)
    }

    /// Asks the catalog which databases there are.
    async fn find_databases(&mut self) {
        let context = self.context.clone();
        let name = self.scope.catalog().clone();
        let asked = self.patiently(namespaces(&context, &name)).await;
        let Some(namespaces) = self.unless_failed(asked) else {
            return;
        };
        let databases = namespaces.into_iter().map(|namespace| DatabaseId {
            catalog: name.clone(),
            namespace,
        });
        let mut databases: Vec<(TableKey, DatabaseId)> = databases
            .filter(|database| covers(&self.scope, database))
            .map(|database| (before_tables_of(&database), database))
            .collect();
        databases.sort_unstable();
        self.databases = databases.into();
    }

    /// Asks about the databases that may have tables before `key` and before what was found; about all until something is
    /// found, where there is no key.
    async fn ask_before(&mut self, key: Option<&TableKey>) {
        loop {
            let end = [key, self.first()].into_iter().flatten().min();
            let is_next = |(begin, _): &(TableKey, _)| end.is_none_or(|end| begin < end);
            if !self.databases.front().is_some_and(is_next) {
                return;
            }
            // Those that follow are mostly wanted too.
            let some = self.databases.len().min(ASKED_AT_ONCE);
            let some: Vec<(TableKey, DatabaseId)> = self.databases.drain(..some).collect();
            let context = self.context.clone();
            let asking = some
                .iter()
                .map(|(_, database)| unseen_of(&context, database));
            let asking = async { Ok(join_all(asking).await) };
            let asked = self.patiently(asking).await;
            for tables in self.unless_failed(asked).unwrap_or_default() {
                let tables = self.unless_failed(tables).unwrap_or_default();
                let keyed = tables
                    .into_iter()
                    .map(|table| (TableKey::of(&table), table));
                let after = self.after.as_ref();
                let wanted = keyed.filter(|(key, _)| after.is_none_or(|after| key > after));
                self.found.extend(wanted);
            }
            let found = self.found.make_contiguous();
            found.sort_unstable();
        }
    }

    /// What comes of it within the time that is left for all that the catalog is asked.
    async fn patiently<T>(
        &mut self,
        asking: impl Future<Output = Result<T, AskError>>,
    ) -> Result<T, String> {
        let clock = Arc::clone(&self.context.ambient.clock);
        let begin = clock.monotonic();
        let asking = pin!(asking);
        let patience = pin!(clock.sleep(self.patience));
        let asked = select(asking, patience).await;
        self.patience = self
            .patience
            .saturating_sub(clock.monotonic().saturating_sub(begin));
        match asked {
            Either::Left((asked, _)) => asked.map_err(|error| error.to_string()),
            Either::Right(_) => {
                self.databases.clear();
                Err(format!(
                    "catalog {} did not name all its tables within {} s",
                    self.scope.catalog(),
                    PATIENCE.as_secs()
                ))
            }
        }
    }

    /// One database that can't be asked about keeps nobody from the others.
    fn unless_failed<T, E: std::fmt::Display>(&mut self, asked: Result<T, E>) -> Option<T> {
        match asked {
            Ok(asked) => Some(asked),
            Err(error) => {
                self.left_out.get_or_insert_with(|| error.to_string());
                None
            }
        }
    }
}

/// What every key of a database's tables begins with.
fn before_tables_of(database: &DatabaseId) -> TableKey {
    TableKey::of(&TableId {
        catalog: database.catalog.clone(),
        namespace: database.namespace.clone(),
        name: String::new(),
    })
}

async fn namespaces(context: &Context, name: &CatalogName) -> Result<Vec<Namespace>, AskError> {
    Ok(context
        .catalogs
        .get(name)?
        .catalog
        .list_namespaces()
        .await?)
}

/// The tables of a database that no census has listed: what one has listed has a row for each of its tables, but for those
/// whose rows the state store refused.
async fn unseen_of(context: &Context, database: &DatabaseId) -> Result<Vec<TableId>, AskError> {
    let digest = context.store.digest(database).await?;
    if !digest.0.is_empty() {
        let rowless = without_rows(context, database, &digest).await?;
        return Ok(rowless.into_iter().map(|rowless| rowless.table).collect());
    }
    let catalog = &context.catalogs.get(&database.catalog)?.catalog;
    let mut tables = Vec::new();
    let mut next: Option<String> = None;
    loop {
        let page = catalog.list_tables(database, next.as_deref()).await?;
        tables.extend(page.tables.into_iter().map(|listed| listed.table));
        match page.next {
            Some(token) => next = Some(token),
            None => return Ok(tables),
        }
    }
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
