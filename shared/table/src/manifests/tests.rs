//! Manifests as other writers may lay them out, and as damage leaves them.

use apache_avro::{Codec, Schema, Writer, ZstandardSettings, types::Value as Avro};
use proptest::prelude::*;
use serde_json::{Value, json};

use super::{
    Content, Count, FileContent, Manifest, ManifestFile, ManifestPart, ManifestSettings, NewEntry,
    Version,
    avro::{AvroError, Cursor, Scalar, Shape, put_long},
    bounds,
    container::{Compression, Container, ContainerWriter},
    decode, null_value_counts,
    partition::{PartitionKey, Summaries},
    write_manifest_list, write_manifests,
};

fn listed(content: Content) -> ManifestFile {
    ManifestFile {
        path: "m.avro".to_owned(),
        length: 1,
        spec_id: 0,
        content,
        sequence_number: 7,
        min_sequence_number: 7,
        added_snapshot_id: 70,
        added: Count::default(),
        existing: Count::default(),
        deleted: Count::default(),
        partitions: None,
        key_metadata: None,
        first_row_id: None,
    }
}

/// A manifest schema as a writer of taste might have it: unions the other way round, other names, fields in another
/// order, one that nobody knows, and a partition of a type that needs care.
fn odd_schema(partition: &Value) -> Value {
    let bounds = json!({
        "type": "array", "logicalType": "map",
        "items": {"type": "record", "name": "pair", "fields": [
            {"name": "k", "type": "int", "field-id": 126},
            {"name": "v", "type": "bytes", "field-id": 127},
        ]},
    });
    let counts = json!({
        "type": "array", "logicalType": "map",
        "items": {"type": "record", "name": "count", "fields": [
            {"name": "k", "type": "int", "field-id": 121},
            {"name": "v", "type": "long", "field-id": 122},
        ]},
    });
    json!({"type": "record", "name": "entry", "fields": [
        {"name": "snapshot", "type": ["long", "null"], "field-id": 1},
        {"name": "f", "field-id": 2, "type": {"type": "record", "name": "file", "fields": [
            {"name": "size", "type": "long", "field-id": 104},
            {"name": "rows", "type": "int", "field-id": 103},
            {"name": "part", "field-id": 102, "type":
                {"type": "record", "name": "r102", "fields": [
                    {"name": "my_x20region", "type": partition, "field-id": 1000}]}},
            {"name": "format", "type": "string", "field-id": 101},
            {"name": "nulls", "type": [counts, "null"], "field-id": 110},
            {"name": "low", "type": [bounds, "null"], "field-id": 125},
            {"name": "high", "type": ["null", "pair_list"], "field-id": 128},
            {"name": "unknown", "type": ["null", {"type": "map", "values": "double"}]},
            {"name": "content", "type": "int", "field-id": 134},
            {"name": "path", "type": "string", "field-id": 100},
        ]}},
        {"name": "status", "type": "int", "field-id": 0},
        {"name": "number", "type": ["null", "long"], "field-id": 3},
    ]})
}

fn odd_manifest(partition: Value, value: Avro, codec: Codec) -> Vec<u8> {
    let mut json = odd_schema(&partition);
    // Avro names a type once and then refers to it; spell the second array out around the named pair.
    let high = &mut json["fields"][1]["type"]["fields"][6];
    high["type"] = json!(["null", {"type": "array", "items": "pair"}]);
    let schema = Schema::parse(&json).unwrap();
    let mut writer = Writer::with_codec(&schema, Vec::new(), codec);
    for (key, text) in [
        ("schema", "{}"),
        ("partition-spec", "[]"),
        ("format-version", "2"),
        ("content", "data"),
    ] {
        writer.add_user_metadata(key.to_owned(), text).unwrap();
    }
    let record = |fields: Vec<(&str, Avro)>| {
        let fields = fields.into_iter();
        Avro::Record(
            fields
                .map(|(name, value)| (name.to_owned(), value))
                .collect(),
        )
    };
    let pair = |value: Avro| Avro::Array(vec![record(vec![("k", Avro::Int(5)), ("v", value)])]);
    let unknown = Avro::Map([("x".to_owned(), Avro::Double(1.5))].into());
    for (path, status) in [("a", 1), ("gone", 2), ("b", 1)] {
        let file = record(vec![
            ("size", Avro::Long(999)),
            ("rows", Avro::Int(12)),
            ("part", record(vec![("my_x20region", value.clone())])),
            ("format", Avro::String("PARQUET".to_owned())),
            ("nulls", Avro::Union(0, Box::new(pair(Avro::Long(3))))),
            (
                "low",
                Avro::Union(0, Box::new(pair(Avro::Bytes(vec![1, 2])))),
            ),
            ("high", Avro::Union(1, Box::new(pair(Avro::Bytes(vec![9]))))),
            ("unknown", Avro::Union(1, Box::new(unknown.clone()))),
            ("content", Avro::Int(0)),
            ("path", Avro::String(path.to_owned())),
        ]);
        let entry = record(vec![
            ("snapshot", Avro::Union(1, Box::new(Avro::Null))),
            ("f", file),
            ("status", Avro::Int(status)),
            ("number", Avro::Union(0, Box::new(Avro::Null))),
        ]);
        writer.append(entry).unwrap();
    }
    writer.into_inner().unwrap()
}

