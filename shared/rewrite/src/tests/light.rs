//! The light tier: what delete files say is kept row by row, and data files are not rewritten.

use std::{collections::BTreeMap, sync::Arc};

use arrow_array::{RecordBatch, cast::AsArray, types::Int64Type};
use arrow_schema::DataType;
use iceberg::spec::{
    DataContentType, DataFile, DataFileFormat, Datum, NestedField, PrimitiveType, StructType, Type,
};
use icepress_model::{
    Attempt, Bytes, DeleteContent, DeleteFile, Group, GroupResult, Rows, SequenceNumber, Tier,
};
use icepress_table::vectors::decode_vector;
use parquet::{
    arrow::arrow_reader::ParquetRecordBatchReaderBuilder, file::properties::WriterProperties,
};
use proptest::prelude::*;

use super::{
    deletes::numbered,
    noting::Noting,
    support::{
        TestTable, batch, block_on, field, int64, optional, people_fields, read_parquet, structs,
        utf8,
    },
};
use crate::{RewriteContext, rewrite_group};

/// Runs the group in the light tier.
fn light(table: &mut TestTable) -> GroupResult {
    table.group.tier = Tier::Light;
    let result = table.rewrite().unwrap();
    assert!(result.data_files.is_empty());
    assert_eq!(result.rows_in, result.rows_deleted + result.rows_out);
    result
}

/// The deleted positions of each data file, read back by other means than the engine's.
fn told(entries: &[DataFile]) -> BTreeMap<String, Vec<u64>> {
    let mut told = BTreeMap::new();
    for entry in entries {
        assert_eq!(entry.content_type(), DataContentType::PositionDeletes);
        let about = entry.referenced_data_file().unwrap();
        let content = std::fs::read(entry.file_path()).unwrap();
        assert_eq!(entry.file_size_in_bytes(), content.len() as u64);
        let positions: Vec<u64> = if entry.file_format() == DataFileFormat::Puffin {
            let start = entry.content_offset().unwrap() as usize;
            let length = entry.content_size_in_bytes().unwrap() as usize;
            let blob = &content[start..start + length];
            decode_vector(blob).unwrap().iter().collect()
        } else {
            let batches = read_parquet(entry.file_path());
            for batch in &batches {
                let paths = batch.column(0).as_string::<i32>();
                assert!(paths.iter().all(|path| path == Some(about.as_str())));
            }
            let rows = batches.iter().flat_map(|batch| {
                let positions = batch.column(1).as_primitive::<Int64Type>();
                positions.values().iter().map(|position| *position as u64)
            });
            rows.collect()
        };
        assert_eq!(entry.record_count(), positions.len() as u64);
        assert!(positions.is_sorted_by(|left, right| left < right));
        assert!(
            told.insert(about, positions).is_none(),
            "two about one file"
        );
    }
    told
}

/// The group as it is after the commit: the same inputs, with the new delete files alone.
fn after(table: &TestTable, result: &GroupResult) -> Group {
    let mut group = table.group.clone();
    group.deletes.clear();
    for entry in table.entries_of(&result.delete_files) {
        let about = entry.referenced_data_file();
        group.deletes.push(DeleteFile {
            content: match (entry.content_offset(), entry.content_size_in_bytes()) {
                (Some(offset), Some(length)) => DeleteContent::Vector {
                    offset: offset as u64,
                    length: length as u64,
                },
                _ => DeleteContent::Position,
            },
            path: entry.file_path().to_owned(),
            size: Bytes(entry.file_size_in_bytes()),
            rows: Rows(entry.record_count()),
            sequence_number: SequenceNumber(50),
            referenced_data_file: about,
        });
    }
    for input in &mut group.inputs {
        let deletes = (0u32..).zip(&group.deletes);
        let own =
            deletes.filter(|(_, delete)| delete.referenced_data_file.as_ref() == Some(&input.path));
        input.deletes = own.map(|(index, _)| index).collect();
    }
    group
}

