//! Which table a person means.

use icepress_model::{CatalogName, Namespace, TableId};

use crate::failure::Failure;

#[cfg(test)]
mod tests;

/// Reads `namespace.table` in the `chosen` catalog, or `catalog.namespace.table`.
///
/// Namespaces may have several levels, so three parts or more could be either. A first part that `is_catalog` is taken
/// as one; else the whole is a name in the chosen catalog.
pub(crate) fn table(
    text: &str,
    chosen: &CatalogName,
    is_catalog: impl Fn(&CatalogName) -> bool,
) -> Result<TableId, Failure> {
    let parts: Vec<&str> = text.split('.').collect();
    if parts.len() < 2 || parts.iter().any(|part| part.is_empty()) {
        return Err(Failure::Use(format!(
            "'{text}' is no table name: write it as namespace.table or catalog.namespace.table"
        )));
    }
    let first = CatalogName::from(parts[0]);
    let (catalog, rest) = if parts.len() > 2 && is_catalog(&first) {
        (first, &parts[1..])
    } else {
        (chosen.clone(), &parts[..])
    };
    let (levels, name) = rest.split_at(rest.len() - 1);
    Ok(TableId {
        catalog,
        namespace: Namespace(levels.iter().map(|level| (*level).to_owned()).collect()),
        name: name.concat(),
    })
}
