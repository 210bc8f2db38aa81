//! A file's own columns as a tree with Iceberg field ids: from the file, from a name mapping, or by position.
//!
//! Built from the Arrow schema that the reader derives from the Parquet schema alone. An `ARROW:schema` entry in the
//! footer is never looked at: it says what some writer had in memory, and may mislead.

use std::borrow::Borrow;

use arrow_schema::{DataType, Field, Fields};
use iceberg::spec::MappedField;
use parquet::arrow::PARQUET_FIELD_ID_META_KEY;

use super::{
    column::FileColumn,
    known::{KnownColumns, NAME_MAPPING},
};
use crate::failure::{Result, corrupt, unsupported};

/// The columns of a file whose leaves are `leaf_count` in number, each with its own id, else with that which `known` has
/// for it.
pub(crate) fn file_columns(
    path: &str,
    fields: &Fields,
    leaf_count: usize,
    known: &KnownColumns,
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
    match &known.mapping {
        Some(mapping) => map_names(&mut columns, mapping.fields()),
        None if columns.iter().any(has_id) => {}
        None => number_by_position(path, &mut columns, known)?,
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
        is_ignored: false,
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

/// Gives columns without an id, at any depth, the ids that a name mapping has for their names (specification, *Column
/// Projection*). What has an id of its own keeps it, and what is below it is looked up under that id. What the mapping
/// does not name keeps no id.
fn map_names<M: Borrow<MappedField>>(columns: &mut [FileColumn], mappings: &[M]) {
    for column in columns {
        let found = mappings
            .iter()
            .map(Borrow::borrow)
            .find(|mapping| match column.id {
                Some(id) => mapping.field_id() == Some(id),
                None => mapping.names().contains(&column.name),
            });
        let Some(mapping) = found else {
            continue;
        };
        if column.id.is_none() {
            column.id = mapping.field_id();
            column.is_ignored = column.id.is_none();
        }
        let below = mapping.fields();
        match &column.data_type {
            DataType::Struct(_) => map_names(&mut column.children, below),
            DataType::List(_) => rename_and_map(&mut column.children, &["element"], below),
            DataType::Map(..) => rename_and_map(&mut column.children, &["key", "value"], below),
            _ => {}
        }
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
    }
    map_names(children, mappings);
}

/// Files of writers that knew nothing of Iceberg, in a table without a mapping: the n-th column has id n, as Iceberg's
/// Java reader has it. Nested columns have no position that means anything, and where a column's name says that it is
/// another one than its position does, readers disagree about what the file holds.
fn number_by_position(path: &str, columns: &mut [FileColumn], known: &KnownColumns) -> Result<()> {
    let refused = |column: &FileColumn, why: &str| {
        unsupported(format!(
            "{path} has no field ids, and {why} ('{}'): set the table property {NAME_MAPPING}",
            column.name
        ))
    };
    if let Some(nested) = columns.iter().find(|column| !column.children.is_empty()) {
        let why = "a nested column can't be told by its position";
        return Err(refused(nested, why));
    }
    for (id, column) in (1..).zip(columns) {
        if !known.knows(id) {
            let why = format!("its column {id} has a position at which the table never had one");
            return Err(refused(column, &why));
        }
        if let Some(other) = known.means_another(id, &column.name) {
            let why =
                format!("its column {id} is column {id} by position, and column {other} by name");
            return Err(refused(column, &why));
        }
        column.id = Some(id);
    }
    Ok(())
}
