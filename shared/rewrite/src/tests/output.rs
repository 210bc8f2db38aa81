//! What is written: sizes, names, schema, properties, metrics.

use std::{
    collections::{HashMap, HashSet},
    fs::File,
    sync::Arc,
};

use arrow_array::{ArrayRef, Float64Array, RecordBatch, StringArray};
use arrow_schema::DataType;
use iceberg::spec::{
    DataFile, Datum, ListType, MapType, NestedField, PrimitiveType, StructType, TableMetadata, Type,
};
use icepress_model::{Bytes, Rows};
use parquet::{
    basic::Compression,
    file::reader::{FileReader as _, SerializedFileReader},
    schema::printer::print_schema,
};

use super::noting::Noting;
use super::support::{
    TestTable, batch, block_on, field, int64, longs, optional, people, people_fields, utf8,
};

/// Rows that do not compress away.
fn noise(rows: i64, seed: i64) -> RecordBatch {
    let mut state = seed as u64 | 1;
    let mut next = || {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (state >> 16) as i64
    };
    let ids: Vec<i64> = (0..rows).map(|_| next()).collect();
    let names: Vec<String> = (0..rows)
        .map(|_| format!("{:x}{:x}", next(), next()))
        .collect();
    batch(vec![
        (field(1, "id", DataType::Int64), int64(ids)),
        (
            field(2, "name", DataType::Utf8),
            Arc::new(StringArray::from(names)),
        ),
    ])
}

fn open(entry: &DataFile) -> SerializedFileReader<File> {
    SerializedFileReader::new(File::open(entry.file_path()).unwrap()).unwrap()
}

#[test]
fn files_are_rolled_at_the_target_and_a_small_rest_stays_with_the_last() {
    let sizes = |files: i64, target: u64| {
        let mut table = TestTable::new(people_fields());
        for seed in 0..files {
            table.data(1, &noise(2_000, seed));
        }
        table.group.target_file_size = Bytes(target);
        let result = table.rewrite().unwrap();
        let rows = table.read_back(&result);
        assert_eq!(rows.num_rows() as i64, files * 2_000);
        let entries = table.entries(&result);
        let names: HashSet<String> = entries.iter().map(|e| e.file_path().to_owned()).collect();
        assert_eq!(names.len(), entries.len());
        assert_eq!(
            result.bytes_out,
            entries.iter().map(|e| Bytes(e.file_size_in_bytes())).sum()
        );
        entries
            .iter()
            .map(DataFile::file_size_in_bytes)
            .collect::<Vec<_>>()
    };
    let one = sizes(1, u64::MAX)[0];
    let several = sizes(20, 4 * one);
    assert!((3..=6).contains(&several.len()), "{several:?}");
    for size in &several[..several.len() - 1] {
        assert!(
            (4 * one / 10 * 9..5 * one).contains(size),
            "{several:?} of {one}"
        );
    }
    // 13 files' worth at a target of 12: the rest is a twelfth of it, and no file of its own.
    assert_eq!(sizes(13, 12 * one).len(), 1);
}

