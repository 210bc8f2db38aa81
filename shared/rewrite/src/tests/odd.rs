//! Files that are sound, and look odd; and pages whose checksum is wrong, which are not.

use std::sync::Arc;

use arrow_array::{ArrayRef, StringArray};
use arrow_schema::DataType;
use iceberg::spec::PrimitiveType;
use icepress_model::{RewriteFailureKind, Rows};
use parquet::file::{
    metadata::{ParquetMetaData, ParquetMetaDataReader, ParquetMetaDataWriter, RowGroupMetaData},
    properties::WriterProperties,
};

use super::support::{
    TestTable, batch, field, int64, longs, optional, people, people_fields, texts, write_parquet,
};

/// Rewrites a file's footer.
fn with_footer(path: &str, change: impl FnOnce(ParquetMetaData) -> ParquetMetaData) {
    let content = std::fs::read(path).unwrap();
    let end = content.len() - 8;
    let length = u32::from_le_bytes(content[end..end + 4].try_into().unwrap()) as usize;
    let footer = ParquetMetaDataReader::decode_metadata(&content[end - length..end]).unwrap();
    let mut changed = content[..end - length].to_vec();
    let footer = change(footer);
    ParquetMetaDataWriter::new(&mut changed, &footer)
        .finish()
        .unwrap();
    std::fs::write(path, changed).unwrap();
}

/// A row group of no rows as parquet-cpp leaves it: a dictionary of nothing, and data pages that begin at 0.
fn empty_like(group: &RowGroupMetaData) -> RowGroupMetaData {
    let columns = group.columns().iter().map(|column| {
        let builder = column.clone().into_builder().set_data_page_offset(0);
        let builder = builder
            .set_total_compressed_size(20)
            .set_total_uncompressed_size(20);
        builder
            .set_num_values(0)
            .clear_statistics()
            .build()
            .unwrap()
    });
    let builder = group.clone().into_builder().set_num_rows(0);
    builder
        .set_column_metadata(columns.collect())
        .build()
        .unwrap()
}

#[test]
fn c53_empty_row_groups_beside_full_ones_are_passed_over() {
    // Read whole, and by ranges.
    for cap in [256 << 20, 1 << 20] {
        let mut table = TestTable::new(people_fields());
        table.memory_cap = icepress_model::Bytes(cap);
        let rows: Vec<(i64, Option<&str>)> = (0..6_000).map(|id| (id, Some("n"))).collect();
        let path = table.next_path("parquet");
        let properties = WriterProperties::builder().set_max_row_group_row_count(Some(2_000));
        write_parquet(&path, &people(&rows), properties.build());
        with_footer(&path, |footer| {
            let empty = empty_like(footer.row_group(0));
            let full = footer.row_groups().to_vec();
            let mut groups = vec![empty.clone()];
            for group in full {
                groups.extend([group, empty.clone(), empty.clone()]);
            }
            footer.into_builder().set_row_groups(groups).build()
        });
        table.adopt(1, &path, 6_000);
        table.delete_positions(1, &[(&path, 0), (&path, 2_000), (&path, 5_999)]);
        let before = table.hash();
        let result = table.rewrite().unwrap();
        assert_eq!((result.rows_deleted, result.row_groups_in), (Rows(3), 3));
        let ids = longs(&table.read_back(&result), "id");
        let live = (0..6_000).filter(|id| ![0, 2_000, 5_999].contains(id));
        assert_eq!(ids, live.map(Some).collect::<Vec<_>>());
        table.group = table.after(&result);
        assert_eq!(table.hash(), before);
    }
    // A file of empty row groups alone has no rows.
    let mut table = TestTable::new(people_fields());
    let path = table.data(1, &people(&[(1, None)]));
    with_footer(&path, |footer| {
        let empty = empty_like(footer.row_group(0));
        footer.into_builder().set_row_groups(vec![empty]).build()
    });
    table.group.inputs.clear();
    table.adopt(1, &path, 0);
    assert_eq!(table.rewrite().unwrap().rows_out, Rows::ZERO);
}

/// An early writer in Rust left a 0 where the footer counts all rows: each row group has its own count.
#[test]
fn a_footer_that_counts_no_rows_does_not_hide_those_of_its_row_groups() {
    use parquet::file::metadata::{FileMetaData, ParquetMetaDataBuilder};
    let mut table = TestTable::new(people_fields());
    let path = table.data(1, &people(&[(1, None), (2, Some("b"))]));
    with_footer(&path, |footer| {
        let schema = footer.file_metadata().schema_descr_ptr();
        let file = FileMetaData::new(1, 0, None, None, schema, None);
        let whole = ParquetMetaDataBuilder::new(file);
        whole.set_row_groups(footer.row_groups().to_vec()).build()
    });
    table.group.inputs.clear();
    table.adopt(1, &path, 2);
    assert_eq!(longs(&table.rewritten(), "id"), [Some(1), Some(2)]);
}

