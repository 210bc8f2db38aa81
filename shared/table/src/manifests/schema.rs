//! The Avro schemas of manifests and manifest lists, as the specification has them (*Manifests*, *Manifest Lists*),
//! with the names that Iceberg's Java library gives.

use serde_json::{Value, json};

use super::{Content, Version};

fn field(id: i32, name: &str, shape: Value) -> Value {
    json!({"name": name, "type": shape, "field-id": id})
}

fn optional(id: i32, name: &str, shape: Value) -> Value {
    json!({"name": name, "type": ["null", shape], "default": null, "field-id": id})
}

/// A map with integer keys: in Avro an array of pairs.
fn metrics(id: i32, name: &str, key_id: i32, value_id: i32, value: &str) -> Value {
    let pair = json!({
        "type": "record",
        "name": format!("k{key_id}_v{value_id}"),
        "fields": [field(key_id, "key", json!("int")), field(value_id, "value", json!(value))],
    });
    optional(
        id,
        name,
        json!({"type": "array", "items": pair, "logicalType": "map"}),
    )
}

fn list(id: i32, name: &str, element_id: i32, element: &str) -> Value {
    optional(
        id,
        name,
        json!({"type": "array", "items": element, "element-id": element_id}),
    )
}

/// The schema of a manifest's entries. `partition` is the type of field 102 as the manifest that the entries come from
/// has it: it depends on the partition spec, and on the schema at the time.
pub(crate) fn manifest(version: Version, content: Content, partition: &Value) -> Value {
    let mut file = Vec::new();
    if version > Version::V1 {
        file.push(field(134, "content", json!("int")));
    }
    file.extend([
        field(100, "file_path", json!("string")),
        field(101, "file_format", json!("string")),
        field(102, "partition", partition.clone()),
        field(103, "record_count", json!("long")),
        field(104, "file_size_in_bytes", json!("long")),
    ]);
    if version == Version::V1 {
        file.push(field(105, "block_size_in_bytes", json!("long")));
    }
    file.extend([
        metrics(108, "column_sizes", 117, 118, "long"),
        metrics(109, "value_counts", 119, 120, "long"),
        metrics(110, "null_value_counts", 121, 122, "long"),
        metrics(137, "nan_value_counts", 138, 139, "long"),
        metrics(125, "lower_bounds", 126, 127, "bytes"),
        metrics(128, "upper_bounds", 129, 130, "bytes"),
        optional(131, "key_metadata", json!("bytes")),
        list(132, "split_offsets", 133, "long"),
    ]);
    if version > Version::V1 {
        file.push(list(135, "equality_ids", 136, "int"));
    }
    file.push(optional(140, "sort_order_id", json!("int")));
    if version == Version::V3 {
        file.push(optional(142, "first_row_id", json!("long")));
    }
    if version > Version::V1 {
        file.push(optional(143, "referenced_data_file", json!("string")));
    }
    if version == Version::V3 || (version == Version::V2 && content == Content::Deletes) {
        // Version 2 has no vectors, but where a writer put one all the same, nothing of it must get lost.
        file.push(optional(144, "content_offset", json!("long")));
        file.push(optional(145, "content_size_in_bytes", json!("long")));
    }
    let file = json!({"type": "record", "name": "r2", "fields": file});
    let fields = match version {
        Version::V1 => vec![
            field(0, "status", json!("int")),
            field(1, "snapshot_id", json!("long")),
            field(2, "data_file", file),
        ],
        Version::V2 | Version::V3 => vec![
            field(0, "status", json!("int")),
            optional(1, "snapshot_id", json!("long")),
            optional(3, "sequence_number", json!("long")),
            optional(4, "file_sequence_number", json!("long")),
            field(2, "data_file", file),
        ],
    };
    json!({"type": "record", "name": "manifest_entry", "fields": fields})
}

/// The schema of a manifest list's entries.
pub(crate) fn manifest_list(version: Version) -> Value {
    let summary = json!({
        "type": "record",
        "name": "r508",
        "fields": [
            field(509, "contains_null", json!("boolean")),
            optional(518, "contains_nan", json!("boolean")),
            optional(510, "lower_bound", json!("bytes")),
            optional(511, "upper_bound", json!("bytes")),
        ],
    });
    let summaries = optional(
        507,
        "partitions",
        json!({"type": "array", "items": summary, "element-id": 508}),
    );
    let mut fields = vec![
        field(500, "manifest_path", json!("string")),
        field(501, "manifest_length", json!("long")),
        field(502, "partition_spec_id", json!("int")),
    ];
    match version {
        Version::V1 => fields.extend([
            field(503, "added_snapshot_id", json!("long")),
            optional(504, "added_data_files_count", json!("int")),
            optional(505, "existing_data_files_count", json!("int")),
            optional(506, "deleted_data_files_count", json!("int")),
            summaries,
            optional(512, "added_rows_count", json!("long")),
            optional(513, "existing_rows_count", json!("long")),
            optional(514, "deleted_rows_count", json!("long")),
            optional(519, "key_metadata", json!("bytes")),
        ]),
        Version::V2 | Version::V3 => fields.extend([
            field(517, "content", json!("int")),
            field(515, "sequence_number", json!("long")),
            field(516, "min_sequence_number", json!("long")),
            field(503, "added_snapshot_id", json!("long")),
            field(504, "added_files_count", json!("int")),
            field(505, "existing_files_count", json!("int")),
            field(506, "deleted_files_count", json!("int")),
            field(512, "added_rows_count", json!("long")),
            field(513, "existing_rows_count", json!("long")),
            field(514, "deleted_rows_count", json!("long")),
            summaries,
            optional(519, "key_metadata", json!("bytes")),
        ]),
    }
    if version == Version::V3 {
        fields.push(optional(520, "first_row_id", json!("long")));
    }
    json!({"type": "record", "name": "manifest_file", "fields": fields})
}
