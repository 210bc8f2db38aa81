//! Chance that repeats, and rows made of it.

use iceberg::spec::{NestedField, NestedFieldRef, PrimitiveType, Type};

use super::{
    shape::is_anchor,
    values::{Columns, Value},
};

/// Numbers that follow from a seed (SplitMix64).
#[derive(Debug, Clone)]
pub struct Dice(u64);

impl Dice {
    /// The numbers of that seed.
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// 64 bits.
    pub fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    /// A number below `limit`.
    pub fn below(&mut self, limit: usize) -> usize {
        usize::try_from(self.bits() % limit as u64).unwrap()
    }

    /// True once in `times`.
    pub fn once_in(&mut self, times: usize) -> bool {
        self.below(times) == 0
    }

    /// A row of `fields`, whose first is `id`.
    pub(super) fn row(&mut self, fields: &[NestedFieldRef], id: i64) -> Columns {
        fields
            .iter()
            .map(|field| {
                let value = match field.id {
                    super::setup::ID => Value::Integer(id),
                    _ => self.value(field, !field.required),
                };
                (field.id, value)
            })
            .collect()
    }

    /// A value from a small domain, so that equality deletes hit several rows.
    fn value(&mut self, field: &NestedField, nullable: bool) -> Value {
        if nullable && self.once_in(4) {
            return Value::Null;
        }
        match field.field_type.as_ref() {
            Type::Primitive(kind) => self.primitive(kind),
            Type::Struct(inner) => Value::Struct(
                inner
                    .fields()
                    .iter()
                    .map(|inner| {
                        let nullable = !inner.required && !is_anchor(field.id, inner.id);
                        (inner.id, self.value(inner, nullable))
                    })
                    .collect(),
            ),
            Type::List(list) => {
                let (element, nullable) = (&list.element_field, !list.element_field.required);
                let count = self.below(3);
                Value::List((0..count).map(|_| self.value(element, nullable)).collect())
            }
            Type::Map(map) => {
                let mut pairs: Vec<(Value, Value)> = Vec::new();
                for _ in 0..self.below(3) {
                    let key = self.value(&map.key_field, false);
                    if pairs.iter().all(|(other, _)| *other != key) {
                        let content = &map.value_field;
                        pairs.push((key, self.value(content, !content.required)));
                    }
                }
                Value::Map(pairs)
            }
        }
    }

    fn primitive(&mut self, kind: &PrimitiveType) -> Value {
        let small = self.below(4) as i64;
        match kind {
            PrimitiveType::Boolean => Value::Boolean(small % 2 == 0),
            PrimitiveType::Int => Value::Integer([-1, 0, 7, i64::from(i32::MAX)][small as usize]),
            PrimitiveType::Long => Value::Integer([-1, 0, 7, -(1 << 40)][small as usize]),
            PrimitiveType::Date => Value::Integer([-1, 0, 365, 20_000][small as usize]),
            PrimitiveType::Timestamp | PrimitiveType::Timestamptz => {
                Value::Integer([-1, 0, 86_400_000_000, 1_700_000_000_123_456][small as usize])
            }
            PrimitiveType::TimestampNs | PrimitiveType::TimestamptzNs => Value::Integer(
                [-1000, 0, 86_400_000_000_000, 1_700_000_000_123_456_789][small as usize],
            ),
            PrimitiveType::Float => Value::float([f64::NAN, -0.0, 0.0, 1.5][small as usize]),
            PrimitiveType::Double => {
                Value::float([f64::NEG_INFINITY, -0.0, 1.5, f64::NAN][small as usize])
            }
            PrimitiveType::Decimal { .. } => {
                Value::Decimal([-1, 0, 9_999_999, -123_456][small as usize])
            }
            // Longer than what statistics keep of a string.
            PrimitiveType::String => Value::Text(
                [
                    String::new(),
                    "a".into(),
                    "ä/b=c".into(),
                    "long ".repeat(16),
                ][small as usize]
                    .clone(),
            ),
            PrimitiveType::Fixed(size) => {
                Value::Bytes(vec![small as u8; usize::try_from(*size).unwrap()])
            }
            PrimitiveType::Binary => Value::Bytes(
                [vec![], vec![0], vec![255; 3], vec![0x80; 70]][small as usize].clone(),
            ),
            other => unreachable!("no column here is a {other}"),
        }
    }
}
