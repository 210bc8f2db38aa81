//! The rows of the benches' tables: events of twelve columns (ids, times, zipf keys, words of few and of many values, URLs,
//! decimals, UUID texts, short texts, a list, a double, a boolean), and wide rows of texts.

use std::{collections::HashMap, path::Path, sync::Arc};

use anyhow::Result;
use arrow_array::{
    ArrayRef, BooleanArray, Decimal128Array, Float64Array, Int64Array, ListArray, RecordBatch,
    StringArray, TimestampMicrosecondArray,
};
use arrow_buffer::OffsetBuffer;
use arrow_schema::{DataType, Field, Schema, TimeUnit};
use iceberg::spec::TableMetadata;
use icepress_catalog::metadata::Metadata;
use icepress_model::Bytes;
use parquet::arrow::PARQUET_FIELD_ID_META_KEY;
use serde_json::json;

use crate::{duel::DICTIONARY, tables::Shape};

/// Rows that are made at a time at most.
const BATCH: u64 = 24_000;
/// Wide rows are long.
const WIDE_BATCH: u64 = 500;
/// Columns of a wide row.
const WIDE_COLUMNS: i32 = 40;

/// Which columns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Columns {
    /// An event's.
    Events,
    /// Forty texts of 50 to 500 bytes.
    Wide,
}

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

    /// Text of letters, digits and two signs, at random.
    fn text(&mut self, length: usize) -> String {
        const SIGNS: &[u8; 64] =
            b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
        let mut text = String::with_capacity(length);
        while text.len() < length {
            let mut drawn = self.next();
            for _ in 0..(length - text.len()).min(10) {
                text.push(SIGNS[(drawn % 64) as usize].into());
                drawn /= 64;
            }
        }
        text
    }

    /// The text of a UUID.
    fn uuid(&mut self) -> String {
        let (high, low) = (self.next(), self.next());
        format!(
            "{:08x}-{:04x}-4{:03x}-{:04x}-{:012x}",
            high >> 32,
            high >> 16 & 0xFFFF,
            high & 0xFFF,
            0x8000 | low >> 48 & 0x3FFF,
            low & 0xFFFF_FFFF_FFFF
        )
    }

    /// Small numbers far more often than large ones.
    fn skewed(&mut self, bound: u64) -> u64 {
        let share = (self.next() >> 11) as f64 / (1u64 << 53) as f64;
        (bound as f64).powf(share) as u64 % bound
    }
}

/// Field id of the first column: numbers from 0 on, over all files.
pub(crate) const EVENT_ID: i32 = 1;

