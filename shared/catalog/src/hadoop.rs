//! Hadoop-style directories, on a local disk or S3: what Java's `HadoopCatalog` and `HadoopTables` keep.
//!
//! A table is a folder below the warehouse, `namespace/table`; its metadata files are numbered (`metadata/v7.metadata.json`)
//! and the highest number is the table. A commit makes the next one, and must not replace it where it is there: a link
//! that fails on a local disk, `If-None-Match` on S3. So no lock is needed between writers that do the same. Java checks
//! and then renames, which on S3 (and on a local disk, where a rename replaces) is no such thing: beside Java writers the
//! commit lock has to be configured on both sides. Its entity is the file to be made, as Hadoop's `Path` writes it.

use std::sync::Arc;

use async_trait::async_trait;
use futures::{FutureExt as _, StreamExt as _, TryStreamExt as _, future::BoxFuture, stream};
use icepress_model::{
    CatalogName, DatabaseId, MetadataLocation, Namespace, TableId, ambient::Ambient,
};
use icepress_storage::{AwsEnvironment, PutMode, Storage, StorageError, StorageErrorKind};

use crate::{
    Catalog, CatalogError, CommitError, CommitToken, ListedTable, LoadedTable, Located,
    TableChange, TablePage,
    config::{CatalogProperties, ConfigurationError},
    lock::{HeldLock, TableLocks},
    metadata::{
        PreparedMetadata, delete_what_left_the_log, load_at, prepare_metadata, read_metadata,
    },
};

mod path;
mod versions;

use path::hadoop_path;
use versions::{Version, Versions};

/// Tables in a page of a listing.
const PAGE: usize = 500;
/// Folders looked into at a time.
const AT_A_TIME: usize = 16;

/// A warehouse folder.
#[derive(Debug)]
pub struct HadoopCatalog {
    name: CatalogName,
    /// Without a slash at its end.
    warehouse: String,
    locks: TableLocks,
    storage: Arc<dyn Storage>,
    ambient: Ambient,
}

impl HadoopCatalog {
    /// The catalog in the folder that `warehouse` names; `lock-impl` and `lock.*` say whether commits take a lock. Sends
    /// nothing.
    pub async fn connect(
        properties: &CatalogProperties,
        aws: &AwsEnvironment,
        storage: Arc<dyn Storage>,
        ambient: Ambient,
    ) -> Result<Self, ConfigurationError> {
        let warehouse =
            properties.required("warehouse", "s3://bucket/warehouse or file:///data")?;
        Ok(Self {
            name: properties.name().clone(),
            warehouse: warehouse.trim_end_matches('/').to_owned(),
            locks: TableLocks::connect(properties, aws, ambient.clone()).await?,
            storage,
            ambient,
        })
    }

    fn folder_of(&self, namespace: &Namespace) -> String {
        format!("{}/{}", self.warehouse, namespace.0.join("/"))
    }

