//! What the next metadata file has as the one before had it, letter for letter.
//!
//! The `iceberg` crate (0.10.1) keeps what it knows of a metadata file, and writes that. But a file has more: keys of other
//! vendors, snapshots in a form that it had to be completed for (`snapshots`), void fields that it binds elsewhere
//! (`readable`), the branches and tags of version 1, a UUID in capitals, a location with a slash at its end. Whoever wrote
//! that may look for it again, and we have no business to change it.

use std::collections::HashSet;

use iceberg::{TableUpdate, spec::MAIN_BRANCH};
use serde_json::{Map, Value, json};

use super::{change::refs_after, snapshots::name_operation};

/// Every key of a metadata file that the specification knows. Whether these are in the next file is for the change to say.
const KNOWN: [&str; 29] = [
    "format-version",
    "table-uuid",
    "location",
    "last-sequence-number",
    "last-updated-ms",
    "last-column-id",
    "schema",
    "schemas",
    "current-schema-id",
    "partition-spec",
    "partition-specs",
    "default-spec-id",
    "last-partition-id",
    "properties",
    "current-snapshot-id",
    "snapshots",
    "snapshot-log",
    "metadata-log",
    "sort-orders",
    "default-sort-order-id",
    "refs",
    "statistics",
    "partition-statistics",
    "next-row-id",
    "encryption-keys",
    "row-lineage",
    "last-row-id",
    "current-snapshot",
    "key-metadata",
];

/// Lists whose items never change while they are there, and what tells their items apart.
const LISTS: [(&str, &[&str]); 8] = [
    ("snapshots", &["snapshot-id"]),
    ("schemas", &["schema-id"]),
    ("partition-specs", &["spec-id"]),
    ("sort-orders", &["order-id"]),
    ("statistics", &["snapshot-id", "statistics-path"]),
    ("partition-statistics", &["snapshot-id", "statistics-path"]),
    ("snapshot-log", &["snapshot-id", "timestamp-ms"]),
    ("metadata-log", &["metadata-file", "timestamp-ms"]),
];

/// Puts into `next`, what `updates` made of the metadata file `old`, all that they did not touch as it was.
pub(super) fn keep(next: &mut Value, old: Value, updates: &[TableUpdate]) {
    let Value::Object(mut old) = old else {
        return;
    };
    // Another version has another form for all of it.
    if next.get("format-version") != old.get("format-version") {
        return;
    }
    keep_refs(next, &mut old, updates);
    keep_names(next, &old);
    for (list, keys) in LISTS {
        if let (Some(next), Some(old)) = (next.get_mut(list), old.get_mut(list)) {
            keep_items(next, old, keys);
            next.as_array_mut()
                .into_iter()
                .flatten()
                .for_each(write_plainly);
        }
    }
    // The one spec of version 1, beside the list: the default one.
    if let Some(spec) = old.get("partition-spec").filter(|spec| spec.is_array())
        && next.get("partition-spec").is_some()
        && !updates.iter().any(touches_specs)
    {
        next["partition-spec"] = spec.clone();
    }
    if let Some(next) = next.as_object_mut() {
        for (key, value) in old {
            if !KNOWN.contains(&key.as_str()) {
                next.entry(key).or_insert(value);
            }
        }
    }
}

/// UUID and location, where they are the same in other letters, and what version 1 may do without.
fn keep_names(next: &mut Value, old: &Map<String, Value>) {
    let text = |value: Option<&Value>| value.and_then(Value::as_str).map(str::to_owned);
    let (now, before) = (text(next.get("table-uuid")), text(old.get("table-uuid")));
    match (now, before) {
        (Some(now), Some(before)) if now.eq_ignore_ascii_case(&before) => {
            next["table-uuid"] = json!(before);
        }
        // The crate makes one up, the same for all.
        (Some(now), None) if now == uuid::Uuid::nil().to_string() => {
            if let Some(next) = next.as_object_mut() {
                next.remove("table-uuid");
            }
        }
        _ => {}
    }
    let (now, before) = (text(next.get("location")), text(old.get("location")));
    if let (Some(now), Some(before)) = (now, before)
        && now == before.trim_end_matches('/')
    {
        next["location"] = json!(before);
    }
    // The crate takes the greatest spec id, and it is the greatest field id.
    if old.get("last-partition-id").is_none_or(Value::is_null)
        && next.get("last-partition-id").is_some()
    {
        let specs = next.get("partition-specs").and_then(Value::as_array);
        let fields = specs
            .into_iter()
            .flatten()
            .filter_map(|spec| spec.get("fields")?.as_array())
            .flatten();
        let ids = fields.filter_map(|field| field.get("field-id")?.as_i64());
        next["last-partition-id"] = json!(ids.max().unwrap_or(999).max(999));
    }
}

/// Branches and tags that nobody moved. The crate forgets those of version 1 altogether, which Java writes there too.
fn keep_refs(next: &mut Value, old: &mut Map<String, Value>, updates: &[TableUpdate]) {
    let named = |update: &TableUpdate| matches!(update, TableUpdate::SetSnapshotRef { ref_name, .. } if ref_name != MAIN_BRANCH);
    let old = match (old.remove("refs"), old.get("current-snapshot-id")) {
        (Some(Value::Object(refs)), _) => refs,
        // The first branch or tag of a table of version 1. Where there are any, the main branch is one of them.
        (None, Some(current)) if updates.iter().any(named) => {
            let main = json!({ "snapshot-id": current, "type": "branch" });
            Map::from_iter([(MAIN_BRANCH.to_owned(), main)])
        }
        _ => return,
    };
    let kept = refs_after(old, updates);
    match next.get_mut("refs").and_then(Value::as_object_mut) {
        Some(refs) => {
            let moved: HashSet<&String> = updates
                .iter()
                .filter_map(|update| match update {
                    TableUpdate::SetSnapshotRef { ref_name, .. } => Some(ref_name),
                    _ => None,
                })
                .collect();
            for (name, reference) in refs {
                let before = kept.get(name).filter(|_| !moved.contains(name));
                if let Some(before) = before
                    && before.get("snapshot-id") == reference.get("snapshot-id")
                {
                    *reference = before.clone();
                }
            }
        }
        None if !kept.is_empty() => next["refs"] = Value::Object(kept),
        None => {}
    }
}

fn keep_items(next: &mut Value, old: &mut Value, keys: &[&str]) {
    let (Some(next), Some(old)) = (next.as_array_mut(), old.as_array_mut()) else {
        return;
    };
    let name = |item: &Value| -> Option<Vec<String>> {
        keys.iter()
            .map(|key| item.get(key).map(Value::to_string))
            .collect()
    };
    let mut before: std::collections::HashMap<_, _> = std::mem::take(old)
        .into_iter()
        .filter_map(|item| Some((name(&item)?, item)))
        .collect();
    for item in next {
        if let Some(before) = name(item).and_then(|name| before.remove(&name)) {
            *item = before;
        }
    }
}

/// Writes as the specification has it what was read in spite of it: others may not read it.
fn write_plainly(item: &mut Value) {
    if let Some(summary) = item.get_mut("summary").and_then(Value::as_object_mut) {
        name_operation(summary);
    }
    if item.get("identifier-field-ids").is_some_and(Value::is_null)
        && let Some(schema) = item.as_object_mut()
    {
        schema.remove("identifier-field-ids");
    }
}

fn touches_specs(update: &TableUpdate) -> bool {
    matches!(
        update,
        TableUpdate::AddSpec { .. }
            | TableUpdate::SetDefaultSpec { .. }
            | TableUpdate::RemovePartitionSpecs { .. }
    )
}
