//! Partition values: comparable over manifests that encode them differently, and bounded for the manifest list.

use std::{cmp::Ordering, sync::Arc};

use super::{
    FieldSummary,
    avro::{AvroError, Cursor, Field, Logical, Result, Scalar, Shape, broken, put_bytes, put_long},
};

/// A partition of one spec. Two are equal if and only if spec and values are, whoever wrote them and with whatever
/// Avro types: each non-null value stands in it by field id in one canonical form.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct PartitionKey {
    pub(crate) spec_id: i32,
    values: Arc<[u8]>,
}

impl PartitionKey {
    /// The key of an encoded partition tuple.
    pub(crate) fn decode(spec_id: i32, shape: &Shape, bytes: &[u8]) -> Result<Self> {
        let mut values = Vec::new();
        Cursor::new(bytes).record(shape, |field, bytes| {
            if let Some(value) = PartitionValue::decode(field, bytes)? {
                let Some(id) = field.id else {
                    return broken("a partition field has no field id");
                };
                let mut form = Vec::new();
                value.put_canonical(&mut form);
                values.push((id, form));
            }
            Ok(())
        })?;
        values.sort();
        let mut key = Vec::new();
        for (id, form) in values {
            put_long(i64::from(id), &mut key);
            put_bytes(&form, &mut key);
        }
        Ok(Self {
            spec_id,
            values: key.into(),
        })
    }
}

/// A non-null partition value.
#[derive(Debug, Clone, PartialEq)]
enum PartitionValue {
    Boolean(bool),
    /// Also dates, times and timestamps. Whether the type has 4 bytes or 8 only matters for bounds.
    Int(i64, usize),
    Float(f64, usize),
    Decimal(i128),
    /// Strings, binary, fixed, UUIDs.
    Bytes(Vec<u8>),
}

impl PartitionValue {
    fn decode(field: &Field, bytes: &[u8]) -> Result<Option<Self>> {
        let value = Cursor::new(bytes).scalar(&field.shape)?;
        let shape = match &field.shape {
            Shape::Union(branches) => branches.iter().find(|branch| **branch != Shape::Null),
            shape => Some(shape),
        };
        Ok(Some(match (value, shape) {
            (Scalar::Null, _) => return Ok(None),
            (Scalar::Boolean(value), _) => Self::Boolean(value),
            (Scalar::Int(value), Some(Shape::Int)) => Self::Int(value, 4),
            (Scalar::Int(value), _) => Self::Int(value, 8),
            (Scalar::Float(value), Some(Shape::Float)) => Self::Float(value, 4),
            (Scalar::Float(value), _) => Self::Float(value, 8),
            (
                Scalar::Bytes(value),
                Some(
                    Shape::Fixed(_, Some(Logical::Decimal)) | Shape::Bytes(Some(Logical::Decimal)),
                ),
            ) => Self::Decimal(decimal(value)?),
            // Some writers spell a UUID out; the specification wants its 16 bytes.
            (Scalar::Bytes(value), Some(Shape::String(Some(Logical::Uuid)))) => {
                let uuid = uuid::Uuid::try_parse_ascii(value).map_err(|error| {
                    AvroError(format!("a partition value is no UUID ({error})"))
                })?;
                Self::Bytes(uuid.as_bytes().to_vec())
            }
            (Scalar::Bytes(value), _) => Self::Bytes(value.to_vec()),
        }))
    }

    /// A form in which equal values are equal whatever width their type has.
    fn put_canonical(&self, out: &mut Vec<u8>) {
        match self {
            Self::Boolean(value) => out.push(u8::from(*value)),
            Self::Int(value, _) => out.extend(value.to_be_bytes()),
            // Iceberg holds the two zeros apart, and all NaNs to be one.
            Self::Float(value, _) if value.is_nan() => out.extend(f64::NAN.to_bits().to_be_bytes()),
            Self::Float(value, _) => out.extend(value.to_bits().to_be_bytes()),
            Self::Decimal(value) => out.extend(value.to_be_bytes()),
            Self::Bytes(value) => out.extend(value),
        }
    }

