//! One manifest in the layout of many writers: what a plan sees is what a commit sees, entry for entry, whatever the
//! layout; and what is written of it is as the specification has it.

use iceberg::spec::{Manifest as TheirManifest, NestedField, PrimitiveType, StructType, Type};
use icepress_model::SpecId;
use serde_json::{Map, Value, json};

use super::{avro::file, listed, settings};
use crate::{
    manifests::{
        Content, Entry, FileContent, HeaderSchema, Manifest, ManifestFile, ManifestPart,
        ManifestWriter, NewEntry, PartitionTable, Spec, Version, manifest, partition::avro_type,
        schema,
    },
    scan::{DeleteKind, ScanBuilder, SnapshotScan, open::Assembly},
};

const SCHEMA: &str = r#"{"type":"struct","schema-id":0,"fields":[
    {"id":1,"name":"region","required":false,"type":"string"},
    {"id":2,"name":"day","required":false,"type":"int"}]}"#;
const SPEC: &str = r#"[{"source-id":1,"field-id":1000,"name":"region","transform":"identity"},
    {"source-id":2,"field-id":1001,"name":"day","transform":"identity"}]"#;

fn spec() -> Spec {
    let field = |id, name, primitive| NestedField::optional(id, name, Type::Primitive(primitive));
    Spec {
        partition_type: StructType::new(vec![
            field(1000, "region", PrimitiveType::String).into(),
            field(1001, "day", PrimitiveType::Int).into(),
        ]),
        is_unpartitioned: false,
    }
}

/// Entries as a writer of format version 2 has them: one that is new, one that moved here, and one that is gone.
fn data_entries() -> Vec<Value> {
    let entry = |status: i64, number: Value, path: &str, region: Value| {
        json!({
            "status": status, "snapshot_id": 60, "sequence_number": number, "file_sequence_number": number,
            "data_file": {
                "content": 0, "file_path": path, "file_format": "PARQUET",
                "partition": {"region": region, "day": 5},
                "record_count": 12, "file_size_in_bytes": 999,
                "column_sizes": [{"key": 1, "value": 50}, {"key": 2, "value": 60}],
                "null_value_counts": [{"key": 1, "value": 3}],
                "lower_bounds": [{"key": 1, "value": [97]}], "upper_bounds": [{"key": 1, "value": [122]}],
                "split_offsets": [4, 500], "sort_order_id": 0,
            },
        })
    };
    vec![
        entry(1, Value::Null, "s3://b/t/new", json!("eu")),
        entry(0, json!(3), "s3://b/t/moved", Value::Null),
        entry(2, json!(2), "s3://b/t/gone", json!("us")),
    ]
}

/// A position delete file with bounds, an equality delete file, and a deletion vector.
fn delete_entries() -> Vec<Value> {
    let path = "s3://b/t/new";
    let bound = json!([{"key": 2_147_483_546, "value": path}]);
    let mut entries = data_entries();
    for (entry, content) in entries.iter_mut().zip([1, 2, 1]) {
        entry["status"] = json!(1);
        let file = &mut entry["data_file"];
        file["content"] = json!(content);
        if content == 2 {
            file["equality_ids"] = json!([2, 1]);
        }
    }
    entries[0]["data_file"]["lower_bounds"] = bound.clone();
    entries[0]["data_file"]["upper_bounds"] = bound;
    let vector = &mut entries[2]["data_file"];
    vector["file_format"] = json!("puffin");
    vector["referenced_data_file"] = json!("s3://b/t/moved");
    vector["content_offset"] = json!(4);
    vector["content_size_in_bytes"] = json!(40);
    entries
}

/// How a writer differs from the specification.
struct Dialect {
    name: &'static str,
    schema: fn(&mut Value),
    entry: fn(&mut Value),
    header: fn(&mut Vec<(&'static str, &'static str)>),
}

const PLAIN: Dialect = Dialect {
    name: "as the specification has it",
    schema: |_| {},
    entry: |_| {},
    header: |_| {},
};

