//! Tables whose names a census wrote down and that have no row: the state store refuses to write it, or whoever listed them
//! ended before it could. Nothing else names them.

use icepress_coordination::{CoordinationError, Digest, Search, hash_of_name};
use icepress_model::{DatabaseId, TableId};

use super::digest::SeenTables;
use crate::Context;

/// Pages of the catalog that are searched for names that the state does not keep.
const PAGES_SEARCHED: usize = 10;

/// A table that was listed.
#[derive(Debug)]
pub(crate) struct Rowless {
    pub(crate) table: TableId,
    /// Why its row can't be read; `None` where there is none.
    pub(crate) unreadable: Option<CoordinationError>,
}

/// The tables of a database that `digest` has without a state, and that have no row.
pub(crate) async fn without_rows(
    context: &Context,
    database: &DatabaseId,
    digest: &Digest,
) -> Result<Vec<Rowless>, CoordinationError> {
    let mut names = SeenTables::decode(digest).missing();
    if names.is_empty() {
        return Ok(Vec::new());
    }
    let mut tables = context
        .store
        .tables_by_hash(database, &names, Search::AmongRows)
        .await?;
    names.retain(|name| {
        tables
            .iter()
            .all(|table| hash_of_name(&table.name) != *name)
    });
    tables.extend(search_catalog(context, database, &names).await);
    let mut rowless = Vec::new();
    for table in tables {
        let unreadable = match context.store.table(&table).await {
            Ok(Some(_)) => continue,
            Ok(None) => None,
            Err(error) => Some(error),
        };
        rowless.push(Rowless { table, unreadable });
    }
    Ok(rowless)
}

/// The catalog's tables of these names, as far as it answers and as few pages tell. What it does not have is dropped.
async fn search_catalog(context: &Context, database: &DatabaseId, names: &[u64]) -> Vec<TableId> {
    let mut found = Vec::new();
    let Ok(open) = context.catalogs.get(&database.catalog) else {
        return found;
    };
    let mut next: Option<String> = None;
    for _ in 0..PAGES_SEARCHED {
        if found.len() == names.len() {
            break;
        }
        let Ok(page) = open.catalog.list_tables(database, next.as_deref()).await else {
            break;
        };
        let tables = page.tables.into_iter().map(|listed| listed.table);
        found.extend(tables.filter(|table| names.contains(&hash_of_name(&table.name))));
        next = page.next;
        if next.is_none() {
            break;
        }
    }
    found
}
