//! What Iceberg Java reads in any spelling, and the `iceberg` crate (0.10.1) in one alone: names of types, transforms, directions
//! and kinds of references in capitals; a schema without an id, which is the schema 0; sort orders by transforms that nobody
//! knows, which no reader needs.
//!
//! They are spelled as the specification does before the crate sees them. The next metadata file has them as they were (`keep`).

use std::str::FromStr as _;

use iceberg::spec::Transform;
use serde_json::{Value, json};

/// Spells all of it as the specification does.
pub(super) fn spell(metadata: &mut Value) {
    let later = metadata.get("format-version").and_then(Value::as_u64) > Some(1);
    for schema in list(metadata, "schemas") {
        spell_types(schema);
        if later
            && let Some(schema) = schema.as_object_mut()
            && schema.get("schema-id").is_none_or(Value::is_null)
        {
            schema.insert("schema-id".to_owned(), json!(0));
        }
    }
    if let Some(schema) = metadata.get_mut("schema") {
        spell_types(schema);
    }
    for spec in list(metadata, "partition-specs") {
        list(spec, "fields").for_each(|field| in_small_letters(field, "transform"));
    }
    list(metadata, "partition-spec").for_each(|field| in_small_letters(field, "transform"));
    for order in list(metadata, "sort-orders") {
        for field in list(order, "fields") {
            for key in ["transform", "direction", "null-order"] {
                in_small_letters(field, key);
            }
            name_unknown(field);
        }
    }
    let refs = metadata.get_mut("refs").and_then(Value::as_object_mut);
    for (_, reference) in refs.into_iter().flatten() {
        in_small_letters(reference, "type");
    }
}

/// The items of a list.
fn list<'a>(of: &'a mut Value, key: &str) -> impl Iterator<Item = &'a mut Value> {
    let items = of.get_mut(key).and_then(Value::as_array_mut);
    items.into_iter().flatten()
}

fn in_small_letters(of: &mut Value, key: &str) {
    if let Some(Value::String(text)) = of.get_mut(key) {
        *text = text.to_lowercase();
    }
}

/// A transform that is not known sorts by what nobody can tell.
fn name_unknown(field: &mut Value) {
    if let Some(Value::String(transform)) = field.get_mut("transform")
        && Transform::from_str(transform).is_err()
    {
        *transform = Transform::Unknown.to_string();
    }
}

/// The types of all columns below.
fn spell_types(kind: &mut Value) {
    for field in list(kind, "fields") {
        in_small_letters(field, "type");
        if let Some(kind) = field.get_mut("type") {
            spell_types(kind);
        }
    }
    for key in ["element", "key", "value"] {
        in_small_letters(kind, key);
        if let Some(kind) = kind.get_mut(key) {
            spell_types(kind);
        }
    }
}