fn dialects() -> Vec<Dialect> {
    let schema = |name, schema| Dialect {
        name,
        schema,
        ..PLAIN
    };
    let header = |name, header| Dialect {
        name,
        header,
        ..PLAIN
    };
    vec![
        PLAIN,
        schema("no ids (DuckDB, ClickHouse)", |schema| {
            each_object(schema, &mut |object| {
                object.remove("field-id");
                object.remove("element-id");
            });
        }),
        schema("ids as text", |schema| {
            each_object(schema, &mut |object| {
                if let Some(id) = object.get("field-id").cloned() {
                    object.insert("field-id".to_owned(), json!(id.to_string()));
                }
            });
        }),
        schema("int for every long", |schema| {
            each_type(schema, &mut |layout| {
                if *layout == "long" {
                    *layout = json!("int");
                }
            });
        }),
        schema("plain types as objects (DuckDB 1.5)", |schema| {
            each_type(schema, &mut |layout| {
                if layout.is_string() {
                    *layout = json!({"type": layout.clone()});
                }
            });
        }),
        schema("records in unions (BigQuery)", |schema| {
            each_type(schema, &mut |layout| {
                if layout["type"] == "record"
                    && (layout["name"] == "r2" || layout["name"] == "r102")
                {
                    *layout = json!(["null", layout.clone()]);
                }
            });
        }),
        schema("map entries, keys and values in unions", |schema| {
            each_type(schema, &mut |layout| {
                if layout["logicalType"] == "map" {
                    let mut pair = layout["items"].clone();
                    for field in pair["fields"].as_array_mut().unwrap() {
                        field["type"] = json!(["null", field["type"].clone()]);
                    }
                    layout["items"] = json!(["null", pair]);
                }
                if layout["type"] == "array" && layout["items"].is_string() {
                    layout["items"] = json!(["null", layout["items"].clone()]);
                }
            });
        }),
        schema("null behind the value", |schema| {
            each_type(schema, &mut |layout| {
                if let Some(branches) = layout.as_array_mut() {
                    branches.reverse();
                }
            });
        }),
        schema("fields in another order", |schema| {
            each_type(schema, &mut |layout| {
                // Maps are taken by their places.
                if layout["type"] == "record" && !layout["name"].as_str().unwrap().starts_with('k')
                {
                    layout["fields"].as_array_mut().unwrap().reverse();
                }
            });
        }),
        schema("fields that nobody knows", |schema| {
            let more = json!([
                {"name": "x", "type": ["null", {"type": "array", "items": ["null", "double"]}]},
                {"name": "y", "type": ["null", "string"], "field-id": 9_999},
            ]);
            each_type(schema, &mut |layout| {
                if layout["type"] == "record" && !layout["name"].as_str().unwrap().starts_with('k')
                {
                    let fields = layout["fields"].as_array_mut().unwrap();
                    fields.insert(0, more[0].clone());
                    fields.push(more[1].clone());
                }
            });
            // Not of the partition: there a field that no spec has and that has no id is an error.
            each_type(schema, &mut |layout| {
                if layout["name"] == "r102" {
                    layout["fields"].as_array_mut().unwrap().remove(0);
                }
            });
        }),
        schema("names in a namespace", |schema| {
            each_type(schema, &mut |layout| {
                if let Some(name) = layout["name"].as_str() {
                    layout["name"] = json!(format!("org.writer.{name}"));
                }
            });
        }),
        Dialect {
            name: "an empty key",
            entry: |entry| entry["data_file"]["key_metadata"] = json!([]),
            ..PLAIN
        },
        Dialect {
            name: "no number of its own for a file that moved",
            entry: |entry| entry["file_sequence_number"] = Value::Null,
            ..PLAIN
        },
        header("nothing in the header", |header| header.clear()),
        header("data in every header (DuckDB)", |header| {
            header.retain(|(key, _)| *key != "content");
            header.push(("content", "data"));
        }),
        header("another spec and no schema in the header", |header| {
            header.clear();
            header.extend([
                ("partition-spec-id", "9"),
                ("partition-spec", "[]"),
                ("schema", "{}"),
            ]);
        }),
    ]
}

