use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use iceberg::{
    TableCreation, TableUpdate,
    spec::{
        BlobMetadata, Operation, Schema, Snapshot, SnapshotReference, SnapshotRetention,
        StatisticsFile, Summary,
    },
};
use icepress_model::{
    CatalogName, MetadataLocation, Namespace, TableId, TimestampMs,
    ambient::{Ambient, Clock, Randomness},
};
use icepress_storage::{LocalStorage, Storage};

use super::{next_version, read_metadata, stage_metadata, stage_new_table};
use crate::{CatalogError, CommitError, CommitToken, LoadedTable, TableChange};

mod defaults;
mod dialects;
mod old;
mod settle;
mod thin;

/// Time that stands still, and numbers that count.
#[derive(Debug, Default)]
struct Still(AtomicU64);

#[async_trait]
impl Clock for Still {
    fn now(&self) -> TimestampMs {
        TimestampMs(1_000_000)
    }
    fn monotonic(&self) -> Duration {
        Duration::ZERO
    }
    async fn sleep(&self, _duration: Duration) {}
}

impl Randomness for Still {
    fn next_u64(&self) -> u64 {
        self.0.fetch_add(1, Ordering::Relaxed)
    }
}

fn still() -> Ambient {
    let still = Arc::new(Still::default());
    Ambient {
        clock: Arc::clone(&still) as Arc<dyn Clock>,
        random: still,
    }
}

fn table() -> TableId {
    TableId {
        catalog: CatalogName::from("c"),
        namespace: Namespace::from_dotted("n"),
        name: "t".to_owned(),
    }
}

async fn new_table(ambient: &Ambient, root: &str, properties: &[(&str, &str)]) -> LoadedTable {
    let creation = TableCreation::builder()
        .name("t".to_owned())
        .location(format!("{root}/t/"))
        .schema(Schema::builder().build().unwrap())
        .properties(
            properties
                .iter()
                .map(|(key, value)| ((*key).to_owned(), (*value).to_owned())),
        )
        .build();
    let staged = stage_new_table(&LocalStorage::new(), ambient, &table(), creation)
        .await
        .unwrap();
    LoadedTable {
        table: table(),
        metadata_location: staged.location,
        metadata: staged.metadata,
        token: CommitToken::default(),
    }
}

fn snapshot(id: i64, sequence_number: i64) -> Vec<TableUpdate> {
    let snapshot = Snapshot::builder()
        .with_snapshot_id(id)
        .with_sequence_number(sequence_number)
        .with_timestamp_ms(1_000_000 + sequence_number)
        .with_manifest_list(format!("/list/{id}"))
        .with_summary(Summary {
            operation: Operation::Append,
            additional_properties: (0..10)
                .map(|i| (format!("key-{i}"), i.to_string()))
                .collect(),
        })
        .build();
    let reference = SnapshotReference::new(
        id,
        SnapshotRetention::Branch {
            min_snapshots_to_keep: None,
            max_snapshot_age_ms: None,
            max_ref_age_ms: None,
        },
    );
    vec![
        TableUpdate::AddSnapshot { snapshot },
        TableUpdate::SetSnapshotRef {
            ref_name: "main".to_owned(),
            reference,
        },
    ]
}

async fn stage(
    ambient: &Ambient,
    base: &LoadedTable,
    updates: Vec<TableUpdate>,
) -> Result<LoadedTable, CommitError> {
    let change = TableChange {
        requirements: Vec::new(),
        updates,
    };
    let staged = stage_metadata(&LocalStorage::new(), ambient, base, change).await?;
    Ok(LoadedTable {
        table: table(),
        metadata_location: staged.location,
        metadata: staged.metadata,
        token: CommitToken::default(),
    })
}

fn properties(pairs: &[(&str, &str)]) -> Vec<TableUpdate> {
    vec![TableUpdate::SetProperties {
        updates: pairs
            .iter()
            .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
            .collect::<HashMap<_, _>>(),
    }]
}