    fn versions(&self, table: &TableId) -> Versions<'_> {
        let folder = format!("{}/{}", self.folder_of(&table.namespace), table.name);
        Versions::new(&*self.storage, &folder)
    }

    fn failed(&self, source: StorageError) -> CatalogError {
        let catalog = self.name.to_string();
        match source.kind {
            StorageErrorKind::PermissionDenied => CatalogError::PermissionDenied {
                catalog,
                message: source.to_string(),
            },
            StorageErrorKind::NotAllowed => CatalogError::Configuration {
                catalog,
                message: source.to_string(),
            },
            _ => CatalogError::Unavailable {
                catalog,
                message: source.to_string(),
                source: Some(Box::new(source)),
            },
        }
    }

    /// The table's newest version.
    async fn newest(&self, table: &TableId) -> Result<Version, CatalogError> {
        self.versions(table)
            .newest()
            .await
            .map_err(|source| match source.kind {
                // The hint points to nothing.
                StorageErrorKind::NotFound => CatalogError::MetadataUnreadable {
                    table: table.clone(),
                    source,
                },
                _ => self.failed(source),
            })?
            .ok_or_else(|| CatalogError::NoSuchTable(table.clone()))
    }

    /// The names of the folders below `folder` that can be namespaces or tables.
    async fn folders(&self, folder: &str) -> Result<Vec<String>, CatalogError> {
        let names = self.storage.folders(folder).await;
        let mut names = names.map_err(|source| self.failed(source))?;
        // A dot would make two levels of one name.
        names.retain(|name| !name.contains('.'));
        Ok(names)
    }

    /// The namespaces below `parent`, whose tables are left out.
    fn namespaces_below(
        &self,
        parent: Namespace,
    ) -> BoxFuture<'_, Result<Vec<Namespace>, CatalogError>> {
        async move {
            let folder = self.folder_of(&parent);
            let names = self.folders(folder.trim_end_matches('/')).await?;
            let below = names.into_iter().map(|name| {
                let mut levels = parent.0.clone();
                levels.push(name);
                self.namespaces_from(Namespace(levels)).boxed()
            });
            let found: Vec<Vec<Namespace>> = stream::iter(below)
                .buffered(AT_A_TIME)
                .try_collect()
                .await?;
            Ok(found.into_iter().flatten().collect())
        }
        .boxed()
    }

    /// The namespace of a folder and those below; nothing where the folder is a table. One that is closed to us is taken
    /// for a table, and the listing of its namespace has it: others are not to suffer for it.
    async fn namespaces_from(&self, namespace: Namespace) -> Result<Vec<Namespace>, CatalogError> {
        let folder = self.folder_of(&namespace);
        match Versions::new(&*self.storage, &folder).exist().await {
            Ok(false) => {}
            Ok(true) => return Ok(Vec::new()),
            Err(error) if error.kind == StorageErrorKind::PermissionDenied => return Ok(Vec::new()),
            Err(error) => return Err(self.failed(error)),
        }
        let mut found = vec![namespace.clone()];
        found.extend(self.namespaces_below(namespace).await?);
        Ok(found)
    }

    /// Makes the next version's file.
    async fn publish(
        &self,
        base: &LoadedTable,
        location: &str,
        prepared: &PreparedMetadata,
        lock: Option<&HeldLock<'_>>,
    ) -> Result<(), CommitError> {
        if lock.is_some_and(|held| held.time_left().is_zero()) {
            return Err(CommitError::Refused(CatalogError::Unavailable {
                catalog: self.name.to_string(),
                message: format!(
                    "table {}: half of the commit lock's lease passed before the table could be changed",
                    base.table
                ),
                source: None,
            }));
        }
        let (content, options) = (prepared.content.clone(), prepared.options());
        let put = self
            .storage
            .put(location, content, PutMode::CreateOnly, &options)
            .await;
        match put {
            // Who had the lock after us may have renamed its own file over ours.
            Ok(()) if lock.is_some_and(|held| held.time_left().is_zero()) => {
                self.look(
                    base,
                    location,
                    prepared,
                    "the commit lock was held too long",
                )
                .await
            }
            Ok(()) => Ok(()),
            Err(error) if error.kind == StorageErrorKind::AlreadyExists => {
                Err(CommitError::Conflict(base.table.clone()))
            }
            Err(error) if error.kind == StorageErrorKind::Other => {
                self.look(base, location, prepared, &error.to_string())
                    .await
            }
            Err(error) => Err(CommitError::Refused(self.failed(error))),
        }
    }

    /// Whether the file that is there is ours.
    async fn look(
        &self,
        base: &LoadedTable,
        location: &str,
        prepared: &PreparedMetadata,
        why: &str,
    ) -> Result<(), CommitError> {
        match self.storage.read(location).await {
            Ok(content) if content == prepared.content => Ok(()),
            Ok(_) => Err(CommitError::Conflict(base.table.clone())),
            Err(error) => Err(CommitError::OutcomeUnknown {
                table: base.table.clone(),
                message: format!("{why}; and then: {error}"),
            }),
        }
    }

    /// Whether the table is still exactly `base`. A table that was dropped and made anew may have come to the same number.
    async fn check_is_current(&self, base: &LoadedTable) -> Result<u64, CommitError> {
        let now = match self.newest(&base.table).await {
            Ok(now) => now,
            Err(CatalogError::NoSuchTable(table)) => return Err(CommitError::NoSuchTable(table)),
            Err(error) => return Err(CommitError::Refused(error)),
        };
        if now.location != base.metadata_location.as_str() {
            return Err(CommitError::Conflict(base.table.clone()));
        }
        let metadata = read_metadata(&*self.storage, &base.table, &base.metadata_location).await?;
        if metadata != *base.metadata {
            return Err(CommitError::Conflict(base.table.clone()));
        }
        Ok(now.number)
    }
}