#[test]
fn row_groups_pages_codec_and_dictionaries_as_the_table_says() {
    let mut table = TestTable::with_properties(
        people_fields(),
        &[
            ("write.parquet.row-group-size-bytes", "65536"),
            ("write.parquet.page-row-limit", "100"),
            ("write.parquet.compression-codec", "snappy"),
            ("write.parquet.bloom-filter-enabled.column.id", "true"),
            ("write.parquet.bloom-filter-max-bytes", "65536"),
        ],
    );
    table.data(1, &noise(20_000, 1));
    let result = table.rewrite().unwrap();
    let entry = &table.entries(&result)[0];
    let reader = open(entry);
    let metadata = reader.metadata();
    assert!(metadata.num_row_groups() > 3);
    assert_eq!(result.row_groups_out, metadata.num_row_groups() as u64);
    assert_eq!(result.row_groups_in, 1);
    let starts: Vec<i64> = metadata
        .row_groups()
        .iter()
        .map(|group| group.column(0).byte_range().0 as i64)
        .collect();
    assert_eq!(entry.split_offsets(), Some(starts.as_slice()));
    for group in metadata.row_groups() {
        assert!(group.compressed_size() < 2 * 65_536);
        assert_eq!(group.column(0).compression(), Compression::SNAPPY);
        let bloom = group.column(0).bloom_filter_length().unwrap();
        assert!(bloom <= 65_536 + 64, "{bloom}");
        assert!(group.column(1).bloom_filter_offset().is_none());
    }
    let keys = metadata.file_metadata().key_value_metadata().unwrap();
    let schema = keys
        .iter()
        .find(|pair| pair.key == "iceberg.schema")
        .unwrap();
    let schema: iceberg::spec::Schema =
        serde_json::from_str(schema.value.as_ref().unwrap()).unwrap();
    assert_eq!(
        schema.as_struct(),
        table.metadata.current_schema().as_struct()
    );
    assert!(keys.iter().all(|pair| pair.key != "ARROW:schema"));

    let mut plain = TestTable::with_properties(
        people_fields(),
        &[("write.parquet.row-group-limit", "7000")],
    );
    plain.data(1, &noise(20_000, 1));
    let result = plain.rewrite().unwrap();
    let reader = open(&plain.entries(&result)[0]);
    let rows: Vec<i64> = reader
        .metadata()
        .row_groups()
        .iter()
        .map(|group| group.num_rows())
        .collect();
    assert_eq!(rows, [7000, 7000, 6000]);
    let codec = reader.metadata().row_group(0).column(0).compression();
    assert!(matches!(codec, Compression::ZSTD(_)), "{codec:?}");
}

#[test]
fn properties_that_make_no_sense_are_named() {
    for (key, value) in [
        ("write.parquet.compression-codec", "rar"),
        ("write.parquet.compression-level", "very"),
        ("write.parquet.row-group-size-bytes", "128MB"),
        ("write.parquet.page-size-bytes", "0"),
        ("schema.name-mapping.default", "{"),
        ("write.location-provider.impl", "com.example.Ours"),
    ] {
        let mut table = TestTable::with_properties(people_fields(), &[(key, value)]);
        table.data(1, &people(&[(1, None)]));
        let failure = table.rewrite().unwrap_err();
        assert!(failure.message.contains(key), "{failure}");
    }
}