/// Changes every object of a schema.
fn each_object(schema: &mut Value, change: &mut impl FnMut(&mut Map<String, Value>)) {
    match schema {
        Value::Array(all) => all.iter_mut().for_each(|inner| each_object(inner, change)),
        Value::Object(object) => {
            change(object);
            object
                .values_mut()
                .for_each(|inner| each_object(inner, change));
        }
        _ => {}
    }
}

/// Changes every type in a schema, the inner ones first.
fn each_type(layout: &mut Value, change: &mut impl FnMut(&mut Value)) {
    match layout {
        Value::Array(branches) => {
            branches
                .iter_mut()
                .for_each(|branch| each_type(branch, change));
        }
        Value::Object(object) => {
            if let Some(items) = object.get_mut("items") {
                each_type(items, change);
            }
            let fields = object.get_mut("fields").and_then(Value::as_array_mut);
            for field in fields.into_iter().flatten() {
                each_type(&mut field["type"], change);
            }
        }
        _ => {}
    }
    change(layout);
}

/// A manifest in a dialect.
fn written(dialect: &Dialect, content: Content) -> Vec<u8> {
    let mut layout = schema::manifest(Version::V2, content, &avro_type(&spec().partition_type));
    (dialect.schema)(&mut layout);
    let (mut entries, label) = match content {
        Content::Data => (data_entries(), "data"),
        Content::Deletes => (delete_entries(), "deletes"),
    };
    entries.iter_mut().for_each(dialect.entry);
    let mut header = vec![
        ("schema", SCHEMA),
        ("schema-id", "0"),
        ("partition-spec", SPEC),
        ("partition-spec-id", "0"),
        ("format-version", "2"),
        ("content", label),
    ];
    (dialect.header)(&mut header);
    file(&layout, &header, &entries)
}

fn plan(bytes: &[u8], listed: &ManifestFile) -> SnapshotScan {
    let mut assembly = Assembly {
        builder: ScanBuilder::new("c.n.t".parse().unwrap(), None),
        partitions: PartitionTable::default(),
    };
    assembly
        .add_manifest(bytes, listed, &spec(), false)
        .unwrap();
    assembly.finish().unwrap()
}

/// What a plan and a commit both know of a file.
fn planned(scan: &SnapshotScan) -> Vec<String> {
    let data = scan.data_files().iter().map(|file| {
        let partition = &scan.partitions()[file.partition as usize];
        assert_eq!(partition.spec_id, SpecId(0));
        format!(
            "{} {:?} {} {} {} {:?} {:?} -",
            scan.path_of(file),
            file.format,
            file.rows,
            file.size,
            file.sequence_number.get(),
            file.first_row_id().map(|id| id.get()),
            partition.value,
        )
    });
    let deletes = scan.delete_files().iter().map(|file| {
        let partition = &scan.partitions()[file.partition as usize];
        let blob = match file.kind {
            DeleteKind::Vector { offset, length } => Some((offset, length)),
            _ => None,
        };
        format!(
            "{} {:?} {} {} {} {:?} {:?} {blob:?} {:?}",
            scan.delete_path(file),
            file.format,
            file.rows,
            file.size,
            file.sequence_number.get(),
            None::<i64>,
            partition.value,
            scan.referenced_data_file(file),
        )
    });
    data.chain(deletes).collect()
}

