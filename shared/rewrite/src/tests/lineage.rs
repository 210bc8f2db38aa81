//! Row lineage: every row keeps its id and the number of its last change, wherever it is moved.

use arrow_array::{Array as _, RecordBatch};
use arrow_schema::{DataType, Field};
use icepress_model::{GroupResult, MergePages, RewriteFailureKind, RowId, Rows};
use parquet::{
    basic::{Encoding, Type as PhysicalType},
    file::properties::WriterProperties,
};

use super::support::{
    TestTable, batch, field, int64, longs, optional, people, people_fields, read_parquet, texts,
};
use crate::lineage::lineage_fields;

/// A row with its lineage: `id`, `_row_id`, `_last_updated_sequence_number`.
type Traced = (i64, Option<i64>, Option<i64>);

const ROW_ID: &str = "_row_id";
const UPDATED: &str = "_last_updated_sequence_number";

/// A batch of `id` and `name` with stored lineage.
fn stored(rows: &[Traced]) -> RecordBatch {
    let columns = [1i64, 2_147_483_540, 2_147_483_539].map(|id| id as i32);
    batch(vec![
        (
            field(columns[2], UPDATED, DataType::Int64),
            int64(rows.iter().map(|row| row.2)),
        ),
        (
            field(columns[0], "id", DataType::Int64),
            int64(rows.iter().map(|row| row.0)),
        ),
        (
            field(columns[1], ROW_ID, DataType::Int64),
            int64(rows.iter().map(|row| row.1)),
        ),
    ])
}

fn ids(range: std::ops::Range<i64>) -> RecordBatch {
    let rows: Vec<_> = range.map(|id| (id, Some("x"))).collect();
    people(&rows)
}

/// What the files of a result hold, read plainly: no reader of ours fills anything in.
fn written(table: &TestTable, result: &GroupResult) -> Vec<Traced> {
    let mut traced = Vec::new();
    for entry in table.entries(result) {
        assert_eq!(entry.first_row_id(), None);
        for batch in read_parquet(entry.file_path()) {
            let (rows, updated) = (longs(&batch, ROW_ID), longs(&batch, UPDATED));
            let ids = longs(&batch, "id");
            for ((id, row), updated) in ids.iter().zip(rows).zip(updated) {
                traced.push((id.unwrap(), row, updated));
            }
        }
    }
    traced.sort_unstable();
    traced
}

fn identify(table: &mut TestTable, input: usize, first: i64) {
    table.group.inputs[input].first_row_id = Some(RowId(first));
}

