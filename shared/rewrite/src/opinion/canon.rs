//! Values of Parquet's physical types in a form that does not depend on how a file stores them: an `int` and the `long` that
//! it was promoted to are one number, a decimal is its digits however many bytes they take, and moments are counted in
//! the unit of the table's column.

use std::cmp::Ordering;

use iceberg::spec::{Literal, PrimitiveLiteral, PrimitiveType};
use parquet::{
    basic::{ConvertedType, LogicalType, TimeUnit, Type as PhysicalType},
    data_type::Int96,
    schema::types::Type as ParquetType,
};
use xxhash_rust::xxh3::xxh3_64_with_seed;

const MICROS_OF_DAY: i128 = 86_400_000_000;
/// The day of 1970-01-01 among the Julian days that INT96 counts.
const JULIAN_EPOCH: i128 = 2_440_588;

/// What values of a column are compared as.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Kind {
    Whole,
    Real,
    Bytes,
}

/// One value.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Value {
    Whole(i128),
    Real(f64),
    Bytes(Vec<u8>),
}

impl Value {
    /// A hash that is the same for the same value at the same place
    /// (`slot`) among the entries of its row.
    pub(super) fn hash(&self, slot: u64) -> u64 {
        match self {
            Self::Whole(number) => xxh3_64_with_seed(&number.to_le_bytes(), slot),
            // All NaN are one; 0 is not -0, for a rewrite keeps them apart.
            Self::Real(number) => {
                let number = if number.is_nan() { f64::NAN } else { *number };
                xxh3_64_with_seed(&number.to_bits().to_le_bytes(), slot)
            }
            Self::Bytes(bytes) => xxh3_64_with_seed(bytes, slot),
        }
    }
}

impl PartialOrd for Value {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        match (self, other) {
            (Self::Whole(one), Self::Whole(other)) => one.partial_cmp(other),
            (Self::Real(one), Self::Real(other)) => one.partial_cmp(other),
            (Self::Bytes(one), Self::Bytes(other)) => one.partial_cmp(other),
            _ => None,
        }
    }
}

/// The kind of a column.
pub(super) fn kind_of(column: &PrimitiveType) -> Kind {
    match column {
        PrimitiveType::Float | PrimitiveType::Double => Kind::Real,
        PrimitiveType::String
        | PrimitiveType::Uuid
        | PrimitiveType::Fixed(_)
        | PrimitiveType::Binary => Kind::Bytes,
        _ => Kind::Whole,
    }
}

/// How the values of a leaf of a file become comparable ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Conversion {
    /// Numbers of some size, times one number and divided by another.
    Whole {
        unsigned_bits: Option<u32>,
        times: i128,
        by: i128,
    },
    /// Digits in two's complement, the greatest byte first.
    Digits,
    /// INT96, of which readers take microseconds; in units of so many a microsecond.
    Moment {
        a_microsecond: i128,
    },
    Real,
    /// A float of 16 bits.
    Half,
    Bytes,
    /// A leaf that holds nothing but NULL.
    Nothing,
}

/// Nanoseconds of a unit of time.
fn nanos(unit: &TimeUnit) -> i128 {
    match unit {
        TimeUnit::MILLIS => 1_000_000,
        TimeUnit::MICROS => 1_000,
        TimeUnit::NANOS => 1,
    }
}

/// Nanoseconds that one of a leaf's numbers stands for, where its annotation says.
fn unit_of(leaf: &ParquetType) -> Option<i128> {
    let info = leaf.get_basic_info();
    match info.logical_type_ref() {
        Some(LogicalType::Timestamp { unit, .. } | LogicalType::Time { unit, .. }) => {
            return Some(nanos(unit));
        }
        Some(LogicalType::Date) => return Some(MICROS_OF_DAY * 1000),
        _ => {}
    }
    match info.converted_type() {
        ConvertedType::TIMESTAMP_MILLIS | ConvertedType::TIME_MILLIS => Some(1_000_000),
        ConvertedType::TIMESTAMP_MICROS | ConvertedType::TIME_MICROS => Some(1_000),
        ConvertedType::DATE => Some(MICROS_OF_DAY * 1000),
        _ => None,
    }
}

/// Nanoseconds that one of a column's numbers stands for, where it is of a type of time.
fn unit_of_column(column: &PrimitiveType) -> Option<i128> {
    match column {
        PrimitiveType::Date => Some(MICROS_OF_DAY * 1000),
        PrimitiveType::Time | PrimitiveType::Timestamp | PrimitiveType::Timestamptz => Some(1_000),
        PrimitiveType::TimestampNs | PrimitiveType::TimestamptzNs => Some(1),
        _ => None,
    }
}

fn unsigned_bits(leaf: &ParquetType) -> Option<u32> {
    let info = leaf.get_basic_info();
    let physical = match leaf.get_physical_type() {
        PhysicalType::INT32 => 32,
        _ => 64,
    };
    match (info.logical_type_ref(), info.converted_type()) {
        (Some(LogicalType::Integer { is_signed, .. }), _) => (!is_signed).then_some(physical),
        (
            _,
            ConvertedType::UINT_8
            | ConvertedType::UINT_16
            | ConvertedType::UINT_32
            | ConvertedType::UINT_64,
        ) => Some(physical),
        _ => None,
    }
}

