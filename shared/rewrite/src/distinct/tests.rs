//! Sketches of any division of values are one sketch, and values are what the specification serializes.

use std::sync::Arc;

use arrow_array::{
    Array as _, ArrayRef, BinaryViewArray, BooleanArray, Date32Array, Decimal128Array,
    FixedSizeBinaryArray, Float64Array, Int64Array, StringViewArray,
};
use arrow_schema::DataType;
use iceberg::spec::PrimitiveType;
use icepress_model::{Bytes, RewriteFailureKind, SchemaId};
use parquet::{
    basic::Compression,
    file::properties::{WriterProperties, WriterPropertiesBuilder, WriterVersion},
};
use proptest::prelude::*;

use super::{
    sketch::{Growing, Sketch},
    values::{add_column, unscaled},
};
use crate::{
    sketch_columns,
    tests::support::{TestTable, batch, block_on, field, int64, optional, people, people_fields},
};

fn sketch_of<'a>(values: impl IntoIterator<Item = &'a [u8]>) -> Sketch {
    let mut sketch = Growing::new().unwrap();
    for value in values {
        sketch.add(value);
    }
    sketch.finish()
}

fn of_column(column: ArrayRef) -> Sketch {
    let mut sketch = Growing::new().unwrap();
    add_column(&mut sketch, &column).unwrap();
    sketch.finish()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// More values than a sketch retains, too.
    #[test]
    fn however_values_are_divided_their_union_is_the_sketch_of_them_all(
        numbers in prop::collection::vec(0u32..30_000, 0..20_000),
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..6),
    ) {
        let values: Vec<[u8; 4]> = numbers.iter().map(|number| number.to_le_bytes()).collect();
        let all = |part: &[[u8; 4]]| sketch_of(part.iter().map(|value| &value[..]));
        let mut places: Vec<usize> = cuts.iter().map(|cut| cut.index(values.len() + 1)).collect();
        places.extend([0, values.len()]);
        places.sort_unstable();
        let mut union = sketch_of([]);
        for pair in places.windows(2) {
            let part = all(&values[pair[0]..pair[1]]);
            let part = Sketch::from_bytes(&part.to_bytes()).unwrap();
            union = Sketch::union([&union, &part]).unwrap();
        }
        let whole = all(&values);
        prop_assert_eq!(whole.to_bytes(), union.to_bytes());
        let distinct = numbers.iter().collect::<std::collections::HashSet<_>>().len() as f64;
        prop_assert!((whole.distinct() as f64 - distinct).abs() <= distinct * 0.08);
    }
}

#[test]
fn values_are_hashed_as_the_specification_serializes_them_and_nulls_are_none() {
    let longs: ArrayRef = Arc::new(Int64Array::from(vec![Some(5), None, Some(5), Some(-1)]));
    let expected = [5i64.to_le_bytes(), (-1i64).to_le_bytes()];
    assert_eq!(
        of_column(longs),
        sketch_of(expected.iter().map(|it| &it[..]))
    );
    let texts: ArrayRef = Arc::new(StringViewArray::from(vec![Some("a"), None, Some("")]));
    assert_eq!(of_column(texts), sketch_of([&b"a"[..]]));
    let bytes: ArrayRef = Arc::new(BinaryViewArray::from(vec![&b"xy"[..], &b"xy"[..]]));
    assert_eq!(of_column(bytes), sketch_of([&b"xy"[..]]));
    let truths: ArrayRef = Arc::new(BooleanArray::from(vec![true, false, true]));
    assert_eq!(of_column(truths), sketch_of([&[1][..], &[0][..]]));
    let fixed = FixedSizeBinaryArray::try_from_iter([[7u8; 16]].into_iter()).unwrap();
    assert_eq!(of_column(Arc::new(fixed)), sketch_of([&[7u8; 16][..]]));
    let zeros: ArrayRef = Arc::new(Float64Array::from(vec![0.0, -0.0]));
    assert_eq!(of_column(zeros).distinct(), 2);
    let decimals = Decimal128Array::from(vec![-129, 127, 128]);
    let decimals: ArrayRef = Arc::new(decimals.with_precision_and_scale(9, 2).unwrap());
    let expected = [&[0xff, 0x7f][..], &[0x7f][..], &[0x00, 0x80][..]];
    assert_eq!(of_column(decimals), sketch_of(expected));
}

#[test]
fn decimals_have_the_bytes_of_javas_big_integers() {
    for (number, expected) in [
        (0i128, &[0][..]),
        (-1, &[0xff]),
        (127, &[0x7f]),
        (128, &[0, 0x80]),
        (-128, &[0x80]),
        (-129, &[0xff, 0x7f]),
        (1 << 32, &[1, 0, 0, 0, 0]),
    ] {
        assert_eq!(unscaled(&number.to_be_bytes()), expected, "{number}");
    }
    assert_eq!(unscaled(&i128::MIN.to_be_bytes()).len(), 16);
}

/// The sketch of each column over a table's rows, asked for in another order than the schema's.
fn sketched(table: &TestTable, columns: &[i32]) -> Vec<Sketch> {
    let schema = SchemaId(table.metadata.current_schema_id());
    let made = block_on(sketch_columns(
        &table.context(),
        &table.metadata,
        &TestTable::table_id(),
        (schema, columns),
        std::slice::from_ref(&table.group),
        &|| false,
    ));
    made.unwrap()
}

fn of_longs(values: impl IntoIterator<Item = i64>) -> Sketch {
    let values: Vec<[u8; 8]> = values.into_iter().map(i64::to_le_bytes).collect();
    sketch_of(values.iter().map(|value| &value[..]))
}

