//! What of a file is read, and how it becomes columns of the table: by field id, at any depth.
//!
//! A [`Projection`] is made once a file. It knows which leaves to read, and turns what the Parquet reader decodes into
//! the columns asked for: renamed, reordered, promoted, with its default or NULL where the file has nothing, and with
//! the partition's value where an identity-partition column was left out (specification, *Column Projection*).

mod column;
mod known;
mod tree;

use std::{cell::RefCell, collections::HashMap, sync::Arc};

use arrow_array::{
    Array, ArrayRef, ListArray, MapArray, StructArray, UInt32Array, cast::AsArray, new_null_array,
};
use arrow_schema::{ArrowError, DataType, Field, FieldRef, Fields, TimeUnit};
use arrow_select::take::take;
use iceberg::spec::{NestedField, NestedFieldRef, Type};
use parquet::{basic::Type as PhysicalType, schema::types::SchemaDescriptor};

use column::FileColumn;
pub(crate) use known::KnownColumns;
use tree::file_columns;

use crate::{
    constants::{Constants, default_value},
    convert::{LeafConversion, leaf_conversion},
    failure::{Result, corrupt, unsupported},
    schema::{arrow_field, arrow_fields, arrow_type},
};

/// What is asked of files.
#[derive(Debug)]
pub(crate) struct Wanted {
    /// The columns that the table knows, by which those of the files are told.
    pub(crate) known: Arc<KnownColumns>,
    /// Whether each column of the files must be one of these. In data files it must: what a rewrite does not read is
    /// gone. Of delete files only the columns asked for matter.
    pub(crate) must_explain: bool,
    /// The columns asked for.
    pub(crate) targets: Vec<NestedFieldRef>,
    /// Columns that files may leave out because their partition says them.
    pub(crate) constants: Constants,
}

/// What to read of one file and what to make of it.
#[derive(Debug)]
pub(crate) struct Projection {
    /// Leaves to read, in the file's order.
    pub(crate) leaves: Vec<usize>,
    /// The Arrow schema to decode with, where the one derived from the file does not do.
    pub(crate) hints: Option<Fields>,
    /// Fields asked for that the file lacks, and that no partition value stands in for.
    pub(crate) absent: Vec<i32>,
    columns: Vec<Column>,
}

/// How one column comes about.
#[derive(Debug)]
enum Column {
    /// From a decoded column.
    Read { index: usize, step: Step },
    /// Without the file.
    Fill(Filler),
}

/// A column, or a part of one, of which the file has nothing.
#[derive(Debug)]
enum Filler {
    Null(DataType),
    Constant(ArrayRef),
    /// A struct that is there in each row, with fields that are made.
    Struct(Fields, Vec<Filler>),
}

/// What to do to a decoded array.
#[derive(Debug)]
enum Step {
    Leaf(LeafConversion),
    /// A part that shows where values are, and holds none of those asked for.
    Replace(Filler),
    Struct(Fields, Vec<Column>),
    List(FieldRef, Box<Step>),
    Map(FieldRef, Box<Step>, Box<Step>),
}

impl Projection {
    /// What is `wanted`, from a file with the columns `file_fields`.
    pub(crate) fn new(
        path: &str,
        file_fields: &Fields,
        descriptor: &SchemaDescriptor,
        wanted: &Wanted,
    ) -> Result<Self> {
        let leaf_count = descriptor.num_columns();
        let file = file_columns(path, file_fields, leaf_count, &wanted.known)?;
        if wanted.must_explain {
            wanted.known.explain(path, &file)?;
        }
        let targets = &wanted.targets;
        let mut builder = Builder {
            path,
            descriptor,
            constants: &wanted.constants,
            wanted: vec![false; leaf_count],
            hints: HashMap::new(),
            absent: RefCell::default(),
        };
        for target in targets {
            if let Some(source) = source_of(&file, target.id) {
                builder.mark(source, &target.field_type)?;
            }
        }
        let columns = targets
            .iter()
            .map(|target| builder.column(&file, target))
            .collect::<Result<_>>()?;
        let hints = (!builder.hints.is_empty()).then(|| {
            let mut next_leaf = 0;
            hinted(file_fields, &builder.hints, &mut next_leaf)
        });
        Ok(Self {
            leaves: (0..leaf_count)
                .filter(|leaf| builder.wanted[*leaf])
                .collect(),
            hints,
            absent: builder.absent.into_inner(),
            columns,
        })
    }