/// Fields that repeat without an annotation are lists whose elements are required (parquet-format, *Lists*).
#[test]
fn repeated_fields_without_an_annotation_are_lists() {
    use iceberg::spec::{ListType, NestedField, Type};
    use parquet::{
        data_type::Int32Type, file::writer::SerializedFileWriter,
        schema::parser::parse_message_type,
    };
    let element = NestedField::required(2, "element", Type::Primitive(PrimitiveType::Int));
    let list = Type::List(ListType::new(element.into()));
    let mut table = TestTable::new(vec![
        NestedField::optional(1, "numbers", list).into(),
        optional(3, "id", PrimitiveType::Int),
    ]);
    let path = table.next_path("parquet");
    let schema = "message m { repeated int32 numbers = 1; optional int32 id = 3; }";
    let schema = Arc::new(parse_message_type(schema).unwrap());
    let file = std::fs::File::create(&path).unwrap();
    let mut writer = SerializedFileWriter::new(file, schema, Arc::default()).unwrap();
    let mut group = writer.next_row_group().unwrap();
    for (values, definitions, repetitions) in [
        (
            &[1, 2, 3][..],
            &[1i16, 1, 0, 1][..],
            Some(&[0i16, 1, 0, 0][..]),
        ),
        (&[7, 8, 9][..], &[1, 1, 1][..], None),
    ] {
        let mut column = group.next_column().unwrap().unwrap();
        let typed = column.typed::<Int32Type>();
        typed
            .write_batch(values, Some(definitions), repetitions)
            .unwrap();
        column.close().unwrap();
    }
    group.close().unwrap();
    writer.close().unwrap();
    table.adopt(1, &path, 3);
    let rows = table.rewritten();
    let lists = arrow_array::cast::AsArray::as_list::<i32>(rows.column(0).as_ref());
    assert_eq!(lists.value_offsets(), [0, 2, 2, 3]);
    assert_eq!(lists.values(), &super::support::int32([1, 2, 3]));
}

/// A page header of Thrift's compact protocol with a checksum of `wrong` bits beside the right one.
fn page_with_checksum(rows: i64, wrong: u32) -> (Vec<u8>, usize) {
    let zigzag = |value: i64| {
        let mut value = (value << 1 ^ value >> 63) as u64;
        let mut bytes = Vec::new();
        while value > 0x7F {
            bytes.push(value as u8 | 0x80);
            value >>= 7;
        }
        bytes.push(value as u8);
        bytes
    };
    let body: Vec<u8> = (0..rows).flat_map(i64::to_le_bytes).collect();
    let checksum = crc32(&body) ^ wrong;
    let header = [
        vec![0x15],
        zigzag(0),
        vec![0x15],
        zigzag(body.len() as i64),
        vec![0x15],
        zigzag(body.len() as i64),
        vec![0x15],
        zigzag(i64::from(checksum as i32)),
        vec![0x1C, 0x15],
        zigzag(rows),
        // PLAIN, and RLE for levels that there are none of.
        vec![0x15, 0, 0x15, 6, 0x15, 6, 0, 0],
    ]
    .concat();
    let length = header.len() + body.len();
    ([header, body].concat(), length)
}

/// CRC32 as zlib has it (parquet-format, *Checksumming*).
fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0u32, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| {
            crc >> 1 ^ (0xEDB8_8320 & (crc & 1).wrapping_neg())
        })
    })
}

