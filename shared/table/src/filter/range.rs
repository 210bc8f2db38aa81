//! What a partition's value says of the values of its column.

use iceberg::spec::{Literal, PrimitiveLiteral, PrimitiveType, Transform};
use jiff::civil::Date;

use super::literal::Value;

/// The values that a column may have in a partition.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Range {
    /// NULL, all of them.
    Null,
    /// From the first to the second, both of them, and never NULL; without a second, all texts that begin with the first.
    Between(Value, Option<Value>),
}

impl Range {
    /// One value.
    pub(super) fn only(value: Value) -> Self {
        Self::Between(value.clone(), Some(value))
    }

    /// What `value`, of a partition field with a transform, says of its column, which is of the type `kind`; `None` for
    /// nothing that is a range.
    pub(super) fn of(
        transform: Transform,
        kind: &PrimitiveType,
        value: Option<&Literal>,
    ) -> Option<Self> {
        if transform == Transform::Void {
            return None;
        }
        let value = match value {
            None => return Some(Self::Null),
            Some(Literal::Primitive(value)) => value,
            Some(_) => return None,
        };
        match transform {
            Transform::Identity => Value::of(value).map(Self::only),
            Transform::Truncate(width) => truncated(value, width),
            Transform::Year | Transform::Month | Transform::Day | Transform::Hour => {
                let Value::Number(number) = Value::of(value)? else {
                    return None;
                };
                let first = first_of(transform, number, kind)?;
                let most = first_of(transform, number + 1, kind)? - 1;
                Some(Self::Between(
                    Value::Number(first),
                    Some(Value::Number(most)),
                ))
            }
            _ => None,
        }
    }
}

/// The first value of a year, month, day or hour, counted from 1970, in the unit of the column.
fn first_of(transform: Transform, number: i128, kind: &PrimitiveType) -> Option<i128> {
    let a_day = match kind {
        PrimitiveType::Date => 1,
        PrimitiveType::Timestamp | PrimitiveType::Timestamptz => 86_400_000_000,
        PrimitiveType::TimestampNs | PrimitiveType::TimestamptzNs => 86_400_000_000_000,
        _ => return None,
    };
    let day_of_month = |months: i128| {
        let year = i16::try_from(1970 + months.div_euclid(12)).ok()?;
        let month = i8::try_from(months.rem_euclid(12) + 1).ok()?;
        let first = Date::new(year, month, 1).ok()?;
        let since = Date::constant(1970, 1, 1).until(first).ok()?;
        Some(i128::from(since.get_days()))
    };
    match transform {
        Transform::Year => Some(day_of_month(number * 12)? * a_day),
        Transform::Month => Some(day_of_month(number)? * a_day),
        Transform::Day => Some(number * a_day),
        // Dates have no hours.
        Transform::Hour if a_day > 1 => Some(number * (a_day / 24)),
        _ => None,
    }
}

fn truncated(value: &PrimitiveLiteral, width: u32) -> Option<Range> {
    match Value::of(value)? {
        Value::Number(least) => {
            let most = least + i128::from(width) - 1;
            Some(Range::Between(
                Value::Number(least),
                Some(Value::Number(most)),
            ))
        }
        // What is shorter than the width was not cut.
        Value::Text(text) if text.chars().count() < width as usize => {
            Some(Range::only(Value::Text(text)))
        }
        Value::Text(text) => Some(Range::Between(Value::Text(text), None)),
        _ => None,
    }
}
