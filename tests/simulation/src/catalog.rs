//! A catalog that keeps a pointer for each table, as Glue and SQL catalogs do: compared with exactly what was loaded.

use std::{
    collections::BTreeMap,
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use async_trait::async_trait;
use icepress_catalog::{
    Catalog, CatalogError, CommitError, CommitToken, ListedTable, LoadedTable, TableChange,
    TablePage,
    lock::CommitLock,
    metadata::{StagedMetadata, discard_staged, read_metadata, stage_metadata},
};
use icepress_model::{
    CatalogName, DatabaseId, MetadataLocation, Namespace, TableId, ambient::Ambient,
};
use icepress_storage::Storage;

use crate::network::{Cut, Network, Service};

/// Somebody who looks at every change of a pointer.
pub trait Watch: Send + Sync + fmt::Debug {
    /// A table's pointer was moved by `writer`: from where, and to where. `None` is no table.
    fn moved(
        &self,
        writer: &str,
        table: &TableId,
        before: Option<&MetadataLocation>,
        after: Option<&MetadataLocation>,
    );
}

/// How far the catalog strays within what it promises, as chances in a million.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct CatalogWhims {
    /// A listing breaks off after its first page.
    pub listing_breaks: u64,
    /// A listing lacks a table, without a word.
    pub listing_lacks: u64,
    /// The client sends a swap twice, and hears of the second alone.
    pub sent_twice: u64,
    /// A swap is done, and nobody hears of it.
    pub unheard: u64,
}

/// Every pointer.
pub struct Pointers {
    tables: Mutex<BTreeMap<TableId, MetadataLocation>>,
    whims: Mutex<CatalogWhims>,
    watch: Mutex<Option<Arc<dyn Watch>>>,
}

impl fmt::Debug for Pointers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pointers").finish_non_exhaustive()
    }
}

impl Pointers {
    /// No pointer yet.
    pub fn new() -> Arc<Self> {
        Arc::new(Self {
            tables: Mutex::default(),
            whims: Mutex::default(),
            watch: Mutex::new(None),
        })
    }

    fn tables(&self) -> MutexGuard<'_, BTreeMap<TableId, MetadataLocation>> {
        self.tables.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn whims(&self) -> CatalogWhims {
        *self.whims.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sets how far the catalog strays.
    pub fn set_whims(&self, whims: CatalogWhims) {
        *self.whims.lock().unwrap_or_else(PoisonError::into_inner) = whims;
    }

    /// Lets somebody look at every change.
    pub fn set_watch(&self, watch: Option<Arc<dyn Watch>>) {
        *self.watch.lock().unwrap_or_else(PoisonError::into_inner) = watch;
    }

    /// Every table with where it points.
    pub fn all(&self) -> BTreeMap<TableId, MetadataLocation> {
        self.tables().clone()
    }

    /// Moves a pointer if it stands where it should; says whether it did.
    pub fn swap(
        &self,
        writer: &str,
        table: &TableId,
        expected: Option<&MetadataLocation>,
        new: Option<&MetadataLocation>,
    ) -> bool {
        {
            let mut tables = self.tables();
            if tables.get(table) != expected {
                return false;
            }
            match new {
                Some(new) => tables.insert(table.clone(), new.clone()),
                None => tables.remove(table),
            };
        }
        let watch = self
            .watch
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        if let Some(watch) = watch {
            watch.moved(writer, table, expected, new);
        }
        true
    }
}

/// The catalog as one machine reaches it.
#[derive(Debug, Clone)]
pub struct MachineCatalog {
    name: CatalogName,
    pointers: Arc<Pointers>,
    storage: Arc<dyn Storage>,
    ambient: Ambient,
    network: Arc<Network>,
    machine: Arc<str>,
    page: usize,
    lock: Option<CommitLock>,
}

impl MachineCatalog {
    /// The catalog as `machine` reaches it, with pages of `page` tables.
    pub fn new(
        pointers: &Arc<Pointers>,
        storage: Arc<dyn Storage>,
        ambient: Ambient,
        network: &Arc<Network>,
        machine: &str,
        page: usize,
    ) -> Self {
        Self {
            name: CatalogName::from("lake"),
            pointers: Arc::clone(pointers),
            storage,
            ambient,
            network: Arc::clone(network),
            machine: Arc::from(machine),
            page,
            lock: None,
        }
    }

