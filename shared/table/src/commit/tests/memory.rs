//! A catalog and a storage in memory, in which things go wrong on purpose.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    ops::Range,
    sync::{Arc, Mutex},
    time::Duration,
};

use async_trait::async_trait;
use bytes::Bytes as Buffer;
use iceberg::spec::TableMetadata;
use icepress_catalog::{Catalog, CatalogError, CommitError, LoadedTable, TableChange, TablePage};
use icepress_model::{
    Bytes, CatalogName, DatabaseId, MetadataLocation, Namespace, TableId, TimestampMs,
    ambient::{Clock, Randomness},
};
use icepress_storage::{
    DeleteOutcome, ListPage, ObjectInfo, ObjectWriter, PutMode, Storage, StorageError,
    StorageErrorKind, WriteOptions,
};

/// Objects by location.
#[derive(Debug, Default)]
pub(crate) struct MemoryStorage {
    objects: Mutex<BTreeMap<String, Buffer>>,
    /// How often each was written: its time.
    written: Mutex<BTreeMap<String, i64>>,
    options: Mutex<BTreeMap<String, WriteOptions>>,
    deleted: Mutex<BTreeSet<String>>,
    /// How many more writes go well; `None` for all.
    writes_left: Mutex<Option<u32>>,
}

impl MemoryStorage {
    pub(crate) fn insert(&self, location: &str, content: impl Into<Buffer>) {
        let mut objects = self.objects.lock().unwrap();
        objects.insert(location.to_owned(), content.into());
        *self
            .written
            .lock()
            .unwrap()
            .entry(location.to_owned())
            .or_default() += 1;
    }

    pub(crate) fn remove(&self, location: &str) {
        self.objects.lock().unwrap().remove(location);
    }

    pub(crate) fn locations(&self) -> BTreeSet<String> {
        self.objects.lock().unwrap().keys().cloned().collect()
    }

    pub(crate) fn deleted(&self) -> BTreeSet<String> {
        self.deleted.lock().unwrap().clone()
    }

    pub(crate) fn options_of(&self, location: &str) -> WriteOptions {
        self.options.lock().unwrap()[location].clone()
    }

    pub(crate) fn fail_writes_after(&self, count: u32) {
        *self.writes_left.lock().unwrap() = Some(count);
    }

    fn error(kind: StorageErrorKind, action: &'static str, location: &str) -> StorageError {
        StorageError {
            kind,
            action,
            location: location.to_owned(),
            source: None,
        }
    }

    fn get(&self, location: &str) -> Result<Buffer, StorageError> {
        let objects = self.objects.lock().unwrap();
        objects
            .get(location)
            .cloned()
            .ok_or_else(|| Self::error(StorageErrorKind::NotFound, "read", location))
    }
}

#[async_trait]
impl Storage for MemoryStorage {
    async fn info(&self, location: &str) -> Result<ObjectInfo, StorageError> {
        Ok(ObjectInfo {
            size: Bytes(self.get(location)?.len() as u64),
            modified: TimestampMs(self.written.lock().unwrap()[location]),
            archived: false,
        })
    }
    async fn read(&self, location: &str) -> Result<Buffer, StorageError> {
        self.get(location)
    }
    async fn read_range(&self, location: &str, range: Range<u64>) -> Result<Buffer, StorageError> {
        let content = self.get(location)?;
        if range.end > content.len() as u64 {
            return Err(Self::error(StorageErrorKind::OutOfRange, "read", location));
        }
        Ok(content.slice(range.start as usize..range.end as usize))
    }
    async fn read_ranges(
        &self,
        location: &str,
        ranges: &[Range<u64>],
    ) -> Result<Vec<Buffer>, StorageError> {
        let mut contents = Vec::new();
        for range in ranges {
            contents.push(self.read_range(location, range.clone()).await?);
        }
        Ok(contents)
    }
    async fn put(
        &self,
        location: &str,
        content: Buffer,
        _: PutMode,
        options: &WriteOptions,
    ) -> Result<(), StorageError> {
        if let Some(left) = self.writes_left.lock().unwrap().as_mut() {
            if *left == 0 {
                return Err(Self::error(StorageErrorKind::Other, "write", location));
            }
            *left -= 1;
        }
        let mut kept = self.options.lock().unwrap();
        kept.insert(location.to_owned(), options.clone());
        self.insert(location, content);
        Ok(())
    }
    async fn writer(
        &self,
        location: &str,
        _: &WriteOptions,
    ) -> Result<Box<dyn ObjectWriter>, StorageError> {
        panic!("nothing large is written by a commit: {location}");
    }
    async fn list(&self, prefix: &str, _: Option<&str>) -> Result<ListPage, StorageError> {
        panic!("a commit lists nothing: {prefix}");
    }
    async fn delete(&self, locations: &[String]) -> Vec<DeleteOutcome> {
        let mut outcomes = Vec::new();
        for location in locations {
            self.remove(location);
            self.deleted.lock().unwrap().insert(location.clone());
            outcomes.push(DeleteOutcome {
                location: location.clone(),
                result: Ok(()),
            });
        }
        outcomes
    }
}

/// What becomes of the next swap.
#[derive(Debug, Clone)]
pub(crate) enum Fault {
    /// Another writer gets in first: the table is as given before ours arrives.
    Rival(Box<LoadedTable>),
    /// The swap is done, and the answer lost.
    AnswerLost,
    /// The request is lost.
    RequestLost,
    /// The request is lost, and another writer commits meanwhile.
    RequestLostToRival(Box<LoadedTable>),
    /// The swap is done, sent again below us, and then loses against itself.
    LostAgainstItself,
    /// The catalog says no.
    Refused,
    /// The table is dropped.
    Dropped,
    /// It takes so long until the catalog gets to it.
    Slow(Arc<TestClock>, Duration),
}

