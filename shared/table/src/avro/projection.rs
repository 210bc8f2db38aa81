//! Records of which some fields are taken and the others stepped over.

use super::{AvroError, AvroType, Cursor, Field, Skip};

/// What to do with a field of the writer's schema.
pub(crate) enum Want<F> {
    /// Step over it.
    Nothing,
    /// Take it, as the caller's field `F`, which is laid out like this.
    Take(F, Layout),
    /// It is a record: look at its fields.
    Inside,
}

/// The layouts that a taken field may have, null aside.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Layout {
    Integer,
    /// Bytes or a string.
    Bytes,
    /// An array of numbers.
    Integers,
    /// An array of records of a number and bytes: how Iceberg lays out a map of bounds.
    BytesByInteger,
    Record,
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
        skip: Skip,
    },
}

impl<F: Copy> Projection<F> {
    /// Compiles the record `layout`; `want` is asked for every field, by its id.
    pub(crate) fn new(
        layout: &AvroType,
        want: &impl Fn(&Field) -> Want<F>,
    ) -> Result<Self, AvroError> {
        let mut steps = Vec::new();
        Self::compile(layout, want, &mut steps)?;
        let mut merged: Vec<Step<F>> = Vec::new();
        for step in steps {
            match (merged.last_mut(), step) {
                (Some(Step::Skip(before)), Step::Skip(skip)) => {
                    *before = Skip::sequence([std::mem::replace(before, Skip::Nothing), skip]);
                }
                (_, step) => merged.push(step),
            }
        }
        Ok(Self { steps: merged })
    }

    fn compile(
        layout: &AvroType,
        want: &impl Fn(&Field) -> Want<F>,
        steps: &mut Vec<Step<F>>,
    ) -> Result<(), AvroError> {
        let AvroType::Record(fields) = layout else {
            return Err(AvroError::corrupt("its values are no records"));
        };
        for field in fields {
            match want(field) {
                Want::Nothing => steps.push(Step::Skip(Skip::of(&field.layout))),
                Want::Inside => Self::compile(&field.layout, want, steps)?,
                Want::Take(wanted, expected) => {
                    let (null_branch, inner) = field
                        .layout
                        .optional()
                        .filter(|(_, inner)| expected.fits(inner))
                        .ok_or_else(|| {
                            AvroError::corrupt(format!(
                                "its field {} is no {expected:?}",
                                field.name
                            ))
                        })?;
                    steps.push(Step::Take {
                        field: wanted,
                        null_branch,
                        skip: Skip::of(inner),
                    });
                }
            }
        }
        Ok(())
    }

    /// Reads one record: `take` is called for each wanted field that is not null, and must step over it, as the
    /// [`Skip`] that it is handed would.
    #[inline]
    pub(crate) fn read<'a>(
        &self,
        cursor: &mut Cursor<'a>,
        mut take: impl FnMut(F, &Skip, &mut Cursor<'a>) -> Result<(), AvroError>,
    ) -> Result<(), AvroError> {
        for step in &self.steps {
            match step {
                Step::Skip(skip) => skip.run(cursor)?,
                Step::Take {
                    field,
                    null_branch,
                    skip,
                } => {
                    if let Some(null_branch) = null_branch {
                        let branch = cursor.varint()?;
                        if branch == *null_branch {
                            continue;
                        }
                        if !(0..=1).contains(&branch) || (*null_branch < 0 && branch != 0) {
                            return Err(AvroError::corrupt(format!("branch {branch} of a union")));
                        }
                    }
                    take(*field, skip, cursor)?;
                }
            }
        }
        Ok(())
    }
}

impl Layout {
    fn fits(self, layout: &AvroType) -> bool {
        match (self, layout) {
            (Self::Integer, AvroType::Integer)
            | (Self::Bytes, AvroType::Bytes | AvroType::String)
            | (Self::Record, AvroType::Record(_)) => true,
            (Self::Integers, AvroType::Array(items)) => **items == AvroType::Integer,
            (Self::BytesByInteger, AvroType::Array(items)) => {
                Skip::of(items) == Skip::IntegerAndBytes
            }
            _ => false,
        }
    }
}
