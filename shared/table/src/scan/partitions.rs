//! Partitions of a snapshot: decoded once each, and shared by number.

use std::collections::HashMap;

use iceberg::spec::{Literal, PrimitiveLiteral, PrimitiveType, Struct, StructType, Type};
use icepress_model::SpecId;
use uuid::Uuid;

use crate::{
    avro::{AvroError, AvroType, Cursor, Field},
    partition::partition_to_json,
};

/// A partition of one spec.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PartitionEntry {
    /// The spec.
    pub spec_id: SpecId,
    /// The values, in the order of the spec's fields.
    pub value: Struct,
}

/// All partitions met so far.
#[derive(Debug, Default)]
pub(super) struct PartitionTable {
    pub(super) partitions: Vec<PartitionEntry>,
    by_value: HashMap<(i32, String), u32>,
}

impl PartitionTable {
    /// The number of a partition, a new one where it was not met before.
    fn number(
        &mut self,
        spec_id: i32,
        value: Struct,
        partition_type: &StructType,
    ) -> Result<u32, AvroError> {
        // JSON tells 0.0 from -0.0 and NaN from NULL, as partitions must be told apart.
        let json = partition_to_json(&value, partition_type)
            .map_err(|error| AvroError::corrupt(error.to_string()))?;
        let next = self.partitions.len() as u32;
        let number = *self
            .by_value
            .entry((spec_id, json.to_string()))
            .or_insert(next);
        if number == next {
            self.partitions.push(PartitionEntry {
                spec_id: SpecId(spec_id),
                value,
            });
        }
        Ok(number)
    }
}

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
    /// For tuples of a manifest whose entries are laid out as `entry`.
    pub(super) fn new(
        spec_id: i32,
        partition_type: &'t StructType,
        entry: &AvroType,
    ) -> Result<Self, AvroError> {
        let layout = partition_layout(entry)
            .ok_or_else(|| AvroError::corrupt("its data files have no partition"))?;
        let has_ids = layout.iter().all(|field| field.id.is_some());
        let fields = layout.iter().enumerate().map(|(index, field)| {
            let position = if has_ids {
                let mut fields = partition_type.fields().iter();
                fields.position(|wanted| Some(wanted.id) == field.id)
            } else {
                Some(index).filter(|index| *index < partition_type.fields().len())
            };
            (field.layout.clone(), position)
        });
        Ok(Self {
            spec_id,
            partition_type,
            fields: fields.collect(),
            last: None,
            by_encoding: HashMap::new(),
        })
    }

    /// The number of the partition that is encoded as `encoded`.
    #[inline]
    pub(super) fn number(
        &mut self,
        encoded: &[u8],
        table: &mut PartitionTable,
    ) -> Result<u32, AvroError> {
        if let Some((last, number)) = &self.last
            && **last == *encoded
        {
            return Ok(*number);
        }
        let number = match self.by_encoding.get(encoded) {
            Some(number) => *number,
            None => {
                let value = self.decode(encoded)?;
                let number = table.number(self.spec_id, value, self.partition_type)?;
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
                crate::avro::Skip::of(layout).run(&mut cursor)?;
                continue;
            };
            let field = &self.partition_type.fields()[position];
            let misfit = || {
                AvroError::corrupt(format!(
                    "partition field {} of type {} is written as {layout:?}",
                    field.name, field.field_type
                ))
            };
            let (null_branch, inner) = layout.optional().ok_or_else(misfit)?;
            if let Some(null_branch) = null_branch {
                match cursor.varint()? {
                    branch if branch == null_branch => continue,
                    0 | 1 => {}
                    branch => {
                        return Err(AvroError::corrupt(format!("branch {branch} of a union")));
                    }
                }
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

/// The fields of the partition record inside a manifest entry's data file.
fn partition_layout(entry: &AvroType) -> Option<&[Field]> {
    let find = |record: &'_ AvroType, id: i32, name: &str| match record {
        AvroType::Record(fields) => fields
            .iter()
            .position(|field| field.id.map_or(field.name == name, |known| known == id)),
        _ => None,
    };
    let AvroType::Record(entry_fields) = entry else {
        return None;
    };
    let data_file = &entry_fields[find(entry, 2, "data_file")?].layout;
    let AvroType::Record(file_fields) = data_file else {
        return None;
    };
    let partition = &file_fields[find(data_file, 102, "partition")?].layout;
    match partition.optional()?.1 {
        AvroType::Record(fields) => Some(fields),
        _ => None,
    }
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
        (P::Float, A::Float) => L::Float(f32::from_le_bytes(cursor.array()?).into()),
        (P::Double, A::Double) => L::Double(f64::from_le_bytes(cursor.array()?).into()),
        (P::Double, A::Float) => L::Double(f64::from(f32::from_le_bytes(cursor.array()?)).into()),
        (P::String, A::String) => L::String(cursor.string()?.to_owned()),
        (P::Uuid, A::Fixed(16)) => L::UInt128(u128::from_be_bytes(cursor.array()?)),
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

/// A two's complement number.
fn big_endian(bytes: &[u8]) -> Result<i128, AvroError> {
    let first = *bytes
        .first()
        .filter(|_| bytes.len() <= 16)
        .ok_or_else(|| AvroError::corrupt(format!("a decimal of {} bytes", bytes.len())))?;
    let mut padded = [if first & 0x80 == 0 { 0 } else { 0xff }; 16];
    padded[16 - bytes.len()..].copy_from_slice(bytes);
    Ok(i128::from_be_bytes(padded))
}
