//! Tables of random files, merged and decoded.

use std::sync::Arc;

use arrow_array::{
    ArrayRef, BooleanArray, Decimal128Array, FixedSizeBinaryArray, Float64Array, Int32Array,
    Int64Array, RecordBatch, StringArray,
    builder::{ListBuilder, StringBuilder},
};
use arrow_schema::{DataType, Field};
use bytes::Bytes;
use iceberg::spec::{ListType, NestedField, NestedFieldRef, PrimitiveType, Type};
use icepress_model::{GroupResult, MergePages, Rows};
use parquet::{
    arrow::ArrowWriter,
    basic::{Compression, ZstdLevel},
    file::{
        properties::{EnabledStatistics, WriterProperties, WriterVersion},
        reader::{FileReader as _, SerializedFileReader},
    },
    schema::types::ColumnPath,
};
use proptest::prelude::*;

use crate::tests::support::{TestTable, batch, field, optional, with_id};

/// Numbers that depend on nothing but where they come from.
struct Numbers(u64);

impl Numbers {
    fn next(&mut self) -> u64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        self.0 >> 33
    }

    fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }
}

fn fields() -> Vec<NestedFieldRef> {
    let element = NestedField::list_element(12, Type::Primitive(PrimitiveType::String), false);
    let list = ListType {
        element_field: element.into(),
    };
    vec![
        NestedField::required(1, "unique", Type::Primitive(PrimitiveType::Long)).into(),
        optional(2, "word", PrimitiveType::String),
        optional(3, "uuid_text", PrimitiveType::String),
        optional(4, "score", PrimitiveType::Double),
        optional(5, "small", PrimitiveType::Int),
        optional(6, "flag", PrimitiveType::Boolean),
        optional(
            7,
            "price",
            PrimitiveType::Decimal {
                precision: 30,
                scale: 2,
            },
        ),
        optional(8, "id", PrimitiveType::Fixed(16)),
        NestedField::optional(11, "tags", Type::List(list)).into(),
    ]
}

/// `rows` random rows of [`fields`].
pub(super) fn drawn(seed: u64, rows: usize) -> RecordBatch {
    let mut numbers = Numbers(seed.wrapping_mul(7919) + 1);
    let first = numbers.below(1 << 40) as i64;
    let words = numbers.below(40) + 1;
    let nulls = [0, 3, 50][numbers.below(3) as usize];
    let column = |numbers: &mut Numbers, end: u64| -> Vec<Option<u64>> {
        let value = |_| {
            let is_there = numbers.below(100) >= nulls;
            let drawn = numbers.below(end);
            is_there.then_some(drawn)
        };
        (0..rows).map(value).collect()
    };
    let unique: Int64Array = (0..rows).map(|row| Some(first + row as i64)).collect();
    let word: StringArray = column(&mut numbers, words)
        .iter()
        .map(|number| number.map(|number| format!("word-{number}")))
        .collect();
    let text: StringArray = column(&mut numbers, 1 << 30)
        .iter()
        .map(|number| number.map(|number| format!("{number:032x}")))
        .collect();
    let score: Float64Array = column(&mut numbers, 30)
        .iter()
        .map(|number| {
            number.map(|number| match number {
                0 => f64::NAN,
                1 => -0.0,
                number => number as f64 / 4.0 - 3.0,
            })
        })
        .collect();
    let small: Int32Array = column(&mut numbers, 5000)
        .iter()
        .map(|number| number.map(|number| number as i32 - 2500))
        .collect();
    let flag: BooleanArray = column(&mut numbers, 2)
        .iter()
        .map(|number| number.map(|number| number == 1))
        .collect();
    let price: Decimal128Array = column(&mut numbers, 300)
        .iter()
        .map(|number| number.map(|number| i128::from(number) - 150))
        .collect();
    let uuids: Vec<Option<[u8; 16]>> = column(&mut numbers, 60)
        .iter()
        .map(|number| number.map(|number| (u128::from(number) << 120 | 5).to_be_bytes()))
        .collect();
    let uuids = FixedSizeBinaryArray::try_from_sparse_iter_with_size(uuids.into_iter(), 16);
    let element = with_id(Field::new("element", DataType::Utf8, true), 12);
    let mut tags = ListBuilder::new(StringBuilder::new()).with_field(element);
    for row in column(&mut numbers, 6) {
        for tag in 0..row.unwrap_or(0) {
            tags.values()
                .append_option((tag != 3).then(|| format!("tag {}", numbers.below(9))));
        }
        tags.append(row.is_some());
    }
    let tags: ArrayRef = Arc::new(tags.finish());
    batch(vec![
        (
            with_id(Field::new("unique", DataType::Int64, false), 1),
            Arc::new(unique),
        ),
        (field(2, "word", DataType::Utf8), Arc::new(word)),
        (field(3, "uuid_text", DataType::Utf8), Arc::new(text)),
        (field(4, "score", DataType::Float64), Arc::new(score)),
        (field(5, "small", DataType::Int32), Arc::new(small)),
        (field(6, "flag", DataType::Boolean), Arc::new(flag)),
        (
            field(7, "price", DataType::Decimal128(30, 2)),
            Arc::new(price.with_precision_and_scale(30, 2).unwrap()),
        ),
        (
            field(8, "id", DataType::FixedSizeBinary(16)),
            Arc::new(uuids.unwrap()),
        ),
        (field(11, "tags", tags.data_type().clone()), tags),
    ])
}

