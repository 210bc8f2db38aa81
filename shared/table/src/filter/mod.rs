//! Which partitions somebody means: an expression of Iceberg's over a table's columns, asked of partitions alone.
//!
//! Of rows a partition knows what its transforms leave of the columns that it is made of. So the answer has three values:
//! every row of a partition matches, none does, or some may. Work that changes no row takes what may match, as readers do;
//! work that takes rows away takes what matches whole.
//!
//! (The `iceberg` crate has predicates and no parser for them, and keeps their evaluation to itself.)

mod literal;
mod parse;
mod range;

use std::cmp::Ordering;

use iceberg::spec::{Literal, PartitionSpec, PrimitiveType, Struct, TableMetadata, Transform};
use icepress_model::SpecId;

use self::{
    literal::Value,
    parse::{Expression, parse},
    range::Range,
};
use crate::partition_type;

#[cfg(test)]
mod tests;

/// The table property that has such an expression.
pub const PARTITION_FILTER: &str = "icepress.partition-filter";

/// How many of a partition's rows match.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Matches {
    /// None.
    No,
    /// Nobody knows without reading them.
    Maybe,
    /// All.
    All,
}

impl Matches {
    fn not(self) -> Self {
        match self {
            Self::No => Self::All,
            Self::Maybe => Self::Maybe,
            Self::All => Self::No,
        }
    }
}

impl From<bool> for Matches {
    fn from(all: bool) -> Self {
        if all { Self::All } else { Self::No }
    }
}

/// An expression that was understood for one table.
#[derive(Debug, Clone, PartialEq)]
pub struct PartitionFilter {
    text: String,
    test: Test,
}

/// The expression with columns and values of the table.
#[derive(Debug, Clone, PartialEq)]
enum Test {
    Always(bool),
    Not(Box<Test>),
    /// All of them.
    And(Vec<Test>),
    /// Any of them.
    Or(Vec<Test>),
    Column(Column, Comparison),
}

/// What is compared.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Column {
    /// A column of the table, by its field id, with its type.
    OfTable(i32, PrimitiveType),
    /// A field of a spec, by its id: its values are the partition's own.
    OfPartition(i32),
}

/// What it is compared with.
#[derive(Debug, Clone, PartialEq)]
enum Comparison {
    IsNull,
    IsNan,
    Less(Value),
    AtMost(Value),
    OneOf(Vec<Value>),
    Begins(String),
}

impl PartitionFilter {
    /// The filter that a table's properties have; `None` where they have none. The error is a message for people.
    pub fn of_table(metadata: &TableMetadata) -> Result<Option<Self>, String> {
        let text = metadata.properties().get(PARTITION_FILTER);
        text.map(|text| Self::parse(text, metadata)).transpose()
    }

    /// Understands an expression for a table: `day >= '2026-01-01' and region in ('eu', 'us')`. Each column must be one that
    /// some spec of the table is made of, or be a partition field by its own name. The error is a message for people, and
    /// names the property.
    pub fn parse(text: &str, metadata: &TableMetadata) -> Result<Self, String> {
        let told = |message: String| format!("{PARTITION_FILTER} is '{text}': {message}");
        let expression = parse(text).map_err(told)?;
        let test = Binder { metadata }.bind(&expression).map_err(told)?;
        Ok(Self {
            text: text.trim().to_owned(),
            test,
        })
    }

    /// As it was written.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// How many rows of a partition match.
    pub fn matches(&self, metadata: &TableMetadata, spec_id: SpecId, value: &Struct) -> Matches {
        let spec = metadata.partition_spec_by_id(spec_id.get());
        // Whoever reads the partition says what is wrong with it.
        spec.map_or(Matches::Maybe, |spec| {
            self.test.ask(&Partition { spec, value })
        })
    }
}

/// A partition, with what it is made of.
struct Partition<'a> {
    spec: &'a PartitionSpec,
    value: &'a Struct,
}

