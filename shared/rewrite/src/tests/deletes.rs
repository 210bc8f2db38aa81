//! Deleted rows stay deleted, and no others.

use std::sync::Arc;

use arrow_array::{Float64Array, RecordBatch, cast::AsArray};
use arrow_schema::{DataType, Field};
use iceberg::spec::{
    NestedField, PrimitiveType, StructType, Transform, Type, UnboundPartitionField,
    UnboundPartitionSpec,
};
use icepress_model::{Attempt, Bytes, RewriteFailureKind, Rows};
use parquet::file::properties::WriterProperties;
use proptest::prelude::*;

use crate::{RewriteContext, group::GroupReader, rewrite_group};

use super::{
    noting::Noting,
    support::{
        TestTable, batch, block_on, field, int32, int64, longs, optional, people, people_fields,
        structs, texts, utf8,
    },
};

pub(super) fn numbered(range: std::ops::Range<i64>) -> RecordBatch {
    let names: Vec<String> = range.clone().map(|id| format!("n{}", id % 7)).collect();
    let rows: Vec<_> = range
        .zip(names.iter().map(|name| Some(name.as_str())))
        .collect();
    people(&rows)
}

fn ids(rows: &RecordBatch) -> Vec<i64> {
    longs(rows, "id").into_iter().flatten().collect()
}

#[test]
fn files_become_one_in_their_order() {
    let mut table = TestTable::new(people_fields());
    table.data(1, &people(&[(3, Some("c")), (1, None)]));
    table.data(2, &people(&[(2, Some("b"))]));
    let rows = table.rewritten();
    assert_eq!(ids(&rows), [3, 1, 2]);
    assert_eq!(
        texts(&rows, "name"),
        [Some("c".to_owned()), None, Some("b".to_owned())]
    );
}

#[test]
fn c12_c13_position_deletes_of_several_files_over_row_groups_and_pages() {
    let mut table = TestTable::new(people_fields());
    let paged = || {
        WriterProperties::builder()
            .set_max_row_group_row_count(Some(100))
            .set_data_page_row_count_limit(10)
            .set_write_batch_size(5)
            .build()
    };
    let first = table.data_with(1, &numbered(0..1000), paged());
    let second = table.data_with(1, &numbered(1000..1500), paged());
    let some: Vec<i64> = (95..305).chain([999]).collect();
    table.delete_positions(
        1,
        &some
            .iter()
            .map(|at| (first.as_str(), *at))
            .collect::<Vec<_>>(),
    );
    table.delete_positions(
        2,
        &[
            (first.as_str(), 3),
            (first.as_str(), 100),
            (second.as_str(), 0),
            ("elsewhere", 7),
        ],
    );
    let expected: Vec<i64> = (0..1500)
        .filter(|id| !some.contains(id) && ![3, 1000].contains(id))
        .collect();
    assert_eq!(ids(&table.rewritten()), expected);
}

#[test]
fn c49_many_vectors_in_one_file_are_told_apart() {
    let mut table = TestTable::new(people_fields());
    for file in 0..4 {
        table.data(1, &numbered(file * 10..file * 10 + 10));
    }
    table.delete_vectors(2, &[(0, &[1, 2]), (1, &[3]), (2, &[0, 9]), (3, &[5, 6, 7])]);
    let gone = [1, 2, 13, 20, 29, 35, 36, 37];
    let expected: Vec<i64> = (0..40).filter(|id| !gone.contains(id)).collect();
    let result = table.rewrite().unwrap();
    assert_eq!(result.rows_deleted, Rows(8));
    assert_eq!(ids(&table.read_back(&result)), expected);
}

