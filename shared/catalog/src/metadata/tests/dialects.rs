//! Metadata files as others write them: what Iceberg Java reads is read, what is refused names the field, and what we did
//! not change is in the next file as it was.

use iceberg::spec::{FormatVersion, Operation};
use icepress_model::MetadataLocation;
use icepress_storage::{LocalStorage, PutMode, Storage as _, WriteOptions};
use serde_json::{Value, json};

use super::{snapshot, stage, still, table};
use crate::{
    CommitToken, LoadedTable,
    metadata::{Metadata, parse_metadata},
};

/// How a sound metadata file is changed.
type Change = fn(&mut Value);

/// A table of version 2 with two snapshots.
fn plain() -> Value {
    let snapshot = |id: i64| {
        json!({
            "snapshot-id": id, "sequence-number": id, "timestamp-ms": 1_000 + id, "schema-id": 0,
            "manifest-list": format!("/list/{id}"), "summary": {"operation": "append", "added-records": "3"},
        })
    };
    let mut second = snapshot(2);
    second["parent-snapshot-id"] = json!(1);
    json!({
        "format-version": 2, "table-uuid": "aaaaaaaa-0000-4000-8000-00000000000a", "location": "/t",
        "last-sequence-number": 2, "last-updated-ms": 1_002, "last-column-id": 2, "current-schema-id": 0,
        "schemas": [{"type": "struct", "schema-id": 0, "fields": [
            {"id": 1, "name": "id", "required": false, "type": "long"},
            {"id": 2, "name": "day", "required": false, "type": "date"}]}],
        "default-spec-id": 0, "partition-specs": [{"spec-id": 0, "fields": [
            {"source-id": 2, "field-id": 1000, "name": "day", "transform": "identity"}]}],
        "last-partition-id": 1000, "default-sort-order-id": 0,
        "sort-orders": [{"order-id": 0, "fields": []}], "properties": {"owner": "me"},
        "current-snapshot-id": 2, "snapshots": [snapshot(1), second],
        "refs": {"main": {"snapshot-id": 2, "type": "branch"}},
        "snapshot-log": [{"snapshot-id": 1, "timestamp-ms": 1_001}, {"snapshot-id": 2, "timestamp-ms": 1_002}],
        "metadata-log": [],
    })
}

fn parse(metadata: &Value) -> Result<Metadata, String> {
    let location = MetadataLocation::from("m.json");
    let json = serde_json::to_vec(metadata).unwrap();
    parse_metadata(&table(), &location, &json).map_err(|error| error.to_string())
}

fn changed(change: impl FnOnce(&mut Value)) -> Value {
    let mut metadata = plain();
    change(&mut metadata);
    metadata
}

fn without(metadata: &mut Value, keys: &[&str]) {
    for key in keys {
        metadata.as_object_mut().unwrap().remove(*key);
    }
}

fn each_snapshot(metadata: &mut Value, change: impl Fn(&mut Value)) {
    let snapshots = metadata["snapshots"].as_array_mut().unwrap();
    snapshots.iter_mut().for_each(change);
}