    /// Iceberg's binary single-value serialization.
    fn to_bound(&self) -> Vec<u8> {
        match self {
            Self::Boolean(value) => vec![u8::from(*value)],
            Self::Int(value, 4) => (*value as i32).to_le_bytes().to_vec(),
            Self::Int(value, _) => value.to_le_bytes().to_vec(),
            Self::Float(value, 4) => (*value as f32).to_le_bytes().to_vec(),
            Self::Float(value, _) => value.to_le_bytes().to_vec(),
            Self::Decimal(value) => {
                let bytes = value.to_be_bytes();
                let sign = if *value < 0 { 0xff } else { 0 };
                let mut from = 0;
                while from < 15 && bytes[from] == sign && (bytes[from + 1] ^ sign) & 0x80 == 0 {
                    from += 1;
                }
                bytes[from..].to_vec()
            }
            Self::Bytes(value) => value.clone(),
        }
    }

    fn is_nan(&self) -> bool {
        matches!(self, Self::Float(value, _) if value.is_nan())
    }

    fn order(&self, other: &Self) -> Ordering {
        match (self, other) {
            (Self::Boolean(a), Self::Boolean(b)) => a.cmp(b),
            (Self::Int(a, _), Self::Int(b, _)) => a.cmp(b),
            (Self::Float(a, _), Self::Float(b, _)) => a.total_cmp(b),
            (Self::Decimal(a), Self::Decimal(b)) => a.cmp(b),
            (Self::Bytes(a), Self::Bytes(b)) => a.cmp(b),
            // One manifest has one type for a field.
            _ => Ordering::Equal,
        }
    }
}

fn decimal(bytes: &[u8]) -> Result<i128> {
    let negative = bytes.first().is_some_and(|first| first & 0x80 != 0);
    let mut wide = if negative { [0xff; 16] } else { [0; 16] };
    // A longer encoding than 16 bytes can only be padding: the precision is at most 38 digits.
    let tail = &bytes[bytes.len().saturating_sub(16)..];
    if bytes.len() > 16 {
        let padding = if negative { 0xff } else { 0 };
        if bytes[..bytes.len() - 16]
            .iter()
            .any(|byte| *byte != padding)
        {
            return broken("a decimal has more than 38 digits");
        }
    }
    wide[16 - tail.len()..].copy_from_slice(tail);
    Ok(i128::from_be_bytes(wide))
}

/// Gathers the summaries of a manifest's partition fields, in the order of its partition type.
#[derive(Debug)]
pub(crate) struct Summaries {
    fields: Vec<Summary>,
}

#[derive(Debug, Default)]
struct Summary {
    null: bool,
    nan: bool,
    range: Option<(PartitionValue, PartitionValue)>,
}

impl Summaries {
    pub(crate) fn new(partition: &Shape) -> Result<Self> {
        let fields = partition.fields()?.iter().map(|_| Summary::default());
        Ok(Self {
            fields: fields.collect(),
        })
    }

    pub(crate) fn add(&mut self, partition: &Shape, bytes: &[u8]) -> Result<()> {
        let mut place = 0;
        Cursor::new(bytes).record(partition, |field, bytes| {
            let summary = &mut self.fields[place];
            place += 1;
            match PartitionValue::decode(field, bytes)? {
                None => summary.null = true,
                Some(value) if value.is_nan() => summary.nan = true,
                Some(value) => match &mut summary.range {
                    None => summary.range = Some((value.clone(), value)),
                    Some((low, _)) if value.order(low).is_lt() => *low = value,
                    Some((_, high)) if value.order(high).is_gt() => *high = value,
                    Some(_) => {}
                },
            }
            Ok(())
        })
    }

    pub(crate) fn finish(self) -> Vec<FieldSummary> {
        self.fields
            .into_iter()
            .map(|summary| {
                let (low, high) = summary.range.unzip();
                FieldSummary {
                    contains_null: summary.null,
                    contains_nan: Some(summary.nan),
                    lower_bound: low.map(|value| value.to_bound()),
                    upper_bound: high.map(|value| value.to_bound()),
                }
            })
            .collect()
    }
}
