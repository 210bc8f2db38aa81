//! Values to Arrow and back, for any schema: how the histories' own writer and reader meet Parquet.

use std::sync::Arc;

use arrow_array::{
    Array as _, ArrayRef, BinaryArray, BooleanArray, Date32Array, Decimal128Array,
    FixedSizeBinaryArray, Float32Array, Float64Array, Int32Array, Int64Array, LargeBinaryArray,
    ListArray, MapArray, RecordBatch, StringArray, StructArray, TimestampMicrosecondArray,
    TimestampNanosecondArray,
    cast::AsArray,
    types::{
        Date32Type, Decimal128Type, Float32Type, Float64Type, Int32Type, Int64Type,
        TimestampMicrosecondType, TimestampNanosecondType,
    },
};
use arrow_buffer::{NullBuffer, OffsetBuffer};
use arrow_schema::{DataType, Field, SchemaRef, TimeUnit};
use parquet::arrow::PARQUET_FIELD_ID_META_KEY;

use super::values::{Columns, Value};

/// The field's Iceberg id; fields of a map's entries have none.
fn id_of(field: &Field) -> i32 {
    let id = field.metadata().get(PARQUET_FIELD_ID_META_KEY);
    id.and_then(|id| id.parse().ok()).unwrap_or(-1)
}

/// A batch of `rows` in `schema`, whose fields all have ids. What a row does not have is NULL.
pub(super) fn to_batch(schema: &SchemaRef, rows: &[&Columns]) -> RecordBatch {
    let columns = schema
        .fields()
        .iter()
        .map(|field| {
            let values: Vec<&Value> = rows.iter().map(|row| find(row, id_of(field))).collect();
            to_array(field.data_type(), &values)
        })
        .collect();
    RecordBatch::try_new(Arc::clone(schema), columns).unwrap()
}

fn find(columns: &Columns, id: i32) -> &Value {
    let found = columns.iter().find(|(own, _)| *own == id);
    found.map_or(&Value::Null, |(_, value)| value)
}

/// An array of one kind of value; NULL where a value is of another kind, which is NULL itself.
macro_rules! plain {
    ($array:ty, $values:expr, $variant:ident, $convert:expr) => {
        $values
            .iter()
            .map(|value| match value {
                Value::$variant(value) => Some($convert(value)),
                _ => None,
            })
            .collect::<$array>()
    };
}

fn to_array(kind: &DataType, values: &[&Value]) -> ArrayRef {
    let int = |value: &i64| i32::try_from(*value).unwrap();
    let long = |value: &i64| *value;
    let double = |bits: &u64| f64::from_bits(*bits);
    match kind {
        DataType::Boolean => Arc::new(plain!(BooleanArray, values, Boolean, |value: &bool| *value)),
        DataType::Int32 => Arc::new(plain!(Int32Array, values, Integer, int)),
        DataType::Date32 => Arc::new(plain!(Date32Array, values, Integer, int)),
        DataType::Int64 => Arc::new(plain!(Int64Array, values, Integer, long)),
        DataType::Timestamp(TimeUnit::Microsecond, zone) => {
            let array = plain!(TimestampMicrosecondArray, values, Integer, long);
            Arc::new(array.with_timezone_opt(zone.clone()))
        }
        DataType::Timestamp(TimeUnit::Nanosecond, zone) => {
            let array = plain!(TimestampNanosecondArray, values, Integer, long);
            Arc::new(array.with_timezone_opt(zone.clone()))
        }
        DataType::Float32 => Arc::new(plain!(
            Float32Array,
            values,
            Float,
            |bits: &u64| double(bits) as f32
        )),
        DataType::Float64 => Arc::new(plain!(Float64Array, values, Float, double)),
        DataType::Decimal128(precision, scale) => {
            let array = plain!(Decimal128Array, values, Decimal, |value: &i128| *value);
            Arc::new(array.with_precision_and_scale(*precision, *scale).unwrap())
        }
        DataType::Utf8 => Arc::new(plain!(StringArray, values, Text, String::clone)),
        DataType::LargeBinary => Arc::new(plain!(LargeBinaryArray, values, Bytes, Vec::clone)),
        DataType::Binary => Arc::new(plain!(BinaryArray, values, Bytes, Vec::clone)),
        DataType::FixedSizeBinary(size) => {
            let bytes = values.iter().map(|value| match value {
                Value::Bytes(bytes) => Some(bytes.as_slice()),
                _ => None,
            });
            let array = FixedSizeBinaryArray::try_from_sparse_iter_with_size(bytes, *size);
            Arc::new(array.unwrap())
        }
        DataType::Struct(fields) => {
            let columns = fields.iter().map(|field| {
                let inner: Vec<&Value> = values
                    .iter()
                    .map(|value| match value {
                        Value::Struct(columns) => find(columns, id_of(field)),
                        _ => &Value::Null,
                    })
                    .collect();
                to_array(field.data_type(), &inner)
            });
            let columns = columns.collect();
            let array = StructArray::try_new(fields.clone(), columns, Some(validity(values)));
            Arc::new(array.unwrap())
        }
        DataType::List(element) => {
            let items: Vec<&[Value]> = values
                .iter()
                .map(|value| match value {
                    Value::List(items) => items.as_slice(),
                    _ => &[],
                })
                .collect();
            let offsets = OffsetBuffer::from_lengths(items.iter().map(|items| items.len()));
            let all: Vec<&Value> = items.into_iter().flatten().collect();
            let inner = to_array(element.data_type(), &all);
            let element = Arc::clone(element);
            Arc::new(ListArray::try_new(element, offsets, inner, Some(validity(values))).unwrap())
        }
        DataType::Map(entries, sorted) => {
            let DataType::Struct(fields) = entries.data_type() else {
                unreachable!("a map's entries are a struct")
            };
            let pairs: Vec<&[(Value, Value)]> = values
                .iter()
                .map(|value| match value {
                    Value::Map(pairs) => pairs.as_slice(),
                    _ => &[],
                })
                .collect();
            let offsets = OffsetBuffer::from_lengths(pairs.iter().map(|pairs| pairs.len()));
            let (keys, contents): (Vec<&Value>, Vec<&Value>) = pairs
                .into_iter()
                .flatten()
                .map(|(key, value)| (key, value))
                .unzip();
            let columns = vec![
                to_array(fields[0].data_type(), &keys),
                to_array(fields[1].data_type(), &contents),
            ];
            let inner = StructArray::try_new(fields.clone(), columns, None).unwrap();
            let entries = Arc::clone(entries);
            let nulls = Some(validity(values));
            Arc::new(MapArray::try_new(entries, offsets, inner, nulls, *sorted).unwrap())
        }
        other => unreachable!("no column here is a {other}"),
    }
}