fn of_texts(values: impl IntoIterator<Item = String>) -> Sketch {
    let values: Vec<String> = values.into_iter().collect();
    sketch_of(values.iter().map(String::as_bytes))
}

fn properties(version: WriterVersion) -> WriterPropertiesBuilder {
    WriterProperties::builder()
        .set_writer_version(version)
        .set_max_row_group_row_count(Some(900))
        .set_data_page_row_count_limit(100)
        .set_compression(Compression::ZSTD(Default::default()))
}

/// Dictionaries that are given up on the way, and columns that have none: decoded. All is the same.
#[test]
fn dictionaries_tell_what_rows_have() {
    let rows: Vec<(i64, Option<String>)> = (0..3_000)
        .map(|id| (id % 700, (id % 3 > 0).then(|| format!("n{}", id % 41))))
        .collect();
    let rows: Vec<(i64, Option<&str>)> = rows.iter().map(|(id, n)| (*id, n.as_deref())).collect();
    for version in [WriterVersion::PARQUET_1_0, WriterVersion::PARQUET_2_0] {
        for properties in [
            properties(version),
            properties(version).set_dictionary_enabled(false),
            properties(version).set_dictionary_page_size_limit(200),
        ] {
            let mut table = TestTable::new(people_fields());
            table.data_with(1, &people(&rows), properties.build());
            let names = (0..3_000)
                .filter(|id| id % 3 > 0)
                .map(|id| format!("n{}", id % 41));
            assert_eq!(
                sketched(&table, &[2, 1]),
                [of_texts(names), of_longs(0..700)]
            );
        }
    }
}

#[test]
fn deleted_rows_are_left_out_and_columns_that_files_lack_have_no_value() {
    let mut fields = people_fields();
    fields.push(optional(9, "late", PrimitiveType::Long));
    let mut table = TestTable::evolved(vec![people_fields(), fields]);
    let rows: Vec<(i64, Option<&str>)> = (0..500).map(|id| (id, Some("n"))).collect();
    let first = table.data(1, &people(&rows[..250]));
    table.delete_positions(1, &[(&first, 0), (&first, 249)]);
    table.delete_equal(
        2,
        &batch(vec![(field(1, "id", DataType::Int64), int64([7i64]))]),
    );
    table.data(3, &people(&rows[250..]));
    let live = (1..249).filter(|id| *id != 7).chain(250..500);
    let expected = [of_longs(live), of_longs([]), of_texts(["n".to_owned()])];
    assert_eq!(sketched(&table, &[1, 9, 2]), expected);
    assert_eq!(expected[1].distinct(), 0);
}

#[test]
fn decimals_and_numbers_are_the_same_by_dictionary_and_by_value() {
    for precision in [7, 15, 30] {
        let fields = vec![
            optional(
                1,
                "price",
                PrimitiveType::Decimal {
                    precision,
                    scale: 2,
                },
            ),
            optional(2, "day", PrimitiveType::Date),
        ];
        let values = (0..400i128).map(|row| (row % 90 - 45) * 1_001);
        let prices = Decimal128Array::from_iter_values(values.clone());
        let prices = prices.with_precision_and_scale(precision as u8, 2).unwrap();
        let days = Date32Array::from_iter_values((0..400).map(|row| row % 33));
        let kind = prices.data_type().clone();
        let rows = batch(vec![
            (field(1, "price", kind), Arc::new(prices) as ArrayRef),
            (field(2, "day", DataType::Date32), Arc::new(days)),
        ]);
        let values: Vec<[u8; 16]> = values.map(i128::to_be_bytes).collect();
        let days: Vec<[u8; 4]> = (0..33i32).map(i32::to_le_bytes).collect();
        let expected = [
            sketch_of(values.iter().map(|value| unscaled(value))),
            sketch_of(days.iter().map(|value| &value[..])),
        ];
        for dictionaries in [true, false] {
            let properties = WriterProperties::builder().set_dictionary_enabled(dictionaries);
            let mut table = TestTable::new(fields.clone());
            table.data_with(1, &rows, properties.build());
            assert_eq!(
                sketched(&table, &[1, 2]),
                expected,
                "{precision} {dictionaries}"
            );
        }
    }
}

#[test]
fn sketches_that_would_fill_the_memory_are_refused() {
    let mut table = TestTable::new(people_fields());
    table.data(1, &people(&[(1, None)]));
    let mut sketch_in = |cap| {
        table.memory_cap = Bytes(cap);
        block_on(sketch_columns(
            &table.context(),
            &table.metadata,
            &TestTable::table_id(),
            (SchemaId(table.metadata.current_schema_id()), &[1, 2]),
            std::slice::from_ref(&table.group),
            &|| false,
        ))
    };
    assert_eq!(sketch_in(600 << 10).unwrap()[0].distinct(), 1);
    let failure = sketch_in(500 << 10).unwrap_err();
    assert_eq!(failure.kind, RewriteFailureKind::OverMemory);
    assert!(failure.message.contains("2 columns"), "{failure}");
}

#[test]
fn what_takes_too_long_ends() {
    let mut table = TestTable::new(people_fields());
    table.data(1, &people(&[(1, None)]));
    let made = block_on(sketch_columns(
        &table.context(),
        &table.metadata,
        &TestTable::table_id(),
        (SchemaId(table.metadata.current_schema_id()), &[1]),
        std::slice::from_ref(&table.group),
        &|| true,
    ));
    let failure = made.unwrap_err();
    assert_eq!(failure.kind, RewriteFailureKind::OverTime);
    assert!(failure.message.contains("ndv-columns"), "{failure}");
}
