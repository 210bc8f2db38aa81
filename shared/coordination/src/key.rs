//! How names become keys of rows: one text for one name, and back, whatever dots a namespace's levels contain.

use icepress_model::{CatalogName, DatabaseId, Namespace, Scope, TableId};
use xxhash_rust::xxh3::xxh3_64;

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

/// A catalog's name, escaped.
pub(crate) fn of_catalog(catalog: &CatalogName) -> String {
    escaped(catalog.as_str())
}

/// `catalog/NAME`, `database/…` as in [`of_database`], or `table/…` as in [`of_table`].
pub(crate) fn of_scope(scope: &Scope) -> String {
    match scope {
        Scope::Catalog(catalog) => format!("catalog/{}", of_catalog(catalog)),
        Scope::Database(database) => format!("database/{}", of_database(database)),
        Scope::Table(table) => format!("table/{}", of_table(table)),
    }
}

/// Reads what [`of_scope`] wrote.
pub(crate) fn to_scope(key: &str) -> Result<Scope, String> {
    let wrong = || format!("'{key}' is no scope (catalog/…, database/… or table/…)");
    let (kind, rest) = key.split_once(SEPARATOR).ok_or_else(wrong)?;
    let parts = rest
        .split(SEPARATOR)
        .map(unescaped)
        .collect::<Option<Vec<String>>>()
        .ok_or_else(wrong)?;
    match (kind, parts.as_slice()) {
        ("catalog", [name]) => Ok(Scope::Catalog(CatalogName(name.clone()))),
        ("database", [catalog, levels @ ..]) if !levels.is_empty() => {
            Ok(Scope::Database(DatabaseId {
                catalog: CatalogName(catalog.clone()),
                namespace: Namespace(levels.to_vec()),
            }))
        }
        ("table", _) => to_table(rest).map(Scope::Table),
        _ => Err(wrong()),
    }
}

/// Rows of tables are kept in so many shares, whatever the number of buckets: few enough that all can be listed in
/// few requests, many enough that a store spreads them.
pub(crate) const SHARES: u32 = 16;

/// The share in which a table's row is kept. It never changes.
pub(crate) fn share_of(table: &TableId) -> u32 {
    (xxh3_64(of_table(table).as_bytes()) % u64::from(SHARES)) as u32
}

/// The hash of a table's name within its database.
pub fn hash_of_name(name: &str) -> u64 {
    xxh3_64(name.as_bytes())
}

/// Of tables' keys, those of a database's own tables whose names have one of the hashes.
pub(crate) fn tables_by_hash(
    keys: &[String],
    database: &DatabaseId,
    hashes: &[u64],
) -> Vec<TableId> {
    let tables = keys.iter().filter_map(|key| to_table(key).ok());
    tables
        .filter(|table| table.database() == *database)
        .filter(|table| hashes.contains(&hash_of_name(&table.name)))
        .collect()
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
