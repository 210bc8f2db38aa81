//! The memory cap of a group, held against what the allocator really gave (cases C65 and C66): files of some kilobytes
//! that are gigabytes once decoded, wide tables, pages that claim much. One test at a time, for the allocator counts all.
#![allow(
    clippy::unwrap_used,
    reason = "a fixture that fails should fail the test at once"
)]

use std::sync::{Arc, Mutex, PoisonError};

use arrow_array::{Array, ArrayRef, RecordBatch, StringArray, StringViewArray, UInt32Array};
use arrow_schema::DataType;
use arrow_select::take::take;
use iceberg::spec::PrimitiveType;
use icepress_model::{Bytes, GroupResult, MergePages, RewriteFailure, RewriteFailureKind, Rows};
use icepress_rewrite::{
    Look, Opinion, Progress, RewriteContext, RowsHash, hash_rows, rewrite_group, second_opinion,
};
use parquet::{
    basic::{Compression, Encoding, ZstdLevel},
    file::properties::{
        EnabledStatistics, WriterProperties, WriterPropertiesBuilder, WriterVersion,
    },
};
use peak_alloc::PeakAlloc;

#[path = "../src/tests/support.rs"]
#[allow(dead_code, unreachable_pub, reason = "shared with the unit tests")]
mod support;

use support::{TestTable, batch, field, int64, optional, people_fields};

#[global_allocator]
static MEMORY: PeakAlloc = PeakAlloc;

/// What is measured must be alone.
static ALONE: Mutex<()> = Mutex::new(());

const CAP: Bytes = Bytes::mebibytes(64);

/// What `act` gives, and how much memory was taken at its peak beyond what was taken before.
fn measured<T>(act: impl FnOnce() -> T) -> (T, u64) {
    let before = MEMORY.current_usage();
    MEMORY.reset_peak_usage();
    let made = act();
    (made, MEMORY.peak_usage().saturating_sub(before) as u64)
}

/// Rewrites within the cap, whatever comes of it.
#[track_caller]
fn rewritten(table: &TestTable) -> Result<GroupResult, RewriteFailure> {
    let (result, taken) = measured(|| table.rewrite());
    let cap = table.memory_cap;
    assert!(taken <= cap.get(), "{} were taken of {cap}", Bytes(taken));
    result
}

/// As pyarrow before 19, Spark and Flink write: without a word of how large values are once decoded.
fn silent() -> WriterPropertiesBuilder {
    WriterProperties::builder()
        .set_statistics_enabled(EnabledStatistics::None)
        .set_compression(Compression::ZSTD(ZstdLevel::default()))
        .set_dictionary_page_size_limit(64 << 20)
}

/// `rows` rows of `id` and `name` whose texts are `texts`, again and again.
fn repeated(texts: &[String], rows: i64) -> RecordBatch {
    let texts: ArrayRef = Arc::new(StringViewArray::from_iter_values(texts));
    let count = texts.len() as i64;
    let indices: UInt32Array = (0..rows).map(|row| Some((row % count) as u32)).collect();
    batch(vec![
        (field(1, "id", DataType::Int64), int64(0..rows)),
        (
            field(2, "name", DataType::Utf8View),
            take(&texts, &indices, None).unwrap(),
        ),
    ])
}

/// Text that does not compress.
fn noise(length: usize, seed: u64) -> String {
    let mut state = seed | 1;
    let mut next = || {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        char::from(b' ' + (state >> 40) as u8 % 95)
    };
    (0..length).map(|_| next()).collect()
}

fn table_of(texts: &[String], rows: i64) -> TestTable {
    let mut table = TestTable::new(people_fields());
    table.memory_cap = CAP;
    table.data_with(1, &repeated(texts, rows), silent().build());
    table.data_with(1, &repeated(&["short".to_owned()], 5), silent().build());
    table
}

fn input_bytes(table: &TestTable) -> u64 {
    table
        .group
        .inputs
        .iter()
        .map(|input| input.size.get())
        .sum()
}

#[test]
fn c65_a_long_value_that_thousands_of_rows_share_stays_within_the_cap() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    // 200 KB 9,000 times are 1.8 GB, and 300 KB pass what offsets of 32 bits can say.
    for length in [200_000, 300_000] {
        let mut table = table_of(&["x".repeat(length)], 9_000);
        assert!(input_bytes(&table) < 200_000);
        let (before, taken) = measured(|| table.hash());
        assert!(taken <= CAP.get(), "{} to hash", Bytes(taken));
        assert_eq!(before.rows, Rows(9_005));
        let result = rewritten(&table).unwrap();
        assert_eq!(result.rows_out, Rows(9_005));
        assert!(result.bytes_out.get() < 2 * input_bytes(&table));
        table.group = table.after(&result);
        assert_eq!(table.hash(), before);
    }
}

