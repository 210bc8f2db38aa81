//! The port: what the rest of Icepress asks of a catalog.

use std::{fmt::Debug, sync::Arc};

use async_trait::async_trait;
use iceberg::{TableRequirement, TableUpdate, spec::TableMetadata};
use icepress_model::{CatalogName, DatabaseId, MetadataLocation, Namespace, TableId};

use crate::{CatalogError, CommitError};

/// A table in a listing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListedTable {
    /// The table.
    pub table: TableId,
    /// Its state, where the listing says so; else it takes a load to know.
    pub metadata_location: Option<MetadataLocation>,
}

/// Part of a listing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TablePage {
    /// Iceberg tables only: views and other formats are left out.
    pub tables: Vec<ListedTable>,
    /// What to pass to get the next page; `None` at the end.
    pub next: Option<String>,
}

/// A table as its catalog has it now.
#[derive(Debug, Clone)]
pub struct LoadedTable {
    /// The table.
    pub table: TableId,
    /// The metadata file that the catalog points to: the state that a commit is compared with.
    pub metadata_location: MetadataLocation,
    /// Its content.
    pub metadata: Arc<TableMetadata>,
    /// What the catalog wants to see again at a commit: Glue's `VersionId` and table entry, an ETag. Its own affair.
    pub token: CommitToken,
}

/// An adapter's private knowledge about a loaded table, handed back to it at the commit.
#[derive(Debug, Clone, Default)]
pub struct CommitToken(pub Option<Arc<dyn std::any::Any + Send + Sync>>);

/// A change of a table's metadata, in the form of the REST specification.
#[derive(Debug, Clone)]
pub struct TableChange {
    /// What must still hold.
    pub requirements: Vec<TableRequirement>,
    /// What changes.
    pub updates: Vec<TableUpdate>,
}

/// A catalog.
#[async_trait]
pub trait Catalog: Send + Sync + Debug {
    /// The name that it is configured under.
    fn name(&self) -> &CatalogName;

    /// All namespaces, at every level.
    async fn list_namespaces(&self) -> Result<Vec<Namespace>, CatalogError>;

    /// A page of the Iceberg tables of one database.
    async fn list_tables(
        &self,
        database: &DatabaseId,
        next: Option<&str>,
    ) -> Result<TablePage, CatalogError>;

    /// The table as it is now.
    async fn load(&self, table: &TableId) -> Result<LoadedTable, CatalogError>;

    /// Swaps the table's metadata for `base` with `change` applied, if and only if the catalog still has exactly
    /// `base`. Returns the new state. Everything else in the catalog's entry stays as it is.
    ///
    /// A catalog that keeps a pointer writes the new metadata file first. It takes the file away again where the commit
    /// certainly failed (and where it may), and leaves it where the outcome is unknown.
    async fn commit(
        &self,
        base: &LoadedTable,
        change: TableChange,
    ) -> Result<LoadedTable, CommitError>;
}