    /// The same, with a lock that is held while a table is changed.
    pub fn with_lock(self, lock: Option<CommitLock>) -> Self {
        Self { lock, ..self }
    }

    async fn call<T: Send + 'static>(
        &self,
        what: String,
        effect: impl FnOnce(&Pointers) -> T + Send + 'static,
    ) -> Result<T, Cut> {
        let pointers = Arc::clone(&self.pointers);
        let network = Arc::clone(&self.network);
        let line = (Arc::clone(&self.machine), what.clone());
        self.network
            .call(Service::Catalog, &self.machine, what, move || {
                if let Some(engine) = network.engine() {
                    engine.note(format_args!("{}: catalog: {}", line.0, line.1));
                }
                effect(&pointers)
            })
            .await
    }

    fn unavailable(&self, cut: Cut) -> CatalogError {
        CatalogError::Unavailable {
            catalog: self.name.to_string(),
            message: format!("the request failed ({cut:?})"),
            source: None,
        }
    }

    async fn pointer(&self, table: &TableId) -> Result<Option<MetadataLocation>, CatalogError> {
        let wanted = table.clone();
        self.call(format!("get {table}"), move |pointers| {
            pointers.tables().get(&wanted).cloned()
        })
        .await
        .map_err(|cut| self.unavailable(cut))
    }

    /// Makes a table of a metadata file that is written.
    pub async fn create(
        &self,
        table: &TableId,
        staged: &StagedMetadata,
    ) -> Result<bool, CatalogError> {
        let (wanted, location, writer) = (
            table.clone(),
            staged.location.clone(),
            Arc::clone(&self.machine),
        );
        self.call(format!("create {table}"), move |pointers| {
            pointers.swap(&writer, &wanted, None, Some(&location))
        })
        .await
        .map_err(|cut| self.unavailable(cut))
    }

    /// Drops a table that stands where it was loaded; its files stay.
    pub async fn drop_table(&self, base: &LoadedTable) -> Result<bool, CatalogError> {
        let (table, expected) = (base.table.clone(), base.metadata_location.clone());
        let writer = Arc::clone(&self.machine);
        self.call(format!("drop {table}"), move |pointers| {
            pointers.swap(&writer, &table, Some(&expected), None)
        })
        .await
        .map_err(|cut| self.unavailable(cut))
    }
}

#[async_trait]
impl Catalog for MachineCatalog {
    fn name(&self) -> &CatalogName {
        &self.name
    }

    async fn list_namespaces(&self) -> Result<Vec<Namespace>, CatalogError> {
        self.call("list namespaces".to_owned(), |pointers| {
            let mut found: Vec<Namespace> = pointers
                .tables()
                .keys()
                .map(|table| table.namespace.clone())
                .collect();
            found.push(Namespace::from_dotted("tests"));
            found.sort();
            found.dedup();
            found
        })
        .await
        .map_err(|cut| self.unavailable(cut))
    }

    async fn list_tables(
        &self,
        database: &DatabaseId,
        next: Option<&str>,
    ) -> Result<TablePage, CatalogError> {
        let whims = self.pointers.whims();
        if next.is_some() && self.network.happens(whims.listing_breaks) {
            return Err(self.unavailable(Cut::ServerError));
        }
        let lacks = self.network.happens(whims.listing_lacks);
        let (namespace, page) = (database.namespace.clone(), self.page);
        let after = next.map(str::to_owned);
        self.call(
            format!("list {database} after {after:?} (lacking one: {lacks})"),
            move |pointers| {
                let tables = pointers.tables();
                let mut found = tables
                    .iter()
                    .filter(|(table, _)| table.namespace == namespace)
                    .filter(|(table, _)| after.as_ref().is_none_or(|after| table.name > *after));
                let listed: Vec<ListedTable> = found
                    .by_ref()
                    .take(page)
                    .map(|(table, location)| ListedTable {
                        table: table.clone(),
                        metadata_location: Some(location.clone()),
                    })
                    .collect();
                let more = found.next().is_some();
                let next = listed
                    .last()
                    .filter(|_| more)
                    .map(|last| last.table.name.clone());
                TablePage {
                    tables: listed.into_iter().skip(usize::from(lacks)).collect(),
                    next,
                }
            },
        )
        .await
        .map_err(|cut| self.unavailable(cut))
    }

