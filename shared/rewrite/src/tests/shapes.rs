//! Files as other writers make them: the same values in other shapes.

use std::{fs::File, sync::Arc};

use arrow_array::{
    Array, ArrayRef, BinaryArray, DictionaryArray, FixedSizeBinaryArray, Int8Array, LargeListArray,
    LargeStringArray, ListArray, NullArray, StringViewArray, Time32MillisecondArray,
    TimestampMicrosecondArray, TimestampMillisecondArray, TimestampNanosecondArray, UInt16Array,
    cast::AsArray,
    types::{Int8Type, Int64Type},
};
use arrow_buffer::{NullBuffer, OffsetBuffer};
use arrow_schema::{DataType, Field, TimeUnit};
use iceberg::spec::{ListType, NestedField, NestedFieldRef, PrimitiveType, Type};
use icepress_model::RewriteFailureKind;
use parquet::{
    data_type::{ByteArray, ByteArrayType, Int32Type, Int64Type as ParquetInt64, Int96, Int96Type},
    file::{
        properties::WriterProperties,
        writer::{SerializedFileWriter, SerializedRowGroupWriter},
    },
    schema::parser::parse_message_type,
};

use super::support::{TestTable, batch, field, longs, optional, texts, utf8, with_id};

/// Writes a file of one row group below Arrow: any shape that Parquet allows.
fn raw(path: &str, message: &str, write: impl FnOnce(&mut SerializedRowGroupWriter<'_, File>)) {
    let schema = Arc::new(parse_message_type(message).unwrap());
    let properties = Arc::new(WriterProperties::builder().build());
    let mut file =
        SerializedFileWriter::new(File::create(path).unwrap(), schema, properties).unwrap();
    let mut group = file.next_row_group().unwrap();
    write(&mut group);
    group.close().unwrap();
    file.close().unwrap();
}

fn list_of(id: i32, name: &str, element_id: i32, element: PrimitiveType) -> NestedFieldRef {
    let element = NestedField::list_element(element_id, Type::Primitive(element), false);
    NestedField::optional(
        id,
        name,
        Type::List(ListType {
            element_field: element.into(),
        }),
    )
    .into()
}

/// Days since the start of the Julian calendar, and nanoseconds of the day.
fn int96(micros: i64) -> Int96 {
    const MICROS_OF_DAY: i64 = 86_400_000_000;
    let day = (micros.div_euclid(MICROS_OF_DAY) + 2_440_588) as u32;
    let nanos = (micros.rem_euclid(MICROS_OF_DAY) * 1000) as u64;
    let mut value = Int96::new();
    value.set_data(nanos as u32, (nanos >> 32) as u32, day);
    value
}

#[test]
fn int96_timestamps_of_any_year() {
    let values = [
        0,
        -1,
        1_700_000_000_123_456,
        253_402_300_799_999_999,
        -62_135_596_800_000_000,
    ];
    for primitive in [PrimitiveType::Timestamp, PrimitiveType::Timestamptz] {
        let mut table = TestTable::new(vec![optional(1, "t", primitive)]);
        let path = table.next_path("parquet");
        raw(&path, "message m { required int96 t = 1; }", |group| {
            let mut column = group.next_column().unwrap().unwrap();
            let values: Vec<Int96> = values.iter().map(|micros| int96(*micros)).collect();
            column
                .typed::<Int96Type>()
                .write_batch(&values, None, None)
                .unwrap();
            column.close().unwrap();
        });
        table.adopt(1, &path, 5);
        let rows = table.rewritten();
        let found = rows
            .column(0)
            .as_primitive::<arrow_array::types::TimestampMicrosecondType>();
        assert_eq!(found.values(), &values);
    }
}

#[test]
fn timestamps_and_times_of_other_units() {
    let mut table = TestTable::new(vec![
        optional(1, "millis", PrimitiveType::Timestamptz),
        optional(2, "nanos", PrimitiveType::Timestamp),
        optional(3, "bare", PrimitiveType::Timestamp),
        optional(4, "time", PrimitiveType::Time),
        optional(5, "zoned", PrimitiveType::Timestamp),
    ]);
    let nanos = |values: Vec<i64>| -> ArrayRef { Arc::new(TimestampNanosecondArray::from(values)) };
    let rows = |nano: i64| {
        batch(vec![
            (
                field(
                    1,
                    "millis",
                    DataType::Timestamp(TimeUnit::Millisecond, None),
                ),
                Arc::new(TimestampMillisecondArray::from(vec![-1])),
            ),
            (
                field(2, "nanos", DataType::Timestamp(TimeUnit::Nanosecond, None)),
                nanos(vec![nano]),
            ),
            (
                field(3, "bare", DataType::Int64),
                super::support::int64([7]),
            ),
            (
                field(4, "time", DataType::Time32(TimeUnit::Millisecond)),
                Arc::new(Time32MillisecondArray::from(vec![86_399_999])),
            ),
            (
                field(
                    5,
                    "zoned",
                    DataType::Timestamp(TimeUnit::Microsecond, Some("Europe/Rome".into())),
                ),
                Arc::new(TimestampMicrosecondArray::from(vec![9]).with_timezone("Europe/Rome")),
            ),
        ])
    };
    table.data(1, &rows(-5_000));
    let found = table.rewritten();
    let numbers: Vec<i64> = found
        .columns()
        .iter()
        .map(|column| arrow_cast::cast(column, &DataType::Int64).unwrap())
        .map(|column| column.as_primitive::<Int64Type>().value(0))
        .collect();
    assert_eq!(numbers, [-1000, -5, 7, 86_399_999_000, 9]);
    // What microseconds have no room for is not cut off.
    table.data(1, &rows(-5_001));
    let failure = table.rewrite().unwrap_err();
    assert!(failure.message.contains("last digits"), "{failure}");
}

/// Lists as they were written before three levels became the rule, and as pyarrow and parquet-mr name them.
#[test]
fn lists_of_two_and_three_levels() {
    let bodies = [
        ("repeated int32 element", 1),
        ("repeated int32 array", 1),
        ("repeated group list { optional int32 element = 11; }", 2),
        ("repeated group list { optional int32 item; }", 2),
        (
            "repeated group bag { optional int32 array_element = 11; }",
            2,
        ),
    ];
    for (body, full) in bodies {
        // The level at which an element is there, below that of a list that is not NULL.
        let full = 1 + full;
        let mut table = TestTable::new(vec![list_of(1, "l", 11, PrimitiveType::Long)]);
        let path = table.next_path("parquet");
        let message = format!("message m {{ optional group l (LIST) = 1 {{ {body}; }} }}")
            .replace("; };", "; }");
        // Rows: [1, 2], NULL, [], [3].
        raw(&path, &message, |group| {
            let mut column = group.next_column().unwrap().unwrap();
            column
                .typed::<Int32Type>()
                .write_batch(
                    &[1, 2, 3],
                    Some(&[full, full, 0, 1, full]),
                    Some(&[0, 1, 0, 0, 0]),
                )
                .unwrap();
            column.close().unwrap();
        });
        table.adopt(1, &path, 4);
        let rows = table.rewritten();
        let lists = rows.column(0).as_list::<i32>();
        assert_eq!(lists.value_offsets(), [0, 2, 2, 2, 3], "{body}");
        assert_eq!(
            lists.nulls().unwrap().iter().collect::<Vec<_>>(),
            [true, false, true, true]
        );
        assert_eq!(lists.values(), &super::support::int64([1, 2, 3]), "{body}");
    }
}

#[test]
fn texts_without_annotation_are_checked() {
    let mut table = TestTable::new(vec![
        optional(1, "s", PrimitiveType::String),
        optional(2, "n", PrimitiveType::Long),
    ]);
    let write = |path: &str, text: &[u8]| {
        raw(
            path,
            "message m { optional binary s = 1; required int64 n = 2; }",
            |group| {
                let mut column = group.next_column().unwrap().unwrap();
                let texts = [ByteArray::from(text.to_vec())];
                column
                    .typed::<ByteArrayType>()
                    .write_batch(&texts, Some(&[1, 0]), None)
                    .unwrap();
                column.close().unwrap();
                let mut column = group.next_column().unwrap().unwrap();
                column
                    .typed::<ParquetInt64>()
                    .write_batch(&[1, 2], None, None)
                    .unwrap();
                column.close().unwrap();
            },
        );
    };
    let path = table.next_path("parquet");
    write(&path, "né".as_bytes());
    table.adopt(1, &path, 2);
    let rows = table.rewritten();
    assert_eq!(texts(&rows, "s"), [Some("né".to_owned()), None]);
    assert_eq!(longs(&rows, "n"), [Some(1), Some(2)]);
    let path = table.next_path("parquet");
    write(&path, b"\xFF\xFE");
    table.adopt(1, &path, 2);
    assert_eq!(
        table.rewrite().unwrap_err().kind,
        RewriteFailureKind::CorruptFile
    );
}

/// Arrow writers note their in-memory types in the footer. The table's types decide, not the note.
#[test]
fn what_arrow_had_in_memory_does_not_mislead() {
    let mut table = TestTable::new(vec![
        optional(1, "dictionary", PrimitiveType::String),
        optional(2, "large", PrimitiveType::String),
        optional(3, "view", PrimitiveType::String),
        optional(4, "tiny", PrimitiveType::Int),
        optional(5, "short", PrimitiveType::Long),
        optional(6, "nothing", PrimitiveType::Double),
        list_of(7, "list", 71, PrimitiveType::String),
    ]);
    let dictionary: DictionaryArray<Int8Type> =
        vec![Some("a"), None, Some("a")].into_iter().collect();
    let element = Arc::new(with_id(Field::new("item", DataType::LargeUtf8, true), 71));
    let list = LargeListArray::new(
        Arc::clone(&element),
        OffsetBuffer::new(vec![0i64, 1, 1, 2].into()),
        Arc::new(LargeStringArray::from(vec![Some("x"), None])),
        Some(NullBuffer::from(vec![true, false, true])),
    );
    table.data(
        1,
        &batch(vec![
            (
                field(1, "dictionary", dictionary.data_type().clone()),
                Arc::new(dictionary),
            ),
            (
                field(2, "large", DataType::LargeUtf8),
                Arc::new(LargeStringArray::from(vec![Some("b"), None, Some("")])),
            ),
            (
                field(3, "view", DataType::Utf8View),
                Arc::new(StringViewArray::from(vec![
                    Some("c"),
                    None,
                    Some("longer than twelve bytes"),
                ])),
            ),
            (
                field(4, "tiny", DataType::Int8),
                Arc::new(Int8Array::from(vec![-1, 0, 1])),
            ),
            (
                field(5, "short", DataType::UInt16),
                Arc::new(UInt16Array::from(vec![65_535, 0, 1])),
            ),
            (
                field(6, "nothing", DataType::Null),
                Arc::new(NullArray::new(3)),
            ),
            (
                field(7, "list", DataType::LargeList(element)),
                Arc::new(list),
            ),
        ]),
    );
    let rows = table.rewritten();
    assert_eq!(rows.column(0), &utf8([Some("a"), None, Some("a")]));
    assert_eq!(rows.column(1), &utf8([Some("b"), None, Some("")]));
    assert_eq!(
        rows.column(2),
        &utf8([Some("c"), None, Some("longer than twelve bytes")])
    );
    assert_eq!(rows.column(3), &super::support::int32([-1, 0, 1]));
    assert_eq!(longs(&rows, "short"), [Some(65_535), Some(0), Some(1)]);
    assert_eq!(rows.column(5).null_count(), 3);
    let element = Arc::new(Field::new("element", DataType::Utf8, true));
    let expected: ArrayRef = Arc::new(ListArray::new(
        element,
        OffsetBuffer::new(vec![0, 1, 1, 2].into()),
        utf8([Some("x"), None]),
        Some(NullBuffer::from(vec![true, false, true])),
    ));
    assert_eq!(rows.column(6), &expected);
}

#[test]
fn decimals_uuids_fixed_and_binary_of_several_physical_types() {
    let decimal = |precision| PrimitiveType::Decimal {
        precision,
        scale: 2,
    };
    let mut table = TestTable::new(vec![
        optional(1, "d", decimal(9)),
        optional(2, "u", PrimitiveType::Uuid),
        optional(3, "f", PrimitiveType::Fixed(3)),
        optional(4, "b", PrimitiveType::Binary),
        optional(5, "w", decimal(38)),
    ]);
    let fixed = |value: &[u8]| -> ArrayRef {
        Arc::new(FixedSizeBinaryArray::try_from_iter(std::iter::once(value)).unwrap())
    };
    let path = table.next_path("parquet");
    // pyarrow writes every decimal as fixed bytes; others as a number, or as binary.
    let shapes = [
        "fixed_len_byte_array(6) d (DECIMAL(9,2)) = 1",
        "int64 d (DECIMAL(9,2)) = 1",
        "binary d (DECIMAL(9,2)) = 1",
        "int32 d (DECIMAL(5,2)) = 1",
        "int64 d (DECIMAL(12,2)) = 1",
    ];
    for (index, shape) in shapes.iter().enumerate() {
        let path = format!("{path}.{index}");
        raw(
            &path,
            &format!("message m {{ required {shape}; }}"),
            |group| {
                let mut column = group.next_column().unwrap().unwrap();
                match index {
                    0 => {
                        let value = ByteArray::from((-12_345i64).to_be_bytes()[2..].to_vec());
                        column
                            .typed::<parquet::data_type::FixedLenByteArrayType>()
                            .write_batch(&[value.into()], None, None)
                    }
                    1 | 4 => column
                        .typed::<ParquetInt64>()
                        .write_batch(&[-12_345], None, None),
                    2 => column.typed::<ByteArrayType>().write_batch(
                        &[ByteArray::from((-12_345i16).to_be_bytes().to_vec())],
                        None,
                        None,
                    ),
                    _ => column
                        .typed::<Int32Type>()
                        .write_batch(&[-12_345], None, None),
                }
                .unwrap();
                column.close().unwrap();
            },
        );
        table.adopt(1, &path, 1);
    }
    let wide = arrow_array::Decimal128Array::from(vec![10i128.pow(38) - 1])
        .with_precision_and_scale(38, 2)
        .unwrap();
    table.data(
        1,
        &batch(vec![
            (
                field(2, "u", DataType::FixedSizeBinary(16)),
                fixed(&[0xAB; 16]),
            ),
            (
                field(3, "f", DataType::FixedSizeBinary(3)),
                fixed(&[1, 2, 3]),
            ),
            (
                field(4, "b", DataType::Binary),
                Arc::new(BinaryArray::from(vec![&b"\xFF\0"[..]])),
            ),
            (
                field(5, "w", DataType::Decimal128(38, 2)),
                Arc::new(wide.clone()),
            ),
        ]),
    );
    let rows = table.rewritten();
    let decimals = rows
        .column(0)
        .as_primitive::<arrow_array::types::Decimal128Type>();
    assert_eq!(
        decimals.iter().collect::<Vec<_>>(),
        [[Some(-12_345); 5].as_slice(), &[None]].concat()
    );
    assert_eq!(rows.column(1).as_fixed_size_binary().value(5), [0xAB; 16]);
    assert_eq!(rows.column(2).as_fixed_size_binary().value(5), [1, 2, 3]);
    assert_eq!(rows.column(3).as_binary::<i32>().value(5), b"\xFF\0");
    assert_eq!(
        rows.column(4)
            .as_primitive::<arrow_array::types::Decimal128Type>()
            .value(5),
        wide.value(0)
    );
}

/// Old writers left a dictionary offset of 0 in columns that have no dictionary.
#[test]
fn dictionary_offsets_that_mean_nothing_are_ignored() {
    use parquet::file::metadata::{ParquetMetaData, ParquetMetaDataReader, ParquetMetaDataWriter};
    let mut table = TestTable::new(vec![optional(1, "n", PrimitiveType::Long)]);
    let path = table.next_path("parquet");
    let rows = batch(vec![(
        field(1, "n", DataType::Int64),
        super::support::int64([1, 2, 3]),
    )]);
    let plain = WriterProperties::builder()
        .set_dictionary_enabled(false)
        .build();
    super::support::write_parquet(&path, &rows, plain);
    let content = std::fs::read(&path).unwrap();
    let tail: [u8; 4] = content[content.len() - 8..content.len() - 4]
        .try_into()
        .unwrap();
    let footer = content.len() - 8 - u32::from_le_bytes(tail) as usize;
    let metadata: ParquetMetaData =
        ParquetMetaDataReader::decode_metadata(&content[footer..content.len() - 8]).unwrap();
    let group = metadata.row_group(0).clone();
    let column = group.column(0).clone().into_builder();
    let column = column.set_dictionary_page_offset(Some(0)).build().unwrap();
    let group = group
        .into_builder()
        .set_column_metadata(vec![column])
        .build()
        .unwrap();
    let metadata = metadata.into_builder().set_row_groups(vec![group]).build();
    let mut changed = content[..footer].to_vec();
    ParquetMetaDataWriter::new(&mut changed, &metadata)
        .finish()
        .unwrap();
    std::fs::write(&path, changed).unwrap();
    table.adopt(1, &path, 3);
    assert_eq!(longs(&table.rewritten(), "n"), [Some(1), Some(2), Some(3)]);
}
