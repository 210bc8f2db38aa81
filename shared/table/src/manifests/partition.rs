//! Partitions: one form for all manifests, however their writers encoded them, and bounds of them for the manifest list.

use std::{
    cmp::Ordering,
    collections::HashMap,
    hash::{Hash, Hasher},
    sync::Arc,
};

use iceberg::spec::{Literal, PrimitiveLiteral, PrimitiveType, Struct, StructType, Type};
use serde_json::{Value, json};

use super::FieldSummary;
use crate::{
    PartitionError,
    avro::{put_bytes, put_long},
    partition_to_json,
};

/// A partition of one spec. Two are equal if and only if spec and values are, whoever wrote them and with whatever Avro
/// types.
#[derive(Debug, Clone)]
pub(crate) struct PartitionKey {
    pub(crate) spec_id: i32,
    /// The values, in the order of the spec's fields.
    pub(crate) value: Arc<Struct>,
    /// The values as JSON, which tells 0.0 from -0.0 and NaN from NULL, as partitions must be told apart.
    json: Arc<str>,
}

impl PartitionKey {
    pub(crate) fn new(
        spec_id: i32,
        value: Struct,
        partition_type: &StructType,
    ) -> Result<Self, PartitionError> {
        let json = partition_to_json(&value, partition_type)?;
        Ok(Self {
            spec_id,
            json: json.to_string().into(),
            value: Arc::new(value),
        })
    }
}

impl PartitionKey {
    /// Its values as text, the same for equal partitions of a spec and no others.
    pub(crate) fn text(&self) -> &str {
        &self.json
    }
}

impl PartialEq for PartitionKey {
    fn eq(&self, other: &Self) -> bool {
        (self.spec_id, &self.json) == (other.spec_id, &other.json)
    }
}

impl Eq for PartitionKey {}

impl Hash for PartitionKey {
    fn hash<H: Hasher>(&self, state: &mut H) {
        (self.spec_id, &self.json).hash(state);
    }
}

/// All partitions met so far, each with a number.
#[derive(Debug, Default)]
pub(crate) struct PartitionTable {
    pub(crate) partitions: Vec<PartitionKey>,
    by_value: HashMap<PartitionKey, u32>,
}

impl PartitionTable {
    /// The number of a partition, a new one where it was not met before.
    pub(super) fn number(&mut self, partition: PartitionKey) -> u32 {
        let next = self.partitions.len() as u32;
        let number = *self.by_value.entry(partition.clone()).or_insert(next);
        if number == next {
            self.partitions.push(partition);
        }
        number
    }
}

/// The Avro type of a spec's partitions, as Iceberg's Java library has it.
pub(super) fn avro_type(partition_type: &StructType) -> Value {
    let fields = partition_type.fields().iter().map(|field| {
        let inner = match field.field_type.as_ref() {
            Type::Primitive(primitive) => avro_of(primitive, field.id),
            // No transform gives a struct, a list or a map.
            _ => json!("bytes"),
        };
        json!({
            "name": avro_name(&field.name),
            "type": ["null", inner],
            "default": null,
            "field-id": field.id,
        })
    });
    let fields: Vec<Value> = fields.collect();
    json!({"type": "record", "name": "r102", "fields": fields})
}