fn statistics(snapshot_id: i64) -> Vec<TableUpdate> {
    let said = |i: i32| (format!("key-{i}"), i.to_string());
    let statistics = StatisticsFile {
        snapshot_id,
        statistics_path: "/statistics".to_owned(),
        file_size_in_bytes: 10,
        file_footer_size_in_bytes: 5,
        key_metadata: None,
        blob_metadata: vec![BlobMetadata {
            r#type: "apache-datasketches-theta-v1".to_owned(),
            snapshot_id,
            sequence_number: 1,
            fields: vec![1],
            properties: (0..10).map(said).collect(),
        }],
    };
    vec![TableUpdate::SetStatistics { statistics }]
}

#[tokio::test]
async fn the_same_history_gives_the_same_bytes() {
    let mut runs = Vec::new();
    for _ in 0..3 {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().display().to_string();
        let ambient = still();
        let many: Vec<(String, String)> =
            (0..20).map(|i| (format!("p{i}"), i.to_string())).collect();
        let many: Vec<(&str, &str)> = many.iter().map(|(key, value)| (&**key, &**value)).collect();
        let mut state = new_table(&ambient, &root, &many).await;
        for id in 1..=8 {
            state = stage(&ambient, &state, snapshot(id * 7919 % 13, id))
                .await
                .unwrap();
        }
        state = stage(&ambient, &state, properties(&[("x", "y")]))
            .await
            .unwrap();
        state = stage(&ambient, &state, statistics(7919 % 13))
            .await
            .unwrap();
        let content = LocalStorage::new()
            .read(state.metadata_location.as_str())
            .await
            .unwrap();
        let text = String::from_utf8(content.to_vec()).unwrap();
        runs.push((
            state.metadata_location.as_str().replace(&root, ""),
            text.replace(&root, ""),
        ));
    }
    assert_eq!(runs[0], runs[1]);
    assert_eq!(runs[0], runs[2]);
    let json: serde_json::Value = serde_json::from_str(&runs[0].1).unwrap();
    // Not before the snapshot, although the clock is.
    assert_eq!(json["last-updated-ms"], 1_000_008);
    let order: Vec<i64> = json["snapshots"]
        .as_array()
        .unwrap()
        .iter()
        .map(|snapshot| snapshot["sequence-number"].as_i64().unwrap())
        .collect();
    assert_eq!(order, [1, 2, 3, 4, 5, 6, 7, 8]);
}

#[tokio::test]
async fn gzip_and_a_folder_of_its_own_are_honoured() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().display().to_string();
    let ambient = still();
    let other = format!("{root}/elsewhere/");
    let base = new_table(&ambient, &root, &[]).await;
    assert!(
        base.metadata_location
            .as_str()
            .starts_with(&format!("{root}/t/metadata/00000-"))
    );
    let updates = properties(&[
        ("write.metadata.compression-codec", "GZIP"),
        ("write.metadata.path", &other),
    ]);
    let next = stage(&ambient, &base, updates).await.unwrap();
    let location = next.metadata_location.as_str();
    assert!(
        location.starts_with(&format!("{other}00001-")),
        "{location}"
    );
    assert!(location.ends_with(".gz.metadata.json"), "{location}");
    let content = LocalStorage::new().read(location).await.unwrap();
    assert_eq!(content[..2], [0x1f, 0x8b]);
    let read = read_metadata(&LocalStorage::new(), &table(), &next.metadata_location)
        .await
        .unwrap();
    assert_eq!(read, *next.metadata);
    assert_eq!(
        read.metadata_log()[0].metadata_file,
        base.metadata_location.as_str()
    );

    let updates = properties(&[("write.metadata.compression-codec", "brotli")]);
    let error = stage(&ambient, &next, updates).await.unwrap_err();
    assert!(
        matches!(&error, CommitError::Refused(CatalogError::MetadataInvalid { message, .. }) if message.contains("brotli")),
        "{error}"
    );
}

