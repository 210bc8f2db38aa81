//! The column that says how old a row is: from its values, as statistics and partitions have them, to moments.

use iceberg::spec::{
    Literal, PartitionSpec, PrimitiveLiteral, PrimitiveType, Struct, Transform, Type,
};
use icepress_catalog::metadata::Metadata;
use icepress_table::survey::SurveyedFile;
use jiff::{Timestamp, civil::DateTime, tz::TimeZone};

use super::policy::{AgePolicy, NumberFormat};
use crate::dates::DatePattern;

const DAY: i128 = 86_400_000;

/// What values of the column mean.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Meaning {
    /// Days since 1970. A day is its first moment, as Amoro has it.
    Days,
    Micros,
    Nanos,
    Millis,
    Seconds,
    Text(DatePattern),
}

/// The column, and up to when its values are too old.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct AgeColumn {
    pub(super) id: i32,
    is_required: bool,
    meaning: Meaning,
    /// Milliseconds since 1970.
    cutoff: i64,
    /// The same as text of the pattern.
    cutoff_text: String,
}

/// What statistics and partition say of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Every row is too old.
    Old,
    /// Some row may be young enough, or has no time.
    Young,
    /// Nobody says.
    Unknown,
}

impl AgeColumn {
    /// The column of a policy; values up to `cutoff` are too old. The error is a message for people.
    pub(super) fn of(metadata: &Metadata, policy: &AgePolicy, cutoff: i64) -> Result<Self, String> {
        let schema = metadata.current_schema();
        let (key, name) = (policy.field_key, &policy.field);
        let field = schema
            .field_by_name(name)
            .ok_or_else(|| format!("{key} is '{name}', and the table has no such column"))?;
        let meaning = match field.field_type.as_ref() {
            Type::Primitive(PrimitiveType::Date) => Meaning::Days,
            Type::Primitive(PrimitiveType::Timestamp | PrimitiveType::Timestamptz) => {
                Meaning::Micros
            }
            Type::Primitive(PrimitiveType::TimestampNs | PrimitiveType::TimestamptzNs) => {
                Meaning::Nanos
            }
            Type::Primitive(PrimitiveType::Long) => match policy.number {
                NumberFormat::Milliseconds => Meaning::Millis,
                NumberFormat::Seconds => Meaning::Seconds,
            },
            Type::Primitive(PrimitiveType::String) => {
                let pattern = DatePattern::parse(&policy.pattern)
                    .map_err(|error| format!("{}: {error}", policy.pattern_key))?;
                if !pattern.is_ordered() {
                    return Err(format!(
                        "{} is '{}': texts of it are not in the order of time, so a file's bounds say nothing of its rows' \
                         ages (years of four digits first, then months and so on, of two each, are)",
                        policy.pattern_key, policy.pattern
                    ));
                }
                Meaning::Text(pattern)
            }
            other => {
                return Err(format!(
                    "{key} is '{name}', which is of type {other}: it must be a date, a timestamp, a long or a string"
                ));
            }
        };
        let cutoff_text = match &meaning {
            Meaning::Text(pattern) => pattern.format(shown(cutoff)),
            _ => String::new(),
        };
        Ok(Self {
            id: field.id,
            // Only of a column of the table itself: one in a struct has no value where the struct has none.
            is_required: field.required && !name.contains('.'),
            meaning,
            cutoff,
            cutoff_text,
        })
    }

    /// What is known of a file, whose partition is one of `spec`.
    pub(super) fn verdict(&self, file: &SurveyedFile<'_>, spec: Option<&PartitionSpec>) -> Verdict {
        if spec.is_some_and(|spec| self.is_old_by_partition(spec, file.value)) {
            return Verdict::Old;
        }
        let Some(upper) = file.upper else {
            return Verdict::Unknown;
        };
        match (self.is_old_value(upper, file.lower), file.nulls) {
            (None, _) => Verdict::Unknown,
            (Some(false), _) => Verdict::Young,
            (Some(true), Some(0)) => Verdict::Old,
            (Some(true), None) if self.is_required => Verdict::Old,
            (Some(true), None) => Verdict::Unknown,
            // A row without a time is of no age.
            (Some(true), Some(_)) => Verdict::Young,
        }
    }