/// Names, annotations and physical types as Iceberg's Java writer has them.
#[test]
fn the_schema_is_the_one_that_java_writes() {
    let decimal = |precision| PrimitiveType::Decimal {
        precision,
        scale: 2,
    };
    let list = |id, element: Type| {
        Type::List(ListType {
            element_field: NestedField::list_element(id, element, false).into(),
        })
    };
    let mut table = TestTable::new(vec![
        optional(1, "b", PrimitiveType::Boolean),
        optional(2, "d9", decimal(9)),
        optional(3, "d18", decimal(18)),
        optional(4, "d20", decimal(20)),
        optional(5, "u", PrimitiveType::Uuid),
        optional(6, "t", PrimitiveType::Timestamptz),
        optional(7, "n", PrimitiveType::Timestamp),
        optional(8, "c", PrimitiveType::Time),
        optional(9, "y", PrimitiveType::Date),
        optional(10, "f", PrimitiveType::Fixed(3)),
        NestedField::optional(
            11,
            "l",
            list(
                12,
                Type::Struct(StructType::new(vec![optional(
                    13,
                    "x",
                    PrimitiveType::String,
                )])),
            ),
        )
        .into(),
        NestedField::optional(
            14,
            "m",
            Type::Map(MapType {
                key_field: NestedField::map_key_element(15, Type::Primitive(PrimitiveType::Int))
                    .into(),
                value_field: NestedField::map_value_element(
                    16,
                    list(17, Type::Primitive(PrimitiveType::Long)),
                    true,
                )
                .into(),
            }),
        )
        .into(),
    ]);
    table.data(
        1,
        &batch(vec![(
            field(2, "d9", DataType::Decimal128(9, 2)),
            arrow_array::new_null_array(&DataType::Decimal128(9, 2), 2),
        )]),
    );
    let result = table.rewrite().unwrap();
    let reader = open(&table.entries(&result)[0]);
    let mut printed = Vec::new();
    print_schema(&mut printed, reader.metadata().file_metadata().schema());
    let expected = "\
message table {
  OPTIONAL BOOLEAN b [1];
  OPTIONAL INT32 d9 [2] (DECIMAL(9,2));
  OPTIONAL INT64 d18 [3] (DECIMAL(18,2));
  OPTIONAL FIXED_LEN_BYTE_ARRAY (9) d20 [4] (DECIMAL(20,2));
  OPTIONAL FIXED_LEN_BYTE_ARRAY (16) u [5] (UUID);
  OPTIONAL INT64 t [6] (TIMESTAMP(MICROS,true));
  OPTIONAL INT64 n [7] (TIMESTAMP(MICROS,false));
  OPTIONAL INT64 c [8] (TIME(MICROS,false));
  OPTIONAL INT32 y [9] (DATE);
  OPTIONAL FIXED_LEN_BYTE_ARRAY (3) f [10];
  OPTIONAL group l [11] (LIST) {
    REPEATED group list {
      OPTIONAL group element [12] {
        OPTIONAL BYTE_ARRAY x [13] (STRING);
      }
    }
  }
  OPTIONAL group m [14] (MAP) {
    REPEATED group key_value {
      REQUIRED INT32 key [15];
      REQUIRED group value [16] (LIST) {
        REPEATED group list {
          OPTIONAL INT64 element [17];
        }
      }
    }
  }
}
";
    assert_eq!(String::from_utf8(printed).unwrap(), expected);
    assert_eq!(result.rows_out, Rows(2));
}

#[test]
fn c38_metrics_by_mode() {
    let fields = || {
        vec![
            optional(1, "id", PrimitiveType::Long),
            optional(2, "name", PrimitiveType::String),
            optional(3, "x", PrimitiveType::Double),
            NestedField::optional(
                4,
                "s",
                Type::Struct(StructType::new(vec![optional(
                    5,
                    "y",
                    PrimitiveType::Double,
                )])),
            )
            .into(),
        ]
    };
    let doubles = |values: Vec<Option<f64>>| -> ArrayRef { Arc::new(Float64Array::from(values)) };
    let y = field(5, "y", DataType::Float64);
    let rows = batch(vec![
        (
            field(1, "id", DataType::Int64),
            int64([Some(5), None, Some(-7)]),
        ),
        (
            field(2, "name", DataType::Utf8),
            utf8([Some("a name of more than 16"), None, Some("b")]),
        ),
        (
            field(3, "x", DataType::Float64),
            doubles(vec![Some(f64::NAN), Some(0.0), None]),
        ),
        (
            field(4, "s", DataType::Struct(vec![y.clone()].into())),
            super::support::structs(vec![(
                y,
                doubles(vec![Some(f64::NAN), Some(f64::NAN), None]),
            )]),
        ),
    ]);
    let entry = |properties: &[(&str, &str)]| {
        let mut table = TestTable::with_properties(fields(), properties);
        table.data(1, &rows);
        let result = table.rewrite().unwrap();
        table.entries(&result).remove(0)
    };
    let bound = |bounds: &std::collections::HashMap<i32, iceberg::spec::Datum>, id: i32| {
        bounds
            .get(&id)
            .map(|bound| bound.to_bytes().unwrap().into_vec())
    };
    let plain = entry(&[]);
    assert_eq!(plain.value_counts()[&1], 3);
    assert_eq!(plain.null_value_counts()[&1], 1);
    assert_eq!(plain.nan_value_counts()[&3], 1);
    assert_eq!(plain.nan_value_counts()[&5], 2);
    assert_eq!(
        bound(plain.lower_bounds(), 1),
        Some((-7i64).to_le_bytes().to_vec())
    );
    assert_eq!(
        bound(plain.upper_bounds(), 1),
        Some(5i64.to_le_bytes().to_vec())
    );
    assert_eq!(
        bound(plain.lower_bounds(), 2),
        Some(b"a name of more t".to_vec())
    );
    assert_eq!(bound(plain.upper_bounds(), 2), Some(b"b".to_vec()));
    assert_eq!(
        bound(plain.lower_bounds(), 3),
        Some((-0.0f64).to_le_bytes().to_vec())
    );
    assert_eq!(bound(plain.lower_bounds(), 5), None);
    assert_eq!(plain.sort_order_id(), None);
    assert!(plain.column_sizes()[&2] > 0);

    let chosen = entry(&[
        ("write.metadata.metrics.default", "counts"),
        ("write.metadata.metrics.column.id", "none"),
        ("write.metadata.metrics.column.name", "truncate(1)"),
        ("write.metadata.metrics.column.s.y", "full"),
    ]);
    assert_eq!(chosen.value_counts().get(&1), None);
    assert_eq!(bound(chosen.lower_bounds(), 1), None);
    assert_eq!(bound(chosen.lower_bounds(), 2), Some(b"a".to_vec()));
    assert_eq!(chosen.value_counts()[&3], 3);
    assert_eq!(bound(chosen.lower_bounds(), 3), None);
    let few = entry(&[("write.metadata.metrics.max-inferred-column-defaults", "2")]);
    assert_eq!(
        few.value_counts().keys().copied().collect::<HashSet<_>>(),
        HashSet::from([1, 2])
    );
}