    /// Whether the column asked for as number `index` is what the file holds, value by value: nothing made up, converted or
    /// left out.
    pub(crate) fn is_plain(&self, index: usize) -> bool {
        self.columns.get(index).is_some_and(Column::is_plain)
    }

    /// The columns asked for, from `decoded` columns of `rows` rows each.
    pub(crate) fn apply(
        &self,
        decoded: &[ArrayRef],
        rows: usize,
    ) -> std::result::Result<Vec<ArrayRef>, ArrowError> {
        self.columns
            .iter()
            .map(|column| column.apply(decoded, rows))
            .collect()
    }
}

struct Builder<'a> {
    path: &'a str,
    descriptor: &'a SchemaDescriptor,
    constants: &'a Constants,
    wanted: Vec<bool>,
    hints: HashMap<usize, DataType>,
    absent: RefCell<Vec<i32>>,
}

impl Builder<'_> {
    /// Marks the leaves of `source` that `target` needs, and notes how to decode those that need a hint.
    fn mark(&mut self, source: &FileColumn, target: &Type) -> Result<()> {
        match (target, &source.data_type) {
            (Type::Struct(fields), DataType::Struct(_)) => {
                for field in fields.fields() {
                    if let Some(child) = source_of(&source.children, field.id) {
                        self.mark(child, &field.field_type)?;
                    }
                }
            }
            (Type::List(list), DataType::List(_)) => {
                if present(source, target) {
                    self.mark(&source.children[0], &list.element_field.field_type)?;
                }
            }
            (Type::Map(map), DataType::Map(..)) => {
                for (child, field) in source
                    .children
                    .iter()
                    .zip([&map.key_field, &map.value_field])
                {
                    if present(child, &field.field_type) {
                        self.mark(child, &field.field_type)?;
                    } else {
                        // Entries are decoded only with both sides; one leaf shows how many there are.
                        self.wanted[child.first_leaf] = true;
                    }
                }
            }
            (Type::Primitive(_), held) if source.children.is_empty() => {
                self.wanted[source.first_leaf] = true;
                let physical = self.descriptor.column(source.first_leaf).physical_type();
                if let Some(hint) = hint(held, physical) {
                    self.hints.insert(source.first_leaf, hint);
                }
            }
            _ => return Err(self.mismatch(source, target)),
        }
        Ok(())
    }

    fn mismatch(&self, source: &FileColumn, target: &Type) -> icepress_model::RewriteFailure {
        unsupported(format!(
            "{} holds column '{}' as {}, which can't be read as {target}",
            self.path, source.name, source.data_type
        ))
    }

    /// How `target` comes about from `siblings`, the file's columns beside each other.
    fn column(&self, siblings: &[FileColumn], target: &NestedField) -> Result<Column> {
        match source_of(siblings, target.id) {
            Some(source) if present(source, &target.field_type) => Ok(Column::Read {
                index: siblings
                    .iter()
                    .take_while(|sibling| sibling.first_leaf < source.first_leaf)
                    .filter(|sibling| self.is_read(sibling))
                    .count(),
                step: self.step(source, &target.field_type)?,
            }),
            source => Ok(Column::Fill(self.filler(source, target)?)),
        }
    }

    fn is_read(&self, column: &FileColumn) -> bool {
        self.wanted[column.first_leaf..column.first_leaf + column.leaves].contains(&true)
    }

    /// A target of which the file has nothing; `source` is the file's column of that id, should it have one with none
    /// of the fields asked for.
    fn filler(&self, source: Option<&FileColumn>, target: &NestedField) -> Result<Filler> {
        if let Some(constant) = self.constants.get(&target.id) {
            return Ok(Filler::Constant(Arc::clone(constant)));
        }
        // What a file was written without has the value that the column began with (format version 3).
        if let Some(default) = &target.initial_default {
            self.absent.borrow_mut().push(target.id);
            return Ok(Filler::Constant(default_value(target, default)?));
        }
        if let Type::Struct(fields) = target.field_type.as_ref()
            && ((target.required && source.is_some()) || self.has_constant(&target.field_type))
        {
            let made = fields
                .fields()
                .iter()
                .map(|field| self.filler(None, field))
                .collect::<Result<_>>()?;
            return Ok(Filler::Struct(arrow_fields(fields.fields())?, made));
        }
        if target.required {
            return Err(unsupported(format!(
                "column '{}' is required, and {} lacks it",
                target.name, self.path
            )));
        }
        self.absent.borrow_mut().push(target.id);
        Ok(Filler::Null(arrow_type(&target.field_type)?))
    }

    /// Whether a field of a struct has a value of its own, so that the struct can't be NULL.
    fn has_constant(&self, target: &Type) -> bool {
        match target {
            Type::Struct(fields) => fields.fields().iter().any(|field| {
                self.constants
                    .get(&field.id)
                    .is_some_and(|constant| constant.is_valid(0))
                    || self.has_constant(&field.field_type)
            }),
            _ => false,
        }
    }

    fn step(&self, source: &FileColumn, target: &Type) -> Result<Step> {
        match (target, &source.data_type) {
            (Type::Struct(fields), DataType::Struct(_)) => {
                let columns = fields
                    .fields()
                    .iter()
                    .map(|field| self.column(&source.children, field))
                    .collect::<Result<_>>()?;
                Ok(Step::Struct(arrow_fields(fields.fields())?, columns))
            }
            (Type::List(list), DataType::List(_)) => {
                let element = self.step(&source.children[0], &list.element_field.field_type)?;
                Ok(Step::List(
                    arrow_field(&list.element_field)?,
                    Box::new(element),
                ))
            }
            (Type::Map(map), DataType::Map(..)) => {
                let [key, value] = source.children.as_slice() else {
                    return Err(corrupt(self.path, "a map without key or value"));
                };
                let DataType::Map(entries, _) = arrow_type(target)? else {
                    return Err(self.mismatch(source, target));
                };
                let value = if present(value, &map.value_field.field_type) {
                    self.step(value, &map.value_field.field_type)?
                } else {
                    Step::Replace(self.filler(Some(value), &map.value_field)?)
                };
                Ok(Step::Map(
                    entries,
                    Box::new(self.step(key, &map.key_field.field_type)?),
                    Box::new(value),
                ))
            }
            (Type::Primitive(_), held) if source.children.is_empty() => {
                let held = self.hints.get(&source.first_leaf).unwrap_or(held);
                leaf_conversion(held, &arrow_type(target)?)
                    .map(Step::Leaf)
                    .ok_or_else(|| self.mismatch(source, target))
            }
            _ => Err(self.mismatch(source, target)),
        }
    }
}

