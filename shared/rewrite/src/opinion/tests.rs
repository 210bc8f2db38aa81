//! Wrong outputs, each made by hand, and this check alone to find them (cases C50 and C60). That right ones pass is held
//! by every other test of the engine: each rewrite of theirs is put before it.

use std::sync::Arc;

use arrow_array::{ArrayRef, BooleanArray, ListArray, RecordBatch, types::Int32Type};
use arrow_schema::{DataType, Field, TimeUnit};
use iceberg::spec::{
    ListType, NestedField, NestedFieldRef, PrimitiveType, Transform, Type, UnboundPartitionField,
    UnboundPartitionSpec,
};
use icepress_model::{Bytes, Group, InputFile, Rows, SequenceNumber, SpecId};
use parquet::file::properties::{EnabledStatistics, WriterProperties};
use proptest::prelude::*;
use serde_json::json;

use super::{Look, Opinion};
use crate::tests::support::{
    TestTable, batch, field, int32, int64, optional, people, people_fields, utf8, write_parquet,
};

/// The faults of an output, whatever wrote it.
fn faults_of(table: &mut TestTable, written: &RecordBatch, look: Look) -> Opinion {
    let path = table.next_path("out.parquet");
    write_parquet(&path, written, WriterProperties::builder().build());
    let after = Group {
        inputs: vec![InputFile {
            size: Bytes(std::fs::metadata(&path).unwrap().len()),
            path,
            rows: Rows(written.num_rows() as u64),
            sequence_number: SequenceNumber(100),
            first_row_id: None,
            deletes: Vec::new(),
        }],
        deletes: Vec::new(),
        ..table.group.clone()
    };
    table.opinion(&after, look).unwrap()
}

fn assert_found(table: &mut TestTable, written: &RecordBatch, what: &str) {
    for look in [Look::Footers, Look::Pages] {
        let faults = faults_of(table, written, look).faults;
        assert!(
            faults.iter().any(|fault| fault.contains(what)),
            "{look:?}: {what}: {faults:?}"
        );
    }
}

fn assert_right(table: &mut TestTable, written: &RecordBatch) {
    for look in [Look::Footers, Look::Pages] {
        assert_eq!(faults_of(table, written, look).faults, Vec::<String>::new());
    }
}

fn longs(names: &[&str]) -> Vec<NestedFieldRef> {
    (1..)
        .zip(names)
        .map(|(id, name)| optional(id, name, PrimitiveType::Long))
        .collect()
}

/// A batch of columns with the ids 1, 2, …
fn numbered(columns: Vec<ArrayRef>) -> RecordBatch {
    let fields = (1..).zip(columns).map(|(id, column)| {
        let data_type = column.data_type().clone();
        (field(id, &format!("c{id}"), data_type), column)
    });
    batch(fields.collect())
}

/// What was committed before columns without an id were told by their names: NULL in place of their values.
#[test]
fn c50_a_column_without_an_id_that_was_written_as_null() {
    let rows = batch(vec![
        (field(1, "id", DataType::Int64), int64([1, 2])),
        (Field::new("name", DataType::Utf8, true), utf8(["x", "y"])),
    ]);
    let lost = people(&[(1, None), (2, None)]);
    let mapping = json!([{"field-id": 1, "names": ["id"]}, {"field-id": 2, "names": ["name"]}]);
    let mapping = mapping.to_string();
    let properties = [("schema.name-mapping.default", mapping.as_str())];
    let mut mapped = TestTable::with_properties(people_fields(), &properties);
    mapped.data(1, &rows);
    let what = "column 'name' (field id 2) has 2 values in the old files and 0 in the new ones";
    assert_found(&mut mapped, &lost, what);
    assert_right(&mut mapped, &people(&[(2, Some("y")), (1, Some("x"))]));

    let mut unmapped = TestTable::new(people_fields());
    unmapped.data(1, &rows);
    assert_found(
        &mut unmapped,
        &lost,
        "neither field id nor name mapping says which column",
    );
}

