//! The catalog: configuration, listings, loading; the commit is in `swap`.

use std::{collections::HashSet, sync::Arc, time::Duration};

use async_trait::async_trait;
use aws_sdk_glue::{
    Client,
    config::{Builder, Region, retry::RetryConfig},
};
use icepress_catalog::{
    Catalog, CatalogError, CommitError, ListedTable, LoadedTable, TableChange, TablePage,
    aws::AwsFailureKind,
    config::{CatalogProperties, ConfigurationError},
    lock::{HeldLock, TableLocks},
    metadata::{load_at, stage_metadata},
    swap::swap,
};
use icepress_model::{CatalogName, DatabaseId, Namespace, TableId, ambient::Ambient};
use icepress_storage::{AwsEnvironment, Storage};

use crate::{
    entries::{Entries, database_name},
    entry,
    errors::{into_catalog_error, sorted},
    swap::EntryPointer,
};

/// Tables in a page of a listing: the most that Glue gives.
const PAGE: i32 = 100;
/// Tries of one request by the SDK. `UpdateTable` is tried by `swap` instead.
const ATTEMPTS: u32 = 6;
/// The longest wait before the second try; doubles from try to try.
const FIRST_BACKOFF: Duration = Duration::from_millis(200);

/// A Glue Data Catalog.
#[derive(Debug)]
pub struct GlueCatalog {
    entries: Entries,
    locks: TableLocks,
    storage: Arc<dyn Storage>,
    ambient: Ambient,
}

impl GlueCatalog {
    /// The catalog that the properties name (`glue.id`, `glue.endpoint`, `glue.region`, `client.region`, `lock-impl`), with
    /// the credentials of `aws`. Sends nothing.
    pub async fn connect(
        properties: &CatalogProperties,
        aws: &AwsEnvironment,
        storage: Arc<dyn Storage>,
        ambient: Ambient,
    ) -> Result<Self, ConfigurationError> {
        let locks = TableLocks::connect(properties, aws, ambient.clone()).await?;
        let mut builder = Builder::from(aws.config().await)
            .interceptor(aws.ledger().clone())
            .retry_config(
                RetryConfig::standard()
                    .with_max_attempts(ATTEMPTS)
                    .with_initial_backoff(FIRST_BACKOFF),
            );
        if let Some(endpoint) = properties.get("glue.endpoint") {
            builder = builder.endpoint_url(endpoint);
        }
        if let Some(region) = properties.first(&["glue.region", "client.region"]) {
            builder = builder.region(Region::new(region));
        }
        Ok(Self {
            entries: Entries {
                name: properties.name().clone(),
                client: Client::from_conf(builder.build()),
                catalog_id: properties.first(&["glue.id", "glue.catalog-id"]),
            },
            locks,
            storage,
            ambient,
        })
    }
}

#[async_trait]
impl Catalog for GlueCatalog {
    fn name(&self) -> &CatalogName {
        &self.entries.name
    }

    async fn list_namespaces(&self) -> Result<Vec<Namespace>, CatalogError> {
        let mut namespaces = Vec::new();
        let mut next = None;
        loop {
            let page = self
                .entries
                .client
                .get_databases()
                .set_catalog_id(self.entries.catalog_id.clone())
                .set_next_token(next)
                .send()
                .await
                .map_err(|error| into_catalog_error(sorted(&error), self.name(), None))?;
            namespaces.extend(
                page.database_list
                    .into_iter()
                    .map(|database| Namespace(vec![database.name])),
            );
            next = page.next_token.filter(|token| !token.is_empty());
            if next.is_none() {
                return Ok(namespaces);
            }
        }
    }

    async fn list_tables(
        &self,
        database: &DatabaseId,
        next: Option<&str>,
    ) -> Result<TablePage, CatalogError> {
        let Some(name) = database_name(&database.namespace) else {
            return Ok(TablePage::default());
        };
        let page = self
            .entries
            .client
            .get_tables()
            .set_catalog_id(self.entries.catalog_id.clone())
            .database_name(name)
            .max_results(PAGE)
            .set_next_token(next.map(str::to_owned))
            .send()
            .await;
        let page = match page {
            Ok(page) => page,
            Err(error) => {
                let failure = sorted(&error);
                return match failure.kind {
                    // The database was dropped.
                    AwsFailureKind::NotFound => Ok(TablePage::default()),
                    _ => Err(into_catalog_error(failure, self.name(), None)),
                };
            }
        };
        let tables = page.table_list.unwrap_or_default();
        Ok(TablePage {
            next: page.next_token.filter(|token| !token.is_empty()),
            tables: tables
                .into_iter()
                .filter_map(|table| {
                    let metadata_location = entry::metadata_location(&table)?;
                    Some(ListedTable {
                        table: TableId {
                            catalog: self.entries.name.clone(),
                            namespace: database.namespace.clone(),
                            name: table.name,
                        },
                        metadata_location: Some(metadata_location),
                    })
                })
                .collect(),
        })
    }

    async fn load(&self, table: &TableId) -> Result<LoadedTable, CatalogError> {
        let entry = self.entries.get(table).await?;
        let metadata_location = entry::metadata_location(&entry)
            .ok_or_else(|| CatalogError::NotIceberg(table.clone()))?;
        // The commit asks for the entry once more, to take what others changed in it meanwhile along.
        load_at(&*self.storage, table, metadata_location).await
    }

    async fn commit(
        &self,
        base: &LoadedTable,
        change: TableChange,
    ) -> Result<LoadedTable, CommitError> {
        let lock = self.locks.of(base)?;
        // Everything that takes time comes before the lock.
        let staged = stage_metadata(&*self.storage, &self.ambient, base, change).await?;
        let pointed = async |lock: Option<&HeldLock<'_>>| {
            let pointer = EntryPointer {
                entries: &self.entries,
                base,
                staged: &staged,
                lock,
            };
            swap(&pointer, base, &staged, &*self.storage, &self.ambient).await
        };
        let swapped = match lock {
            None => pointed(None).await,
            Some(lock) => {
                match lock
                    .acquire(&base.table.name_in_catalog(), staged.location.as_str())
                    .await
                {
                    Ok(held) => {
                        let swapped = pointed(Some(&held)).await;
                        held.release().await;
                        swapped
                    }
                    Err(error) => Err(CommitError::Refused(error.into_catalog_error(self.name()))),
                }
            }
        };
        staged.settle(&*self.storage, base, swapped).await
    }

    async fn forget_versions(&self, now: &LoadedTable, most: u64) -> Result<u64, CatalogError> {
        let log = now.metadata.metadata_log().iter();
        let mut needed: HashSet<&str> = log.map(|entry| entry.metadata_file.as_str()).collect();
        needed.insert(now.metadata_location.as_str());
        let versions = self.entries.versions(&now.table).await?;
        let here = versions
            .iter()
            .filter(|version| version.metadata_location == now.metadata_location);
        // What came after `now` is not in its log either, and may be the entry itself.
        let Some(newest) = here.map(|version| version.number).max() else {
            return Ok(0);
        };
        let mut going = versions;
        going.retain(|version| {
            version.number < newest && !needed.contains(version.metadata_location.as_str())
        });
        going.sort_unstable_by_key(|version| version.number);
        going.truncate(usize::try_from(most).unwrap_or(usize::MAX));
        self.entries.forget(&now.table, &going).await
    }
}

#[cfg(test)]
mod tests;
