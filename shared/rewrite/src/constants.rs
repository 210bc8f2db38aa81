//! Values that come from a partition, or from a column's default, instead of a file: columns that data files may leave
//! out.

use std::{collections::HashMap, sync::Arc};

use arrow_array::{
    ArrayRef, BinaryArray, BooleanArray, Date32Array, Decimal128Array, FixedSizeBinaryArray,
    Float32Array, Float64Array, Int32Array, Int64Array, StringArray, Time64MicrosecondArray,
    TimestampMicrosecondArray, TimestampNanosecondArray, new_null_array,
};
use arrow_schema::DataType;
use iceberg::spec::{
    Literal, NestedField, PartitionSpec, PrimitiveLiteral, PrimitiveType, Struct, Transform, Type,
};

use crate::{
    convert::leaf_conversion,
    failure::{Result, unsupported},
    schema::arrow_type,
};

/// Values of columns that data files may leave out: one-row arrays of the field's type, by field id.
pub(crate) type Constants = HashMap<i32, ArrayRef>;

/// The columns whose value a partition fixes: the sources of identity transforms, each as the type that
/// `wanted_type` gives for its id. A column for which it gives none is not needed.
pub(crate) fn partition_constants(
    spec: &PartitionSpec,
    partition_types: &[Type],
    partition: &Struct,
    wanted_type: impl Fn(i32) -> Option<Type>,
) -> Result<Constants> {
    let mut constants = HashMap::new();
    for ((field, held), value) in spec
        .fields()
        .iter()
        .zip(partition_types)
        .zip(partition.iter())
    {
        if field.transform != Transform::Identity {
            continue;
        }
        let Some(wanted) = wanted_type(field.source_id) else {
            continue;
        };
        let wanted = arrow_type(&wanted)?;
        let array = match value {
            None => new_null_array(&wanted, 1),
            Some(literal) => {
                let array = constant(literal, held).ok_or_else(|| {
                    unsupported(format!(
                        "partition field {} holds {literal:?}, which is no {held}",
                        field.name
                    ))
                })?;
                promoted(&array, &wanted).ok_or_else(|| {
                    unsupported(format!(
                        "partition field {} holds a {held}, which can't be read as {wanted}",
                        field.name
                    ))
                })?
            }
        };
        constants.insert(field.source_id, array);
    }
    Ok(constants)
}

/// The one-row array of a field's `initial-default`, of the field's type.
pub(crate) fn default_value(field: &NestedField, default: &Literal) -> Result<ArrayRef> {
    let wanted = arrow_type(&field.field_type)?;
    constant(default, &field.field_type)
        .and_then(|array| promoted(&array, &wanted))
        .ok_or_else(|| {
            unsupported(format!(
                "column '{}' has the default value {default:?}, which is no {}",
                field.name, field.field_type
            ))
        })
}

fn promoted(array: &ArrayRef, wanted: &DataType) -> Option<ArrayRef> {
    leaf_conversion(array.data_type(), wanted)?
        .apply(array)
        .ok()
}

/// A one-row array; `None` where the value is not of the type.
fn constant(literal: &Literal, held: &Type) -> Option<ArrayRef> {
    let (Literal::Primitive(literal), Type::Primitive(held)) = (literal, held) else {
        return None;
    };
    Some(match (held, literal) {
        (PrimitiveType::Boolean, PrimitiveLiteral::Boolean(value)) => {
            Arc::new(BooleanArray::from(vec![*value]))
        }
        (PrimitiveType::Int, PrimitiveLiteral::Int(value)) => {
            Arc::new(Int32Array::from(vec![*value]))
        }
        (PrimitiveType::Long, PrimitiveLiteral::Long(value)) => {
            Arc::new(Int64Array::from(vec![*value]))
        }
        (PrimitiveType::Float, PrimitiveLiteral::Float(value)) => {
            Arc::new(Float32Array::from(vec![value.0]))
        }
        (PrimitiveType::Double, PrimitiveLiteral::Double(value)) => {
            Arc::new(Float64Array::from(vec![value.0]))
        }
        (PrimitiveType::Decimal { precision, scale }, PrimitiveLiteral::Int128(value)) => {
            let precision = u8::try_from(*precision).ok()?;
            let scale = i8::try_from(*scale).ok()?;
            Arc::new(
                Decimal128Array::from(vec![*value])
                    .with_precision_and_scale(precision, scale)
                    .ok()?,
            )
        }
        (PrimitiveType::Date, PrimitiveLiteral::Int(days)) => {
            Arc::new(Date32Array::from(vec![*days]))
        }
        (PrimitiveType::Time, PrimitiveLiteral::Long(micros)) => {
            Arc::new(Time64MicrosecondArray::from(vec![*micros]))
        }
        (PrimitiveType::Timestamp | PrimitiveType::Timestamptz, PrimitiveLiteral::Long(micros)) => {
            Arc::new(TimestampMicrosecondArray::from(vec![*micros]))
        }
        (
            PrimitiveType::TimestampNs | PrimitiveType::TimestamptzNs,
            PrimitiveLiteral::Long(nanos),
        ) => Arc::new(TimestampNanosecondArray::from(vec![*nanos])),
        (PrimitiveType::String, PrimitiveLiteral::String(value)) => {
            Arc::new(StringArray::from(vec![value.as_str()]))
        }
        (PrimitiveType::Uuid, PrimitiveLiteral::UInt128(value)) => Arc::new(
            FixedSizeBinaryArray::try_from_iter(std::iter::once(value.to_be_bytes())).ok()?,
        ),
        (PrimitiveType::Fixed(_), PrimitiveLiteral::Binary(value)) => {
            Arc::new(FixedSizeBinaryArray::try_from_iter(std::iter::once(value.as_slice())).ok()?)
        }
        (PrimitiveType::Binary, PrimitiveLiteral::Binary(value)) => {
            Arc::new(BinaryArray::from(vec![value.as_slice()]))
        }
        _ => return None,
    })
}
