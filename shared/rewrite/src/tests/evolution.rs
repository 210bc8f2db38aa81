//! Files of older schemas under the current one (cases C37 and C48).

use std::sync::Arc;

use arrow_array::{
    Array, ArrayRef, BooleanArray, Date32Array, Decimal128Array, Float32Array, Float64Array,
    RecordBatch, StructArray, cast::AsArray,
};
use arrow_buffer::NullBuffer;
use arrow_schema::{DataType, Field};
use iceberg::spec::{
    ListType, MapType, NestedField, NestedFieldRef, PrimitiveType, StructType, Transform, Type,
    UnboundPartitionField, UnboundPartitionSpec,
};
use icepress_model::SpecId;
use parquet::file::properties::WriterProperties;
use proptest::prelude::*;
use serde_json::json;

use super::support::{
    TestTable, batch, field, int32, int64, longs, optional, required, structs, texts, utf8,
    write_parquet,
};

fn nested(id: i32, name: &str, field_type: Type) -> NestedFieldRef {
    NestedField::optional(id, name, field_type).into()
}

fn struct_of(fields: Vec<NestedFieldRef>) -> Type {
    Type::Struct(StructType::new(fields))
}

#[test]
fn c37_renamed_reordered_dropped_and_added_columns() {
    let mut table = TestTable::evolved(vec![
        vec![
            optional(1, "b", PrimitiveType::Long),
            optional(2, "a", PrimitiveType::Long),
            optional(9, "dropped", PrimitiveType::String),
        ],
        vec![
            optional(3, "new", PrimitiveType::String),
            optional(2, "b", PrimitiveType::Long),
            optional(1, "a", PrimitiveType::Long),
        ],
    ]);
    // The names were swapped since: only ids tell.
    table.data(
        1,
        &batch(vec![
            (field(1, "b", DataType::Int64), int64([1, 2])),
            (field(2, "a", DataType::Int64), int64([10, 20])),
            (field(9, "dropped", DataType::Utf8), utf8(["x", "y"])),
        ]),
    );
    let rows = table.rewritten();
    assert_eq!(longs(&rows, "a"), [Some(1), Some(2)]);
    assert_eq!(longs(&rows, "b"), [Some(10), Some(20)]);
    assert_eq!(texts(&rows, "new"), [None, None]);
}

#[test]
fn c48_a_column_dropped_and_added_again_does_not_bring_its_values_back() {
    let mut table = TestTable::evolved(vec![
        vec![
            optional(1, "id", PrimitiveType::Long),
            optional(2, "a", PrimitiveType::Long),
        ],
        vec![
            optional(1, "id", PrimitiveType::Long),
            optional(3, "a", PrimitiveType::Long),
        ],
    ]);
    table.data(
        1,
        &batch(vec![
            (field(1, "id", DataType::Int64), int64([1])),
            (field(2, "a", DataType::Int64), int64([7])),
        ]),
    );
    table.data(
        2,
        &batch(vec![
            (field(1, "id", DataType::Int64), int64([2])),
            (field(3, "a", DataType::Int64), int64([8])),
        ]),
    );
    assert_eq!(longs(&table.rewritten(), "a"), [None, Some(8)]);
}