#[test]
fn lists_and_maps_have_counts_and_no_bounds() {
    let element = NestedField::list_element(2, Type::Primitive(PrimitiveType::Long), false);
    let list = Type::List(ListType {
        element_field: element.into(),
    });
    let mut table = TestTable::new(vec![NestedField::optional(1, "l", list).into()]);
    let item = Arc::new(super::support::field(2, "element", DataType::Int64));
    let lists = arrow_array::ListArray::new(
        Arc::clone(&item),
        arrow_buffer::OffsetBuffer::new(vec![0, 2, 3].into()),
        int64([1, 2, 3]),
        None,
    );
    table.data(
        1,
        &batch(vec![(field(1, "l", DataType::List(item)), Arc::new(lists))]),
    );
    let result = table.rewrite().unwrap();
    let entry = &table.entries(&result)[0];
    assert_eq!(entry.value_counts()[&2], 3);
    assert!(entry.lower_bounds().is_empty() && entry.upper_bounds().is_empty());
}

#[test]
fn c54_manifests_hold_whole_values_and_footers_short_ones() {
    let binary = |values: &[Vec<u8>]| -> ArrayRef {
        Arc::new(arrow_array::BinaryArray::from_iter_values(values))
    };
    let fields = || {
        vec![
            optional(1, "s", PrimitiveType::String),
            optional(2, "b", PrimitiveType::Binary),
        ]
    };
    let text = |last: char| format!("{}{last}", "né".repeat(60));
    let bytes = |last: u8| [vec![7; 90], vec![last]].concat();
    for (mode, length) in [("full", 1000), ("truncate(100)", 100), ("truncate(16)", 16)] {
        let properties = [
            ("write.metadata.metrics.default", mode),
            ("write.parquet.row-group-limit", "2"),
        ];
        let mut table = TestTable::with_properties(fields(), &properties);
        for group in [['b', 'a', 'c'], ['x', 'y', 'd']] {
            let texts = StringArray::from_iter_values(group.map(text));
            let all = group.map(|last| bytes(last as u8));
            table.data(
                1,
                &batch(vec![
                    (field(1, "s", DataType::Utf8), Arc::new(texts)),
                    (field(2, "b", DataType::Binary), binary(&all)),
                ]),
            );
        }
        let result = table.rewrite().unwrap();
        let entry = &table.entries(&result)[0];
        let bound = |bounds: &HashMap<i32, Datum>, id| bounds[&id].to_bytes().unwrap().into_vec();
        let low = |id| bound(entry.lower_bounds(), id);
        let high = |id| bound(entry.upper_bounds(), id);
        let cut = |text: String| text.chars().take(length).collect::<String>();
        assert_eq!(low(1), cut(text('a')).as_bytes(), "{mode}");
        assert_eq!(low(2), bytes(b'a')[..length.min(91)]);
        // A cut upper bound ends with the character after the one that stands there.
        let expected = match length {
            1000 => (text('y'), bytes(b'y')),
            100 => (format!("{}ê", &cut(text('y'))[..149 - 1]), bytes(b'y')),
            _ => (
                format!("{}ê", "né".repeat(8).trim_end_matches('é')),
                [vec![7; 15], vec![8]].concat(),
            ),
        };
        assert_eq!(
            (high(1), high(2)),
            (expected.0.into_bytes(), expected.1),
            "{mode}"
        );
        let reader = open(entry);
        assert_eq!(reader.metadata().num_row_groups(), 3);
        for chunk in reader
            .metadata()
            .row_groups()
            .iter()
            .flat_map(|group| group.columns())
        {
            let statistics = chunk.statistics().unwrap();
            let (low, high) = (statistics.min_bytes_opt(), statistics.max_bytes_opt());
            assert!(low.unwrap().len() <= 64 && high.unwrap().len() <= 64);
            assert!(!statistics.min_is_exact() && !statistics.max_is_exact());
        }
    }
}

