//! Appends on a catalog and a storage that live in memory, where a race can be lost on purpose.

use std::{
    collections::HashMap,
    ops::Range,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU32, Ordering},
    },
};

use async_trait::async_trait;
use bytes::Bytes as Buffer;
use iceberg::spec::{
    DataContentType, DataFile, DataFileBuilder, DataFileFormat, FormatVersion, Literal, Manifest,
    ManifestList, NestedField, Operation, PrimitiveType, Schema, SortOrder, Struct, TableMetadata,
    TableMetadataBuilder, Transform, Type, UnboundPartitionSpec,
};
use icepress_catalog::{
    Catalog, CatalogError, CommitError, CommitToken, LoadedTable, TableChange, TablePage,
};
use icepress_model::{
    CatalogName, DatabaseId, MetadataLocation, Namespace, SpecId, TableId, ambient::Ambient,
};
use icepress_storage::{
    DeleteOutcome, ListPage, ObjectInfo, ObjectWriter, PutMode, Storage, StorageError,
    StorageErrorKind, WriteOptions,
};

use super::{
    AddedFile, AppendFailure, RemovedFile, add_delete_files, append_files, overwrite_files,
};
use icepress_table::{CommitContext, CommitPolicy};

#[derive(Debug, Default)]
struct MemoryStorage(Mutex<HashMap<String, Buffer>>);

fn missing(location: &str) -> StorageError {
    StorageError {
        kind: StorageErrorKind::NotFound,
        action: "read",
        location: location.to_owned(),
        source: None,
    }
}

#[async_trait]
impl Storage for MemoryStorage {
    async fn info(&self, location: &str) -> Result<ObjectInfo, StorageError> {
        Err(missing(location))
    }
    async fn read(&self, location: &str) -> Result<Buffer, StorageError> {
        let objects = self.0.lock().unwrap();
        objects
            .get(location)
            .cloned()
            .ok_or_else(|| missing(location))
    }
    async fn read_range(&self, location: &str, _: Range<u64>) -> Result<Buffer, StorageError> {
        Err(missing(location))
    }
    async fn read_ranges(
        &self,
        location: &str,
        _: &[Range<u64>],
    ) -> Result<Vec<Buffer>, StorageError> {
        Err(missing(location))
    }
    async fn put(
        &self,
        location: &str,
        content: Buffer,
        mode: PutMode,
        _: &WriteOptions,
    ) -> Result<(), StorageError> {
        let previous = self.0.lock().unwrap().insert(location.to_owned(), content);
        assert!(
            mode == PutMode::Overwrite || previous.is_none(),
            "{location} was written twice"
        );
        Ok(())
    }
    async fn writer(
        &self,
        location: &str,
        _: &WriteOptions,
    ) -> Result<Box<dyn ObjectWriter>, StorageError> {
        Err(missing(location))
    }
    async fn list(&self, prefix: &str, _: Option<&str>) -> Result<ListPage, StorageError> {
        Err(missing(prefix))
    }
    async fn delete(&self, _: &[String]) -> Vec<DeleteOutcome> {
        Vec::new()
    }
}

/// One table. Loses as many races as it is told to, by an append of `rival` that gets in first.
#[derive(Debug)]
struct MemoryCatalog {
    name: CatalogName,
    current: Mutex<LoadedTable>,
    races_to_lose: AtomicU32,
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
    async fn load(&self, _: &TableId) -> Result<LoadedTable, CatalogError> {
        Ok(self.current.lock().unwrap().clone())
    }
    async fn commit(
        &self,
        base: &LoadedTable,
        change: TableChange,
    ) -> Result<LoadedTable, CommitError> {
        let mut current = self.current.lock().unwrap();
        let lost = self.races_to_lose.load(Ordering::Relaxed) > 0;
        if lost || current.metadata_location != base.metadata_location {
            self.races_to_lose
                .fetch_sub(u32::from(lost), Ordering::Relaxed);
            return Err(CommitError::Conflict(base.table.clone()));
        }
        for requirement in &change.requirements {
            requirement.check(Some(&current.metadata)).unwrap();
        }
        let log = Some(current.metadata_location.to_string());
        let mut builder = TableMetadata::clone(&current.metadata).into_builder(log);
        for update in change.updates {
            builder = update.apply(builder).unwrap();
        }
        current.metadata = Arc::new(builder.build().unwrap().metadata.into());
        current.metadata_location =
            MetadataLocation(format!("{}x", current.metadata_location.as_str()));
        Ok(current.clone())
    }
}

struct World {
    context: CommitContext,
    catalog: Arc<MemoryCatalog>,
    storage: Arc<MemoryStorage>,
    table: TableId,
}