fn settings(version: Version) -> ManifestSettings {
    ManifestSettings {
        version,
        compression: Compression::Gzip,
        target_bytes: 1 << 20,
        snapshot_id: 80,
        sequence_number: 8,
    }
}

fn carried_over(manifest: &Manifest, version: Version) -> Vec<u8> {
    let from = &manifest.header;
    let mut entries = Vec::new();
    for entry in &manifest.entries {
        entries.push(NewEntry::Existing { entry, from });
    }
    let part = ManifestPart {
        header: from,
        schema: None,
        entries,
    };
    let mut written = write_manifests(&part, &settings(version), || [3; 16]).unwrap();
    assert_eq!(written.len(), 1);
    written.remove(0).bytes
}

#[test]
fn a_manifest_of_another_layout_is_read_and_carried_over_by_field_ids() {
    for codec in [
        Codec::Null,
        Codec::Snappy,
        Codec::Zstandard(ZstandardSettings::default()),
    ] {
        let bytes = odd_manifest(json!("string"), Avro::String("eu".to_owned()), codec);
        let file = listed(Content::Data);
        let first = decode::manifest(&bytes, &file).unwrap();
        assert_eq!(first.entries.len(), 2);
        assert_eq!(first.counted[2].files, Some(1));
        for version in [Version::V1, Version::V2] {
            let carried = carried_over(&first, version);
            let mut again = listed(Content::Data);
            again.sequence_number = 0;
            let second = decode::manifest(&carried, &again).unwrap();
            for (old, new) in first.entries.iter().zip(&second.entries) {
                assert_eq!(new.snapshot_id, 70);
                if version == Version::V2 {
                    assert_eq!((new.sequence_number, new.file_sequence_number), (7, 7));
                }
                assert_eq!(new.file.path, old.file.path);
                assert_eq!(new.file.partition, old.file.partition);
                assert_eq!((new.file.rows, new.file.size), (12, 999));
                assert_eq!(new.file.content, FileContent::Data);
                let shape = &second.header.file_shape;
                let found = bounds(shape, &new.file, 5).unwrap();
                assert_eq!(found, Some((vec![1, 2], vec![9])));
                assert_eq!(bounds(shape, &new.file, 6).unwrap(), None);
                let nulls = null_value_counts(shape, &new.file).unwrap().unwrap();
                assert_eq!(nulls.into_iter().collect::<Vec<_>>(), [(5, 3)]);
            }
            assert_eq!(second.header.partition_json, first.header.partition_json);
        }
    }
}

