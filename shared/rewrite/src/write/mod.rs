//! Parquet out: files of the group's target size, as the table's properties say, with the entries for their manifests.

mod bounds;
mod encoder;
mod location;
mod metrics;
mod positions;
mod properties;
mod statistics;

use std::{ops::Range, sync::Arc};

use arrow_array::RecordBatch;
use arrow_schema::{Schema as ArrowSchema, SchemaRef};
use futures::Stream;
use iceberg::spec::{DataFile, SchemaRef as TableSchemaRef, Struct, TableMetadata};
use icepress_model::{Attempt, Bytes, GroupTask, RewriteFailure};
use icepress_storage::{Storage, StorageError, WriteOptions};
use parquet::schema::types::SchemaDescriptor;

use crate::{
    failure::{Result, from_write, unsupported},
    lineage::lineage_fields,
    memory::Shares,
    merge::{MergedChunk, Ways},
    schema::{arrow_fields, parquet_schema},
    steps::steps,
};
use encoder::Encoder;
use icepress_table::{MetricsMode, MetricsModes};
pub(crate) use location::Locations;
pub use location::data_folder;
use metrics::EntryMaker;
pub(crate) use metrics::NanCounts;
pub(crate) use positions::{PositionFiles, with_partition};
pub(crate) use properties::ParquetSettings;
use properties::parquet_settings;

/// What may be left over for a file to take it in instead of leaving it as a small file of its own: a quarter of the
/// target. Still far below the size at which a file counts as too large.
const LEFT_OVER_DIVISOR: u64 = 4;

/// A file or row group may be too large by one part in so many.
const STEPS: u64 = 16;
/// Rows that are always written together.
const SMALLEST_STEP: usize = 128;

/// What a group's files are written with.
#[derive(Debug)]
pub(crate) struct OutputContext<'a> {
    pub(crate) storage: Arc<dyn Storage>,
    pub(crate) metadata: &'a TableMetadata,
    pub(crate) schema: TableSchemaRef,
    pub(crate) task: &'a GroupTask,
    pub(crate) attempt: Attempt,
    pub(crate) partition: Struct,
    pub(crate) partition_path: String,
    pub(crate) shares: Shares,
}

/// Writes rows into files of the target size.
pub(crate) struct Output {
    storage: Arc<dyn Storage>,
    options: WriteOptions,
    arrow_schema: SchemaRef,
    parquet_schema: SchemaDescriptor,
    settings: ParquetSettings,
    locations: Locations,
    entries: EntryMaker,
    target: u64,
    /// What an ended row group has of the bytes that it was estimated at.
    compression: f64,
    /// Bytes of rows that are encoded at a time at most, unless one row has more.
    most_in_step: u64,
    open: Option<Encoder>,
    nans: NanCounts,
    finished: Vec<DataFile>,
    row_groups: u64,
    /// Row groups that ended before their size because memory did.
    cut_short: u64,
    bytes: u64,
    rows: u64,
}

/// What was written.
#[derive(Debug)]
pub(crate) struct Written {
    pub(crate) files: Vec<DataFile>,
    pub(crate) row_groups: u64,
    /// Row groups that ended before their size because memory did.
    pub(crate) cut_short: u64,
    pub(crate) bytes: u64,
    pub(crate) rows: u64,
}

/// What memory has for rows that are being written.
#[derive(Debug, Clone, Copy)]
pub(crate) struct WriterRoom {
    /// Bytes that the open row group may take in memory.
    pub(crate) row_group: u64,
    /// Bytes of the largest dictionary that the rows were read from.
    pub(crate) dictionary: u64,
}

impl Output {
    /// Prepares for rows of `context.schema`, with their lineage where the table has it. Nothing is written before the first row comes.
    pub(crate) fn new(context: OutputContext<'_>) -> Result<Self> {
        let own = context.schema.as_struct();
        let mut fields = own.fields().to_vec();
        fields.extend(lineage_fields(context.metadata, own)?);
        let fields = &fields;
        let parquet_schema = SchemaDescriptor::new(parquet_schema(fields)?);
        let properties = context.metadata.properties();
        let settings = parquet_settings(properties, &context.schema, &parquet_schema)?;
        let modes = MetricsModes::of(context.metadata, &context.schema);
        Ok(Self {
            storage: context.storage,
            options: WriteOptions {
                storage_class: properties.get("s3.write.storage-class").cloned(),
                in_memory: Some(Bytes(context.shares.parts())),
            },
            arrow_schema: Arc::new(ArrowSchema::new(arrow_fields(fields)?)),
            parquet_schema,
            settings,
            locations: Locations::new(
                context.metadata,
                context.task,
                context.attempt,
                context.partition_path,
            )?,
            entries: EntryMaker::new(
                &context.schema,
                modes,
                context.task.group.spec_id.get(),
                context.partition,
            ),
            target: context.task.group.target_file_size.get().max(1),
            compression: 1.0,
            most_in_step: context.shares.batch,
            open: None,
            nans: NanCounts::new(fields),
            finished: Vec::new(),
            row_groups: 0,
            cut_short: 0,
            bytes: 0,
            rows: 0,
        })
    }

    /// How the table wants its files.
    pub(crate) fn settings(&self) -> &ParquetSettings {
        &self.settings
    }

    /// The columns of its files.
    pub(crate) fn parquet_schema(&self) -> &SchemaDescriptor {
        &self.parquet_schema
    }

    /// What manifests are to say of the column with an id.
    pub(crate) fn metrics_mode(&self, id: i32) -> MetricsMode {
        self.entries.mode(id)
    }

    /// The Arrow schema that batches must have.
    pub(crate) fn arrow_schema(&self) -> &SchemaRef {
        &self.arrow_schema
    }