#[async_trait]
impl Catalog for HadoopCatalog {
    fn name(&self) -> &CatalogName {
        &self.name
    }

    async fn list_namespaces(&self) -> Result<Vec<Namespace>, CatalogError> {
        self.namespaces_below(Namespace(Vec::new())).await
    }

    /// Looks into each folder: one to four small requests for each. A table that is closed to us, or broken, is listed
    /// without its state: who asks for that hears why, and the others are listed all the same.
    async fn list_tables(
        &self,
        database: &DatabaseId,
        next: Option<&str>,
    ) -> Result<TablePage, CatalogError> {
        let mut names = self.folders(&self.folder_of(&database.namespace)).await?;
        names.retain(|name| next.is_none_or(|last| name.as_str() > last));
        let is_last = names.len() <= PAGE;
        names.truncate(PAGE);
        let next = names.last().filter(|_| !is_last).cloned();
        let looks = names.into_iter().map(|name| {
            let table = TableId {
                catalog: self.name.clone(),
                namespace: database.namespace.clone(),
                name,
            };
            async move {
                match self.newest(&table).await {
                    Ok(version) => Ok(Some(ListedTable {
                        table,
                        metadata_location: Some(MetadataLocation(version.location)),
                    })),
                    Err(CatalogError::NoSuchTable(_)) => Ok(None),
                    Err(
                        CatalogError::PermissionDenied { .. }
                        | CatalogError::MetadataUnreadable { .. },
                    ) => Ok(Some(ListedTable {
                        table,
                        metadata_location: None,
                    })),
                    Err(error) => Err(error),
                }
            }
            .boxed()
        });
        let found: Vec<Option<ListedTable>> = stream::iter(looks)
            .buffered(AT_A_TIME)
            .try_collect()
            .await?;
        Ok(TablePage {
            tables: found.into_iter().flatten().collect(),
            next,
        })
    }

    async fn load(&self, table: &TableId) -> Result<LoadedTable, CatalogError> {
        let version = self.newest(table).await?;
        load_at(&*self.storage, table, MetadataLocation(version.location)).await
    }

    async fn locate(&self, table: &TableId, _seen: Option<&str>) -> Result<Located, CatalogError> {
        Ok(Located::At {
            location: MetadataLocation(self.newest(table).await?.location),
            tag: None,
        })
    }

    async fn commit(
        &self,
        base: &LoadedTable,
        change: TableChange,
    ) -> Result<LoadedTable, CommitError> {
        let lock = self.locks.of(base)?;
        // Everything that takes time comes before the lock.
        let prepared = prepare_metadata(&*self.storage, &self.ambient, base, change).await?;
        let versions = self.versions(&base.table);
        let number = self.check_is_current(base).await? + 1;
        let location = versions.file(number, prepared.extension);
        match lock {
            None => self.publish(base, &location, &prepared, None).await?,
            Some(lock) => {
                // Java's owner is the temporary file that it renames; ours is a name that nobody else has.
                let owner =
                    versions.file_of(&format!("{}{}", self.ambient.uuid(), prepared.extension));
                let held = lock
                    .acquire(&hadoop_path(&location), &hadoop_path(&owner))
                    .await
                    .map_err(|error| CommitError::Refused(error.into_catalog_error(&self.name)))?;
                let published = self.publish(base, &location, &prepared, Some(&held)).await;
                held.release().await;
                published?;
            }
        }
        let is_hinted = versions.hint_at(number).await;
        let now = LoadedTable {
            table: base.table.clone(),
            metadata_location: MetadataLocation(location),
            metadata: prepared.metadata,
            token: CommitToken::default(),
        };
        // A hint at a file that is gone leads nowhere: rather an old file too many.
        if is_hinted {
            delete_what_left_the_log(&*self.storage, base, &now).await;
        }
        Ok(now)
    }
}

#[cfg(test)]
mod tests;