#[tokio::test]
async fn the_log_of_metadata_files_keeps_its_length() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().display().to_string();
    let ambient = still();
    let mut state = new_table(
        &ambient,
        &root,
        &[("write.metadata.previous-versions-max", "2")],
    )
    .await;
    let mut locations = Vec::new();
    for turn in 0..4 {
        locations.push(state.metadata_location.to_string());
        state = stage(&ambient, &state, properties(&[("turn", &turn.to_string())]))
            .await
            .unwrap();
    }
    let log: Vec<&str> = state
        .metadata
        .metadata_log()
        .iter()
        .map(|entry| entry.metadata_file.as_str())
        .collect();
    assert_eq!(log, locations[2..]);
}

#[tokio::test]
async fn a_change_that_makes_no_valid_table_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let base = new_table(&still(), &folder.path().display().to_string(), &[]).await;
    let error = stage(
        &still(),
        &base,
        vec![TableUpdate::SetCurrentSchema { schema_id: 99 }],
    )
    .await
    .unwrap_err();
    assert!(
        matches!(
            &error,
            CommitError::Refused(CatalogError::MetadataInvalid { .. })
        ),
        "{error}"
    );
    assert!(
        error.to_string().contains(base.metadata_location.as_str()),
        "{error}"
    );
}

#[test]
fn versions_are_counted_on_as_java_counts_them() {
    for (location, version) in [
        ("s3://b/t/metadata/00041-8a1e.metadata.json", 42),
        ("s3://b/t/metadata/00041-8a1e.gz.metadata.json", 42),
        ("/t/metadata/v7.metadata.json", 0),
        ("/t/metadata/custom-name.json", 0),
        ("/t-1/metadata/99999-x", 100_000),
    ] {
        assert_eq!(
            next_version(&MetadataLocation::from(location)),
            version,
            "{location}"
        );
    }
}

/// A v1 table as Java leaves it: an identity partition was dropped (a void field of the column's name remains), and with
/// a tag.
fn v1_metadata(root: &str) -> serde_json::Value {
    let snapshots = [10, 11].map(|id| {
        serde_json::json!({
            "snapshot-id": id,
            "timestamp-ms": 900 + id,
            "manifest-list": format!("/list/{id}"),
            "schema-id": 0,
            "summary": { "operation": "append" },
        })
    });
    let log = [10, 11].map(|id| serde_json::json!({ "snapshot-id": id, "timestamp-ms": 900 + id }));
    serde_json::json!({
        "format-version": 1,
        "table-uuid": "9c12d441-03fe-4693-9a96-a0705ddf69c1",
        "location": format!("{root}/t"),
        "last-updated-ms": 1000,
        "last-column-id": 2,
        "schema": { "type": "struct", "schema-id": 0, "fields": [
            { "id": 1, "name": "id", "required": false, "type": "long" },
            { "id": 2, "name": "city", "required": false, "type": "string" },
        ] },
        "schemas": [{ "type": "struct", "schema-id": 0, "fields": [
            { "id": 1, "name": "id", "required": false, "type": "long" },
            { "id": 2, "name": "city", "required": false, "type": "string" },
        ] }],
        "current-schema-id": 0,
        "partition-spec": [{ "name": "city", "transform": "void", "source-id": 2, "field-id": 1000 }],
        "partition-specs": [
            { "spec-id": 0, "fields": [{ "name": "city", "transform": "identity", "source-id": 2, "field-id": 1000 }] },
            { "spec-id": 1, "fields": [{ "name": "city", "transform": "void", "source-id": 2, "field-id": 1000 }] },
        ],
        "default-spec-id": 1,
        "last-partition-id": 1000,
        "default-sort-order-id": 3,
        "sort-orders": [{ "order-id": 3, "fields": [
            { "transform": "identity", "source-id": 1, "direction": "asc", "null-order": "nulls-first" },
        ] }],
        "properties": {},
        "current-snapshot-id": 11,
        "refs": {
            "main": { "snapshot-id": 11, "type": "branch" },
            "kept": { "snapshot-id": 10, "type": "tag", "max-ref-age-ms": 5 },
        },
        "snapshots": snapshots,
        "snapshot-log": log,
        "metadata-log": [],
    })
}

