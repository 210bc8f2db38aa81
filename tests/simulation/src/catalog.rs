//! A catalog that keeps a pointer for each table, as Glue and SQL catalogs do: compared with exactly what was loaded.

use std::{
    collections::BTreeMap,
    fmt,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
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

use crate::{
    java::JavaLock,
    network::{Cut, Delivery, Network, Service},
};

/// A change of a table's pointer, by whom and from where to where; `None` is no table.
#[derive(Debug)]
pub struct Moved<'a> {
    /// Who moved it.
    pub writer: &'a str,
    /// The table.
    pub table: &'a TableId,
    /// Where it stood.
    pub before: Option<&'a MetadataLocation>,
    /// Where whoever moved it thought that it stood.
    pub expected: Option<&'a MetadataLocation>,
    /// Where it stands now.
    pub after: Option<&'a MetadataLocation>,
    /// When the request was sent, since the start of the world.
    pub sent: Duration,
}

/// Somebody who looks at every change of a pointer.
pub trait Watch: Send + Sync + fmt::Debug {
    /// A table's pointer was moved.
    fn moved(&self, moved: &Moved<'_>);
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
    /// Pages of listings that were given.
    pages: AtomicU64,
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
            pages: AtomicU64::new(0),
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

    /// Pages of listings that were given so far.
    pub fn pages(&self) -> u64 {
        self.pages.load(Ordering::Relaxed)
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
        sent: Duration,
    ) -> bool {
        let stands = self.tables().get(table) == expected;
        if stands {
            self.set(writer, table, expected, new, sent);
        }
        stands
    }

    /// Moves a pointer wherever it stands, as Glue does for whoever sends it no version; `expected` is where it stood when
    /// it was looked at.
    fn set(
        &self,
        writer: &str,
        table: &TableId,
        expected: Option<&MetadataLocation>,
        new: Option<&MetadataLocation>,
        sent: Duration,
    ) {
        let before = {
            let mut tables = self.tables();
            match new {
                Some(new) => tables.insert(table.clone(), new.clone()),
                None => tables.remove(table),
            }
        };
        let watch = self
            .watch
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        if let Some(watch) = watch {
            watch.moved(&Moved {
                writer,
                table,
                before: before.as_ref(),
                expected,
                after: new,
                sent,
            });
        }
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
    page_takes: Duration,
    lock: Option<CommitLock>,
    java: Option<JavaLock>,
    swaps: Delivery,
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
            page_takes: Duration::ZERO,
            lock: None,
            java: None,
            swaps: Delivery::Usual,
        }
    }

    /// The same, taking so long over each page of a listing.
    pub fn with_page_takes(self, page_takes: Duration) -> Self {
        Self { page_takes, ..self }
    }

    /// The same, with a lock that is held while a table is changed.
    pub fn with_lock(self, lock: Option<CommitLock>) -> Self {
        Self { lock, ..self }
    }

    /// The same for a Java writer: under this lock it looks where the pointer stands, and moves it blindly.
    pub fn with_java(self, java: Option<JavaLock>) -> Self {
        Self { java, ..self }
    }

    /// The same, with swaps that are done at once if at all. Where others move pointers blindly under the lock, whoever
    /// holds it counts on that.
    pub fn with_swaps(self, swaps: Delivery) -> Self {
        Self { swaps, ..self }
    }

    fn since_start(&self) -> Duration {
        self.network
            .engine()
            .map_or(Duration::ZERO, |engine| engine.now())
    }