/// apache/iceberg #11421, #11354, and what BigQuery, ClickHouse, Spark and Snowflake write.
#[test]
fn c67_what_java_reads_is_read() {
    let read: [(&str, Change); 23] = [
        ("a branch in capitals", |m| {
            m["refs"]["main"]["type"] = json!("BRANCH")
        }),
        ("a type in capitals", |m| {
            m["schemas"][0]["fields"][0]["type"] = json!("LONG")
        }),
        ("a type in capitals, deeper", |m| {
            m["schemas"][0]["fields"][0]["type"] = json!({"type": "list", "element-id": 3, "element": "Decimal(9, 2)", "element-required": false});
            m["last-column-id"] = json!(3)
        }),
        ("a transform in capitals", |m| {
            m["partition-specs"][0]["fields"][0]["transform"] = json!("Identity")
        }),
        ("a schema without an id", |m| {
            without(&mut m["schemas"][0], &["schema-id"])
        }),
        ("an order that nobody knows", |m| {
            let field = json!({"transform": "zorder(16)", "source-id": 1, "direction": "ASC", "null-order": "NULLS-FIRST"});
            m["sort-orders"] =
                json!([{"order-id": 0, "fields": []}, {"order-id": 1, "fields": [field]}]);
            m["default-sort-order-id"] = json!(1)
        }),
        ("no summary", |m| {
            each_snapshot(m, |s| without(s, &["summary"]))
        }),
        ("an empty summary", |m| {
            each_snapshot(m, |s| s["summary"] = json!({}))
        }),
        ("no operation", |m| {
            each_snapshot(m, |s| without(&mut s["summary"], &["operation"]))
        }),
        ("an operation of its own", |m| {
            each_snapshot(m, |s| s["summary"]["operation"] = json!("merge"));
        }),
        ("no schema id", |m| {
            each_snapshot(m, |s| without(s, &["schema-id"]))
        }),
        ("parent -1", |m| {
            m["snapshots"][0]["parent-snapshot-id"] = json!(-1)
        }),
        ("no refs", |m| without(m, &["refs"])),
        ("refs without main", |m| {
            m["refs"] = json!({"audit": {"snapshot-id": 2, "type": "branch"}});
        }),
        ("no logs", |m| without(m, &["snapshot-log", "metadata-log"])),
        ("null for logs", |m| {
            m["snapshot-log"] = Value::Null;
            m["metadata-log"] = Value::Null;
        }),
        ("a slash at the end", |m| m["location"] = json!("/t/")),
        ("a UUID in capitals", |m| {
            m["table-uuid"] = json!("AAAAAAAA-0000-4000-8000-00000000000A");
        }),
        ("null for identifiers", |m| {
            m["schemas"][0]["identifier-field-ids"] = Value::Null
        }),
        ("null for a comment", |m| {
            m["schemas"][0]["fields"][0]["doc"] = Value::Null
        }),
        ("version 1's fields beside", |m| {
            m["schema"] = m["schemas"][0].clone();
            m["partition-spec"] = json!([]);
        }),
        ("no properties", |m| without(m, &["properties"])),
        ("keys that nobody knows", |m| {
            m["x-vendor"] = json!({"a": [1, 2.5, null]});
            m["snapshots"][0]["x-vendor"] = json!(1);
            m["schemas"][0]["fields"][0]["x-vendor"] = json!("y");
        }),
    ];
    for (name, change) in read {
        let metadata = parse(&changed(change)).unwrap_or_else(|error| panic!("{name}: {error}"));
        let snapshot = metadata.current_snapshot().unwrap();
        assert_eq!(snapshot.manifest_list(), "/list/2", "{name}");
        let is_odd = name.contains("summary") || name.contains("operation");
        let expected = match is_odd {
            true => Operation::Overwrite,
            false => Operation::Append,
        };
        assert_eq!(snapshot.summary().operation, expected, "{name}");
        assert_eq!(metadata.named_manifests(2), None, "{name}");
    }
}

