//! Reading partition tuples: decoded once each, and shared by number.

use std::collections::HashMap;

use iceberg::spec::{Literal, PrimitiveLiteral, PrimitiveType, Struct, StructType, Type};
use uuid::Uuid;

use super::partition::{PartitionKey, PartitionTable, avro_name};
use crate::avro::{AvroError, AvroType, Cursor, Field, Skip};

/// Reads the partition tuples of one manifest.
pub(super) struct PartitionReader<'t> {
    spec_id: i32,
    partition_type: &'t StructType,
    /// How the writer laid a tuple out, and which field of the spec each value belongs to.
    fields: Vec<(AvroType, Option<usize>)>,
    /// Files of a partition come one after the other.
    last: Option<(Box<[u8]>, u32)>,
    by_encoding: HashMap<Box<[u8]>, u32>,
}

impl<'t> PartitionReader<'t> {
    /// For tuples of a manifest whose files are laid out as `file`.
    pub(super) fn new(
        spec_id: i32,
        partition_type: &'t StructType,
        file: &AvroType,
    ) -> Result<Self, AvroError> {
        let fields = file.fields().into_iter().flatten();
        let layout = fields
            .filter(|field| field.id == Some(102))
            .find_map(|field| field.layout.fields())
            .unwrap_or_default();
        Ok(Self {
            spec_id,
            partition_type,
            fields: assign(layout, partition_type)?,
            last: None,
            by_encoding: HashMap::new(),
        })
    }

    /// The number of the partition that is encoded as `encoded`.
    #[inline]
    pub(super) fn number(
        &mut self,
        encoded: Option<&[u8]>,
        table: &mut PartitionTable,
    ) -> Result<u32, AvroError> {
        let encoded = match encoded {
            Some(encoded) => encoded,
            None if self.partition_type.fields().is_empty() => &[],
            None => return Err(AvroError::corrupt("has no partition")),
        };
        if let Some((last, number)) = &self.last
            && **last == *encoded
        {
            return Ok(*number);
        }
        let number = match self.by_encoding.get(encoded) {
            Some(number) => *number,
            None => {
                let value = self.decode(encoded)?;
                let key = PartitionKey::new(self.spec_id, value, self.partition_type);
                let number =
                    table.number(key.map_err(|error| AvroError::corrupt(error.to_string()))?);
                self.by_encoding.insert(encoded.into(), number);
                number
            }
        };
        self.last = Some((encoded.into(), number));
        Ok(number)
    }

    fn decode(&self, encoded: &[u8]) -> Result<Struct, AvroError> {
        let mut cursor = Cursor::new(encoded);
        let mut values = vec![None; self.partition_type.fields().len()];
        for (layout, position) in &self.fields {
            let Some(position) = *position else {
                Skip::of(layout).run(&mut cursor)?;
                continue;
            };
            let field = &self.partition_type.fields()[position];
            let misfit = || {
                AvroError::corrupt(format!(
                    "data_file.partition.{}: expected a value of type {}, found {}",
                    field.name,
                    field.field_type,
                    layout.describe()
                ))
            };
            let (null_branch, inner) = layout.optional().ok_or_else(misfit)?;
            if let Some(null_branch) = null_branch
                && cursor.is_null(null_branch)?
            {
                continue;
            }
            if *inner == AvroType::Null {
                continue;
            }
            let Type::Primitive(primitive) = field.field_type.as_ref() else {
                return Err(misfit());
            };
            let literal = decode_value(primitive, inner, &mut cursor)?.ok_or_else(misfit)?;
            values[position] = Some(Literal::Primitive(literal));
        }
        Ok(Struct::from_iter(values))
    }
}

/// Which field of the spec each value of a tuple belongs to: by field id, and for writers that leave ids out by name, or
/// by place where the names are none of the spec's. A field of the spec that a tuple does not have is NULL, as are those
/// of void transforms which some writers leave out.
fn assign(
    layout: &[Field],
    partition_type: &StructType,
) -> Result<Vec<(AvroType, Option<usize>)>, AvroError> {
    let wanted = partition_type.fields();
    let by_name = |field: &Field| {
        let mut wanted = wanted.iter();
        wanted.position(|wanted| wanted.name == field.name || avro_name(&wanted.name) == field.name)
    };
    let nameless = layout.iter().filter(|field| field.id.is_none());
    let all_named = nameless.clone().all(|field| by_name(field).is_some());
    let by_place = layout.len() == wanted.len() && nameless.count() == layout.len();
    if !all_named && !by_place {
        let names: Vec<&str> = layout.iter().map(|field| field.name.as_str()).collect();
        return Err(AvroError::corrupt(format!(
            "data_file.partition: its fields {} have no field ids and are not those of the partition spec",
            names.join(", ")
        )));
    }
    let assigned = layout.iter().zip(0..).map(|(field, place)| {
        let position = match field.id {
            Some(id) => wanted.iter().position(|wanted| wanted.id == id),
            None if all_named => by_name(field),
            None => Some(place),
        };
        (field.layout.clone(), position)
    });
    Ok(assigned.collect())
}

