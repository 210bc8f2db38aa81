//! Files as parquet-mr writes them, which is what Iceberg Java, Spark, Flink and Trino's predecessors leave.
//!
//! arrow-rs and parquet-mr agree on much: data pages of version 1, ended at a size or at 20,000 rows; a dictionary until it is
//! full, then plain pages in the same chunk. They differ in this, which is added here: parquet-mr gives up a dictionary
//! that saves nothing on the first page (`FallbackValuesWriter`, `DictionaryValuesWriter.isCompressionSatisfying`), calls
//! dictionary and indices `PLAIN_DICTIONARY`, gives pages checksums, and has no Arrow schema in its footer.

use std::sync::Arc;

use anyhow::{Context as _, Result};
use arrow_array::RecordBatch;
use bytes::Bytes;
use parquet::{
    arrow::{ArrowWriter, arrow_writer::ArrowWriterOptions},
    basic::{Compression, ZstdLevel},
    file::{
        metadata::KeyValue,
        properties::{WriterProperties, WriterPropertiesBuilder},
        reader::{FileReader as _, SerializedFileReader},
    },
    schema::types::ColumnPath,
};

use crate::{
    parts::{PageKind, ParquetParts, encoding},
    thrift::Value,
};

/// Uncompressed bytes of a data page (`parquet.page.size`).
pub const MR_PAGE_BYTES: usize = 1 << 20;
/// Rows of a data page (`parquet.page.row.count.limit`).
pub const MR_PAGE_ROWS: usize = 20_000;
/// Bytes of a dictionary (`parquet.dictionary.page.size`).
pub const MR_DICTIONARY_BYTES: usize = 1 << 20;
const CREATED_BY: &str =
    "parquet-mr version 1.16.0 (build 5ed6eb2ad2f1a3b3a3a0a0a6d6f0a3d1f0e1c2b3)";

/// What a writer is told.
#[derive(Debug, Clone)]
pub struct MrSettings {
    /// Bytes of a row group, before compression (`parquet.block.size`).
    pub row_group_bytes: usize,
    /// The table's schema as JSON, which Iceberg puts into footers.
    pub iceberg_schema: Option<String>,
}

impl Default for MrSettings {
    fn default() -> Self {
        Self {
            row_group_bytes: 128 << 20,
            iceberg_schema: None,
        }
    }
}

/// A file with the rows of `batches`, which must have the same schema with field ids. Fails without a batch.
pub fn write_like_parquet_mr(
    batches: impl IntoIterator<Item = Result<RecordBatch>>,
    settings: &MrSettings,
) -> Result<Vec<u8>> {
    let mut batches = batches.into_iter();
    let first = batches.next().context("there is no batch")??;
    let mut builder = properties(settings.row_group_bytes);
    for column in useless_dictionaries(&first)? {
        builder = builder.set_column_dictionary_enabled(column, false);
    }
    if let Some(schema) = &settings.iceberg_schema {
        let entry = KeyValue::new("iceberg.schema".to_owned(), schema.clone());
        builder = builder.set_key_value_metadata(Some(vec![entry]));
    }
    let mut file = written(&first, builder)?;
    for batch in batches {
        file.write(&batch?)?;
    }
    let mut parts = ParquetParts::of(&file.into_inner()?)?;
    parts.set_created_by(CREATED_BY);
    dress(&mut parts)?;
    parts.to_bytes()
}

fn properties(row_group_bytes: usize) -> WriterPropertiesBuilder {
    // Every level is known to be valid but to the compiler.
    let zstd = ZstdLevel::try_new(3).unwrap_or_default();
    WriterProperties::builder()
        .set_compression(Compression::ZSTD(zstd))
        .set_data_page_size_limit(MR_PAGE_BYTES)
        .set_data_page_row_count_limit(MR_PAGE_ROWS)
        // Looked at so often that pages end at the limit.
        .set_write_batch_size(MR_PAGE_ROWS / 20)
        .set_dictionary_page_size_limit(MR_DICTIONARY_BYTES)
        .set_max_row_group_row_count(None)
        .set_max_row_group_bytes(Some(row_group_bytes))
        .set_statistics_truncate_length(None)
}

fn written(batch: &RecordBatch, builder: WriterPropertiesBuilder) -> Result<ArrowWriter<Vec<u8>>> {
    let options = ArrowWriterOptions::new()
        .with_properties(builder.build())
        .with_skip_arrow_metadata(true);
    let mut writer =
        ArrowWriter::try_new_with_options(Vec::new(), Arc::clone(&batch.schema()), options)?;
    writer.write(batch)?;
    Ok(writer)
}

/// The columns whose first page is no smaller by a dictionary, counted with it.
fn useless_dictionaries(first: &RecordBatch) -> Result<Vec<ColumnPath>> {
    let page = first.slice(0, first.num_rows().min(MR_PAGE_ROWS));
    let sizes = |dictionary: bool| -> Result<Vec<(ColumnPath, i64)>> {
        let builder = properties(usize::MAX)
            .set_compression(Compression::UNCOMPRESSED)
            .set_dictionary_page_size_limit(usize::MAX)
            .set_dictionary_enabled(dictionary);
        let bytes = Bytes::from(written(&page, builder)?.into_inner()?);
        let reader = SerializedFileReader::new(bytes)?;
        let columns = reader.metadata().row_group(0).columns().iter();
        Ok(columns
            .map(|column| (column.column_path().clone(), column.uncompressed_size()))
            .collect())
    };
    let (with, without) = (sizes(true)?, sizes(false)?);
    Ok(with
        .into_iter()
        .zip(without)
        .filter(|((_, with), (_, without))| with >= without)
        .map(|((path, _), _)| path)
        .collect())
}

/// Gives pages and footer parquet-mr's names for encodings, and pages their checksums.
fn dress(parts: &mut ParquetParts) -> Result<()> {
    parts.each_chunk(|meta, chunk| {
        for page in &mut chunk.pages {
            let is_index = page.encoding() == Some(encoding::RLE_DICTIONARY);
            if is_index || page.kind() == PageKind::Dictionary {
                page.set_encoding(encoding::PLAIN_DICTIONARY);
            }
            page.add_checksum();
        }
        let has_plain = chunk
            .data_pages()
            .any(|page| page.encoding() == Some(encoding::PLAIN));
        let dictionary = chunk.dictionary().map(|_| encoding::PLAIN_DICTIONARY);
        let plain = has_plain.then_some(encoding::PLAIN);
        let encodings = dictionary.into_iter().chain(plain);
        meta.set(
            2,
            Value::i32s(encodings.chain([encoding::RLE, encoding::BIT_PACKED])),
        );
        for entry in meta.list_mut(13).into_iter().flatten() {
            if let Value::Struct(entry) = entry
                && (entry.int(1) == Some(2)
                    || entry.int(2) == Some(encoding::RLE_DICTIONARY.into()))
            {
                entry.set(2, Value::I32(encoding::PLAIN_DICTIONARY));
            }
        }
        Ok(())
    })
}