    async fn load(&self, table: &TableId) -> Result<LoadedTable, CatalogError> {
        let location = self
            .pointer(table)
            .await?
            .ok_or_else(|| CatalogError::NoSuchTable(table.clone()))?;
        let metadata = read_metadata(&*self.storage, table, &location).await?;
        Ok(LoadedTable {
            table: table.clone(),
            metadata_location: location,
            metadata: Arc::new(metadata),
            token: CommitToken::default(),
        })
    }

    async fn commit(
        &self,
        base: &LoadedTable,
        change: TableChange,
    ) -> Result<LoadedTable, CommitError> {
        let staged = stage_metadata(&*self.storage, &self.ambient, base, change).await?;
        let Some(lock) = &self.lock else {
            return self.swap(base, staged).await;
        };
        let held = lock
            .acquire(&base.table.name_in_catalog(), staged.location.as_str())
            .await;
        match held {
            Ok(held) if held.time_left().is_zero() => {
                held.release().await;
                discard_staged(&*self.storage, &staged).await;
                Err(CommitError::Refused(self.unavailable(Cut::NoAnswer)))
            }
            Ok(held) => {
                let swapped = self.swap(base, staged).await;
                held.release().await;
                swapped
            }
            Err(error) => {
                discard_staged(&*self.storage, &staged).await;
                Err(CommitError::Refused(error.into_catalog_error(&self.name)))
            }
        }
    }
}

impl MachineCatalog {
    /// Moves the pointer to what is staged, if it stands where `base` was loaded.
    async fn swap(
        &self,
        base: &LoadedTable,
        staged: StagedMetadata,
    ) -> Result<LoadedTable, CommitError> {
        let twice = self.network.happens(self.pointers.whims().sent_twice);
        let (table, writer) = (base.table.clone(), Arc::clone(&self.machine));
        let (expected, new) = (base.metadata_location.clone(), staged.location.clone());
        let swapped = self
            .call(
                format!("swap {table} to {new} (twice: {twice})"),
                move |pointers| {
                    if twice {
                        pointers.swap(&writer, &table, Some(&expected), Some(&new));
                    }
                    let swapped = pointers.swap(&writer, &table, Some(&expected), Some(&new));
                    swapped
                        .then_some(())
                        .ok_or_else(|| pointers.tables().contains_key(&table))
                },
            )
            .await;
        let unheard = self.pointers.whims().unheard;
        let swapped = match swapped {
            Ok(Ok(())) if self.network.happens(unheard) => Err(Cut::NoAnswer),
            other => other,
        };
        match swapped {
            Ok(Ok(())) => Ok(LoadedTable {
                table: base.table.clone(),
                metadata_location: staged.location,
                metadata: staged.metadata,
                token: CommitToken::default(),
            }),
            Ok(Err(exists)) => {
                // A client that sent it twice can't know that the first did nothing: the file stays.
                if !twice {
                    discard_staged(&*self.storage, &staged).await;
                }
                Err(if exists {
                    CommitError::Conflict(base.table.clone())
                } else {
                    CommitError::NoSuchTable(base.table.clone())
                })
            }
            Err(Cut::Throttled) => {
                discard_staged(&*self.storage, &staged).await;
                Err(CommitError::Refused(self.unavailable(Cut::Throttled)))
            }
            Err(cut) => Err(CommitError::OutcomeUnknown {
                table: base.table.clone(),
                message: format!("the answer was lost ({cut:?})"),
            }),
        }
    }
}