fn world(version: FormatVersion) -> World {
    let schema = Schema::builder()
        .with_fields(vec![
            NestedField::required(1, "id", Type::Primitive(PrimitiveType::Long)).into(),
            NestedField::optional(2, "region", Type::Primitive(PrimitiveType::String)).into(),
        ])
        .build()
        .unwrap();
    let spec = UnboundPartitionSpec::builder()
        .add_partition_field(2, "region", Transform::Identity)
        .unwrap()
        .build();
    let metadata = TableMetadataBuilder::new(
        schema,
        spec,
        SortOrder::unsorted_order(),
        "/warehouse/t".to_owned(),
        version,
        HashMap::new(),
    )
    .unwrap()
    .build()
    .unwrap()
    .metadata;
    let table: TableId = "c.ns.t".parse().unwrap();
    let catalog = Arc::new(MemoryCatalog {
        name: CatalogName::from("c"),
        current: Mutex::new(LoadedTable {
            table: table.clone(),
            metadata_location: MetadataLocation::from("v"),
            metadata: Arc::new(metadata.into()),
            token: CommitToken::default(),
        }),
        races_to_lose: AtomicU32::new(0),
    });
    let storage = Arc::new(MemoryStorage::default());
    World {
        context: CommitContext {
            catalog: Arc::clone(&catalog) as Arc<dyn Catalog>,
            storage: Arc::clone(&storage) as Arc<dyn Storage>,
            ambient: Ambient::system(),
            policy: CommitPolicy {
                attempts: 3,
                first_backoff: std::time::Duration::ZERO,
            },
        },
        catalog,
        storage,
        table,
    }
}

fn file(path: &str, content: DataContentType, region: Option<&str>, rows: u64) -> AddedFile {
    let partition = Struct::from_iter([region.map(Literal::string)]);
    AddedFile {
        spec_id: SpecId(0),
        file: build(path, content, partition, rows),
    }
}

fn build(path: &str, content: DataContentType, partition: Struct, rows: u64) -> DataFile {
    DataFileBuilder::default()
        .content(content)
        .file_path(path.to_owned())
        .file_format(DataFileFormat::Parquet)
        .partition(partition)
        .partition_spec_id(0)
        .record_count(rows)
        .file_size_in_bytes(100)
        .equality_ids((content == DataContentType::EqualityDeletes).then(|| vec![1]))
        .build()
        .unwrap()
}

/// Path, data sequence number and rows of every live file of the current snapshot, sorted.
async fn live(world: &World) -> Vec<(String, i64, u64)> {
    let table = world.context.catalog.load(&world.table).await.unwrap();
    let snapshot = table.metadata.current_snapshot().unwrap();
    let version = table.metadata.format_version();
    let bytes = world.storage.read(snapshot.manifest_list()).await.unwrap();
    let list = ManifestList::parse_with_version(&bytes, version).unwrap();
    let mut files = Vec::new();
    for manifest_file in list.entries() {
        let bytes = world
            .storage
            .read(&manifest_file.manifest_path)
            .await
            .unwrap();
        assert_eq!(manifest_file.manifest_length, bytes.len() as i64);
        let manifest = Manifest::parse_avro(&bytes).unwrap();
        let (entries, _) = manifest.into_parts();
        for entry in entries.into_iter().filter(|entry| entry.is_alive()) {
            files.push((
                entry.file_path().to_owned(),
                // What an entry leaves out it takes from its manifest.
                entry
                    .sequence_number()
                    .unwrap_or(manifest_file.sequence_number),
                entry.record_count(),
            ));
        }
    }
    files.sort();
    files
}

fn total(table: &LoadedTable, name: &str) -> Option<String> {
    let summary = table.metadata.current_snapshot().unwrap().summary();
    summary.additional_properties.get(name).cloned()
}

