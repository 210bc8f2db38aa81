//! An order-free hash of rows, to tell whether two snapshots hold the same ones.
//!
//! The hash of a multiset of rows is the wrapping sum of the rows' own hashes (XXH3, 128 bits), so neither the order of
//! rows nor the files that they lie in matter, and duplicates count. A row is hashed in a canonical form by field id:
//! NULL fields are left out, so that a column added later changes nothing; floats are taken bit by bit.

use std::fmt;

use arrow_array::{
    Array, ArrayRef,
    cast::AsArray,
    types::{
        Date32Type, Decimal128Type, Float32Type, Float64Type, Int32Type, Int64Type,
        Time64MicrosecondType, TimestampMicrosecondType, TimestampNanosecondType,
    },
};
use arrow_schema::{DataType, TimeUnit};
use iceberg::spec::{NestedFieldRef, Type};
use icepress_catalog::metadata::Metadata;
use icepress_model::{Group, Rows, SchemaId};
use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::xxh3_128;

use crate::{
    RewriteContext,
    failure::{Result, unsupported},
    group::{GroupReader, schema_of},
};

/// What ends a struct; no field has this id.
const END: i32 = i32::MIN;

/// How many rows there are, and the sum of their hashes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct RowsHash {
    /// Live rows.
    pub rows: Rows,
    /// The wrapping sum of their hashes.
    #[serde(with = "as_hex")]
    pub hash: u128,
    /// Rows that have a row id: none before format version 3, all from the first commit in it on.
    #[serde(default)]
    pub identified: Rows,
    /// The wrapping sum of their hashes together with row id and last updated sequence number.
    #[serde(with = "as_hex", default)]
    pub lineage: u128,
}

impl fmt::Display for RowsHash {
    /// The hash in 32 hexadecimal digits.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.hash)
    }
}

/// JSON numbers hold 53 bits: the hash goes as text.
mod as_hex {
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    pub(super) fn serialize<S: Serializer>(hash: &u128, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&format!("{hash:032x}"))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<u128, D::Error> {
        let text = String::deserialize(from)?;
        u128::from_str_radix(&text, 16).map_err(D::Error::custom)
    }
}

impl RowsHash {
    /// Both together.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        Self {
            rows: self.rows + other.rows,
            hash: self.hash.wrapping_add(other.hash),
            identified: self.identified + other.identified,
            lineage: self.lineage.wrapping_add(other.lineage),
        }
    }

    /// Whether these rows are the rows of `before`: the same values, and where all of them had row ids, the same ids and
    /// the same last updates. Rows that had no ids may have got some.
    pub fn is_same_as(&self, before: &Self) -> bool {
        let had_ids = before.rows > Rows::ZERO && before.identified == before.rows;
        let keeps_ids = self.identified == before.identified && self.lineage == before.lineage;
        self.rows == before.rows && self.hash == before.hash && (!had_ids || keeps_ids)
    }
}

/// See [`crate::hash_rows`].
pub(crate) async fn hash(
    context: &RewriteContext,
    metadata: &Metadata,
    schema_id: SchemaId,
    groups: &[Group],
) -> Result<RowsHash> {
    let schema = schema_of(metadata, schema_id)?;
    let fields = schema.as_struct().fields();
    let mut sum = RowsHash::default();
    let mut row_bytes = Vec::new();
    for group in groups {
        let mut reader = GroupReader::open(context, metadata, &schema, group).await?;
        while let Some(live) = reader.next().await? {
            let lineage = live.columns.get(fields.len()..).unwrap_or_default();
            for row in 0..live.rows {
                row_bytes.clear();
                write_fields(&mut row_bytes, fields, &live.columns, row)?;
                sum.hash = sum.hash.wrapping_add(xxh3_128(&row_bytes));
                if let [ids, numbers] = lineage
                    && ids.is_valid(row)
                {
                    for column in [ids, numbers] {
                        let value = column.as_primitive::<Int64Type>().value(row);
                        row_bytes.extend_from_slice(&value.to_le_bytes());
                    }
                    sum.lineage = sum.lineage.wrapping_add(xxh3_128(&row_bytes));
                    sum.identified += Rows(1);
                }
            }
            sum.rows += Rows(live.rows as u64);
        }
    }
    Ok(sum)
}

