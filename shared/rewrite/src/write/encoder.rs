//! One output file: batches in, encoded columns of the open row group in memory, finished row groups to storage.
//!
//! Works column by column below Parquet's own `ArrowWriter`, so that a finished row group goes to storage one column at
//! a time instead of being held twice.

use std::{
    collections::VecDeque,
    io::{self, Write},
    ops::Range,
    sync::{Arc, Mutex, PoisonError},
};

use arrow_array::{ArrayRef, RecordBatch};
use arrow_schema::{Field, SchemaRef};
use bytes::{Bytes, BytesMut};
use futures::{Stream, StreamExt as _};
use icepress_model::RewriteFailure;
use icepress_storage::{ObjectWriter, Storage, StorageError};
use parquet::{
    arrow::arrow_writer::{ArrowColumnWriter, ArrowRowGroupWriterFactory, compute_leaves},
    errors::ParquetError,
    file::{metadata::ParquetMetaData, writer::SerializedFileWriter},
    schema::types::TypePtr,
};

use super::{bounds::Bounds, properties::ParquetSettings, statistics::shorten};
use crate::{
    failure::{Result, from_write, unsupported},
    memory::COLUMN,
    merge::{MergedChunk, SeenPages},
};

/// What is handed to storage at once.
const CHUNK: usize = 1 << 20;

/// The place where encoded bytes wait for storage.
#[derive(Debug, Clone, Default)]
struct Sink(Arc<Mutex<Waiting>>);

#[derive(Debug, Default)]
struct Waiting {
    full: Vec<Bytes>,
    open: BytesMut,
    /// Bytes that came.
    position: u64,
    /// Where of the file only as many bytes come as it has there, which are no part of it, in order.
    left_out: VecDeque<Range<u64>>,
}

impl Waiting {
    fn take_in(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let next = self.left_out.front();
            let (is_left_out, until) = match next {
                Some(next) if next.start <= self.position => (true, next.end),
                Some(next) => (false, next.start),
                None => (false, u64::MAX),
            };
            let count = usize::try_from(until - self.position).unwrap_or(usize::MAX);
            let (now, later) = bytes.split_at(count.min(bytes.len()));
            self.position += now.len() as u64;
            if !is_left_out {
                self.open.extend_from_slice(now);
            } else if self.position == until {
                self.left_out.pop_front();
            }
            bytes = later;
        }
    }
}

