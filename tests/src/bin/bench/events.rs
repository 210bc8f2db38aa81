//! Event rows, as the benches of rewrites have them: ids, times, words of few and of many values, decimals, texts that never repeat, a list.

use std::{
    collections::HashMap,
    fs::{self, File},
    path::{Path, PathBuf},
    sync::Arc,
};

use anyhow::Result;
use arrow_array::{
    ArrayRef, BooleanArray, Decimal128Array, Float64Array, Int64Array, ListArray, RecordBatch,
    StringArray, TimestampMicrosecondArray,
};
use arrow_buffer::OffsetBuffer;
use arrow_schema::{DataType, Field, Schema, TimeUnit};
use iceberg::spec::TableMetadata;
use icepress_catalog::metadata::Metadata;
use parquet::{
    arrow::{ArrowWriter, PARQUET_FIELD_ID_META_KEY},
    basic::{Compression, ZstdLevel},
    file::properties::WriterProperties,
};
use serde_json::json;

/// Files of a table.
pub(crate) const FILES: u64 = 64;
/// Rows of a file.
pub(crate) const ROWS: u64 = 240_000;
const BATCH: u64 = 24_000;

/// A fast generator with a fixed stream: every run measures the same bytes.
pub(crate) struct Stream(pub(crate) u64);