#[test]
fn vectors_of_one_file_come_in_one_request() {
    let mut table = TestTable::new(people_fields());
    for file in 0..30 {
        table.data(1, &numbered(file * 10..file * 10 + 10));
    }
    let all: Vec<(usize, &[u64])> = (0..30).map(|file| (file, [3, 7].as_slice())).collect();
    table.delete_vectors(2, &all);
    let puffin = table.group.deletes[0].path.clone();
    let storage = Arc::new(Noting::default());
    let context = RewriteContext {
        storage: Arc::<Noting>::clone(&storage),
        ..table.context()
    };
    let task = table.task();
    let result = block_on(rewrite_group(&context, &table.metadata, &task, Attempt(1))).unwrap();
    assert_eq!(result.rows_deleted, Rows(60));
    let reads = storage.reads();
    let of_puffin = reads.iter().filter(|(path, _)| *path == puffin).count();
    assert_eq!(of_puffin, 1, "{reads:?}");
}

#[test]
fn a_damaged_vector_is_an_error() {
    let damage = |change: &dyn Fn(&mut Vec<u8>)| {
        let mut table = TestTable::new(people_fields());
        table.data(1, &numbered(0..10));
        table.delete_vectors(2, &[(0, &[1, 2])]);
        let path = table.group.deletes[0].path.clone();
        let mut content = std::fs::read(&path).unwrap();
        change(&mut content);
        std::fs::write(&path, content).unwrap();
        table.rewrite().unwrap_err()
    };
    for position in [4, 8, 12, 24] {
        let failure = damage(&|content| content[position] ^= 1);
        assert_eq!(failure.kind, RewriteFailureKind::CorruptFile);
        assert!(failure.message.contains("puffin is corrupt"), "{failure}");
    }
    let mut table = TestTable::new(people_fields());
    table.data(1, &numbered(0..10));
    table.delete_vectors(2, &[(0, &[1, 2])]);
    table.group.deletes[0].rows = Rows(3);
    let failure = table.rewrite().unwrap_err();
    assert!(failure.message.contains("marks 2 rows"), "{failure}");
}

#[test]
fn c45_null_equals_null_only() {
    let mut table = TestTable::new(people_fields());
    table.data(
        1,
        &people(&[(1, None), (2, Some("b")), (3, Some("")), (4, None)]),
    );
    table.delete_equal(
        2,
        &batch(vec![(
            field(2, "name", DataType::Utf8),
            utf8([None, Some("b")]),
        )]),
    );
    assert_eq!(ids(&table.rewritten()), [3]);

    let mut table = TestTable::new(people_fields());
    table.data(1, &people(&[(1, None), (2, Some("b"))]));
    table.delete_equal(
        2,
        &batch(vec![(field(2, "name", DataType::Utf8), utf8(["b"]))]),
    );
    assert_eq!(ids(&table.rewritten()), [1]);
}

#[test]
fn c10_equality_deletes_hide_strictly_older_rows_key_by_key() {
    let mut table = TestTable::new(people_fields());
    table.data(1, &people(&[(1, None), (2, None)]));
    table.data(2, &people(&[(1, None), (2, None)]));
    table.data(3, &people(&[(1, None), (2, None)]));
    let key = |ids: &[i64]| batch(vec![(field(1, "id", DataType::Int64), int64(ids.to_vec()))]);
    table.delete_equal(2, &key(&[1]));
    table.delete_equal(3, &key(&[2]));
    assert_eq!(ids(&table.rewritten()), [1, 1, 2]);
}

/// Written when the table was not partitioned; the files are in a partition of a later spec.
#[test]
fn c46_a_global_equality_delete_hides_rows_in_any_partition() {
    let field = UnboundPartitionField {
        source_id: 2,
        field_id: Some(1000),
        name: "name".to_owned(),
        transform: Transform::Identity,
    };
    let spec = UnboundPartitionSpec::builder()
        .with_spec_id(0)
        .add_partition_fields([field])
        .unwrap()
        .build();
    let mut table = TestTable::build(vec![people_fields()], spec, &[]);
    table.group.partition = serde_json::json!({"1000": "x"});
    table.data(1, &people(&[(1, Some("x")), (2, Some("x"))]));
    table.data(3, &people(&[(1, Some("x")), (3, Some("x"))]));
    table.delete_equal(
        2,
        &batch(vec![(
            super::support::field(1, "id", DataType::Int64),
            int64([1]),
        )]),
    );
    assert_eq!(ids(&table.rewritten()), [2, 1, 3]);
}

