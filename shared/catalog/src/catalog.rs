//! The port: what the rest of Icepress asks of a catalog.

use std::{fmt::Debug, sync::Arc};

use async_trait::async_trait;
use iceberg::{TableRequirement, TableUpdate};
use icepress_model::{Bytes, CatalogName, DatabaseId, MetadataLocation, Namespace, TableId};
use icepress_storage::Storage;

use crate::{CatalogError, CommitError, metadata::Metadata};

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

/// Where a table's state lies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Located {
    /// It is the very state that the asker has seen.
    AsSeen,
    /// It lies there.
    At {
        /// The metadata file.
        location: MetadataLocation,
        /// What the catalog calls this state (an ETag), to be asked with the next time; `None` where it has no such names.
        tag: Option<String>,
    },
}

/// A table as its catalog has it now.
#[derive(Debug, Clone)]
pub struct LoadedTable {
    /// The table.
    pub table: TableId,
    /// The metadata file that the catalog points to: the state that a commit is compared with.
    pub metadata_location: MetadataLocation,
    /// Its content.
    pub metadata: Arc<Metadata>,
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

    /// The same where no more than `most` of metadata can be taken, and its size is not known before: a catalog that sends the metadata
    /// itself, so that nobody can ask storage for its size, overrides this, and fails with [`CatalogError::TooLarge`].
    async fn load_up_to(&self, table: &TableId, _most: Bytes) -> Result<LoadedTable, CatalogError> {
        self.load(table).await
    }

    /// Where the table's state lies now, for listings that do not say it. `seen` is what the catalog called the state that
    /// the asker saw last: a catalog that can answer "as you saw it" for less than a load overrides this.
    async fn locate(&self, table: &TableId, _seen: Option<&str>) -> Result<Located, CatalogError> {
        Ok(Located::At {
            location: self.load(table).await?.metadata_location,
            tag: None,
        })
    }

    /// The storage of the table's files where the catalog itself opens them, with credentials for that table alone;
    /// `None` where they are reached as all others of the catalog.
    async fn table_storage(
        &self,
        _table: &TableId,
    ) -> Result<Option<Arc<dyn Storage>>, CatalogError> {
        Ok(None)
    }

    /// Swaps the table's metadata for `base` with `change` applied, if and only if the catalog still has `base`. Returns
    /// the new state. Everything else in the catalog's entry stays as it is.
    ///
    /// A catalog that keeps a pointer compares the pointer. It writes the new metadata file first, takes it away again
    /// where the commit certainly failed (and where it may), and leaves it where the outcome is unknown. Where the table
    /// wants old metadata files deleted after a commit, it does that once it knows that the commit is in (and where it may;
    /// else their log keeps them).
    ///
    /// A catalog that makes the metadata itself (REST) is sent the change, and compares what its protocol lets us ask
    /// for: that it is the same table, and that what the change moves (a branch, a schema) is where `base` has it. A
    /// foreign change of something else, of a property say, is no conflict there, and stays.
    async fn commit(
        &self,
        base: &LoadedTable,
        change: TableChange,
    ) -> Result<LoadedTable, CommitError>;

    /// Takes away what the catalog itself keeps of states before `now` whose metadata files the table's log names no longer, so that
    /// nobody can go back to them: `most` at most. Returns how many. Most catalogs keep nothing of the kind.
    async fn forget_versions(&self, _now: &LoadedTable, _most: u64) -> Result<u64, CatalogError> {
        Ok(0)
    }

    /// Whether a commit on `base` that may still be under way can't take effect any more, because by `now` the table has
    /// moved away from what the commit is compared with.
    fn is_overtaken(&self, base: &LoadedTable, now: &LoadedTable) -> bool {
        base.metadata_location != now.metadata_location
    }
}
