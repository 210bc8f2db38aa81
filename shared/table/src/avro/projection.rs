//! Records of which some fields are taken and the others stepped over.

use super::{AvroError, AvroType, Cursor, Field, Skip};

/// What to do with a field of the writer's schema.
pub(crate) enum Want<F> {
    /// Step over it.
    Nothing,
    /// Take it, as the caller's field `F`, which is laid out like this.
    Take(F, Layout),
}

/// The layouts that a taken field may have, null aside.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Layout {
    Boolean,
    Integer,
    /// Bytes or a string.
    Bytes,
    /// An array of numbers.
    Integers,
    /// An array of pairs of a number and a plain value: how Iceberg lays out a map.
    Pairs,
    /// An array of records.
    Records,
    Record,
}

/// A taken field as the writer laid it out, null aside.
pub(crate) struct Slot {
    /// Its layout.
    pub(crate) layout: AvroType,
    /// How to step over it.
    pub(crate) skip: Skip,
}

/// A record's fields, compiled to what to do one after the other.
pub(crate) struct Projection<F> {
    steps: Vec<Step<F>>,
}

enum Step<F> {
    Skip(Skip),
    Take {
        field: F,
        /// Which branch of the field's union is null: -1 where the union has one branch only.
        null_branch: Option<i64>,
        slot: Slot,
    },
}

impl<F: Copy> Projection<F> {
    /// Compiles the record `layout`; `want` is asked for every field, by its id. `what` is what a record of it is called
    /// in errors.
    pub(crate) fn new(
        layout: &AvroType,
        what: &str,
        want: &impl Fn(&Field) -> Want<F>,
    ) -> Result<Self, AvroError> {
        let AvroType::Record(fields) = layout else {
            return Err(AvroError::corrupt(format!(
                "{what}: expected a record, found {}",
                layout.describe()
            )));
        };
        let mut steps: Vec<Step<F>> = Vec::new();
        for field in fields {
            match want(field) {
                Want::Nothing => {
                    let skip = Skip::of(&field.layout);
                    match steps.last_mut() {
                        Some(Step::Skip(before)) => {
                            *before =
                                Skip::sequence([std::mem::replace(before, Skip::Nothing), skip]);
                        }
                        _ => steps.push(Step::Skip(skip)),
                    }
                }
                Want::Take(wanted, expected) => {
                    let fitting = field.layout.optional();
                    let (null_branch, inner) = fitting
                        .filter(|(_, inner)| expected.fits(inner))
                        .ok_or_else(|| {
                            AvroError::corrupt(format!(
                                "{what}.{}: expected {}, found {}",
                                field.name,
                                expected.describe(),
                                field.layout.describe()
                            ))
                        })?;
                    steps.push(Step::Take {
                        field: wanted,
                        null_branch,
                        slot: Slot {
                            layout: inner.clone(),
                            skip: Skip::of(inner),
                        },
                    });
                }
            }
        }
        Ok(Self { steps })
    }

    /// Reads one record: `take` is called for each wanted field that is not null, and must step over it, as the
    /// [`Slot`] that it is handed would.
    #[inline]
    pub(crate) fn read<'a>(
        &self,
        cursor: &mut Cursor<'a>,
        mut take: impl FnMut(F, &Slot, &mut Cursor<'a>) -> Result<(), AvroError>,
    ) -> Result<(), AvroError> {
        for step in &self.steps {
            match step {
                Step::Skip(skip) => skip.run(cursor)?,
                Step::Take {
                    field,
                    null_branch,
                    slot,
                } => {
                    if let Some(null_branch) = null_branch
                        && cursor.is_null(*null_branch)?
                    {
                        continue;
                    }
                    take(*field, slot, cursor)?;
                }
            }
        }
        Ok(())
    }
}

impl Layout {
    fn fits(self, layout: &AvroType) -> bool {
        let is_integer = |layout: &AvroType| {
            matches!(
                layout.optional(),
                Some((_, AvroType::Integer | AvroType::Enum(_)))
            )
        };
        match (self, layout) {
            (Self::Boolean, AvroType::Boolean)
            | (Self::Integer, AvroType::Integer)
            | (Self::Bytes, AvroType::Bytes | AvroType::String)
            | (Self::Record, AvroType::Record(_)) => true,
            (Self::Integers, AvroType::Array(items)) => is_integer(items),
            (Self::Pairs, AvroType::Array(items)) => match items.fields() {
                Some([key, value]) => is_integer(&key.layout) && value.layout.optional().is_some(),
                _ => false,
            },
            (Self::Records, AvroType::Array(items)) => items.fields().is_some(),
            _ => false,
        }
    }

    fn describe(self) -> &'static str {
        match self {
            Self::Boolean => "a boolean",
            Self::Integer => "a number",
            Self::Bytes => "a string or bytes",
            Self::Integers => "an array of numbers",
            Self::Pairs => "an array of pairs of a number and a value",
            Self::Records => "an array of records",
            Self::Record => "a record",
        }
    }
}

impl Slot {
    /// Steps over the value and returns its bytes.
    #[inline]
    pub(crate) fn slice<'a>(&self, cursor: &mut Cursor<'a>) -> Result<&'a [u8], AvroError> {
        let before = cursor.rest();
        self.skip.run(cursor)?;
        Ok(&before[..before.len() - cursor.rest().len()])
    }

    /// Reads an array of numbers: nulls among them are left out.
    pub(crate) fn integers(
        &self,
        cursor: &mut Cursor<'_>,
        mut each: impl FnMut(i64),
    ) -> Result<(), AvroError> {
        let items = self.items()?;
        cursor.items(|cursor| {
            if let Some(value) = cursor.integer(items)? {
                each(value);
            }
            Ok(())
        })
    }

    /// Reads an array of pairs: `each` gets the number, and the value's bytes as they are encoded, with their layout.
    /// Pairs without a number, or whose value is null, are left out.
    pub(crate) fn pairs<'a>(
        &self,
        cursor: &mut Cursor<'a>,
        mut each: impl FnMut(i64, &AvroType, &mut Cursor<'a>) -> Result<(), AvroError>,
    ) -> Result<(), AvroError> {
        let (null_pair, pair) = optional(self.items()?)?;
        let AvroType::Record(fields) = pair else {
            return Err(AvroError::corrupt("a map whose entries are no pairs"));
        };
        let [key, value] = fields.as_slice() else {
            return Err(AvroError::corrupt("a map whose entries are no pairs"));
        };
        let (null_value, value) = optional(&value.layout)?;
        let skip = Skip::of(value);
        cursor.items(|cursor| {
            if let Some(null_pair) = null_pair
                && cursor.is_null(null_pair)?
            {
                return Ok(());
            }
            let key = cursor.integer(&key.layout)?;
            if let Some(null_value) = null_value
                && cursor.is_null(null_value)?
            {
                return Ok(());
            }
            let mut at = cursor.clone();
            skip.run(cursor)?;
            match key {
                Some(key) => each(key, value, &mut at),
                None => Ok(()),
            }
        })
    }

    /// What an array holds.
    pub(crate) fn items(&self) -> Result<&AvroType, AvroError> {
        match &self.layout {
            AvroType::Array(items) => Ok(items),
            _ => Err(AvroError::corrupt("no array where one is due")),
        }
    }
}

/// [`AvroType::optional`], of what was seen to be so.
fn optional(layout: &AvroType) -> Result<(Option<i64>, &AvroType), AvroError> {
    layout.optional().ok_or_else(|| {
        AvroError::corrupt(format!("{} where a plain value is due", layout.describe()))
    })
}