fn avro_of(primitive: &PrimitiveType, field_id: i32) -> Value {
    use PrimitiveType as P;
    let timestamp =
        |unit: &str, utc: bool| json!({"type": "long", "logicalType": unit, "adjust-to-utc": utc});
    match primitive {
        P::Boolean => json!("boolean"),
        P::Int => json!("int"),
        P::Long => json!("long"),
        P::Float => json!("float"),
        P::Double => json!("double"),
        P::Date => json!({"type": "int", "logicalType": "date"}),
        P::Time => json!({"type": "long", "logicalType": "time-micros"}),
        P::Timestamp => timestamp("timestamp-micros", false),
        P::Timestamptz => timestamp("timestamp-micros", true),
        P::TimestampNs => timestamp("timestamp-nanos", false),
        P::TimestamptzNs => timestamp("timestamp-nanos", true),
        P::String => json!("string"),
        P::Binary => json!("bytes"),
        P::Uuid => {
            json!({"type": "fixed", "name": format!("uuid_fixed_{field_id}"), "size": 16, "logicalType": "uuid"})
        }
        P::Fixed(size) => {
            json!({"type": "fixed", "name": format!("fixed_{field_id}"), "size": size})
        }
        P::Decimal { precision, scale } => json!({
            "type": "fixed",
            "name": format!("decimal_{field_id}"),
            "size": decimal_bytes(*precision),
            "logicalType": "decimal",
            "precision": precision,
            "scale": scale,
        }),
    }
}

/// A name as Avro wants it: other characters as `_x` and their number, as Iceberg's Java library writes them.
pub(super) fn avro_name(name: &str) -> String {
    let mut safe = String::with_capacity(name.len());
    for (index, character) in name.chars().enumerate() {
        match character {
            'a'..='z' | 'A'..='Z' | '_' => safe.push(character),
            '0'..='9' if index > 0 => safe.push(character),
            '0'..='9' => {
                safe.push('_');
                safe.push(character);
            }
            other => {
                for unit in other.encode_utf16(&mut [0; 2]) {
                    safe.push_str(&format!("_x{unit:X}"));
                }
            }
        }
    }
    safe
}

/// The least number of bytes that holds every value of so many digits.
fn decimal_bytes(precision: u32) -> usize {
    let largest = 10u128
        .checked_pow(precision)
        .map_or(u128::MAX, |power| power - 1);
    let bits = 128 - largest.leading_zeros() as usize + 1;
    bits.div_ceil(8).min(16)
}

/// Encodes a partition as [`avro_type`] says.
pub(super) fn put_partition(
    partition: &Struct,
    partition_type: &StructType,
    out: &mut Vec<u8>,
) -> Result<(), String> {
    for (value, field) in partition.iter().zip(partition_type.fields()) {
        let Some(value) = value else {
            put_long(0, out);
            continue;
        };
        put_long(1, out);
        let misfit = || format!("{value:?} is no value of partition field {}", field.name);
        let (Literal::Primitive(value), Type::Primitive(primitive)) =
            (value, field.field_type.as_ref())
        else {
            return Err(misfit());
        };
        put_value(value, primitive, out).ok_or_else(misfit)?;
    }
    Ok(())
}

fn put_value(value: &PrimitiveLiteral, primitive: &PrimitiveType, out: &mut Vec<u8>) -> Option<()> {
    use PrimitiveLiteral as L;
    match (value, primitive) {
        (L::Boolean(value), _) => out.push(u8::from(*value)),
        (L::Int(value), _) => put_long(i64::from(*value), out),
        (L::Long(value), _) => put_long(*value, out),
        (L::Float(value), _) => out.extend(value.into_inner().to_le_bytes()),
        (L::Double(value), _) => out.extend(value.into_inner().to_le_bytes()),
        (L::String(value), _) => put_bytes(value.as_bytes(), out),
        (L::Binary(value), PrimitiveType::Fixed(size)) => {
            let has_size = u64::try_from(value.len()) == Ok(*size);
            out.extend(has_size.then_some(value)?);
        }
        (L::Binary(value), _) => put_bytes(value, out),
        (L::UInt128(value), _) => out.extend(value.to_be_bytes()),
        (L::Int128(value), PrimitiveType::Decimal { precision, .. }) => {
            let bytes = value.to_be_bytes();
            let (padding, kept) = bytes.split_at(16 - decimal_bytes(*precision));
            let sign = if *value < 0 { 0xff } else { 0 };
            let fits =
                padding.iter().all(|byte| *byte == sign) && (kept.first()? ^ sign) & 0x80 == 0;
            out.extend(fits.then_some(kept)?);
        }
        _ => return None,
    }
    Some(())
}