#[test]
fn c60_two_columns_of_one_type_that_were_crossed() {
    let booleans =
        |values: [bool; 4]| -> ArrayRef { Arc::new(BooleanArray::from(values.to_vec())) };
    let pairs: Vec<(ArrayRef, ArrayRef)> = vec![
        // Their bounds tell them apart.
        (int64([1, 2, 3, 4]), int64([5, 6, 7, 8])),
        // As many values, and the same bounds.
        (int64([1, 2, 2, 9]), int64([1, 9, 9, 9])),
        (
            int64([None, Some(1), None, Some(2)]),
            int64([Some(1), None, None, Some(2)]),
        ),
        // The very same values, in other rows.
        (int64([1, 2, 3, 4]), int64([2, 3, 4, 1])),
        (
            booleans([true, false, true, true]),
            booleans([false, true, false, true]),
        ),
        (utf8(["a", "b", "b", "c"]), utf8(["a", "a", "b", "c"])),
    ];
    for (one, other) in pairs {
        let column = match one.data_type() {
            DataType::Boolean => PrimitiveType::Boolean,
            DataType::Utf8 => PrimitiveType::String,
            _ => PrimitiveType::Long,
        };
        let fields = vec![
            optional(1, "a", column.clone()),
            optional(2, "b", column),
            optional(3, "row", PrimitiveType::Int),
        ];
        let mut table = TestTable::new(fields);
        let rows = |a: &ArrayRef, b: &ArrayRef| {
            numbered(vec![Arc::clone(a), Arc::clone(b), int32([1, 2, 3, 4])])
        };
        table.data(1, &rows(&one, &other));
        assert_right(&mut table, &rows(&one, &other));
        for look in [Look::Footers, Look::Pages] {
            let crossed = faults_of(&mut table, &rows(&other, &one), look);
            assert_ne!(crossed.faults, Vec::<String>::new(), "{one:?} {other:?}");
            let doubled = faults_of(&mut table, &rows(&one, &one), look);
            assert_ne!(doubled.faults, Vec::<String>::new(), "{one:?} {other:?}");
        }
    }
}

/// Footers are enough for columns that can't be taken for one another: no page is read.
#[test]
fn footers_decide_where_they_can() {
    let mut table = TestTable::new(longs(&["a", "b"]));
    let rows = numbered(vec![int64([1, 2]), int64([8, 9])]);
    table.data(1, &rows);
    let opinion = faults_of(&mut table, &rows, Look::Footers);
    assert_eq!((opinion.compared, opinion.by_pages), (2, 0));
    assert_eq!(faults_of(&mut table, &rows, Look::Pages).by_pages, 2);
    // Without statistics they can't.
    let bare = WriterProperties::builder()
        .set_statistics_enabled(EnabledStatistics::None)
        .build();
    table.data_with(1, &rows, bare);
    let twice = numbered(vec![int64([1, 2, 1, 2]), int64([8, 9, 8, 9])]);
    let opinion = faults_of(&mut table, &twice, Look::Footers);
    assert_eq!((opinion.faults.len(), opinion.by_pages), (0, 2));
    let wrong = numbered(vec![int64([1, 2, 1, 2]), int64([8, 9, 8, 8])]);
    assert_found(
        &mut table,
        &wrong,
        "column 'b' (field id 2) has other values",
    );
}

/// However many rows a row group has, no more of them are summed at a time than memory allows, and none is left out.
#[test]
fn large_row_groups_are_summed_piece_by_piece() {
    let rows = 300_000;
    let numbers =
        |factor: i64| int64((0..rows).map(move |row| (row % 7 != 0).then_some(row * factor)));
    let mut table = TestTable::new(longs(&["a", "b"]));
    table.memory_cap = Bytes::mebibytes(16);
    let path = table.data(1, &numbered(vec![numbers(1), numbers(-1)]));
    table.delete_positions(2, &[(&path, 0), (&path, 299_999)]);
    let live = |rows: &RecordBatch| rows.slice(1, 299_998);
    assert_right(&mut table, &live(&numbered(vec![numbers(1), numbers(-1)])));
    let mut one_off: Vec<Option<i64>> = (0..rows)
        .map(|row| (row % 7 != 0).then_some(-row))
        .collect();
    one_off[299_990] = Some(5);
    let wrong = live(&numbered(vec![numbers(1), int64(one_off)]));
    assert_found(
        &mut table,
        &wrong,
        "column 'b' (field id 2) has other values",
    );
}