/// By the bytes alone these partitions differ; a delete file of one would miss the data files of the other.
#[test]
fn partitions_are_equal_whoever_encoded_them() {
    let uuid = "f79c3e09-677c-4bbd-a479-3f349cb785e7";
    let raw = uuid::Uuid::parse_str(uuid).unwrap().into_bytes().to_vec();
    let fixed = |size: usize, logical: Value| {
        let mut json = json!({"type": "fixed", "name": "x", "size": size});
        json.as_object_mut()
            .unwrap()
            .extend(logical.as_object().unwrap().clone());
        json
    };
    let decimal = json!({"logicalType": "decimal", "precision": 9, "scale": 2});
    let pairs = [
        [
            (json!("int"), Avro::Int(-5)),
            (
                json!(["long", "null"]),
                Avro::Union(0, Box::new(Avro::Long(-5))),
            ),
        ],
        [
            (
                json!({"type": "string", "logicalType": "uuid"}),
                Avro::String(uuid.to_owned()),
            ),
            (fixed(16, json!({})), Avro::Fixed(16, raw)),
        ],
        [
            (
                fixed(4, decimal.clone()),
                Avro::Fixed(4, vec![0xff, 0xff, 0xff, 0x85]),
            ),
            (
                fixed(6, decimal),
                Avro::Fixed(6, vec![0xff, 0xff, 0xff, 0xff, 0xff, 0x85]),
            ),
        ],
        [
            (json!("float"), Avro::Float(1.5)),
            (
                json!(["null", "double"]),
                Avro::Union(1, Box::new(Avro::Double(1.5))),
            ),
        ],
    ];
    let key = |(schema, value): &(Value, Avro)| {
        let tuple = json!({"type": "record", "name": "r102", "fields": [
            {"name": "p", "type": schema, "field-id": 1000}]});
        // Logical types are ours to read: the encoder gets the plain ones.
        let mut plain = tuple.clone();
        if let Some(object) = plain["fields"][0]["type"].as_object_mut() {
            object.remove("logicalType");
        }
        let record = Avro::Record(vec![("p".to_owned(), value.clone())]);
        let bytes = apache_avro::to_avro_datum(&Schema::parse(&plain).unwrap(), record).unwrap();
        PartitionKey::decode(3, &Shape::parse(&tuple).unwrap(), &bytes).unwrap()
    };
    let mut keys: Vec<PartitionKey> = Vec::new();
    for [one, other] in &pairs {
        assert_eq!(key(one), key(other), "{one:?}");
        keys.push(key(one));
    }
    keys.sort();
    keys.dedup();
    assert_eq!(keys.len(), pairs.len());
}

#[test]
fn summaries_bound_decimals_floats_and_nulls() {
    let shape = Shape::parse(&json!({"type": "record", "name": "r102", "fields": [
        {"name": "d", "field-id": 1000, "type": ["null",
            {"type": "fixed", "name": "d", "size": 4, "logicalType": "decimal"}]},
        {"name": "f", "field-id": 1001, "type": ["null", "float"]},
    ]}))
    .unwrap();
    let tuple = |decimal: Option<i32>, float: f32| {
        let mut bytes = Vec::new();
        match decimal {
            Some(value) => {
                put_long(1, &mut bytes);
                bytes.extend(value.to_be_bytes());
            }
            None => put_long(0, &mut bytes),
        }
        put_long(1, &mut bytes);
        bytes.extend(float.to_le_bytes());
        bytes
    };
    let mut summaries = Summaries::new(&shape).unwrap();
    for bytes in [
        tuple(Some(-200), 2.5),
        tuple(Some(300), f32::NAN),
        tuple(None, -1.0),
    ] {
        summaries.add(&shape, &bytes).unwrap();
    }
    let [decimals, floats] = summaries.finish().try_into().unwrap();
    assert!(decimals.contains_null && !floats.contains_null);
    // The least number of bytes that holds the value, as the specification asks.
    assert_eq!(decimals.lower_bound, Some(vec![0xff, 0x38]));
    assert_eq!(decimals.upper_bound, Some(vec![0x01, 0x2c]));
    assert_eq!(floats.contains_nan, Some(true));
    assert_eq!(floats.lower_bound, Some((-1f32).to_le_bytes().to_vec()));
    assert_eq!(floats.upper_bound, Some(2.5f32.to_le_bytes().to_vec()));
}

