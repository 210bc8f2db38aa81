//! Opening a Parquet file: its footer, what of it to read, and its shape checked against what the manifest says.

use std::{ops::Range, sync::Arc};

use arrow_schema::Schema;
use bytes::Bytes;
use icepress_storage::Storage;
use parquet::{
    arrow::{
        ProjectionMask,
        arrow_reader::{ArrowReaderMetadata, ArrowReaderOptions},
    },
    file::metadata::{ColumnChunkMetaData, FooterTail, ParquetMetaData, ParquetMetaDataReader},
};

use super::Reading;
use crate::{
    failure::{Result, corrupt, from_decode, from_read, guarded, unsupported},
    project::Projection,
};

/// How much of a larger file's end is read first: most footers lie in it.
const TAIL: u64 = 64 << 10;
/// The footer's end: its length and the magic number.
const FOOTER_END: usize = 8;

/// A file to read, as its manifest has it.
#[derive(Debug, Clone)]
pub(crate) struct SourceFile {
    /// Its location.
    pub(crate) path: String,
    /// Its size in bytes.
    pub(crate) size: u64,
    /// Its rows.
    pub(crate) rows: u64,
}

/// A file whose footer was read.
#[derive(Debug)]
pub(crate) struct OpenFile {
    pub(crate) path: String,
    pub(crate) size: u64,
    pub(crate) reader: ArrowReaderMetadata,
    pub(crate) projection: Projection,
    /// The position in the file of each row group's first row.
    pub(crate) row_starts: Vec<u64>,
}

impl OpenFile {
    pub(crate) fn metadata(&self) -> &ParquetMetaData {
        self.reader.metadata()
    }

    pub(crate) fn mask(&self) -> ProjectionMask {
        ProjectionMask::leaves(
            self.reader.parquet_schema(),
            self.projection.leaves.iter().copied(),
        )
    }

    /// Where the columns to read of a row group lie in the file.
    pub(crate) fn ranges(&self, row_group: usize) -> Result<Vec<Range<u64>>> {
        let group = self.metadata().row_group(row_group);
        guarded(&self.path, || {
            self.projection
                .leaves
                .iter()
                .map(|leaf| {
                    let (start, length) = group.column(*leaf).byte_range();
                    let end = start.saturating_add(length);
                    if end > self.size {
                        return Err(corrupt(&self.path, "a column lies beyond the file's end"));
                    }
                    Ok(start..end)
                })
                .collect()
        })
    }
}

/// Reads the footer of a file, or all of it where `whole` says so.
pub(crate) async fn open(
    reading: &Reading,
    file: &SourceFile,
    whole: bool,
) -> Result<(OpenFile, Option<Bytes>)> {
    let storage = reading.storage.as_ref();
    let (metadata, whole) = if whole {
        let content = storage
            .read(&file.path)
            .await
            .map_err(|error| from_read(&error, &file.path))?;
        check_size(file, content.len())?;
        let metadata = footer_of(file, &content)?;
        (metadata, Some(content))
    } else {
        (footer(storage, file).await?, None)
    };
    let opened = guarded(&file.path, || shape(reading, file, metadata))?;
    Ok((opened, whole))
}

fn check_size(file: &SourceFile, length: usize) -> Result<()> {
    if length as u64 == file.size {
        return Ok(());
    }
    Err(corrupt(
        &file.path,
        format_args!("it has {length} bytes, and the manifest says {}", file.size),
    ))
}

async fn footer(storage: &dyn Storage, file: &SourceFile) -> Result<ParquetMetaData> {
    let read = async |range: Range<u64>| {
        storage
            .read_range(&file.path, range)
            .await
            .map_err(|error| from_read(&error, &file.path))
    };
    let tail = read(file.size.saturating_sub(TAIL)..file.size).await?;
    let length = footer_length(file, &tail)?;
    if length <= tail.len() {
        return footer_of(file, &tail);
    }
    let longer = read(file.size - length as u64..file.size).await?;
    footer_of(file, &longer)
}