impl Test {
    fn ask(&self, partition: &Partition<'_>) -> Matches {
        match self {
            Self::Always(all) => (*all).into(),
            Self::Not(test) => test.ask(partition).not(),
            Self::And(tests) => {
                let answers = tests.iter().map(|test| test.ask(partition));
                answers.min().unwrap_or(Matches::All)
            }
            Self::Or(tests) => {
                let answers = tests.iter().map(|test| test.ask(partition));
                answers.max().unwrap_or(Matches::No)
            }
            Self::Column(column, comparison) => comparison.ask(column, partition),
        }
    }
}

impl Comparison {
    fn ask(&self, column: &Column, partition: &Partition<'_>) -> Matches {
        let fields = partition.spec.fields().iter().zip(partition.value.iter());
        let answers = fields.map(|(field, value)| match column {
            Column::OfTable(id, kind) if field.source_id == *id => {
                match Range::of(field.transform, kind, value) {
                    Some(range) => self.ask_range(&range),
                    None => self.ask_bucket(field.transform, kind, value),
                }
            }
            Column::OfPartition(id) if field.field_id == *id => match value {
                None => self.ask_range(&Range::Null),
                Some(Literal::Primitive(value)) => Value::of(value)
                    .map_or(Matches::Maybe, |value| self.ask_range(&Range::only(value))),
                Some(_) => Matches::Maybe,
            },
            _ => Matches::Maybe,
        });
        // Two fields of one column can't contradict each other: whichever knows, knows.
        let mut known = answers.filter(|answer| *answer != Matches::Maybe);
        known.next().unwrap_or(Matches::Maybe)
    }

    fn ask_range(&self, range: &Range) -> Matches {
        let Range::Between(least, most) = range else {
            // As Iceberg has it: NULL is nothing but NULL.
            return matches!(self, Self::IsNull).into();
        };
        let beyond = |value: &Value| -> Option<(Ordering, Option<Ordering>)> {
            let low = least.compare(value)?;
            let high = match most {
                Some(most) => Some(most.compare(value)?),
                None => None,
            };
            Some((low, high))
        };
        match self {
            Self::IsNull => Matches::No,
            Self::IsNan => match (least, most) {
                (Value::Float(number), Some(Value::Float(_))) if least_is_most(range) => {
                    number.is_nan().into()
                }
                (Value::Float(_), _) => Matches::Maybe,
                _ => Matches::No,
            },
            Self::Less(value) => match beyond(value) {
                Some((_, Some(Ordering::Less))) => Matches::All,
                Some((Ordering::Equal | Ordering::Greater, _)) => Matches::No,
                _ => Matches::Maybe,
            },
            Self::AtMost(value) => match beyond(value) {
                Some((_, Some(Ordering::Less | Ordering::Equal))) => Matches::All,
                Some((Ordering::Greater, _)) => Matches::No,
                _ => Matches::Maybe,
            },
            Self::OneOf(values) => {
                let answers = values.iter().map(|value| match beyond(value) {
                    Some((Ordering::Equal, Some(Ordering::Equal))) => Matches::All,
                    Some((Ordering::Greater, _) | (_, Some(Ordering::Less))) => Matches::No,
                    _ => Matches::Maybe,
                });
                answers.max().unwrap_or(Matches::No)
            }
            Self::Begins(prefix) => begins(least, most.as_ref(), prefix),
        }
    }

    /// Whether a bucket can have any of the values; of all other questions it knows nothing but NULL.
    fn ask_bucket(
        &self,
        transform: Transform,
        kind: &PrimitiveType,
        value: Option<&Literal>,
    ) -> Matches {
        let (Self::OneOf(values), Some(Literal::Primitive(bucket))) = (self, value) else {
            return Matches::Maybe;
        };
        let is_elsewhere = |value: &Value| {
            let found = value.bucket(transform, kind);
            found.is_some_and(|found| found != *bucket)
        };
        match values.iter().all(is_elsewhere) {
            true => Matches::No,
            false => Matches::Maybe,
        }
    }
}

fn least_is_most(range: &Range) -> bool {
    matches!(range, Range::Between(least, Some(most)) if least == most)
}