fn committed(manifest: &Manifest) -> Vec<String> {
    let entry = |entry: &Entry| {
        let file = &entry.file;
        let about = match file.content {
            FileContent::Data => "-".to_owned(),
            _ => {
                let named = file.scope.as_ref().and_then(|scope| scope.path());
                format!("{:?} {named:?}", file.blob)
            }
        };
        format!(
            "{} {:?} {} {} {} {:?} {:?} {about}",
            file.path,
            file.format,
            icepress_model::Rows(file.rows),
            icepress_model::Bytes(file.size),
            entry.sequence_number,
            file.first_row_id,
            file.partition.value,
        )
    };
    manifest.entries.iter().map(entry).collect()
}

/// Everything of a manifest moved to a new one of ours.
fn carried_over(from: &Manifest, version: Version) -> Vec<u8> {
    let header = &from.header;
    let entries = from.entries.iter();
    let part = ManifestPart {
        content: header.content,
        spec_id: header.spec_id,
        schema: header.schema.clone().unwrap_or(HeaderSchema {
            json: SCHEMA.into(),
            id: Some(b"0".to_vec()),
        }),
        partition_spec: header.partition_spec.clone().unwrap_or(SPEC.into()),
        partition_type: &spec().partition_type,
        entries: entries
            .map(|entry| NewEntry::Existing {
                entry,
                from: header,
            })
            .collect(),
        carried: Vec::new(),
    };
    let mut writer = ManifestWriter::new(&part, &settings(version)).unwrap();
    for entry in &part.entries {
        assert!(writer.add(entry, || [3; 16]).unwrap().is_none());
    }
    writer.end().unwrap().unwrap().bytes
}

#[test]
fn c52_what_a_plan_sees_is_what_a_commit_sees_in_every_dialect() {
    for content in [Content::Data, Content::Deletes] {
        let mut list = listed(content);
        if content == Content::Data {
            list.first_row_id = Some(100);
        }
        let plain = written(&PLAIN, content);
        let expected = planned(&plan(&plain, &list));
        assert_eq!(expected.len(), if content == Content::Data { 2 } else { 3 });
        for dialect in dialects() {
            let name = dialect.name;
            let bytes = written(&dialect, content);
            let seen = planned(&plan(&bytes, &list));
            assert_eq!(seen, expected, "{name}");
            let read = manifest(&bytes, &list, &spec()).unwrap();
            assert_eq!(committed(&read), expected, "{name}");
            assert_eq!(
                read.measured.counted[2].files,
                Some(i64::from(content == Content::Data))
            );
            let layout = &read.header.file_layout;
            let raw = &read.entries[0].file.raw;
            let nulls = layout.null_value_counts(raw).unwrap().unwrap();
            assert_eq!(nulls.into_iter().collect::<Vec<_>>(), [(1, 3)], "{name}");
            // As the iceberg crate reads it, and as we do.
            let again = carried_over(&read, Version::V2);
            check_label(&again, content, name);
            let theirs = TheirManifest::parse_avro(&again).unwrap();
            let paths = |entries: Vec<&str>| entries.join(" ");
            let own = read.entries.iter().map(|entry| entry.file.path.as_str());
            assert_eq!(
                paths(
                    theirs
                        .entries()
                        .iter()
                        .map(|entry| entry.file_path())
                        .collect()
                ),
                paths(own.collect()),
                "{name}"
            );
            for (theirs, own) in theirs.entries().iter().zip(&read.entries) {
                assert_eq!(theirs.sequence_number, Some(own.sequence_number));
                assert_eq!(theirs.file_sequence_number, own.file_sequence_number);
                assert_eq!(theirs.data_file().partition(), &*own.file.partition.value);
                assert_eq!(theirs.data_file().null_value_counts()[&1], 3);
                assert_eq!(theirs.data_file().column_sizes()[&2], 60);
            }
            let second = manifest(&again, &list, &spec()).unwrap();
            assert_eq!(planned(&plan(&again, &list)).len(), expected.len());
            for (first, second) in read.entries.iter().zip(&second.entries) {
                assert_eq!(first.file_sequence_number, second.file_sequence_number);
                assert_eq!(first.file.partition, second.file.partition);
                assert_eq!(
                    layout.bounds(&first.file.raw, 1).unwrap(),
                    second_layout(&second.file.raw, &again, &list)
                );
            }
        }
    }
}

