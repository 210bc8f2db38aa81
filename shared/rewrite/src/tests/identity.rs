//! Columns that files don't identify as the specification wants: with ids in part, by names, by nothing (case C50).

use std::sync::Arc;

use arrow_array::{Array, ArrayRef, ListArray, MapArray, RecordBatch, StructArray, cast::AsArray};
use arrow_buffer::OffsetBuffer;
use arrow_schema::{DataType, Field, Fields};
use iceberg::spec::{
    ListType, MapType, NestedField, NestedFieldRef, PrimitiveType, StructType, Type,
};
use icepress_model::RewriteFailureKind;
use serde_json::{Value, json};

use super::support::{
    TestTable, batch, field, int64, longs, optional, structs, texts, utf8, with_id,
};

const MAPPING: &str = "schema.name-mapping.default";

fn plain(name: &str, data_type: DataType) -> Field {
    Field::new(name, data_type, true)
}

fn nested(id: i32, name: &str, field_type: Type) -> NestedFieldRef {
    NestedField::optional(id, name, field_type).into()
}

fn long(id: i32, name: &str) -> NestedFieldRef {
    optional(id, name, PrimitiveType::Long)
}

fn struct_of(fields: Vec<NestedFieldRef>) -> Type {
    Type::Struct(StructType::new(fields))
}

fn table_of(fields: Vec<NestedFieldRef>, mapping: Option<Value>) -> TestTable {
    match mapping {
        Some(mapping) => {
            TestTable::with_properties(fields, &[(MAPPING, mapping.to_string().as_str())])
        }
        None => TestTable::new(fields),
    }
}

/// The line with which a group of these files is refused.
fn refused(table: &mut TestTable, rows: &RecordBatch) -> String {
    let path = table.data(1, rows);
    let failure = table.rewrite().unwrap_err();
    assert_eq!(failure.kind, RewriteFailureKind::Unsupported, "{failure}");
    assert!(failure.message.contains(&path), "{failure}");
    assert!(!failure.message.contains("corrupt"), "{failure}");
    failure.message
}

fn a_and_b() -> Vec<NestedFieldRef> {
    vec![long(1, "a"), optional(2, "b", PrimitiveType::String)]
}

/// `a` with an id, `b` without.
fn id_on_one() -> RecordBatch {
    batch(vec![
        (field(1, "a", DataType::Int64), int64([1, 2])),
        (plain("b", DataType::Utf8), utf8(["x", "y"])),
    ])
}

#[test]
fn c50_an_id_on_one_column_only() {
    let mapping = json!([{"field-id": 1, "names": ["a"]}, {"field-id": 2, "names": ["b"]}]);
    let mut table = table_of(a_and_b(), Some(mapping));
    table.data(1, &id_on_one());
    let rows = table.rewritten();
    assert_eq!(longs(&rows, "a"), [Some(1), Some(2)]);
    let written = ["x", "y"].map(|text| Some(text.to_owned()));
    assert_eq!(texts(&rows, "b"), written);

    let line = refused(&mut table_of(a_and_b(), None), &id_on_one());
    assert!(line.contains("column 'b' without a field id"), "{line}");
    assert!(
        line.contains("set the table property schema.name-mapping.default"),
        "{line}"
    );

    let lists_a_alone = json!([{"field-id": 1, "names": ["a"]}]);
    let line = refused(&mut table_of(a_and_b(), Some(lists_a_alone)), &id_on_one());
    assert!(line.contains("does not list it: add it there"), "{line}");
}

/// A mapping that lists a column without an id says that it is to be left out: then it is, and nothing else.
#[test]
fn c50_columns_that_the_mapping_leaves_out_on_purpose() {
    let mapping = json!([{"field-id": 1, "names": ["a"]}, {"names": ["b"]}]);
    let mut table = table_of(a_and_b(), Some(mapping));
    table.data(1, &id_on_one());
    assert_eq!(texts(&table.rewritten(), "b"), [None, None]);
}

/// A struct, a list of structs and a map to structs, each with an id, and nothing below them with one.
fn ids_on_top() -> RecordBatch {
    let pair = Fields::from(vec![
        plain("n", DataType::Int64),
        plain("m", DataType::Int64),
    ]);
    let pairs = |from: i64| -> StructArray {
        let columns: Vec<ArrayRef> = vec![int64([from, from + 1]), int64([from + 10, from + 11])];
        StructArray::new(pair.clone(), columns, None)
    };
    let item = Arc::new(plain("item", DataType::Struct(pair.clone())));
    let list = ListArray::new(
        Arc::clone(&item),
        OffsetBuffer::new(vec![0, 2, 2].into()),
        Arc::new(pairs(3)),
        None,
    );
    let entry = Fields::from(vec![
        Field::new("keys", DataType::Utf8, false),
        plain("values", DataType::Struct(pair.clone())),
    ]);
    let entries = Arc::new(Field::new(
        "entries",
        DataType::Struct(entry.clone()),
        false,
    ));
    let held: Vec<ArrayRef> = vec![utf8(["k", "l"]), Arc::new(pairs(5))];
    let map = MapArray::new(
        Arc::clone(&entries),
        OffsetBuffer::new(vec![0, 0, 2].into()),
        StructArray::new(entry, held, None),
        None,
        false,
    );
    let lists: ArrayRef = Arc::new(list);
    let maps: ArrayRef = Arc::new(map);
    batch(vec![
        (
            field(1, "s", DataType::Struct(pair.clone())),
            Arc::new(pairs(1)),
        ),
        (field(2, "l", DataType::List(item)), lists),
        (field(3, "m", DataType::Map(entries, false)), maps),
    ])
}