/// As Jackson has it, which Java reads JSON with.
#[test]
fn c67_a_byte_order_mark_and_a_key_that_is_there_twice_are_no_faults() {
    let json = serde_json::to_string(&plain()).unwrap();
    let marked = format!("\u{feff}{json}");
    let twice = json.replacen('{', r#"{"location": "/elsewhere","#, 1);
    for json in [marked, twice] {
        let location = MetadataLocation::from("m.json");
        let metadata = parse_metadata(&table(), &location, json.as_bytes()).unwrap();
        assert_eq!(metadata.location(), "/t");
    }
}

#[test]
fn c67_what_is_refused_names_the_field() {
    let refused: [(Change, &str); 24] = [
        (
            |m| m["properties"]["retries"] = json!(4),
            "properties.retries: expected a string, found a number",
        ),
        (
            |m| m["properties"]["on"] = json!(true),
            "properties.on: expected a string, found a boolean",
        ),
        (
            |m| m["properties"]["comment"] = Value::Null,
            "properties.comment: expected a string, found null",
        ),
        (
            |m| m["snapshots"][1]["summary"]["added-records"] = json!(3),
            "snapshots[1].summary.added-records: expected a string, found a number",
        ),
        (
            |m| m["snapshots"][1]["summary"]["operation"] = json!(1),
            "snapshots[1].summary.operation: expected a string",
        ),
        (
            |m| m["refs"]["main"]["snapshot-id"] = json!(9),
            "refs.main.snapshot-id: 9 is the snapshot-id of none of snapshots",
        ),
        (
            |m| m["refs"]["main"]["type"] = json!("twig"),
            "refs.main.type: 'twig' is none of branch, tag",
        ),
        (|m| without(m, &["sort-orders"]), "sort-orders: missing"),
        (
            |m| m["statistics"] = Value::Null,
            "statistics: expected a list, found null",
        ),
        (
            |m| without(m, &["last-partition-id"]),
            "last-partition-id: missing",
        ),
        (|m| without(m, &["table-uuid"]), "table-uuid: missing"),
        (
            |m| m["table-uuid"] = json!("x"),
            "table-uuid: 'x' is no UUID",
        ),
        (|m| without(m, &["location"]), "location: missing"),
        (
            |m| m["last-column-id"] = json!("2"),
            "last-column-id: expected a number, found a string",
        ),
        (
            |m| m["current-schema-id"] = json!(7),
            "current-schema-id: 7 is the schema-id of none of schemas",
        ),
        (
            |m| m["current-snapshot-id"] = json!(7),
            "current-snapshot-id: 7 is the snapshot-id of none of snapshots",
        ),
        (
            |m| without(&mut m["snapshots"][0], &["manifest-list"]),
            "snapshots[0].manifest-list: missing",
        ),
        (
            |m| without(&mut m["snapshots"][0], &["timestamp-ms"]),
            "snapshots[0].timestamp-ms: missing",
        ),
        (
            |m| m["schemas"][0]["fields"][1]["type"] = json!(5),
            "schemas[0].fields[1].type: expected a type",
        ),
        (
            |m| m["schemas"][0]["fields"][1]["type"] = json!("decimal(x)"),
            "schemas[0].fields[1].type: 'decimal(x)' is no type",
        ),
        (
            |m| {
                m["schemas"][0]["fields"][1]["type"] =
                    json!({"type": "list", "element-id": 3, "element": "int"})
            },
            "schemas[0].fields[1].type.element-required: missing",
        ),
        (
            |m| without(&mut m["partition-specs"][0]["fields"][0], &["transform"]),
            "partition-specs[0].fields[0].transform: missing",
        ),
        (
            |m| m["snapshots"] = json!({}),
            "snapshots: expected a list, found an object",
        ),
        (
            |m| m["format-version"] = json!(4),
            "its format version is 4: only 1, 2 and 3 are known",
        ),
    ];
    for (change, expected) in refused {
        let error = parse(&changed(change)).map(drop).expect_err(expected);
        assert!(error.contains(expected), "{expected}: {error}");
        assert!(
            error.starts_with("table c.n.t: metadata file m.json: "),
            "{error}"
        );
        assert!(!error.contains("untagged"), "{error}");
    }
}

/// Version 1 as it was until 2019: manifests in the metadata file, no UUID, no list of schemas or specs.
fn old() -> Value {
    json!({
        "format-version": 1, "location": "/t/", "last-updated-ms": 1_002, "last-column-id": 2,
        "schema": {"type": "struct", "fields": [
            {"id": 1, "name": "id", "required": false, "type": "long"},
            {"id": 2, "name": "day", "required": false, "type": "date"}]},
        "partition-spec": [{"source-id": 2, "field-id": 1000, "name": "day", "transform": "identity"}],
        "properties": {}, "current-snapshot-id": 1, "x-vendor": [1],
        "snapshots": [{"snapshot-id": 1, "timestamp-ms": 1_002, "manifests": ["/m/1.avro", "/m/2.avro"]}],
        "snapshot-log": [{"snapshot-id": 1, "timestamp-ms": 1_002}],
    })
}

#[test]
fn c67_manifests_that_the_metadata_file_names_are_read() {
    let metadata = parse(&old()).unwrap();
    let named = metadata.named_manifests(1).unwrap();
    assert_eq!(named, ["/m/1.avro", "/m/2.avro"]);
    let summary = metadata.current_snapshot().unwrap().summary();
    assert_eq!(summary.operation, Operation::Overwrite);
}

async fn committed(metadata: &Value, id: i64, number: i64) -> Value {
    let folder = tempfile::tempdir().unwrap();
    let mut metadata = metadata.clone();
    // Somewhere that can be written to; the text is taken out again below.
    let root = format!("{}/t", folder.path().display());
    let location = metadata["location"]
        .as_str()
        .unwrap()
        .replacen("/t", &root, 1);
    metadata["location"] = json!(location);
    let storage = LocalStorage::new();
    let file = MetadataLocation(format!("{root}/metadata/00001-x.metadata.json"));
    let bytes = serde_json::to_vec(&metadata).unwrap();
    let options = WriteOptions::default();
    storage
        .put(file.as_str(), bytes.into(), PutMode::CreateOnly, &options)
        .await
        .unwrap();
    let base = LoadedTable {
        table: table(),
        metadata: std::sync::Arc::new(parse(&metadata).unwrap()),
        metadata_location: file,
        token: CommitToken::default(),
    };
    let next = stage(&still(), &base, snapshot(id, number)).await.unwrap();
    let content = storage.read(next.metadata_location.as_str()).await.unwrap();
    let text = String::from_utf8(content.to_vec()).unwrap();
    serde_json::from_str(&text.replace(&root, "/t")).unwrap()
}

#[tokio::test]
async fn c67_the_next_file_has_what_we_did_not_touch_as_it_was() {
    let before = changed(|m| {
        m["x-vendor"] = json!({"a": [1, 2.5, null]});
        m["schemas"][0]["fields"][0]["x-vendor"] = json!("y");
        m["partition-specs"][0]["fields"][0]["x-vendor"] = json!(true);
        m["snapshots"][0]["x-vendor"] = json!(1);
        without(&mut m["snapshots"][0], &["summary"]);
        m["snapshots"][1]["summary"]["operation"] = json!("merge");
        m["refs"]["old"] = json!({"snapshot-id": 1, "type": "tag", "x-vendor": 2});
        m["table-uuid"] = json!("AAAAAAAA-0000-4000-8000-00000000000A");
        m["location"] = json!("/t/");
        let field = json!({"transform": "Zorder(16)", "source-id": 1, "direction": "ASC", "null-order": "nulls-first"});
        m["sort-orders"] =
            json!([{"order-id": 0, "fields": []}, {"order-id": 1, "fields": [field]}]);
    });
    let next = committed(&before, 3, 3).await;
    for key in [
        "x-vendor",
        "schemas",
        "partition-specs",
        "table-uuid",
        "location",
        "sort-orders",
    ] {
        assert_eq!(next[key], before[key], "{key}");
    }
    assert_eq!(next["snapshots"][0], before["snapshots"][0]);
    // Others read no operation but the specification's.
    let mut second = before["snapshots"][1].clone();
    second["summary"]["operation"] = json!("overwrite");
    assert_eq!(next["snapshots"][1], second);
    assert_eq!(next["snapshots"][2]["snapshot-id"], 3);
    assert_eq!(next["refs"]["old"], before["refs"]["old"]);
    assert_eq!(next["refs"]["main"]["snapshot-id"], 3);
    assert_eq!(next["current-snapshot-id"], 3);
    parse(&next).unwrap();
}

#[tokio::test]
async fn c67_an_old_table_keeps_its_named_manifests_and_gets_no_made_up_uuid() {
    let before = old();
    let next = committed(&before, 3, 0).await;
    assert_eq!(next["snapshots"][0], before["snapshots"][0]);
    assert_eq!(next["x-vendor"], before["x-vendor"]);
    assert_eq!(next["location"], "/t/");
    assert_eq!(next.get("table-uuid"), None);
    // The crate takes the greatest spec id for it; the next field would get an id that is taken.
    assert_eq!(next["last-partition-id"], 1000);
    let read = parse(&next).unwrap();
    assert_eq!(read.format_version(), FormatVersion::V1);
    assert_eq!(read.named_manifests(1).unwrap().len(), 2);
    assert_eq!(read.named_manifests(3), None);
}