/// Three files under every kind of delete before vectors: position deletes of one file and of several, and equality
/// deletes by two keys at two numbers, of which one is not newer than the last file.
fn under_deletes(mut table: TestTable) -> (TestTable, BTreeMap<String, Vec<u64>>) {
    let first = table.data(1, &numbered(0..100));
    let second = table.data(1, &numbered(100..200));
    let third = table.data(3, &numbered(0..50));
    table.delete_positions(
        2,
        &[
            (first.as_str(), 7),
            (first.as_str(), 9),
            (second.as_str(), 0),
            ("other", 3),
        ],
    );
    table.delete_positions(4, &[(first.as_str(), 9), (third.as_str(), 1)]);
    let ids = |ids: &[i64]| batch(vec![(field(1, "id", DataType::Int64), int64(ids.to_vec()))]);
    table.delete_equal(2, &ids(&[5, 150]));
    table.delete_equal(3, &ids(&[6, 9_999]));
    let names = batch(vec![(field(2, "name", DataType::Utf8), utf8([Some("n3")]))]);
    table.delete_equal(4, &names);
    let n3 = |from: u64, ids: std::ops::Range<u64>| -> Vec<u64> {
        ids.filter(|id| id % 7 == 3).map(|id| id - from).collect()
    };
    let with = |mut rows: Vec<u64>, more: &[u64]| {
        rows.extend(more);
        rows.sort_unstable();
        rows.dedup();
        rows
    };
    let expected = BTreeMap::from([
        (first, with(n3(0, 0..100), &[5, 6, 7, 9])),
        (second, with(n3(100, 100..200), &[0, 50])),
        // Deletes by id were no newer than its rows, and hit none of them.
        (third, with(n3(0, 0..50), &[1])),
    ]);
    (table, expected)
}

/// Where the plan says so: one file for all, which names none, and says of each what its own file would.
#[test]
fn c10_c54_every_kind_of_delete_becomes_one_sorted_file_where_they_are_shared() {
    let (mut table, expected) = under_deletes(TestTable::new(people_fields()));
    table.group.shares_deletes = true;
    let before = table.hash();
    let result = light(&mut table);
    let entries = table.entries_of(&result.delete_files);
    let [entry] = entries.as_slice() else {
        panic!("one delete file, not {}", entries.len());
    };
    assert_eq!(entry.referenced_data_file(), None);
    let (first, last) = (expected.keys().next(), expected.keys().last());
    let bound = |path: Option<&String>| Datum::string(path.unwrap());
    assert_eq!(entry.lower_bounds()[&2_147_483_546], bound(first));
    assert_eq!(entry.upper_bounds()[&2_147_483_546], bound(last));
    let mut rows = Vec::new();
    for batch in read_parquet(entry.file_path()) {
        let paths = batch.column(0).as_string::<i32>();
        let positions = batch.column(1).as_primitive::<Int64Type>().values();
        let pairs = paths.iter().zip(positions.iter());
        rows.extend(pairs.map(|(path, position)| (path.unwrap().to_owned(), *position as u64)));
    }
    let wanted = expected
        .iter()
        .flat_map(|(path, positions)| positions.iter().map(|position| (path.clone(), *position)));
    assert_eq!(
        rows,
        wanted.collect::<Vec<_>>(),
        "by path, then by position"
    );
    assert_eq!(entry.record_count(), rows.len() as u64);
    assert_eq!(result.rows_deleted.get(), rows.len() as u64);
    let mut group = after(&table, &result);
    for input in &mut group.inputs {
        input.deletes = vec![0];
    }
    table.group = group;
    assert_eq!(table.hash(), before);
}

#[test]
fn c10_c54_every_kind_of_delete_becomes_one_sorted_file_a_data_file() {
    let (mut table, expected) = under_deletes(TestTable::new(people_fields()));
    let before = table.hash();
    let result = light(&mut table);
    let entries = table.entries_of(&result.delete_files);
    assert_eq!(told(&entries), expected);
    for entry in &entries {
        assert_eq!(entry.file_format(), DataFileFormat::Parquet);
        assert!(entry.file_path().ends_with("-deletes.parquet"));
        // Readers of the manifest alone know which file it is about, however long its path is.
        let about = entry.referenced_data_file().unwrap();
        assert!(about.len() > 64);
        assert_eq!(entry.lower_bounds()[&2_147_483_546], Datum::string(&about));
        assert_eq!(entry.upper_bounds()[&2_147_483_546], Datum::string(&about));
        let positions = &expected[&about];
        assert_eq!(
            entry.lower_bounds()[&2_147_483_545],
            Datum::long(positions[0] as i64)
        );
        let file = std::fs::File::open(entry.file_path()).unwrap();
        let reader = ParquetRecordBatchReaderBuilder::try_new(file).unwrap();
        let columns = reader.parquet_schema().columns();
        let column = |index: usize| {
            let info = columns[index].self_type().get_basic_info().clone();
            (
                info.name().to_owned(),
                info.id(),
                columns[index].max_def_level(),
            )
        };
        assert_eq!(column(0), ("file_path".to_owned(), 2_147_483_546, 0));
        assert_eq!(column(1), ("pos".to_owned(), 2_147_483_545, 0));
    }
    table.group = after(&table, &result);
    assert_eq!(table.hash(), before);
}

