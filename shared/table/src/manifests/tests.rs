//! Manifests as other writers lay them out, and as damage leaves them.

mod avro;
mod dialects;
mod partitions;

use iceberg::spec::StructType;
use proptest::prelude::*;
use serde_json::{Value, json};

use self::avro::file;
use super::{
    Content, Count, FieldSummary, ManifestFile, ManifestSettings, Spec, Version,
    list::manifest_list, manifest, schema, write_manifest_list, writer::Compression,
};

/// A manifest as its list names it: added by snapshot 70 with the number 7.
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

fn settings(version: Version) -> ManifestSettings {
    ManifestSettings {
        version,
        compression: Compression::Gzip,
        target_bytes: 1 << 20,
        snapshot_id: 80,
        sequence_number: 8,
    }
}

fn unpartitioned() -> Spec {
    Spec {
        partition_type: StructType::new(Vec::new()),
        is_unpartitioned: true,
    }
}

/// A manifest of version 2 with one data file.
fn one_file(change: impl Fn(&mut Value)) -> Vec<u8> {
    let no_partition = json!({"type": "record", "name": "r102", "fields": []});
    let schema = schema::manifest(Version::V2, Content::Data, &no_partition);
    let mut entry = json!({"status": 1, "data_file": {
        "content": 0, "file_path": "a", "file_format": "PARQUET", "partition": {},
        "record_count": 12, "file_size_in_bytes": 999,
    }});
    change(&mut entry);
    file(&schema, &[], &[entry])
}

/// What a manifest is refused with.
fn refused(bytes: &[u8], listed: &ManifestFile) -> String {
    let refused = manifest(bytes, listed, &unpartitioned()).map(drop);
    refused.unwrap_err().to_string()
}

#[test]
fn c52_what_is_refused_names_file_and_field() {
    let data = listed(Content::Data);
    for (change, expected) in [
        (
            json!({"status": 7}),
            "manifest_entry.status: 7, where 0, 1 and 2 are known",
        ),
        (
            json!({"data_file": {"record_count": -3}}),
            "file a has the record_count -3",
        ),
        (
            json!({"data_file": {"file_format": "CSV"}}),
            "file a is of the unknown file_format 'CSV'",
        ),
        (
            json!({"data_file": {"content": 1}}),
            "file a has content 1 in a manifest that tracks data files, as its manifest list says",
        ),
        // Guessing a number for an entry that has none would hide or revive rows.
        (
            json!({"status": 0}),
            "file a has no sequence_number and may not inherit one: its entry is not new",
        ),
    ] {
        let bytes = one_file(|entry| merge(entry, &change));
        assert_eq!(refused(&bytes, &data), expected);
    }
    // In a manifest of version 1, whose number is 0, that is how it should be.
    let mut old = listed(Content::Data);
    old.sequence_number = 0;
    let bytes = one_file(|entry| merge(entry, &json!({"status": 0})));
    let read = manifest(&bytes, &old, &unpartitioned()).unwrap();
    assert_eq!(read.entries[0].sequence_number, 0);
    // The layout itself may be what is wrong.
    let text =
        |name: &str, id: i32, layout: &str| json!({"name": name, "type": layout, "field-id": id});
    let schema = json!({"type": "record", "name": "e", "fields": [
        text("status", 0, "int"),
        {"name": "data_file", "field-id": 2, "type": {"type": "record", "name": "f", "fields": [
            text("file_path", 100, "string"), text("record_count", 103, "string")]}},
    ]});
    assert_eq!(
        refused(&file(&schema, &[], &[]), &data),
        "data_file.record_count: expected a number, found a string"
    );
    let bare = json!({"type": "record", "name": "e", "fields": [text("status", 0, "int")]});
    assert_eq!(
        refused(&file(&bare, &[], &[]), &data),
        "its entries have no data_file (field 2)"
    );
}

fn merge(into: &mut Value, change: &Value) {
    for (key, value) in change.as_object().unwrap() {
        match value.is_object() {
            true => merge(&mut into[key], value),
            false => into[key] = value.clone(),
        }
    }
}

/// Avro has no end: what is cut off at a block looks whole.
#[test]
fn a_manifest_that_is_cut_between_two_blocks_is_refused() {
    let whole = one_file(|_| {});
    let mut data = listed(Content::Data);
    data.length = whole.len() as i64;
    data.added.files = Some(1);
    manifest(&whole, &data, &unpartitioned()).unwrap();
    let no_block = json!({"type": "record", "name": "r102", "fields": []});
    let cut = file(
        &schema::manifest(Version::V2, Content::Data, &no_block),
        &[],
        &[],
    );
    assert!(refused(&cut, &data).starts_with("it is cut short: "));
    // A list that is wrong about one of the two is no proof.
    data.length = 1;
    manifest(&cut, &data, &unpartitioned()).unwrap();
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
    file.partitions = Some(vec![FieldSummary {
        contains_null: true,
        contains_nan: None,
        lower_bound: Some(vec![1]),
        upper_bound: None,
    }]);
    let list = [file.clone(), file];
    let bytes = write_manifest_list(&list, Some(5), &settings(Version::V2), [2; 16]).unwrap();
    assert_eq!(manifest_list(&bytes).unwrap(), list);
    let mut lacking = list[0].clone();
    lacking.added.rows = None;
    let refused = write_manifest_list(&[lacking], None, &settings(Version::V2), [2; 16]);
    assert!(
        refused
            .unwrap_err()
            .to_string()
            .contains("added_rows_count")
    );
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    /// Damage ends in an error or in other values, never in a panic, an endless loop or all of the memory.
    #[test]
    fn damage_never_panics(at in any::<prop::sample::Index>(), byte in any::<u8>(), cut in any::<prop::sample::Index>()) {
        let mut bytes = one_file(|_| {});
        let place = at.index(bytes.len());
        bytes[place] = byte;
        let _ = manifest(&bytes, &listed(Content::Data), &unpartitioned());
        bytes.truncate(cut.index(bytes.len()));
        let _ = manifest(&bytes, &listed(Content::Data), &unpartitioned());
        let _ = manifest_list(&bytes);
    }
}