#[test]
fn several_kinds_of_keys_and_positions_together() {
    let mut table = TestTable::new(people_fields());
    let path = table.data(1, &numbered(0..100));
    table.delete_equal(
        2,
        &batch(vec![(field(2, "name", DataType::Utf8), utf8(["n3"]))]),
    );
    table.delete_equal(
        2,
        &batch(vec![
            (field(2, "name", DataType::Utf8), utf8(["n4", "n5"])),
            (field(1, "id", DataType::Int64), int64([4, 6])),
        ]),
    );
    table.delete_positions(3, &[(path.as_str(), 0), (path.as_str(), 3)]);
    let expected: Vec<i64> = (0..100)
        .filter(|id| id % 7 != 3 && ![0, 4].contains(id))
        .collect();
    assert_eq!(ids(&table.rewritten()), expected);
}

#[test]
fn c37_c48_keys_whose_columns_were_promoted_renamed_or_dropped() {
    let schemas = vec![
        vec![
            optional(1, "id", PrimitiveType::Int),
            optional(2, "gone", PrimitiveType::String),
        ],
        vec![optional(1, "key", PrimitiveType::Long)],
    ];
    let old = batch(vec![
        (field(1, "id", DataType::Int32), int32([1, 2, 3, 4])),
        (
            field(2, "gone", DataType::Utf8),
            utf8([Some("a"), Some("b"), None, Some("d")]),
        ),
    ]);
    let new = batch(vec![(field(1, "key", DataType::Int64), int64([1, 2, 5]))]);
    let mut table = TestTable::evolved(schemas);
    table.data(1, &old);
    table.data(1, &new);
    table.delete_equal(
        2,
        &batch(vec![(field(1, "id", DataType::Int32), int32([1]))]),
    );
    table.delete_equal(
        2,
        &batch(vec![(field(1, "key", DataType::Int64), int64([5]))]),
    );
    table.delete_equal(
        2,
        &batch(vec![(field(2, "gone", DataType::Utf8), utf8(["b"]))]),
    );
    let rows = table.rewritten();
    assert_eq!(longs(&rows, "key"), [Some(3), Some(4), Some(2)]);
    assert_eq!(rows.num_columns(), 1);

    // The file of the new schema lacks the dropped column: its rows have NULL there.
    table.delete_equal(
        2,
        &batch(vec![(
            field(2, "gone", DataType::Utf8),
            utf8([None::<&str>]),
        )]),
    );
    assert_eq!(longs(&table.rewritten(), "key"), [Some(4)]);
}

#[test]
fn keys_inside_structs_and_nan() {
    let inner = |fields| Type::Struct(StructType::new(fields));
    let fields = vec![
        NestedField::optional(
            1,
            "s",
            inner(vec![
                optional(2, "a", PrimitiveType::Long),
                optional(3, "b", PrimitiveType::Double),
            ]),
        )
        .into(),
    ];
    let nan = f64::from_bits(f64::NAN.to_bits() | 1);
    let mut table = TestTable::new(fields);
    let doubles = |values: Vec<f64>| Arc::new(Float64Array::from(values));
    let a = || field(2, "a", DataType::Int64);
    let b = || field(3, "b", DataType::Float64);
    let s = |fields: Vec<Field>| field(1, "s", DataType::Struct(fields.into()));
    table.data(
        1,
        &batch(vec![(
            s(vec![a(), b()]),
            structs(vec![
                (a(), int64([1, 2, 3, 4])),
                (b(), doubles(vec![f64::NAN, nan, -0.0, 0.0])),
            ]),
        )]),
    );
    table.delete_equal(
        2,
        &batch(vec![(
            s(vec![b()]),
            structs(vec![(b(), doubles(vec![f64::NAN, 0.0]))]),
        )]),
    );
    table.delete_equal(
        2,
        &batch(vec![(s(vec![a()]), structs(vec![(a(), int64([9]))]))]),
    );
    let rows = table.rewritten();
    let structs = rows.column(0).as_struct();
    assert_eq!(structs.column(0), &int64([3]));
}