#[test]
fn c48_promotions() {
    let decimal = |precision| PrimitiveType::Decimal {
        precision,
        scale: 2,
    };
    let mut table = TestTable::new(vec![
        optional(1, "i", PrimitiveType::Long),
        optional(2, "f", PrimitiveType::Double),
        optional(3, "d", decimal(30)),
    ]);
    let decimals = |precision, values: Vec<Option<i128>>| {
        Arc::new(
            Decimal128Array::from(values)
                .with_precision_and_scale(precision, 2)
                .unwrap(),
        )
    };
    table.data(
        1,
        &batch(vec![
            (
                field(1, "i", DataType::Int32),
                int32([Some(i32::MIN), None]),
            ),
            (
                field(2, "f", DataType::Float32),
                Arc::new(Float32Array::from(vec![Some(0.1), None])),
            ),
            (
                field(3, "d", DataType::Decimal128(9, 2)),
                decimals(9, vec![Some(-999_999_999), None]),
            ),
        ]),
    );
    let rows = table.rewritten();
    assert_eq!(longs(&rows, "i"), [Some(i64::from(i32::MIN)), None]);
    let doubles: ArrayRef = Arc::new(Float64Array::from(vec![Some(f64::from(0.1f32)), None]));
    assert_eq!(rows.column(1), &doubles);
    let wide: ArrayRef = decimals(30, vec![Some(-999_999_999), None]);
    assert_eq!(rows.column(2), &wide);
}

#[test]
fn c48_a_field_added_inside_a_struct_and_structs_with_nothing_left() {
    let fields = vec![
        nested(
            1,
            "s",
            struct_of(vec![
                optional(4, "new", PrimitiveType::Long),
                optional(3, "renamed", PrimitiveType::Long),
            ]),
        ),
        nested(
            5,
            "t",
            struct_of(vec![optional(7, "other", PrimitiveType::Long)]),
        ),
        NestedField::required(
            8,
            "u",
            struct_of(vec![optional(10, "other", PrimitiveType::Long)]),
        )
        .into(),
    ];
    let gone_since = |id| optional(id, "gone", PrimitiveType::Long);
    let before = vec![
        nested(
            1,
            "s",
            struct_of(vec![optional(3, "old", PrimitiveType::Long)]),
        ),
        nested(5, "t", struct_of(vec![gone_since(6)])),
        NestedField::required(8, "u", struct_of(vec![gone_since(9)])).into(),
    ];
    let mut table = TestTable::evolved(vec![before, fields]);
    let leaf = |id, name| field(id, name, DataType::Int64);
    let parent = |id, name: &str, child: &Field| {
        field(id, name, DataType::Struct(vec![child.clone()].into()))
    };
    let old = leaf(3, "old");
    let nullable = StructArray::new(
        vec![old.clone()].into(),
        vec![int64([Some(1), None, None])],
        Some(NullBuffer::from(vec![true, false, true])),
    );
    let gone = leaf(6, "gone");
    let gone_too = leaf(9, "gone");
    table.data(
        1,
        &batch(vec![
            (parent(1, "s", &old), Arc::new(nullable)),
            (
                parent(5, "t", &gone),
                structs(vec![(gone.clone(), int64([1, 2, 3]))]),
            ),
            (
                parent(8, "u", &gone_too),
                structs(vec![(gone_too.clone(), int64([1, 2, 3]))]),
            ),
        ]),
    );
    let rows = table.rewritten();
    let s = rows.column(0).as_struct();
    assert_eq!(
        s.nulls().unwrap().iter().collect::<Vec<_>>(),
        [true, false, true]
    );
    assert_eq!(s.column(0), &int64([None::<i64>, None, None]));
    assert_eq!(s.column(1), &int64([Some(1), None, None]));
    // None of its fields is there any more: NULL where that is allowed.
    assert_eq!(rows.column(1).null_count(), 3);
    assert_eq!(rows.column(2).null_count(), 0);
    assert_eq!(rows.column(2).as_struct().column(0).null_count(), 3);
}

