//! Values of rows, free of any file format's types: what readers must agree on.
//!
//! Type promotion changes none of them: an `int` and the `long` that it became are the same number here, and so are a
//! `float` and its `double`, and decimals of one scale.

use std::fmt::Write as _;

use iceberg::spec::{Literal, PrimitiveLiteral, PrimitiveType, Type};
use serde_json::{Value as Json, json};

/// One value of a column, or of something inside it.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Value {
    /// Nothing.
    Null,
    /// A boolean.
    Boolean(bool),
    /// An int or long; days of a date; microseconds or nanoseconds of a timestamp.
    Integer(i64),
    /// The bits of the double that it equals, with one NaN.
    Float(u64),
    /// Without the point.
    Decimal(i128),
    /// A string.
    Text(String),
    /// Binary or fixed.
    Bytes(Vec<u8>),
    /// Fields by id.
    Struct(Columns),
    /// Elements in order.
    List(Vec<Value>),
    /// Keys with values.
    Map(Vec<(Value, Value)>),
}

/// Values by field id, in the order in which they were written.
pub(super) type Columns = Vec<(i32, Value)>;

impl std::fmt::Debug for Value {
    /// Short: failing histories are read by people.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Null => f.write_str("NULL"),
            Self::Boolean(value) => write!(f, "{value}"),
            Self::Integer(value) => write!(f, "{value}"),
            Self::Float(bits) => write!(f, "{:?}", f64::from_bits(*bits)),
            Self::Decimal(value) => write!(f, "{value}d"),
            Self::Text(text) => write!(f, "{text:?}"),
            Self::Bytes(bytes) => write!(f, "x{bytes:?}"),
            Self::Struct(fields) => f.debug_map().entries(fields.iter().cloned()).finish(),
            Self::List(items) => f.debug_list().entries(items).finish(),
            Self::Map(pairs) => f.debug_list().entries(pairs).finish(),
        }
    }
}

impl Value {
    /// A floating number; all NaNs are one.
    pub(super) fn float(value: f64) -> Self {
        const NAN: u64 = 0x7ff8_0000_0000_0000;
        Self::Float(if value.is_nan() { NAN } else { value.to_bits() })
    }

    /// A primitive literal of the specification.
    pub(super) fn of_literal(literal: &Literal) -> Self {
        let Literal::Primitive(primitive) = literal else {
            unreachable!("only primitive literals are used here, not {literal:?}")
        };
        match primitive {
            PrimitiveLiteral::Boolean(value) => Self::Boolean(*value),
            PrimitiveLiteral::Int(value) => Self::Integer(i64::from(*value)),
            PrimitiveLiteral::Long(value) => Self::Integer(*value),
            PrimitiveLiteral::Float(value) => Self::float(f64::from(value.0)),
            PrimitiveLiteral::Double(value) => Self::float(value.0),
            PrimitiveLiteral::String(value) => Self::Text(value.clone()),
            PrimitiveLiteral::Binary(value) => Self::Bytes(value.clone()),
            PrimitiveLiteral::Int128(value) => Self::Decimal(*value),
            other => unreachable!("no value here is written as {other:?}"),
        }
    }

    /// As a literal of `kind`, to partition by; `None` for NULL.
    pub(super) fn to_literal(&self, kind: &PrimitiveType) -> Option<PrimitiveLiteral> {
        Some(match (self, kind) {
            (Self::Null, _) => return None,
            (Self::Boolean(value), _) => PrimitiveLiteral::Boolean(*value),
            (Self::Integer(value), PrimitiveType::Int | PrimitiveType::Date) => {
                PrimitiveLiteral::Int(i32::try_from(*value).unwrap())
            }
            (Self::Integer(value), _) => PrimitiveLiteral::Long(*value),
            (Self::Text(text), _) => PrimitiveLiteral::String(text.clone()),
            (Self::Bytes(bytes), _) => PrimitiveLiteral::Binary(bytes.clone()),
            (Self::Decimal(value), _) => PrimitiveLiteral::Int128(*value),
            (other, kind) => unreachable!("tables are not partitioned by {other:?} as {kind}"),
        })
    }

    /// In the form that the Java harness prints rows in, as far as such types are used here.
    pub(super) fn to_json(&self, kind: &Type) -> Json {
        match (self, kind) {
            (Self::Null, _) => Json::Null,
            (Self::Boolean(value), _) => json!(value),
            (Self::Integer(value), Type::Primitive(kind)) if in_nanoseconds(kind) => {
                json!(value.div_euclid(1000))
            }
            (Self::Integer(value), _) => json!(value),
            (Self::Float(bits), _) => json!(format!("f{bits:016x}")),
            (Self::Decimal(value), Type::Primitive(PrimitiveType::Decimal { scale, .. })) => {
                json!(decimal_text(*value, *scale))
            }
            (Self::Text(text), _) => json!(text),
            (Self::Bytes(bytes), _) => {
                let hex = bytes.iter().fold("x".to_owned(), |mut hex, byte| {
                    let _ = write!(hex, "{byte:02x}");
                    hex
                });
                json!(hex)
            }
            (Self::Struct(values), Type::Struct(kind)) => {
                let fields = values.iter().zip(kind.fields());
                Json::Array(
                    fields
                        .map(|((_, value), field)| value.to_json(&field.field_type))
                        .collect(),
                )
            }
            (Self::List(items), Type::List(kind)) => {
                let element = &kind.element_field.field_type;
                Json::Array(items.iter().map(|item| item.to_json(element)).collect())
            }
            (Self::Map(pairs), Type::Map(kind)) => {
                let mut pairs: Vec<Json> = pairs
                    .iter()
                    .map(|(key, value)| {
                        json!([
                            key.to_json(&kind.key_field.field_type),
                            value.to_json(&kind.value_field.field_type)
                        ])
                    })
                    .collect();
                pairs.sort_by_key(Json::to_string);
                Json::Array(pairs)
            }
            (value, kind) => unreachable!("{value:?} is no {kind}"),
        }
    }
}

fn in_nanoseconds(kind: &PrimitiveType) -> bool {
    matches!(
        kind,
        PrimitiveType::TimestampNs | PrimitiveType::TimestamptzNs
    )
}

fn decimal_text(value: i128, scale: u32) -> String {
    let digits = format!(
        "{:0>width$}",
        value.unsigned_abs(),
        width = scale as usize + 1
    );
    let (whole, fraction) = digits.split_at(digits.len() - scale as usize);
    let sign = if value < 0 { "-" } else { "" };
    if scale == 0 {
        format!("{sign}{whole}")
    } else {
        format!("{sign}{whole}.{fraction}")
    }
}