#[test]
fn an_equality_delete_without_its_key_column_is_refused() {
    let mut table = TestTable::new(people_fields());
    table.data(1, &people(&[(1, None)]));
    table.delete_equal(
        2,
        &batch(vec![(field(2, "name", DataType::Utf8), utf8(["x"]))]),
    );
    table.group.deletes[0].content = icepress_model::DeleteContent::Equality { field_ids: vec![1] };
    let failure = table.rewrite().unwrap_err();
    assert_eq!(failure.kind, RewriteFailureKind::Unsupported);
    assert!(
        failure.message.contains("by the column with id 1"),
        "{failure}"
    );
}

/// How often the equality delete files of a table are read again.
pub(super) fn passes(table: &TestTable) -> u64 {
    let context = table.context();
    let schema = table.metadata.current_schema();
    let reader = GroupReader::open(&context, &table.metadata, schema, &table.group);
    block_on(reader).unwrap().counts().passes
}

#[test]
fn c08_c40_deletes_that_do_not_fit_are_applied_with_the_same_result() {
    let mut table = TestTable::new(people_fields());
    // In row groups that little memory can write as large again.
    let small = || WriterProperties::builder().set_max_row_group_row_count(Some(5_000));
    table.data_with(1, &numbered(0..30_000), small().build());
    table.data_with(2, &numbered(20_000..40_000), small().build());
    for (sequence, start) in [(2, 0), (3, 10_000), (3, 25_000)] {
        let keys = batch(vec![(
            field(1, "id", DataType::Int64),
            int64((start..start + 12_000).step_by(2).collect::<Vec<i64>>()),
        )]);
        table.delete_equal(sequence, &keys);
    }
    let whole = table.rewritten();
    assert_eq!(passes(&table), 0);
    // A quarter of it is for keys; with less not even the rows fit that may be deleted.
    for (kibibytes, least) in [(1280, 1), (800, 2)] {
        table.memory_cap = Bytes(kibibytes << 10);
        let read_again = passes(&table);
        assert!(read_again >= least, "{read_again} with {kibibytes} KiB");
        let spilled = table.rewritten();
        assert_eq!(ids(&whole), ids(&spilled));
    }
    let deleted_at = |id: i64| {
        let hit = |start| (start..start + 12_000).contains(&id) && id % 2 == 0;
        if hit(10_000) || hit(25_000) {
            3
        } else if hit(0) {
            2
        } else {
            0
        }
    };
    let expected: Vec<i64> = (0..30_000)
        .filter(|id| deleted_at(*id) <= 1)
        .chain((20_000..40_000).filter(|id| deleted_at(*id) <= 2))
        .collect();
    assert_eq!(ids(&whole), expected);
}

#[test]
fn c40_positions_that_can_not_fit_are_refused_with_a_reason() {
    let mut table = TestTable::new(people_fields());
    let path = table.data(1, &numbered(0..200_000));
    let odd: Vec<(&str, i64)> = (0..100_000).map(|at| (path.as_str(), at * 2)).collect();
    table.delete_positions(1, &odd);
    table.memory_cap = Bytes(100 << 10);
    let failure = table.rewrite().unwrap_err();
    assert_eq!(failure.kind, RewriteFailureKind::OverMemory);
    assert!(
        failure.message.starts_with("table lake.shop.orders: "),
        "{failure}"
    );
}

#[test]
fn nothing_is_written_where_every_row_is_deleted() {
    let mut table = TestTable::new(people_fields());
    let path = table.data(1, &people(&[(1, None), (2, None)]));
    table.delete_positions(1, &[(path.as_str(), 0), (path.as_str(), 1)]);
    let result = table.rewrite().unwrap();
    assert_eq!(result.rows_out, Rows(0));
    assert!(result.data_files.is_empty());
    assert_eq!(result.rows_deleted, Rows(2));
}

/// A row, the file it lies in, and its file's sequence number.
type Model = Vec<Vec<(i64, Option<u8>)>>;

