//! The key columns of equality deletes: where they are, of what type, and how rows are encoded to be compared.
//!
//! A key column may have been dropped, renamed or promoted since the delete was written. Its type is the widest that
//! any schema of the table ever gave it; where the current schema lacks it, it is read in addition, and not written.

use std::sync::Arc;

use arrow_array::{
    Array, ArrayRef, Float32Array, Float64Array,
    cast::AsArray,
    make_array,
    types::{Float32Type, Float64Type},
};
use arrow_buffer::NullBuffer;
use arrow_row::{RowConverter, Rows, SortField};
use arrow_schema::{ArrowError, DataType};
use iceberg::spec::{NestedField, NestedFieldRef, PrimitiveType, StructType, Type};
use icepress_catalog::metadata::Metadata;

use crate::{
    failure::{Result, unsupported},
    schema::arrow_type,
    steps::steps,
};

/// The columns of one kind of key, among the columns that are read of a file.
#[derive(Debug)]
pub(crate) struct KeyColumns {
    /// For each key column the way to it: an index among the columns read, then indices into structs.
    paths: Vec<Vec<usize>>,
    converter: RowConverter,
}

impl KeyColumns {
    /// Keys of columns of these types at these places.
    pub(crate) fn new(paths: Vec<Vec<usize>>, types: &[Type]) -> Result<Self> {
        let fields = types
            .iter()
            .map(|field_type| Ok(SortField::new(arrow_type(field_type)?)))
            .collect::<Result<_>>()?;
        let converter = RowConverter::new(fields).map_err(|error| {
            unsupported(format!(
                "equality deletes by such a key can't be applied: {error}"
            ))
        })?;
        Ok(Self { paths, converter })
    }

    /// The top-level columns that the keys lie in.
    pub(crate) fn top_columns(&self) -> impl Iterator<Item = usize> + '_ {
        self.paths.iter().filter_map(|path| path.first().copied())
    }

    /// The keys of a batch, encoded so that equal bytes mean equal keys: NULL equals NULL only, all NaN are one, and 0
    /// is not -0, as Iceberg's Java reader compares.
    fn encode(&self, columns: &[ArrayRef]) -> std::result::Result<Rows, ArrowError> {
        let keys = self
            .paths
            .iter()
            .map(|path| descend(columns, path).map(|key| one_nan(&key)))
            .collect::<std::result::Result<Vec<_>, _>>()?;
        self.converter.convert_columns(&keys)
    }
}

impl KeyColumns {
    /// Hands on each row's number and key, encoded by steps of about `most` bytes: keys are copies of values, which the
    /// rows of a batch may share.
    pub(crate) fn for_each(
        &self,
        columns: &[ArrayRef],
        rows: usize,
        most: u64,
        mut act: impl FnMut(usize, &[u8]),
    ) -> std::result::Result<(), ArrowError> {
        let tops = self
            .top_columns()
            .filter_map(|top| columns.get(top).cloned());
        for step in steps(&tops.collect::<Vec<_>>(), rows, most, most, 1) {
            let part: Vec<ArrayRef> = columns
                .iter()
                .map(|column| column.slice(step.start, step.len()))
                .collect();
            for (row, key) in step.zip(&self.encode(&part)?) {
                act(row, key.data());
            }
        }
        Ok(())
    }
}

/// The column at the end of `path`. NULL where any struct on the way is NULL.
fn descend(columns: &[ArrayRef], path: &[usize]) -> std::result::Result<ArrayRef, ArrowError> {
    let lost = || ArrowError::SchemaError("a key column is not where it should be".to_owned());
    let (first, below) = path.split_first().ok_or_else(lost)?;
    let mut array = Arc::clone(columns.get(*first).ok_or_else(lost)?);
    let mut nulls: Option<NullBuffer> = None;
    for index in below {
        let parent = array.as_struct_opt().ok_or_else(lost)?;
        nulls = NullBuffer::union(nulls.as_ref(), parent.nulls());
        let child = Arc::clone(parent.columns().get(*index).ok_or_else(lost)?);
        array = child;
    }
    if nulls.is_none() {
        return Ok(array);
    }
    let nulls = NullBuffer::union(nulls.as_ref(), array.nulls());
    let masked = array.to_data().into_builder().nulls(nulls).build()?;
    Ok(make_array(masked))
}

