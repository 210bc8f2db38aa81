//! A table in memory, with other writers and a reader of its own.

use std::{
    collections::{BTreeSet, HashMap},
    sync::{Arc, Mutex},
    time::Duration,
};

use async_trait::async_trait;
use iceberg::{
    TableUpdate,
    spec::{
        DataContentType, DataFile, DataFileBuilder, DataFileFormat, FormatVersion, MAIN_BRANCH,
        Manifest, ManifestList, NestedField, PartitionStatisticsFile, PrimitiveType, Schema,
        SnapshotReference, SnapshotRetention, SortOrder, StatisticsFile, Struct, TableMetadata,
        TableMetadataBuilder, Type, UnboundPartitionSpec,
    },
};
use icepress_catalog::{
    Catalog, CatalogError, CommitError, CommitToken, LoadedTable, TableChange, TablePage,
    metadata::{load_at, stage_metadata},
};
use icepress_model::{
    CatalogName, DatabaseId, MetadataLocation, Namespace, SpecId, TableId, TimestampMs,
    ambient::{Ambient, ManualClock},
};
use icepress_table::{CommitContext, CommitPolicy, NoObjection};
use icepress_writer::{AddedFile, RemovedFile, append_files, overwrite_files};

use super::storage::MemoryStorage;
use crate::{
    ExpirePlan, ExpireReport, ExpireRequest, Limits, NoPins, Pins, UpkeepError, expire, plan_expire,
};

pub(super) const HOUR: Duration = Duration::from_secs(3600);
pub(super) const DAY: Duration = Duration::from_secs(24 * 3600);
pub(super) const LOCATION: &str = "s3://lake/t";
/// Where S3 would write inventories.
pub(super) const INVENTORIES: &str = "s3://inventories/";

/// What happens at the next commit.
#[derive(Debug)]
pub(super) enum Event {
    /// Somebody else commits first.
    Rival(TableChange),
    /// It is carried out, and the answer is lost.
    AnswerLost,
    /// It never arrives, and nobody knows.
    RequestLost,
}

/// A catalog of one table, whose pointer survives whatever happens to the storage.
#[derive(Debug)]
pub(super) struct MemoryCatalog {
    name: CatalogName,
    storage: Arc<MemoryStorage>,
    ambient: Ambient,
    pointer: Mutex<MetadataLocation>,
    pub(super) events: Mutex<Vec<Event>>,
}

impl MemoryCatalog {
    async fn apply(
        &self,
        base: &LoadedTable,
        change: TableChange,
    ) -> Result<LoadedTable, CommitError> {
        let staged = stage_metadata(self.storage.as_ref(), &self.ambient, base, change).await?;
        let mut pointer = self.pointer.lock().unwrap();
        if *pointer != base.metadata_location {
            return Err(CommitError::Conflict(base.table.clone()));
        }
        *pointer = staged.location.clone();
        Ok(LoadedTable {
            table: base.table.clone(),
            metadata_location: staged.location,
            metadata: staged.metadata,
            token: CommitToken::default(),
        })
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
        let location = self.pointer.lock().unwrap().clone();
        load_at(self.storage.as_ref(), table, location).await
    }
    async fn commit(
        &self,
        base: &LoadedTable,
        change: TableChange,
    ) -> Result<LoadedTable, CommitError> {
        let unknown = || CommitError::OutcomeUnknown {
            table: base.table.clone(),
            message: "no answer".to_owned(),
        };
        let event = self.events.lock().unwrap().pop();
        match event {
            None => self.apply(base, change).await,
            Some(Event::Rival(rival)) => {
                self.apply(base, rival).await?;
                Err(CommitError::Conflict(base.table.clone()))
            }
            Some(Event::AnswerLost) => {
                self.apply(base, change).await?;
                Err(unknown())
            }
            Some(Event::RequestLost) => Err(unknown()),
        }
    }
}

#[derive(Debug)]
pub(super) struct World {
    pub(super) storage: Arc<MemoryStorage>,
    pub(super) catalog: Arc<MemoryCatalog>,
    pub(super) clock: Arc<ManualClock>,
    pub(super) context: CommitContext,
    pub(super) table: TableId,
    count: std::cell::Cell<u32>,
}

impl World {
    pub(super) fn new() -> Self {
        Self::with(FormatVersion::V2, &[])
    }

    pub(super) fn with(version: FormatVersion, properties: &[(&str, &str)]) -> Self {
        let schema = Schema::builder()
            .with_fields(vec![
                NestedField::required(1, "id", Type::Primitive(PrimitiveType::Long)).into(),
            ])
            .build()
            .unwrap();
        let spec = UnboundPartitionSpec::builder().build();
        Self::of(schema, spec, version, properties)
    }

