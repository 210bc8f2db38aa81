//! How names become keys of rows: one text for one name, and back, whatever dots a namespace's levels contain.

use xxhash_rust::xxh3::xxh3_64;

use icepress_model::{CatalogName, DatabaseId, Namespace, TableId};

/// Between the parts of a key.
const SEPARATOR: char = '/';

/// `catalog/level/…/table`, with `%` and `/` inside a part escaped.
pub(crate) fn of_table(table: &TableId) -> String {
    let mut key = of_database(&table.database());
    key.push(SEPARATOR);
    key.push_str(&escaped(&table.name));
    key
}

/// `catalog/level/…`, escaped as in [`of_table`].
pub(crate) fn of_database(database: &DatabaseId) -> String {
    let mut key = escaped(database.catalog.as_str());
    for level in &database.namespace.0 {
        key.push(SEPARATOR);
        key.push_str(&escaped(level));
    }
    key
}

/// Reads what [`of_table`] wrote.
pub(crate) fn to_table(key: &str) -> Result<TableId, String> {
    let parts = key
        .split(SEPARATOR)
        .map(unescaped)
        .collect::<Option<Vec<String>>>();
    match parts.as_deref() {
        Some([catalog, levels @ .., name]) => Ok(TableId {
            catalog: CatalogName(catalog.clone()),
            namespace: Namespace(levels.to_vec()),
            name: name.clone(),
        }),
        _ => Err(format!(
            "'{key}' is no table's key (catalog/namespace/table)"
        )),
    }
}

/// Rows of tables are kept in so many shares, whatever the number of buckets: few enough that all can be listed in
/// few requests, many enough that a store spreads them.
pub(crate) const SHARES: u64 = 16;

/// The share in which a table's row is kept. It never changes.
pub(crate) fn share_of(table: &TableId) -> u64 {
    xxh3_64(of_table(table).as_bytes()) % SHARES
}

fn escaped(part: &str) -> String {
    part.replace('%', "%25").replace(SEPARATOR, "%2F")
}

/// The inverse of [`escaped`]; `None` for a `%` that it did not write.
fn unescaped(part: &str) -> Option<String> {
    let mut pieces = part.split('%');
    let mut text = pieces.next()?.to_owned();
    for piece in pieces {
        let (code, rest) = piece.split_at_checked(2)?;
        text.push(match code {
            "25" => '%',
            "2F" => SEPARATOR,
            _ => return None,
        });
        text.push_str(rest);
    }
    Some(text)
}

#[cfg(test)]
mod tests;
