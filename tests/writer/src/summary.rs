//! The summary of a snapshot that adds files: what it added, and the table's totals with it.

use std::{collections::HashMap, sync::Arc};

use iceberg::spec::{
    DataContentType, Literal, Operation, PartitionSpec, PartitionSpecRef, SchemaRef,
    SnapshotSummaryCollector, Summary, TableMetadata, Type,
};

use super::AddedFile;

/// Each total with what adds to it and what takes from it, by their names in a summary (specification, *Optional
/// Snapshot Summary Fields*).
const TOTALS: [(&str, &str, &str); 6] = [
    ("total-data-files", "added-data-files", "deleted-data-files"),
    (
        "total-delete-files",
        "added-delete-files",
        "removed-delete-files",
    ),
    ("total-records", "added-records", "deleted-records"),
    ("total-files-size", "added-files-size", "removed-files-size"),
    (
        "total-position-deletes",
        "added-position-deletes",
        "removed-position-deletes",
    ),
    (
        "total-equality-deletes",
        "added-equality-deletes",
        "removed-equality-deletes",
    ),
];

/// The summary of a snapshot that adds `files` to the table's current snapshot and takes `gone` out of it.
///
/// A total that the parent does not state is left out: it would have to be counted.
pub(super) fn summarize(
    metadata: &TableMetadata,
    files: &[AddedFile],
    gone: &[AddedFile],
) -> Summary {
    let mut collector = SnapshotSummaryCollector::default();
    for added in files {
        let (schema, spec) = spec_with_schema(metadata, added);
        collector.add_file(&added.file, schema, spec);
    }
    for removed in gone {
        let (schema, spec) = spec_with_schema(metadata, removed);
        collector.remove_file(&removed.file, schema, spec);
    }
    let mut properties = collector.build();
    set_sizes(&mut properties, files, gone);
    let count_of = |properties: &HashMap<String, String>, name: &str| {
        properties
            .get(name)
            .and_then(|text| text.parse::<u64>().ok())
            .unwrap_or(0)
    };
    for (total, added, removed) in TOTALS {
        let before = match metadata.current_snapshot() {
            None => Some(0),
            Some(parent) => parent
                .summary()
                .additional_properties
                .get(total)
                .and_then(|text| text.parse::<u64>().ok()),
        };
        if let Some(before) = before {
            let after = before + count_of(&properties, added);
            let after = after.saturating_sub(count_of(&properties, removed));
            properties.insert(total.to_owned(), after.to_string());
        }
    }
    Summary {
        operation: operation(files, !gone.is_empty()),
        additional_properties: properties,
    }
}

/// Puts in what the collector gets wrong: many vectors share a file, and each counts for itself alone, as in Java.
fn set_sizes(properties: &mut HashMap<String, String>, files: &[AddedFile], gone: &[AddedFile]) {
    let size_of = |added: &AddedFile| {
        let of_vector = added.file.content_size_in_bytes();
        let of_vector = of_vector.and_then(|size| u64::try_from(size).ok());
        of_vector.unwrap_or(added.file.file_size_in_bytes())
    };
    for (name, members) in [("added-files-size", files), ("removed-files-size", gone)] {
        let size: u64 = members.iter().map(size_of).sum();
        if size > 0 {
            properties.insert(name.to_owned(), size.to_string());
        }
    }
}

/// A file's spec, and the newest schema whose types its partition values have: a column that an older spec partitions
/// by may be gone, or have a wider type now, and the collector can do with neither. Where there is none, the file is
/// counted without its partition.
fn spec_with_schema(metadata: &TableMetadata, added: &AddedFile) -> (SchemaRef, PartitionSpecRef) {
    let fits = |spec: &PartitionSpecRef, schema: &SchemaRef| {
        let kinds = spec.partition_type(schema).ok();
        kinds.is_some_and(|kinds| {
            let mut values = kinds.fields().iter().zip(added.file.partition().fields());
            values.all(|(field, value)| match (field.field_type.as_ref(), value) {
                (_, None) => true,
                (Type::Primitive(kind), Some(Literal::Primitive(value))) => kind.compatible(value),
                _ => false,
            })
        })
    };
    let mut schemas: Vec<&SchemaRef> = metadata.schemas_iter().collect();
    schemas.sort_by_key(|schema| std::cmp::Reverse(schema.schema_id()));
    let found = metadata
        .partition_spec_by_id(added.spec_id.get())
        .and_then(|spec| {
            let schema = schemas.into_iter().find(|schema| fits(spec, schema))?;
            Some((Arc::clone(schema), Arc::clone(spec)))
        });
    found.unwrap_or_else(|| {
        let unpartitioned = PartitionSpec::unpartition_spec();
        (Arc::clone(metadata.current_schema()), unpartitioned.into())
    })
}

fn operation(files: &[AddedFile], removes: bool) -> Operation {
    let is_data = |added: &AddedFile| added.file.content_type() == DataContentType::Data;
    match (files.iter().any(is_data), files.iter().all(is_data)) {
        (_, true) if !removes => Operation::Append,
        (true, _) => Operation::Overwrite,
        (false, _) => Operation::Delete,
    }
}