async fn loaded_from(folder: &std::path::Path, json: &serde_json::Value) -> LoadedTable {
    let location = MetadataLocation(format!("{}/00007-base.metadata.json", folder.display()));
    std::fs::write(location.as_str(), json.to_string()).unwrap();
    let metadata = read_metadata(&LocalStorage::new(), &table(), &location)
        .await
        .unwrap();
    LoadedTable {
        table: table(),
        metadata_location: location,
        metadata: Arc::new(metadata),
        token: CommitToken::default(),
    }
}

async fn written(state: &LoadedTable) -> serde_json::Value {
    let content = LocalStorage::new()
        .read(state.metadata_location.as_str())
        .await
        .unwrap();
    serde_json::from_slice(&content).unwrap()
}

#[tokio::test]
async fn a_v1_table_keeps_its_void_fields_its_tags_and_its_sort_order() {
    let folder = tempfile::tempdir().unwrap();
    let before = v1_metadata(&folder.path().display().to_string());
    let base = loaded_from(folder.path(), &before).await;
    let next = stage(&still(), &base, snapshot(12, 0)).await.unwrap();
    let after = written(&next).await;
    for key in [
        "partition-spec",
        "partition-specs",
        "default-spec-id",
        "last-partition-id",
        "sort-orders",
        "default-sort-order-id",
        "schemas",
        "current-schema-id",
        "table-uuid",
        "location",
    ] {
        assert_eq!(after[key], before[key], "{key}");
    }
    assert_eq!(after["refs"]["main"]["snapshot-id"], 12);
    assert_eq!(after["refs"]["kept"], before["refs"]["kept"]);
    assert_eq!(after["current-snapshot-id"], 12);
    assert_eq!(
        after["metadata-log"][0]["metadata-file"],
        base.metadata_location.as_str()
    );
    assert_eq!(next.metadata.current_snapshot_id(), Some(12));

    let updates = vec![TableUpdate::RemoveSnapshots {
        snapshot_ids: vec![10],
    }];
    let last = stage(&still(), &next, updates).await.unwrap();
    let refs = written(&last).await["refs"].clone();
    assert_eq!(
        refs.as_object().unwrap().keys().collect::<Vec<_>>(),
        ["main"]
    );
}

#[tokio::test]
async fn c31_a_v1_table_has_all_its_branches_and_tags() {
    let folder = tempfile::tempdir().unwrap();
    let mut json = v1_metadata(&folder.path().display().to_string());
    let names = |state: &LoadedTable| -> Vec<String> {
        let refs = state.metadata.refs().unwrap();
        refs.into_keys().collect()
    };
    let base = loaded_from(folder.path(), &json).await;
    assert_eq!(names(&base), ["kept", "main"]);

    // The first tag of a table that had none.
    json.as_object_mut().unwrap().remove("refs");
    let bare = loaded_from(folder.path(), &json).await;
    assert_eq!(names(&bare), ["main"]);
    let retention = SnapshotRetention::Tag {
        max_ref_age_ms: None,
    };
    let tagged = TableUpdate::SetSnapshotRef {
        ref_name: "first".to_owned(),
        reference: SnapshotReference::new(10, retention),
    };
    let tagged = stage(&still(), &bare, vec![tagged]).await.unwrap();
    assert_eq!(names(&tagged), ["first", "main"]);
    assert_eq!(written(&tagged).await["refs"]["main"]["snapshot-id"], 11);

    // What can't be read keeps nobody from reading the table, and from saying so.
    json["refs"] = serde_json::json!({ "odd": { "snapshot-id": 10, "type": "twig" } });
    let text = json.to_string();
    let odd = super::parse_metadata(&table(), &base.metadata_location, text.as_bytes()).unwrap();
    assert!(odd.refs().unwrap_err().contains("odd"));
}

