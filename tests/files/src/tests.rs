use std::sync::Arc;

use arrow_array::{Array as _, ArrayRef, Int64Array, RecordBatch, StringArray};
use arrow_schema::{DataType, Field, Schema};
use bytes::Bytes;
use parquet::arrow::arrow_reader::{ArrowReaderOptions, ParquetRecordBatchReaderBuilder};
use parquet::file::metadata::PageIndexPolicy;

use crate::{
    MrSettings, PageKind, ParquetParts,
    encoding::{PLAIN, PLAIN_DICTIONARY},
    write_like_parquet_mr,
};

const ROWS: i64 = 60_000;

/// Ids that are never twice, few words, and texts that are often twice at first and never later.
fn rows() -> RecordBatch {
    let ids: ArrayRef = Arc::new(Int64Array::from_iter_values(0..ROWS));
    let words = StringArray::from_iter_values((0..ROWS).map(|row| format!("word {}", row % 7)));
    let pages = StringArray::from_iter_values((0..ROWS).map(|row| {
        let page = if row < 20_000 { row % 5_000 } else { row };
        format!("https://shop.example/a/rather/long/path/to/page/{page:08}")
    }));
    let field = |name, kind| Field::new(name, kind, true);
    let schema = Schema::new(vec![
        field("id", DataType::Int64),
        field("word", DataType::Utf8),
        field("page", DataType::Utf8),
    ]);
    RecordBatch::try_new(
        Arc::new(schema),
        vec![ids, Arc::new(words), Arc::new(pages)],
    )
    .unwrap()
}

fn read(file: Vec<u8>) -> Vec<RecordBatch> {
    let options = ArrowReaderOptions::new().with_page_index_policy(PageIndexPolicy::Required);
    ParquetRecordBatchReaderBuilder::try_new_with_options(Bytes::from(file), options)
        .unwrap()
        .with_batch_size(ROWS as usize)
        .build()
        .unwrap()
        .map(Result::unwrap)
        .collect()
}

#[test]
fn files_have_the_form_that_parquet_mr_gives_them() {
    let rows = rows();
    let file = write_like_parquet_mr([Ok(rows.clone())], &MrSettings::default()).unwrap();
    let parts = ParquetParts::of(&file).unwrap();
    let [ids, words, pages] = parts.row_groups[0].as_slice() else {
        panic!("three columns");
    };
    let encodings = |of: &crate::Chunk| -> Vec<i32> {
        of.data_pages()
            .map(|page| page.encoding().unwrap())
            .collect()
    };
    assert!(ids.dictionary().is_none(), "it saves nothing");
    assert_eq!(encodings(ids), [PLAIN; 3]);
    assert_eq!(encodings(words), [PLAIN_DICTIONARY; 3]);
    assert_eq!(
        words.dictionary().unwrap().encoding(),
        Some(PLAIN_DICTIONARY)
    );
    let fallen = encodings(pages);
    assert_eq!(fallen[0], PLAIN_DICTIONARY);
    assert_eq!(fallen[fallen.len() - 1], PLAIN, "the dictionary was full");
    for page in parts.row_groups[0].iter().flat_map(|chunk| &chunk.pages) {
        assert!(page.has_checksum());
        assert_ne!(page.kind(), PageKind::DataV2);
    }
    assert_eq!(read(file), [rows]);
}

#[test]
fn a_file_that_was_taken_apart_and_put_together_reads_the_same() {
    let rows = rows();
    let file = write_like_parquet_mr([Ok(rows.clone())], &MrSettings::default()).unwrap();
    let again = ParquetParts::of(&file).unwrap().to_bytes().unwrap();
    assert_eq!(again, file);
    let mut parts = ParquetParts::of(&file).unwrap();
    // A page that is longer moves all that come after it.
    parts.row_groups[0][0].pages[0]
        .header
        .set(100, crate::Value::Binary(vec![7; 300]));
    let moved = parts.to_bytes().unwrap();
    assert!(moved.len() > file.len());
    assert_eq!(read(moved)[0].column(2).len(), ROWS as usize);
}