    async fn call<T: Send + 'static>(
        &self,
        what: String,
        effect: impl FnOnce(&Pointers) -> T + Send + 'static,
    ) -> Result<T, Cut> {
        self.deliver(Delivery::Usual, what, effect).await
    }

    async fn deliver<T: Send + 'static>(
        &self,
        delivery: Delivery,
        what: String,
        effect: impl FnOnce(&Pointers) -> T + Send + 'static,
    ) -> Result<T, Cut> {
        let pointers = Arc::clone(&self.pointers);
        let network = Arc::clone(&self.network);
        let line = (Arc::clone(&self.machine), what.clone());
        let effect = move || {
            if let Some(engine) = network.engine() {
                engine.note(format_args!("{}: catalog: {}", line.0, line.1));
            }
            effect(&pointers)
        };
        self.network
            .call(Service::Catalog, &self.machine, what, delivery, effect)
            .await
    }

    fn unavailable(&self, cut: Cut) -> CatalogError {
        match cut {
            Cut::Throttled => CatalogError::Throttled {
                catalog: self.name.to_string(),
                message: "the request was refused".to_owned(),
            },
            _ => CatalogError::Unavailable {
                catalog: self.name.to_string(),
                message: format!("the request failed ({cut:?})"),
                source: None,
            },
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
        let sent = self.since_start();
        self.call(format!("create {table}"), move |pointers| {
            pointers.swap(&writer, &wanted, None, Some(&location), sent)
        })
        .await
        .map_err(|cut| self.unavailable(cut))
    }

    /// Drops a table that stands where it was loaded; its files stay.
    pub async fn drop_table(&self, base: &LoadedTable) -> Result<bool, CatalogError> {
        let (table, expected) = (base.table.clone(), base.metadata_location.clone());
        let writer = Arc::clone(&self.machine);
        let sent = self.since_start();
        self.call(format!("drop {table}"), move |pointers| {
            pointers.swap(&writer, &table, Some(&expected), None, sent)
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
        if !self.page_takes.is_zero() {
            self.ambient.clock.sleep(self.page_takes).await;
        }
        self.pointers.pages.fetch_add(1, Ordering::Relaxed);
        let begin = TableId {
            catalog: self.name.clone(),
            namespace: namespace.clone(),
            name: after.clone().unwrap_or_default(),
        };
        self.call(
            format!("list {database} after {after:?} (lacking one: {lacks})"),
            move |pointers| {
                let tables = pointers.tables();
                let mut found = tables
                    .range(begin..)
                    .take_while(|(table, _)| table.namespace == namespace)
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
        if let Some(java) = &self.java {
            return self.commit_blindly(java, base, staged).await;
        }
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
        let (sent, what) = (
            self.since_start(),
            format!("swap {table} to {new} (twice: {twice})"),
        );
        let effect = move |pointers: &Pointers| {
            let swap = || pointers.swap(&writer, &table, Some(&expected), Some(&new), sent);
            if twice {
                swap();
            }
            swap()
                .then_some(())
                .ok_or_else(|| pointers.tables().contains_key(&table))
        };
        let swapped = self.deliver(self.swaps, what, effect).await;
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

    /// What Java's `GlueTableOperations` does with a lock manager: it looks whether the pointer stands where the table was
    /// loaded, and sends an update that is compared with nothing.
    async fn commit_blindly(
        &self,
        java: &JavaLock,
        base: &LoadedTable,
        staged: StagedMetadata,
    ) -> Result<LoadedTable, CommitError> {
        let (table, new) = (base.table.clone(), staged.location.clone());
        let refused = |message: String| {
            CommitError::Refused(CatalogError::Unavailable {
                catalog: self.name.to_string(),
                message,
                source: None,
            })
        };
        let held = java.acquire(&table.name_in_catalog(), new.as_str()).await;
        let mut held = held.map_err(refused)?;
        java.dawdle(&mut held).await;
        let wanted = table.clone();
        let found = self
            .deliver(
                Delivery::Prompt,
                format!("get {table} under the lock"),
                move |pointers| pointers.tables().get(&wanted).cloned(),
            )
            .await;
        let result = match found {
            Ok(Some(found)) if found == base.metadata_location => {
                if java.is_safe(&held) {
                    let (writer, moved) = (Arc::clone(&self.machine), new.clone());
                    let sent = self.since_start();
                    let what = format!("put {table} to {new}");
                    let put = self.deliver(Delivery::Prompt, what, move |pointers| {
                        pointers.set(&writer, &table, Some(&found), Some(&moved), sent);
                    });
                    put.await.map_err(|cut| CommitError::OutcomeUnknown {
                        table: base.table.clone(),
                        message: format!("the answer was lost ({cut:?})"),
                    })
                } else {
                    Err(refused("the lock may be lost".to_owned()))
                }
            }
            Ok(Some(_)) => Err(CommitError::Conflict(table)),
            Ok(None) => Err(CommitError::NoSuchTable(table)),
            Err(cut) => Err(CommitError::Refused(self.unavailable(cut))),
        };
        java.release(held).await;
        result.map(|()| LoadedTable {
            table: base.table.clone(),
            metadata_location: staged.location,
            metadata: staged.metadata,
            token: CommitToken::default(),
        })
    }
}