impl Sink {
    fn with<T>(&self, act: impl FnOnce(&mut Waiting) -> T) -> T {
        act(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn take_full(&self) -> Vec<Bytes> {
        self.with(|waiting| std::mem::take(&mut waiting.full))
    }

    fn take_all(&self) -> Vec<Bytes> {
        self.with(|waiting| {
            let mut all = std::mem::take(&mut waiting.full);
            let rest = waiting.open.split().freeze();
            if !rest.is_empty() {
                all.push(rest);
            }
            all
        })
    }
}

impl Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.with(|waiting| {
            waiting.take_in(bytes);
            if waiting.open.len() >= CHUNK {
                let full = waiting.open.split().freeze();
                waiting.full.push(full);
            }
        });
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A file being written.
pub(crate) struct Encoder {
    path: String,
    schema: SchemaRef,
    settings: ParquetSettings,
    file: SerializedFileWriter<Sink>,
    factory: ArrowRowGroupWriterFactory,
    sink: Sink,
    storage: Box<dyn ObjectWriter>,
    columns: Vec<ArrowColumnWriter>,
    /// The bounds of each leaf over the row groups that are finished, where it gets some.
    bounds: Vec<Option<Bounds>>,
    /// Rows in the open row group.
    open_rows: u64,
    rows: u64,
    /// Row groups that were ended because memory was.
    cut_short: u64,
}

/// A file that is in storage.
#[derive(Debug)]
pub(crate) struct Encoded {
    /// Its location.
    pub(crate) path: String,
    /// Its size as storage has it.
    pub(crate) size: u64,
    /// Its footer.
    pub(crate) metadata: ParquetMetaData,
    /// The bounds of each leaf that gets some.
    pub(crate) bounds: Vec<Option<Bounds>>,
    /// Row groups that ended before their size because memory did.
    pub(crate) cut_short: u64,
}

impl Encoder {
    /// Begins a file; `bounds` has a place for each leaf.
    pub(crate) fn new(
        path: String,
        storage: Box<dyn ObjectWriter>,
        schema: SchemaRef,
        parquet_schema: TypePtr,
        settings: ParquetSettings,
        bounds: Vec<Option<Bounds>>,
    ) -> Result<Self> {
        let sink = Sink::default();
        let file =
            SerializedFileWriter::new(sink.clone(), parquet_schema, Arc::clone(&settings.writer))
                .map_err(|error| encode_error(&path, &error))?;
        let factory = ArrowRowGroupWriterFactory::new(&file, Arc::clone(&schema));
        Ok(Self {
            path,
            schema,
            settings,
            file,
            factory,
            sink,
            storage,
            columns: Vec::new(),
            bounds,
            open_rows: 0,
            rows: 0,
            cut_short: 0,
        })
    }

    /// Bytes of the finished row groups.
    pub(crate) fn finished_bytes(&self) -> u64 {
        self.file.bytes_written() as u64
    }

    /// Rows so far.
    pub(crate) fn rows(&self) -> u64 {
        self.rows
    }

    /// At most what the open row group will take: its open pages count before compression.
    pub(crate) fn open_bytes(&self) -> u64 {
        self.columns
            .iter()
            .map(|column| column.get_estimated_total_bytes() as u64)
            .sum()
    }

    fn held_bytes(&self) -> u64 {
        self.columns
            .iter()
            .map(|column| column.memory_size() as u64 + COLUMN)
            .sum()
    }

    /// Adds rows; ends the row group where it has grown to its size, or early where it takes `most_held` bytes of memory.
    pub(crate) async fn write(&mut self, batch: &RecordBatch, most_held: u64) -> Result<()> {
        let mut start = 0;
        while start < batch.num_rows() {
            let room = self.settings.row_group_rows - self.open_rows;
            let left = batch.num_rows() - start;
            let rows = usize::try_from(room).map_or(left, |room| room.min(left));
            if rows == batch.num_rows() {
                self.encode(batch)?;
            } else {
                self.encode(&batch.slice(start, rows))?;
            }
            start += rows;
            let full = self.open_rows >= self.settings.row_group_rows
                || self.open_bytes() >= self.settings.row_group_bytes;
            if full {
                self.end_row_group().await?;
            } else if self.held_bytes() >= most_held {
                self.cut_short += 1;
                self.end_row_group().await?;
            }
        }
        Ok(())
    }

    fn encode(&mut self, batch: &RecordBatch) -> Result<()> {
        let failed = |error| encode_error(&self.path, &error);
        if self.columns.is_empty() {
            let index = self.file.flushed_row_groups().len();
            self.columns = self.factory.create_column_writers(index).map_err(failed)?;
        }
        let mut columns = self.columns.iter_mut();
        for (field, array) in self.schema.fields().iter().zip(batch.columns()) {
            encode_column(field, array, &mut columns).map_err(failed)?;
        }
        self.open_rows += batch.num_rows() as u64;
        self.rows += batch.num_rows() as u64;
        Ok(())
    }

    /// Writes a row group whose column chunks are made already, one after the other, each as it comes; returns what was seen
    /// of each. The bytes of one that is copied, `left_out`, are not written.
    pub(crate) async fn append_row_group<E: From<RewriteFailure>>(
        &mut self,
        rows: u64,
        mut chunks: impl Stream<Item = std::result::Result<MergedChunk, E>> + Unpin,
        left_out: u64,
    ) -> std::result::Result<Vec<SeenPages>, E> {
        self.end_row_group().await?;
        if left_out > 0 {
            let start = self.finished_bytes();
            let span = start..start + left_out;
            // Some of what came before may still be on its way here.
            self.sink.with(|waiting| waiting.left_out.push_back(span));
        }
        let failed = |error| encode_error(&self.path, &error);
        let mut row_group = self.file.next_row_group().map_err(failed)?;
        let mut seen = Vec::with_capacity(self.bounds.len());
        for bounds in &mut self.bounds {
            let Some(chunk) = chunks.next().await else {
                return Err(unsupported("a row group lacks a column").into());
            };
            let mut chunk = chunk?;
            seen.push(chunk.seen);
            if let Some(bounds) = bounds {
                bounds.add_chunk(&chunk.close_mut().metadata);
            }
            shorten(chunk.close_mut()).map_err(failed)?;
            chunk.append_to(&mut row_group).map_err(failed)?;
            send(self.storage.as_mut(), self.sink.take_full()).await?;
        }
        row_group.close().map_err(failed)?;
        self.rows += rows;
        send(self.storage.as_mut(), self.sink.take_full()).await?;
        Ok(seen)
    }

    /// Has `storage` copy the bytes of the row group that was written last, which were left out, from another file.
    pub(crate) async fn copy(
        &mut self,
        storage: &dyn Storage,
        path: &str,
        mut span: Range<u64>,
    ) -> std::result::Result<(), StorageError> {
        for chunk in self.sink.take_all() {
            self.storage.write(chunk).await?;
        }
        let lead = self.storage.lead(span.end - span.start);
        if lead > 0 {
            let content = storage.read_range(path, span.start..span.start + lead);
            self.storage.write(content.await?).await?;
            span.start += lead;
        }
        match span.is_empty() {
            true => Ok(()),
            false => self.storage.copy(path, span).await,
        }
    }

    /// Ends the open row group and hands it to storage.
    pub(crate) async fn end_row_group(&mut self) -> Result<()> {
        if self.open_rows == 0 {
            return Ok(());
        }
        let failed = |error| encode_error(&self.path, &error);
        let columns = std::mem::take(&mut self.columns);
        self.open_rows = 0;
        let mut row_group = self.file.next_row_group().map_err(failed)?;
        for (column, bounds) in columns.into_iter().zip(&mut self.bounds) {
            let mut chunk = column.close().map_err(failed)?;
            if let Some(bounds) = bounds {
                bounds.add_chunk(&chunk.close().metadata);
            }
            shorten(chunk.close_mut()).map_err(failed)?;
            chunk.append_to_row_group(&mut row_group).map_err(failed)?;
            send(self.storage.as_mut(), self.sink.take_full()).await?;
        }
        row_group.close().map_err(failed)?;
        send(self.storage.as_mut(), self.sink.take_full()).await
    }

    /// Ends the file. What could not be finished is taken back.
    pub(crate) async fn finish(mut self) -> Result<Encoded> {
        let ended = match self.end_row_group().await {
            Ok(()) => self
                .file
                .finish()
                .map_err(|error| encode_error(&self.path, &error)),
            Err(failure) => Err(failure),
        };
        let sent = match ended {
            Ok(metadata) => send(self.storage.as_mut(), self.sink.take_all())
                .await
                .map(|()| metadata),
            Err(failure) => Err(failure),
        };
        let metadata = match sent {
            Ok(metadata) => metadata,
            Err(failure) => {
                abort(&self.path, self.storage).await;
                return Err(failure);
            }
        };
        let written = self.file.bytes_written() as u64;
        let size = match self.storage.finish().await {
            Ok(size) => size.get(),
            Err(error) => {
                abort(&self.path, self.storage).await;
                return Err(from_write(&error));
            }
        };
        if size != written {
            return Err(icepress_model::RewriteFailure {
                kind: icepress_model::RewriteFailureKind::Transient,
                message: format!(
                    "{} has {size} bytes where {written} were written",
                    self.path
                ),
            });
        }
        Ok(Encoded {
            path: self.path,
            size,
            metadata,
            bounds: self.bounds,
            cut_short: self.cut_short,
        })
    }

    /// Takes back what was written.
    pub(crate) async fn abort(self) {
        abort(&self.path, self.storage).await;
    }
}

/// Encodes a column, which may have several leaves.
fn encode_column<'a>(
    field: &Field,
    array: &ArrayRef,
    writers: &mut impl Iterator<Item = &'a mut ArrowColumnWriter>,
) -> std::result::Result<(), ParquetError> {
    for leaf in compute_leaves(field, array)? {
        let writer = writers
            .next()
            .ok_or_else(|| ParquetError::General("a column has no writer".to_owned()))?;
        writer.write(&leaf)?;
    }
    Ok(())
}

async fn send(storage: &mut dyn ObjectWriter, chunks: Vec<Bytes>) -> Result<()> {
    for chunk in chunks {
        storage
            .write(chunk)
            .await
            .map_err(|error| from_write(&error))?;
    }
    Ok(())
}

async fn abort(path: &str, storage: Box<dyn ObjectWriter>) {
    if let Err(error) = storage.abort().await {
        tracing::warn!(path, %error, "an unfinished file could not be taken back");
    }
}

fn encode_error(path: &str, error: &ParquetError) -> icepress_model::RewriteFailure {
    unsupported(format!("{path} could not be encoded: {error}"))
}
