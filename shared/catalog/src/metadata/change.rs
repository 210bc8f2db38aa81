//! Applying a change to metadata, around two gaps of the `iceberg` crate (0.10.1).
//!
//! * Its builder binds the default partition spec and the default sort order anew at every change, and refuses what other
//!   clients rightly keep: the void field that a dropped identity partition leaves in a v1 table, under its column's name;
//!   a void field whose column is gone; a column that was later named like a partition field. Where the builder refuses and
//!   the change does not touch them, they are set aside while it works, and put back as they were.
//! * It forgets the branches and tags of v1 tables, which Java writes there too. They are carried over from the file.

use iceberg::{
    TableUpdate,
    spec::{TableMetadata, TableMetadataBuilder},
};
use serde_json::{Map, Value, json};

use super::json::ordered;

/// What is set aside.
const SET_ASIDE: [&str; 4] = [
    "partition-spec",
    "partition-specs",
    "sort-orders",
    "default-sort-order-id",
];

/// The metadata after `updates`, as JSON in order, with an entry for `location` in its log. The time of the last update
/// is the system's where no snapshot is added. The error is a message for people.
pub(super) fn apply(
    base: &TableMetadata,
    location: &str,
    updates: Vec<TableUpdate>,
) -> Result<Value, String> {
    let refused = match build(base.clone(), location, updates.clone()) {
        Ok(json) => return Ok(json),
        Err(refused) => refused,
    };
    if updates.iter().any(touches_what_is_set_aside) {
        return Err(refused);
    }
    let mut stripped = ordered(base).map_err(|error| error.to_string())?;
    let aside: Vec<(&str, Option<Value>)> = SET_ASIDE
        .map(|key| (key, stripped.get(key).cloned()))
        .into();
    let spec_id = stripped.get("default-spec-id").cloned().unwrap_or_default();
    stripped["partition-specs"] = json!([{ "spec-id": spec_id, "fields": [] }]);
    if stripped.get("partition-spec").is_some() {
        stripped["partition-spec"] = json!([]);
    }
    stripped["sort-orders"] = json!([{ "order-id": 0, "fields": [] }]);
    stripped["default-sort-order-id"] = json!(0);
    let stripped: TableMetadata = serde_json::from_value(stripped).map_err(|_| refused.clone())?;
    let mut changed = build(stripped, location, updates).map_err(|_| refused)?;
    let Some(object) = changed.as_object_mut() else {
        return Err("metadata is a JSON object".to_owned());
    };
    for (key, value) in aside {
        match value {
            Some(value) => object.insert(key.to_owned(), value),
            None => object.remove(key),
        };
    }
    Ok(changed)
}

fn build(base: TableMetadata, location: &str, updates: Vec<TableUpdate>) -> Result<Value, String> {
    let builder = TableMetadataBuilder::new_from_metadata(base, Some(location.to_owned()));
    let built = updates
        .into_iter()
        .try_fold(builder, |builder, update| update.apply(builder))
        .and_then(TableMetadataBuilder::build)
        .map_err(|error| error.to_string())?
        .metadata;
    ordered(&built).map_err(|error| error.to_string())
}

fn touches_what_is_set_aside(update: &TableUpdate) -> bool {
    !matches!(
        update,
        TableUpdate::AddSnapshot { .. }
            | TableUpdate::SetSnapshotRef { .. }
            | TableUpdate::RemoveSnapshots { .. }
            | TableUpdate::RemoveSnapshotRef { .. }
            | TableUpdate::SetProperties { .. }
            | TableUpdate::RemoveProperties { .. }
            | TableUpdate::SetStatistics { .. }
            | TableUpdate::RemoveStatistics { .. }
            | TableUpdate::SetPartitionStatistics { .. }
            | TableUpdate::RemovePartitionStatistics { .. }
    )
}

/// The branches and tags of a v1 table, after `updates`.
pub(super) fn refs_after(
    mut refs: Map<String, Value>,
    updates: &[TableUpdate],
) -> Map<String, Value> {
    for update in updates {
        match update {
            TableUpdate::SetSnapshotRef {
                ref_name,
                reference,
            } => {
                // Numbers and text: there is nothing in it that JSON could not say.
                let value = serde_json::to_value(reference).unwrap_or_default();
                refs.insert(ref_name.clone(), value);
            }
            TableUpdate::RemoveSnapshotRef { ref_name } => {
                refs.remove(ref_name);
            }
            TableUpdate::RemoveSnapshots { snapshot_ids } => {
                refs.retain(|_, reference| {
                    let id = reference.get("snapshot-id").and_then(Value::as_i64);
                    id.is_none_or(|id| !snapshot_ids.contains(&id))
                });
            }
            _ => {}
        }
    }
    refs
}
