//! Values that are compared: what people write, and what partitions have, in one form.

use std::cmp::Ordering;

use iceberg::{
    spec::{Datum, PrimitiveLiteral, PrimitiveType, Transform},
    transform::create_transform_function,
};

/// A value, in the unit of its column.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Value {
    Boolean(bool),
    /// Whole numbers; days, micro- or nanoseconds since 1970; decimals without their point.
    Number(i128),
    Float(f64),
    Text(String),
    Bytes(Vec<u8>),
}

impl Value {
    /// A partition's value; `None` for what is no value to compare with.
    pub(super) fn of(literal: &PrimitiveLiteral) -> Option<Self> {
        Some(match literal {
            PrimitiveLiteral::Boolean(value) => Self::Boolean(*value),
            PrimitiveLiteral::Int(value) => Self::Number((*value).into()),
            PrimitiveLiteral::Long(value) => Self::Number((*value).into()),
            PrimitiveLiteral::Float(value) => Self::Float(f64::from(value.into_inner())),
            PrimitiveLiteral::Double(value) => Self::Float(value.into_inner()),
            PrimitiveLiteral::String(value) => Self::Text(value.clone()),
            PrimitiveLiteral::Binary(value) => Self::Bytes(value.clone()),
            PrimitiveLiteral::Int128(value) => Self::Number(*value),
            PrimitiveLiteral::UInt128(value) => Self::Bytes(value.to_be_bytes().to_vec()),
            _ => return None,
        })
    }

    /// What somebody wrote, as a value of a type. The error is a message for people.
    pub(super) fn read(text: &str, kind: &PrimitiveType) -> Result<Self, String> {
        let value = match kind {
            PrimitiveType::Decimal { scale, .. } => unscaled(text, *scale).map(Self::Number),
            kind => datum(text, kind).and_then(|datum| Self::of(datum.literal())),
        };
        value.ok_or_else(|| format!("'{text}' is no {kind}: write it as in {}", example(kind)))
    }

    /// As Iceberg orders them; `None` for values of different kinds.
    pub(super) fn compare(&self, other: &Self) -> Option<Ordering> {
        match (self, other) {
            (Self::Boolean(one), Self::Boolean(other)) => Some(one.cmp(other)),
            (Self::Number(one), Self::Number(other)) => Some(one.cmp(other)),
            (Self::Float(one), Self::Float(other)) => one.partial_cmp(other),
            (Self::Text(one), Self::Text(other)) => Some(one.as_bytes().cmp(other.as_bytes())),
            (Self::Bytes(one), Self::Bytes(other)) => Some(one.cmp(other)),
            _ => None,
        }
    }

    /// The bucket that the value is in; `None` where the transform is none into buckets, or it is not known.
    pub(super) fn bucket(
        &self,
        transform: Transform,
        kind: &PrimitiveType,
    ) -> Option<PrimitiveLiteral> {
        use PrimitiveType as P;
        if !matches!(transform, Transform::Bucket(_)) {
            return None;
        }
        let function = create_transform_function(&transform).ok()?;
        // Whole numbers, days and microseconds have one hash (specification, Appendix B), decimals another.
        let datum = match (self, kind) {
            (Self::Number(number), P::Int | P::Long | P::Date | P::Timestamp | P::Timestamptz) => {
                Datum::long(i64::try_from(*number).ok()?)
            }
            (Self::Text(text), P::String) => Datum::string(text),
            _ => return None,
        };
        let bucket = function.transform_literal(&datum).ok()??;
        Some(bucket.literal().clone())
    }
}

fn datum(text: &str, kind: &PrimitiveType) -> Option<Datum> {
    use PrimitiveType as P;
    let parsed = match kind {
        P::Boolean => Datum::bool(text.to_ascii_lowercase().parse::<bool>().ok()?),
        P::Int => Datum::int(text.parse::<i32>().ok()?),
        P::Long => Datum::long(text.parse::<i64>().ok()?),
        P::Float => Datum::float(text.parse::<f32>().ok()?),
        P::Double => Datum::double(text.parse::<f64>().ok()?),
        P::String => Datum::string(text),
        P::Date => Datum::date_from_str(text).ok()?,
        P::Time => Datum::time_from_str(text).ok()?,
        P::Timestamp => Datum::timestamp_micros(micros(text, false)?),
        P::Timestamptz => Datum::timestamptz_micros(micros(text, true)?),
        P::TimestampNs => Datum::timestamp_nanos(micros(text, false)?.checked_mul(1_000)?),
        P::TimestamptzNs => Datum::timestamptz_nanos(micros(text, true)?.checked_mul(1_000)?),
        P::Uuid => Datum::uuid_from_str(text).ok()?,
        P::Decimal { .. } | P::Binary | P::Fixed(_) => return None,
    };
    Some(parsed)
}

/// A moment as people write it, in microseconds since 1970: a day is its first. With a zone only where the column has one;
/// there, without one it is UTC.
fn micros(text: &str, with_zone: bool) -> Option<i64> {
    use jiff::{Timestamp, civil, tz::TimeZone};
    if with_zone && let Ok(moment) = text.parse::<Timestamp>() {
        return Some(moment.as_microsecond());
    }
    let has_zone = text.parse::<Timestamp>().is_ok();
    if has_zone {
        return None;
    }
    let day = || Some(text.parse::<civil::Date>().ok()?.at(0, 0, 0, 0));
    let shown = match text.contains(':') {
        true => text.parse::<civil::DateTime>().ok(),
        false => day(),
    };
    let moment = TimeZone::UTC.to_timestamp(shown?).ok()?;
    Some(moment.as_microsecond())
}

/// A decimal number without its point; `None` where it has more places than the type.
fn unscaled(text: &str, scale: u32) -> Option<i128> {
    let (whole, places) = text.split_once('.').unwrap_or((text, ""));
    let scale = scale as usize;
    let is_number = |digits: &str| digits.bytes().all(|digit| digit.is_ascii_digit());
    let sign_free = whole.strip_prefix(['-', '+']).unwrap_or(whole);
    if places.len() > scale || !is_number(places) || !is_number(sign_free) || sign_free.is_empty() {
        return None;
    }
    format!("{whole}{places:0<scale$}").parse().ok()
}

fn example(kind: &PrimitiveType) -> &'static str {
    use PrimitiveType as P;
    match kind {
        P::Boolean => "true",
        P::Int | P::Long => "42",
        P::Float | P::Double | P::Decimal { .. } => "4.2",
        P::Date => "'2026-11-30'",
        P::Time => "'12:30:00'",
        P::Timestamp | P::TimestampNs => "'2026-11-30T12:30:00'",
        P::Timestamptz | P::TimestamptzNs => "'2026-11-30T12:30:00+00:00'",
        P::Uuid => "'123e4567-e89b-12d3-a456-426614174000'",
        P::String | P::Binary | P::Fixed(_) => "a text, for only texts and numbers can be compared",
    }
}
