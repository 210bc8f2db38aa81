//! The summary of a snapshot that adds files: what it added, and the table's totals with it.

use std::{collections::HashMap, sync::Arc};

use iceberg::spec::{DataContentType, Operation, SnapshotSummaryCollector, Summary, TableMetadata};

use super::AddedFile;

/// Each total with what adds to it, by their names in a summary (specification, *Optional Snapshot Summary Fields*).
const TOTALS: [(&str, &str); 6] = [
    ("total-data-files", "added-data-files"),
    ("total-delete-files", "added-delete-files"),
    ("total-records", "added-records"),
    ("total-files-size", "added-files-size"),
    ("total-position-deletes", "added-position-deletes"),
    ("total-equality-deletes", "added-equality-deletes"),
];

/// The summary of a snapshot that adds `files` to the table's current snapshot.
///
/// A total that the parent does not state is left out: it would have to be counted.
pub(super) fn summarize(metadata: &TableMetadata, files: &[AddedFile]) -> Summary {
    let mut collector = SnapshotSummaryCollector::default();
    for added in files {
        if let Some(spec) = metadata.partition_spec_by_id(added.spec_id.get()) {
            collector.add_file(
                &added.file,
                Arc::clone(metadata.current_schema()),
                Arc::clone(spec),
            );
        }
    }
    let mut properties = collector.build();
    let added_of = |properties: &HashMap<String, String>, name: &str| {
        properties
            .get(name)
            .and_then(|text| text.parse::<u64>().ok())
            .unwrap_or(0)
    };
    for (total, added) in TOTALS {
        let before = match metadata.current_snapshot() {
            None => Some(0),
            Some(parent) => parent
                .summary()
                .additional_properties
                .get(total)
                .and_then(|text| text.parse::<u64>().ok()),
        };
        if let Some(before) = before {
            let after = before + added_of(&properties, added);
            properties.insert(total.to_owned(), after.to_string());
        }
    }
    Summary {
        operation: operation(files),
        additional_properties: properties,
    }
}

fn operation(files: &[AddedFile]) -> Operation {
    let is_data = |added: &AddedFile| added.file.content_type() == DataContentType::Data;
    match (files.iter().any(is_data), files.iter().all(is_data)) {
        (_, true) => Operation::Append,
        (true, false) => Operation::Overwrite,
        (false, false) => Operation::Delete,
    }
}
