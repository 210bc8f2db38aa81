//! Row groups that are copied whole, against rows decoded.

use std::sync::Arc;

use icepress_model::{Attempt, Bytes, GroupResult, Rows};
use proptest::prelude::*;

use super::rows::{Written, agree, table};
use crate::{
    RewriteContext,
    tests::{
        noting::Noting,
        support::{TestTable, block_on},
    },
};

/// Row groups that tables here want: those of the files below are about as large.
const SMALL: [(&str, &str); 1] = [("write.parquet.row-group-size-bytes", "80000")];

/// A file with one row group of more than 40 KB, and one of half of that.
fn large(seed: u64) -> Written {
    Written {
        seed,
        rows: 5_000,
        page_rows: 500,
        dictionary_bytes: 1 << 20,
        is_new: false,
        has_index: true,
        has_dictionary: true,
    }
}

fn rewrite(table: &TestTable, storage: &Arc<Noting>) -> GroupResult {
    let context = RewriteContext {
        storage: Arc::<Noting>::clone(storage),
        ..table.context()
    };
    let task = table.task();
    let rewritten = crate::rewrite_group(&context, &table.metadata, &task, Attempt(1));
    block_on(rewritten).unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(8))]

    #[test]
    fn rows_are_the_same_whether_row_groups_are_copied_or_decoded(
        files in prop::collection::vec((0u64..1000, 1usize..4_000, 50usize..900), 1..4),
        is_new: bool,
        has_index: bool,
        cut in prop::option::of("write\\.metadata\\.metrics\\.default"),
    ) {
        let written = files.into_iter().map(|(seed, rows, page_rows)| Written {
            rows,
            page_rows,
            is_new,
            has_index,
            ..large(seed)
        });
        let written: Vec<Written> = written.chain([large(1)]).collect();
        // Bounds that must be values, and such as may be cut.
        let mode = cut.map(|name| (name, "full"));
        let more = mode.iter().map(|(name, mode)| (name.as_str(), *mode));
        let properties: Vec<(&str, &str)> = SMALL.into_iter().chain(more).collect();
        let mut table = table(&written, &properties);
        prop_assert!(agree(&mut table));
        let ways = table.rewrite().unwrap().ways;
        prop_assert!(ways.spliced > Bytes::ZERO, "{:?}", ways);
    }
}

/// Of a row group that is copied, only the columns are read whose NaNs nobody counted.
#[test]
fn what_is_copied_is_not_read() {
    let mut table = table(&[large(3), large(4)], &SMALL);
    assert!(agree(&mut table));
    let read = |storage: Noting| {
        let storage = Arc::new(storage);
        let result = rewrite(&table, &storage);
        let read: u64 = storage.reads().iter().map(|(_, bytes)| bytes).sum();
        (result.ways.spliced.get(), read)
    };
    let (spliced, with) = read(Noting::default());
    let (nothing, without) = read(Noting::that_copies_nothing());
    assert!(spliced > 0 && nothing == 0, "{spliced} and {nothing}");
    assert!(
        with + spliced / 4 * 3 < without,
        "{with} bytes were read instead of {without}, and {spliced} copied"
    );
}

/// Its pages are found as before, each where it lies now.
#[test]
fn the_page_index_of_what_was_copied_leads_to_its_pages() {
    use parquet::column::page::{Page, PageReader as _};
    use parquet::file::{
        metadata::{PageIndexPolicy, ParquetMetaDataReader},
        serialized_reader::SerializedPageReader,
    };
    let table = table(&[large(5), large(6)], &SMALL);
    let result = rewrite(&table, &Arc::default());
    assert!(result.ways.spliced > Bytes::ZERO, "{:?}", result.ways);
    let entry = &table.entries(&result)[0];
    let content = bytes::Bytes::from(std::fs::read(entry.file_path()).unwrap());
    let metadata = ParquetMetaDataReader::new()
        .with_page_index_policy(PageIndexPolicy::Required)
        .parse_and_finish(&content)
        .unwrap();
    let content = Arc::new(content);
    let mut pages = 0;
    for (number, group) in metadata.row_groups().iter().enumerate() {
        for (leaf, chunk) in group.columns().iter().enumerate() {
            let places = metadata.offset_index().unwrap()[number][leaf]
                .page_locations()
                .clone();
            let index = &metadata.column_index().unwrap()[number][leaf];
            assert_eq!(index.num_pages() as usize, places.len());
            let rows = group.num_rows() as usize;
            let mut reader =
                SerializedPageReader::new(Arc::clone(&content), chunk, rows, Some(places.clone()))
                    .unwrap();
            let mut values = 0;
            while let Some(page) = reader.get_next_page().unwrap() {
                if !matches!(page, Page::DictionaryPage { .. }) {
                    values += u64::from(page.num_values());
                    pages += 1;
                }
            }
            assert_eq!(values, chunk.num_values() as u64);
        }
    }
    assert!(pages > 60, "{pages} pages");
}

/// A row that is deleted has to be taken out of its row group.
#[test]
fn a_row_group_that_loses_a_row_is_not_copied() {
    let mut table = table(&[large(3), large(4)], &SMALL);
    let before = rewrite(&table, &Arc::default()).ways.spliced;
    let path = table.group.inputs[0].path.clone();
    table.delete_positions(2, &[(&path, 3), (&path, 4_999)]);
    let result = rewrite(&table, &Arc::default());
    assert_eq!(result.rows_deleted, Rows(2));
    let after = result.ways.spliced;
    assert!(Bytes::ZERO < after && after < before, "{after} of {before}");
}