/// A file of these rows.
pub(super) fn in_memory(rows: &RecordBatch, properties: WriterProperties) -> Bytes {
    let mut content = Vec::new();
    let mut writer = ArrowWriter::try_new(&mut content, rows.schema(), Some(properties)).unwrap();
    writer.write(rows).unwrap();
    writer.close().unwrap();
    content.into()
}

/// How a file is written.
#[derive(Debug, Clone)]
pub(super) struct Written {
    pub(super) seed: u64,
    pub(super) rows: usize,
    pub(super) page_rows: usize,
    pub(super) dictionary_bytes: usize,
    pub(super) is_new: bool,
    pub(super) has_index: bool,
    pub(super) has_dictionary: bool,
}

impl Written {
    fn properties(&self) -> WriterProperties {
        let (version, statistics) = (
            match self.is_new {
                true => WriterVersion::PARQUET_2_0,
                false => WriterVersion::PARQUET_1_0,
            },
            match self.has_index {
                true => EnabledStatistics::Page,
                false => EnabledStatistics::Chunk,
            },
        );
        let mut builder = WriterProperties::builder()
            .set_writer_version(version)
            .set_statistics_enabled(statistics)
            .set_compression(Compression::ZSTD(ZstdLevel::default()))
            .set_dictionary_page_size_limit(self.dictionary_bytes)
            .set_data_page_row_count_limit(self.page_rows)
            .set_write_batch_size(self.page_rows.min(64))
            .set_max_row_group_row_count(Some(self.rows.max(2) * 2 / 3))
            .set_dictionary_enabled(self.has_dictionary);
        if self.is_new {
            // Floats and texts stay plain or in dictionaries; whole numbers become deltas.
            let small = ColumnPath::from("small");
            builder = builder.set_column_dictionary_enabled(small, self.seed.is_multiple_of(2));
        }
        builder.build()
    }
}

fn written() -> impl Strategy<Value = Written> {
    let numbers = (0u64..1000, 1usize..400, 1usize..200, 16usize..4000);
    (numbers, any::<bool>(), any::<bool>(), 0u8..4).prop_map(
        |((seed, rows, page_rows, dictionary_bytes), is_new, has_index, without)| Written {
            seed,
            rows,
            page_rows,
            dictionary_bytes,
            is_new,
            has_index,
            has_dictionary: without > 0,
        },
    )
}

pub(super) fn table(files: &[Written], properties: &[(&str, &str)]) -> TestTable {
    let mut table = TestTable::with_properties(fields(), properties);
    for file in files {
        table.data_with(1, &drawn(file.seed, file.rows), file.properties());
    }
    table
}

