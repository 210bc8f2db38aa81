//! A table's schema in Arrow, which the engine computes in, and in Parquet, which it writes.
//!
//! Names, annotations and physical types are those of Iceberg's own Java writer (specification, *Parquet* in
//! *Appendix A: Format-specific Requirements*), so that a rewritten file can't be told from one that a writer made.

use std::sync::Arc;

use arrow_schema::{DataType, Field, FieldRef, Fields, TimeUnit as ArrowTimeUnit};
use iceberg::spec::{ListType, MapType, NestedField, NestedFieldRef, PrimitiveType, Type};
use parquet::{
    basic::{ConvertedType, LogicalType, Repetition, TimeUnit, Type as PhysicalType},
    errors::ParquetError,
    schema::types::{Type as ParquetType, TypePtr},
};

use crate::failure::{Result, unsupported};

/// The time zone of every `timestamptz` value.
const UTC: &str = "+00:00";

/// The Arrow field of a table's field. Carries no metadata: the Parquet schema holds the field ids.
pub(crate) fn arrow_field(field: &NestedField) -> Result<FieldRef> {
    Ok(Arc::new(Field::new(
        &field.name,
        arrow_type(&field.field_type)?,
        !field.required,
    )))
}

/// The Arrow type of a table's type.
pub(crate) fn arrow_type(field_type: &Type) -> Result<DataType> {
    Ok(match field_type {
        Type::Primitive(primitive) => arrow_primitive(primitive)?,
        Type::Struct(fields) => DataType::Struct(arrow_fields(fields.fields())?),
        Type::List(ListType { element_field }) => DataType::List(arrow_field(element_field)?),
        Type::Map(MapType {
            key_field,
            value_field,
        }) => {
            let entries = Fields::from(vec![arrow_field(key_field)?, arrow_field(value_field)?]);
            let entries = Field::new("key_value", DataType::Struct(entries), false);
            DataType::Map(Arc::new(entries), false)
        }
    })
}

/// The Arrow fields of several of a table's fields.
pub(crate) fn arrow_fields(fields: &[NestedFieldRef]) -> Result<Fields> {
    fields.iter().map(|field| arrow_field(field)).collect()
}

fn arrow_primitive(primitive: &PrimitiveType) -> Result<DataType> {
    use ArrowTimeUnit::{Microsecond, Nanosecond};
    Ok(match primitive {
        PrimitiveType::Boolean => DataType::Boolean,
        PrimitiveType::Int => DataType::Int32,
        PrimitiveType::Long => DataType::Int64,
        PrimitiveType::Float => DataType::Float32,
        PrimitiveType::Double => DataType::Float64,
        PrimitiveType::Decimal { precision, scale } => {
            let (Ok(precision), Ok(scale)) = (u8::try_from(*precision), i8::try_from(*scale))
            else {
                return Err(unsupported(format!("there is no type {primitive}")));
            };
            DataType::Decimal128(precision, scale)
        }
        PrimitiveType::Date => DataType::Date32,
        PrimitiveType::Time => DataType::Time64(Microsecond),
        PrimitiveType::Timestamp => DataType::Timestamp(Microsecond, None),
        PrimitiveType::Timestamptz => DataType::Timestamp(Microsecond, Some(UTC.into())),
        PrimitiveType::TimestampNs => DataType::Timestamp(Nanosecond, None),
        PrimitiveType::TimestamptzNs => DataType::Timestamp(Nanosecond, Some(UTC.into())),
        // Views: values that rows share lie in memory once, and there is no end to them at 2 GiB.
        PrimitiveType::String => DataType::Utf8View,
        PrimitiveType::Uuid => DataType::FixedSizeBinary(16),
        PrimitiveType::Fixed(length) => DataType::FixedSizeBinary(
            i32::try_from(*length)
                .map_err(|_| unsupported(format!("fixed[{length}] is too long for Parquet")))?,
        ),
        PrimitiveType::Binary => DataType::BinaryView,
    })
}

/// The Parquet schema of a table's fields, as Iceberg's Java library writes it.
///
/// Fails where Parquet has no type for one.
pub fn parquet_schema(fields: &[NestedFieldRef]) -> Result<TypePtr> {
    let build = || -> std::result::Result<TypePtr, ParquetError> {
        let children = fields
            .iter()
            .map(|field| parquet_field(field, &field.name))
            .collect::<std::result::Result<_, _>>()?;
        Ok(Arc::new(
            ParquetType::group_type_builder("table")
                .with_fields(children)
                .build()?,
        ))
    };
    build().map_err(|error| unsupported(format!("the schema can't be written as Parquet: {error}")))
}

