//! Default values of format version 3: what a file was written without has the value that the column began with.

use arrow_array::{
    Array as _, ListArray, MapArray, StringArray, StructArray, cast::AsArray, types::Int64Type,
};
use arrow_buffer::{NullBuffer, OffsetBuffer};
use arrow_schema::{DataType, Field, Fields};
use iceberg::spec::{
    ListType, Literal, MapType, NestedField, NestedFieldRef, PrimitiveLiteral, PrimitiveType,
    StructType, Type,
};
use icepress_model::RewriteFailureKind;
use std::sync::Arc;

use super::support::{
    TestTable, batch, column, field, int64, longs, optional, people, people_fields, required,
    structs, texts, with_id,
};

fn long_with_default(id: i32, name: &str, default: i64) -> NestedFieldRef {
    let field = NestedField::optional(id, name, Type::Primitive(PrimitiveType::Long));
    let field = field.with_initial_default(Literal::long(default));
    // What new rows get has no part in a rewrite.
    field.with_write_default(Literal::long(-1)).into()
}

/// Failed where a missing column was NULL, and where NULLs that a file has were filled in too.
#[test]
fn old_files_have_the_default_and_new_ones_what_they_hold() {
    let text = required(4, "kind", PrimitiveType::String);
    let text = NestedField::clone(&text).with_initial_default(Literal::string("old"));
    let day = NestedField::optional(5, "day", Type::Primitive(PrimitiveType::Date));
    let day = day.with_initial_default(Literal::Primitive(PrimitiveLiteral::Int(20_000)));
    let mut fields = people_fields();
    fields.extend([long_with_default(3, "score", 7), text.into(), day.into()]);
    let mut table = TestTable::new(fields).upgraded();
    table.data(1, &people(&[(1, Some("a")), (2, None)]));
    table.data(
        2,
        &batch(vec![
            (field(1, "id", DataType::Int64), int64([3, 4])),
            (field(3, "score", DataType::Int64), int64([None, Some(9)])),
            (
                field(4, "kind", DataType::Utf8),
                Arc::new(StringArray::from(vec!["new", "new"])),
            ),
        ]),
    );
    let rows = table.rewritten();
    assert_eq!(longs(&rows, "score"), [Some(7), Some(7), None, Some(9)]);
    let kinds = ["old", "old", "new", "new"].map(|text| Some(text.to_owned()));
    assert_eq!(texts(&rows, "kind"), kinds);
    let days = column(&rows, "day").as_primitive::<arrow_array::types::Date32Type>();
    assert!(days.iter().all(|day| day == Some(20_000)));
    // What was filled in is there now, and stays when the column is read again.
    let result = table.rewrite().unwrap();
    let before = table.hash();
    table.group = table.after(&result);
    assert!(table.hash().is_same_as(&before));
    assert_eq!(table.rewritten(), rows);
}