/// Whether texts from `least` to `most` begin with `prefix`.
fn begins(least: &Value, most: Option<&Value>, prefix: &str) -> Matches {
    let Value::Text(least) = least else {
        return Matches::Maybe;
    };
    match most {
        Some(Value::Text(most)) if most == least => least.starts_with(prefix).into(),
        // Every value begins as the least one does.
        None if least.starts_with(prefix) => Matches::All,
        None if prefix.starts_with(least.as_str()) => Matches::Maybe,
        None => Matches::No,
        Some(_) => Matches::Maybe,
    }
}

/// Puts a table's columns and values into an expression.
struct Binder<'a> {
    metadata: &'a TableMetadata,
}

impl Binder<'_> {
    fn bind(&self, expression: &Expression) -> Result<Test, String> {
        let all = |inner: &[Expression]| -> Result<Vec<Test>, String> {
            inner.iter().map(|one| self.bind(one)).collect()
        };
        Ok(match expression {
            Expression::Always(all) => Test::Always(*all),
            Expression::Not(inner) => Test::Not(Box::new(self.bind(inner)?)),
            Expression::And(inner) => Test::And(all(inner)?),
            Expression::Or(inner) => Test::Or(all(inner)?),
            Expression::IsNull(name) => Test::Column(self.column(name)?.0, Comparison::IsNull),
            Expression::IsNan(name) => Test::Column(self.column(name)?.0, Comparison::IsNan),
            Expression::Less(name, text) => {
                let (column, kind) = self.column(name)?;
                Test::Column(column, Comparison::Less(Value::read(text, &kind)?))
            }
            Expression::AtMost(name, text) => {
                let (column, kind) = self.column(name)?;
                Test::Column(column, Comparison::AtMost(Value::read(text, &kind)?))
            }
            Expression::OneOf(name, texts) => {
                let (column, kind) = self.column(name)?;
                let values = texts.iter().map(|text| Value::read(text, &kind));
                let values = values.collect::<Result<_, _>>()?;
                Test::Column(column, Comparison::OneOf(values))
            }
            Expression::Begins(name, prefix) => {
                let (column, kind) = self.column(name)?;
                if kind != PrimitiveType::String {
                    return Err(format!(
                        "'{name}' is of type {kind}, and has no beginning as texts have"
                    ));
                }
                Test::Column(column, Comparison::Begins(prefix.clone()))
            }
        })
    }

    /// A column that partitions know something of, with its type.
    fn column(&self, name: &str) -> Result<(Column, PrimitiveType), String> {
        let schema = self.metadata.current_schema();
        let specs = || self.metadata.partition_specs_iter();
        let partitioned =
            |id: i32| specs().any(|spec| spec.fields().iter().any(|field| field.source_id == id));
        if let Some(field) = schema.field_by_name(name)
            && partitioned(field.id)
        {
            return match field.field_type.as_primitive_type() {
                Some(kind) => Ok((Column::OfTable(field.id, kind.clone()), kind.clone())),
                None => Err(format!("'{name}' is no column of single values")),
            };
        }
        for spec in specs() {
            let Ok(typed) = partition_type(self.metadata, SpecId(spec.spec_id())) else {
                continue;
            };
            let mut fields = spec.fields().iter().zip(typed.fields());
            let found = fields.find(|(field, _)| field.name == name);
            if let Some((field, typed)) = found
                && let Some(kind) = typed.field_type.as_primitive_type()
            {
                return Ok((Column::OfPartition(field.field_id), kind.clone()));
            }
        }
        let mut known: Vec<String> = specs()
            .flat_map(|spec| spec.fields())
            .flat_map(|field| {
                let column = schema.name_by_field_id(field.source_id).map(str::to_owned);
                column.into_iter().chain([field.name.clone()])
            })
            .collect();
        known.sort_unstable();
        known.dedup();
        let known = match known.as_slice() {
            [] => "it is not partitioned".to_owned(),
            known => format!("it is partitioned by {}", known.join(", ")),
        };
        Err(match schema.field_by_name(name) {
            Some(_) => format!("the table is not partitioned by its column '{name}': {known}"),
            None => format!("the table has no column '{name}': {known}"),
        })
    }
}