fn write_model(table: &mut TestTable, files: &Model, sequence: i64) -> Vec<String> {
    let names: Vec<String> = (0..=255u8).map(|name| format!("n{name}")).collect();
    files
        .iter()
        .map(|rows| {
            let rows: Vec<_> = rows
                .iter()
                .map(|(id, name)| (*id, name.map(|name| names[usize::from(name)].as_str())))
                .collect();
            table.data(sequence, &people(&rows))
        })
        .collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// What is left is what the model leaves, and neither the split into files nor the cap on memory matters.
    #[test]
    fn c08_rewriting_equals_the_model(
        files in prop::collection::vec(
            prop::collection::vec((0i64..40, prop::option::of(0u8..6)), 1..60), 1..6),
        equal_ids in prop::collection::vec(0i64..40, 0..10),
        equal_names in prop::collection::vec(prop::option::of(0u8..6), 0..2),
        positions in prop::collection::vec((0usize..6, 0usize..60), 0..40),
        vectors in prop::collection::btree_map(0usize..6, prop::collection::btree_set(0u64..60, 1..9), 0..3),
    ) {
        let mut table = TestTable::new(people_fields());
        let paths = write_model(&mut table, &files, 1);
        if !equal_ids.is_empty() {
            table.delete_equal(2, &batch(vec![(field(1, "id", DataType::Int64), int64(equal_ids.clone()))]));
        }
        let names: Vec<Option<String>> =
            equal_names.iter().map(|name| name.map(|name| format!("n{name}"))).collect();
        if !names.is_empty() {
            let keys = utf8(names.iter().map(Option::as_deref));
            table.delete_equal(2, &batch(vec![(field(2, "name", DataType::Utf8), keys)]));
        }
        let at: Vec<(&str, i64)> = positions
            .iter()
            .filter(|(file, _)| *file < paths.len())
            .map(|(file, row)| (paths[*file].as_str(), *row as i64))
            .collect();
        if !at.is_empty() {
            table.delete_positions(2, &at);
        }
        let vectors: Vec<(usize, Vec<u64>)> = vectors
            .into_iter()
            .filter(|(file, _)| *file < paths.len())
            .map(|(file, rows)| (file, rows.into_iter().collect()))
            .collect();
        let slices: Vec<(usize, &[u64])> =
            vectors.iter().map(|(file, rows)| (*file, rows.as_slice())).collect();
        if !slices.is_empty() {
            table.delete_vectors(2, &slices);
        }
        let mut expected = Vec::new();
        for (file, rows) in files.iter().enumerate() {
            for (row, (id, name)) in rows.iter().enumerate() {
                let hidden = equal_ids.contains(id)
                    || equal_names.contains(name)
                    || positions.contains(&(file, row))
                    || vectors.iter().any(|(at, rows)| *at == file && rows.contains(&(row as u64)));
                if !hidden {
                    expected.push((*id, name.map(|name| format!("n{name}"))));
                }
            }
        }
        let result = table.rewrite().unwrap();
        let hash = table.hash();
        prop_assert_eq!(hash.rows, Rows(expected.len() as u64));
        if !result.data_files.is_empty() {
            let rows = table.read_back(&result);
            let found: Vec<_> = ids(&rows).into_iter().zip(texts(&rows, "name")).collect();
            prop_assert_eq!(&found, &expected);
            // The hash is the same before and after.
            table.group = table.after(&result);
            prop_assert_eq!(table.hash(), hash);
        } else {
            prop_assert!(expected.is_empty());
        }
        // The same live rows in other files have the same hash.
        let mut other = TestTable::new(people_fields());
        let model: Vec<(i64, Option<u8>)> = expected
            .iter()
            .rev()
            .map(|(id, name)| (*id, name.as_ref().map(|name| name[1..].parse().unwrap())))
            .collect();
        let files: Model = model.chunks(7).map(<[_]>::to_vec).collect();
        write_model(&mut other, &files, 1);
        prop_assert_eq!(other.hash(), hash);
    }
}