/// A file of one required column whose only page has a checksum.
fn checksummed(path: &str, id: i32, name: &str, rows: i64, wrong: u32) {
    use parquet::{
        basic::{Repetition, Type as PhysicalType},
        file::writer::SerializedFileWriter,
        schema::types::Type,
    };
    let column = Type::primitive_type_builder(name, PhysicalType::INT64);
    let column = column
        .with_repetition(Repetition::REQUIRED)
        .with_id(Some(id));
    let fields = vec![Arc::new(column.build().unwrap())];
    let schema = Type::group_type_builder("m").with_fields(fields).build();
    let mut content = Vec::new();
    let plain = WriterProperties::builder()
        .set_dictionary_enabled(false)
        .build();
    let mut writer =
        SerializedFileWriter::new(&mut content, Arc::new(schema.unwrap()), Arc::new(plain))
            .unwrap();
    let mut group = writer.next_row_group().unwrap();
    let mut column = group.next_column().unwrap().unwrap();
    let values: Vec<i64> = (0..rows).collect();
    let typed = column.typed::<parquet::data_type::Int64Type>();
    typed.write_batch(&values, None, None).unwrap();
    column.close().unwrap();
    group.close().unwrap();
    writer.close().unwrap();
    let end = content.len() - 8;
    let length = u32::from_le_bytes(content[end..end + 4].try_into().unwrap()) as usize;
    let footer = ParquetMetaDataReader::decode_metadata(&content[end - length..end]).unwrap();
    let (page, length) = page_with_checksum(rows, wrong);
    let mut changed = [b"PAR1".to_vec(), page].concat();
    let group = footer.row_group(0).clone();
    let column = group.column(0).clone().into_builder();
    let column = column
        .set_data_page_offset(4)
        .set_total_compressed_size(length as i64);
    let column = column
        .set_offset_index_offset(None)
        .set_offset_index_length(None);
    let column = column
        .set_column_index_offset(None)
        .set_column_index_length(None);
    let group = group.into_builder();
    let group = group
        .set_column_metadata(vec![column.build().unwrap()])
        .build()
        .unwrap();
    let footer = footer.into_builder().set_row_groups(vec![group]).build();
    ParquetMetaDataWriter::new(&mut changed, &footer)
        .finish()
        .unwrap();
    std::fs::write(path, changed).unwrap();
}

#[test]
fn c59_a_page_whose_checksum_is_wrong_is_never_rewritten() {
    let ids = || vec![optional(1, "id", PrimitiveType::Long)];
    let rewritten = |wrong: u32| {
        let mut table = TestTable::new(ids());
        let path = table.next_path("parquet");
        checksummed(&path, 1, "id", 100, wrong);
        table.adopt(1, &path, 100);
        (
            path,
            table
                .rewrite()
                .map(|result| longs(&table.read_back(&result), "id")),
        )
    };
    assert_eq!(
        rewritten(0).1.unwrap(),
        (0..100).map(Some).collect::<Vec<_>>()
    );
    let (path, failed) = rewritten(1);
    let failure = failed.unwrap_err();
    assert_eq!(failure.kind, RewriteFailureKind::CorruptFile);
    for word in [path.as_str(), "checksum", "column id"] {
        assert!(failure.message.contains(word), "{word}: {failure}");
    }
}

#[test]
fn c59_checksums_of_keys_count_as_well_whoever_reads_them() {
    for wrong in [0, 1 << 31] {
        let mut table = TestTable::new(people_fields());
        table.data(1, &people(&[(1, None), (2, Some("b")), (100, Some("c"))]));
        let path = table.next_path("parquet");
        checksummed(&path, 1, "id", 50, wrong);
        table.adopt_equality(2, &path, vec![1], 50);
        let hashed = table.try_hash();
        let rewritten = table.rewrite();
        table.group.tier = icepress_model::Tier::Light;
        let light = table.rewrite();
        for failed in [hashed.err(), rewritten.err(), light.err()] {
            assert_eq!(failed.is_some(), wrong != 0);
            if let Some(failure) = failed {
                assert!(failure.message.contains(&path), "{failure}");
                assert!(failure.message.contains("checksum"), "{failure}");
            }
        }
    }
}

#[test]
fn sound_files_that_manifests_describe_wrongly_are_not_called_corrupt() {
    let wrong = |change: fn(&mut icepress_model::InputFile)| {
        let mut table = TestTable::new(people_fields());
        let path = table.data(1, &people(&[(1, None), (2, Some("b"))]));
        change(&mut table.group.inputs[0]);
        (path, table.rewrite().unwrap_err())
    };
    let changes: [fn(&mut icepress_model::InputFile); 4] = [
        |input| input.rows = Rows(3),
        |input| input.rows = Rows(0),
        |input| input.size = icepress_model::Bytes(input.size.get() - 1),
        |input| input.size = icepress_model::Bytes(input.size.get() + 100),
    ];
    for change in changes {
        let (path, failure) = wrong(change);
        for word in [path.as_str(), "the manifest says", "icepress repair"] {
            assert!(failure.message.contains(word), "{word}: {failure}");
        }
        for word in ["corrupt", "remove"] {
            assert!(!failure.message.contains(word), "{word}: {failure}");
        }
    }
}

#[test]
fn texts_without_end_are_no_corruption() {
    let mut table = TestTable::new(people_fields());
    let text: ArrayRef = Arc::new(StringArray::from(vec!["é".repeat(500_000); 3]));
    let rows = batch(vec![
        (field(1, "id", DataType::Int64), int64([1, 2, 3])),
        (field(2, "name", DataType::Utf8), text),
    ]);
    table.data(1, &rows);
    let lengths = texts(&table.rewritten(), "name");
    assert!(
        lengths
            .iter()
            .all(|text| text.as_ref().unwrap().len() == 1_000_000)
    );
}
