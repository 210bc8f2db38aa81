//! Partitions: their types, their JSON form that travels in plans and tasks, and their names for people.
//!
//! The JSON form is the specification's *JSON single-value serialization*: a struct keyed by field id. The `iceberg`
//! crate has that too, but loses NaN, panics on dates outside its calendar, can't read nanoseconds back, and swallows
//! errors inside structs; a partition that changes on its way would put a file where its rows do not belong.

mod text;

use iceberg::spec::{
    Literal, NestedField, PartitionSpec, PrimitiveLiteral, PrimitiveType, Struct, StructType,
    TableMetadata, Transform, Type,
};
use icepress_model::SpecId;
use serde_json::{Map, Number, Value};
use thiserror::Error;
use uuid::Uuid;

#[cfg(test)]
mod tests;

/// A partition that does not fit its type, or a spec whose type can't be known.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{0}")]
pub struct PartitionError(String);

impl PartitionError {
    pub(crate) fn no_spec(spec_id: i32) -> Self {
        Self(format!("the table has no partition spec {spec_id}"))
    }
}

/// The type of a spec's partitions, fields in the spec's order.
///
/// Source columns are looked up in the current schema, then in older ones, newest first: a spec may outlive a column
/// that it was made of. Fails where the table has no such spec, or where no schema knows a source column whose type
/// would matter.
pub fn partition_type(
    metadata: &TableMetadata,
    spec_id: SpecId,
) -> Result<StructType, PartitionError> {
    let spec = metadata
        .partition_spec_by_id(spec_id.get())
        .ok_or_else(|| PartitionError::no_spec(spec_id.get()))?;
    let mut schemas: Vec<_> = metadata.schemas_iter().collect();
    schemas.sort_by_key(|schema| {
        let is_current = schema.schema_id() == metadata.current_schema_id();
        std::cmp::Reverse((is_current, schema.schema_id()))
    });
    let fields = spec
        .fields()
        .iter()
        .map(|field| {
            let source = schemas
                .iter()
                .find_map(|schema| schema.field_by_id(field.source_id))
                .map(|source| source.field_type.as_ref());
            let result = match (&field.transform, source) {
                (
                    Transform::Bucket(_) | Transform::Year | Transform::Month | Transform::Hour,
                    _,
                ) => Type::Primitive(PrimitiveType::Int),
                (Transform::Day, _) => Type::Primitive(PrimitiveType::Date),
                (Transform::Void, None) | (Transform::Unknown, _) => {
                    Type::Primitive(PrimitiveType::String)
                }
                (transform, Some(source)) => transform.result_type(source).map_err(|error| {
                    PartitionError(format!("partition field {}: {error}", field.name))
                })?,
                (_, None) => {
                    return Err(PartitionError(format!(
                        "no schema of the table has the source column {} of partition field {}",
                        field.source_id, field.name
                    )));
                }
            };
            Ok(NestedField::optional(field.field_id, &field.name, result).into())
        })
        .collect::<Result<Vec<_>, PartitionError>>()?;
    Ok(StructType::new(fields))
}

/// A partition as JSON: an object keyed by field id, `null` for a spec without fields.
///
/// Beyond the specification, floating-point numbers that JSON does not keep are strings (`NaN`, `inf`), and times
/// outside the years 0 to 9999 are plain numbers. Fails where a value is not of its field's type.
pub fn partition_to_json(
    partition: &Struct,
    partition_type: &StructType,
) -> Result<Value, PartitionError> {
    let fields = partition_type.fields();
    if partition.fields().len() != fields.len() {
        return Err(PartitionError(format!(
            "a partition of {} values does not fit a spec of {} fields",
            partition.fields().len(),
            fields.len()
        )));
    }
    if fields.is_empty() {
        return Ok(Value::Null);
    }
    let mut object = Map::new();
    for (value, field) in partition.iter().zip(fields) {
        let json = match value {
            None => Value::Null,
            Some(literal) => value_to_json(literal, &field.field_type)
                .ok_or_else(|| misfit(&field.name, literal, &field.field_type))?,
        };
        object.insert(field.id.to_string(), json);
    }
    Ok(Value::Object(object))
}

