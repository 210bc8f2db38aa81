//! What others got wrong when they copied pages and row groups, each as a file in which it would show.

use std::{fs, sync::Arc};

use arrow_array::{ArrayRef, RecordBatch, StringArray};
use arrow_schema::DataType;
use arrow_select::concat::concat_batches;
use iceberg::spec::PrimitiveType;
use icepress_files::{
    MrSettings, PageKind, ParquetParts, Struct, Value, encoding, write_like_parquet_mr,
};
use parquet::{
    arrow::ArrowWriter,
    file::properties::{WriterProperties, WriterVersion},
};

use crate::{
    judge::judge,
    support::{TestTable, batch, field, int64, longs, optional, people_fields, texts, utf8},
};

/// Rows of `id` and `name`.
fn people(ids: std::ops::Range<i64>, name: impl Fn(i64) -> Option<String>) -> RecordBatch {
    let names: StringArray = ids.clone().map(name).collect();
    batch(vec![
        (field(1, "id", DataType::Int64), int64(ids)),
        (
            field(2, "name", DataType::Utf8),
            Arc::new(names) as ArrayRef,
        ),
    ])
}

fn written(rows: &RecordBatch, properties: WriterProperties) -> ParquetParts {
    let mut writer = ArrowWriter::try_new(Vec::new(), rows.schema(), Some(properties)).unwrap();
    writer.write(rows).unwrap();
    ParquetParts::of(&writer.into_inner().unwrap()).unwrap()
}

fn add(table: &mut TestTable, file: &[u8], rows: &RecordBatch) {
    let path = table.next_path("parquet");
    fs::write(&path, file).unwrap();
    table.adopt(1, &path, rows.num_rows() as u64);
}

/// Rewrites files that hold `batches`, and judges what came of it.
fn hold(files: &[(ParquetParts, RecordBatch)]) {
    let mut table = TestTable::new(people_fields());
    for (parts, rows) in files {
        add(&mut table, &parts.to_bytes().unwrap(), rows);
    }
    let batches: Vec<&RecordBatch> = files.iter().map(|(_, rows)| rows).collect();
    let all = concat_batches(&files[0].1.schema(), batches).unwrap();
    judge(&table, &table.rewrite().unwrap(), &all);
}

fn small_pages() -> parquet::file::properties::WriterPropertiesBuilder {
    WriterProperties::builder()
        .set_data_page_row_count_limit(10)
        .set_write_batch_size(10)
}

/// Lance 8501, 8281, 8479: columns were taken by their place, and were crossed or missing once the schema had changed.
#[test]
fn columns_keep_their_ids_when_the_schema_changes() {
    // A column is dropped, another of its name added, the rest stand in another order; all have the same type.
    let old = vec![
        optional(1, "a", PrimitiveType::String),
        optional(2, "b", PrimitiveType::String),
        optional(3, "c", PrimitiveType::String),
    ];
    let new = vec![
        optional(3, "c", PrimitiveType::String),
        optional(4, "b", PrimitiveType::String),
        optional(1, "renamed", PrimitiveType::String),
    ];
    let mut table = TestTable::evolved(vec![old, new]);
    let text = |id, name| field(id, name, DataType::Utf8);
    table.data(
        1,
        &batch(vec![
            (text(1, "a"), utf8(["a1", "a2"])),
            (text(2, "b"), utf8(["b1", "b2"])),
            (text(3, "c"), utf8(["c1", "c2"])),
        ]),
    );
    table.data(
        2,
        &batch(vec![
            (text(3, "c"), utf8(["c3"])),
            (text(4, "b"), utf8(["new"])),
            (text(1, "renamed"), utf8(["a3"])),
        ]),
    );
    let rows = table.rewritten();
    let some = |texts: [&str; 3]| texts.map(|text| Some(text.to_owned())).to_vec();
    assert_eq!(texts(&rows, "c"), some(["c1", "c2", "c3"]));
    assert_eq!(texts(&rows, "b"), [None, None, Some("new".to_owned())]);
    assert_eq!(texts(&rows, "renamed"), some(["a1", "a2", "a3"]));
}

