//! All tables with a row, or those of a catalog or database, in the order of their keys: however many there are, no more
//! than a page of each part is in memory, and parts are read at the same time.

use std::{cmp::Ordering, collections::VecDeque, sync::Arc};

use futures::future::try_join_all;
use icepress_model::{CatalogName, Scope, TableId};

use crate::{CoordinationError, StateStore, TableRow, key};

type Result<T> = std::result::Result<T, CoordinationError>;

/// Rows of a page. A row may have some kilobytes.
const PAGE: usize = 500;

/// Where a table stands in a listing: what to pass on to go on behind it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct TableKey(String);

impl TableKey {
    /// The key of a table.
    pub fn of(table: &TableId) -> Self {
        Self(key::of_table(table))
    }

    /// From a row that has it.
    pub(crate) fn stored(key: String) -> Self {
        Self(key)
    }

    /// Reads what was printed; the error says what is wrong with it.
    pub fn parse(text: &str) -> std::result::Result<Self, String> {
        key::to_table(text)?;
        Ok(Self(text.to_owned()))
    }

    /// The table that it is the key of; the error says why it is none's.
    pub fn table(&self) -> std::result::Result<TableId, String> {
        key::to_table(&self.0)
    }

    /// As it is printed: `catalog/namespace/table`.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// A row of a listing, or why it can't be read.
#[derive(Debug)]
pub struct ListedRow {
    /// Where it stands.
    pub key: TableKey,
    /// What it says.
    pub row: Result<TableRow>,
}

/// Keys in their order, from one up to before another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyRange {
    /// The least key; never empty, which DynamoDB would refuse.
    pub(crate) from: String,
    /// Every key is less than this.
    pub(crate) before: String,
}

impl KeyRange {
    /// The keys of tables in `scope`, or of all, that come after `after`.
    pub fn new(scope: Option<&Scope>, after: Option<&TableKey>) -> Self {
        // What lies below a name has it and a separator in front; `0` is the character after the separator.
        let below = |name: String| Self {
            from: format!("{name}/"),
            before: format!("{name}0"),
        };
        let mut range = match scope {
            None => Self {
                from: "\0".to_owned(),
                before: format!("{0}{0}", char::MAX),
            },
            Some(Scope::Catalog(catalog)) => below(key::of_catalog(catalog)),
            Some(Scope::Database(database)) => below(key::of_database(database)),
            Some(Scope::Table(table)) => {
                let key = key::of_table(table);
                Self {
                    before: next_after(&key),
                    from: key,
                }
            }
        };
        if let Some(TableKey(after)) = after {
            range.from = range.from.max(next_after(after));
        }
        range
    }

    /// The part of it behind `key`.
    pub(crate) fn behind(&self, key: &str) -> Self {
        Self {
            from: next_after(key),
            before: self.before.clone(),
        }
    }
}

/// The least text that is greater.
fn next_after(key: &str) -> String {
    format!("{key}\0")
}

/// Rows of one part of the tables.
#[derive(Debug)]
pub struct PartPage {
    /// In the order of their keys.
    pub rows: Vec<ListedRow>,
    /// What is still to be read of the range; `None` where nothing is.
    pub rest: Option<KeyRange>,
}

/// A listing under way.
#[derive(Debug)]
pub struct Listing {
    store: Arc<dyn StateStore>,
    parts: Vec<Part>,
    page: usize,
}

/// What was read of one part and not given out yet.
#[derive(Debug)]
struct Part {
    number: u32,
    rows: VecDeque<ListedRow>,
    /// What is still to be read.
    rest: Option<KeyRange>,
}

impl Listing {
    /// Lists the tables of `range`. Whoever wants only the first `wanted` has no more read than that needs.
    pub fn new(store: &Arc<dyn StateStore>, range: &KeyRange, wanted: Option<usize>) -> Self {
        let parts = store.parts_of_tables();
        let share = |wanted: usize| {
            // Names are spread over the parts by chance: a little more than a share is mostly enough.
            let even = wanted.div_ceil(parts as usize);
            even + even / 4 + 4
        };
        Self {
            store: Arc::clone(store),
            parts: (0..parts)
                .map(|number| Part {
                    number,
                    rows: VecDeque::new(),
                    rest: Some(range.clone()),
                })
                .collect(),
            page: wanted.map_or(PAGE, share).clamp(1, PAGE),
        }
    }

    /// Every table of a catalog.
    pub fn of_catalog(store: &Arc<dyn StateStore>, catalog: &CatalogName) -> Self {
        let scope = Scope::Catalog(catalog.clone());
        Self::new(store, &KeyRange::new(Some(&scope), None), None)
    }

    /// Every table there is.
    pub fn of_all(store: &Arc<dyn StateStore>) -> Self {
        Self::new(store, &KeyRange::new(None, None), None)
    }

    /// The next row; `None` after the last.
    pub async fn next(&mut self) -> Result<Option<ListedRow>> {
        let is_dry = |part: &Part| part.rows.is_empty() && part.rest.is_some();
        while self.parts.iter().any(is_dry) {
            self.read_on().await?;
        }
        let least = self
            .parts
            .iter_mut()
            .filter(|part| !part.rows.is_empty())
            .min_by(|a, b| match (a.rows.front(), b.rows.front()) {
                (Some(a), Some(b)) => a.key.cmp(&b.key),
                _ => Ordering::Equal,
            });
        Ok(least.and_then(|part| part.rows.pop_front()))
    }

    /// Reads a page of each part that has few rows left. They run dry together, so they are asked together.
    async fn read_on(&mut self) -> Result<()> {
        let (store, page) = (&self.store, self.page);
        let low = |part: &&mut Part| part.rows.len() <= page / 4;
        let reads = self.parts.iter_mut().filter(low).map(async |part| {
            let Some(rest) = &part.rest else {
                return Ok(());
            };
            // Where this or another read fails, `rest` stays: whoever asks once more begins where that was.
            let read = store.tables_of_part(part.number, rest, page).await?;
            part.rest = read.rest;
            part.rows.extend(read.rows);
            Ok(())
        });
        try_join_all(reads).await?;
        Ok(())
    }
}

#[cfg(test)]
mod tests;