    /// Whether a value, and with it every lesser one, is too old; `None` where it can't be read.
    fn is_old_value(&self, upper: &[u8], lower: Option<&[u8]>) -> Option<bool> {
        let long = || Some(i128::from(i64::from_le_bytes(upper.try_into().ok()?)));
        let cutoff = i128::from(self.cutoff);
        let is_old = match &self.meaning {
            Meaning::Days => {
                let days = i32::from_le_bytes(upper.try_into().ok()?);
                i128::from(days) * DAY <= cutoff
            }
            Meaning::Micros => long()? <= cutoff * 1_000,
            Meaning::Nanos => long()? <= cutoff * 1_000_000,
            Meaning::Millis => long()? <= cutoff,
            Meaning::Seconds => long()? * 1_000 <= cutoff,
            Meaning::Text(pattern) => {
                let text = |bytes| std::str::from_utf8(bytes).ok();
                let (lower, upper) = (text(lower?)?, text(upper)?);
                // What is no moment has no age, and may stand on either side of what is one.
                if !pattern.begins(lower) || !pattern.begins(upper) {
                    return None;
                }
                upper <= self.cutoff_text.as_str()
            }
        };
        Some(is_old)
    }

    /// Whether a partition has no row that is young enough, by its own value: that says it of each row, and none is null.
    fn is_old_by_partition(&self, spec: &PartitionSpec, value: &Struct) -> bool {
        let fields = spec.fields().iter().zip(value.iter());
        let mut own = fields.filter(|(field, _)| field.source_id == self.id);
        own.any(|(field, value)| match value {
            Some(Literal::Primitive(value)) => self.is_old_partition(field.transform, value),
            _ => false,
        })
    }

    fn is_old_partition(&self, transform: Transform, value: &PrimitiveLiteral) -> bool {
        let cutoff = i128::from(self.cutoff);
        let date = shown(self.cutoff).date();
        let months = (i64::from(date.year()) - 1970) * 12 + i64::from(date.month()) - 1;
        let number = match value {
            PrimitiveLiteral::Int(number) => i128::from(*number),
            PrimitiveLiteral::Long(number) => i128::from(*number),
            PrimitiveLiteral::String(text) => {
                let Meaning::Text(pattern) = &self.meaning else {
                    return false;
                };
                let is_moment = pattern.read(text).is_some();
                return transform == Transform::Identity && is_moment && *text <= self.cutoff_text;
            }
            _ => return false,
        };
        let is_time = matches!(
            self.meaning,
            Meaning::Days | Meaning::Micros | Meaning::Nanos
        );
        match transform {
            Transform::Identity => match self.meaning {
                Meaning::Days => number * DAY <= cutoff,
                Meaning::Micros => number <= cutoff * 1_000,
                Meaning::Nanos => number <= cutoff * 1_000_000,
                Meaning::Millis => number <= cutoff,
                Meaning::Seconds => number * 1_000 <= cutoff,
                Meaning::Text(_) => false,
            },
            Transform::Day if self.meaning == Meaning::Days => number * DAY <= cutoff,
            // The period of the last moment that is too old has later ones, too.
            Transform::Hour if is_time => number < cutoff.div_euclid(3_600_000),
            Transform::Day if is_time => number < cutoff.div_euclid(DAY),
            Transform::Month if is_time => number < i128::from(months),
            Transform::Year if is_time => number < i128::from(date.year()) - 1970,
            _ => false,
        }
    }
}

/// What clocks show at a moment, by UTC.
fn shown(moment: i64) -> DateTime {
    TimeZone::UTC.to_datetime(Timestamp::from_millisecond(moment).unwrap_or(Timestamp::MIN))
}