/// A file without the columns, one that stores some values, one of several row groups of which all rows of the first are
/// deleted, each under another kind of delete. Failed where NULLs that a file stores were kept.
#[test]
fn c21_every_row_keeps_its_lineage_whatever_is_deleted() {
    let mut table = TestTable::new(people_fields()).upgraded();
    table.data(3, &ids(0..10));
    identify(&mut table, 0, 1000);
    let rows = [
        (10, Some(77), Some(2)),
        (11, None, Some(1)),
        (12, Some(5), None),
        (13, None, None),
    ];
    table.data(4, &stored(&rows));
    identify(&mut table, 1, 2000);
    let small = WriterProperties::builder()
        .set_max_row_group_row_count(Some(7))
        .build();
    let path = table.data_with(5, &ids(20..60), small);
    identify(&mut table, 2, 3000);

    table.delete_vectors(6, &[(0, &[0, 4, 9])]);
    let gone: Vec<_> = (0..9).map(|position| (path.as_str(), position)).collect();
    table.delete_positions(6, &gone);
    table.delete_equal(
        6,
        &batch(vec![(field(1, "id", DataType::Int64), int64([10, 40]))]),
    );

    let result = table.rewrite().unwrap();
    assert_eq!(result.rows_deleted, Rows(14));
    let mut expected = Vec::new();
    for id in [1, 2, 3, 5, 6, 7, 8] {
        expected.push((id, Some(1000 + id), Some(3)));
    }
    expected.extend([
        (11, Some(2001), Some(1)),
        (12, Some(5), Some(4)),
        (13, Some(2003), Some(4)),
    ]);
    for id in (29..60).filter(|id| *id != 40) {
        expected.push((id, Some(3000 + id - 20), Some(5)));
    }
    assert_eq!(written(&table, &result), expected);

    // The outputs again, under new first row ids and a new number: what is stored counts.
    let before = table.hash();
    table.group = table.after(&result);
    table.group.inputs[0].sequence_number.0 = 900;
    identify(&mut table, 0, 9000);
    assert!(table.hash().is_same_as(&before));
    assert_eq!(before.identified, before.rows);
    let again = table.rewrite().unwrap();
    assert_eq!(written(&table, &again), expected);

    // And a rewrite that forgets them is found out.
    identify(&mut table, 0, 9000);
    let mut forgotten = table.after(&again);
    forgotten.inputs[0].path = table.next_path("parquet");
    let plain: Vec<_> = expected.iter().map(|row| (row.0, Some("x"))).collect();
    super::support::write_parquet(
        &forgotten.inputs[0].path,
        &people(&plain),
        WriterProperties::builder().build(),
    );
    forgotten.inputs[0].size.0 = std::fs::metadata(&forgotten.inputs[0].path).unwrap().len();
    forgotten.inputs[0].first_row_id = Some(RowId(9000));
    let names = table.hash();
    table.group = forgotten;
    assert_eq!(table.hash().rows, names.rows);
    assert!(!table.hash().is_same_as(&names));
}

/// What does not fit its memory is deleted by a pass over key columns, which must not take lineage for one, and the
/// file is read row group by row group. Failed where positions began anew in each of them, or in each batch.
#[test]
fn c21_lineage_survives_deletes_that_spill() {
    let mut table = TestTable::new(people_fields()).upgraded();
    let groups = WriterProperties::builder().set_max_row_group_row_count(Some(42_000));
    table.data_with(1, &ids(0..180_000), groups.build());
    identify(&mut table, 0, 500);
    for part in 0..10 {
        let keys: Vec<i64> = (0..180_000)
            .filter(|id| id % 10 == part && id % 3 == 0)
            .collect();
        let keys = batch(vec![(field(1, "id", DataType::Int64), int64(keys))]);
        table.delete_equal(2, &keys);
    }
    let whole = table.hash();
    table.memory_cap.0 = 7680 << 10;
    assert!(super::deletes::passes(&table) >= 1);
    assert!(table.hash().is_same_as(&whole));
    let result = table.rewrite().unwrap();
    let left = (0..180_000).filter(|id| id % 3 != 0);
    let expected: Vec<Traced> = left.map(|id| (id, Some(500 + id), Some(1))).collect();
    let written = written(&table, &result);
    assert_eq!(written.len(), expected.len());
    let pairs = written.iter().zip(&expected);
    assert_eq!(pairs.into_iter().find(|(left, right)| left != right), None);
}

/// An upgraded table whose files have no ids yet: none is made up, the first commit gives them. What is known of the last
/// change is kept.
#[test]
fn c22_rows_without_ids_get_none_from_the_rewrite() {
    let mut table = TestTable::new(people_fields()).upgraded();
    table.data(3, &ids(0..2));
    table.data(5, &ids(2..4));
    let result = table.rewrite().unwrap();
    let expected = [(0, 3), (1, 3), (2, 5), (3, 5)].map(|(id, updated)| (id, None, Some(updated)));
    assert_eq!(written(&table, &result), expected);
    let before = table.hash();
    assert_eq!(before.identified, Rows(0));
    table.group = table.after(&result);
    identify(&mut table, 0, 70);
    let after = table.hash();
    assert!(after.identified == Rows(4) && after.is_same_as(&before));
}