/// Whether a result came about by pages.
fn is_merged(result: &GroupResult) -> bool {
    let ways = result.ways;
    ways.spliced + ways.copied + ways.united + ways.spelled > icepress_model::Bytes::ZERO
}

/// Rewrites a table both ways; they must agree in all but what lies where. Returns whether pages were merged.
pub(super) fn agree(table: &mut TestTable) -> bool {
    let before = table.hash();
    table.merge_pages = MergePages::Never;
    let by_rows = table.rewrite().unwrap();
    assert!(!is_merged(&by_rows));
    let (expected_rows, expected) = (table.read_back(&by_rows), table.entries(&by_rows));
    table.merge_pages = MergePages::Always;
    let by_pages = table.rewrite().unwrap();
    let (rows, entries) = (table.read_back(&by_pages), table.entries(&by_pages));
    assert_eq!(rows, expected_rows);
    assert_eq!(by_pages.rows_out, Rows(rows.num_rows() as u64));
    assert_eq!(entries.len(), expected.len());
    for (made, expected) in entries.iter().zip(&expected) {
        assert_eq!(made.record_count(), expected.record_count());
        assert_eq!(made.value_counts(), expected.value_counts());
        assert_eq!(made.null_value_counts(), expected.null_value_counts());
        assert_eq!(made.nan_value_counts(), expected.nan_value_counts());
        assert_eq!(made.lower_bounds(), expected.lower_bounds());
        assert_eq!(made.upper_bounds(), expected.upper_bounds());
    }
    let merged = is_merged(&by_pages);
    let after = table.after(&by_pages);
    let group = std::mem::replace(&mut table.group, after);
    assert_eq!(table.hash(), before);
    // What was merged can be merged again.
    assert_eq!(table.rewrite().unwrap().rows_out, before.rows);
    table.group = group;
    merged
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn pages_merged_are_the_rows_that_decoding_gives(
        files in prop::collection::vec(written(), 1..5),
        limit in prop::sample::select(vec!["300", "3000", "2097152"]),
    ) {
        let properties = [("write.parquet.dict-size-bytes", limit)];
        let mut table = table(&files, &properties);
        prop_assert!(agree(&mut table));
    }
}

fn plain(seed: u64) -> Written {
    Written {
        seed,
        rows: 500,
        page_rows: 100,
        dictionary_bytes: 1 << 20,
        is_new: false,
        has_index: true,
        has_dictionary: true,
    }
}

#[test]
fn the_page_index_of_merged_files_finds_rows() {
    use parquet::arrow::arrow_reader::{
        ArrowReaderOptions, ParquetRecordBatchReaderBuilder, RowSelection, RowSelector,
    };
    let table = table(&[plain(1), plain(2), plain(3)], &[]);
    let result = table.rewrite().unwrap();
    assert!(is_merged(&result));
    let whole = table.read_back(&result);
    let entry = &table.entries(&result)[0];
    let content = Bytes::from(std::fs::read(entry.file_path()).unwrap());
    let options = ArrowReaderOptions::new()
        .with_page_index_policy(parquet::file::metadata::PageIndexPolicy::Required);
    let open = || {
        ParquetRecordBatchReaderBuilder::try_new_with_options(content.clone(), options.clone())
            .unwrap()
    };
    let metadata = Arc::clone(open().metadata());
    let (indexes, offsets) = (
        metadata.column_index().unwrap(),
        metadata.offset_index().unwrap(),
    );
    for (column, offset) in indexes[0].iter().zip(&offsets[0]) {
        assert_eq!(column.num_pages() as usize, offset.page_locations().len());
    }
    let mut first = 0;
    for skipped in [0, 99, 100, 101, 733, 1499] {
        let selection = RowSelection::from(vec![
            RowSelector::skip(skipped),
            RowSelector::select(1),
            RowSelector::skip(1500 - skipped - 1),
        ]);
        let batches = open().with_row_selection(selection).build().unwrap();
        let read: Vec<RecordBatch> = batches.map(Result::unwrap).collect();
        assert_eq!(read[0].num_rows(), 1);
        for (found, expected) in read[0].columns().iter().zip(whole.columns()) {
            let expected = expected.slice(skipped, 1);
            assert_eq!(
                &arrow_cast::cast(found, expected.data_type()).unwrap(),
                &expected
            );
        }
        first += 1;
    }
    assert_eq!(first, 6);
}

