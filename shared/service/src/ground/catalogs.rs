//! The catalogs at hand, by name, each with the storage of its tables.

use std::{collections::BTreeMap, sync::Arc};

use icepress_catalog::{Catalog, CatalogError};
use icepress_model::{CatalogName, TableId};
use icepress_storage::Storage;

/// A catalog, and where its tables' files lie: an endpoint and a region of its own, perhaps.
#[derive(Debug, Clone)]
pub struct OpenCatalog {
    /// The catalog.
    pub catalog: Arc<dyn Catalog>,
    /// Its tables' files.
    pub storage: Arc<dyn Storage>,
}

impl OpenCatalog {
    /// Where one table's files lie: what its catalog opens for it alone, else what holds for all of them.
    pub async fn storage_of(&self, table: &TableId) -> Result<Arc<dyn Storage>, CatalogError> {
        let own = self.catalog.table_storage(table).await?;
        Ok(own.unwrap_or_else(|| Arc::clone(&self.storage)))
    }
}

/// Every catalog that was opened.
#[derive(Debug, Clone, Default)]
pub struct Catalogs {
    open: BTreeMap<CatalogName, OpenCatalog>,
    unopened: BTreeMap<CatalogName, String>,
}

impl Catalogs {
    /// The catalogs of a list, each under its own name.
    pub fn new(catalogs: impl IntoIterator<Item = OpenCatalog>) -> Self {
        let by_name = |open: OpenCatalog| (open.catalog.name().clone(), open);
        Self {
            open: catalogs.into_iter().map(by_name).collect(),
            unopened: BTreeMap::new(),
        }
    }

    /// Adds others, which need not be there: of those that can't be opened only the name and the reason are kept.
    pub fn add(&mut self, name: CatalogName, opened: Result<OpenCatalog, String>) {
        match opened {
            Ok(open) => drop(self.open.insert(name, open)),
            Err(why) => drop(self.unopened.insert(name, why)),
        }
    }

    /// Catalogs that could not be opened, and why.
    pub fn unopened(&self) -> impl Iterator<Item = (&CatalogName, &str)> {
        self.unopened.iter().map(|(name, why)| (name, why.as_str()))
    }

    /// The catalog of that name, or an error that lists those there are.
    pub fn get(&self, name: &CatalogName) -> Result<&OpenCatalog, CatalogError> {
        self.open.get(name).ok_or_else(|| {
            let known: Vec<&str> = self.open.keys().map(CatalogName::as_str).collect();
            CatalogError::Configuration {
                catalog: name.to_string(),
                message: format!(
                    "no catalog of that name is configured; there are: {}",
                    known.join(", ")
                ),
            }
        })
    }

    /// All of them, by name.
    pub fn iter(&self) -> impl Iterator<Item = &OpenCatalog> {
        self.open.values()
    }
}