fn parquet_field(field: &NestedField, name: &str) -> std::result::Result<TypePtr, ParquetError> {
    let repetition = if field.required {
        Repetition::REQUIRED
    } else {
        Repetition::OPTIONAL
    };
    let built = match field.field_type.as_ref() {
        Type::Primitive(primitive) => {
            return parquet_primitive(primitive, name, repetition, field.id);
        }
        Type::Struct(fields) => {
            let children = fields
                .fields()
                .iter()
                .map(|child| parquet_field(child, &child.name))
                .collect::<std::result::Result<_, _>>()?;
            ParquetType::group_type_builder(name).with_fields(children)
        }
        Type::List(ListType { element_field }) => {
            let element = parquet_field(element_field, "element")?;
            let repeated = repeated_group("list", vec![element])?;
            ParquetType::group_type_builder(name)
                .with_logical_type(Some(LogicalType::List))
                .with_converted_type(ConvertedType::LIST)
                .with_fields(vec![repeated])
        }
        Type::Map(MapType {
            key_field,
            value_field,
        }) => {
            let children = vec![
                parquet_field(key_field, "key")?,
                parquet_field(value_field, "value")?,
            ];
            let repeated = repeated_group("key_value", children)?;
            ParquetType::group_type_builder(name)
                .with_logical_type(Some(LogicalType::Map))
                .with_converted_type(ConvertedType::MAP)
                .with_fields(vec![repeated])
        }
    };
    Ok(Arc::new(
        built
            .with_repetition(repetition)
            .with_id(Some(field.id))
            .build()?,
    ))
}

fn repeated_group(
    name: &str,
    children: Vec<TypePtr>,
) -> std::result::Result<TypePtr, ParquetError> {
    Ok(Arc::new(
        ParquetType::group_type_builder(name)
            .with_repetition(Repetition::REPEATED)
            .with_fields(children)
            .build()?,
    ))
}

fn parquet_primitive(
    primitive: &PrimitiveType,
    name: &str,
    repetition: Repetition,
    id: i32,
) -> std::result::Result<TypePtr, ParquetError> {
    let timestamp = |is_adjusted_to_u_t_c, unit| {
        Some(LogicalType::Timestamp {
            is_adjusted_to_u_t_c,
            unit,
        })
    };
    let (physical, logical, length) = match primitive {
        PrimitiveType::Boolean => (PhysicalType::BOOLEAN, None, 0),
        PrimitiveType::Int => (PhysicalType::INT32, None, 0),
        PrimitiveType::Long => (PhysicalType::INT64, None, 0),
        PrimitiveType::Float => (PhysicalType::FLOAT, None, 0),
        PrimitiveType::Double => (PhysicalType::DOUBLE, None, 0),
        PrimitiveType::Decimal { precision, scale } => {
            return parquet_decimal(*precision, *scale, name, repetition, id);
        }
        PrimitiveType::Date => (PhysicalType::INT32, Some(LogicalType::Date), 0),
        PrimitiveType::Time => (
            PhysicalType::INT64,
            Some(LogicalType::Time {
                is_adjusted_to_u_t_c: false,
                unit: TimeUnit::MICROS,
            }),
            0,
        ),
        PrimitiveType::Timestamp => (PhysicalType::INT64, timestamp(false, TimeUnit::MICROS), 0),
        PrimitiveType::Timestamptz => (PhysicalType::INT64, timestamp(true, TimeUnit::MICROS), 0),
        PrimitiveType::TimestampNs => (PhysicalType::INT64, timestamp(false, TimeUnit::NANOS), 0),
        PrimitiveType::TimestamptzNs => (PhysicalType::INT64, timestamp(true, TimeUnit::NANOS), 0),
        PrimitiveType::String => (PhysicalType::BYTE_ARRAY, Some(LogicalType::String), 0),
        PrimitiveType::Uuid => (
            PhysicalType::FIXED_LEN_BYTE_ARRAY,
            Some(LogicalType::Uuid),
            16,
        ),
        PrimitiveType::Fixed(length) => (
            PhysicalType::FIXED_LEN_BYTE_ARRAY,
            None,
            i32::try_from(*length).unwrap_or(i32::MAX),
        ),
        PrimitiveType::Binary => (PhysicalType::BYTE_ARRAY, None, 0),
    };
    Ok(Arc::new(
        ParquetType::primitive_type_builder(name, physical)
            .with_repetition(repetition)
            .with_logical_type(logical)
            .with_length(length)
            .with_id(Some(id))
            .build()?,
    ))
}

/// Decimals take the smallest of INT32, INT64 and FIXED that holds their precision.
fn parquet_decimal(
    precision: u32,
    scale: u32,
    name: &str,
    repetition: Repetition,
    id: i32,
) -> std::result::Result<TypePtr, ParquetError> {
    let (physical, length) = match precision {
        0..=9 => (PhysicalType::INT32, 0),
        10..=18 => (PhysicalType::INT64, 0),
        _ => (PhysicalType::FIXED_LEN_BYTE_ARRAY, decimal_bytes(precision)),
    };
    let precision = i32::try_from(precision).unwrap_or(i32::MAX);
    let scale = i32::try_from(scale).unwrap_or(i32::MAX);
    Ok(Arc::new(
        ParquetType::primitive_type_builder(name, physical)
            .with_repetition(repetition)
            .with_logical_type(Some(LogicalType::Decimal { scale, precision }))
            .with_precision(precision)
            .with_scale(scale)
            .with_length(length)
            .with_id(Some(id))
            .build()?,
    ))
}

/// How many bytes hold every signed number of `precision` digits.
fn decimal_bytes(precision: u32) -> i32 {
    let largest = 10i128
        .checked_pow(precision)
        .map_or(i128::MAX, |power| power - 1);
    let bits = 128 - largest.leading_zeros() + 1;
    bits.div_ceil(8) as i32
}

#[cfg(test)]
mod tests;