/// How many bytes at the end of the file are its footer.
fn footer_length(file: &SourceFile, tail: &[u8]) -> Result<usize> {
    let Some(end) = tail.last_chunk::<FOOTER_END>() else {
        return Err(corrupt(&file.path, "it is too short to be Parquet"));
    };
    let decoded = FooterTail::try_new(end).map_err(|_| {
        if let Some(format) = other_format(&file.path) {
            return unsupported(format!("{} is {format}: only Parquet is read", file.path));
        }
        corrupt(
            &file.path,
            "it does not end as a Parquet file does (truncated, or not Parquet at all)",
        )
    })?;
    if decoded.is_encrypted_footer() {
        return Err(unsupported(format!(
            "{} is encrypted: encrypted files are not rewritten",
            file.path
        )));
    }
    let length = decoded.metadata_length().saturating_add(FOOTER_END);
    if length as u64 > file.size {
        return Err(corrupt(
            &file.path,
            "its footer claims to be larger than the file",
        ));
    }
    Ok(length)
}

/// What a file is by its name, if that is something else than Parquet.
fn other_format(path: &str) -> Option<&'static str> {
    [(".avro", "Avro"), (".orc", "ORC")]
        .into_iter()
        .find_map(|(ending, format)| path.ends_with(ending).then_some(format))
}

/// The footer at the end of `tail`, which must hold all of it.
fn footer_of(file: &SourceFile, tail: &[u8]) -> Result<ParquetMetaData> {
    let length = footer_length(file, tail)?;
    let footer = tail
        .len()
        .checked_sub(length)
        .and_then(|start| tail.get(start..tail.len() - FOOTER_END))
        .ok_or_else(|| corrupt(&file.path, "its footer is cut off"))?;
    guarded(&file.path, || {
        ParquetMetaDataReader::decode_metadata(footer)
            .and_then(mend_dictionary_offsets)
            .map_err(|error| from_decode(&error, &file.path))
    })
}

/// Where a column begins according to Parquet's own Java reader: at its dictionary page only if that lies before the
/// first data page. Old writers left a 0 there, or something else that means nothing.
fn mend_dictionary_offsets(metadata: ParquetMetaData) -> parquet::errors::Result<ParquetMetaData> {
    let is_odd = |column: &ColumnChunkMetaData| {
        column
            .dictionary_page_offset()
            .is_some_and(|dictionary| dictionary <= 0 || dictionary >= column.data_page_offset())
    };
    let groups = metadata.row_groups();
    if !groups
        .iter()
        .any(|group| group.columns().iter().any(is_odd))
    {
        return Ok(metadata);
    }
    let mended = groups
        .iter()
        .map(|group| {
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
                .collect::<parquet::errors::Result<_>>()?;
            group
                .clone()
                .into_builder()
                .set_column_metadata(columns)
                .build()
        })
        .collect::<parquet::errors::Result<_>>()?;
    Ok(metadata.into_builder().set_row_groups(mended).build())
}

fn shape(reading: &Reading, file: &SourceFile, metadata: ParquetMetaData) -> Result<OpenFile> {
    let decode_error = |error| from_decode(&error, &file.path);
    let metadata = Arc::new(metadata);
    let mut row_starts = Vec::with_capacity(metadata.num_row_groups());
    let mut rows = 0u64;
    for group in metadata.row_groups() {
        row_starts.push(rows);
        let count = u64::try_from(group.num_rows())
            .map_err(|_| corrupt(&file.path, "a row group has a negative number of rows"))?;
        rows = rows.saturating_add(count);
    }
    if rows != file.rows {
        return Err(corrupt(
            &file.path,
            format_args!("it has {rows} rows, and the manifest says {}", file.rows),
        ));
    }
    let options = ArrowReaderOptions::new().with_skip_arrow_metadata(true);
    let derived =
        ArrowReaderMetadata::try_new(Arc::clone(&metadata), options).map_err(decode_error)?;
    let projection = Projection::new(
        &file.path,
        derived.schema().fields(),
        metadata.file_metadata().schema_descr(),
        &reading.wanted,
    )?;
    let reader = match &projection.hints {
        None => derived,
        Some(fields) => {
            let schema =
                Schema::new_with_metadata(fields.clone(), derived.schema().metadata().clone());
            let options = ArrowReaderOptions::new().with_schema(Arc::new(schema));
            ArrowReaderMetadata::try_new(metadata, options).map_err(decode_error)?
        }
    };
    Ok(OpenFile {
        path: file.path.clone(),
        size: file.size,
        reader,
        projection,
        row_starts,
    })
}