#[test]
fn c49_vectors_hold_what_was_deleted_before_and_lie_in_one_file() {
    let (mut table, mut expected) = under_deletes(TestTable::new(people_fields()).upgraded());
    // The first file has a vector: position delete files mean nothing to it any more, and are not listed for it.
    let first = table.group.inputs[0].path.clone();
    table.group.inputs[0].deletes.retain(|delete| *delete > 1);
    table.delete_vectors(3, &[(0, &[90, 91])]);
    let by_position = [7, 9];
    let rows = expected.get_mut(&first).unwrap();
    rows.retain(|row| !by_position.contains(row));
    rows.extend([90, 91]);
    rows.sort_unstable();
    rows.dedup();
    let before = table.hash();
    let result = light(&mut table);
    let entries = table.entries_of(&result.delete_files);
    assert_eq!(told(&entries), expected);
    assert_eq!(result.file_paths().len(), 1);
    assert!(
        entries
            .iter()
            .all(|entry| entry.file_format() == DataFileFormat::Puffin)
    );
    table.group = after(&table, &result);
    assert_eq!(table.hash(), before);
}

#[test]
fn deletes_that_hit_nothing_leave_no_file() {
    for version_3 in [false, true] {
        let mut table = match version_3 {
            true => TestTable::new(people_fields()).upgraded(),
            false => TestTable::new(people_fields()),
        };
        let path = table.data(1, &numbered(0..10));
        let none = batch(vec![(field(1, "id", DataType::Int64), int64([77i64]))]);
        table.delete_equal(2, &none);
        // A position that the file does not have deletes nothing.
        table.delete_positions(2, &[(path.as_str(), 10)]);
        let result = light(&mut table);
        assert!(result.delete_files.is_empty());
        assert_eq!((result.rows_deleted, result.rows_out), (Rows(0), Rows(10)));
    }
}

/// Positions found through a sieve, because keys don't fit, are those found without.
#[test]
fn c08_a_sieve_finds_what_all_keys_find() {
    let table = || {
        let mut table = TestTable::new(people_fields());
        table.data(1, &numbered(0..30_000));
        table.data(2, &numbered(20_000..40_000));
        for (sequence, start) in [(2, 0), (3, 10_000), (3, 25_000)] {
            let keys: Vec<i64> = (start..start + 12_000).step_by(2).collect();
            let keys = batch(vec![(field(1, "id", DataType::Int64), int64(keys))]);
            table.delete_equal(sequence, &keys);
        }
        table
    };
    let mut plenty = table();
    let whole = light(&mut plenty);
    let mut little = table();
    // A quarter of it is for keys: with as much the full tier needs one, too.
    little.memory_cap = Bytes(1280 << 10);
    let spilled = light(&mut little);
    let of = |table: &TestTable, result: &GroupResult| -> Vec<Vec<u64>> {
        told(&table.entries_of(&result.delete_files))
            .into_values()
            .collect()
    };
    assert_eq!(whole.rows_deleted, Rows(11_000 + 2_500 + 1_000 + 6_000));
    assert_eq!(of(&plenty, &whole), of(&little, &spilled));
}

/// Of the data files only the key's column is fetched, and of files that no equality delete applies to nothing at all.
#[test]
fn only_key_columns_of_affected_files_are_read() {
    let mut table = TestTable::new(people_fields());
    let plain = || {
        let properties = WriterProperties::builder().set_dictionary_enabled(false);
        properties
            .set_compression(parquet::basic::Compression::UNCOMPRESSED)
            .build()
    };
    let affected = table.data_with(1, &numbered(0..40_000), plain());
    let newer = table.data_with(5, &numbered(0..40_000), plain());
    let ids = batch(vec![(field(1, "id", DataType::Int64), int64([3i64]))]);
    table.delete_equal(2, &ids);
    table.delete_positions(5, &[(newer.as_str(), 1)]);
    table.group.tier = Tier::Light;
    // So little that no file is small enough to be fetched whole.
    table.memory_cap = Bytes(4 << 20);
    let storage = Arc::new(Noting::default());
    let noted: Arc<Noting> = Arc::clone(&storage);
    let context = RewriteContext {
        storage: noted,
        ..table.context()
    };
    let task = table.task();
    let result = block_on(rewrite_group(&context, &table.metadata, &task, Attempt(1))).unwrap();
    assert_eq!(result.rows_deleted, Rows(2));
    let fetched = |path: &str| -> u64 {
        let reads = storage.reads();
        reads
            .iter()
            .filter(|(read, _)| read == path)
            .map(|(_, bytes)| bytes)
            .sum()
    };
    assert_eq!(fetched(&newer), 0);
    let size = std::fs::metadata(&affected).unwrap().len();
    assert!(
        fetched(&affected) < size * 3 / 4,
        "{} of {size}",
        fetched(&affected)
    );
}

