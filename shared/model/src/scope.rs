//! Scopes: what people speak of when they limit or block more than one table at a time.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::{CatalogName, DatabaseId, Namespace, TableId};

/// A catalog, a database with all that lies in or below it, or one table.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Scope {
    /// All tables of a catalog.
    Catalog(CatalogName),
    /// All tables of a namespace and of those below it.
    Database(DatabaseId),
    /// One table.
    Table(TableId),
}

impl Scope {
    /// Every scope that a table lies in, the widest first.
    pub fn around(table: &TableId) -> Vec<Self> {
        let levels = &table.namespace.0;
        let mut scopes = vec![Self::Catalog(table.catalog.clone())];
        scopes.extend((1..=levels.len()).map(|depth| {
            Self::Database(DatabaseId {
                catalog: table.catalog.clone(),
                namespace: Namespace(levels[..depth].to_vec()),
            })
        }));
        scopes.push(Self::Table(table.clone()));
        scopes
    }

    /// The catalog that it is, or lies in.
    pub fn catalog(&self) -> &CatalogName {
        match self {
            Self::Catalog(catalog) => catalog,
            Self::Database(database) => &database.catalog,
            Self::Table(table) => &table.catalog,
        }
    }

    /// Whether the table lies in it.
    pub fn covers(&self, table: &TableId) -> bool {
        match self {
            Self::Catalog(catalog) => *catalog == table.catalog,
            Self::Database(database) => {
                database.catalog == table.catalog
                    && table.namespace.0.starts_with(&database.namespace.0)
            }
            Self::Table(one) => one == table,
        }
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Catalog(catalog) => write!(f, "catalog {catalog}"),
            Self::Database(database) => write!(f, "database {database}"),
            Self::Table(table) => write!(f, "table {table}"),
        }
    }
}

#[cfg(test)]
mod tests;