/// A list of structs and a map of structs with a field more, one renamed, one dropped and one promoted.
#[test]
fn c48_fields_change_inside_lists_and_maps() {
    let element = |name: &str, number, more: bool| {
        let mut fields = vec![optional(12, name, number)];
        if more {
            fields.insert(0, optional(13, "more", PrimitiveType::String));
        }
        struct_of(fields)
    };
    let fields = |element: Type, value: Type| {
        vec![
            nested(
                1,
                "l",
                Type::List(ListType {
                    element_field: NestedField::list_element(11, element, false).into(),
                }),
            ),
            nested(
                2,
                "m",
                Type::Map(MapType {
                    key_field: NestedField::map_key_element(
                        21,
                        Type::Primitive(PrimitiveType::String),
                    )
                    .into(),
                    value_field: NestedField::map_value_element(22, value, false).into(),
                }),
            ),
        ]
    };
    let value = |id| struct_of(vec![optional(id, "v", PrimitiveType::Long)]);
    // What an old file holds, written by the engine's own writer from an older table.
    let mut old = TestTable::new(fields(element("n", PrimitiveType::Int, false), value(23)));
    let schema = super::support::plain_schema(old.metadata.current_schema());
    let ints = int32([Some(1), None, Some(3), Some(4)]);
    let list_fields = match schema.field(0).data_type() {
        DataType::List(element) => Arc::clone(element),
        other => panic!("{other}"),
    };
    let list_structs = match list_fields.data_type() {
        DataType::Struct(fields) => StructArray::new(
            fields.clone(),
            vec![ints],
            Some(NullBuffer::from(vec![true, true, false, true])),
        ),
        other => panic!("{other}"),
    };
    let lists = arrow_array::ListArray::new(
        list_fields,
        arrow_buffer::OffsetBuffer::new(vec![0, 2, 2, 3, 4].into()),
        Arc::new(list_structs),
        Some(NullBuffer::from(vec![true, true, true, true])),
    );
    let entries = match schema.field(1).data_type() {
        DataType::Map(entries, _) => Arc::clone(entries),
        other => panic!("{other}"),
    };
    let pairs = match entries.data_type() {
        DataType::Struct(fields) => {
            let DataType::Struct(value) = fields[1].data_type() else {
                panic!("no struct")
            };
            StructArray::new(
                fields.clone(),
                vec![
                    utf8(["a", "b", "c"]),
                    Arc::new(StructArray::new(
                        value.clone(),
                        vec![int64([1, 2, 3])],
                        None,
                    )),
                ],
                None,
            )
        }
        other => panic!("{other}"),
    };
    let maps = arrow_array::MapArray::new(
        entries,
        arrow_buffer::OffsetBuffer::new(vec![0, 2, 2, 2, 3].into()),
        pairs,
        Some(NullBuffer::from(vec![true, false, true, true])),
        false,
    );
    let source = RecordBatch::try_new(schema, vec![Arc::new(lists), Arc::new(maps)]).unwrap();
    let plain = old.next_path("plain.parquet");
    write_with_ids(&plain, &source, &old);
    old.adopt(1, &plain, 4);
    let result = old.rewrite().unwrap();
    let file = old.entries(&result)[0].file_path().to_owned();

    let mut table = TestTable::evolved(vec![
        fields(element("n", PrimitiveType::Int, false), value(23)),
        fields(element("renamed", PrimitiveType::Long, true), value(24)),
    ]);
    table.adopt(1, &file, 4);
    let rows = table.rewritten();
    let lists = rows.column(0).as_list::<i32>();
    assert_eq!(lists.value_offsets(), [0, 2, 2, 3, 4]);
    let elements = lists.values().as_struct();
    assert_eq!(elements.column(0).null_count(), 4);
    assert_eq!(elements.column(1), &int64([Some(1), None, None, Some(4)]));
    assert!(elements.is_valid(1) && elements.is_null(2));
    let maps = rows.column(1).as_map();
    assert_eq!(maps.value_offsets(), [0, 2, 2, 2, 3]);
    assert!(maps.is_null(1) && maps.is_valid(2));
    assert_eq!(maps.keys(), &utf8(["a", "b", "c"]));
    // The value struct has none of its old fields any more.
    assert_eq!(maps.values().null_count(), 3);
}

