//! Field ids by name, for writers that leave them out (DuckDB, ClickHouse): the specification's names are as good.
//!
//! As in Iceberg Java an id counts before a name; and a field without an id, of a name that nobody knows, is nobody's.

use crate::avro::{AvroType, Field};

/// A record of a manifest or manifest list.
#[derive(Debug, Clone, Copy)]
pub(super) enum Level {
    /// A manifest's entry.
    Entry,
    /// A manifest list's entry.
    List,
}

const ENTRY: &[(&str, i32)] = &[
    ("status", 0),
    ("snapshot_id", 1),
    ("data_file", 2),
    ("sequence_number", 3),
    ("file_sequence_number", 4),
];

const FILE: &[(&str, i32)] = &[
    ("content", 134),
    ("file_path", 100),
    ("file_format", 101),
    ("partition", 102),
    ("record_count", 103),
    ("file_size_in_bytes", 104),
    ("block_size_in_bytes", 105),
    ("column_sizes", 108),
    ("value_counts", 109),
    ("null_value_counts", 110),
    ("nan_value_counts", 137),
    ("lower_bounds", 125),
    ("upper_bounds", 128),
    ("key_metadata", 131),
    ("split_offsets", 132),
    ("equality_ids", 135),
    ("sort_order_id", 140),
    ("first_row_id", 142),
    ("referenced_data_file", 143),
    ("content_offset", 144),
    ("content_size_in_bytes", 145),
];

/// Names differ between format versions 1 and 2.
const LIST: &[(&str, i32)] = &[
    ("manifest_path", 500),
    ("manifest_length", 501),
    ("partition_spec_id", 502),
    ("content", 517),
    ("sequence_number", 515),
    ("min_sequence_number", 516),
    ("added_snapshot_id", 503),
    ("added_files_count", 504),
    ("added_data_files_count", 504),
    ("existing_files_count", 505),
    ("existing_data_files_count", 505),
    ("deleted_files_count", 506),
    ("deleted_data_files_count", 506),
    ("added_rows_count", 512),
    ("existing_rows_count", 513),
    ("deleted_rows_count", 514),
    ("partitions", 507),
    ("key_metadata", 519),
    ("first_row_id", 520),
];

const SUMMARY: &[(&str, i32)] = &[
    ("contains_null", 509),
    ("contains_nan", 518),
    ("lower_bound", 510),
    ("upper_bound", 511),
];

/// Maps, which Avro has as arrays of pairs, and the ids of their keys and values. Readers take these by their places.
const MAPS: &[(i32, [i32; 2])] = &[
    (108, [117, 118]),
    (109, [119, 120]),
    (110, [121, 122]),
    (137, [138, 139]),
    (125, [126, 127]),
    (128, [129, 130]),
];

/// Gives the fields of a record, and of those in it, the ids that their writer left out.
pub(super) fn give_ids(record: &mut AvroType, level: Level) {
    match level {
        Level::Entry => {
            by_name(record, ENTRY);
            if let Some(file) = field_mut(record, 2) {
                by_name(&mut file.layout, FILE);
                for (map, ids) in MAPS {
                    if let Some(map) = field_mut(&mut file.layout, *map) {
                        by_place(&mut map.layout, *ids);
                    }
                }
            }
        }
        Level::List => {
            by_name(record, LIST);
            if let Some(AvroType::Array(items)) =
                field_mut(record, 507).and_then(|field| non_null(&mut field.layout))
            {
                by_name(items, SUMMARY);
            }
        }
    }
}

fn by_name(record: &mut AvroType, names: &[(&str, i32)]) {
    let Some(fields) = record.fields_mut() else {
        return;
    };
    let taken: Vec<i32> = fields.iter().filter_map(|field| field.id).collect();
    for field in fields.iter_mut().filter(|field| field.id.is_none()) {
        let known = names.iter().find(|(name, _)| *name == field.name);
        field.id = known.map(|(_, id)| *id).filter(|id| !taken.contains(id));
    }
}

fn by_place(map: &mut AvroType, ids: [i32; 2]) {
    if let Some(AvroType::Array(pair)) = non_null(map)
        && let Some(fields) = pair.fields_mut()
    {
        for (field, id) in fields.iter_mut().zip(ids) {
            field.id = Some(id);
        }
    }
}

fn field_mut(record: &mut AvroType, id: i32) -> Option<&mut Field> {
    let fields = record.fields_mut()?;
    fields.iter_mut().find(|field| field.id == Some(id))
}

/// What a value is when it is not null.
fn non_null(layout: &mut AvroType) -> Option<&mut AvroType> {
    match layout {
        AvroType::Union(branches) => branches
            .iter_mut()
            .find(|branch| **branch != AvroType::Null),
        other => Some(other),
    }
}