/// Gives every NaN the same bits.
fn one_nan(array: &ArrayRef) -> ArrayRef {
    match array.data_type() {
        DataType::Float32 => {
            let floats: Float32Array = array
                .as_primitive::<Float32Type>()
                .unary(|value| if value.is_nan() { f32::NAN } else { value });
            Arc::new(floats)
        }
        DataType::Float64 => {
            let floats: Float64Array = array
                .as_primitive::<Float64Type>()
                .unary(|value| if value.is_nan() { f64::NAN } else { value });
            Arc::new(floats)
        }
        _ => Arc::clone(array),
    }
}

/// A key column of the table: the field, and its way from the top as indices of fields.
#[derive(Debug, Clone)]
pub(crate) struct KeyField {
    /// Its way in the current schema; `None` where that lacks it.
    pub(crate) current: Option<Vec<usize>>,
    /// The top-level field that holds it, with nothing but it, all optional.
    pub(crate) alone: NestedFieldRef,
    /// Its type: the widest that it ever had.
    pub(crate) key_type: Type,
}

impl KeyField {
    /// Looks up the column `id` in the current schema and in all those before it.
    pub(crate) fn find(metadata: &Metadata, current: &StructType, id: i32) -> Result<Self> {
        let in_current = path_to(current, id);
        let mut newest_first: Vec<_> = metadata.schemas_iter().collect();
        newest_first.sort_by_key(|schema| std::cmp::Reverse(schema.schema_id()));
        let fields = in_current.iter().cloned().chain(
            newest_first
                .iter()
                .filter_map(|schema| path_to(schema.as_struct(), id)),
        );
        let mut best: Option<Vec<(usize, NestedFieldRef)>> = None;
        for way in fields {
            let wider = match (&best, way.last()) {
                (None, _) => true,
                (Some(best), Some((_, field))) => best
                    .last()
                    .is_some_and(|(_, known)| is_wider(&field.field_type, &known.field_type)),
                _ => false,
            };
            if wider {
                best = Some(way);
            }
        }
        let way = best.ok_or_else(|| {
            unsupported(format!(
                "an equality delete is by the column with id {id}, which no schema of the table has outside lists and \
                 maps"
            ))
        })?;
        let (Some(((_, first), rest)), Some((_, last))) = (way.split_first(), way.last()) else {
            return Err(unsupported(format!(
                "there is no way to the column with id {id}"
            )));
        };
        if !last.field_type.is_primitive() {
            return Err(unsupported(format!(
                "an equality delete is by the column with id {id}, which is not of a primitive type"
            )));
        }
        Ok(Self {
            current: in_current.map(|way| way.iter().map(|(index, _)| *index).collect()),
            alone: alone(first, rest),
            key_type: Type::clone(&last.field_type),
        })
    }
}

/// The fields on the way from the top to the field `id`, each with its index among its siblings.
fn path_to(fields: &StructType, id: i32) -> Option<Vec<(usize, NestedFieldRef)>> {
    for (index, field) in fields.fields().iter().enumerate() {
        let step = (index, Arc::clone(field));
        if field.id == id {
            return Some(vec![step]);
        }
        if let Type::Struct(below) = field.field_type.as_ref()
            && let Some(rest) = path_to(below, id)
        {
            return Some(std::iter::once(step).chain(rest).collect());
        }
    }
    None
}

/// The first field of a way with nothing in it but the rest of the way.
fn alone(first: &NestedFieldRef, rest: &[(usize, NestedFieldRef)]) -> NestedFieldRef {
    let field_type = match rest.split_first() {
        None => Type::clone(&first.field_type),
        Some(((_, next), rest)) => Type::Struct(StructType::new(vec![alone(next, rest)])),
    };
    Arc::new(NestedField::optional(first.id, &first.name, field_type))
}

/// Whether `field` is a promotion of `known`.
fn is_wider(field: &Type, known: &Type) -> bool {
    let (Type::Primitive(field), Type::Primitive(known)) = (field, known) else {
        return false;
    };
    match (known, field) {
        (PrimitiveType::Int, PrimitiveType::Long)
        | (PrimitiveType::Float, PrimitiveType::Double)
        | (PrimitiveType::Date, PrimitiveType::Timestamp | PrimitiveType::TimestampNs) => true,
        (
            PrimitiveType::Decimal {
                precision: narrow, ..
            },
            PrimitiveType::Decimal {
                precision: wide, ..
            },
        ) => wide > narrow,
        _ => false,
    }
}