/// Iceberg's binary single-value serialization.
fn to_bound(value: &PrimitiveLiteral) -> Vec<u8> {
    use PrimitiveLiteral as L;
    match value {
        L::Boolean(value) => vec![u8::from(*value)],
        L::Int(value) => value.to_le_bytes().to_vec(),
        L::Long(value) => value.to_le_bytes().to_vec(),
        L::Float(value) => value.into_inner().to_le_bytes().to_vec(),
        L::Double(value) => value.into_inner().to_le_bytes().to_vec(),
        L::String(value) => value.as_bytes().to_vec(),
        L::Binary(value) => value.clone(),
        L::UInt128(value) => value.to_be_bytes().to_vec(),
        L::Int128(value) => {
            let bytes = value.to_be_bytes();
            let sign = if *value < 0 { 0xff } else { 0 };
            let mut from = 0;
            while from < 15 && bytes[from] == sign && (bytes[from + 1] ^ sign) & 0x80 == 0 {
                from += 1;
            }
            bytes[from..].to_vec()
        }
        // What a comparison with an unbounded value would have; no file's partition.
        L::AboveMax | L::BelowMin => Vec::new(),
    }
}

fn is_nan(value: &PrimitiveLiteral) -> bool {
    match value {
        PrimitiveLiteral::Float(value) => value.is_nan(),
        PrimitiveLiteral::Double(value) => value.is_nan(),
        _ => false,
    }
}

fn order(a: &PrimitiveLiteral, b: &PrimitiveLiteral) -> Ordering {
    use PrimitiveLiteral as L;
    match (a, b) {
        // Iceberg holds the two zeros apart.
        (L::Float(a), L::Float(b)) => a.into_inner().total_cmp(&b.into_inner()),
        (L::Double(a), L::Double(b)) => a.into_inner().total_cmp(&b.into_inner()),
        // One field has one type.
        _ => a.partial_cmp(b).unwrap_or(Ordering::Equal),
    }
}

/// How two values of one partition field compare as bounds do: NULL is the least.
pub(crate) fn compare_values(a: Option<&Literal>, b: Option<&Literal>) -> Ordering {
    match (a, b) {
        (Some(Literal::Primitive(a)), Some(Literal::Primitive(b))) => order(a, b),
        (a, b) => a.is_some().cmp(&b.is_some()),
    }
}

/// Gathers the summaries of a manifest's partition fields, in the order of its spec.
#[derive(Debug)]
pub(super) struct Summaries {
    fields: Vec<Summary>,
}

#[derive(Debug, Default, Clone)]
struct Summary {
    null: bool,
    nan: bool,
    range: Option<(PrimitiveLiteral, PrimitiveLiteral)>,
}

impl Summaries {
    pub(super) fn new(partition_type: &StructType) -> Self {
        Self {
            fields: vec![Summary::default(); partition_type.fields().len()],
        }
    }

    pub(super) fn add(&mut self, partition: &Struct) {
        for (summary, value) in self.fields.iter_mut().zip(partition.iter()) {
            match value {
                Some(Literal::Primitive(value)) if is_nan(value) => summary.nan = true,
                Some(Literal::Primitive(value)) => match &mut summary.range {
                    None => summary.range = Some((value.clone(), value.clone())),
                    Some((low, _)) if order(value, low).is_lt() => *low = value.clone(),
                    Some((_, high)) if order(value, high).is_gt() => *high = value.clone(),
                    Some(_) => {}
                },
                _ => summary.null = true,
            }
        }
    }

    pub(super) fn finish(self) -> Vec<FieldSummary> {
        let fields = self.fields.into_iter().map(|summary| {
            let (low, high) = summary.range.unzip();
            FieldSummary {
                contains_null: summary.null,
                contains_nan: Some(summary.nan),
                lower_bound: low.as_ref().map(to_bound),
                upper_bound: high.as_ref().map(to_bound),
            }
        });
        fields.collect()
    }
}