/// Lance 6992: pages without a byte of values.
#[test]
fn pages_without_a_value_are_pages() {
    for version in [WriterVersion::PARQUET_1_0, WriterVersion::PARQUET_2_0] {
        let properties = || small_pages().set_writer_version(version).build();
        // The first and the last pages hold nothing but NULL, then all of them do.
        let some = people(0..50, |id| (10..40).contains(&id).then(|| format!("n{id}")));
        let none = people(50..90, |_| None);
        let empty = people(90..100, |_| Some(String::new()));
        let files = [some, none, empty].map(|rows| (written(&rows, properties()), rows));
        hold(&files);
    }
}

/// The same, where a page holds no row at all: legal, and some writers leave one at the end.
#[test]
fn a_page_of_no_rows_is_passed_over() {
    let rows = people(0..30, |id| Some(format!("n{}", id % 3)));
    let uncompressed = small_pages().set_dictionary_enabled(false).build();
    let mut parts = written(&rows, uncompressed);
    for chunk in &mut parts.row_groups[0] {
        let mut page = chunk.pages[0].clone();
        assert_eq!(page.kind(), PageKind::DataV1);
        page.own_mut().unwrap().set(1, Value::I32(0));
        // The length of the definition levels, and none of them.
        page.body = vec![0; 4];
        page.header.set(2, Value::I32(4));
        chunk.pages.insert(1, page.clone());
        chunk.pages.push(page);
        chunk.drop_indexes();
    }
    hold(&[(parts, rows)]);
}

/// SeaweedFS 10857: PLAIN_DICTIONARY in a data page is RLE_DICTIONARY, and in a dictionary it is PLAIN.
#[test]
fn the_old_name_of_a_dictionary_is_understood() {
    let file = |ids: std::ops::Range<i64>, base: i64| {
        let rows = people(ids, |id| Some(format!("word {}", base + id % 5)));
        let bytes = write_like_parquet_mr([Ok(rows.clone())], &MrSettings::default()).unwrap();
        let parts = ParquetParts::of(&bytes).unwrap();
        let names = &parts.row_groups[0][1];
        assert_eq!(
            names.dictionary().unwrap().encoding(),
            Some(encoding::PLAIN_DICTIONARY)
        );
        (parts, rows)
    };
    // The same dictionary, another, and one written with the new names.
    let rows = people(300..400, |id| Some(format!("word {}", id % 7)));
    let new_names = (written(&rows, small_pages().build()), rows);
    hold(&[
        file(0..100, 0),
        file(100..200, 0),
        file(200..300, 3),
        new_names,
    ]);
}

/// ROOT 16944: what a page says of its encoding counts, not what the footer says of the chunk.
#[test]
fn a_pages_own_encoding_counts() {
    let rows = people(0..100, |id| Some(format!("n{}", id % 6)));
    for told in [
        vec![encoding::PLAIN],
        vec![encoding::RLE_DICTIONARY],
        vec![],
    ] {
        let mut parts = written(&rows, small_pages().build());
        parts.set_encodings(0, 0, &told).unwrap();
        parts.set_encodings(0, 1, &told).unwrap();
        let plain = small_pages().set_dictionary_enabled(false).build();
        let mut other = written(&rows, plain);
        other
            .set_encodings(0, 1, &[encoding::RLE_DICTIONARY, encoding::RLE])
            .unwrap();
        hold(&[(parts, rows.clone()), (other, rows.clone())]);
    }
}