/// How a leaf's values are those of a column; `None` where they can't be.
pub(super) fn conversion(leaf: &ParquetType, column: &PrimitiveType) -> Option<Conversion> {
    let physical = leaf.get_physical_type();
    if leaf.get_basic_info().logical_type_ref() == Some(&LogicalType::Unknown) {
        return Some(Conversion::Nothing);
    }
    match (kind_of(column), physical) {
        (Kind::Whole, PhysicalType::BOOLEAN) => Some(Conversion::Whole {
            unsigned_bits: None,
            times: 1,
            by: 1,
        }),
        (Kind::Whole, PhysicalType::INT32 | PhysicalType::INT64) => {
            // Numbers that no annotation calls moments are in the column's own unit.
            let (times, by) = match (unit_of(leaf), unit_of_column(column)) {
                (Some(held), Some(wanted)) if held >= wanted => (held / wanted, 1),
                (Some(held), Some(wanted)) => (1, wanted / held),
                _ => (1, 1),
            };
            Some(Conversion::Whole {
                unsigned_bits: unsigned_bits(leaf),
                times,
                by,
            })
        }
        (Kind::Whole, PhysicalType::INT96) => Some(Conversion::Moment {
            a_microsecond: 1_000 / unit_of_column(column)?,
        }),
        (Kind::Whole, PhysicalType::BYTE_ARRAY | PhysicalType::FIXED_LEN_BYTE_ARRAY) => {
            Some(Conversion::Digits)
        }
        (Kind::Real, PhysicalType::FLOAT | PhysicalType::DOUBLE) => Some(Conversion::Real),
        (Kind::Real, PhysicalType::FIXED_LEN_BYTE_ARRAY) => Some(Conversion::Half),
        (Kind::Bytes, PhysicalType::BYTE_ARRAY | PhysicalType::FIXED_LEN_BYTE_ARRAY) => {
            Some(Conversion::Bytes)
        }
        _ => None,
    }
}

impl Conversion {
    /// Of a boolean or a number.
    pub(super) fn of_whole(self, number: i64) -> Value {
        let Self::Whole {
            unsigned_bits,
            times,
            by,
        } = self
        else {
            return Value::Whole(number.into());
        };
        let number = match unsigned_bits {
            Some(32) => i128::from(number as u32),
            Some(_) => i128::from(number as u64),
            None => number.into(),
        };
        Value::Whole((number * times).div_euclid(by))
    }

    /// Of an INT96.
    pub(super) fn of_moment(self, moment: &Int96) -> Value {
        let a_microsecond = match self {
            Self::Moment { a_microsecond } => a_microsecond,
            _ => 1,
        };
        let [low, high, day] = moment.data() else {
            return Value::Whole(0);
        };
        let in_day = (u64::from(*high) << 32) | u64::from(*low);
        let micros = (i128::from(*day) - JULIAN_EPOCH) * MICROS_OF_DAY + i128::from(in_day) / 1000;
        Value::Whole(micros * a_microsecond)
    }

    /// Of bytes.
    pub(super) fn of_bytes(self, bytes: &[u8]) -> Value {
        match self {
            Self::Digits => Value::Whole(digits(bytes)),
            Self::Half => Value::Real(half(bytes)),
            _ => Value::Bytes(bytes.to_vec()),
        }
    }
}

fn digits(bytes: &[u8]) -> i128 {
    let negative = bytes.first().is_some_and(|first| *first >= 0x80);
    let start = if negative { -1 } else { 0 };
    bytes.iter().fold(start, |number: i128, byte| {
        (number << 8) | i128::from(*byte)
    })
}

/// A float of 16 bits, the smallest byte first.
fn half(bytes: &[u8]) -> f64 {
    let bits = bytes
        .first_chunk::<2>()
        .map_or(0, |bytes| u16::from_le_bytes(*bytes));
    let fraction = f64::from(bits & 0x3FF) / 1024.0;
    let exponent = i32::from((bits >> 10) & 0x1F);
    let size = match exponent {
        0 => fraction * 2f64.powi(-14),
        31 if fraction == 0.0 => f64::INFINITY,
        31 => f64::NAN,
        _ => (1.0 + fraction) * 2f64.powi(exponent - 15),
    };
    if bits & 0x8000 == 0 { size } else { -size }
}

/// The value that a partition or a default gives to a column, `held` being the type that it is of there.
pub(super) fn of_literal(
    literal: &Literal,
    held: &PrimitiveType,
    column: &PrimitiveType,
) -> Option<Value> {
    let Literal::Primitive(literal) = literal else {
        return None;
    };
    let whole = |number: i128| {
        let (times, by) = match (unit_of_column(held), unit_of_column(column)) {
            (Some(held), Some(wanted)) if held >= wanted => (held / wanted, 1),
            (Some(held), Some(wanted)) => (1, wanted / held),
            _ => (1, 1),
        };
        Value::Whole((number * times).div_euclid(by))
    };
    Some(match literal {
        PrimitiveLiteral::Boolean(value) => Value::Whole((*value).into()),
        PrimitiveLiteral::Int(value) => whole((*value).into()),
        PrimitiveLiteral::Long(value) => whole((*value).into()),
        PrimitiveLiteral::Int128(value) => Value::Whole(*value),
        PrimitiveLiteral::Float(value) => Value::Real(value.0.into()),
        PrimitiveLiteral::Double(value) => Value::Real(value.0),
        PrimitiveLiteral::String(value) => Value::Bytes(value.as_bytes().to_vec()),
        PrimitiveLiteral::Binary(value) => Value::Bytes(value.clone()),
        PrimitiveLiteral::UInt128(value) => Value::Bytes(value.to_be_bytes().to_vec()),
        _ => return None,
    })
}