fn three_ways_to_nest() -> Vec<NestedFieldRef> {
    let pair = |id| struct_of(vec![long(id, "m"), long(id + 1, "n")]);
    vec![
        nested(1, "s", pair(11)),
        nested(
            2,
            "l",
            Type::List(ListType {
                element_field: NestedField::list_element(20, pair(21), false).into(),
            }),
        ),
        nested(
            3,
            "m",
            Type::Map(MapType {
                key_field: NestedField::map_key_element(30, Type::Primitive(PrimitiveType::String))
                    .into(),
                value_field: NestedField::map_value_element(31, pair(32), false).into(),
            }),
        ),
    ]
}

#[test]
fn c50_ids_on_the_top_level_only() {
    let pair =
        |id: i32| json!([{"field-id": id, "names": ["m"]}, {"field-id": id + 1, "names": ["n"]}]);
    // The struct was renamed since: what has an id of its own is looked up by that.
    let mapping = json!([
        {"field-id": 1, "names": ["old_name_of_s"], "fields": pair(11)},
        {"field-id": 2, "names": ["l"], "fields": [{"field-id": 20, "names": ["element"], "fields": pair(21)}]},
        {"field-id": 3, "names": ["m"], "fields": [
            {"field-id": 30, "names": ["key"]}, {"field-id": 31, "names": ["value"], "fields": pair(32)}]},
    ]);
    let mut table = table_of(three_ways_to_nest(), Some(mapping));
    table.data(1, &ids_on_top());
    let rows = table.rewritten();
    let pairs = [
        rows.column(0).as_struct().clone(),
        rows.column(1).as_list::<i32>().values().as_struct().clone(),
        rows.column(2).as_map().values().as_struct().clone(),
    ];
    for (pairs, from) in pairs.iter().zip([1, 3, 5]) {
        assert_eq!(pairs.column(0), &int64([from + 10, from + 11]));
        assert_eq!(pairs.column(1), &int64([from, from + 1]));
    }

    for (index, name) in ["s.n", "l.element.n", "m.value.n"].iter().enumerate() {
        let fields = vec![three_ways_to_nest().swap_remove(index)];
        let rows = ids_on_top().project(&[index]).unwrap();
        let line = refused(&mut table_of(fields, None), &rows);
        assert!(
            line.contains(&format!("column '{name}' without a field id")),
            "{line}"
        );
    }
}

/// An element can't be anything else: it needs no id of its own.
#[test]
fn c50_elements_without_ids() {
    let list = ListArray::new(
        Arc::new(plain("item", DataType::Int64)),
        OffsetBuffer::new(vec![0, 2, 2].into()),
        int64([1, 2]),
        None,
    );
    let element = NestedField::list_element(2, Type::Primitive(PrimitiveType::Long), false);
    let list_type = Type::List(ListType {
        element_field: element.into(),
    });
    let mut table = TestTable::new(vec![nested(1, "l", list_type)]);
    let lists: ArrayRef = Arc::new(list);
    table.data(
        1,
        &batch(vec![(field(1, "l", lists.data_type().clone()), lists)]),
    );
    assert_eq!(
        table.rewritten().column(0).as_list::<i32>().values(),
        &int64([1, 2])
    );
}

#[test]
fn c50_ids_that_the_table_never_had() {
    let rows = |id| {
        batch(vec![
            (field(1, "a", DataType::Int64), int64([1])),
            (field(id, "b", DataType::Utf8), utf8(["x"])),
        ])
    };
    let line = refused(&mut table_of(a_and_b(), None), &rows(99));
    assert!(line.contains("column 'b' with field id 99"), "{line}");
    let by_mapping = json!([{"field-id": 1, "names": ["a"]}, {"field-id": 77, "names": ["b"]}]);
    let line = refused(&mut table_of(a_and_b(), Some(by_mapping)), &id_on_one());
    assert!(line.contains("column 'b' with field id 77"), "{line}");
    // What the table dropped is explained, with all that was below it, and so is what the specification keeps for itself.
    let mut evolved = TestTable::evolved(vec![
        vec![
            long(1, "a"),
            nested(5, "gone", struct_of(vec![long(6, "n")])),
        ],
        vec![long(1, "a")],
    ]);
    let below = plain("nameless", DataType::Int64);
    let gone = DataType::Struct(vec![below.clone()].into());
    evolved.data(
        1,
        &batch(vec![
            (field(1, "a", DataType::Int64), int64([1])),
            (field(5, "gone", gone), structs(vec![(below, int64([7]))])),
            (field(2_147_483_540, "_row_id", DataType::Int64), int64([3])),
        ]),
    );
    assert_eq!(longs(&evolved.rewritten(), "a"), [Some(1)]);
}