/// A value of the table's type `primitive` that the writer laid out as `layout`, which may be of a type that was
/// promoted since; `None` where the two don't go together.
fn decode_value(
    primitive: &PrimitiveType,
    layout: &AvroType,
    cursor: &mut Cursor<'_>,
) -> Result<Option<PrimitiveLiteral>, AvroError> {
    use AvroType as A;
    use PrimitiveLiteral as L;
    use PrimitiveType as P;
    Ok(Some(match (primitive, layout) {
        (P::Boolean, A::Boolean) => L::Boolean(cursor.boolean()?),
        (P::Int | P::Date, A::Integer) => {
            let value = cursor.varint()?;
            L::Int(
                i32::try_from(value)
                    .map_err(|_| AvroError::corrupt(format!("{value} as an int")))?,
            )
        }
        (
            P::Long | P::Time | P::Timestamp | P::Timestamptz | P::TimestampNs | P::TimestamptzNs,
            A::Integer,
        ) => L::Long(cursor.varint()?),
        (P::Time | P::Timestamp | P::Timestamptz, A::Millis) => {
            let value = cursor.varint()?;
            let micros = value.checked_mul(1000);
            L::Long(micros.ok_or_else(|| AvroError::corrupt(format!("{value} as a time")))?)
        }
        (P::Float, A::Float) => L::Float(f32::from_le_bytes(cursor.array()?).into()),
        (P::Double, A::Double) => L::Double(f64::from_le_bytes(cursor.array()?).into()),
        (P::Double, A::Float) => L::Double(f64::from(f32::from_le_bytes(cursor.array()?)).into()),
        (P::String, A::String | A::Bytes) => L::String(cursor.string()?.to_owned()),
        (P::String, A::Enum(symbols)) => {
            let number = cursor.varint()?;
            let symbol = usize::try_from(number)
                .ok()
                .and_then(|number| symbols.get(number));
            L::String(
                symbol
                    .ok_or_else(|| AvroError::corrupt(format!("symbol {number} of an enum")))?
                    .clone(),
            )
        }
        (P::Uuid, A::Fixed(16)) => L::UInt128(u128::from_be_bytes(cursor.array()?)),
        (P::Uuid, A::Bytes) => {
            let bytes: Result<[u8; 16], _> = cursor.bytes()?.try_into();
            let bytes = bytes.map_err(|_| AvroError::corrupt("a UUID that has not 16 bytes"))?;
            L::UInt128(u128::from_be_bytes(bytes))
        }
        (P::Uuid, A::String) => {
            let text = cursor.string()?;
            let uuid = Uuid::parse_str(text)
                .map_err(|_| AvroError::corrupt(format!("'{text}' as a UUID")))?;
            L::UInt128(uuid.as_u128())
        }
        (P::Fixed(_) | P::Binary, A::Fixed(size)) => L::Binary(cursor.take(*size)?.to_vec()),
        (P::Fixed(_) | P::Binary, A::Bytes) => L::Binary(cursor.bytes()?.to_vec()),
        (P::Decimal { .. }, A::Fixed(size)) => L::Int128(big_endian(cursor.take(*size)?)?),
        (P::Decimal { .. }, A::Bytes) => L::Int128(big_endian(cursor.bytes()?)?),
        _ => return Ok(None),
    }))
}

/// A two's complement number. What is longer than 16 bytes can only be padded: the precision is at most 38 digits.
fn big_endian(bytes: &[u8]) -> Result<i128, AvroError> {
    let sign = match bytes.first() {
        Some(first) if first & 0x80 != 0 => 0xff,
        _ => 0,
    };
    let (padding, kept) = bytes.split_at(bytes.len().saturating_sub(16));
    let cuts_sign =
        !padding.is_empty() && kept.first().is_none_or(|byte| (byte ^ sign) & 0x80 != 0);
    if bytes.is_empty() || cuts_sign || padding.iter().any(|byte| *byte != sign) {
        return Err(AvroError::corrupt(format!(
            "a decimal of {} bytes",
            bytes.len()
        )));
    }
    let mut padded = [sign; 16];
    padded[16 - kept.len()..].copy_from_slice(kept);
    Ok(i128::from_be_bytes(padded))
}