    /// Adds rows, in steps small enough for files and row groups to end near their sizes. `left` tells how large a part of all input, by bytes, comes after them, as (left, all): the last
    /// file takes in a small rest. `room` is what memory has for them.
    pub(crate) async fn write(
        &mut self,
        batch: &RecordBatch,
        left: (u64, u64),
        room: WriterRoom,
    ) -> Result<()> {
        let wanted = self.target.min(self.settings.row_group_bytes) / STEPS;
        let (columns, rows) = (batch.columns(), batch.num_rows());
        for step in steps(columns, rows, wanted, self.most_in_step, SMALLEST_STEP) {
            let part = batch.slice(step.start, step.len());
            self.write_step(&part, left, room).await?;
        }
        Ok(())
    }

    /// Begins a file with `settings` where none is open.
    async fn open_with(&mut self, settings: ParquetSettings) -> Result<()> {
        if self.open.is_none() {
            let path = self.locations.next()?;
            let storage = self
                .storage
                .writer(&path, &self.options)
                .await
                .map_err(|error| from_write(&error))?;
            self.open = Some(Encoder::new(
                path,
                storage,
                Arc::clone(&self.arrow_schema),
                self.parquet_schema.root_schema_ptr(),
                settings,
                self.entries.bounds(&self.parquet_schema),
            )?);
        }
        Ok(())
    }

    /// Bytes of the row groups in the open file.
    pub(crate) fn open_bytes(&self) -> u64 {
        self.open.as_ref().map_or(0, Encoder::finished_bytes)
    }

    /// Writes a row group of `rows` rows whose column chunks are made already; returns how they came about. The bytes of one that is
    /// copied, so many, are left out: they are to come next, by [`Output::copy`].
    pub(crate) async fn append_row_group<E: From<RewriteFailure>>(
        &mut self,
        rows: u64,
        chunks: impl Stream<Item = std::result::Result<MergedChunk, E>> + Unpin,
        left_out: u64,
    ) -> std::result::Result<Ways, E> {
        let settings = self.settings.clone();
        self.open_with(settings).await?;
        let Some(encoder) = &mut self.open else {
            return Err(unsupported("no file is open").into());
        };
        let seen = encoder.append_row_group(rows, chunks, left_out).await?;
        let mut ways = Ways::default();
        for (leaf, seen) in seen.into_iter().enumerate() {
            let column = self.parquet_schema.column(leaf);
            let id = column.self_type().get_basic_info().id();
            self.nans.count(id, seen.nans);
            ways.add(seen.ways);
        }
        self.rows += rows;
        Ok(ways)
    }

    /// Has the storage copy the bytes that were left out from another file.
    pub(crate) async fn copy(
        &mut self,
        path: &str,
        span: Range<u64>,
    ) -> std::result::Result<(), StorageError> {
        match &mut self.open {
            Some(encoder) => encoder.copy(&*self.storage, path, span).await,
            None => Ok(()),
        }
    }

    async fn write_step(
        &mut self,
        batch: &RecordBatch,
        left: (u64, u64),
        room: WriterRoom,
    ) -> Result<()> {
        let settings = self.settings.with_dictionary(room);
        self.nans.add(batch.columns());
        self.open_with(settings).await?;
        let Some(encoder) = &mut self.open else {
            return Ok(());
        };
        encoder.write(batch, room.row_group).await?;
        self.rows += batch.num_rows() as u64;
        let (finished, open) = (encoder.finished_bytes(), encoder.open_bytes());
        let bytes = finished + (open as f64 * self.compression) as u64;
        if bytes < self.target || self.rest_fits(bytes, left) {
            return Ok(());
        }
        // How large the open row group really is shows once it is ended. Only the first file can be caught out: from
        // then on the estimate knows.
        let Some(encoder) = &mut self.open else {
            return Ok(());
        };
        encoder.end_row_group().await?;
        let ended = encoder.finished_bytes() - finished;
        self.compression = (ended as f64 / open.max(1) as f64).clamp(0.01, 2.0);
        if encoder.finished_bytes() >= self.target / 10 * 9 {
            self.roll().await?;
        }
        Ok(())
    }

    /// Whether what is still to come is so little that the open file should take it in.
    fn rest_fits(&self, open: u64, (left, all): (u64, u64)) -> bool {
        let done = u128::from(all.saturating_sub(left).max(1));
        let written = u128::from(self.bytes + open);
        let rest = written * u128::from(left) / done;
        let allowed = self.target + self.target / LEFT_OVER_DIVISOR;
        u128::from(open) + rest <= u128::from(allowed)
    }

    /// Ends the open file, if there is one.
    pub(crate) async fn roll(&mut self) -> Result<()> {
        let Some(encoder) = self.open.take() else {
            return Ok(());
        };
        let rows = encoder.rows();
        let file = encoder.finish().await?;
        let footer_rows = file.metadata.file_metadata().num_rows().unsigned_abs();
        if footer_rows != rows {
            return Err(unsupported(format!(
                "{} was written with {footer_rows} rows instead of {rows}",
                file.path
            )));
        }
        self.row_groups += file.metadata.num_row_groups() as u64;
        self.cut_short += file.cut_short;
        self.bytes += file.size;
        self.finished
            .push(self.entries.entry(&file, rows, &self.nans)?);
        self.nans.clear();
        Ok(())
    }

    /// Ends the last file.
    pub(crate) async fn finish(mut self) -> Result<Written> {
        self.roll().await?;
        Ok(Written {
            files: self.finished,
            row_groups: self.row_groups,
            cut_short: self.cut_short,
            bytes: self.bytes,
            rows: self.rows,
        })
    }

    /// Takes back the file that is open.
    pub(crate) async fn abort(self) {
        if let Some(encoder) = self.open {
            encoder.abort().await;
        }
    }
}