    pub(super) fn of(
        schema: Schema,
        spec: UnboundPartitionSpec,
        version: FormatVersion,
        properties: &[(&str, &str)],
    ) -> Self {
        let own = |(key, value): &(&str, &str)| ((*key).to_owned(), (*value).to_owned());
        let properties: HashMap<String, String> = properties.iter().map(own).collect();
        let metadata = TableMetadataBuilder::new(
            schema,
            spec,
            SortOrder::unsorted_order(),
            LOCATION.to_owned(),
            version,
            properties,
        )
        .unwrap()
        .build()
        .unwrap()
        .metadata;
        // The crate holds moments of changes against the system's clock: these histories are over by now.
        let start = TimestampMs(metadata.last_updated_ms() - 90 * DAY.as_millis() as i64);
        let mut json = serde_json::to_value(&metadata).unwrap();
        json["last-updated-ms"] = start.get().into();
        let (ambient, clock) = Ambient::repeatable(7, start);
        let storage = Arc::new(MemoryStorage::default());
        let first = format!("{LOCATION}/metadata/00000-first.metadata.json");
        storage.insert(&first, json.to_string().into_bytes());
        let catalog = Arc::new(MemoryCatalog {
            name: CatalogName::from("c"),
            storage: Arc::clone(&storage),
            ambient: ambient.clone(),
            pointer: Mutex::new(MetadataLocation(first)),
            events: Mutex::default(),
        });
        Self {
            context: CommitContext {
                catalog: Arc::clone(&catalog) as _,
                storage: Arc::clone(&storage) as _,
                ambient,
                policy: CommitPolicy::default(),
            },
            storage,
            catalog,
            clock,
            table: "c.ns.t".parse().unwrap(),
            count: std::cell::Cell::new(0),
        }
    }

    /// Another handle on the same table.
    pub(super) fn another_handle(&self) -> Self {
        Self {
            storage: Arc::clone(&self.storage),
            catalog: Arc::clone(&self.catalog),
            clock: Arc::clone(&self.clock),
            context: self.context.clone(),
            table: self.table.clone(),
            count: self.count.clone(),
        }
    }

    pub(super) async fn loaded(&self) -> LoadedTable {
        self.context.catalog.load(&self.table).await.unwrap()
    }

    /// What no writer here writes: the current metadata file, as somebody else would have it.
    pub(super) async fn edit_metadata(&self, edit: impl FnOnce(&mut serde_json::Value)) {
        let location = self.loaded().await.metadata_location;
        let content = self.storage.get(location.as_str()).unwrap();
        let mut json: serde_json::Value = serde_json::from_slice(&content).unwrap();
        edit(&mut json);
        let content = json.to_string().into_bytes();
        self.storage.insert(location.as_str(), content);
    }

    /// As if what came after `state` had not happened.
    pub(super) fn set_back(&self, state: &LoadedTable) {
        *self.catalog.pointer.lock().unwrap() = state.metadata_location.clone();
    }

    pub(super) async fn current(&self) -> i64 {
        self.loaded().await.metadata.current_snapshot_id().unwrap()
    }

    pub(super) async fn ids(&self) -> BTreeSet<i64> {
        let loaded = self.loaded().await;
        let snapshots = loaded.metadata.snapshots();
        snapshots.map(|snapshot| snapshot.snapshot_id()).collect()
    }

    /// A file that lies there, and that no table knows.
    pub(super) fn file(&self, content: DataContentType) -> DataFile {
        let number = self.count.get();
        self.count.set(number + 1);
        self.file_at(&format!("{LOCATION}/data/f-{number:03}.parquet"), content)
    }

    pub(super) fn file_at(&self, path: &str, content: DataContentType) -> DataFile {
        self.storage.insert(path, vec![0; 100]);
        DataFileBuilder::default()
            .content(content)
            .file_path(path.to_owned())
            .file_format(DataFileFormat::Parquet)
            .partition(Struct::empty())
            .partition_spec_id(0)
            .record_count(10)
            .file_size_in_bytes(100)
            .build()
            .unwrap()
    }

    /// Appends a new file, an hour later; returns its path.
    pub(super) async fn append(&self) -> String {
        let file = self.file(DataContentType::Data);
        self.append_file(file).await
    }

    pub(super) async fn append_file(&self, file: DataFile) -> String {
        self.clock.advance(HOUR);
        let path = file.file_path().to_owned();
        let spec_id = SpecId(0);
        let added = [AddedFile { spec_id, file }];
        append_files(&self.context, &self.table, &added)
            .await
            .unwrap();
        path
    }

    /// Puts a new file into the place of others; returns its path.
    pub(super) async fn replace(&self, paths: &[&str]) -> String {
        self.clock.advance(HOUR);
        let file = self.file(DataContentType::Data);
        let path = file.file_path().to_owned();
        let removed: Vec<RemovedFile> = paths
            .iter()
            .map(|path| RemovedFile {
                path: (*path).to_owned(),
                content_offset: None,
            })
            .collect();
        let spec_id = SpecId(0);
        let added = [AddedFile { spec_id, file }];
        let base = self.loaded().await;
        overwrite_files(&self.context, &base, &added, &removed)
            .await
            .unwrap();
        path
    }