/// Guessing a number for an entry that has none would hide or revive rows.
#[test]
fn an_existing_entry_without_a_sequence_number_is_refused() {
    let mut writer = Vec::new();
    let bytes = odd_manifest(json!("string"), Avro::String("eu".to_owned()), Codec::Null);
    let container = Container::read(&bytes).unwrap();
    for (_, block) in &container.blocks {
        writer.extend(block.clone());
    }
    // The status of the first entry: 1 in zigzag is 2, in front of a null number. Make it 0.
    let at = writer
        .windows(4)
        .position(|bytes| bytes == [0, 2, b'a', 2])
        .unwrap()
        + 3;
    writer[at] = 0;
    let header: Vec<_> = container
        .header
        .iter()
        .filter(|(key, _)| !key.starts_with("avro."))
        .map(|(key, value)| (key.clone(), value.clone()))
        .collect();
    let shape = Shape::parse(&container.schema).unwrap();
    let mut out = ContainerWriter::new(&container.schema, &header, Compression::None, [1; 16]);
    let mut cursor = Cursor::new(&writer);
    for _ in 0..3 {
        out.append(cursor.slice(&shape).unwrap()).unwrap();
    }
    let bytes = out.finish().unwrap();
    let error = decode::manifest(&bytes, &listed(Content::Data)).unwrap_err();
    assert!(error.0.contains("entry of a is not new"), "{error}");
    // In a manifest of version 1, whose number is 0, that is how it should be.
    let mut old = listed(Content::Data);
    old.sequence_number = 0;
    let manifest = decode::manifest(&bytes, &old).unwrap();
    assert_eq!(manifest.entries[0].sequence_number, 0);
}

#[test]
fn a_manifest_list_survives_the_way_there_and_back() {
    let mut file = listed(Content::Deletes);
    file.added = Count {
        files: Some(1),
        rows: Some(2),
    };
    file.existing = file.added;
    file.deleted = file.added;
    file.partitions = Some(vec![super::FieldSummary {
        contains_null: true,
        contains_nan: None,
        lower_bound: Some(vec![1]),
        upper_bound: None,
    }]);
    let list = [file.clone(), file];
    let bytes = write_manifest_list(&list, Some(5), &settings(Version::V2), [2; 16]).unwrap();
    assert_eq!(decode::manifest_list(&bytes).unwrap(), list);
    let mut lacking = list[0].clone();
    lacking.added.rows = None;
    let refused = write_manifest_list(&[lacking], None, &settings(Version::V2), [2; 16]);
    assert!(refused.unwrap_err().0.contains("512"));
}

#[test]
fn numbers_of_every_size_are_read_as_they_were_written() {
    for value in [0, 1, -1, 63, -64, 64, 1 << 40, i64::MAX, i64::MIN] {
        let mut bytes = Vec::new();
        put_long(value, &mut bytes);
        assert_eq!(Cursor::new(&bytes).long(), Ok(value));
        assert_eq!(
            Cursor::new(&bytes).scalar(&Shape::Long),
            Ok(Scalar::Int(value))
        );
    }
    assert!(Cursor::new(&[0xff; 11]).long().is_err());
}

/// Avro lets a writer put the size of a block in front of it, with the count negative.
#[test]
fn blocks_with_their_size_in_front_are_read() {
    let shape = Shape::Array(Box::new(Shape::Long));
    let mut bytes = Vec::new();
    for number in [-2, 2, 10, 11, 0] {
        put_long(number, &mut bytes);
    }
    let mut seen = Vec::new();
    Cursor::new(&bytes)
        .items(&shape, |item, bytes| {
            seen.push(Cursor::new(bytes).scalar(item)?);
            Ok(())
        })
        .unwrap();
    assert_eq!(seen, [Scalar::Int(10), Scalar::Int(11)]);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    /// Damage ends in an error or in other values, never in a panic, an endless loop or all of the memory.
    #[test]
    fn damage_never_panics(at in any::<prop::sample::Index>(), byte in any::<u8>(), cut in any::<prop::sample::Index>()) {
        let mut bytes = odd_manifest(json!("string"), Avro::String("eu".to_owned()), Codec::Null);
        let place = at.index(bytes.len());
        bytes[place] = byte;
        let _: Result<Manifest, AvroError> = decode::manifest(&bytes, &listed(Content::Data));
        bytes.truncate(cut.index(bytes.len()));
        let _ = decode::manifest(&bytes, &listed(Content::Data));
        let _ = decode::manifest_list(&bytes);
    }
}
