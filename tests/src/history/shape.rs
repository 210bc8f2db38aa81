//! What a row is under a schema: columns found by field id, whatever they were called when they were written.

use iceberg::spec::{NestedFieldRef, Schema, TableMetadata, Type};

use super::{
    setup::ANCHOR,
    values::{Columns, Value},
};

/// The column with this id, at the top or inside a struct; `None` where the row was written without it.
pub(super) fn find(columns: &Columns, id: i32) -> Option<&Value> {
    columns.iter().find_map(|(own, value)| match value {
        _ if *own == id => Some(value),
        Value::Struct(inner) => find(inner, id),
        _ => None,
    })
}

/// `columns` as a reader of `fields` sees them.
pub(super) fn project(fields: &[NestedFieldRef], columns: &Columns) -> Columns {
    let column = |field: &NestedFieldRef| {
        let own = columns.iter().find(|(id, _)| *id == field.id);
        match own {
            Some((_, value)) => resolve(value, &field.field_type),
            None => default_of(field),
        }
    };
    fields
        .iter()
        .map(|field| (field.id, column(field)))
        .collect()
}

fn resolve(value: &Value, kind: &Type) -> Value {
    match (value, kind) {
        (Value::Struct(columns), Type::Struct(inner)) => {
            Value::Struct(project(inner.fields(), columns))
        }
        (Value::List(items), Type::List(list)) => {
            let element = &list.element_field.field_type;
            Value::List(items.iter().map(|item| resolve(item, element)).collect())
        }
        (Value::Map(pairs), Type::Map(map)) => {
            let (key, content) = (&map.key_field.field_type, &map.value_field.field_type);
            let pair = |(k, v): &(Value, Value)| (resolve(k, key), resolve(v, content));
            Value::Map(pairs.iter().map(pair).collect())
        }
        (value, _) => value.clone(),
    }
}

fn default_of(field: &NestedFieldRef) -> Value {
    let default = field.initial_default.as_ref();
    default.map_or(Value::Null, Value::of_literal)
}

/// The value of an equality delete's key field in a row: what was written, else the default that the field was added
/// with, else NULL. The field may have been dropped since.
pub(super) fn key_of(metadata: &TableMetadata, columns: &Columns, id: i32) -> Value {
    if let Some(value) = find(columns, id) {
        return value.clone();
    }
    let mut schemas: Vec<_> = metadata.schemas_iter().collect();
    schemas.sort_by_key(|schema| schema.schema_id());
    let Some(schema) = schemas
        .into_iter()
        .find(|schema| schema.field_by_id(id).is_some())
    else {
        return Value::Null;
    };
    let parent = schema.as_struct().fields().iter().find(|field| {
        let inner = field.field_type.as_ref();
        matches!(inner, Type::Struct(inner) if inner.field_by_id(id).is_some())
    });
    let is_there = |parent: &NestedFieldRef| {
        let own = columns.iter().find(|(own, _)| *own == parent.id);
        matches!(own, Some((_, Value::Struct(_))))
    };
    match (parent, schema.field_by_id(id)) {
        (Some(parent), _) if !is_there(parent) => Value::Null,
        (_, Some(field)) => default_of(field),
        _ => Value::Null,
    }
}

/// Fields that an equality delete may have as its key: primitive, not floating, at the top, or those of structs at the
/// top that are never NULL by themselves. (Whether a NULL struct equals one with a NULL in it, readers don't agree.)
pub(super) fn key_fields(schema: &Schema) -> Vec<i32> {
    let mut found = Vec::new();
    for field in schema.as_struct().fields() {
        match field.field_type.as_ref() {
            Type::Primitive(kind) if !kind_is_floating(kind) => found.push(field.id),
            Type::Struct(inner) => found.extend(
                inner
                    .fields()
                    .iter()
                    .map(|inner| inner.id)
                    .filter(|inner| is_anchor(field.id, *inner)),
            ),
            _ => {}
        }
    }
    found
}

/// Whether a field of a struct is there wherever the struct is, and stays as long as the struct does. (Where a file has
/// none of a struct's fields, readers don't agree about whether the struct is NULL.)
pub(super) fn is_anchor(outer: i32, inner: i32) -> bool {
    inner == ANCHOR || inner == outer + 1
}

fn kind_is_floating(kind: &iceberg::spec::PrimitiveType) -> bool {
    use iceberg::spec::PrimitiveType::{Double, Float};
    matches!(kind, Float | Double)
}

/// The fields of `schema` that lie on the way to `ids`, structs with only what is asked for.
pub(super) fn select(schema: &Schema, ids: &[i32]) -> Schema {
    let fields = schema.as_struct().fields().iter().filter_map(|field| {
        if ids.contains(&field.id) {
            return Some(NestedFieldRef::clone(field));
        }
        let Type::Struct(inner) = field.field_type.as_ref() else {
            return None;
        };
        let inner: Vec<NestedFieldRef> = inner
            .fields()
            .iter()
            .filter(|field| ids.contains(&field.id))
            .cloned()
            .collect();
        (!inner.is_empty()).then(|| {
            let mut field = field.as_ref().clone();
            *field.field_type = Type::Struct(iceberg::spec::StructType::new(inner));
            field.into()
        })
    });
    Schema::builder().with_fields(fields).build().unwrap()
}