#[test]
fn c65_long_values_that_outgrow_a_usual_dictionary_are_not_written_once_a_row() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let texts: Vec<String> = (0..16).map(|seed| noise(250_000, seed)).collect();
    let table = table_of(&texts, 2_000);
    let result = rewritten(&table).unwrap();
    let (before, after) = (input_bytes(&table), result.bytes_out.get());
    assert!(
        before > 1 << 20 && after <= before * 11 / 10,
        "{before} became {after}"
    );
}

#[test]
fn c65_keys_of_equality_deletes_are_copied_by_steps() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let mut table = table_of(&["x".repeat(200_000), "y".to_owned()], 4_000);
    let key = |text: &str| {
        let text: ArrayRef = Arc::new(StringArray::from(vec![text]));
        batch(vec![(field(2, "name", DataType::Utf8), text)])
    };
    table.delete_equal(2, &key("y"));
    table.delete_equal(2, &key(&"x".repeat(200_001)));
    let result = rewritten(&table).unwrap();
    assert_eq!(result.rows_deleted, Rows(2_000));
}

/// Keys that are several times what there is memory for, and the data files many times larger.
#[test]
fn c08_equality_deletes_beyond_the_cap_are_sifted() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    const ROWS: i64 = 500_000;
    const KEYS: i64 = 200_000;
    let mut table = TestTable::new(vec![optional(1, "id", PrimitiveType::Long)]);
    table.memory_cap = Bytes::mebibytes(16);
    let numbers =
        |numbers: Vec<i64>| batch(vec![(field(1, "id", DataType::Int64), int64(numbers))]);
    let small = || silent().set_max_row_group_row_count(Some(100_000)).build();
    table.data_with(1, &numbers((0..ROWS).collect()), small());
    for part in 0..4 {
        let own = |key: &i64| key % 4 == part;
        // A quarter of them are there; the rest were deleted elsewhere.
        let keys: Vec<i64> = (0..KEYS).filter(own).map(|key| key * 10).collect();
        table.delete_equal(2, &numbers(keys));
    }
    for merge_pages in [MergePages::Never, MergePages::Always] {
        table.merge_pages = merge_pages;
        let result = rewritten(&table).unwrap();
        assert_eq!(result.rows_deleted.get(), (ROWS / 10) as u64);
    }
}

#[test]
fn c65_what_can_t_be_decoded_within_the_cap_is_refused_for_its_size() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    // One page of one value, which a kilobyte of zstd stands for.
    let plain = silent().set_dictionary_enabled(false).build();
    let mut table = TestTable::new(people_fields());
    table.memory_cap = CAP;
    table.data_with(1, &repeated(&["x".repeat(150 << 20)], 1), plain);
    assert!(input_bytes(&table) < 1 << 20);
    let failure = rewritten(&table).unwrap_err();
    assert_eq!(failure.kind, RewriteFailureKind::OverMemory);
    for word in [
        "a value of 157286",
        "bytes in column name",
        "give the optimizer more memory",
    ] {
        assert!(failure.message.contains(word), "{failure}");
    }
    assert!(!failure.message.contains("corrupt"), "{failure}");
    // Fixed bytes are copied into batches: as many rows as there is room for.
    let fixed = PrimitiveType::Fixed(100_000);
    let mut table = TestTable::new(vec![optional(1, "f", fixed)]);
    table.memory_cap = CAP;
    let values = std::iter::repeat_n(vec![7u8; 100_000], 1_000);
    let values = arrow_array::FixedSizeBinaryArray::try_from_iter(values).unwrap();
    let rows = batch(vec![(
        field(1, "f", values.data_type().clone()),
        Arc::new(values) as ArrayRef,
    )]);
    table.data_with(1, &rows, silent().set_write_batch_size(8).build());
    drop(rows);
    assert_eq!(rewritten(&table).unwrap().rows_out, Rows(1_000));
}

