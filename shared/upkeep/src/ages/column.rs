//! The column that says how old a row is: from its values, as statistics and partitions have them, to moments.

use iceberg::spec::{
    Literal, PartitionSpec, PrimitiveLiteral, PrimitiveType, Struct, Transform, Type,
};
use icepress_catalog::metadata::Metadata;
use icepress_model::OldRows;
use icepress_table::survey::SurveyedFile;
use jiff::{Timestamp, civil::DateTime, tz::TimeZone};

use super::policy::{AgePolicy, NumberFormat};
use crate::dates::DatePattern;

const DAY: i64 = 86_400_000;
const ROWS_NEED: &str = "rows are told to be too old by a date, a timestamp or a long at the top of the schema: of others files and partitions go";

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
    /// No part of a struct.
    is_at_top: bool,
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
            is_at_top: schema.as_struct().field_by_id(field.id).is_some(),
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

    /// The rows that are too old, for whoever reads files; the error says of which columns that can't be asked.
    pub(super) fn old_rows(&self) -> Result<OldRows, String> {
        let up_to = match &self.meaning {
            Meaning::Days => self.cutoff.div_euclid(DAY),
            Meaning::Micros => self.cutoff.saturating_mul(1_000),
            Meaning::Nanos => self.cutoff.saturating_mul(1_000_000),
            Meaning::Millis => self.cutoff,
            Meaning::Seconds => self.cutoff.div_euclid(1_000),
            Meaning::Text(_) => return Err(ROWS_NEED.to_owned()),
        };
        match self.is_at_top {
            true => Ok(OldRows {
                column: self.id,
                up_to,
            }),
            false => Err(ROWS_NEED.to_owned()),
        }
    }

    /// Whether statistics say that some row of a file is too old.
    pub(super) fn has_old_rows(&self, file: &SurveyedFile<'_>) -> bool {
        let least = file.lower;
        least.is_some_and(|least| self.is_old_value(least, Some(least)) == Some(true))
    }

    /// Whether a value, and with it every lesser one, is too old; `None` where it can't be read.
    fn is_old_value(&self, upper: &[u8], lower: Option<&[u8]>) -> Option<bool> {
        let long = || Some(i128::from(i64::from_le_bytes(upper.try_into().ok()?)));
        let cutoff = i128::from(self.cutoff);
        let is_old = match &self.meaning {
            Meaning::Days => {
                let days = i32::from_le_bytes(upper.try_into().ok()?);
                i128::from(days) * i128::from(DAY) <= cutoff
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
        match self.told_by_partition(spec, value) {
            PartitionAge::Span(span) => span.old_from <= self.cutoff,
            PartitionAge::Nothing | PartitionAge::Ageless => false,
        }
    }

    /// What a partition's own value says of all its rows.
    pub(super) fn told_by_partition(&self, spec: &PartitionSpec, value: &Struct) -> PartitionAge {
        let fields = spec.fields().iter().zip(value.iter());
        let own = fields.filter(|(field, _)| field.source_id == self.id);
        own.fold(PartitionAge::Nothing, |told, (field, value)| {
            let of_field = match value {
                None => PartitionAge::Ageless,
                Some(Literal::Primitive(value)) => self
                    .span_of(field.transform, value)
                    .map_or(PartitionAge::Nothing, PartitionAge::Span),
                Some(_) => PartitionAge::Nothing,
            };
            told.and(of_field)
        })
    }

    /// The span of the rows' moments that a partition's value stands for; `None` where it stands for none.
    fn span_of(&self, transform: Transform, value: &PrimitiveLiteral) -> Option<Span> {
        let number = match value {
            PrimitiveLiteral::Int(number) => i64::from(*number),
            PrimitiveLiteral::Long(number) => *number,
            PrimitiveLiteral::String(text) => {
                let Meaning::Text(pattern) = &self.meaning else {
                    return None;
                };
                let moment = pattern
                    .read(text)
                    .filter(|_| transform == Transform::Identity);
                return moment.and_then(in_millis).map(Span::at);
            }
            _ => return None,
        };
        // Up to the next whole millisecond: one that is begun has later moments.
        let rounded_up =
            |parts: i64| number.div_euclid(parts) + i64::from(number.rem_euclid(parts) > 0);
        let is_time = matches!(
            self.meaning,
            Meaning::Days | Meaning::Micros | Meaning::Nanos
        );
        let every = |length: i64| {
            let begins = number.checked_mul(length)?;
            let old_from = begins.checked_add(length)?;
            Some(Span { begins, old_from })
        };
        match transform {
            Transform::Identity => {
                let moment = match self.meaning {
                    Meaning::Days => number.checked_mul(DAY)?,
                    Meaning::Micros => rounded_up(1_000),
                    Meaning::Nanos => rounded_up(1_000_000),
                    Meaning::Millis => number,
                    Meaning::Seconds => number.checked_mul(1_000)?,
                    Meaning::Text(_) => return None,
                };
                Some(Span::at(moment))
            }
            Transform::Day if self.meaning == Meaning::Days => {
                number.checked_mul(DAY).map(Span::at)
            }
            Transform::Hour if is_time => every(3_600_000),
            Transform::Day if is_time => every(DAY),
            Transform::Month if is_time => months(number, 1),
            Transform::Year if is_time => months(number.checked_mul(12)?, 12),
            _ => None,
        }
    }
}

/// The moments of a partition's rows, in milliseconds since 1970.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Span {
    /// No row is older.
    pub(super) begins: i64,
    /// All of them are too old once everything up to this moment is.
    pub(super) old_from: i64,
}

impl Span {
    fn at(moment: i64) -> Self {
        Self {
            begins: moment,
            old_from: moment,
        }
    }
}

/// What a partition's value says of the ages of its rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum PartitionAge {
    /// Nothing: it is not about the column, or not about its order.
    Nothing,
    /// None of them has a time.
    Ageless,
    /// They are of this span.
    Span(Span),
}

impl PartitionAge {
    /// With what another field of the same partition says.
    fn and(self, other: Self) -> Self {
        match (self, other) {
            (Self::Span(a), Self::Span(b)) => Self::Span(Span {
                begins: a.begins.max(b.begins),
                old_from: a.old_from.min(b.old_from),
            }),
            (Self::Span(span), _) | (_, Self::Span(span)) => Self::Span(span),
            (Self::Ageless, _) | (_, Self::Ageless) => Self::Ageless,
            (Self::Nothing, Self::Nothing) => Self::Nothing,
        }
    }
}

/// So many months, from the month of this number since 1970 on.
fn months(number: i64, many: i64) -> Option<Span> {
    let begin = |number: i64| {
        let year = i16::try_from(1970 + number.div_euclid(12)).ok()?;
        let month = i8::try_from(number.rem_euclid(12) + 1).ok()?;
        in_millis(DateTime::new(year, month, 1, 0, 0, 0, 0).ok()?)
    };
    Some(Span {
        begins: begin(number)?,
        old_from: begin(number.checked_add(many)?)?,
    })
}

/// When clocks show that, by UTC.
fn in_millis(moment: DateTime) -> Option<i64> {
    let timestamp = TimeZone::UTC.to_timestamp(moment).ok()?;
    Some(timestamp.as_millisecond())
}

/// What clocks show at a moment, by UTC.
fn shown(moment: i64) -> DateTime {
    TimeZone::UTC.to_datetime(Timestamp::from_millisecond(moment).unwrap_or(Timestamp::MIN))
}
