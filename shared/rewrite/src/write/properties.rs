//! How a table wants its Parquet written: `write.parquet.*`, with the defaults of Iceberg's Java writer.

use std::{collections::HashMap, fmt::Display, str::FromStr, sync::Arc};

use iceberg::spec::Schema;
use icepress_catalog::metadata::schema_to_json;
use icepress_table::reserved_ids::ROW_ID;
use parquet::{
    basic::{BrotliLevel, Compression, Encoding, GzipLevel, ZstdLevel},
    file::{
        metadata::KeyValue,
        properties::{EnabledStatistics, WriterProperties, WriterPropertiesPtr},
    },
    schema::types::{ColumnPath, SchemaDescriptor},
};

use super::WriterRoom;
use crate::failure::{Result, unsupported};

const ROW_GROUP_BYTES: u64 = 128 << 20;
const PAGE_BYTES: usize = 1 << 20;
const PAGE_ROWS: usize = 20_000;
const DICTIONARY_BYTES: usize = 2 << 20;
const UNITED_DICTIONARY_BYTES: usize = 8 << 20;
const DICTIONARY_KEY: &str = "write.parquet.dict-size-bytes";
const BLOOM_BYTES: u64 = 1 << 20;
const BLOOM_FALSE_POSITIVES: f64 = 0.01;
/// What Java's writer uses as well. Level 1 needs a quarter less CPU and leaves 1.4 % more bytes (event columns):
/// stored for more than about three weeks, those cost more than the CPU did.
const ZSTD_LEVEL: i32 = 3;

/// A table's `write.parquet.*`.
#[derive(Debug, Clone)]
pub(crate) struct ParquetSettings {
    /// Encoded bytes of a row group.
    pub(crate) row_group_bytes: u64,
    /// Rows of a row group at most.
    pub(crate) row_group_rows: u64,
    /// For the Parquet writer.
    pub(crate) writer: WriterPropertiesPtr,
    /// Whether the table says how large dictionaries may be.
    dictionary_is_set: bool,
}

impl ParquetSettings {
    /// Bytes that a dictionary may have which unites those of many inputs. More than one that is built from rows: it costs
    /// next to nothing, and readers less than values that are written out.
    pub(crate) fn united_dictionary_bytes(&self) -> usize {
        let set = self.writer.dictionary_page_size_limit();
        if self.dictionary_is_set {
            set
        } else {
            set.max(UNITED_DICTIONARY_BYTES)
        }
    }

    /// The same with room for dictionaries like those that the rows come from: long values that rows share would each be
    /// written out once for every row else. What the table says itself stands.
    pub(crate) fn with_dictionary(&self, room: WriterRoom) -> Self {
        let mut settings = self.clone();
        let usual = DICTIONARY_BYTES as u64;
        if !self.dictionary_is_set && room.dictionary > usual + usual / 4 {
            let limit = (room.dictionary + room.dictionary / 4)
                .min(room.row_group / 2)
                .max(usual);
            let limit = usize::try_from(limit).unwrap_or(DICTIONARY_BYTES);
            let writer = WriterProperties::clone(&self.writer).into_builder();
            settings.writer = Arc::new(writer.set_dictionary_page_size_limit(limit).build());
        }
        settings
    }
}