#[tokio::test]
async fn a_change_of_the_spec_itself_is_still_judged() {
    let folder = tempfile::tempdir().unwrap();
    let base = loaded_from(
        folder.path(),
        &v1_metadata(&folder.path().display().to_string()),
    )
    .await;
    let error = stage(
        &still(),
        &base,
        vec![TableUpdate::SetDefaultSpec { spec_id: 1 }],
    )
    .await
    .unwrap_err();
    assert!(error.to_string().contains("'city'"), "{error}");
    // A change that is wrong by itself is told as such, not by what was tried around it.
    let error = stage(&still(), &base, vec![snapshot(11, 0).remove(0)])
        .await
        .unwrap_err();
    assert!(matches!(error, CommitError::Refused(_)), "{error}");
}

/// What Java leaves in a version 1 table whose partitioning by `city` was given up.
#[tokio::test]
async fn a_void_partition_field_may_be_named_as_a_column() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().to_str().unwrap();
    let ambient = still();
    let loaded = new_table(&ambient, root, &[]).await;
    let mut json = serde_json::to_value(&**loaded.metadata).unwrap();
    json["schemas"][0]["fields"] =
        serde_json::json!([{"id": 1, "name": "city", "type": "string", "required": false}]);
    json["last-column-id"] = 1.into();
    let field = serde_json::json!({
        "source-id": 1, "field-id": 1000, "name": "city", "transform": "void",
    });
    json["partition-specs"][0]["fields"] = serde_json::json!([field]);
    json["last-partition-id"] = 1000.into();
    let loaded = loaded_from(folder.path(), &json).await;
    let storage = LocalStorage::new();
    let change = TableChange {
        requirements: Vec::new(),
        updates: snapshot(7, 1),
    };
    let staged = stage_metadata(&storage, &ambient, &loaded, change)
        .await
        .unwrap();
    assert_eq!(staged.metadata.current_snapshot_id(), Some(7));
    let spec = staged.metadata.default_partition_spec();
    assert_eq!(spec.fields()[0].name, "city");
    let location = &staged.location;
    let read = read_metadata(&storage, &loaded.table, location).await;
    assert_eq!(read.unwrap(), *staged.metadata);
}

/// In version 1 a partition field is made void and stays for ever; its column may go, and the table is as good as before.
/// It is a table of version 2 or 3 later.
#[tokio::test]
async fn a_void_field_outlives_its_column() {
    for version in [1, 2] {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().display().to_string();
        let mut before = v1_metadata(&root);
        before["schema"]["fields"].as_array_mut().unwrap().pop();
        before["schemas"][0]["fields"].as_array_mut().unwrap().pop();
        if version == 2 {
            let old = before.as_object_mut().unwrap();
            old.remove("schema");
            old.remove("partition-spec");
            before["format-version"] = 2.into();
            before["last-sequence-number"] = 1.into();
        }
        let base = loaded_from(folder.path(), &before).await;
        let spec = base.metadata.default_partition_spec();
        assert_eq!(
            (spec.spec_id(), spec.fields()[0].name.as_str()),
            (1, "city")
        );
        let sequence_number = if version == 1 { 0 } else { 2 };
        let next = stage(&still(), &base, snapshot(12, sequence_number))
            .await
            .unwrap();
        let after = written(&next).await;
        for key in ["partition-spec", "partition-specs", "default-spec-id"] {
            assert_eq!(
                after.get(key),
                before.get(key),
                "{key} of version {version}"
            );
        }
        assert_eq!(after["current-snapshot-id"], 12);
        assert_eq!(next.metadata.current_snapshot_id(), Some(12));
    }
}