#[test]
fn a_rewrite_of_the_output_changes_nothing() {
    let mut table = TestTable::new(people_fields());
    table.data(1, &noise(3_000, 5));
    table.data(1, &noise(3_000, 6));
    let first = table.rewrite().unwrap();
    let rows = table.read_back(&first);
    let hash = table.hash();
    table.group = table.after(&first);
    assert_eq!(table.hash(), hash);
    let second = table.rewrite().unwrap();
    assert_eq!(table.read_back(&second), rows);
    assert_eq!(longs(&rows, "id").len(), 6_000);
}

/// Tables of format version 1 get entries too, with whatever that version has room for.
#[test]
fn format_version_1_is_rewritten() {
    let mut table = TestTable::new(people_fields());
    let mut json = serde_json::to_value(&*table.metadata).unwrap();
    json["format-version"] = 1.into();
    json["schema"] = json["schemas"][0].clone();
    json["partition-spec"] = serde_json::json!([]);
    json.as_object_mut().unwrap().remove("last-sequence-number");
    let as_version_1: TableMetadata = serde_json::from_value(json).unwrap();
    table.metadata = as_version_1.into();
    table.data(0, &people(&[(1, None), (2, Some("b"))]));
    let rows = table.rewritten();
    assert_eq!(longs(&rows, "id"), [Some(1), Some(2)]);
}

#[test]
fn the_storage_class_of_the_table_goes_with_each_file() {
    let classes = |properties: &[(&str, &str)]| {
        let mut table = TestTable::with_properties(people_fields(), properties);
        table.data(1, &noise(4_000, 1));
        table.group.target_file_size = Bytes(40_000);
        let storage = Arc::new(Noting::default());
        let context = crate::RewriteContext {
            storage: Arc::<Noting>::clone(&storage),
            ..table.context()
        };
        let attempt = icepress_model::Attempt(1);
        let task = table.task();
        let result = block_on(crate::rewrite_group(
            &context,
            &table.metadata,
            &task,
            attempt,
        ));
        assert_eq!(storage.writes().len(), result.unwrap().data_files.len());
        let writes = storage.writes();
        assert!(writes.len() > 1);
        writes
            .into_iter()
            .map(|(_, options)| options.storage_class)
            .collect::<HashSet<_>>()
    };
    assert_eq!(classes(&[]), HashSet::from([None]));
    assert_eq!(
        classes(&[("s3.write.storage-class", "STANDARD_IA")]),
        HashSet::from([Some("STANDARD_IA".to_owned())])
    );
}
