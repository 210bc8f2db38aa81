//! Columns and files drawn from a seed.

use std::sync::Arc;

use arrow_array::{
    ArrayRef, BinaryArray, BooleanArray, Date32Array, Decimal128Array, FixedSizeBinaryArray,
    Float64Array, Int32Array, Int64Array, ListArray, MapArray, RecordBatch, StringArray,
    StructArray, TimestampMicrosecondArray,
};
use arrow_buffer::{NullBuffer, OffsetBuffer};
use arrow_schema::{DataType, Field, Fields, Schema, TimeUnit};
use iceberg::spec::{
    ListType, MapType, NestedField, NestedFieldRef, PrimitiveType, StructType, Type,
};
use icepress_files::{PageKind, ParquetParts, encoding};
use parquet::{
    basic::{Compression, Encoding, GzipLevel, ZstdLevel},
    file::properties::{EnabledStatistics, WriterProperties, WriterVersion},
};

use crate::support::with_id;

/// A fast generator with a fixed stream (SplitMix64).
#[derive(Debug, Clone)]
pub(crate) struct Dice(pub(crate) u64);

impl Dice {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    pub(crate) fn one_in(&mut self, bound: u64) -> bool {
        self.below(bound) == 0
    }

    pub(crate) fn of<T: Copy>(&mut self, all: &[T]) -> T {
        all[self.below(all.len() as u64) as usize]
    }
}

/// What a column holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Bool,
    Int,
    Long,
    Double,
    Text,
    Bytes,
    Fixed,
    SmallDecimal,
    LargeDecimal,
    Date,
    Time,
    List,
    Map,
    Pair,
}

pub(crate) const KINDS: [Kind; 14] = [
    Kind::Bool,
    Kind::Int,
    Kind::Long,
    Kind::Double,
    Kind::Text,
    Kind::Bytes,
    Kind::Fixed,
    Kind::SmallDecimal,
    Kind::LargeDecimal,
    Kind::Date,
    Kind::Time,
    Kind::List,
    Kind::Map,
    Kind::Pair,
];

/// A column of a table.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Column {
    pub(crate) kind: Kind,
    /// How many values it has that differ, about; 0 where none is twice.
    distinct: u64,
    /// One value in so many is NULL; 0 where none is, 1 where all are.
    nulls: u64,
}

impl Column {
    pub(crate) fn drawn(dice: &mut Dice) -> Self {
        Self {
            kind: dice.of(&KINDS),
            distinct: dice.of(&[0, 1, 3, 40, 1_000]),
            nulls: dice.of(&[0, 0, 1, 2, 9, 100]),
        }
    }

    fn number(&self, dice: &mut Dice, row: u64) -> u64 {
        match self.distinct {
            0 => row,
            distinct => dice.below(distinct) * 7,
        }
    }

    fn is_null(&self, dice: &mut Dice) -> bool {
        self.nulls > 0 && dice.one_in(self.nulls)
    }

    /// `rows` values, the first of which is the table's `first`th.
    fn values(&self, kind: Kind, dice: &mut Dice, first: u64, rows: u64) -> ArrayRef {
        let drawn: Vec<Option<u64>> = (first..first + rows)
            .map(|row| (!self.is_null(dice)).then(|| self.number(dice, row)))
            .collect();
        let drawn = drawn.into_iter();
        let text = |number: u64| format!("{}-{number}", "text".repeat((number % 5) as usize));
        match kind {
            Kind::Bool => Arc::new(
                drawn
                    .map(|n| n.map(|n| n % 2 == 0))
                    .collect::<BooleanArray>(),
            ),
            Kind::Int => Arc::new(
                drawn
                    .map(|n| n.map(|n| n as i32 - 50))
                    .collect::<Int32Array>(),
            ),
            Kind::Date => Arc::new(drawn.map(|n| n.map(|n| n as i32)).collect::<Date32Array>()),
            Kind::Long => {
                let far = |n: u64| n as i64 * 1_000_000_007 - 5;
                Arc::new(drawn.map(|n| n.map(far)).collect::<Int64Array>())
            }
            Kind::Double => {
                let number = |n: u64| match n % 11 {
                    10 => f64::NAN,
                    9 => -0.0,
                    _ => n as f64 / 4.0 - 3.0,
                };
                Arc::new(drawn.map(|n| n.map(number)).collect::<Float64Array>())
            }
            Kind::Time => {
                let times = drawn.map(|n| n.map(|n| n as i64 * 1_000));
                let times: TimestampMicrosecondArray = times.collect();
                Arc::new(times.with_timezone("+00:00"))
            }
            Kind::Text => Arc::new(drawn.map(|n| n.map(text)).collect::<StringArray>()),
            Kind::Bytes => {
                let bytes =
                    drawn.map(|n| n.map(|n| n.to_be_bytes()[(n % 9).min(7) as usize..].to_vec()));
                Arc::new(bytes.collect::<BinaryArray>())
            }
            Kind::Fixed => {
                let bytes = drawn.map(|n| n.map(|n| [n.to_le_bytes(), n.to_be_bytes()].concat()));
                let array = FixedSizeBinaryArray::try_from_sparse_iter_with_size(bytes, 16);
                Arc::new(array.unwrap())
            }
            Kind::SmallDecimal | Kind::LargeDecimal => {
                let numbers: Decimal128Array =
                    drawn.map(|n| n.map(|n| i128::from(n) - 30)).collect();
                let (precision, scale) = digits(kind);
                Arc::new(numbers.with_precision_and_scale(precision, scale).unwrap())
            }
            Kind::List | Kind::Map | Kind::Pair => unreachable!("they are made of others"),
        }
    }

