//! What writers got wrong in footers, and what no reader may trip over.

use parquet::{
    errors::ParquetError,
    file::metadata::{
        ColumnChunkMetaData, FileMetaData, ParquetMetaData, ParquetMetaDataBuilder,
        RowGroupMetaData,
    },
};

use super::{FooterError, row_count, undecodable};

/// Offsets of nothing taken away, the count of rows made that of the row groups, and what would panic later refused.
pub(super) fn mended(footer: ParquetMetaData) -> Result<ParquetMetaData, FooterError> {
    for group in footer.row_groups() {
        check(group)?;
    }
    let groups = || footer.row_groups().iter();
    let rows = i64::try_from(row_count(&footer)).unwrap_or(i64::MAX);
    let says_so = footer.file_metadata().num_rows() == rows;
    if says_so && !groups().any(|group| group.columns().iter().any(is_odd)) {
        return Ok(footer);
    }
    let groups = groups().map(mended_group).collect::<Result<_, _>>();
    let whole = ParquetMetaDataBuilder::new(with_rows(footer.file_metadata(), rows));
    Ok(whole.set_row_groups(groups.map_err(undecodable)?).build())
}

/// The rows of a file are those of its row groups, as Parquet's own Java reader has it: some writers left a 0 in the
/// other place.
fn with_rows(file: &FileMetaData, rows: i64) -> FileMetaData {
    FileMetaData::new(
        file.version(),
        rows,
        file.created_by().map(str::to_owned),
        file.key_value_metadata().cloned(),
        file.schema_descr_ptr(),
        file.column_orders().cloned(),
    )
}

/// A row group has no rows below zero, and its columns begin and end somewhere. Where one of no rows begins means
/// nothing: parquet-cpp says 0.
fn check(group: &RowGroupMetaData) -> Result<(), FooterError> {
    let corrupt = |what: &str| Err(FooterError::Corrupt(what.to_owned()));
    if group.num_rows() < 0 {
        return corrupt("a row group has a negative number of rows");
    }
    for column in group.columns() {
        if column.compressed_size() < 0
            || column.uncompressed_size() < 0
            || column.data_page_offset() < 0
            || column.num_values() < 0
        {
            return corrupt("a column has a negative offset, size or number of values");
        }
    }
    Ok(())
}

/// A column begins at its dictionary page only if that lies before the first data page, as Parquet's own Java reader has
/// it. Old writers left a 0 there, or something else that means nothing.
fn is_odd(column: &ColumnChunkMetaData) -> bool {
    column
        .dictionary_page_offset()
        .is_some_and(|dictionary| dictionary <= 0 || dictionary >= column.data_page_offset())
}

fn mended_group(group: &RowGroupMetaData) -> Result<RowGroupMetaData, ParquetError> {
    let columns = group
        .columns()
        .iter()
        .map(|column| {
            let column = column.clone();
            if !is_odd(&column) {
                return Ok(column);
            }
            let builder = column.into_builder();
            builder.set_dictionary_page_offset(None).build()
        })
        .collect::<Result<_, _>>()?;
    group
        .clone()
        .into_builder()
        .set_column_metadata(columns)
        .build()
}
