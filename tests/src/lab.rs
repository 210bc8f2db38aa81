//! A laboratory: tables in a real SQL catalog on local files, with Icepress beside them.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex},
    time::Duration,
};

use async_trait::async_trait;
use iceberg::{
    TableCreation,
    spec::{
        DataContentType, DataFileBuilder, DataFileFormat, Literal, NestedField, PrimitiveType,
        Schema, Struct, Transform, Type, UnboundPartitionSpec,
    },
};
use icepress_catalog::{Catalog, LoadedTable, SqlCatalog, metadata::stage_new_table};
use icepress_coordination::{SqliteFile, SqliteOptions};
use icepress_model::{
    CatalogName, MetadataLocation, Namespace, SpecId, TableId, WorkerId, ambient::Ambient,
};
use icepress_service::{Catalogs, Context, Event, Observer, OpenCatalog, Settings};
use icepress_storage::{LocalStorage, PutMode, Storage, WriteOptions};
use icepress_table::{CommitContext, CommitPolicy, open_snapshot, open_snapshot_at};
use icepress_writer::{AddedFile, add_delete_files, append_files};
use tempfile::TempDir;

use crate::{FaultyCatalog, FaultyStorage, Row, ShiftedClock, read_table_rows, write_rows};

/// Settings with waits short enough for tests.
pub fn settings_for_tests(worker: &str) -> Settings {
    Settings {
        commit: CommitPolicy {
            attempts: 5,
            first_backoff: Duration::from_millis(2),
        },
        ..Settings::embedded(WorkerId::from(worker))
    }
}

/// Where tables are at home: a catalog, and what people do in it that Icepress never does.
#[async_trait]
pub trait Home: std::fmt::Debug + Send + Sync {
    /// The catalog as other writers use it.
    fn catalog(&self) -> Arc<dyn Catalog>;

    /// Makes a table of a metadata file.
    async fn register(&self, table: &TableId, location: &MetadataLocation);

    /// Takes a table out; its files stay.
    async fn unregister(&self, table: &TableId);
}

#[derive(Debug)]
struct SqlHome(Arc<SqlCatalog>);

#[async_trait]
impl Home for SqlHome {
    fn catalog(&self) -> Arc<dyn Catalog> {
        Arc::clone(&self.0) as Arc<dyn Catalog>
    }

    async fn register(&self, table: &TableId, location: &MetadataLocation) {
        self.0.register(table, location).await.unwrap();
    }

    async fn unregister(&self, table: &TableId) {
        self.0.unregister(table).await.unwrap();
    }
}

/// Tables, and all that Icepress needs to keep them.
#[derive(Debug)]
pub struct Lab {
    /// Where everything lies; gone with the laboratory.
    pub folder: TempDir,
    /// Time and chance.
    pub ambient: Ambient,
    /// The clock to move.
    pub clock: Arc<ShiftedClock>,
    /// The files.
    pub storage: Arc<dyn Storage>,
    /// The same, to order faults at.
    pub disk: Arc<FaultyStorage>,
    /// The catalog, with faults on demand.
    pub catalog: Arc<FaultyCatalog>,
    home: Arc<dyn Home>,
    state: SqliteFile,
    events: Arc<Events>,
}

/// Every event, in order.
#[derive(Debug, Default)]
pub struct Events(Mutex<Vec<Event>>);

impl Observer for Events {
    fn observe(&self, event: &Event) {
        self.0.lock().unwrap().push(event.clone());
    }
}