/// The rows of the file with a number, by batches.
pub(crate) fn batches(shape: &Shape, number: u64) -> impl Iterator<Item = Result<RecordBatch>> {
    let (columns, rows) = (shape.columns, shape.rows);
    let step = match columns {
        Columns::Events => BATCH,
        Columns::Wide => WIDE_BATCH,
    };
    let mut stream = Stream(number);
    (0..rows).step_by(step as usize).map(move |first| {
        let count = step.min(rows - first);
        let first = number * rows + first;
        let (fields, arrays) = match columns {
            Columns::Events => (fields(), columns_of(&mut stream, first, count)?),
            Columns::Wide => (wide_fields(), wide_columns(&mut stream, count)),
        };
        Ok(RecordBatch::try_new(Arc::new(Schema::new(fields)), arrays)?)
    })
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

fn wide_fields() -> Vec<Field> {
    let text = |id: i32| field(id, &format!("text_{id:02}"), DataType::Utf8);
    (1..=WIDE_COLUMNS).map(text).collect()
}

fn wide_columns(stream: &mut Stream, rows: u64) -> Vec<ArrayRef> {
    let mut column = || -> ArrayRef {
        let texts = (0..rows).map(|_| {
            let length = 50 + stream.below(451) as usize;
            stream.text(length)
        });
        Arc::new(StringArray::from_iter_values(texts))
    };
    (0..WIDE_COLUMNS).map(|_| column()).collect()
}

fn columns_of(stream: &mut Stream, first: u64, rows: u64) -> Result<Vec<ArrayRef>> {
    let start = 1_760_000_000_000_000 + first as i64 * 400;
    let times: Vec<i64> = (0..rows)
        .map(|row| start + row as i64 * 400 + stream.below(300) as i64)
        .collect();
    let zoned = |values: Vec<i64>| -> ArrayRef {
        Arc::new(TimestampMicrosecondArray::from(values).with_timezone("+00:00"))
    };
    let texts = |values: Vec<String>| -> ArrayRef { Arc::new(StringArray::from(values)) };
    let mut many = |make: &mut dyn FnMut(&mut Stream) -> String| -> Vec<String> {
        (0..rows).map(|_| make(stream)).collect()
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
    let sessions = many(&mut Stream::uuid);
    let messages = many(&mut |s| {
        let words = [
            "cart", "paid", "late", "retry", "queue", "gold", "north", "zero",
        ];
        let picked: Vec<&str> = (0..3 + s.below(4))
            .map(|_| words[s.below(8) as usize])
            .collect();
        format!("{} {}", picked.join(" "), s.below(1_000))
    });
    let prices = Decimal128Array::from_iter_values((0..rows).map(|_| stream.below(200_000).into()))
        .with_precision_and_scale(12, 2)?;
    let ids = Int64Array::from_iter_values((first..first + rows).map(|id| id as i64));
    let users = Int64Array::from_iter_values((0..rows).map(|_| stream.skewed(2_000_000) as i64));
    let lengths: Vec<usize> = (0..rows).map(|_| stream.below(4) as usize).collect();
    let tags: StringArray = (0..lengths.iter().sum::<usize>())
        .map(|_| Some(format!("tag{}", stream.skewed(300))))
        .collect();
    let tags = ListArray::try_new(
        Arc::new(field(13, "element", DataType::Utf8)),
        OffsetBuffer::from_lengths(lengths),
        Arc::new(tags),
        None,
    )?;
    let scores: Float64Array = (0..rows)
        .map(|_| (stream.below(10) > 0).then(|| stream.below(100_000) as f64 / 1000.0))
        .collect();
    let mobile: BooleanArray = (0..rows).map(|_| Some(stream.below(3) > 0)).collect();
    Ok(vec![
        Arc::new(ids),
        zoned(times),
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

/// The table's schema.
pub(crate) fn schema_json(columns: Columns) -> serde_json::Value {
    let column = |id: i32, name: &str, kind: serde_json::Value| json!({"id": id, "name": name, "required": false, "type": kind});
    let list =
        json!({"type": "list", "element-id": 13, "element": "string", "element-required": false});
    let fields = match columns {
        Columns::Events => vec![
            column(EVENT_ID, "event_id", "long".into()),
            column(2, "event_time", "timestamptz".into()),
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
        ],
        Columns::Wide => {
            let text = |id: i32| column(id, &format!("text_{id:02}"), "string".into());
            (1..=WIDE_COLUMNS).map(text).collect()
        }
    };
    json!({"type": "struct", "schema-id": 0, "fields": fields})
}

/// The table that a shape's files belong to, as far as a rewrite asks, whose new files go to `folder`.
pub(crate) fn table(
    shape: &Shape,
    folder: &Path,
    format_version: u8,
    row_group: Bytes,
) -> Result<Metadata> {
    let metadata: TableMetadata = serde_json::from_value(json!({
        "format-version": format_version,
        "table-uuid": "9c12d441-03fe-4693-9a96-a0705ddf69c1",
        "location": folder,
        "last-sequence-number": 2,
        "next-row-id": shape.all_rows(),
        "last-updated-ms": 1,
        "last-column-id": WIDE_COLUMNS,
        "current-schema-id": 0,
        "schemas": [schema_json(shape.columns)],
        "default-spec-id": 0,
        "partition-specs": [{"spec-id": 0, "fields": []}],
        "last-partition-id": 999,
        "default-sort-order-id": 0,
        "sort-orders": [{"order-id": 0, "fields": []}],
        "properties": {
            "write.parquet.dict-size-bytes": DICTIONARY.to_string(),
            "write.parquet.row-group-size-bytes": row_group.get().to_string(),
        },
    }))?;
    Ok(metadata.into())
}

#[cfg(test)]
mod tests;