/// The `iceberg` crate can't read these; the table is left alone with one line.
#[tokio::test]
async fn a_partition_field_without_its_column_is_told_in_one_line() {
    let folder = tempfile::tempdir().unwrap();
    let mut json = v1_metadata(&folder.path().display().to_string());
    json["default-spec-id"] = 0.into();
    json["schema"]["fields"].as_array_mut().unwrap().pop();
    json["schemas"][0]["fields"].as_array_mut().unwrap().pop();
    let location = MetadataLocation(format!(
        "{}/00007-base.metadata.json",
        folder.path().display()
    ));
    std::fs::write(location.as_str(), json.to_string()).unwrap();
    let error = read_metadata(&LocalStorage::new(), &table(), &location)
        .await
        .unwrap_err();
    let message = error.to_string();
    assert!(
        message.contains("No column with source column id 2"),
        "{message}"
    );
    assert!(message.len() < 300 && !message.contains('\n'), "{message}");
}

#[tokio::test]
async fn metadata_that_would_fill_the_memory_is_refused() {
    use std::io::Write as _;
    let folder = tempfile::tempdir().unwrap();
    let location = format!("{}/bomb.gz.metadata.json", folder.path().display());
    let mut bomb = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    let blanks = vec![b' '; 1 << 20];
    for _ in 0..80 {
        bomb.write_all(&blanks).unwrap();
    }
    bomb.write_all(b"{}").unwrap();
    std::fs::write(&location, bomb.finish().unwrap()).unwrap();
    let location = MetadataLocation(location);
    let error = read_metadata(&LocalStorage::new(), &table(), &location).await;
    let message = error.unwrap_err().to_string();
    assert!(message.contains("when decompressed"), "{message}");
}

/// Metadata of format version 3 as Java writes it, with these columns and one snapshot.
fn v3_metadata(fields: &serde_json::Value, snapshot: &serde_json::Value) -> Vec<u8> {
    let id = snapshot["snapshot-id"].clone();
    let json = serde_json::json!({
        "format-version": 3,
        "table-uuid": "9c12d441-03fe-4693-9a96-a0705ddf69c1",
        "location": "/t",
        "last-sequence-number": 0,
        "next-row-id": 0,
        "last-updated-ms": 1,
        "last-column-id": 9,
        "current-schema-id": 0,
        "schemas": [{"type": "struct", "schema-id": 0, "fields": fields}],
        "default-spec-id": 0,
        "partition-specs": [{"spec-id": 0, "fields": []}],
        "last-partition-id": 999,
        "default-sort-order-id": 0,
        "sort-orders": [{"order-id": 0, "fields": []}],
        "properties": {},
        "current-snapshot-id": id,
        "refs": {"main": {"snapshot-id": id, "type": "branch"}},
        "snapshots": [snapshot],
        "snapshot-log": [],
        "metadata-log": [],
    });
    json.to_string().into_bytes()
}

fn snapshot_of_v1() -> serde_json::Value {
    serde_json::json!({
        "snapshot-id": 5, "timestamp-ms": 1, "manifest-list": "/t/list.avro", "schema-id": 0,
        "summary": {"operation": "append"},
    })
}

fn parsed(fields: serde_json::Value) -> Result<super::Metadata, CatalogError> {
    let json = v3_metadata(&fields, &snapshot_of_v1());
    super::parse_metadata(&table(), &MetadataLocation::from("/t/m.json"), &json)
}

/// The crate wants a sequence number with each snapshot of a v3 table; Java leaves a 0 out.
#[test]
fn c22_a_table_that_was_v1_is_read_as_v3() {
    let metadata = parsed(serde_json::json!([
        {"id": 1, "name": "id", "required": true, "type": "long"},
    ]));
    let metadata = metadata.unwrap();
    assert_eq!(metadata.current_snapshot().unwrap().sequence_number(), 0);
    assert_eq!(metadata.next_row_id(), 0);
}