/// Reads `properties` of a table for files of `schema`, whose Parquet form is `columns`.
pub(crate) fn parquet_settings(
    properties: &HashMap<String, String>,
    schema: &Schema,
    columns: &SchemaDescriptor,
) -> Result<ParquetSettings> {
    let positive = |key: &str, default: u64| -> Result<u64> {
        let value = parsed::<u64>(properties, key)?.unwrap_or(default);
        if value == 0 {
            return Err(unsupported(format!(
                "the table property {key} must not be 0"
            )));
        }
        Ok(value)
    };
    let size = |key: &str, default: usize| -> Result<usize> {
        Ok(usize::try_from(positive(key, default as u64)?).unwrap_or(usize::MAX))
    };
    let iceberg_schema = schema_to_json(schema)
        .map(|json| json.to_string())
        .map_err(|error| unsupported(format!("the schema can't be written as JSON: {error}")))?;
    let mut builder = WriterProperties::builder()
        .set_created_by(concat!("icepress version ", env!("CARGO_PKG_VERSION")).to_owned())
        .set_compression(compression(properties)?)
        .set_data_page_size_limit(size("write.parquet.page-size-bytes", PAGE_BYTES)?)
        .set_data_page_row_count_limit(size("write.parquet.page-row-limit", PAGE_ROWS)?)
        .set_dictionary_page_size_limit(size(DICTIONARY_KEY, DICTIONARY_BYTES)?)
        // Row groups are ended here and not by the writer, which counts only rows.
        .set_max_row_group_row_count(None)
        .set_statistics_enabled(EnabledStatistics::Page)
        // Bounds are made from the whole values; what the footer keeps of them is cut down afterwards.
        .set_statistics_truncate_length(None)
        .set_key_value_metadata(Some(vec![KeyValue::new(
            "iceberg.schema".to_owned(),
            iceberg_schema,
        )]));
    if let Some(row_ids) = path_of(ROW_ID, columns) {
        // Hardly one occurs twice, and most follow the one before: a dictionary would only be in the way.
        builder = builder
            .set_column_dictionary_enabled(row_ids.clone(), false)
            .set_column_encoding(row_ids, Encoding::DELTA_BINARY_PACKED);
    }
    for (key, value) in properties {
        if let Some(name) = key.strip_prefix("write.parquet.bloom-filter-enabled.column.")
            && value.eq_ignore_ascii_case("true")
            && let Some(path) = leaf_path(schema, columns, name)
        {
            let rate = parsed(
                properties,
                &format!("write.parquet.bloom-filter-fpp.column.{name}"),
            )?
            .unwrap_or(BLOOM_FALSE_POSITIVES);
            if !(rate > 0.0 && rate < 1.0) {
                return Err(unsupported(format!(
                    "the bloom filter of column {name} can't have a false positive rate of {rate}"
                )));
            }
            let most = positive("write.parquet.bloom-filter-max-bytes", BLOOM_BYTES)?;
            builder = builder
                .set_column_bloom_filter_enabled(path.clone(), true)
                .set_column_bloom_filter_fpp(path.clone(), rate)
                .set_column_bloom_filter_ndv(path, distinct_values(most, rate));
        }
        if let Some(name) = key.strip_prefix("write.parquet.stats-enabled.column.")
            && value.eq_ignore_ascii_case("false")
            && let Some(path) = leaf_path(schema, columns, name)
        {
            builder = builder.set_column_statistics_enabled(path, EnabledStatistics::None);
        }
    }
    Ok(ParquetSettings {
        row_group_bytes: positive("write.parquet.row-group-size-bytes", ROW_GROUP_BYTES)?,
        row_group_rows: positive("write.parquet.row-group-limit", u64::MAX)?,
        writer: Arc::new(builder.build()),
        dictionary_is_set: properties.contains_key(DICTIONARY_KEY),
    })
}

/// How many distinct values fill a bloom filter of `bytes` at a false positive rate (Parquet's split-block filters: 8
/// bits a value and block).
fn distinct_values(bytes: u64, rate: f64) -> u64 {
    let values = -(bytes as f64) * (1.0 - rate.powf(1.0 / 8.0)).ln();
    // A filter's size is rounded up to a power of two: just below keeps it from being doubled.
    ((values * 0.999) as u64).max(1)
}

fn leaf_path(schema: &Schema, columns: &SchemaDescriptor, name: &str) -> Option<ColumnPath> {
    path_of(schema.field_id_by_name(name)?, columns)
}

/// Where the leaf with an id is.
fn path_of(id: i32, columns: &SchemaDescriptor) -> Option<ColumnPath> {
    columns
        .columns()
        .iter()
        .find(|column| {
            let info = column.self_type().get_basic_info();
            info.has_id() && info.id() == id
        })
        .map(|column| column.path().clone())
}

fn compression(properties: &HashMap<String, String>) -> Result<Compression> {
    const CODEC: &str = "write.parquet.compression-codec";
    const LEVEL: &str = "write.parquet.compression-level";
    let codec = properties.get(CODEC).map_or("zstd", String::as_str);
    let level: Option<i32> = parsed(properties, LEVEL)?;
    let refused = |error: &dyn Display| {
        unsupported(format!(
            "the table property {LEVEL} does not suit the codec {codec}: {error}"
        ))
    };
    let unsigned = |default: u32| {
        level.map_or(Ok(default), |level| {
            u32::try_from(level).map_err(|error| refused(&error))
        })
    };
    Ok(match codec.to_ascii_lowercase().as_str() {
        "zstd" => Compression::ZSTD(
            ZstdLevel::try_new(level.unwrap_or(ZSTD_LEVEL)).map_err(|error| refused(&error))?,
        ),
        "gzip" => Compression::GZIP(
            GzipLevel::try_new(unsigned(GzipLevel::default().compression_level())?)
                .map_err(|error| refused(&error))?,
        ),
        "brotli" => Compression::BROTLI(
            BrotliLevel::try_new(unsigned(BrotliLevel::default().compression_level())?)
                .map_err(|error| refused(&error))?,
        ),
        "snappy" => Compression::SNAPPY,
        "lz4" => Compression::LZ4,
        "lz4_raw" => Compression::LZ4_RAW,
        "uncompressed" | "none" => Compression::UNCOMPRESSED,
        other => {
            return Err(unsupported(format!(
                "the table property {CODEC} is '{other}', which is no codec: use zstd, gzip, snappy, brotli, lz4 or \
                 uncompressed"
            )));
        }
    })
}

/// A property as a number; fails with its name where it is something else.
fn parsed<T: FromStr>(properties: &HashMap<String, String>, key: &str) -> Result<Option<T>> {
    properties
        .get(key)
        .map(|value| {
            value.trim().parse().map_err(|_| {
                unsupported(format!(
                    "the table property {key} is '{value}', which is no number"
                ))
            })
        })
        .transpose()
}

#[cfg(test)]
mod tests;