fn write_fields(
    out: &mut Vec<u8>,
    fields: &[NestedFieldRef],
    columns: &[ArrayRef],
    row: usize,
) -> Result<()> {
    for (field, column) in fields.iter().zip(columns) {
        if column.is_valid(row) {
            out.extend_from_slice(&field.id.to_le_bytes());
            write_value(out, &field.field_type, column, row)?;
        }
    }
    out.extend_from_slice(&END.to_le_bytes());
    Ok(())
}

/// One value that is not NULL.
fn write_value(out: &mut Vec<u8>, field_type: &Type, array: &ArrayRef, row: usize) -> Result<()> {
    match (field_type, array.data_type()) {
        (Type::Struct(fields), DataType::Struct(_)) => {
            write_fields(out, fields.fields(), array.as_struct().columns(), row)?;
        }
        (Type::List(list), DataType::List(_)) => {
            let elements = array.as_list::<i32>().value(row);
            out.extend_from_slice(&(elements.len() as u64).to_le_bytes());
            for index in 0..elements.len() {
                write_optional(out, &list.element_field.field_type, &elements, index)?;
            }
        }
        (Type::Map(map), DataType::Map(..)) => {
            let entries = array.as_map().value(row);
            out.extend_from_slice(&(entries.len() as u64).to_le_bytes());
            for index in 0..entries.len() {
                write_value(out, &map.key_field.field_type, entries.column(0), index)?;
                write_optional(out, &map.value_field.field_type, entries.column(1), index)?;
            }
        }
        (_, data_type) => write_leaf(out, data_type, array, row)?,
    }
    Ok(())
}

fn write_optional(
    out: &mut Vec<u8>,
    field_type: &Type,
    array: &ArrayRef,
    row: usize,
) -> Result<()> {
    out.push(u8::from(array.is_valid(row)));
    if array.is_valid(row) {
        write_value(out, field_type, array, row)?;
    }
    Ok(())
}

fn write_leaf(out: &mut Vec<u8>, data_type: &DataType, array: &ArrayRef, row: usize) -> Result<()> {
    macro_rules! number {
        ($type:ty) => {
            out.extend_from_slice(&array.as_primitive::<$type>().value(row).to_le_bytes())
        };
    }
    match data_type {
        DataType::Boolean => out.push(u8::from(array.as_boolean().value(row))),
        DataType::Int32 => number!(Int32Type),
        DataType::Int64 => number!(Int64Type),
        DataType::Float32 => number!(Float32Type),
        DataType::Float64 => number!(Float64Type),
        DataType::Date32 => number!(Date32Type),
        DataType::Time64(TimeUnit::Microsecond) => number!(Time64MicrosecondType),
        DataType::Timestamp(TimeUnit::Microsecond, _) => number!(TimestampMicrosecondType),
        DataType::Timestamp(TimeUnit::Nanosecond, _) => number!(TimestampNanosecondType),
        DataType::Decimal128(..) => number!(Decimal128Type),
        DataType::Utf8View => write_bytes(out, array.as_string_view().value(row).as_bytes()),
        DataType::BinaryView => write_bytes(out, array.as_binary_view().value(row)),
        DataType::FixedSizeBinary(_) => {
            write_bytes(out, array.as_fixed_size_binary().value(row));
        }
        other => {
            return Err(unsupported(format!(
                "values of type {other} can't be hashed"
            )));
        }
    }
    Ok(())
}

fn write_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    out.extend_from_slice(&(bytes.len() as u64).to_le_bytes());
    out.extend_from_slice(bytes);
}