#[test]
fn output_is_the_same_however_many_threads_there_are() {
    let table = table(&[plain(4), plain(5), plain(6)], &[]);
    let written = |threads: usize| {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(threads)
            .enable_all()
            .build()
            .unwrap();
        let result = runtime.block_on(crate::rewrite_group(
            &table.context(),
            &table.metadata,
            &table.task(),
            icepress_model::Attempt(1),
        ));
        let result = result.unwrap();
        assert!(is_merged(&result));
        let entries = table.entries(&result);
        std::fs::read(entries[0].file_path()).unwrap()
    };
    let alone = written(1);
    assert!(!alone.is_empty());
    assert_eq!(written(4), alone);
}

/// UTC has several names, of which Arrow makes types of their own.
#[test]
fn times_with_a_zone_are_kept_as_they_are() {
    let mut table = TestTable::new(vec![optional(1, "at", PrimitiveType::Timestamptz)]);
    for first in [0, 1_000] {
        let times = arrow_array::TimestampMicrosecondArray::from_iter_values(first..first + 300);
        let times: ArrayRef = Arc::new(times.with_timezone("UTC"));
        let at = field(1, "at", times.data_type().clone());
        table.data_with(1, &batch(vec![(at, times)]), plain(1).properties());
    }
    assert!(agree(&mut table));
    let ways = table.rewrite().unwrap().ways;
    assert_eq!(ways.encoded, icepress_model::Bytes::ZERO, "{ways:?}");
}

#[test]
fn small_pages_are_left_to_the_encoder_unless_asked_for() {
    let mut table = table(&[plain(7), plain(8)], &[]);
    table.merge_pages = MergePages::WhereItPays;
    let result = table.rewrite().unwrap();
    assert!(!is_merged(&result));
}

#[test]
fn a_page_that_was_changed_is_never_copied() {
    let mut table = table(&[plain(9)], &[]);
    // Merged once, its pages have checksums.
    let result = table.rewrite().unwrap();
    table.group = table.after(&result);
    let path = table.group.inputs[0].path.clone();
    let mut content = std::fs::read(&path).unwrap();
    let reader = SerializedFileReader::new(Bytes::from(content.clone())).unwrap();
    let (start, length) = reader.metadata().row_group(0).column(0).byte_range();
    content[(start + length / 2) as usize] ^= 1;
    std::fs::write(&path, content).unwrap();
    let failure = table.rewrite().unwrap_err();
    assert_eq!(
        failure.kind,
        icepress_model::RewriteFailureKind::CorruptFile
    );
    assert!(
        failure.message.contains("checksum") && failure.message.contains("unique"),
        "{failure:?}"
    );
}

/// A row group of which no row is live becomes nothing, and says nothing of how small the others become.
#[test]
fn a_row_group_that_is_all_deleted_makes_no_file_too_large() {
    let mut table = table(&[plain(1), plain(2), plain(3), plain(4)], &[]);
    table.group.target_file_size = table.group.inputs[0].size;
    let path = table.group.inputs[0].path.clone();
    // Its first two thirds are a row group.
    let deleted: Vec<(&str, i64)> = (0..333).map(|row| (path.as_str(), row)).collect();
    table.delete_positions(2, &deleted);
    let result = table.rewrite().unwrap();
    assert!(is_merged(&result));
    assert_eq!(result.rows_deleted, Rows(333));
    let entries = table.entries(&result);
    let most = table.group.target_file_size.get() * 2;
    let sizes: Vec<u64> = entries
        .iter()
        .map(|file| file.file_size_in_bytes())
        .collect();
    assert!(sizes.iter().all(|size| *size < most), "{sizes:?} of {most}");
}
