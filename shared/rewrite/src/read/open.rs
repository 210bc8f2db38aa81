//! Opening a Parquet file: its footer, what of it to read, and its shape checked against what the manifest says.

use std::{ops::Range, sync::Arc};

use arrow_schema::Schema;
use bytes::Bytes;
use icepress_table::footer::{FooterError, footer_of, read_footer, row_count};
use parquet::{
    arrow::{
        ProjectionMask,
        arrow_reader::{ArrowReaderMetadata, ArrowReaderOptions},
    },
    file::metadata::ParquetMetaData,
};

use super::Reading;
use crate::{
    failure::{Result, corrupt, differs, from_decode, from_footer, from_read, guarded},
    project::{Projection, Wanted},
};

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
    /// The row groups that have rows. One without any has no pages, and begins where it likes.
    pub(crate) row_groups: Vec<usize>,
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

    /// The same file, of which only what is `wanted` is read.
    pub(crate) fn only(&self, wanted: &Wanted) -> Result<Self> {
        let projection = guarded(&self.path, || {
            Projection::new(
                &self.path,
                self.reader.schema().fields(),
                self.metadata().file_metadata().schema_descr(),
                wanted,
            )
        })?;
        Ok(Self {
            path: self.path.clone(),
            size: self.size,
            reader: self.reader.clone(),
            projection,
            row_starts: self.row_starts.clone(),
            row_groups: self.row_groups.clone(),
        })
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

/// Reads the footer of a file, or all of it where `whole` says so. The footer may take `most` bytes once decoded.
pub(crate) async fn open(
    reading: &Reading,
    file: &SourceFile,
    whole: bool,
    most: u64,
) -> Result<(OpenFile, Option<Bytes>)> {
    let storage = reading.storage.as_ref();
    let most = icepress_model::Bytes(most);
    let in_path = |error: FooterError| from_footer(&error, &file.path);
    let (metadata, whole) = if whole {
        let content = storage
            .read(&file.path)
            .await
            .map_err(|error| from_read(&error, &file.path))?;
        let metadata = footer_of(&content, file.size, most).map_err(in_path)?;
        (metadata, Some(content))
    } else {
        let footer = read_footer(storage, &file.path, file.size, most);
        (footer.await.map_err(in_path)?, None)
    };
    let opened = guarded(&file.path, || shape(reading, file, metadata))?;
    Ok((opened, whole))
}

fn shape(reading: &Reading, file: &SourceFile, metadata: ParquetMetaData) -> Result<OpenFile> {
    let decode_error = |error| from_decode(&error, &file.path);
    let metadata = Arc::new(metadata);
    let rows = row_count(&metadata);
    if rows != file.rows {
        return Err(differs(
            &file.path,
            format_args!("it has {rows} rows, and the manifest says {}", file.rows),
        ));
    }
    let mut row_starts = Vec::with_capacity(metadata.num_row_groups());
    let mut row_groups = Vec::with_capacity(metadata.num_row_groups());
    let mut start = 0;
    for (index, group) in metadata.row_groups().iter().enumerate() {
        row_starts.push(start);
        if group.num_rows() > 0 {
            row_groups.push(index);
        }
        start += group.num_rows().unsigned_abs();
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
        row_groups,
    })
}