#[tokio::test]
async fn each_snapshot_keeps_what_was_there_and_adds_its_own() {
    let world = world(FormatVersion::V2);
    let data = |path, region| file(path, DataContentType::Data, region, 10);
    append_files(
        &world.context,
        &world.table,
        &[data("a", Some("eu")), data("b", None)],
    )
    .await
    .unwrap();
    let base = append_files(&world.context, &world.table, &[data("c", Some("us"))])
        .await
        .unwrap();
    let upsert = [
        file("d", DataContentType::EqualityDeletes, Some("eu"), 3),
        file("e", DataContentType::PositionDeletes, Some("us"), 2),
        data("f", Some("eu")),
    ];
    let table = add_delete_files(&world.context, &base, &upsert)
        .await
        .unwrap();

    let expected = [
        ("a", 1, 10),
        ("b", 1, 10),
        ("c", 2, 10),
        ("d", 3, 3),
        ("e", 3, 2),
        ("f", 3, 10),
    ];
    let expected: Vec<_> = expected.map(|(p, s, r)| (p.to_owned(), s, r)).into();
    assert_eq!(live(&world).await, expected);

    let snapshot = table.metadata.current_snapshot().unwrap();
    assert_eq!(snapshot.summary().operation, Operation::Overwrite);
    assert_eq!(snapshot.sequence_number(), 3);
    assert_eq!(
        snapshot.parent_snapshot_id(),
        base.metadata.current_snapshot_id()
    );
    for (name, value) in [
        ("added-data-files", "1"),
        ("added-delete-files", "2"),
        ("added-equality-deletes", "3"),
        ("added-position-deletes", "2"),
        ("total-data-files", "4"),
        ("total-delete-files", "2"),
        ("total-records", "40"),
        ("total-files-size", "600"),
        ("total-equality-deletes", "3"),
        ("total-position-deletes", "2"),
    ] {
        assert_eq!(total(&table, name).as_deref(), Some(value), "{name}");
    }
}

/// The first row ids of the live data files, by path, as a plan sees them.
async fn row_ids(world: &World) -> Vec<(String, Option<i64>)> {
    let table = world.context.catalog.load(&world.table).await.unwrap();
    let storage = world.storage.as_ref();
    let scan = icepress_table::open_snapshot(storage, &world.table, &table.metadata);
    let scan = scan.await.unwrap();
    let files = scan.data_files().iter();
    let id = |file: &icepress_table::scan::DataFileEntry| file.first_row_id().map(|id| id.get());
    let mut ids: Vec<_> = files.map(|file| (scan.path_of(file), id(file))).collect();
    ids.sort();
    ids
}

#[tokio::test]
async fn rows_of_version_3_get_ids_and_those_from_before_the_upgrade_too() {
    let world = world(FormatVersion::V2);
    let data = |path, rows| file(path, DataContentType::Data, Some("eu"), rows);
    let old = [data("a", 10), data("b", 5)];
    append_files(&world.context, &world.table, &old)
        .await
        .unwrap();
    let format_version = FormatVersion::V3;
    let upgrade = iceberg::TableUpdate::UpgradeFormatVersion { format_version };
    let base = world.context.catalog.load(&world.table).await.unwrap();
    let change = icepress_catalog::TableChange {
        requirements: Vec::new(),
        updates: vec![upgrade],
    };
    world.context.catalog.commit(&base, change).await.unwrap();
    let expected = [("a", None), ("b", None)];
    assert_eq!(
        row_ids(&world).await,
        expected.map(|(path, id)| (path.to_owned(), id))
    );

    let files = [data("c", 7), data("d", 1)];
    append_files(&world.context, &world.table, &files)
        .await
        .unwrap();
    let base = append_files(&world.context, &world.table, &[data("e", 2)])
        .await
        .unwrap();
    let vector = AddedFile {
        spec_id: SpecId(0),
        file: DataFileBuilder::default()
            .content(DataContentType::PositionDeletes)
            .file_path("v.puffin".to_owned())
            .file_format(DataFileFormat::Puffin)
            .partition(Struct::from_iter([Some(Literal::string("eu"))]))
            .record_count(2)
            .file_size_in_bytes(100)
            .referenced_data_file(Some("a".to_owned()))
            .content_offset(Some(4))
            .content_size_in_bytes(Some(40))
            .build()
            .unwrap(),
    };
    let table = add_delete_files(&world.context, &base, &[vector])
        .await
        .unwrap();
    // The new manifest comes first, then those from before.
    let expected = [("a", 8), ("b", 18), ("c", 0), ("d", 7), ("e", 23)];
    assert_eq!(
        row_ids(&world).await,
        expected.map(|(path, id)| (path.to_owned(), Some(id)))
    );
    assert_eq!(table.metadata.next_row_id(), 25);
    let snapshots = table.metadata.snapshots();
    let mut ranges: Vec<_> = snapshots.map(|snapshot| snapshot.row_range()).collect();
    ranges.sort_unstable();
    assert_eq!(ranges, [None, Some((0, 23)), Some((23, 2)), Some((25, 0))]);
    let deletes = live(&world)
        .await
        .into_iter()
        .filter(|file| file.0 == "v.puffin");
    assert_eq!(deletes.count(), 1);
}

