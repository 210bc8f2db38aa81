//! What every part of the service works with, put together once at start.

use std::sync::Arc;

use icepress_catalog::CatalogError;
use icepress_coordination::{StateStore, TaskQueue};
use icepress_model::{
    BucketId, DatabaseId, TableId, ambient::Ambient, bucket_of_database, bucket_of_table,
};
use icepress_storage::Storage;

use crate::{Catalogs, Event, Observer, OpenCatalog, Settings};

/// Ports, settings and an observer.
#[derive(Debug, Clone)]
pub struct Context {
    /// Clock, randomness, identifiers.
    pub ambient: Ambient,
    /// Leases, table state, processes, tasks.
    pub store: Arc<dyn StateStore>,
    /// Task queues.
    pub queue: Arc<dyn TaskQueue>,
    /// The catalogs.
    pub catalogs: Catalogs,
    /// Where large plans and results go.
    pub payloads: Arc<dyn Storage>,
    /// How to work.
    pub settings: Arc<Settings>,
    /// Who wants to know.
    pub observer: Arc<dyn Observer>,
}

impl Context {
    /// The bucket of a table.
    pub fn bucket_of(&self, table: &TableId) -> BucketId {
        bucket_of_table(table, self.settings.buckets)
    }

    /// The bucket of a database.
    pub fn bucket_of_database(&self, database: &DatabaseId) -> BucketId {
        bucket_of_database(database, self.settings.buckets)
    }

    /// The catalog of a table, with the storage of its files.
    pub(crate) fn catalog_of(&self, table: &TableId) -> Result<&OpenCatalog, CatalogError> {
        self.catalogs.get(&table.catalog)
    }

    pub(crate) fn tell(&self, event: Event) {
        self.observer.observe(&event);
    }
}