/// paimon-cpp 257: a chunk that began with a dictionary and went on plain when that was full.
#[test]
fn a_dictionary_that_was_full_ends_in_plain_pages() {
    let fallen = |ids: std::ops::Range<i64>| {
        let rows = people(ids, |id| {
            (id % 11 != 0).then(|| format!("name number {id}"))
        });
        let parts = written(
            &rows,
            small_pages().set_dictionary_page_size_limit(300).build(),
        );
        let names = &parts.row_groups[0][1];
        let encodings: Vec<_> = names
            .data_pages()
            .filter_map(|page| page.encoding())
            .collect();
        assert_eq!(encodings[0], encoding::RLE_DICTIONARY);
        assert_eq!(encodings[encodings.len() - 1], encoding::PLAIN);
        (parts, rows)
    };
    let few = people(200..260, |id| Some(format!("name number {}", id % 4)));
    let few = (written(&few, small_pages().build()), few);
    hold(&[fallen(0..100), few, fallen(100..200)]);
}

/// PARQUET-1381, whose join was reverted: indices of one chunk were read with the dictionary of another.
#[test]
fn every_index_is_looked_up_in_its_own_dictionary() {
    // As many words in each, of the same length, in other orders: only the meaning of an index differs.
    let file = |ids: std::ops::Range<i64>, turn: i64| {
        let rows = people(ids, |id| Some(format!("word {}", (id * turn) % 7)));
        let properties = small_pages().set_max_row_group_row_count(Some(40)).build();
        (written(&rows, properties), rows)
    };
    hold(&[
        file(0..100, 1),
        file(100..200, 3),
        file(200..300, 5),
        file(300..400, 1),
    ]);
}

/// A file with another footer.
fn with_footer(file: &[u8], change: impl FnOnce(&mut Struct)) -> Vec<u8> {
    let length = file.len() - 8;
    let size = u32::from_le_bytes(file[length..length + 4].try_into().unwrap()) as usize;
    let (mut footer, _) = Struct::read(&file[length - size..]).unwrap();
    change(&mut footer);
    let mut changed = file[..length - size].to_vec();
    let footer = footer.to_bytes();
    changed.extend_from_slice(&footer);
    changed.extend_from_slice(&(footer.len() as u32).to_le_bytes());
    changed.extend_from_slice(b"PAR1");
    changed
}

/// What the footer says of each chunk of the first row group.
fn each_meta(footer: &mut Struct, mut change: impl FnMut(&mut Struct)) {
    let Some(Value::Struct(group)) = footer.list_mut(4).unwrap().first_mut() else {
        panic!("a row group");
    };
    for chunk in group.list_mut(1).unwrap() {
        let Value::Struct(chunk) = chunk else {
            panic!("a chunk");
        };
        change(chunk.child_mut(3).unwrap());
    }
}

/// Old writers say where a dictionary is not at all, or say 0: the page in front of the data is one all the same.
#[test]
fn a_dictionary_that_the_footer_does_not_name_is_found_or_the_file_refused() {
    let rows = people(0..60, |id| Some(format!("n{}", id % 6)));
    let whole = written(&rows, small_pages().build()).to_bytes().unwrap();
    let file = with_footer(&whole, |footer| {
        each_meta(footer, |meta| {
            let dictionary = meta.remove(11).unwrap();
            meta.set(9, dictionary);
        });
    });
    let mut table = TestTable::new(people_fields());
    add(&mut table, &file, &rows);
    match table.rewrite() {
        Ok(result) => judge(&table, &result, &rows),
        Err(failure) => assert!(failure.message.contains("in-1"), "{}", failure.message),
    }
    assert_eq!(longs(&rows, "id").len(), 60);
}