    /// Adds position deletes; returns their path.
    pub(super) async fn delete_rows(&self) -> String {
        self.clock.advance(HOUR);
        let file = self.file(DataContentType::PositionDeletes);
        let path = file.file_path().to_owned();
        let spec_id = SpecId(0);
        let base = self.loaded().await;
        icepress_writer::add_delete_files(&self.context, &base, &[AddedFile { spec_id, file }])
            .await
            .unwrap();
        path
    }

    pub(super) async fn update(&self, updates: Vec<TableUpdate>) {
        let base = self.loaded().await;
        let change = TableChange {
            requirements: Vec::new(),
            updates,
        };
        self.catalog.apply(&base, change).await.unwrap();
    }

    pub(super) async fn set_ref(&self, name: &str, id: i64, retention: SnapshotRetention) {
        self.update(vec![set_ref(name, id, retention)]).await;
    }

    pub(super) async fn roll_back_to(&self, id: i64) {
        self.set_ref(MAIN_BRANCH, id, branch()).await;
    }

    /// Statistics of both kinds for a snapshot; returns their paths.
    pub(super) async fn statistics(&self, snapshot_id: i64) -> [String; 2] {
        let paths = ["stats", "partition-stats"]
            .map(|name| format!("{LOCATION}/metadata/{name}-{snapshot_id}.puffin"));
        for path in &paths {
            self.storage.insert(path, vec![1; 10]);
        }
        let statistics = StatisticsFile {
            snapshot_id,
            statistics_path: paths[0].clone(),
            file_size_in_bytes: 10,
            file_footer_size_in_bytes: 4,
            key_metadata: None,
            blob_metadata: Vec::new(),
        };
        let partition_statistics = PartitionStatisticsFile {
            snapshot_id,
            statistics_path: paths[1].clone(),
            file_size_in_bytes: 10,
        };
        self.update(vec![
            TableUpdate::SetStatistics { statistics },
            TableUpdate::SetPartitionStatistics {
                partition_statistics,
            },
        ])
        .await;
        paths
    }

    /// Everything that snapshots of the table refer to, as the `iceberg` crate reads it, and its statistics.
    pub(super) async fn referenced(&self) -> BTreeSet<String> {
        let loaded = self.loaded().await;
        let metadata: &TableMetadata = &loaded.metadata;
        let mut paths = BTreeSet::new();
        for snapshot in metadata.snapshots() {
            paths.insert(snapshot.manifest_list().to_owned());
            let list = self
                .storage
                .get(snapshot.manifest_list())
                .expect("its list");
            let list = ManifestList::parse_with_version(&list, metadata.format_version()).unwrap();
            for file in list.entries() {
                paths.insert(file.manifest_path.clone());
                let manifest = self.storage.get(&file.manifest_path).expect("its manifest");
                let manifest = Manifest::parse_avro(&manifest).unwrap();
                let live = manifest.entries().iter().filter(|entry| entry.is_alive());
                paths.extend(live.map(|entry| entry.file_path().to_owned()));
            }
        }
        let statistics = metadata.statistics_iter();
        paths.extend(statistics.map(|file| file.statistics_path.clone()));
        let statistics = metadata.partition_statistics_iter();
        paths.extend(statistics.map(|file| file.statistics_path.clone()));
        paths
    }

    /// That everything that is referred to is there, and nothing else.
    pub(super) async fn assert_tidy(&self) {
        assert_eq!(self.storage.there(), self.referenced().await);
    }

    pub(super) async fn assert_whole(&self) {
        let there = self.storage.there();
        let missing: Vec<String> = self
            .referenced()
            .await
            .into_iter()
            .filter(|path| !there.contains(path))
            .collect();
        assert!(missing.is_empty(), "gone and needed: {missing:?}");
    }

    pub(super) async fn expire_with(
        &self,
        request: &ExpireRequest,
        pins: &dyn Pins,
    ) -> Result<ExpireReport, UpkeepError> {
        expire(
            &self.context,
            &self.table,
            pins,
            &NoObjection,
            request,
            &|_, _| {},
        )
        .await
    }

    /// Expires whatever may go at all.
    pub(super) async fn expire_all(&self) -> Result<ExpireReport, UpkeepError> {
        self.expire_with(&all(), &NoPins).await
    }

    pub(super) async fn plan(&self, request: &ExpireRequest) -> ExpirePlan {
        plan_expire(&self.context, &self.table, &NoPins, request)
            .await
            .unwrap()
    }
}

/// Whatever may go at all.
pub(super) fn all() -> ExpireRequest {
    ExpireRequest {
        older_than: Some(Duration::ZERO),
        floor: Duration::ZERO,
        limits: Limits::default(),
    }
}

pub(super) fn set_ref(name: &str, id: i64, retention: SnapshotRetention) -> TableUpdate {
    TableUpdate::SetSnapshotRef {
        ref_name: name.to_owned(),
        reference: SnapshotReference::new(id, retention),
    }
}

pub(super) fn branch() -> SnapshotRetention {
    SnapshotRetention::branch(None, None, None)
}

pub(super) fn tag() -> SnapshotRetention {
    SnapshotRetention::Tag {
        max_ref_age_ms: None,
    }
}