/// Writes a batch with the field ids of a table.
fn write_with_ids(path: &str, rows: &RecordBatch, table: &TestTable) {
    use parquet::arrow::{ArrowWriter, arrow_writer::ArrowWriterOptions};
    let schema =
        crate::schema::parquet_schema(table.metadata.current_schema().as_struct().fields());
    let options = ArrowWriterOptions::new().with_parquet_schema(
        parquet::schema::types::SchemaDescriptor::new(schema.unwrap()),
    );
    let file = std::fs::File::create(path).unwrap();
    let mut writer = ArrowWriter::try_new_with_options(file, rows.schema(), options).unwrap();
    writer.write(rows).unwrap();
    writer.close().unwrap();
}

fn by_region(transforms: &[(i32, &str, Transform)]) -> UnboundPartitionSpec {
    let fields = transforms
        .iter()
        .map(|(id, name, transform)| UnboundPartitionField {
            source_id: *id,
            field_id: Some(999 + id),
            name: (*name).to_owned(),
            transform: *transform,
        });
    UnboundPartitionSpec::builder()
        .with_spec_id(0)
        .add_partition_fields(fields)
        .unwrap()
        .build()
}

#[test]
fn c37_identity_partition_columns_that_files_leave_out_and_keys_on_them() {
    let fields = vec![
        optional(1, "id", PrimitiveType::Long),
        required(2, "region", PrimitiveType::String),
        optional(3, "day", PrimitiveType::Date),
    ];
    let spec = by_region(&[
        (2, "region", Transform::Identity),
        (3, "day", Transform::Identity),
    ]);
    let mut table = TestTable::build(vec![fields], spec, &[]);
    table.group.spec_id = SpecId(0);
    table.group.partition = json!({"1001": "a/b c", "1002": null});
    table.data(
        1,
        &batch(vec![(field(1, "id", DataType::Int64), int64([1, 2]))]),
    );
    // A file that has the column says itself what is in it.
    table.data(
        1,
        &batch(vec![
            (field(1, "id", DataType::Int64), int64([3])),
            (field(2, "region", DataType::Utf8), utf8(["a/b c"])),
            (
                field(3, "day", DataType::Date32),
                Arc::new(Date32Array::from(vec![None])),
            ),
        ]),
    );
    let result = table.rewrite().unwrap();
    let rows = table.read_back(&result);
    assert_eq!(texts(&rows, "region"), vec![Some("a/b c".to_owned()); 3]);
    assert_eq!(rows.column(2).null_count(), 3);
    let path = table.entries(&result)[0].file_path().to_owned();
    assert!(
        path.contains("/data/region=a%2Fb+c/day=null/00007-2-0f1e2d-00001.parquet"),
        "{path}"
    );

    table.delete_equal(
        2,
        &batch(vec![
            (field(1, "id", DataType::Int64), int64([2])),
            (field(2, "region", DataType::Utf8), utf8(["a/b c"])),
        ]),
    );
    table.delete_equal(
        2,
        &batch(vec![(field(2, "region", DataType::Utf8), utf8(["z"]))]),
    );
    assert_eq!(longs(&table.rewritten(), "id"), [Some(1), Some(3)]);
}

