//! Gets tables past a check of the `iceberg` crate that real tables don't pass.
//!
//! Version 1 never drops a partition field: Java gives it the transform `void` and lets it keep its name, which is often
//! that of a column. The crate's builder binds the default spec anew at every change and refuses such names. So they
//! are put aside while it works; no other program ever sees the stand-ins.

use iceberg::spec::{TableMetadata, Transform};
use serde_json::Value;

/// A field of a spec whose name was put aside.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Disguised {
    spec_id: i32,
    field_id: i32,
    name: String,
}

/// The metadata with stand-ins for the names that the builder would refuse, and those names.
pub(super) fn disguise(
    metadata: &TableMetadata,
) -> serde_json::Result<(TableMetadata, Vec<Disguised>)> {
    let schema = metadata.current_schema();
    let mut disguised = Vec::new();
    for spec in metadata.partition_specs_iter() {
        for field in spec.fields() {
            if field.transform == Transform::Void && schema.field_by_name(&field.name).is_some() {
                disguised.push(Disguised {
                    spec_id: spec.spec_id(),
                    field_id: field.field_id,
                    name: field.name.clone(),
                });
            }
        }
    }
    if disguised.is_empty() {
        return Ok((metadata.clone(), disguised));
    }
    let renamed = rename(metadata, &disguised, |field| {
        format!("\u{0}void-{}", field.field_id)
    })?;
    Ok((renamed, disguised))
}

/// The metadata with its own names again.
pub(super) fn reveal(
    metadata: TableMetadata,
    disguised: &[Disguised],
) -> serde_json::Result<TableMetadata> {
    if disguised.is_empty() {
        return Ok(metadata);
    }
    rename(&metadata, disguised, |field| field.name.clone())
}

fn rename(
    metadata: &TableMetadata,
    fields: &[Disguised],
    name: impl Fn(&Disguised) -> String,
) -> serde_json::Result<TableMetadata> {
    let mut json = serde_json::to_value(metadata)?;
    let default = metadata.default_partition_spec_id();
    // Version 1 repeats the default spec's fields beside the list of all specs.
    if let Some(spec) = json.get_mut("partition-spec") {
        rename_in(spec, default, fields, &name);
    }
    let specs = json
        .get_mut("partition-specs")
        .and_then(Value::as_array_mut);
    for spec in specs.into_iter().flatten() {
        let id = spec.get("spec-id").and_then(Value::as_i64);
        if let (Some(id), Some(spec)) = (
            id.and_then(|id| i32::try_from(id).ok()),
            spec.get_mut("fields"),
        ) {
            rename_in(spec, id, fields, &name);
        }
    }
    serde_json::from_value(json)
}

fn rename_in(
    spec: &mut Value,
    spec_id: i32,
    fields: &[Disguised],
    name: &impl Fn(&Disguised) -> String,
) {
    for field in spec.as_array_mut().into_iter().flatten() {
        let id = field.get("field-id").and_then(Value::as_i64);
        let known = fields
            .iter()
            .find(|known| known.spec_id == spec_id && Some(i64::from(known.field_id)) == id);
        if let Some(known) = known {
            field["name"] = Value::from(name(known));
        }
    }
}