fn second_layout(raw: &[u8], bytes: &[u8], list: &ManifestFile) -> Option<(Vec<u8>, Vec<u8>)> {
    let header = manifest(bytes, list, &spec()).unwrap().header;
    header.file_layout.bounds(raw, 1).unwrap()
}

/// What a header says is true, whatever the one before said.
fn check_label(bytes: &[u8], content: Content, name: &str) {
    let container = crate::avro::Container::open(bytes).unwrap();
    let text = |key: &str| {
        let value = container.metadata(key).unwrap_or_default();
        std::str::from_utf8(value).unwrap().to_owned()
    };
    let label = match content {
        Content::Data => "data",
        Content::Deletes => "deletes",
    };
    assert_eq!(text("content"), label, "{name}");
    assert_eq!(text("partition-spec-id"), "0", "{name}");
    assert_eq!(text("format-version"), "2", "{name}");
    let json = |key: &str| serde_json::from_str::<Value>(&text(key)).unwrap();
    assert_eq!(json("partition-spec")[1]["field-id"], 1001, "{name}");
    assert_eq!(json("schema")["fields"][0]["name"], "region", "{name}");
}

/// As older writers left it when they merged manifests (`ContentFile.fileSequenceNumber` in Iceberg Java).
#[test]
fn c52_a_file_that_moved_may_lack_its_own_sequence_number() {
    let dialect = Dialect {
        entry: |entry| entry["file_sequence_number"] = Value::Null,
        ..PLAIN
    };
    let bytes = written(&dialect, Content::Data);
    let read = manifest(&bytes, &listed(Content::Data), &spec()).unwrap();
    let numbers = read
        .entries
        .iter()
        .map(|entry| (entry.sequence_number, entry.file_sequence_number));
    assert_eq!(numbers.collect::<Vec<_>>(), [(7, Some(7)), (3, None)]);
}

/// BigQuery writes neither snapshot nor numbers: all is the manifest list's.
#[test]
fn c52_entries_of_status_and_file_alone_inherit_the_rest() {
    let dialect = Dialect {
        schema: |schema| {
            let fields = schema["fields"].as_array_mut().unwrap();
            fields.retain(|field| field["name"] == "status" || field["name"] == "data_file");
        },
        entry: |entry| entry["status"] = json!(1),
        ..PLAIN
    };
    let bytes = written(&dialect, Content::Data);
    let list = listed(Content::Data);
    let read = manifest(&bytes, &list, &spec()).unwrap();
    assert_eq!(committed(&read), planned(&plan(&bytes, &list)));
    for entry in &read.entries {
        assert_eq!(
            (
                entry.snapshot_id,
                entry.sequence_number,
                entry.file_sequence_number
            ),
            (70, 7, Some(7))
        );
    }
}

/// Entries of a version 1 manifest, which know no content and no numbers, in a table of version 2.
#[test]
fn c20_a_manifest_of_version_1_is_carried_over_with_number_0() {
    let layout = schema::manifest(
        Version::V1,
        Content::Data,
        &avro_type(&spec().partition_type),
    );
    let mut entries = data_entries();
    entries
        .iter_mut()
        .for_each(|entry| entry["data_file"]["block_size_in_bytes"] = json!(64));
    let bytes = file(&layout, &[("format-version", "1")], &entries);
    let mut list = listed(Content::Data);
    list.sequence_number = 0;
    let read = manifest(&bytes, &list, &spec()).unwrap();
    assert_eq!(committed(&read), planned(&plan(&bytes, &list)));
    let again = carried_over(&read, Version::V2);
    let theirs = TheirManifest::parse_avro(&again).unwrap();
    for entry in theirs.entries() {
        assert_eq!(
            (entry.sequence_number, entry.file_sequence_number),
            (Some(0), Some(0))
        );
    }
}