#[test]
fn c37_files_without_ids_by_mapping_or_by_position() {
    let plain = |name: &str, data_type| Field::new(name, data_type, true);
    let rows = batch(vec![
        (plain("ID", DataType::Int64), int64([1])),
        (
            plain(
                "s",
                DataType::Struct(vec![plain("X", DataType::Int64)].into()),
            ),
            structs(vec![(plain("X", DataType::Int64), int64([5]))]),
        ),
    ]);
    let fields = || {
        vec![
            optional(1, "id", PrimitiveType::Long),
            nested(
                2,
                "s",
                struct_of(vec![optional(3, "x", PrimitiveType::Long)]),
            ),
        ]
    };
    let mapping = json!([
        {"field-id": 1, "names": ["id", "ID"]},
        {"field-id": 2, "names": ["s"], "fields": [{"field-id": 3, "names": ["X"]}]},
    ])
    .to_string();
    let mut table =
        TestTable::with_properties(fields(), &[("schema.name-mapping.default", &mapping)]);
    table.data(1, &rows);
    let found = table.rewritten();
    assert_eq!(longs(&found, "id"), [Some(1)]);
    assert_eq!(found.column(1).as_struct().column(0), &int64([5]));

    let mut table = TestTable::new(fields());
    table.data(1, &rows);
    let failure = table.rewrite().unwrap_err();
    assert!(
        failure.message.contains("schema.name-mapping.default"),
        "{failure}"
    );

    let mut table = TestTable::new(vec![
        optional(2, "second", PrimitiveType::String),
        optional(1, "first", PrimitiveType::Long),
    ]);
    table.data(
        1,
        &batch(vec![
            (plain("whatever", DataType::Int64), int64([1])),
            (plain("else", DataType::Utf8), utf8(["x"])),
        ]),
    );
    let found = table.rewritten();
    assert_eq!(longs(&found, "first"), [Some(1)]);
    assert_eq!(texts(&found, "second"), [Some("x".to_owned())]);
}

#[test]
fn values_that_do_not_fit_are_refused_not_changed() {
    let mut table = TestTable::new(vec![optional(1, "a", PrimitiveType::Long)]);
    table.data(
        1,
        &batch(vec![(field(1, "a", DataType::Utf8), utf8(["1"]))]),
    );
    let failure = table.rewrite().unwrap_err();
    assert!(
        failure.message.contains("can't be read as long"),
        "{failure}"
    );
    let mut table = TestTable::new(vec![optional(1, "a", PrimitiveType::Int)]);
    table.data(
        1,
        &batch(vec![(field(1, "a", DataType::Int64), int64([1]))]),
    );
    assert!(table.rewrite().is_err());
    let mut table = TestTable::new(vec![optional(1, "a", PrimitiveType::Boolean)]);
    let bools: ArrayRef = Arc::new(BooleanArray::from(vec![Some(true), None]));
    table.data(
        1,
        &batch(vec![(field(1, "a", DataType::Boolean), Arc::clone(&bools))]),
    );
    assert_eq!(table.rewritten().column(0), &bools);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    /// Files that each know some of the columns, in any order, under names of their own; some columns narrower.
    #[test]
    fn c37_c48_any_history_reads_by_id(
        files in prop::collection::vec(
            (prop::sample::subsequence((1..=6).collect::<Vec<i32>>(), 1..=6).prop_shuffle(),
             prop::collection::vec(prop::option::of(-1000i32..1000), 1..40),
             any::<bool>()),
            1..5),
        order in Just((1..=6).collect::<Vec<i32>>()).prop_shuffle(),
    ) {
        let mut table = TestTable::new(
            order.iter().map(|id| optional(*id, &format!("now{id}"), PrimitiveType::Long)).collect());
        let mut expected: Vec<Vec<Option<i64>>> = vec![Vec::new(); 7];
        for (columns, values, narrow) in &files {
            let value = |id: i32, row: usize| values[row].map(|value| value * id);
            let rows = batch(columns.iter().map(|id| {
                let numbers = (0..values.len()).map(|row| value(*id, row));
                if *narrow {
                    (field(*id, &format!("then{id}"), DataType::Int32), int32(numbers))
                } else {
                    (field(*id, &format!("now{}", 7 - id), DataType::Int64), int64(numbers.map(|n| n.map(i64::from))))
                }
            }).collect());
            let path = table.next_path("parquet");
            write_parquet(&path, &rows, WriterProperties::builder().build());
            table.adopt(1, &path, values.len() as u64);
            for id in 1..=6 {
                for row in 0..values.len() {
                    let known = columns.contains(&id);
                    expected[id as usize].push(if known { value(id, row).map(i64::from) } else { None });
                }
            }
        }
        let rows = table.rewritten();
        for id in 1..=6 {
            prop_assert_eq!(longs(&rows, &format!("now{id}")), expected[id as usize].clone());
        }
    }
}