/// The partition that [`partition_to_json`] made `json` of. Fails where a field is missing or not of its type.
pub fn partition_from_json(
    json: &Value,
    partition_type: &StructType,
) -> Result<Struct, PartitionError> {
    let fields = partition_type.fields();
    match json {
        Value::Null if fields.is_empty() => Ok(Struct::empty()),
        Value::Object(object) => fields
            .iter()
            .map(|field| match object.get(&field.id.to_string()) {
                None => Err(PartitionError(format!(
                    "the partition {json} lacks field {} ({})",
                    field.id, field.name
                ))),
                Some(Value::Null) => Ok(None),
                Some(value) => value_from_json(value, &field.field_type)
                    .map(|literal| Some(Literal::Primitive(literal)))
                    .ok_or_else(|| misfit(&field.name, value, &field.field_type)),
            })
            .collect(),
        other => Err(PartitionError(format!(
            "{other} is no partition of {} fields",
            fields.len()
        ))),
    }
}

/// A partition for people, as in `day=2026-01-31/region=eu`; empty for a spec without fields. Nothing is escaped:
/// this is no path.
pub fn partition_name(
    spec: &PartitionSpec,
    partition_type: &StructType,
    partition: &Struct,
) -> String {
    let parts: Vec<String> = spec
        .fields()
        .iter()
        .zip(partition_type.fields())
        .zip(partition.iter())
        .map(|((field, typed), value)| {
            let value =
                value.and_then(|literal| human(field.transform, literal, &typed.field_type));
            format!("{}={}", field.name, value.as_deref().unwrap_or("null"))
        })
        .collect();
    parts.join("/")
}

/// The partition as folders of a path: what [`partition_name`] says, with names and values escaped as Iceberg's Java
/// writer escapes them (`URLEncoder`), so that no value can add a folder.
pub fn partition_path(
    spec: &PartitionSpec,
    partition_type: &StructType,
    partition: &Struct,
) -> String {
    let parts: Vec<String> = spec
        .fields()
        .iter()
        .zip(partition_type.fields())
        .zip(partition.iter())
        .map(|((field, typed), value)| {
            let value =
                value.and_then(|literal| human(field.transform, literal, &typed.field_type));
            format!(
                "{}={}",
                text::escape(&field.name),
                text::escape(value.as_deref().unwrap_or("null"))
            )
        })
        .collect();
    parts.join("/")
}

fn misfit(field: &str, value: &impl std::fmt::Debug, field_type: &Type) -> PartitionError {
    PartitionError(format!(
        "partition field {field}: {value:?} is no value of type {field_type}"
    ))
}

fn human(transform: Transform, literal: &Literal, field_type: &Type) -> Option<String> {
    match (transform, literal) {
        (Transform::Void, _) => None,
        (Transform::Year, Literal::Primitive(PrimitiveLiteral::Int(years))) => {
            Some((1970 + i64::from(*years)).to_string())
        }
        (Transform::Month, Literal::Primitive(PrimitiveLiteral::Int(months))) => {
            let months = i64::from(*months);
            Some(format!(
                "{:04}-{:02}",
                1970 + months.div_euclid(12),
                months.rem_euclid(12) + 1
            ))
        }
        (Transform::Hour, Literal::Primitive(PrimitiveLiteral::Int(hours))) => {
            let hours = i64::from(*hours);
            let date = text::date(hours.div_euclid(24))?;
            Some(format!("{date}-{:02}", hours.rem_euclid(24)))
        }
        _ => Some(match value_to_json(literal, field_type)? {
            Value::String(string) => string,
            other => other.to_string(),
        }),
    }
}