#[test]
fn files_have_the_reserved_columns_from_version_3_on_only() {
    let columns = |table: &TestTable| {
        let result = table.rewrite().unwrap();
        let entry = &table.entries(&result)[0];
        let file = std::fs::File::open(entry.file_path()).unwrap();
        let reader = parquet::file::reader::SerializedFileReader::new(file).unwrap();
        let metadata = parquet::file::reader::FileReader::metadata(&reader).clone();
        let schema = metadata.file_metadata().schema_descr_ptr();
        let columns = schema.columns().iter();
        let described = columns.map(|column| {
            let info = column.self_type().get_basic_info();
            assert!(info.id() < 100 || column.physical_type() == PhysicalType::INT64);
            assert!(info.id() < 100 || column.max_def_level() == 1);
            (info.id(), column.name().to_owned())
        });
        (described.collect::<Vec<_>>(), entry.value_counts().len())
    };
    let mut table = TestTable::new(people_fields());
    table.data(1, &ids(0..3));
    let own = [(1, "id"), (2, "name")].map(|(id, name)| (id, name.to_owned()));
    assert_eq!(columns(&table), (own.to_vec(), 2));
    assert_eq!(table.hash().identified, Rows(0));
    let table = table.upgraded();
    let lineage = [(2_147_483_540, ROW_ID), (2_147_483_539, UPDATED)];
    let lineage = lineage.map(|(id, name)| (id, name.to_owned()));
    assert_eq!(columns(&table), ([own, lineage].concat(), 2));
}

#[test]
fn row_ids_are_written_as_differences() {
    let mut table = TestTable::new(people_fields()).upgraded();
    for (file, first) in [0, 500].into_iter().enumerate() {
        table.data(1, &ids(first..first + 500));
        identify(&mut table, file, first);
    }
    for merge_pages in [MergePages::Always, MergePages::Never] {
        table.merge_pages = merge_pages;
        let result = table.rewrite().unwrap();
        let file = std::fs::File::open(table.entries(&result)[0].file_path()).unwrap();
        let reader = parquet::file::reader::SerializedFileReader::new(file).unwrap();
        let footer = parquet::file::reader::FileReader::metadata(&reader).clone();
        let columns = footer.row_group(0).columns().iter();
        let column = columns
            .clone()
            .find(|it| it.column_descr().name() == ROW_ID);
        let column = column.unwrap();
        let encodings: Vec<Encoding> = column.encodings().collect();
        assert!(
            encodings.contains(&Encoding::DELTA_BINARY_PACKED),
            "{encodings:?}"
        );
        assert_eq!(column.dictionary_page_offset(), None);
        // A thousand of them, of eight bytes each.
        assert!(
            column.compressed_size() < 300,
            "{}",
            column.compressed_size()
        );
    }
}

#[test]
fn a_column_with_a_reserved_name_is_refused() {
    let columns = vec![optional(1, "_row_id", iceberg::spec::PrimitiveType::Long)];
    let table = TestTable::new(columns);
    let own = table.metadata.current_schema().as_struct();
    assert!(lineage_fields(&table.metadata, own).unwrap().is_empty());
    let mut table = table.upgraded();
    table.data(
        1,
        &batch(vec![(
            Field::new("_row_id", DataType::Int64, true),
            int64([1]),
        )]),
    );
    let failure = table.rewrite().unwrap_err();
    assert_eq!(failure.kind, RewriteFailureKind::Unsupported);
    assert!(failure.message.contains("'_row_id'"), "{}", failure.message);
}

#[test]
fn rows_are_read_as_ever() {
    let mut table = TestTable::new(people_fields()).upgraded();
    table.data(1, &people(&[(1, Some("a")), (2, None)]));
    identify(&mut table, 0, 0);
    let rows = table.rewritten();
    assert_eq!(texts(&rows, "name"), [Some("a".to_owned()), None]);
    assert_eq!(rows.num_columns(), 2);
    assert_eq!(rows.column(0).null_count(), 0);
}