/// A column in the wrong place, and two that are the same one: of either, values would be lost.
#[test]
fn c50_ids_that_stand_in_the_wrong_place_or_twice() {
    let fields = || vec![nested(1, "s", struct_of(vec![long(2, "n")])), long(3, "b")];
    let inner = field(2, "n", DataType::Int64);
    let s = || {
        (
            field(1, "s", DataType::Struct(vec![inner.clone()].into())),
            structs(vec![(inner.clone(), int64([1]))]),
        )
    };
    let misplaced = batch(vec![s(), (field(2, "n", DataType::Int64), int64([2]))]);
    let line = refused(&mut table_of(fields(), None), &misplaced);
    assert!(
        line.contains("column 'n' with field id 2, which lies elsewhere"),
        "{line}"
    );
    let twice = batch(vec![
        (with_id(plain("b", DataType::Int64), 3), int64([2])),
        (plain("c", DataType::Int64), int64([3])),
    ]);
    let mapping = json!([{"field-id": 3, "names": ["b", "c"]}]);
    let line = refused(&mut table_of(fields(), Some(mapping)), &twice);
    assert!(line.contains("two columns, 'b' and 'c'"), "{line}");
}

#[test]
fn c50_no_ids_and_no_mapping_by_position_where_no_name_contradicts() {
    let rows = |first: &str, second: &str| {
        batch(vec![
            (plain(first, DataType::Int64), int64([1])),
            (plain(second, DataType::Int64), int64([2])),
        ])
    };
    let two = || TestTable::new(vec![long(1, "a"), long(2, "b")]);
    for names in [("a", "b"), ("x", "y"), ("x", "b")] {
        let mut table = two();
        table.data(1, &rows(names.0, names.1));
        let read = table.rewritten();
        assert_eq!(longs(&read, "a"), [Some(1)]);
        assert_eq!(longs(&read, "b"), [Some(2)]);
    }
    // By position a is what by name is b, and either reading is somebody's.
    let line = refused(&mut two(), &rows("b", "a"));
    assert!(
        line.contains("column 1 by position, and column 2 by name ('b')"),
        "{line}"
    );
    assert!(line.contains(MAPPING), "{line}");
    // A column that was renamed since is still where it was.
    let mut renamed = TestTable::evolved(vec![
        vec![long(1, "a"), long(2, "b")],
        vec![long(1, "b"), long(2, "a")],
    ]);
    renamed.data(1, &rows("a", "b"));
    assert_eq!(longs(&renamed.rewritten(), "b"), [Some(1)]);
    let line = refused(&mut TestTable::new(vec![long(1, "a")]), &rows("a", "b"));
    assert!(
        line.contains("a position at which the table never had one ('b')"),
        "{line}"
    );
}

/// Keys are told as columns of data files are: by the mapping where they have no id, and never as NULL.
#[test]
fn c50_equality_deletes_without_ids() {
    let keys = batch(vec![
        (plain("a", DataType::Int64), int64([2])),
        (plain("beside", DataType::Int64), int64([5])),
    ]);
    for (mapping, is_applied) in [
        (
            json!([{"field-id": 1, "names": ["a"]}, {"field-id": 2, "names": ["b"]}]),
            true,
        ),
        (json!([{"field-id": 2, "names": ["b"]}]), false),
    ] {
        let mut table = table_of(a_and_b(), Some(mapping));
        table.data(
            1,
            &batch(vec![
                (field(1, "a", DataType::Int64), int64([1, 2])),
                (field(2, "b", DataType::Utf8), utf8(["x", "y"])),
            ]),
        );
        table.delete_equal_by(2, vec![1], &keys);
        if is_applied {
            assert_eq!(longs(&table.rewritten(), "a"), [Some(1)]);
            assert_eq!(table.hash().rows.get(), 1);
        } else {
            let failure = table.rewrite().unwrap_err();
            assert_eq!(failure.kind, RewriteFailureKind::Unsupported);
            assert!(
                failure
                    .message
                    .contains("equality delete file by the column with id 1"),
                "{failure}"
            );
        }
    }
}

/// What compares rows reads as a rewrite does, and so does the light tier, which reads nothing but keys.
#[test]
fn c50_the_hash_and_the_light_tier_refuse_as_well() {
    use icepress_model::{SchemaId, Tier};
    let mut table = table_of(a_and_b(), None);
    table.data(1, &id_on_one());
    table.delete_equal(
        2,
        &batch(vec![(field(1, "a", DataType::Int64), int64([2]))]),
    );
    table.group.tier = Tier::Light;
    let failure = table.rewrite().unwrap_err();
    assert!(
        failure.message.contains("'b' without a field id"),
        "{failure}"
    );
    let hashed = super::support::block_on(crate::hash_rows(
        &table.context(),
        &table.metadata,
        &TestTable::table_id(),
        SchemaId(table.metadata.current_schema_id()),
        std::slice::from_ref(&table.group),
    ));
    let failure = hashed.unwrap_err();
    assert!(
        failure.message.contains("'b' without a field id"),
        "{failure}"
    );
}
