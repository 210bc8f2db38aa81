//! Row lineage of format version 3 (specification, *Row Lineage*): which row a row is, and when it last changed.
//!
//! A file may store both in reserved columns; where it does not, or where the value is NULL, they follow from the file's
//! first row id and the row's position, and from the file's data sequence number. A rewrite moves rows and changes none,
//! so that it writes down both for each row.

use std::sync::Arc;

use arrow_array::{Array, ArrayRef, Int64Array, cast::AsArray, new_null_array, types::Int64Type};
use arrow_schema::DataType;
use iceberg::spec::{
    FormatVersion, NestedField, NestedFieldRef, PrimitiveType, StructType, TableMetadata, Type,
};
use icepress_model::InputFile;
use icepress_table::reserved_ids::{LAST_UPDATED, LAST_UPDATED_NAME, ROW_ID, ROW_ID_NAME};

use crate::failure::{Result, corrupt, unsupported};

/// Field ids and names, in the order that files have them after the table's columns.
const COLUMNS: [(i32, &str); 2] = [(ROW_ID, ROW_ID_NAME), (LAST_UPDATED, LAST_UPDATED_NAME)];

/// The columns of row lineage that files of a table have after its own: none before format version 3.
///
/// Fails where the table has a column of such a name itself.
pub(crate) fn lineage_fields(
    metadata: &TableMetadata,
    columns: &StructType,
) -> Result<Vec<NestedFieldRef>> {
    if metadata.format_version() < FormatVersion::V3 {
        return Ok(Vec::new());
    }
    let mut named = columns.fields().iter();
    if let Some(taken) = named.find(|field| COLUMNS.iter().any(|(_, name)| field.name == *name)) {
        return Err(unsupported(format!(
            "the table has a column '{}', a name that format version 3 keeps for itself: rename it",
            taken.name
        )));
    }
    let field = |(id, name)| {
        Arc::new(NestedField::optional(
            id,
            name,
            Type::Primitive(PrimitiveType::Long),
        ))
    };
    Ok(COLUMNS.map(field).into())
}

/// A column of row lineage.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LineageColumn {
    /// Which row a row is.
    RowId,
    /// When it last changed.
    LastUpdated,
}

impl LineageColumn {
    /// What the column with an id is, if it is one of these.
    pub(crate) fn of(id: i32) -> Option<Self> {
        match id {
            ROW_ID => Some(Self::RowId),
            LAST_UPDATED => Some(Self::LastUpdated),
            _ => None,
        }
    }

    /// Its values for the rows of `input` from the position `first_row` on, where `stored` is what the file has in it.
    pub(crate) fn values(
        self,
        stored: &ArrayRef,
        first_row: u64,
        input: &InputFile,
    ) -> Result<ArrayRef> {
        match self {
            Self::RowId => row_ids(stored, first_row, input),
            Self::LastUpdated => {
                let number = input.sequence_number.get();
                Ok(or_else(stored, |_| number))
            }
        }
    }
}

/// Row ids and sequence numbers of the rows of a file from the position `first_row` on, where `stored` is what the file
/// has in the two columns.
pub(crate) fn lineage(
    stored: &[ArrayRef],
    first_row: u64,
    input: &InputFile,
) -> Result<Vec<ArrayRef>> {
    let [ids, numbers] = stored else {
        return Err(unsupported("row lineage has two columns"));
    };
    let columns = [
        (LineageColumn::RowId, ids),
        (LineageColumn::LastUpdated, numbers),
    ];
    let values = columns.map(|(column, stored)| column.values(stored, first_row, input));
    values.into_iter().collect()
}

fn row_ids(stored: &ArrayRef, first_row: u64, input: &InputFile) -> Result<ArrayRef> {
    let rows = stored.len();
    let Some(first_row_id) = input.first_row_id else {
        // No row of such a file has an id, whatever is stored: so Iceberg's Java reader has it.
        return Ok(new_null_array(&DataType::Int64, rows));
    };
    let first = u64::try_from(first_row_id.get())
        .ok()
        .and_then(|first| first.checked_add(first_row))
        .and_then(|first| i64::try_from(first).ok())
        .filter(|first| first.checked_add_unsigned(rows as u64).is_some())
        .ok_or_else(|| {
            corrupt(
                &input.path,
                format_args!("its rows have ids from {first_row_id} on"),
            )
        })?;
    Ok(or_else(stored, |row| first + row as i64))
}

/// The values of a long column, with what `otherwise` has for the rows where they are NULL.
fn or_else(stored: &ArrayRef, otherwise: impl Fn(usize) -> i64) -> ArrayRef {
    if stored.null_count() == 0 {
        return Arc::clone(stored);
    }
    if stored.null_count() == stored.len() {
        let values = (0..stored.len()).map(otherwise);
        return Arc::new(Int64Array::from_iter_values(values));
    }
    let stored = stored.as_primitive::<Int64Type>();
    let filled = stored.iter().enumerate();
    Arc::new(Int64Array::from_iter_values(
        filled.map(|(row, value)| value.unwrap_or_else(|| otherwise(row))),
    ))
}