/// Smallest and greatest of texts, as old writers left them: ordered as if bytes had a sign, or by nobody knows what.
#[test]
fn bounds_that_nobody_vouches_for_are_looked_up() {
    let rows = people(0..60, |id| (id % 7 != 0).then(|| format!("n{}", id % 6)));
    let whole = written(&rows, small_pages().build()).to_bytes().unwrap();
    let wrong = || Value::Binary(b"wrong".to_vec());
    let without_order = with_footer(&whole, |footer| {
        footer.remove(7).unwrap();
        each_meta(footer, |meta| {
            let Some(statistics) = meta.child_mut(12) else {
                return;
            };
            // Of the texts alone: numbers have one order.
            if matches!(statistics.get(5), Some(Value::Binary(value)) if value[0] == b'n') {
                statistics.set(5, wrong());
                statistics.set(6, wrong());
            }
        });
    });
    let deprecated = with_footer(&whole, |footer| {
        each_meta(footer, |meta| {
            let statistics = meta.child_mut(12).unwrap();
            let is_text =
                matches!(statistics.get(5), Some(Value::Binary(value)) if value[0] == b'n');
            for (new, old) in [(5, 1), (6, 2)] {
                let value = statistics.remove(new).unwrap();
                statistics.set(old, if is_text { wrong() } else { value });
            }
        });
    });
    for file in [without_order, deprecated] {
        let mut table = TestTable::new(people_fields());
        add(&mut table, &file, &rows);
        let result = table.rewrite().unwrap();
        assert!(result.ways.copied.get() > 0, "{:?}", result.ways);
        judge(&table, &result, &rows);
        let entry = &table.entries(&result)[0];
        let bound = |bounds: &std::collections::HashMap<i32, iceberg::spec::Datum>| {
            bounds[&2].to_bytes().unwrap().to_vec()
        };
        assert_eq!(bound(entry.lower_bounds()), b"n0");
        assert_eq!(bound(entry.upper_bounds()), b"n5");
    }
}

/// A column that one file holds in another form, or lacks, is decoded; the pages of the others stay.
#[test]
fn a_column_in_another_form_is_decoded_alone() {
    let long = |id, name: &str| field(id, name, DataType::Int64);
    let number = |id, name: &str| field(id, name, DataType::Int32);
    let old = vec![
        optional(1, "id", PrimitiveType::Int),
        optional(2, "name", PrimitiveType::String),
    ];
    let new = vec![
        optional(1, "id", PrimitiveType::Long),
        optional(2, "name", PrimitiveType::String),
        optional(3, "later", PrimitiveType::Long),
    ];
    let mut table = TestTable::evolved(vec![old, new]);
    let ids: ArrayRef = Arc::new(arrow_array::Int32Array::from_iter_values(0..50));
    let names = |base: i64| -> ArrayRef {
        Arc::new(StringArray::from_iter_values(
            (0..50).map(|row| format!("n{}", base + row % 9)),
        ))
    };
    let text = || field(2, "name", DataType::Utf8);
    table.data(1, &batch(vec![(number(1, "id"), ids), (text(), names(0))]));
    table.data(
        2,
        &batch(vec![
            (long(1, "id"), int64(50..100)),
            (text(), names(5)),
            (long(3, "later"), int64(0..50)),
        ]),
    );
    let result = table.rewrite().unwrap();
    assert!(result.ways.united.get() > 0 && result.ways.encoded.get() > 0);
    let rows = table.read_back(&result);
    assert_eq!(longs(&rows, "id"), (0..100).map(Some).collect::<Vec<_>>());
    let later = (0..100).map(|row| (row >= 50).then(|| row - 50));
    assert_eq!(longs(&rows, "later"), later.collect::<Vec<_>>());
}

/// Inputs under other codecs than the table's: their pages are compressed anew, or taken apart where nobody could.
#[test]
fn pages_of_other_codecs_are_compressed_as_the_table_wants_them() {
    use parquet::basic::{BrotliLevel, Compression, GzipLevel};
    let codecs = [
        Compression::UNCOMPRESSED,
        Compression::SNAPPY,
        Compression::GZIP(GzipLevel::default()),
        Compression::LZ4_RAW,
        Compression::BROTLI(BrotliLevel::default()),
    ];
    for version in [WriterVersion::PARQUET_1_0, WriterVersion::PARQUET_2_0] {
        let files = codecs.iter().enumerate().map(|(number, codec)| {
            let first = number as i64 * 40;
            let rows = people(first..first + 40, |id| {
                (id % 5 != 0).then(|| format!("n{}", id % (3 + first)))
            });
            let properties = small_pages()
                .set_compression(*codec)
                .set_writer_version(version);
            (written(&rows, properties.build()), rows)
        });
        hold(&files.collect::<Vec<_>>());
    }
}
