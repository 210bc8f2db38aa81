//! Decoding a piece of a file, batch by batch, into the columns asked for.

use arrow_array::ArrayRef;
use arrow_schema::ArrowError;
use icepress_model::RewriteFailure;
use icepress_table::footer::row_count;
use parquet::{
    arrow::arrow_reader::{ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder},
    basic::Type,
};

use super::{pages::damaged_column, scan::Piece};
use crate::{
    failure::{Result, corrupt, from_decode, guarded},
    steps::decoded_bytes,
};

/// Rows of a batch at most: enough to make the work on each column worth its while, few enough for the cache.
const MOST_ROWS: u64 = 8192;

/// Rows that were decoded together.
#[derive(Debug)]
pub(crate) struct Batch {
    /// The position in the file of the first of them.
    pub(crate) first_row: u64,
    /// How many they are.
    pub(crate) rows: usize,
    /// The columns asked for.
    pub(crate) columns: Vec<ArrayRef>,
}

/// The batches of a piece.
pub(crate) struct Batches {
    piece: Piece,
    reader: ParquetRecordBatchReader,
    batch_rows: u64,
    batch_bytes: u64,
    file_bytes: u64,
    /// The position in the file of the piece's first row. Row groups between that are left out have no rows.
    first_row: u64,
    rows: u64,
    done: u64,
}

impl Batches {
    /// Decodes `piece` in batches of about `batch_bytes`.
    pub(crate) fn new(piece: Piece, batch_bytes: u64) -> Result<Self> {
        let metadata = piece.opened.metadata();
        let groups = || {
            piece
                .row_groups
                .iter()
                .map(|index| metadata.row_group(*index))
        };
        let rows = groups().map(|group| group.num_rows().unsigned_abs()).sum();
        let width = groups()
            .map(|group| row_bytes(group, &piece.opened.projection.leaves))
            .max()
            .unwrap_or(1);
        let batch_rows = (batch_bytes / width.max(1)).clamp(1, MOST_ROWS);
        let reader = reader(&piece, batch_rows, 0)?;
        let file_bytes = share(piece.opened.size, rows, row_count(metadata));
        let first_row = piece
            .row_groups
            .first()
            .map_or(0, |group| piece.opened.row_starts[*group]);
        Ok(Self {
            file_bytes,
            first_row,
            piece,
            reader,
            batch_rows,
            batch_bytes,
            rows,
            done: 0,
        })
    }

    /// The index of the file in the scan's list.
    pub(crate) fn file(&self) -> usize {
        self.piece.file
    }

    /// The bytes of the file that this piece stands for, by its share of the rows.
    pub(crate) fn file_bytes(&self) -> u64 {
        self.file_bytes
    }

    /// Bytes that the piece and its decoder hold.
    pub(crate) fn held(&self) -> u64 {
        self.piece.held()
    }

    /// Bytes of the largest dictionary in the piece.
    pub(crate) fn dictionary(&self) -> u64 {
        self.piece.dictionary
    }

    /// About as many of them are decoded.
    pub(crate) fn file_bytes_done(&self) -> u64 {
        share(self.file_bytes, self.done, self.rows)
    }

    /// The next batch; `None` once all rows that the footer promises were decoded.
    pub(crate) fn next(&mut self) -> Result<Option<Batch>> {
        let path = &self.piece.opened.path;
        let decoded = guarded(path, || {
            self.reader
                .next()
                .transpose()
                .map_err(|error| undecodable(&self.piece, &error))
        })?;
        let Some(decoded) = decoded else {
            if self.done != self.rows {
                return Err(corrupt(
                    path,
                    format_args!(
                        "{} rows were decoded where its footer promises {}",
                        self.done, self.rows
                    ),
                ));
            }
            return Ok(None);
        };
        let rows = decoded.num_rows();
        let columns = self
            .piece
            .opened
            .projection
            .apply(decoded.columns(), rows)
            .map_err(|error| {
                corrupt(
                    path,
                    format_args!("its values don't fit the table: {error}"),
                )
            })?;
        let first_row = self.first_row + self.done;
        self.done += rows as u64;
        self.slow_down(&columns, rows)?;
        Ok(Some(Batch {
            first_row,
            rows,
            columns,
        }))
    }

    /// Goes on with smaller batches where rows turn out to be much wider than the footer let expect: lists that are longer
    /// here than elsewhere.
    fn slow_down(&mut self, columns: &[ArrayRef], rows: usize) -> Result<()> {
        let held: u64 = columns.iter().map(decoded_bytes).sum();
        if held <= self.batch_bytes * 2 || rows <= 1 || self.done >= self.rows {
            return Ok(());
        }
        let width = (held / rows as u64).max(1);
        let batch_rows = (self.batch_bytes / width).clamp(1, MOST_ROWS);
        if batch_rows < self.batch_rows {
            self.batch_rows = batch_rows;
            self.reader = reader(&self.piece, batch_rows, self.done)?;
        }
        Ok(())
    }
}

/// A piece that can't be decoded: the column is named where a page's checksum is wrong, which the decoder does not do.
fn undecodable(piece: &Piece, error: &ArrowError) -> RewriteFailure {
    let path = &piece.opened.path;
    if error.to_string().contains("checksum")
        && let Some(column) = damaged_column(&piece.opened, &piece.row_groups, &piece.bytes)
    {
        return corrupt(
            path,
            format_args!(
                "the checksum of a page of column {column} is wrong: its bytes are not those that were written"
            ),
        );
    }
    corrupt(path, error)
}

/// `part` of `whole`, as bytes of `bytes`.
fn share(bytes: u64, part: u64, whole: u64) -> u64 {
    (u128::from(bytes) * u128::from(part) / u128::from(whole.max(1))) as u64
}

/// Bytes of one row once decoded, as far as the footer tells.
fn row_bytes(group: &parquet::file::metadata::RowGroupMetaData, leaves: &[usize]) -> u64 {
    let rows = group.num_rows().unsigned_abs().max(1);
    leaves
        .iter()
        .map(|leaf| {
            let column = group.column(*leaf);
            let values = column.num_values().unsigned_abs();
            let descriptor = column.column_descr();
            let (encoded, width) = match descriptor.physical_type() {
                // Views of 16 bytes, and the pages that they point into.
                Type::BYTE_ARRAY => (column.uncompressed_size().unsigned_abs(), 16),
                // A dictionary holds a value once, and a batch each time.
                Type::FIXED_LEN_BYTE_ARRAY => {
                    (0, descriptor.type_length().max(16).unsigned_abs().into())
                }
                _ => (0, 8),
            };
            encoded.saturating_add(values.saturating_mul(width)) / rows + 1
        })
        .sum()
}

fn reader(piece: &Piece, batch_rows: u64, skip: u64) -> Result<ParquetRecordBatchReader> {
    let opened = &piece.opened;
    guarded(&opened.path, || {
        ParquetRecordBatchReaderBuilder::new_with_metadata(
            piece.bytes.clone(),
            opened.reader.clone(),
        )
        .with_projection(opened.mask())
        .with_row_groups(piece.row_groups.clone())
        .with_batch_size(batch_rows as usize)
        .with_offset(skip as usize)
        .build()
        .map_err(|error| from_decode(&error, &opened.path))
    })
}