fn validity(values: &[&Value]) -> NullBuffer {
    values.iter().map(|value| **value != Value::Null).collect()
}

/// The rows of a batch, by the field ids in its schema.
pub(super) fn from_batch(batch: &RecordBatch) -> Vec<Columns> {
    let mut rows = vec![Columns::new(); batch.num_rows()];
    for (field, array) in batch.schema().fields().iter().zip(batch.columns()) {
        for (row, value) in rows.iter_mut().zip(from_array(array)) {
            row.push((id_of(field), value));
        }
    }
    rows
}

fn from_array(array: &ArrayRef) -> Vec<Value> {
    let rows = 0..array.len();
    let mut values: Vec<Value> = match array.data_type() {
        DataType::Boolean => {
            let array = array.as_boolean();
            rows.map(|row| Value::Boolean(array.value(row))).collect()
        }
        DataType::Int32 => integers(array.as_primitive::<Int32Type>().values()),
        DataType::Date32 => integers(array.as_primitive::<Date32Type>().values()),
        DataType::Int64 => integers(array.as_primitive::<Int64Type>().values()),
        DataType::Timestamp(TimeUnit::Microsecond, _) => {
            integers(array.as_primitive::<TimestampMicrosecondType>().values())
        }
        DataType::Timestamp(TimeUnit::Nanosecond, _) => {
            integers(array.as_primitive::<TimestampNanosecondType>().values())
        }
        DataType::Float32 => {
            let values = array.as_primitive::<Float32Type>().values().iter();
            values
                .map(|value| Value::float(f64::from(*value)))
                .collect()
        }
        DataType::Float64 => {
            let values = array.as_primitive::<Float64Type>().values().iter();
            values.map(|value| Value::float(*value)).collect()
        }
        DataType::Decimal128(..) => {
            let values = array.as_primitive::<Decimal128Type>().values().iter();
            values.map(|value| Value::Decimal(*value)).collect()
        }
        DataType::Utf8 => {
            let array = array.as_string::<i32>();
            rows.map(|row| Value::Text(array.value(row).to_owned()))
                .collect()
        }
        DataType::LargeUtf8 => {
            let array = array.as_string::<i64>();
            rows.map(|row| Value::Text(array.value(row).to_owned()))
                .collect()
        }
        DataType::Binary => {
            let array = array.as_binary::<i32>();
            rows.map(|row| Value::Bytes(array.value(row).to_owned()))
                .collect()
        }
        DataType::LargeBinary => {
            let array = array.as_binary::<i64>();
            rows.map(|row| Value::Bytes(array.value(row).to_owned()))
                .collect()
        }
        DataType::FixedSizeBinary(_) => {
            let array = array.as_fixed_size_binary();
            rows.map(|row| Value::Bytes(array.value(row).to_owned()))
                .collect()
        }
        DataType::Struct(fields) => {
            let mut structs = vec![Columns::new(); array.len()];
            for (field, column) in fields.iter().zip(array.as_struct().columns()) {
                for (row, value) in structs.iter_mut().zip(from_array(column)) {
                    row.push((id_of(field), value));
                }
            }
            structs.into_iter().map(Value::Struct).collect()
        }
        DataType::List(_) => {
            let array = array.as_list::<i32>();
            rows.map(|row| Value::List(from_array(&array.value(row))))
                .collect()
        }
        DataType::Map(..) => {
            let array = array.as_map();
            rows.map(|row| {
                let entries = array.value(row);
                let keys = from_array(entries.column(0)).into_iter();
                Value::Map(keys.zip(from_array(entries.column(1))).collect())
            })
            .collect()
        }
        other => unreachable!("no column here is read as {other}"),
    };
    for (row, value) in values.iter_mut().enumerate() {
        if array.is_null(row) {
            *value = Value::Null;
        }
    }
    values
}

fn integers<T: Copy + Into<i64>>(values: &[T]) -> Vec<Value> {
    let values = values.iter();
    values
        .map(|value| Value::Integer((*value).into()))
        .collect()
}