fn source_of(columns: &[FileColumn], id: i32) -> Option<&FileColumn> {
    columns.iter().find(|column| column.id == Some(id))
}

/// Whether a file's column has any leaf that the target asks for. A struct without one reads as NULL, as Iceberg's
/// Java reader has it. Elements, keys and values go with their list or map, whatever ids their writer gave them.
fn present(source: &FileColumn, target: &Type) -> bool {
    match (target, &source.data_type) {
        (Type::Struct(fields), DataType::Struct(_)) => fields.fields().iter().any(|field| {
            source_of(&source.children, field.id)
                .is_some_and(|child| present(child, &field.field_type))
        }),
        (Type::List(list), DataType::List(_)) => {
            present(&source.children[0], &list.element_field.field_type)
        }
        _ => true,
    }
}

/// What to decode a leaf as instead of what its annotation says. INT96 is nanoseconds to the reader, which end in the
/// year 2262; as microseconds, which is all that any Iceberg reader takes from it, it has no such end.
///
/// Texts and bytes are decoded as views: a dictionary's value lies in memory once, however many rows share it.
///
/// Texts without an annotation are not decoded as texts: the reader checks what is annotated alone, and would pass on
/// bytes that are none. They are converted, and checked, afterwards.
fn hint(held: &DataType, physical: PhysicalType) -> Option<DataType> {
    match held {
        DataType::Timestamp(..) if physical == PhysicalType::INT96 => {
            Some(DataType::Timestamp(TimeUnit::Microsecond, None))
        }
        DataType::Utf8 => Some(DataType::Utf8View),
        DataType::Binary => Some(DataType::BinaryView),
        _ => None,
    }
}

/// `fields` with the types of some leaves replaced.
fn hinted(fields: &Fields, hints: &HashMap<usize, DataType>, next_leaf: &mut usize) -> Fields {
    fields
        .iter()
        .map(|field| hinted_field(field, hints, next_leaf))
        .collect()
}