/// Keys whose columns were renamed, promoted, moved into being after the data, or dropped: the same rows as the full tier
/// leaves out.
#[test]
fn c45_keys_of_evolved_columns_hide_the_same_rows_as_a_full_rewrite() {
    let old = vec![
        optional(1, "id", PrimitiveType::Int),
        optional(2, "gone", PrimitiveType::String),
    ];
    let new = vec![
        optional(1, "number", PrimitiveType::Long),
        optional(3, "gone", PrimitiveType::String),
    ];
    let mut table = TestTable::evolved(vec![old, new]);
    let ints = |ids: Vec<i32>| super::support::int32(ids);
    table.data(
        1,
        &batch(vec![
            (field(1, "id", DataType::Int32), ints(vec![1, 2, 3, 4])),
            (
                field(2, "gone", DataType::Utf8),
                utf8([Some("a"), None, Some("c"), Some("d")]),
            ),
        ]),
    );
    table.data(
        2,
        &batch(vec![
            (field(1, "number", DataType::Int64), int64([5i64, 6, 7])),
            (
                field(3, "gone", DataType::Utf8),
                utf8([None, Some("c"), Some("x")]),
            ),
        ]),
    );
    // By the old text column, which new files don't have: NULL equals NULL only, so files without it are hit as a whole.
    table.delete_equal(
        2,
        &batch(vec![(
            field(2, "gone", DataType::Utf8),
            utf8([Some("c"), None]),
        )]),
    );
    // By the new one of the same name.
    table.delete_equal(
        3,
        &batch(vec![(field(3, "gone", DataType::Utf8), utf8([Some("c")]))]),
    );
    // By the promoted number, written before it was promoted and after.
    table.delete_equal(
        3,
        &batch(vec![(field(1, "id", DataType::Int32), ints(vec![4]))]),
    );
    table.delete_equal(
        3,
        &batch(vec![(field(1, "number", DataType::Int64), int64([7i64]))]),
    );
    let full = table.rewrite().unwrap();
    let before = table.hash();
    let result = light(&mut table);
    assert_eq!(result.rows_deleted, full.rows_deleted);
    let told: Vec<Vec<u64>> = told(&table.entries_of(&result.delete_files))
        .into_values()
        .collect();
    assert_eq!(told, [vec![1, 2, 3], vec![1, 2]]);
    table.group = after(&table, &result);
    assert_eq!(table.hash(), before);
}

/// A key inside a struct, in rows whose struct is NULL.
#[test]
fn keys_inside_structs_are_looked_up() {
    let mut table = TestTable::new(vec![
        optional(1, "id", PrimitiveType::Long),
        NestedField::optional(
            4,
            "at",
            Type::Struct(StructType::new(vec![optional(
                5,
                "place",
                PrimitiveType::String,
            )])),
        )
        .into(),
    ]);
    let place = |places: Vec<Option<&'static str>>| {
        structs(vec![(field(5, "place", DataType::Utf8), utf8(places))])
    };
    let at = |array: &arrow_array::ArrayRef| field(4, "at", array.data_type().clone());
    let rows = place(vec![Some("x"), None, Some("y")]);
    table.data(
        1,
        &batch(vec![
            (field(1, "id", DataType::Int64), int64([1i64, 2, 3])),
            (at(&rows), rows),
        ]),
    );
    let keys = place(vec![None, Some("y")]);
    table.delete_equal(2, &batch(vec![(at(&keys), keys)]));
    let result = light(&mut table);
    let told: Vec<Vec<u64>> = told(&table.entries_of(&result.delete_files))
        .into_values()
        .collect();
    assert_eq!(told, [vec![1, 2]]);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever the deletes: the live rows are those of before, in both tiers' eyes.
    #[test]
    fn live_rows_are_the_same_before_and_after(
        files in prop::collection::vec((0i64..5, 1usize..60), 1..5),
        by_position in prop::collection::vec((0usize..5, 0i64..60, 0i64..6), 0..30),
        by_key in prop::collection::vec((prop::option::of(0i64..40), 1i64..7), 0..20),
        version_3 in any::<bool>(),
    ) {
        let mut table = match version_3 {
            true => TestTable::new(people_fields()).upgraded(),
            false => TestTable::new(people_fields()),
        };
        let mut paths = Vec::new();
        for (number, rows) in &files {
            let rows: RecordBatch = numbered(0..*rows as i64);
            paths.push((table.data(*number, &rows), *number));
        }
        for (file, row, number) in by_position {
            if let Some((path, data)) = paths.get(file) {
                table.delete_positions(number.max(*data), &[(path.as_str(), row)]);
            }
        }
        for (key, number) in by_key {
            let name = key.map(|key| format!("n{}", key % 9));
            let names = utf8([name.as_deref()]);
            table.delete_equal(number, &batch(vec![(field(2, "name", DataType::Utf8), names)]));
        }
        let before = table.hash();
        let result = light(&mut table);
        prop_assert_eq!(result.rows_out, before.rows);
        told(&table.entries_of(&result.delete_files));
        table.group = after(&table, &result);
        prop_assert_eq!(table.hash(), before);
    }
}
