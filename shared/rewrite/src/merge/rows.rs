//! A column of a row group decoded and encoded, where its pages can't be kept: because the schema has changed since, because
//! another writer holds it in another form, or because it is row lineage, which no file of before has.
//!
//! All leaves of a column of the table go together, through the same reader as rows do (`read`, `project`), into the
//! encoder that rows go into.

use std::sync::Arc;

use arrow_array::{ArrayRef, BooleanArray};
use arrow_schema::{FieldRef, Schema as ArrowSchema};
use arrow_select::filter::filter;
use iceberg::spec::NestedFieldRef;
use icepress_model::InputFile;
use parquet::{
    arrow::arrow_writer::{ArrowColumnWriter, ArrowRowGroupWriterFactory, compute_leaves},
    file::writer::SerializedFileWriter,
    schema::types::TypePtr,
};

use super::{MergedChunk, Sound, refused};
use crate::{
    deletes::DeletedPositions,
    failure::Result,
    lineage::LineageColumn,
    project::Wanted,
    read::{Batches, FileBytes, OpenFile, Piece},
    schema::{arrow_field, parquet_schema},
    steps::steps,
    write::{NanCounts, ParquetSettings, WriterRoom},
};

/// Bytes of rows that are encoded at a time, so that pages end near their size.
const STEP: u64 = 1 << 20;
const SMALLEST_STEP: usize = 128;

/// A column of the table as it is encoded.
#[derive(Debug)]
pub(super) struct EncodedColumn {
    pub(super) field: NestedFieldRef,
    arrow: FieldRef,
    parquet: TypePtr,
    lineage: Option<LineageColumn>,
}

/// What a column may take.
#[derive(Debug, Clone, Copy)]
pub(super) struct Room {
    /// Bytes of a decoded batch.
    pub(super) batch: u64,
    /// What decoding a row group may hold beside.
    pub(super) decoding: u64,
    /// What the encoded column may take.
    pub(super) encoding: u64,
}

/// A row group of an input, with its place among the inputs.
#[derive(Debug)]
pub(super) struct RowGroup<'a> {
    pub(super) input: usize,
    pub(super) entry: &'a InputFile,
    pub(super) file: &'a OpenFile,
    pub(super) row_group: usize,
    pub(super) bytes: FileBytes,
}

impl EncodedColumn {
    pub(super) fn new(field: &NestedFieldRef) -> Result<Self> {
        Ok(Self {
            arrow: arrow_field(field)?,
            parquet: parquet_schema(std::slice::from_ref(field))?,
            lineage: LineageColumn::of(field.id),
            field: Arc::clone(field),
        })
    }

    /// Whether what files hold of it is only a part of what it says.
    pub(super) fn is_lineage(&self) -> bool {
        self.lineage.is_some()
    }

    /// Its chunks in a row group that holds the live rows of `row_groups`, one a leaf. `known` is what is known of the table's
    /// columns.
    pub(super) fn encode(
        &self,
        row_groups: &[RowGroup<'_>],
        known: &Wanted,
        deleted: &DeletedPositions,
        settings: &ParquetSettings,
        room: Room,
    ) -> Sound<Vec<MergedChunk>> {
        let wanted = Wanted {
            known: Arc::clone(&known.known),
            must_explain: false,
            targets: vec![Arc::clone(&self.field)],
            constants: known.constants.clone(),
        };
        let pieces = row_groups.iter().map(|row_group| {
            let file = row_group.file.only(&wanted)?;
            let bytes = row_group.bytes.clone();
            Piece::in_memory(Arc::new(file), row_group.row_group, bytes)
        });
        let pieces: Vec<Piece> = pieces
            .collect::<Result<_>>()
            .map_err(|error| refused(error.message))?;
        if pieces.iter().any(|piece| piece.held() > room.decoding) {
            return Err(refused("its pages take too much memory to be decoded"));
        }
        let largest = pieces.iter().map(|piece| piece.dictionary).max();
        let settings = settings.with_dictionary(WriterRoom {
            row_group: room.encoding,
            dictionary: largest.unwrap_or(0),
        });
        let mut encoder = Encoder::new(self, &settings)?;
        for (row_group, piece) in row_groups.iter().zip(pieces) {
            let mut batches =
                Batches::new(piece, room.batch).map_err(|error| refused(error.message))?;
            while let Some(batch) = batches.next().map_err(|error| refused(error.message))? {
                let kept = deleted.kept(row_group.input, batch.first_row, batch.rows);
                let [held] = batch.columns.as_slice() else {
                    return Err(refused("one column was to be read"));
                };
                let values = match self.lineage {
                    None => Ok(Arc::clone(held)),
                    Some(lineage) => lineage.values(held, batch.first_row, row_group.entry),
                };
                let values = values.map_err(|error| refused(error.message))?;
                let live = match kept {
                    None => values,
                    Some(kept) => filter(&values, &BooleanArray::from(kept)).map_err(refused)?,
                };
                encoder.write(&live, room)?;
            }
        }
        encoder.finish()
    }
}

/// Encodes the leaves of a column.
struct Encoder {
    field: FieldRef,
    leaves: Vec<ArrowColumnWriter>,
    ids: Vec<i32>,
    nans: NanCounts,
}

impl Encoder {
    fn new(column: &EncodedColumn, settings: &ParquetSettings) -> Sound<Self> {
        // Column writers are made for a file; nothing is ever written to this one.
        let nowhere = SerializedFileWriter::new(
            std::io::sink(),
            Arc::clone(&column.parquet),
            Arc::clone(&settings.writer),
        )
        .map_err(refused)?;
        let schema = ArrowSchema::new(vec![Arc::clone(&column.arrow)]);
        let factory = ArrowRowGroupWriterFactory::new(&nowhere, Arc::new(schema));
        let leaves = nowhere.schema_descr().columns().iter();
        Ok(Self {
            field: Arc::clone(&column.arrow),
            leaves: factory.create_column_writers(0).map_err(refused)?,
            ids: leaves
                .map(|leaf| leaf.self_type().get_basic_info().id())
                .collect(),
            nans: NanCounts::new(std::slice::from_ref(&column.field)),
        })
    }

    fn write(&mut self, values: &ArrayRef, room: Room) -> Sound<()> {
        let columns = std::slice::from_ref(values);
        self.nans.add(columns);
        for step in steps(columns, values.len(), STEP, room.batch, SMALLEST_STEP) {
            let part = values.slice(step.start, step.len());
            let parts = compute_leaves(&self.field, &part).map_err(refused)?;
            for (leaf, part) in self.leaves.iter_mut().zip(parts) {
                leaf.write(&part).map_err(refused)?;
            }
            let held: usize = self.leaves.iter().map(ArrowColumnWriter::memory_size).sum();
            if held as u64 > room.encoding {
                return Err(refused("it takes too much memory to be encoded"));
            }
        }
        Ok(())
    }

    fn finish(self) -> Sound<Vec<MergedChunk>> {
        let nans = self.nans;
        let close = |(leaf, id): (ArrowColumnWriter, i32)| {
            let chunk = leaf.close().map_err(refused)?;
            Ok(MergedChunk::encoded(chunk, nans.of(id).unwrap_or(0)))
        };
        self.leaves.into_iter().zip(self.ids).map(close).collect()
    }
}