/// Files of every encoding with some bytes that are not those that were written: whatever headers claim then, the cap holds, and
/// the failure is not one of those that are tried again.
#[test]
fn hostile_bytes_take_no_more_than_the_cap() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    const ROUNDS: u64 = 60;
    let rows = || {
        repeated(
            &(0..40).map(|seed| noise(12, seed)).collect::<Vec<_>>(),
            400,
        )
    };
    let plain = || silent().set_dictionary_enabled(false);
    let written: [fn(WriterPropertiesBuilder) -> WriterPropertiesBuilder; 5] = [
        |_| silent(),
        |plain| plain.set_writer_version(WriterVersion::PARQUET_2_0),
        |plain| plain.set_compression(Compression::SNAPPY),
        |plain| {
            plain
                .set_encoding(Encoding::DELTA_BYTE_ARRAY)
                .set_column_encoding("id".into(), Encoding::DELTA_BINARY_PACKED)
        },
        |_| {
            silent()
                .set_data_page_row_count_limit(50)
                .set_write_batch_size(50)
        },
    ];
    let mut refused = 0;
    for (number, properties) in written.into_iter().enumerate() {
        let mut table = TestTable::new(people_fields());
        table.memory_cap = CAP;
        let path = table.data_with(1, &rows(), properties(plain()).build());
        let whole = std::fs::read(&path).unwrap();
        let mut state = number as u64 + 1;
        let mut next = |below: usize| {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            (state >> 33) as usize % below
        };
        for round in 0..ROUNDS {
            let mut damaged = whole.clone();
            for _ in 0..=next(3) {
                let at = next(damaged.len());
                damaged[at] = match next(3) {
                    0 => 0xff,
                    1 => damaged[at] ^ (1 << next(8)),
                    _ => next(256) as u8,
                };
            }
            std::fs::write(&path, damaged).unwrap();
            table.merge_pages = match round % 2 {
                0 => MergePages::Never,
                _ => MergePages::Always,
            };
            if let Err(failure) = rewritten(&table) {
                assert_ne!(failure.kind, RewriteFailureKind::Transient, "{failure}");
                refused += 1;
            }
        }
    }
    assert!(refused > 50, "only {refused} were refused");
}

/// Footers are forgotten once their files are read: all of these would take several times the cap.
#[test]
fn c66_thousands_of_inputs_stay_within_the_cap() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    const INPUTS: usize = 2_500;
    let mut table = TestTable::new(people_fields());
    table.memory_cap = Bytes::mebibytes(8);
    let path = table.data_with(1, &repeated(&["text".to_owned()], 3), silent().build());
    for _ in 1..INPUTS {
        table.adopt(1, &path, 3);
    }
    for merge_pages in [MergePages::Never, MergePages::Always] {
        table.merge_pages = merge_pages;
        let result = rewritten(&table).unwrap();
        assert_eq!(result.rows_out, Rows(3 * INPUTS as u64));
        assert_eq!(result.row_groups_in, INPUTS as u64);
    }
}

/// `files` files of `columns` text columns, each with a dictionary of its own.
fn wide(columns: usize, files: usize, rows: usize, cap: Bytes) -> TestTable {
    let ids = || 1..=columns as i32;
    let fields = ids().map(|id| optional(id, &format!("c{id}"), PrimitiveType::String));
    let mut table = TestTable::new(fields.collect());
    table.memory_cap = cap;
    for file in 0..files {
        let texts: ArrayRef = Arc::new(StringArray::from_iter_values((0..rows).map(|row| {
            let value = (row * 7919 + file * 31) % 500;
            format!("{value:012}{value:012}{value:012}")
        })));
        let columns = ids().map(|id| {
            (
                field(id, &format!("c{id}"), DataType::Utf8),
                Arc::clone(&texts),
            )
        });
        let properties = WriterProperties::builder()
            .set_compression(Compression::ZSTD(ZstdLevel::default()))
            .build();
        table.data_with(1, &batch(columns.collect()), properties);
    }
    table
}

#[test]
fn c66_wide_tables_come_out_no_larger_and_in_no_more_row_groups() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let table = wide(150, 4, 1_000, Bytes::mebibytes(48));
    let result = rewritten(&table).unwrap();
    assert!(
        result.row_groups_out <= result.row_groups_in,
        "{} row groups became {}",
        result.row_groups_in,
        result.row_groups_out
    );
    let (before, after) = (input_bytes(&table), result.bytes_out.get());
    assert!(after <= before * 21 / 20, "{before} became {after}");
    // Where memory does not do for rows that are encoded, nothing is made worse; pages that are merged take less.
    let mut narrow = wide(150, 2, 4_000, Bytes::mebibytes(20));
    let result = rewritten(&narrow).unwrap();
    assert!(result.row_groups_out <= result.row_groups_in);
    assert!(result.bytes_out.get() <= input_bytes(&narrow) * 21 / 20);
    narrow.merge_pages = MergePages::Never;
    let failure = rewritten(&narrow).unwrap_err();
    assert_eq!(failure.kind, RewriteFailureKind::OverMemory);
    assert!(
        failure.message.contains("row groups would become"),
        "{failure}"
    );
}

#[test]
fn c66_a_thousand_columns_come_out_no_larger_and_in_no_more_row_groups() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let mut table = wide(1_000, 2, 1_000, Bytes::mebibytes(128));
    let before = input_bytes(&table);
    let result = rewritten(&table).unwrap();
    let (groups, after) = (result.row_groups_out, result.bytes_out.get());
    assert!(groups <= result.row_groups_in, "{groups} row groups");
    assert!(after <= before * 102 / 100, "{before} became {after}");
    // As many columns of rows do not fit, and nothing is made worse.
    table.merge_pages = MergePages::Never;
    let failure = rewritten(&table).unwrap_err();
    assert_eq!(failure.kind, RewriteFailureKind::OverMemory);
}