fn value_to_json(literal: &Literal, field_type: &Type) -> Option<Value> {
    let (Literal::Primitive(literal), Type::Primitive(primitive)) = (literal, field_type) else {
        return None;
    };
    let or_number = |string: Option<String>, number: i64| {
        string.map_or_else(|| Value::from(number), Value::String)
    };
    Some(match (primitive, literal) {
        (PrimitiveType::Boolean, PrimitiveLiteral::Boolean(value)) => Value::Bool(*value),
        (PrimitiveType::Int, PrimitiveLiteral::Int(value)) => Value::from(*value),
        (PrimitiveType::Long, PrimitiveLiteral::Long(value)) => Value::from(*value),
        (PrimitiveType::Float, PrimitiveLiteral::Float(value)) => float_to_json(f64::from(value.0)),
        (PrimitiveType::Double, PrimitiveLiteral::Double(value)) => float_to_json(value.0),
        (PrimitiveType::Date, PrimitiveLiteral::Int(days)) => {
            or_number(text::date(i64::from(*days)), i64::from(*days))
        }
        (PrimitiveType::Time, PrimitiveLiteral::Long(micros)) => {
            or_number(text::time_of_day(*micros), *micros)
        }
        (PrimitiveType::Timestamp, PrimitiveLiteral::Long(micros)) => {
            or_number(text::timestamp(*micros, text::MICROS, false), *micros)
        }
        (PrimitiveType::Timestamptz, PrimitiveLiteral::Long(micros)) => {
            or_number(text::timestamp(*micros, text::MICROS, true), *micros)
        }
        (PrimitiveType::TimestampNs, PrimitiveLiteral::Long(nanos)) => {
            or_number(text::timestamp(*nanos, text::NANOS, false), *nanos)
        }
        (PrimitiveType::TimestamptzNs, PrimitiveLiteral::Long(nanos)) => {
            or_number(text::timestamp(*nanos, text::NANOS, true), *nanos)
        }
        (PrimitiveType::String, PrimitiveLiteral::String(value)) => Value::from(value.as_str()),
        (PrimitiveType::Uuid, PrimitiveLiteral::UInt128(value)) => {
            Value::String(Uuid::from_u128(*value).to_string())
        }
        (PrimitiveType::Fixed(_) | PrimitiveType::Binary, PrimitiveLiteral::Binary(bytes)) => {
            Value::String(text::hex(bytes))
        }
        (PrimitiveType::Decimal { scale, .. }, PrimitiveLiteral::Int128(unscaled)) => {
            Value::String(text::decimal(*unscaled, *scale))
        }
        _ => return None,
    })
}

fn value_from_json(value: &Value, field_type: &Type) -> Option<PrimitiveLiteral> {
    let Type::Primitive(primitive) = field_type else {
        return None;
    };
    let timestamp = |units: i64, zoned: bool| {
        value
            .as_i64()
            .or_else(|| text::parse_timestamp(value.as_str()?, units, zoned))
            .map(PrimitiveLiteral::Long)
    };
    match primitive {
        PrimitiveType::Boolean => value.as_bool().map(PrimitiveLiteral::Boolean),
        PrimitiveType::Int => i32::try_from(value.as_i64()?)
            .ok()
            .map(PrimitiveLiteral::Int),
        PrimitiveType::Long => value.as_i64().map(PrimitiveLiteral::Long),
        PrimitiveType::Float => {
            float_from_json(value).map(|float| PrimitiveLiteral::Float((float as f32).into()))
        }
        PrimitiveType::Double => {
            float_from_json(value).map(|float| PrimitiveLiteral::Double(float.into()))
        }
        PrimitiveType::Date => value
            .as_i64()
            .or_else(|| text::parse_date(value.as_str()?))
            .and_then(|days| i32::try_from(days).ok())
            .map(PrimitiveLiteral::Int),
        PrimitiveType::Time => value
            .as_i64()
            .or_else(|| text::parse_time_of_day(value.as_str()?, text::MICROS))
            .map(PrimitiveLiteral::Long),
        PrimitiveType::Timestamp => timestamp(text::MICROS, false),
        PrimitiveType::Timestamptz => timestamp(text::MICROS, true),
        PrimitiveType::TimestampNs => timestamp(text::NANOS, false),
        PrimitiveType::TimestamptzNs => timestamp(text::NANOS, true),
        PrimitiveType::String => Some(PrimitiveLiteral::String(value.as_str()?.to_owned())),
        PrimitiveType::Uuid => Uuid::parse_str(value.as_str()?)
            .ok()
            .map(|uuid| PrimitiveLiteral::UInt128(uuid.as_u128())),
        PrimitiveType::Fixed(_) | PrimitiveType::Binary => {
            text::parse_hex(value.as_str()?).map(PrimitiveLiteral::Binary)
        }
        PrimitiveType::Decimal { scale, .. } => {
            text::parse_decimal(value.as_str()?, *scale).map(PrimitiveLiteral::Int128)
        }
    }
}

/// A number where JSON's text keeps it, else a string. `serde_json` reads some numbers back as a neighbour (it has an
/// exact mode that costs everybody else time), and a partition must not become its neighbour.
fn float_to_json(float: f64) -> Value {
    let reread = |number: &Number| serde_json::from_str::<f64>(&number.to_string());
    match Number::from_f64(float) {
        Some(number) if reread(&number).is_ok_and(|read| read.to_bits() == float.to_bits()) => {
            Value::Number(number)
        }
        _ => Value::String(float.to_string()),
    }
}

fn float_from_json(value: &Value) -> Option<f64> {
    match value.as_str() {
        None => value.as_f64(),
        Some(text) => text.parse().ok(),
    }
}
