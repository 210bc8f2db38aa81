//! The data files that a position delete file names: its `file_path` column, and nothing else of it.

use std::{collections::HashSet, sync::Arc};

use bytes::{Buf as _, Bytes as Buffer};
use icepress_storage::{Storage, StorageError};
use parquet::{
    column::reader::{ColumnReaderImpl, get_column_reader, get_typed_column_reader},
    data_type::{ByteArray, ByteArrayType},
    errors::ParquetError,
    file::{
        metadata::ColumnChunkMetaData,
        reader::{ChunkReader, Length},
        serialized_reader::SerializedPageReader,
    },
};
use thiserror::Error;

use crate::{
    avro::{AvroError, Container, Field, Layout, Projection, Want},
    footer::{FOOTER_MEMORY, FooterError, read_footer},
    manifests::{FileFormat, TrackedFile},
    reserved_ids::DELETE_FILE_PATH,
};

/// Why the paths in a delete file can't be told.
#[derive(Debug, Error)]
pub(super) enum UnknownPaths {
    #[error(transparent)]
    Storage(#[from] StorageError),
    #[error(transparent)]
    Footer(#[from] FooterError),
    #[error("{0}")]
    Parquet(#[from] ParquetError),
    #[error("{0}")]
    Avro(#[from] AvroError),
    #[error("{0}")]
    Other(String),
}

/// Every path that the position delete file names.
pub(super) async fn named_paths(
    storage: &dyn Storage,
    file: &TrackedFile,
) -> Result<HashSet<String>, UnknownPaths> {
    match file.format {
        FileFormat::Parquet => parquet_paths(storage, file).await,
        FileFormat::Avro => avro_paths(&storage.read(&file.path).await?),
        other => Err(UnknownPaths::Other(format!(
            "delete files of format {} can't be read",
            other.name()
        ))),
    }
}

async fn parquet_paths(
    storage: &dyn Storage,
    file: &TrackedFile,
) -> Result<HashSet<String>, UnknownPaths> {
    let metadata = read_footer(storage, &file.path, file.size, FOOTER_MEMORY).await?;
    let schema = metadata.file_metadata().schema_descr();
    let by_id = |column: usize| {
        let info = schema.column(column).self_type().get_basic_info().clone();
        info.has_id() && info.id() == DELETE_FILE_PATH
    };
    let by_name = |column: usize| schema.column(column).path().string() == "file_path";
    let columns = 0..schema.num_columns();
    let Some(column) = columns
        .clone()
        .find(|c| by_id(*c))
        .or(columns.clone().find(|c| by_name(*c)))
    else {
        return Err(UnknownPaths::Other("it has no column file_path".to_owned()));
    };
    if schema.column(column).physical_type() != parquet::basic::Type::BYTE_ARRAY {
        return Err(UnknownPaths::Other("its file_path is no text".to_owned()));
    }
    let chunks: Vec<&ColumnChunkMetaData> = metadata
        .row_groups()
        .iter()
        .filter(|group| group.num_rows() > 0)
        .map(|group| group.column(column))
        .collect();
    let ranges: Vec<_> = chunks
        .iter()
        .map(|chunk| {
            let (start, length) = chunk.byte_range();
            start..start.saturating_add(length)
        })
        .collect();
    let contents = storage.read_ranges(&file.path, &ranges).await?;
    let mut paths = HashSet::new();
    for ((chunk, range), content) in chunks.into_iter().zip(ranges).zip(contents) {
        let reader = Arc::new(Part {
            start: range.start,
            content,
        });
        chunk_paths(reader, chunk, &mut paths)?;
    }
    Ok(paths)
}

fn chunk_paths(
    reader: Arc<Part>,
    chunk: &ColumnChunkMetaData,
    paths: &mut HashSet<String>,
) -> Result<(), UnknownPaths> {
    let rows = usize::try_from(chunk.num_values())
        .map_err(|_| UnknownPaths::Other("it has a negative number of values".to_owned()))?;
    let pages = SerializedPageReader::new(reader, chunk, rows, None)?;
    let column = get_column_reader(chunk.column_descr_ptr(), Box::new(pages));
    let mut column: ColumnReaderImpl<ByteArrayType> = get_typed_column_reader(column);
    let has_levels = chunk.column_descr().max_def_level() > 0;
    let mut last: Option<ByteArray> = None;
    loop {
        let mut values = Vec::new();
        let mut levels = Vec::new();
        let (records, ..) =
            column.read_records(8192, has_levels.then_some(&mut levels), None, &mut values)?;
        if records == 0 {
            return Ok(());
        }
        // The files are sorted by path: most values repeat the one before.
        for value in values {
            if last.as_ref() != Some(&value) {
                let path = value.as_utf8().map_err(UnknownPaths::Parquet)?;
                if !paths.contains(path) {
                    paths.insert(path.to_owned());
                }
                last = Some(value);
            }
        }
    }
}

/// A part of a file that answers for its own bytes, addressed as in the file.
#[derive(Debug)]
struct Part {
    start: u64,
    content: Buffer,
}

impl Part {
    fn from(&self, start: u64) -> parquet::errors::Result<Buffer> {
        let offset = start
            .checked_sub(self.start)
            .and_then(|offset| usize::try_from(offset).ok())
            .filter(|offset| *offset <= self.content.len());
        match offset {
            Some(offset) => Ok(self.content.slice(offset..)),
            None => Err(ParquetError::EOF(
                "a page lies outside its column".to_owned(),
            )),
        }
    }
}

impl Length for Part {
    fn len(&self) -> u64 {
        self.start + self.content.len() as u64
    }
}

impl ChunkReader for Part {
    type T = bytes::buf::Reader<Buffer>;

    fn get_read(&self, start: u64) -> parquet::errors::Result<Self::T> {
        Ok(self.from(start)?.reader())
    }

    fn get_bytes(&self, start: u64, length: usize) -> parquet::errors::Result<Buffer> {
        let content = self.from(start)?;
        if content.len() < length {
            return Err(ParquetError::EOF(
                "a page reaches over its column".to_owned(),
            ));
        }
        Ok(content.slice(..length))
    }
}

fn avro_paths(content: &[u8]) -> Result<HashSet<String>, UnknownPaths> {
    let container = Container::open(content)?;
    let is_path = |field: &Field| {
        field.id == Some(DELETE_FILE_PATH) || (field.id.is_none() && field.name == "file_path")
    };
    let projection = Projection::new(
        container.schema(),
        "delete",
        &|field| match is_path(field) {
            true => Want::Take((), Layout::Bytes),
            false => Want::Nothing,
        },
    )?;
    let mut paths = HashSet::new();
    container.for_each(|cursor| {
        let mut named = None;
        projection.read(cursor, |(), _, cursor| {
            named = Some(cursor.string()?);
            Ok(())
        })?;
        let path = named.ok_or_else(|| AvroError::corrupt("a delete names no file"))?;
        if !paths.contains(path) {
            paths.insert(path.to_owned());
        }
        Ok(())
    })?;
    Ok(paths)
}