#[test]
fn types_that_nobody_knows_are_named_wherever_they_are() {
    let inside = serde_json::json!({"type": "struct", "fields": [
        {"id": 3, "name": "list", "required": false, "type": {
            "type": "list", "element-id": 4, "element-required": false, "element": "geography(srid:4269, karney)"}},
    ]});
    let map = serde_json::json!({"type": "map", "key-id": 3, "key": "string", "value-id": 4,
        "value-required": false, "value": "unknown"});
    let alone = serde_json::json!({"type": "struct", "fields": [
        {"id": 3, "name": "nothing", "required": false, "type": "unknown"}]});
    for (kind, said) in [
        (serde_json::json!("variant"), "'odd' is of type variant"),
        (serde_json::json!("geometry"), "'odd' is of type geometry"),
        (
            inside,
            "'odd.list.element' is of type geography(srid:4269, karney)",
        ),
        (map, "'odd.value' is of type unknown"),
        (alone, "'odd.nothing' is of type unknown"),
    ] {
        let error = parsed(serde_json::json!([
            {"id": 1, "name": "id", "required": true, "type": "decimal(9,2)"},
            {"id": 2, "name": "odd", "required": false, "type": kind},
        ]));
        let error = error.unwrap_err();
        assert!(matches!(error, CatalogError::Unsupported { .. }), "{error}");
        assert!(error.to_string().contains(said), "{error}");
        assert!(!error.to_string().contains('\n'));
    }
}

/// Columns without values are in no file: the table is maintained without them, and keeps them. So it does whatever else the
/// crate does not take in of its schemas.
#[tokio::test]
async fn columns_of_type_unknown_stay_in_the_metadata() {
    let fields = serde_json::json!([
        {"id": 1, "name": "id", "required": true, "type": "long", "of-tomorrow": "kept"},
        {"id": 2, "name": "nothing", "required": false, "type": "unknown"},
        {"id": 3, "name": "s", "required": false, "type": {"type": "struct", "fields": [
            {"id": 4, "name": "x", "required": false, "type": "int", "initial-default": 5},
            {"id": 5, "name": "nothing", "required": false, "type": "unknown"},
        ]}},
        {"id": 6, "name": "at", "required": false, "type": "timestamp_ns",
         "write-default": "2026-01-01T00:00:00.000000001"},
    ]);
    let folder = tempfile::tempdir().unwrap();
    let mut before: serde_json::Value =
        serde_json::from_slice(&v3_metadata(&fields, &snapshot_of_v1())).unwrap();
    before["location"] = serde_json::json!(folder.path().display().to_string());
    let base = loaded_from(folder.path(), &before).await;
    let columns = base.metadata.current_schema();
    assert!(columns.field_by_id(1).is_some() && columns.field_by_id(4).is_some());
    assert!(columns.field_by_id(2).is_none() && columns.field_by_id(5).is_none());
    let key = ("a".to_owned(), "b".to_owned());
    let updates = vec![TableUpdate::SetProperties {
        updates: HashMap::from([key]),
    }];
    let next = stage(&still(), &base, updates).await.unwrap();
    let after = written(&next).await;
    assert_eq!(after["schemas"], before["schemas"]);
    assert_eq!(after["properties"]["a"], "b");
    // What a partition spec names can't be left out.
    before["partition-specs"][0]["fields"] = serde_json::json!([
        {"source-id": 2, "field-id": 1000, "name": "p", "transform": "void"}]);
    let json = before.to_string().into_bytes();
    let refused = super::parse_metadata(&table(), &MetadataLocation::from("/m.json"), &json);
    let refused = refused.unwrap_err().to_string();
    assert!(
        refused.contains("'nothing' is of type unknown"),
        "{refused}"
    );
}