impl Lab {
    /// An empty laboratory.
    pub async fn new(seed: u64) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (ambient, clock) = ShiftedClock::ambient(seed);
        let disk = FaultyStorage::around(Arc::new(LocalStorage::new()));
        let uri = format!("sqlite:///{}/catalog.db", folder.path().display());
        let sql = SqlCatalog::create(
            CatalogName::from("lab"),
            &uri,
            Arc::clone(&disk) as Arc<dyn Storage>,
            ambient.clone(),
        )
        .await
        .unwrap();
        let home = Arc::new(SqlHome(Arc::new(sql)));
        let catalog = home.catalog();
        Self::at(folder, (ambient, clock), disk, home, catalog).await
    }

    /// Around a catalog: `home` is how others reach it, `catalog` how Icepress does.
    pub async fn at(
        folder: TempDir,
        (ambient, clock): (Ambient, Arc<ShiftedClock>),
        disk: Arc<FaultyStorage>,
        home: Arc<dyn Home>,
        catalog: Arc<dyn Catalog>,
    ) -> Self {
        let state = SqliteFile::open(
            &folder.path().join("state.db"),
            SqliteOptions::default(),
            ambient.clone(),
        )
        .await
        .unwrap();
        Self {
            catalog: FaultyCatalog::around(catalog),
            folder,
            ambient,
            clock,
            storage: Arc::clone(&disk) as Arc<dyn Storage>,
            disk,
            home,
            state,
            events: Arc::default(),
        }
    }

    /// A laboratory with one table of one partition, of eight small files: one group for a plan.
    pub async fn of_small_files(seed: u64) -> (Self, TableId) {
        let lab = Self::new(seed).await;
        let table = lab.create_table("events", &[]).await;
        lab.append_numbered(&table, &["eu"], 8, 10, 0).await;
        (lab, table)
    }

    /// One more worker on the same state.
    pub fn worker(&self, settings: Settings) -> Context {
        Context {
            ambient: self.ambient.clone(),
            store: Arc::new(self.state.store()),
            queue: Arc::new(self.state.queue()),
            cleaners: Some(Arc::new(self.state.queue())),
            errands: None,
            catalogs: Catalogs::new([OpenCatalog {
                catalog: Arc::clone(&self.catalog) as Arc<dyn Catalog>,
                storage: Arc::clone(&self.storage),
            }]),
            payloads: Arc::clone(&self.storage),
            settings: Arc::new(settings),
            observer: Arc::clone(&self.events) as Arc<dyn Observer>,
            commits: Default::default(),
            plans: Default::default(),
            listed: Default::default(),
            taken: Default::default(),
            placed: Default::default(),
        }
    }

    /// An Icepress that knows nothing of ours: the same tables, and a state of its own.
    pub async fn stranger(&self, settings: Settings) -> Context {
        let file = self
            .folder
            .path()
            .join(format!("state-{}.db", self.ambient.uuid()));
        let state = SqliteFile::open(&file, SqliteOptions::default(), self.ambient.clone())
            .await
            .unwrap();
        Context {
            store: Arc::new(state.store()),
            queue: Arc::new(state.queue()),
            cleaners: Some(Arc::new(state.queue())),
            ..self.worker(settings)
        }
    }

    /// What happened since the last call.
    pub fn take_events(&self) -> Vec<Event> {
        std::mem::take(&mut *self.events.0.lock().unwrap())
    }

    /// The name of a table of the laboratory.
    pub fn table(name: &str) -> TableId {
        TableId {
            catalog: CatalogName::from("lab"),
            namespace: Namespace::from_dotted("tests"),
            name: name.to_owned(),
        }
    }

    /// Makes an empty table of format version 2, partitioned by `region`.
    pub async fn create_table(&self, name: &str, properties: &[(&str, &str)]) -> TableId {
        let table = Self::table(name);
        let text = |id, name: &str| {
            NestedField::optional(id, name, Type::Primitive(PrimitiveType::String))
        };
        let schema = Schema::builder()
            .with_fields([
                NestedField::required(1, "id", Type::Primitive(PrimitiveType::Long)).into(),
                text(2, "region").into(),
                text(3, "note").into(),
            ])
            .build()
            .unwrap();
        let spec = UnboundPartitionSpec::builder()
            .add_partition_field(2, "region", Transform::Identity)
            .unwrap()
            .build();
        let properties: HashMap<String, String> = properties
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect();
        let creation = TableCreation::builder()
            .name(name.to_owned())
            .location(format!("{}/{name}", self.folder.path().display()))
            .schema(schema)
            .partition_spec(spec)
            .properties(properties)
            .build();
        let staged = stage_new_table(&*self.storage, &self.ambient, &table, creation)
            .await
            .unwrap();
        self.home.register(&table, &staged.location).await;
        table
    }

    /// Appends files as a foreign writer does, in one snapshot: each holds rows of one region.
    pub async fn append(&self, table: &TableId, files: &[Vec<Row>]) -> LoadedTable {
        let named = |_| self.ambient.uuid().to_string();
        self.append_as(table, files, named).await
    }

    /// The same, with names for the files by their numbers.
    pub async fn append_as(
        &self,
        table: &TableId,
        files: &[Vec<Row>],
        name: impl Fn(usize) -> String,
    ) -> LoadedTable {
        let location = self.load(table).await.metadata.location().to_owned();
        let mut added = Vec::new();
        for (number, rows) in files.iter().enumerate() {
            let content = write_rows(rows);
            let path = format!("{location}/data/{}.parquet", name(number));
            let size = content.len() as u64;
            self.storage
                .put(
                    &path,
                    content,
                    PutMode::CreateOnly,
                    &WriteOptions::default(),
                )
                .await
                .unwrap();
            let file = DataFileBuilder::default()
                .content(DataContentType::Data)
                .file_path(path)
                .file_format(DataFileFormat::Parquet)
                .partition(Struct::from_iter([Some(Literal::string(&rows[0].region))]))
                .record_count(rows.len() as u64)
                .file_size_in_bytes(size)
                .partition_spec_id(0)
                .build()
                .unwrap();
            added.push(AddedFile {
                spec_id: SpecId(0),
                file,
            });
        }
        append_files(&self.writer(), table, &added).await.unwrap()
    }

    /// Appends `files` small files of `rows_per_file` rows to each region; ids go on from `first_id`.
    pub async fn append_numbered(
        &self,
        table: &TableId,
        regions: &[&str],
        files: i64,
        rows_per_file: i64,
        first_id: i64,
    ) -> LoadedTable {
        let mut next = first_id;
        let mut all = Vec::new();
        for region in regions {
            for _ in 0..files {
                all.push(
                    (next..next + rows_per_file)
                        .map(|id| Row::numbered(id, region))
                        .collect(),
                );
                next += rows_per_file;
            }
        }
        self.append(table, &all).await
    }

    fn writer(&self) -> CommitContext {
        CommitContext {
            catalog: self.home.catalog(),
            storage: Arc::clone(&self.storage),
            ambient: self.ambient.clone(),
            policy: CommitPolicy::default(),
        }
    }

    /// The table as the catalog has it.
    pub async fn load(&self, table: &TableId) -> LoadedTable {
        self.home.catalog().load(table).await.unwrap()
    }

    /// Drops the table from the catalog; its files stay.
    pub async fn drop_table(&self, table: &TableId) {
        self.home.unregister(table).await;
    }

    /// Deletes rows of one region by their ids, as a foreign writer does: an equality delete file in one snapshot.
    pub async fn delete_ids(&self, table: &TableId, region: &str, ids: &[i64]) -> LoadedTable {
        let loaded = self.load(table).await;
        let rows: Vec<Row> = ids.iter().map(|id| Row::numbered(*id, region)).collect();
        let content = write_rows(&rows);
        let path = format!(
            "{}/data/{}-deletes.parquet",
            loaded.metadata.location(),
            self.ambient.uuid()
        );
        let size = content.len() as u64;
        self.storage
            .put(
                &path,
                content,
                PutMode::CreateOnly,
                &WriteOptions::default(),
            )
            .await
            .unwrap();
        let file = DataFileBuilder::default()
            .content(DataContentType::EqualityDeletes)
            .equality_ids(Some(vec![1]))
            .file_path(path)
            .file_format(DataFileFormat::Parquet)
            .partition(Struct::from_iter([Some(Literal::string(region))]))
            .record_count(ids.len() as u64)
            .file_size_in_bytes(size)
            .partition_spec_id(0)
            .build()
            .unwrap();
        let added = AddedFile {
            spec_id: SpecId(0),
            file,
        };
        add_delete_files(&self.writer(), &loaded, &[added])
            .await
            .unwrap()
    }

    /// Every file that any snapshot of the table needs is there; and what was deleted is needed by none.
    pub async fn assert_whole(&self, table: &TableId, when: &str) {
        let loaded = self.load(table).await;
        let deleted = self.disk.deleted();
        for snapshot in loaded.metadata.snapshots() {
            let list = snapshot.manifest_list().to_owned();
            let scan = open_snapshot_at(&*self.storage, table, &loaded.metadata, snapshot)
                .await
                .unwrap();
            let mut needed = vec![list];
            needed.extend(scan.data_files().iter().map(|file| scan.path_of(file)));
            for path in needed {
                let info = self.storage.info(&path).await;
                assert!(info.is_ok(), "{when}: {path} is lost: {info:?}");
                assert!(!deleted.contains(&path), "{when}: {path} was deleted");
            }
        }
    }

    /// The rows of a table without delete files, by arrow-rs, in order; and its data files.
    pub async fn rows(&self, table: &TableId) -> (Vec<Row>, Vec<String>) {
        let loaded = self.load(table).await;
        let scan = open_snapshot(&*self.storage, table, &loaded.metadata)
            .await
            .unwrap();
        let mut rows = Vec::new();
        let mut files = Vec::new();
        for file in scan.data_files() {
            let path = scan.path_of(file);
            rows.extend(read_table_rows(self.storage.read(&path).await.unwrap()));
            files.push(path);
        }
        rows.sort();
        (rows, files)
    }

    /// Every file below a table's folder, with its size.
    pub async fn files_on_disk(&self, table: &TableId) -> BTreeMap<String, u64> {
        let prefix = format!("{}/{}/", self.folder.path().display(), table.name);
        let mut found = BTreeMap::new();
        let mut next = None;
        loop {
            let page = self.storage.list(&prefix, next.as_deref()).await.unwrap();
            found.extend(
                page.objects
                    .into_iter()
                    .map(|object| (object.location, object.size.get())),
            );
            match page.next {
                Some(token) => next = Some(token),
                None => return found,
            }
        }
    }
}
