//! A file's own columns as a tree with Iceberg field ids: from the file, from a name mapping, or by position.
//!
//! Built from the Arrow schema that the reader derives from the Parquet schema alone. An `ARROW:schema` entry in the
//! footer is never looked at: it says what some writer had in memory, and may mislead.

use std::borrow::Borrow;

use arrow_schema::{DataType, Field, Fields};
use iceberg::spec::{MappedField, NameMapping};
use parquet::arrow::PARQUET_FIELD_ID_META_KEY;

use crate::failure::{Result, corrupt, unsupported};

/// A column of a file, with what is below it.
#[derive(Debug, Clone)]
pub(crate) struct FileColumn {
    /// Its field id, where it has one.
    pub(crate) id: Option<i32>,
    /// Its name in the file.
    pub(crate) name: String,
    /// How the reader decodes it.
    pub(crate) data_type: DataType,
    /// Its first leaf among the file's leaves.
    pub(crate) first_leaf: usize,
    /// How many leaves it has.
    pub(crate) leaves: usize,
    /// Fields of a struct; the element of a list; key and value of a map.
    pub(crate) children: Vec<FileColumn>,
}

/// The columns of a file whose leaves are `leaf_count` in number.
pub(crate) fn file_columns(
    path: &str,
    fields: &Fields,
    leaf_count: usize,
    mapping: Option<&NameMapping>,
) -> Result<Vec<FileColumn>> {
    let mut next_leaf = 0;
    let mut columns: Vec<FileColumn> = fields
        .iter()
        .map(|field| column(path, field, &mut next_leaf))
        .collect::<Result<_>>()?;
    if next_leaf != leaf_count {
        return Err(unsupported(format!(
            "{path} nests its columns in a way that is not understood: {leaf_count} leaves, of which {next_leaf} \
             were found"
        )));
    }
    if !columns.iter().any(has_id) {
        match mapping {
            Some(mapping) => {
                for column in &mut columns {
                    map_names(column, mapping.fields());
                }
            }
            None => number_by_position(path, &mut columns)?,
        }
    }
    Ok(columns)
}

fn column(path: &str, field: &Field, next_leaf: &mut usize) -> Result<FileColumn> {
    let first_leaf = *next_leaf;
    let children = match field.data_type() {
        DataType::Struct(fields) => fields
            .iter()
            .map(|child| column(path, child, next_leaf))
            .collect::<Result<Vec<_>>>()?,
        DataType::List(element) => vec![column(path, element, next_leaf)?],
        DataType::Map(entries, _) => {
            let DataType::Struct(fields) = entries.data_type() else {
                return Err(corrupt(path, "a map without entries"));
            };
            fields
                .iter()
                .map(|child| column(path, child, next_leaf))
                .collect::<Result<Vec<_>>>()?
        }
        _ => {
            *next_leaf += 1;
            Vec::new()
        }
    };
    Ok(FileColumn {
        id: field
            .metadata()
            .get(PARQUET_FIELD_ID_META_KEY)
            .and_then(|id| id.parse().ok()),
        name: field.name().clone(),
        data_type: field.data_type().clone(),
        first_leaf,
        leaves: *next_leaf - first_leaf,
        children,
    })
}

fn has_id(column: &FileColumn) -> bool {
    column.id.is_some() || column.children.iter().any(has_id)
}

/// Gives a column and what is below it the ids that a name mapping has for their names (specification, *Column
/// Projection*). What the mapping does not name keeps no id, and is not read.
fn map_names<M: Borrow<MappedField>>(column: &mut FileColumn, mappings: &[M]) {
    let named = |name: &str| {
        mappings
            .iter()
            .map(Borrow::borrow)
            .find(|mapping| mapping.names().iter().any(|known| known == name))
    };
    let Some(mapping) = named(&column.name) else {
        return;
    };
    column.id = mapping.field_id();
    let below = mapping.fields();
    match &column.data_type {
        DataType::Struct(_) => {
            for child in &mut column.children {
                map_names(child, below);
            }
        }
        DataType::List(_) => rename_and_map(&mut column.children, &["element"], below),
        DataType::Map(..) => rename_and_map(&mut column.children, &["key", "value"], below),
        _ => {}
    }
}

/// Elements, keys and values are called what the specification calls them, whatever their writer did.
fn rename_and_map<M: Borrow<MappedField>>(
    children: &mut [FileColumn],
    names: &[&str],
    mappings: &[M],
) {
    for (child, name) in children.iter_mut().zip(names) {
        child.name = (*name).to_owned();
        map_names(child, mappings);
    }
}

/// Files of writers that knew nothing of Iceberg, in a table without a mapping: the n-th column has id n, as Iceberg's
/// Java reader has it. Nested columns have no position that means anything.
fn number_by_position(path: &str, columns: &mut [FileColumn]) -> Result<()> {
    if let Some(nested) = columns.iter().find(|column| !column.children.is_empty()) {
        return Err(unsupported(format!(
            "{path} has no field ids, and a nested column ('{}') can't be told by its position: set the table property \
             schema.name-mapping.default",
            nested.name
        )));
    }
    for (id, column) in (1..).zip(columns) {
        column.id = Some(id);
    }
    Ok(())
}