#[tokio::test]
async fn files_go_out_and_others_keep_their_numbers() {
    for (version, numbers) in [(FormatVersion::V1, [0, 0]), (FormatVersion::V2, [1, 2])] {
        let world = world(version);
        let data = |path, rows| file(path, DataContentType::Data, Some("eu"), rows);
        let base = append_files(&world.context, &world.table, &[data("a", 10), data("b", 5)])
            .await
            .unwrap();
        let gone = |path: &str| RemovedFile {
            path: path.to_owned(),
            content_offset: None,
        };
        let table = overwrite_files(&world.context, &base, &[data("c", 1)], &[gone("a")])
            .await
            .unwrap();
        let [first, second] = numbers;
        let expected = [("b".to_owned(), first, 5), ("c".to_owned(), second, 1)];
        assert_eq!(live(&world).await, expected);
        let operation = &table
            .metadata
            .current_snapshot()
            .unwrap()
            .summary()
            .operation;
        assert_eq!(*operation, Operation::Overwrite);
        for (name, value) in [
            ("deleted-data-files", "1"),
            ("deleted-records", "10"),
            ("total-data-files", "2"),
            ("total-records", "6"),
            ("total-files-size", "200"),
        ] {
            assert_eq!(total(&table, name).as_deref(), Some(value), "{name}");
        }
        // It has a tombstone, and is not live.
        let again = overwrite_files(&world.context, &table, &[], &[gone("a")]).await;
        let refused = again.unwrap_err().to_string();
        assert!(refused.contains("is not in the table"), "{refused}");
        let table = overwrite_files(&world.context, &table, &[], &[gone("b")])
            .await
            .unwrap();
        let operation = &table
            .metadata
            .current_snapshot()
            .unwrap()
            .summary()
            .operation;
        assert_eq!(*operation, Operation::Delete);
    }
}

#[tokio::test]
async fn a_table_of_version_1_gets_data_at_sequence_number_0_and_no_deletes() {
    let world = world(FormatVersion::V1);
    let base = append_files(
        &world.context,
        &world.table,
        &[file("a", DataContentType::Data, None, 1)],
    )
    .await
    .unwrap();
    assert_eq!(live(&world).await, [("a".to_owned(), 0, 1)]);
    let deletes = [file("d", DataContentType::PositionDeletes, None, 1)];
    let refused = add_delete_files(&world.context, &base, &deletes)
        .await
        .unwrap_err();
    assert!(
        refused.to_string().contains("format version 1 has none"),
        "{refused}"
    );
}

#[tokio::test]
async fn an_append_tries_again_after_a_lost_race_and_deletes_do_not() {
    let world = world(FormatVersion::V2);
    world.catalog.races_to_lose.store(2, Ordering::Relaxed);
    let data = [file("a", DataContentType::Data, None, 1)];
    let base = append_files(&world.context, &world.table, &data)
        .await
        .unwrap();
    assert_eq!(live(&world).await, [("a".to_owned(), 1, 1)]);

    world.catalog.races_to_lose.store(3, Ordering::Relaxed);
    let more = [file("b", DataContentType::Data, None, 1)];
    let lost = append_files(&world.context, &world.table, &more)
        .await
        .unwrap_err();
    assert!(matches!(lost, AppendFailure::RaceLost { .. }), "{lost}");

    world.catalog.races_to_lose.store(1, Ordering::Relaxed);
    let deletes = [file("d", DataContentType::PositionDeletes, None, 1)];
    let lost = add_delete_files(&world.context, &base, &deletes)
        .await
        .unwrap_err();
    assert!(
        matches!(lost, AppendFailure::RaceLost { attempts: 1, .. }),
        "{lost}"
    );
    assert_eq!(live(&world).await, [("a".to_owned(), 1, 1)]);
}

#[tokio::test]
async fn files_that_can_not_be_in_the_table_are_refused_by_name() {
    let world = world(FormatVersion::V2);
    let refuse = async |added: AddedFile| {
        append_files(&world.context, &world.table, &[added])
            .await
            .unwrap_err()
            .to_string()
    };
    let delete = file("d.parquet", DataContentType::EqualityDeletes, None, 1);
    assert!(refuse(delete).await.contains("d.parquet is a delete file"));
    let mut unknown_spec = file("u.parquet", DataContentType::Data, None, 1);
    unknown_spec.spec_id = SpecId(7);
    assert!(
        refuse(unknown_spec)
            .await
            .contains("u.parquet is of partition spec 7")
    );
    let no_partition = AddedFile {
        spec_id: SpecId(0),
        file: build("n.parquet", DataContentType::Data, Struct::empty(), 1),
    };
    assert!(
        refuse(no_partition)
            .await
            .contains("n.parquet has 0 partition values")
    );
    assert!(
        world.storage.0.lock().unwrap().is_empty(),
        "nothing may be written"
    );
}