/// In structs, in structs in lists, and in structs in maps; a struct that is NULL or that a file has nothing of stays NULL.
#[test]
fn nested_fields_have_their_defaults() {
    let inner = || {
        StructType::new(vec![
            optional(11, "x", PrimitiveType::Long),
            long_with_default(12, "y", 5),
        ])
    };
    let list = ListType::new(
        NestedField::list_element(
            21,
            Type::Struct(StructType::new(vec![
                optional(22, "x", PrimitiveType::Long),
                long_with_default(23, "y", 6),
            ])),
            false,
        )
        .into(),
    );
    let map = MapType::new(
        NestedField::map_key_element(31, Type::Primitive(PrimitiveType::Long)).into(),
        NestedField::map_value_element(
            32,
            Type::Struct(StructType::new(vec![
                optional(33, "x", PrimitiveType::Long),
                long_with_default(34, "y", 8),
            ])),
            false,
        )
        .into(),
    );
    let absent = StructType::new(vec![long_with_default(41, "y", 9)]);
    let mut table = TestTable::new(vec![
        NestedField::optional(10, "s", Type::Struct(inner())).into(),
        NestedField::optional(20, "l", Type::List(list)).into(),
        NestedField::optional(30, "m", Type::Map(map)).into(),
        NestedField::optional(40, "absent", Type::Struct(absent)).into(),
    ])
    .upgraded();

    let x = |id| field(id, "x", DataType::Int64);
    let s = StructArray::new(
        Fields::from(vec![x(11)]),
        vec![int64([1, 2])],
        Some(NullBuffer::from(vec![true, false])),
    );
    let items = structs(vec![(x(22), int64([3, 4]))]);
    let element = Arc::new(with_id(
        Field::new("element", items.data_type().clone(), true),
        21,
    ));
    let offsets = OffsetBuffer::from_lengths([2, 0]);
    let l = ListArray::new(element, offsets, items, None);
    let values = structs(vec![(x(33), int64([5]))]);
    let entries = StructArray::new(
        Fields::from(vec![
            with_id(Field::new("key", DataType::Int64, false), 31),
            with_id(Field::new("value", values.data_type().clone(), true), 32),
        ]),
        vec![int64([1]), values],
        None,
    );
    let pairs = Arc::new(Field::new("key_value", entries.data_type().clone(), false));
    let m = MapArray::new(
        pairs,
        OffsetBuffer::from_lengths([0, 1]),
        entries,
        None,
        false,
    );
    table.data(
        1,
        &batch(vec![
            (field(10, "s", s.data_type().clone()), Arc::new(s)),
            (field(20, "l", l.data_type().clone()), Arc::new(l)),
            (field(30, "m", m.data_type().clone()), Arc::new(m)),
        ]),
    );
    let rows = table.rewritten();
    let y = |array: &StructArray| -> Vec<Option<i64>> {
        array.column(1).as_primitive::<Int64Type>().iter().collect()
    };
    let s = column(&rows, "s").as_struct();
    assert_eq!((s.is_valid(0), s.is_valid(1)), (true, false));
    assert_eq!(y(s)[0], Some(5));
    assert_eq!(
        y(column(&rows, "l").as_list::<i32>().values().as_struct()),
        [Some(6), Some(6)]
    );
    assert_eq!(
        y(column(&rows, "m").as_map().values().as_struct()),
        [Some(8)]
    );
    assert_eq!(column(&rows, "absent").null_count(), 2);
}

/// A delete by a key that old files don't have hits their rows by its default; a delete file must have it.
#[test]
fn equality_deletes_compare_with_the_default() {
    let mut fields = people_fields();
    fields.push(long_with_default(3, "score", 7));
    let mut table = TestTable::new(fields).upgraded();
    table.data(1, &people(&[(1, None), (2, None)]));
    let score = |values: Vec<Option<i64>>| (field(3, "score", DataType::Int64), int64(values));
    let ids = (field(1, "id", DataType::Int64), int64([3, 4]));
    table.data(1, &batch(vec![ids.clone(), score(vec![Some(7), None])]));
    table.delete_equal(2, &batch(vec![score(vec![Some(7)])]));
    assert_eq!(longs(&table.rewritten(), "id"), [Some(4)]);

    table.delete_equal(3, &batch(vec![ids]));
    let last = table.group.deletes.last_mut().unwrap();
    last.content = icepress_model::DeleteContent::Equality {
        field_ids: vec![1, 3],
    };
    let failure = table.rewrite().unwrap_err();
    assert_eq!(
        failure.kind,
        RewriteFailureKind::Unsupported,
        "{}",
        failure.message
    );
}

/// A default that is no value of the column's type can't be filled in, and is named.
#[test]
fn a_default_of_another_type_is_refused() {
    let odd = NestedField::optional(3, "odd", Type::Primitive(PrimitiveType::Long));
    let odd = crate::constants::default_value(&odd, &Literal::string("x")).unwrap_err();
    assert_eq!(odd.kind, RewriteFailureKind::Unsupported);
    assert!(odd.message.contains("'odd'"), "{}", odd.message);
}