    /// The column as file and table have it, with field ids from `id` on: ten for each column.
    pub(crate) fn made(
        &self,
        id: i32,
        dice: &mut Dice,
        first: u64,
        rows: u64,
    ) -> (Field, ArrayRef) {
        let name = format!("c{id}");
        let nulls = |dice: &mut Dice| -> NullBuffer {
            (0..rows)
                .map(|_| !self.is_null(dice))
                .collect::<Vec<_>>()
                .into()
        };
        let array: ArrayRef = match self.kind {
            Kind::List | Kind::Map => {
                let valid = nulls(dice);
                let lengths = valid.iter().map(|valid| {
                    let length = dice.below(4) as usize;
                    if valid { length } else { 0 }
                });
                let offsets: OffsetBuffer<i32> =
                    OffsetBuffer::from_lengths(lengths.collect::<Vec<_>>());
                let count = u64::from(offsets[rows as usize].unsigned_abs());
                if self.kind == Kind::List {
                    let element = with_id(Field::new("element", DataType::Utf8, true), id + 1);
                    let values = self.values(Kind::Text, dice, first * 4, count);
                    Arc::new(ListArray::new(
                        Arc::new(element),
                        offsets,
                        values,
                        Some(valid),
                    ))
                } else {
                    let whole = Self { nulls: 0, ..*self };
                    let keys = whole.values(Kind::Text, dice, first * 4, count);
                    let values = self.values(Kind::Long, dice, first * 4, count);
                    let DataType::Map(entries, _) = data_type(self.kind, id) else {
                        unreachable!("it is a map")
                    };
                    let DataType::Struct(fields) = entries.data_type() else {
                        unreachable!("its entries are structs")
                    };
                    let pairs = StructArray::new(fields.clone(), vec![keys, values], None);
                    Arc::new(MapArray::new(entries, offsets, pairs, Some(valid), false))
                }
            }
            Kind::Pair => {
                let DataType::Struct(fields) = data_type(self.kind, id) else {
                    unreachable!("it is a struct")
                };
                let children = vec![
                    self.values(Kind::Long, dice, first, rows),
                    self.values(Kind::Text, dice, first, rows),
                ];
                Arc::new(StructArray::new(fields, children, Some(nulls(dice))))
            }
            kind => self.values(kind, dice, first, rows),
        };
        let field = Field::new(name, data_type(self.kind, id), true);
        (with_id(field, id), array)
    }

    /// The same for the table.
    pub(crate) fn field(&self, id: i32) -> NestedFieldRef {
        let optional = |id, name: &str, kind| -> NestedFieldRef {
            NestedField::optional(id, name, Type::Primitive(kind)).into()
        };
        let text = PrimitiveType::String;
        let of = match self.kind {
            Kind::Bool => Type::Primitive(PrimitiveType::Boolean),
            Kind::Int => Type::Primitive(PrimitiveType::Int),
            Kind::Long => Type::Primitive(PrimitiveType::Long),
            Kind::Double => Type::Primitive(PrimitiveType::Double),
            Kind::Text => Type::Primitive(text),
            Kind::Bytes => Type::Primitive(PrimitiveType::Binary),
            Kind::Fixed => Type::Primitive(PrimitiveType::Fixed(16)),
            Kind::SmallDecimal | Kind::LargeDecimal => {
                let (precision, scale) = digits(self.kind);
                Type::Primitive(PrimitiveType::Decimal {
                    precision: precision.into(),
                    scale: scale.unsigned_abs().into(),
                })
            }
            Kind::Date => Type::Primitive(PrimitiveType::Date),
            Kind::Time => Type::Primitive(PrimitiveType::Timestamptz),
            Kind::List => Type::List(ListType::new(optional(id + 1, "element", text))),
            Kind::Map => Type::Map(MapType::new(
                NestedField::required(id + 1, "key", Type::Primitive(text)).into(),
                optional(id + 2, "value", PrimitiveType::Long),
            )),
            Kind::Pair => Type::Struct(StructType::new(vec![
                optional(id + 1, "number", PrimitiveType::Long),
                optional(id + 2, "text", text),
            ])),
        };
        NestedField::optional(id, format!("c{id}"), of).into()
    }
}

