//! Stepping over values that nobody asked for.

use super::{AvroError, AvroType, Cursor};

/// How to step over a value: a type, flattened for speed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Skip {
    Nothing,
    /// So many numbers in a row.
    Integers(u64),
    /// A length and as many bytes.
    Bytes,
    /// So many bytes.
    Fixed(usize),
    /// A number, then a length and as many bytes: an entry of a bounds map.
    IntegerAndBytes,
    Sequence(Vec<Skip>),
    Union(Vec<Skip>),
    Array(Box<Skip>),
    Map(Box<Skip>),
}

impl Skip {
    pub(crate) fn of(layout: &AvroType) -> Self {
        match layout {
            AvroType::Null => Self::Nothing,
            AvroType::Boolean => Self::Fixed(1),
            AvroType::Integer | AvroType::Millis | AvroType::Enum(_) => Self::Integers(1),
            AvroType::Float => Self::Fixed(4),
            AvroType::Double => Self::Fixed(8),
            AvroType::Bytes | AvroType::String => Self::Bytes,
            AvroType::Fixed(0) => Self::Nothing,
            AvroType::Fixed(size) => Self::Fixed(*size),
            AvroType::Array(items) => Self::Array(Box::new(Self::of(items))),
            AvroType::Map(values) => Self::Map(Box::new(Self::of(values))),
            AvroType::Union(branches) => Self::Union(branches.iter().map(Self::of).collect()),
            AvroType::Record(fields) => {
                Self::sequence(fields.iter().map(|field| Self::of(&field.layout)))
            }
        }
    }

    /// One after the other, neighbours of a kind taken together.
    pub(crate) fn sequence(steps: impl IntoIterator<Item = Skip>) -> Self {
        let mut merged: Vec<Skip> = Vec::new();
        for step in steps {
            match (merged.last_mut(), step) {
                (_, Self::Nothing) => {}
                (Some(Self::Integers(count)), Self::Integers(more)) => *count += more,
                (Some(Self::Fixed(size)), Self::Fixed(more)) => *size = size.saturating_add(more),
                (_, step) => merged.push(step),
            }
        }
        match merged.as_slice() {
            [] => Self::Nothing,
            [Self::Integers(1), Self::Bytes] => Self::IntegerAndBytes,
            [only] => only.clone(),
            _ => Self::Sequence(merged),
        }
    }

    /// Steps over one value.
    #[inline]
    pub(crate) fn run(&self, cursor: &mut Cursor<'_>) -> Result<(), AvroError> {
        match self {
            Self::Nothing => Ok(()),
            Self::Integers(count) => cursor.skip_varints(*count),
            Self::Bytes => cursor.bytes().map(drop),
            Self::Fixed(size) => cursor.take(*size).map(drop),
            Self::IntegerAndBytes => {
                cursor.skip_varints(1)?;
                cursor.bytes().map(drop)
            }
            Self::Sequence(steps) => steps.iter().try_for_each(|step| step.run(cursor)),
            Self::Union(branches) => {
                let branch = cursor.varint()?;
                usize::try_from(branch)
                    .ok()
                    .and_then(|branch| branches.get(branch))
                    .ok_or_else(|| AvroError::corrupt(format!("branch {branch} of a union")))?
                    .run(cursor)
            }
            Self::Array(items) => Self::run_blocks(cursor, false, items),
            Self::Map(values) => Self::run_blocks(cursor, true, values),
        }
    }

    fn run_blocks(cursor: &mut Cursor<'_>, with_keys: bool, item: &Self) -> Result<(), AvroError> {
        loop {
            let (count, length) = cursor.block()?;
            if count == 0 {
                return Ok(());
            }
            if let Some(length) = length {
                cursor.take(length)?;
                continue;
            }
            match item {
                // Any number of items without content is stepped over at once.
                Self::Nothing if !with_keys => {}
                Self::Integers(each) if !with_keys => {
                    cursor.skip_varints(count.saturating_mul(*each))?;
                }
                _ => {
                    for _ in 0..count {
                        if with_keys {
                            cursor.bytes()?;
                        }
                        item.run(cursor)?;
                    }
                }
            }
        }
    }
}
