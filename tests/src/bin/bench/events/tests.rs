#![allow(clippy::unwrap_used)]

use icepress_files::{PageKind, ParquetParts, encoding};

use super::{EVENT_ID, fields};
use crate::tables::{BIG, SMALL, Shape};

/// The encodings of each column's data pages, with whether there is a dictionary.
fn columns(file: &[u8]) -> Vec<(String, bool, Vec<i32>)> {
    let parts = ParquetParts::of(file).unwrap();
    let [group] = parts.row_groups.as_slice() else {
        panic!("{} row groups", parts.row_groups.len());
    };
    let names = fields().into_iter().map(|field| field.name().clone());
    let columns = names.zip(group).map(|(name, chunk)| {
        assert!(chunk.offset_index.is_some() && chunk.column_index.is_some());
        for page in &chunk.pages {
            assert_ne!(page.kind(), PageKind::DataV2, "{name}");
            assert!(page.has_checksum(), "{name}");
        }
        for page in chunk.data_pages() {
            // Elements of lists are counted one by one, rows are not.
            assert!(page.values() <= 20_000 || name == "tags", "{name}");
            assert!(page.uncompressed() <= (1 << 20) + (128 << 10), "{name}");
        }
        let dictionary = chunk.dictionary();
        if let Some(page) = dictionary {
            assert!(page.uncompressed() <= (1 << 20) + (128 << 10), "{name}");
        }
        let encodings = chunk
            .data_pages()
            .filter_map(icepress_files::Page::encoding);
        (name, dictionary.is_some(), encodings.collect())
    });
    columns.collect()
}

fn of<'a>(columns: &'a [(String, bool, Vec<i32>)], name: &str) -> (bool, &'a [i32]) {
    let found = columns.iter().find(|(of, ..)| of == name).unwrap();
    (found.1, &found.2)
}

#[test]
fn files_of_events_are_what_parquet_mr_leaves() {
    assert_eq!(EVENT_ID, 1);
    // As many rows as the URLs need to fill a dictionary.
    let shape = Shape {
        rows: 160_000,
        ..BIG
    };
    let file = shape.file(3).unwrap();
    let columns = columns(&file);
    assert_eq!(columns.len(), 12);
    for name in ["event_id", "event_time", "session", "score"] {
        let (dictionary, encodings) = of(&columns, name);
        assert!(!dictionary, "{name}: a dictionary saves nothing");
        assert!(encodings.len() >= 5, "{name}");
        assert!(
            encodings.iter().all(|used| *used == encoding::PLAIN),
            "{name}"
        );
    }
    for name in ["kind", "country", "tags", "user_id"] {
        let (dictionary, encodings) = of(&columns, name);
        assert!(dictionary, "{name}");
        let is_index = |used: &i32| *used == encoding::PLAIN_DICTIONARY;
        assert!(encodings.iter().all(is_index), "{name}: {encodings:?}");
    }
    let (dictionary, encodings) = of(&columns, "url");
    assert!(dictionary);
    assert_eq!(encodings[0], encoding::PLAIN_DICTIONARY);
    assert_eq!(
        encodings[encodings.len() - 1],
        encoding::PLAIN,
        "{encodings:?}"
    );
}

#[test]
fn the_same_number_gives_the_same_file() {
    let file = SMALL.file(7).unwrap();
    assert_eq!(file, SMALL.file(7).unwrap());
    assert_ne!(file, SMALL.file(8).unwrap());
    let megabytes = file.len() as f64 / 1e6;
    assert!((0.12..0.17).contains(&megabytes), "{megabytes} MB");
}