/// Of deleted rows nothing is counted, and what is left must be left.
#[test]
fn deleted_rows_count_for_nothing() {
    let table = || {
        let mut table = TestTable::new(longs(&["a", "b"]));
        let rows = numbered(vec![
            int64([1, 2, 3, 4]),
            int64([Some(4), None, Some(2), Some(1)]),
        ]);
        let path = table.data(1, &rows);
        (table, path)
    };
    let (mut by_position, path) = table();
    by_position.delete_positions(2, &[(&path, 1)]);
    let (mut by_value, _) = table();
    by_value.delete_equal(
        2,
        &batch(vec![(field(1, "a", DataType::Int64), int64([2]))]),
    );
    let (mut by_vector, _) = table();
    by_vector.delete_vectors(2, &[(0, &[1])]);
    for table in [&mut by_position, &mut by_value, &mut by_vector] {
        assert_right(table, &numbered(vec![int64([1, 3, 4]), int64([4, 2, 1])]));
        let crossed = numbered(vec![int64([4, 2, 1]), int64([1, 3, 4])]);
        assert_found(table, &crossed, "has other values");
        let lost = numbered(vec![int64([1, 3, 4]), int64([Some(4), Some(2), None])]);
        assert_found(
            table,
            &lost,
            "column 'b' (field id 2) has 3 values in the old files and 2",
        );
        let brought_back = numbered(vec![int64([1, 2, 3, 4]), int64([4, 2, 1, 1])]);
        let faults = faults_of(table, &brought_back, Look::Pages).faults;
        assert!(
            faults[0].contains("3 live rows, and the new ones 4"),
            "{faults:?}"
        );
    }
}

/// A value of a list has a place: moved to another row, or to another place in its list, it is another one.
#[test]
fn values_in_lists_have_their_place() {
    let element = NestedField::list_element(2, Type::Primitive(PrimitiveType::Int), false);
    let list_type = Type::List(ListType {
        element_field: element.into(),
    });
    let fields = vec![NestedField::optional(1, "l", list_type).into()];
    let rows = |lists: Vec<Option<Vec<Option<i32>>>>| {
        let lists: ArrayRef = Arc::new(ListArray::from_iter_primitive::<Int32Type, _, _>(lists));
        batch(vec![(field(1, "l", lists.data_type().clone()), lists)])
    };
    let mut table = TestTable::new(fields);
    let right = vec![
        Some(vec![Some(1), None, Some(2)]),
        None,
        Some(vec![]),
        Some(vec![Some(3)]),
    ];
    table.data(1, &rows(right.clone()));
    assert_right(&mut table, &rows(right.clone()));
    for wrong in [
        vec![
            Some(vec![Some(1), Some(2), None]),
            None,
            Some(vec![]),
            Some(vec![Some(3)]),
        ],
        vec![
            Some(vec![Some(1), None, Some(3)]),
            None,
            Some(vec![]),
            Some(vec![Some(2)]),
        ],
        vec![
            Some(vec![Some(1), None, None]),
            None,
            Some(vec![]),
            Some(vec![Some(3)]),
        ],
    ] {
        let faults = faults_of(&mut table, &rows(wrong.clone()), Look::Pages).faults;
        assert_ne!(faults, Vec::<String>::new(), "{wrong:?}");
    }
}

/// What a file lacks because its partition says it counts as if it were there, and must be written.
#[test]
fn columns_that_a_partition_fills_in_are_expected() {
    let spec = UnboundPartitionSpec::builder()
        .with_spec_id(0)
        .add_partition_fields([UnboundPartitionField {
            source_id: 2,
            field_id: Some(1000),
            name: "name".to_owned(),
            transform: Transform::Identity,
        }])
        .unwrap()
        .build();
    let mut table = TestTable::build(vec![people_fields()], spec, &[]);
    table.group.spec_id = SpecId(0);
    table.group.partition = json!({"1000": "eu"});
    table.data(
        1,
        &batch(vec![(field(1, "id", DataType::Int64), int64([1, 2]))]),
    );
    assert_right(&mut table, &people(&[(1, Some("eu")), (2, Some("eu"))]));
    let lost = people(&[(1, None), (2, None)]);
    assert_found(&mut table, &lost, "column 'name' (field id 2) has 2 values");
    let wrong = people(&[(1, Some("us")), (2, Some("us"))]);
    assert_found(
        &mut table,
        &wrong,
        "column 'name' (field id 2) has other values",
    );
}

