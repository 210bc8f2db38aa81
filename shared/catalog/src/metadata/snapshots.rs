//! Snapshots that Iceberg Java reads and the `iceberg` crate (0.10.1) does not: without a summary or an operation, with an
//! operation of somebody's own, or with their manifests named in the metadata file instead of in a manifest list, as
//! writers of version 1 had it until 2019.
//!
//! They are completed before the crate sees them. The next metadata file has them as they were, since snapshots never
//! change (`keep`), but for an operation that nobody else would read.

use std::collections::HashMap;

use serde_json::{Map, Value, json};

/// What Java takes a snapshot's operation to be where it is missing: nothing can be concluded from an overwrite. So it is
/// with one that nobody knows.
const UNKNOWN_OPERATION: &str = "overwrite";
const KNOWN_OPERATIONS: [&str; 4] = ["append", "replace", "overwrite", "delete"];

/// What was completed.
#[derive(Debug, Default)]
pub(super) struct Completed {
    /// The manifests of snapshots that have no manifest list, by the snapshots' ids.
    pub(super) named_manifests: HashMap<i64, Vec<String>>,
}

/// Completes all snapshots. Those of version 1 in tables of later versions get the sequence number 0 (specification,
/// *Sequence Numbers*), which Java does not write.
pub(super) fn complete(metadata: &mut Value) -> Completed {
    let mut completed = Completed::default();
    let version = metadata.get("format-version").and_then(Value::as_u64);
    let snapshots = metadata.get_mut("snapshots").and_then(Value::as_array_mut);
    let snapshots = snapshots.into_iter().flatten();
    for snapshot in snapshots.filter_map(Value::as_object_mut) {
        if version > Some(1) && !snapshot.contains_key("sequence-number") {
            snapshot.insert("sequence-number".to_owned(), json!(0));
        }
        complete_summary(snapshot);
        if let Some(manifests) = named_manifests(snapshot) {
            if let Some(id) = snapshot.get("snapshot-id").and_then(Value::as_i64) {
                completed.named_manifests.insert(id, manifests);
            }
            snapshot.remove("manifests");
            snapshot.insert("manifest-list".to_owned(), json!(""));
        }
    }
    completed
}

fn complete_summary(snapshot: &mut Map<String, Value>) {
    let summary = snapshot.entry("summary").or_insert_with(|| json!({}));
    if let Some(summary) = summary.as_object_mut() {
        name_operation(summary);
    }
}

/// Puts an operation that is known where there is none, or another.
pub(super) fn name_operation(summary: &mut Map<String, Value>) {
    let is_known = match summary.get("operation") {
        None => false,
        Some(Value::String(operation)) => KNOWN_OPERATIONS.contains(&operation.as_str()),
        // Not for us to make sense of.
        Some(_) => true,
    };
    if !is_known {
        summary.insert("operation".to_owned(), json!(UNKNOWN_OPERATION));
    }
}

/// The manifests of a snapshot that has no manifest list.
fn named_manifests(snapshot: &Map<String, Value>) -> Option<Vec<String>> {
    if snapshot.contains_key("manifest-list") {
        return None;
    }
    let manifests = snapshot.get("manifests")?.as_array()?.iter();
    manifests
        .map(|path| path.as_str().map(str::to_owned))
        .collect()
}