fn hinted_field(
    field: &FieldRef,
    hints: &HashMap<usize, DataType>,
    next_leaf: &mut usize,
) -> FieldRef {
    let data_type = match field.data_type() {
        DataType::Struct(fields) => DataType::Struct(hinted(fields, hints, next_leaf)),
        DataType::List(element) => DataType::List(hinted_field(element, hints, next_leaf)),
        DataType::Map(entries, sorted) => {
            DataType::Map(hinted_field(entries, hints, next_leaf), *sorted)
        }
        leaf => {
            let leaf = hints.get(next_leaf).unwrap_or(leaf).clone();
            *next_leaf += 1;
            leaf
        }
    };
    Arc::new(Field::clone(field).with_data_type(data_type))
}

impl Column {
    fn is_plain(&self) -> bool {
        match self {
            Self::Read { step, .. } => step.is_plain(),
            Self::Fill(_) => false,
        }
    }

    fn apply(
        &self,
        decoded: &[ArrayRef],
        rows: usize,
    ) -> std::result::Result<ArrayRef, ArrowError> {
        match self {
            Self::Read { index, step } => match decoded.get(*index) {
                Some(array) => step.apply(array),
                None => Err(ArrowError::SchemaError(format!(
                    "column {index} of {} was not decoded",
                    decoded.len()
                ))),
            },
            Self::Fill(made) => made.apply(rows),
        }
    }
}

impl Filler {
    fn apply(&self, rows: usize) -> std::result::Result<ArrayRef, ArrowError> {
        match self {
            Self::Null(data_type) => Ok(new_null_array(data_type, rows)),
            Self::Constant(constant) => take(constant, &UInt32Array::from(vec![0; rows]), None),
            Self::Struct(fields, made) => {
                let arrays = made
                    .iter()
                    .map(|field| field.apply(rows))
                    .collect::<std::result::Result<_, _>>()?;
                Ok(Arc::new(StructArray::try_new(
                    fields.clone(),
                    arrays,
                    None,
                )?))
            }
        }
    }
}

impl Step {
    fn is_plain(&self) -> bool {
        match self {
            // The same numbers under another name, as UTC has several.
            Self::Leaf(LeafConversion::Keep | LeafConversion::Relabel(_)) => true,
            Self::Leaf(_) => false,
            Self::Replace(_) => false,
            Self::Struct(_, columns) => columns.iter().all(Column::is_plain),
            Self::List(_, element) => element.is_plain(),
            Self::Map(_, key, value) => key.is_plain() && value.is_plain(),
        }
    }

    fn apply(&self, array: &ArrayRef) -> std::result::Result<ArrayRef, ArrowError> {
        match self {
            Self::Leaf(conversion) => conversion.apply(array),
            Self::Replace(made) => made.apply(array.len()),
            Self::Struct(fields, columns) => {
                let decoded = array.as_struct();
                let arrays = columns
                    .iter()
                    .map(|column| column.apply(decoded.columns(), decoded.len()))
                    .collect::<std::result::Result<_, _>>()?;
                let nulls = decoded.nulls().cloned();
                Ok(Arc::new(StructArray::try_new(
                    fields.clone(),
                    arrays,
                    nulls,
                )?))
            }
            Self::List(field, element) => {
                let decoded = array.as_list::<i32>();
                Ok(Arc::new(ListArray::try_new(
                    Arc::clone(field),
                    decoded.offsets().clone(),
                    element.apply(decoded.values())?,
                    decoded.nulls().cloned(),
                )?))
            }
            Self::Map(entries, key, value) => {
                let decoded = array.as_map();
                let DataType::Struct(fields) = entries.data_type() else {
                    return Err(ArrowError::SchemaError("a map without entries".to_owned()));
                };
                let pairs = StructArray::try_new(
                    fields.clone(),
                    vec![key.apply(decoded.keys())?, value.apply(decoded.values())?],
                    decoded.entries().nulls().cloned(),
                )?;
                Ok(Arc::new(MapArray::try_new(
                    Arc::clone(entries),
                    decoded.offsets().clone(),
                    pairs,
                    decoded.nulls().cloned(),
                    false,
                )?))
            }
        }
    }
}

#[cfg(test)]
mod tests;