/// Promoted numbers and moments in other units are the same values; one that changed on the way is not.
#[test]
fn other_shapes_of_the_same_values_are_the_same() {
    use arrow_array::{Date32Array, TimestampMicrosecondArray, TimestampMillisecondArray};
    let mut table = TestTable::new(vec![
        optional(1, "n", PrimitiveType::Long),
        optional(2, "at", PrimitiveType::Timestamp),
        optional(3, "day", PrimitiveType::Timestamp),
    ]);
    let millis: ArrayRef = Arc::new(TimestampMillisecondArray::from(vec![1_700_000_000_123, -5]));
    let days: ArrayRef = Arc::new(Date32Array::from(vec![19_000, -1]));
    table.data(1, &numbered(vec![int32([i32::MIN, 7]), millis, days]));
    table.rewritten();
    let micros = |values: [i64; 2]| -> ArrayRef {
        Arc::new(TimestampMicrosecondArray::from(values.to_vec()))
    };
    let day = 86_400_000_000;
    let written = |at| {
        let number = int64([i64::from(i32::MIN), 7]);
        numbered(vec![number, micros(at), micros([19_000 * day, -day])])
    };
    assert_eq!(
        written([0, 0]).column(1).data_type(),
        &DataType::Timestamp(TimeUnit::Microsecond, None)
    );
    assert_right(&mut table, &written([1_700_000_000_123_000, -5_000]));
    let off = written([1_700_000_000_123_000, -4_999]);
    assert_found(
        &mut table,
        &off,
        "column 'at' (field id 2) has other values",
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    /// However the columns of rows are permuted: found, unless the rows are the same ones afterwards.
    #[test]
    fn c60_any_crossing_is_found_or_changes_nothing(
        rows in prop::collection::vec(prop::array::uniform4(prop::option::of(0i64..3)), 1..12),
        order in Just([0usize, 1, 2, 3]).prop_shuffle(),
    ) {
        let column = |index: usize| int64(rows.iter().map(|row| row[index]));
        let mut table = TestTable::new(longs(&["a", "b", "c", "d"]));
        table.data(1, &numbered((0..4).map(column).collect()));
        let written = numbered(order.iter().map(|index| column(*index)).collect());
        let mut before = rows.clone();
        let mut after: Vec<_> = rows.iter().map(|row| order.map(|index| row[index])).collect();
        before.sort_unstable();
        after.sort_unstable();
        let full = faults_of(&mut table, &written, Look::Pages);
        prop_assert_eq!(full.faults.is_empty(), before == after);
        // From footers and the pages of the columns in doubt, the same: nothing else is left to be crossed.
        let quick = faults_of(&mut table, &written, Look::Footers);
        prop_assert_eq!(quick.faults.is_empty(), before == after);
    }
}

/// What judges the projection shares nothing with it: nor with what converts, hashes and describes what it reads.
#[test]
fn nothing_of_how_the_engine_reads_is_used() {
    let sources = [
        include_str!("mod.rs"),
        include_str!("canon.rs"),
        include_str!("footers.rs"),
        include_str!("join.rs"),
        include_str!("pages.rs"),
    ];
    for (source, module) in sources.iter().flat_map(|source| {
        [
            "project",
            "convert::",
            "hash::",
            "parquet_schema",
            "constants",
            "Batches",
            "Scan",
            "arrow",
        ]
        .map(|module| (source, module))
    }) {
        let mut code = source
            .lines()
            .filter(|line| !line.trim_start().starts_with("//"));
        assert_eq!(code.find(|line| line.contains(module)), None);
    }
}