fn digits(kind: Kind) -> (u8, i8) {
    match kind {
        Kind::SmallDecimal => (9, 2),
        _ => (30, 4),
    }
}

fn data_type(kind: Kind, id: i32) -> DataType {
    let child = |id, name: &str, kind, optional| with_id(Field::new(name, kind, optional), id);
    match kind {
        Kind::Bool => DataType::Boolean,
        Kind::Int => DataType::Int32,
        Kind::Long => DataType::Int64,
        Kind::Double => DataType::Float64,
        Kind::Text => DataType::Utf8,
        Kind::Bytes => DataType::Binary,
        Kind::Fixed => DataType::FixedSizeBinary(16),
        Kind::SmallDecimal | Kind::LargeDecimal => {
            let (precision, scale) = digits(kind);
            DataType::Decimal128(precision, scale)
        }
        Kind::Date => DataType::Date32,
        Kind::Time => DataType::Timestamp(TimeUnit::Microsecond, Some("+00:00".into())),
        Kind::List => DataType::List(Arc::new(child(id + 1, "element", DataType::Utf8, true))),
        Kind::Map => {
            let pair: Fields = vec![
                child(id + 1, "key", DataType::Utf8, false),
                child(id + 2, "value", DataType::Int64, true),
            ]
            .into();
            let entries = Field::new("key_value", DataType::Struct(pair), false);
            DataType::Map(Arc::new(entries), false)
        }
        Kind::Pair => DataType::Struct(
            vec![
                child(id + 1, "number", DataType::Int64, true),
                child(id + 2, "text", DataType::Utf8, true),
            ]
            .into(),
        ),
    }
}

/// Rows of all columns.
pub(crate) fn rows(columns: &[Column], dice: &mut Dice, first: u64, rows: u64) -> RecordBatch {
    let ids = (1..).step_by(10);
    let made = ids
        .zip(columns)
        .map(|(id, column)| column.made(id, dice, first, rows));
    let (fields, arrays): (Vec<Field>, Vec<ArrayRef>) = made.unzip();
    RecordBatch::try_new(Arc::new(Schema::new(fields)), arrays).unwrap()
}

/// A way to write files.
pub(crate) fn properties(dice: &mut Dice) -> WriterProperties {
    let mut builder = WriterProperties::builder()
        .set_compression(dice.of(&[
            Compression::UNCOMPRESSED,
            Compression::SNAPPY,
            Compression::ZSTD(ZstdLevel::default()),
            Compression::ZSTD(ZstdLevel::default()),
            Compression::LZ4_RAW,
            Compression::GZIP(GzipLevel::default()),
        ]))
        .set_writer_version(dice.of(&[WriterVersion::PARQUET_1_0, WriterVersion::PARQUET_2_0]))
        .set_dictionary_enabled(!dice.one_in(4))
        .set_dictionary_page_size_limit(dice.of(&[16, 200, 1 << 20]))
        .set_data_page_row_count_limit(dice.of(&[1, 7, 50, 20_000]))
        .set_write_batch_size(dice.of(&[1, 5, 64]))
        .set_max_row_group_row_count(dice.of(&[None, None, Some(60)]))
        .set_statistics_enabled(dice.of(&[
            EnabledStatistics::Page,
            EnabledStatistics::Page,
            EnabledStatistics::Chunk,
            EnabledStatistics::None,
        ]))
        .set_statistics_truncate_length(dice.of(&[None, Some(4), Some(64)]))
        .set_column_index_truncate_length(dice.of(&[None, Some(4)]))
        .set_bloom_filter_enabled(dice.one_in(4));
    if dice.one_in(6) {
        // Of columns whose type has it; else the writer would refuse the file.
        builder = builder.set_column_encoding("c1".into(), Encoding::PLAIN);
    }
    builder.build()
}

/// Dresses a file as other engines do: old names of encodings, checksums, no index.
pub(crate) fn dressed(file: &[u8], dice: &mut Dice) -> Vec<u8> {
    let (old_names, checksums, no_index) = (dice.one_in(2), dice.one_in(2), dice.one_in(3));
    let mut parts = ParquetParts::of(file).unwrap();
    for chunk in parts.row_groups.iter_mut().flatten() {
        for page in &mut chunk.pages {
            let is_index = page.encoding() == Some(encoding::RLE_DICTIONARY);
            if old_names && (is_index || page.kind() == PageKind::Dictionary) {
                page.set_encoding(encoding::PLAIN_DICTIONARY);
            }
            if checksums {
                page.add_checksum();
            }
        }
        if no_index {
            chunk.drop_indexes();
        }
    }
    parts.to_bytes().unwrap()
}