/// A catalog of one table.
#[derive(Debug)]
pub(crate) struct MemoryCatalog {
    name: CatalogName,
    pub(crate) current: Mutex<Option<LoadedTable>>,
    pub(crate) faults: Mutex<VecDeque<Fault>>,
    pub(crate) swaps: Mutex<u32>,
}

impl MemoryCatalog {
    pub(crate) fn new(table: LoadedTable) -> Self {
        Self {
            name: table.table.catalog.clone(),
            current: Mutex::new(Some(table)),
            faults: Mutex::default(),
            swaps: Mutex::new(0),
        }
    }

    pub(crate) fn get(&self) -> LoadedTable {
        self.current.lock().unwrap().clone().unwrap()
    }

    pub(crate) fn set(&self, table: LoadedTable) {
        *self.current.lock().unwrap() = Some(table);
    }

    pub(crate) fn will(&self, fault: Fault) {
        self.faults.lock().unwrap().push_back(fault);
    }

    fn swap(&self, base: &LoadedTable, change: TableChange) -> Result<LoadedTable, CommitError> {
        let mut current = self.current.lock().unwrap();
        let Some(table) = current.as_mut() else {
            return Err(CommitError::NoSuchTable(base.table.clone()));
        };
        if table.metadata_location != base.metadata_location {
            return Err(CommitError::Conflict(base.table.clone()));
        }
        for requirement in &change.requirements {
            requirement.check(Some(&table.metadata)).unwrap();
        }
        let log = Some(table.metadata_location.to_string());
        let mut builder = TableMetadata::clone(&table.metadata).into_builder(log);
        for update in change.updates {
            builder = update.apply(builder).unwrap();
        }
        table.metadata = Arc::new(builder.build().unwrap().metadata.into());
        let mut swaps = self.swaps.lock().unwrap();
        *swaps += 1;
        // Forks of this catalog make states of their own: the name says what is in it.
        let id = table.metadata.current_snapshot_id().unwrap_or(0);
        table.metadata_location = MetadataLocation(format!("v{swaps}-{id}.json"));
        Ok(table.clone())
    }
}

fn unknown(base: &LoadedTable) -> CommitError {
    CommitError::OutcomeUnknown {
        table: base.table.clone(),
        message: "the answer was lost".to_owned(),
    }
}

#[async_trait]
impl Catalog for MemoryCatalog {
    fn name(&self) -> &CatalogName {
        &self.name
    }
    async fn list_namespaces(&self) -> Result<Vec<Namespace>, CatalogError> {
        Ok(Vec::new())
    }
    async fn list_tables(
        &self,
        _: &DatabaseId,
        _: Option<&str>,
    ) -> Result<TablePage, CatalogError> {
        Ok(TablePage::default())
    }
    async fn load(&self, table: &TableId) -> Result<LoadedTable, CatalogError> {
        let current = self.current.lock().unwrap();
        current
            .clone()
            .ok_or_else(|| CatalogError::NoSuchTable(table.clone()))
    }
    async fn commit(
        &self,
        base: &LoadedTable,
        change: TableChange,
    ) -> Result<LoadedTable, CommitError> {
        let fault = self.faults.lock().unwrap().pop_front();
        match fault {
            None => self.swap(base, change),
            Some(Fault::Rival(table)) => {
                self.set(*table);
                self.swap(base, change)
            }
            Some(Fault::AnswerLost) => {
                self.swap(base, change).unwrap();
                Err(unknown(base))
            }
            Some(Fault::RequestLost) => Err(unknown(base)),
            Some(Fault::RequestLostToRival(table)) => {
                self.set(*table);
                Err(unknown(base))
            }
            Some(Fault::LostAgainstItself) => {
                self.swap(base, change.clone()).unwrap();
                self.swap(base, change)
            }
            Some(Fault::Refused) => Err(CommitError::Refused(CatalogError::PermissionDenied {
                catalog: "c".to_owned(),
                message: "not today".to_owned(),
            })),
            Some(Fault::Dropped) => {
                *self.current.lock().unwrap() = None;
                Err(CommitError::NoSuchTable(base.table.clone()))
            }
            Some(Fault::Slow(clock, wait)) => {
                clock.sleep(wait).await;
                tokio::task::yield_now().await;
                self.swap(base, change)
            }
        }
    }
}

/// Time that passes only when somebody waits, and remembers it.
#[derive(Debug, Default)]
pub(crate) struct TestClock {
    pub(crate) now: Mutex<i64>,
    pub(crate) slept: Mutex<Vec<Duration>>,
}

#[async_trait]
impl Clock for TestClock {
    fn now(&self) -> TimestampMs {
        TimestampMs(*self.now.lock().unwrap())
    }
    fn monotonic(&self) -> Duration {
        Duration::from_millis(*self.now.lock().unwrap() as u64)
    }
    async fn sleep(&self, duration: Duration) {
        *self.now.lock().unwrap() += duration.as_millis() as i64;
        self.slept.lock().unwrap().push(duration);
    }
}

/// The same numbers in every run (splitmix64).
#[derive(Debug, Default)]
pub(crate) struct TestRandom(Mutex<u64>);

impl From<u64> for TestRandom {
    fn from(seed: u64) -> Self {
        Self(Mutex::new(seed))
    }
}

impl Randomness for TestRandom {
    fn next_u64(&self) -> u64 {
        let mut state = self.0.lock().unwrap();
        *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = *state;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }
}