impl Stream {
    fn next(&mut self) -> u64 {
        // SplitMix64 (Steele, Lea, Flood: Fast Splittable Pseudorandom Number Generators, 2014).
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    /// Any number below `bound`.
    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    /// Small numbers far more often than large ones.
    fn skewed(&mut self, bound: u64) -> u64 {
        let share = (self.next() >> 11) as f64 / (1u64 << 53) as f64;
        (bound as f64).powf(share) as u64 % bound
    }
}

/// Field id of the first column: numbers from 0 on, over all files.
pub(crate) const EVENT_ID: i32 = 1;

/// Writes the files of a table to `folder`.
pub(crate) fn write_all(folder: &Path) -> Result<()> {
    fs::create_dir(folder)?;
    eprintln!("writing {FILES} files to {}", folder.display());
    (0..FILES).try_for_each(|file| write(&folder.join(format!("{file:02}.parquet")), file))
}

/// Writes the file with a number, as a streaming writer would: one row group, zstd.
fn write(path: &Path, number: u64) -> Result<()> {
    let properties = WriterProperties::builder()
        .set_compression(Compression::ZSTD(ZstdLevel::try_new(3)?))
        .set_max_row_group_row_count(None)
        .set_data_page_row_count_limit(20_000)
        .build();
    let schema = Arc::new(Schema::new(fields()));
    let mut writer =
        ArrowWriter::try_new(File::create(path)?, Arc::clone(&schema), Some(properties))?;
    let mut stream = Stream(number);
    for first in (0..ROWS).step_by(BATCH as usize) {
        let columns = columns(&mut stream, number * ROWS + first)?;
        writer.write(&RecordBatch::try_new(Arc::clone(&schema), columns)?)?;
    }
    writer.close()?;
    Ok(())
}

/// A column as Parquet files of Iceberg have it, with its field id.
pub(crate) fn field(id: i32, name: &str, data_type: DataType) -> Field {
    let metadata = HashMap::from([(PARQUET_FIELD_ID_META_KEY.to_owned(), id.to_string())]);
    Field::new(name, data_type, true).with_metadata(metadata)
}

fn fields() -> Vec<Field> {
    let timestamp = || DataType::Timestamp(TimeUnit::Microsecond, Some("+00:00".into()));
    vec![
        field(EVENT_ID, "event_id", DataType::Int64),
        field(2, "event_time", timestamp()),
        field(3, "received_time", timestamp()),
        field(4, "user_id", DataType::Int64),
        field(5, "kind", DataType::Utf8),
        field(6, "country", DataType::Utf8),
        field(7, "url", DataType::Utf8),
        field(8, "session", DataType::Utf8),
        field(9, "price", DataType::Decimal128(12, 2)),
        field(10, "message", DataType::Utf8),
        field(
            11,
            "tags",
            DataType::List(Arc::new(field(13, "element", DataType::Utf8))),
        ),
        field(12, "score", DataType::Float64),
        field(14, "is_mobile", DataType::Boolean),
    ]
}

fn columns(stream: &mut Stream, first: u64) -> Result<Vec<ArrayRef>> {
    let start = 1_760_000_000_000_000 + first as i64 * 400;
    let times: Vec<i64> = (0..BATCH)
        .map(|row| start + row as i64 * 400 + stream.below(300) as i64)
        .collect();
    let received: Vec<i64> = times
        .iter()
        .map(|time| time + 1_000 + stream.below(5_000) as i64)
        .collect();
    let zoned = |values: Vec<i64>| -> ArrayRef {
        Arc::new(TimestampMicrosecondArray::from(values).with_timezone("+00:00"))
    };
    let texts = |values: Vec<String>| -> ArrayRef { Arc::new(StringArray::from(values)) };
    let mut many = |make: &mut dyn FnMut(&mut Stream) -> String| -> Vec<String> {
        (0..BATCH).map(|_| make(stream)).collect()
    };
    let kinds = many(&mut |s| format!("kind_{}", s.skewed(20)));
    let countries = many(&mut |s| format!("country-{:03}", s.skewed(200)));
    let urls = many(&mut |s| {
        let page = s.skewed(50_000);
        format!(
            "https://shop.example/{}/item/{page}?ref=campaign",
            page % 37
        )
    });
    let sessions = many(&mut |s| format!("{:016x}", s.next()));
    let messages = many(&mut |s| {
        let words = [
            "cart", "paid", "late", "retry", "queue", "gold", "north", "zero",
        ];
        let picked: Vec<&str> = (0..3 + s.below(4))
            .map(|_| words[s.below(8) as usize])
            .collect();
        format!("{} {}", picked.join(" "), s.below(1_000))
    });
    let prices =
        Decimal128Array::from_iter_values((0..BATCH).map(|_| stream.below(200_000).into()))
            .with_precision_and_scale(12, 2)?;
    let ids = Int64Array::from_iter_values((first..first + BATCH).map(|id| id as i64));
    let users = Int64Array::from_iter_values((0..BATCH).map(|_| stream.skewed(2_000_000) as i64));
    let lengths: Vec<usize> = (0..BATCH).map(|_| stream.below(4) as usize).collect();
    let tags: StringArray = (0..lengths.iter().sum::<usize>())
        .map(|_| Some(format!("tag{}", stream.skewed(300))))
        .collect();
    let tags = ListArray::try_new(
        Arc::new(field(13, "element", DataType::Utf8)),
        OffsetBuffer::from_lengths(lengths),
        Arc::new(tags),
        None,
    )?;
    let scores: Float64Array = (0..BATCH)
        .map(|_| (stream.below(10) > 0).then(|| stream.below(100_000) as f64 / 1000.0))
        .collect();
    let mobile: BooleanArray = (0..BATCH).map(|_| Some(stream.below(3) > 0)).collect();
    Ok(vec![
        Arc::new(ids),
        zoned(times),
        zoned(received),
        Arc::new(users),
        texts(kinds),
        texts(countries),
        texts(urls),
        texts(sessions),
        Arc::new(prices),
        texts(messages),
        Arc::new(tags),
        Arc::new(scores),
        Arc::new(mobile),
    ])
}

/// Where rewritten files go.
pub(crate) fn table_location(folder: &Path) -> PathBuf {
    folder.join("table")
}

/// The table that the files belong to, as far as a rewrite asks.
pub(crate) fn table(folder: &Path, format_version: u8) -> Result<Metadata> {
    let column = |id: i32, name: &str, kind: serde_json::Value| json!({"id": id, "name": name, "required": false, "type": kind});
    let list =
        json!({"type": "list", "element-id": 13, "element": "string", "element-required": false});
    let metadata: TableMetadata = serde_json::from_value(json!({
        "format-version": format_version,
        "table-uuid": "9c12d441-03fe-4693-9a96-a0705ddf69c1",
        "location": table_location(folder),
        "last-sequence-number": 2,
        "next-row-id": FILES * ROWS,
        "last-updated-ms": 1,
        "last-column-id": 14,
        "current-schema-id": 0,
        "schemas": [{"type": "struct", "schema-id": 0, "fields": [
            column(EVENT_ID, "event_id", "long".into()),
            column(2, "event_time", "timestamptz".into()),
            column(3, "received_time", "timestamptz".into()),
            column(4, "user_id", "long".into()),
            column(5, "kind", "string".into()),
            column(6, "country", "string".into()),
            column(7, "url", "string".into()),
            column(8, "session", "string".into()),
            column(9, "price", "decimal(12, 2)".into()),
            column(10, "message", "string".into()),
            column(11, "tags", list),
            column(12, "score", "double".into()),
            column(14, "is_mobile", "boolean".into()),
        ]}],
        "default-spec-id": 0,
        "partition-specs": [{"spec-id": 0, "fields": []}],
        "last-partition-id": 999,
        "default-sort-order-id": 0,
        "sort-orders": [{"order-id": 0, "fields": []}],
        "properties": {},
    }))?;
    Ok(metadata.into())
}
