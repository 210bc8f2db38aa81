//! What is asked of storage: little, ahead of time, within bounds.

use std::{collections::HashMap, sync::Arc};

use arrow_array::{Array, ArrayRef};
use arrow_schema::DataType;
use icepress_model::Bytes;
use parquet::file::properties::WriterProperties;

use super::*;
use crate::{
    memory::Shares,
    project::KnownColumns,
    tests::{
        noting::Noting,
        support::{batch, block_on, field, int64, optional, write_parquet},
    },
};

const ROWS: i64 = 3_000;

/// Files of two columns, `a` (1) and `b` (2), in row groups of a thousand rows.
fn files(folder: &std::path::Path, count: i64) -> Vec<SourceFile> {
    (0..count)
        .map(|file| {
            let path = folder
                .join(format!("{file}.parquet"))
                .to_str()
                .unwrap()
                .to_owned();
            let values = |factor: i64| -> ArrayRef {
                int64(
                    (0..ROWS)
                        .map(|row| (file * ROWS + row) * factor)
                        .collect::<Vec<i64>>(),
                )
            };
            let rows = batch(vec![
                (field(1, "a", DataType::Int64), values(1)),
                (field(2, "b", DataType::Int64), values(-1)),
            ]);
            let properties = WriterProperties::builder()
                .set_max_row_group_row_count(Some(1000))
                .set_dictionary_enabled(false)
                .build();
            write_parquet(&path, &rows, properties);
            SourceFile {
                size: std::fs::metadata(&path).unwrap().len(),
                rows: ROWS as u64,
                path,
            }
        })
        .collect()
}

fn reading(storage: &Arc<Noting>, columns: &[(i32, &str)]) -> Arc<Reading> {
    let target = |(id, name): &(i32, &str)| optional(*id, name, iceberg::spec::PrimitiveType::Long);
    let storage: Arc<Noting> = Arc::clone(storage);
    Arc::new(Reading {
        storage,
        wanted: Wanted {
            known: Arc::new(KnownColumns::of_position_deletes()),
            must_explain: false,
            targets: columns.iter().map(target).collect(),
            constants: HashMap::new(),
        },
    })
}

/// Reads everything; returns the first column, checking that positions and files come in order.
fn read_all(reading: Arc<Reading>, files: Vec<SourceFile>, shares: Shares) -> Vec<ArrayRef> {
    block_on(async move {
        let mut scan = Scan::new(reading, files, shares);
        let mut found = Vec::new();
        let mut last = (0, 0);
        while let Some(piece) = scan.next().await.unwrap() {
            let mut batches = Batches::new(piece, shares.batch).unwrap();
            while let Some(batch) = batches.next().unwrap() {
                let here = (batches.file(), batch.first_row);
                assert!(found.is_empty() || here > last);
                last = here;
                assert_eq!(batch.columns[0].len(), batch.rows);
                found.push(Arc::clone(&batch.columns[0]));
                scan.look_ahead().unwrap();
                tokio::task::yield_now().await;
            }
        }
        found
    })
}

fn numbers(arrays: &[ArrayRef]) -> Vec<i64> {
    use arrow_array::{cast::AsArray, types::Int64Type};
    arrays
        .iter()
        .flat_map(|array| array.as_primitive::<Int64Type>().values().to_vec())
        .collect()
}

#[test]
fn whole_files_and_ranges_read_the_same_in_order() {
    let folder = tempfile::tempdir().unwrap();
    let files = files(folder.path(), 5);
    let expected: Vec<i64> = (0..5 * ROWS).collect();
    let storage = Arc::new(Noting::default());
    let plenty = Shares::of(Bytes::mebibytes(64));
    let found = read_all(reading(&storage, &[(1, "a")]), files.clone(), plenty);
    assert_eq!(numbers(&found), expected);
    // One request a file, and no other.
    assert_eq!(storage.reads().len(), 5);

    let storage = Arc::new(Noting::default());
    let little = Shares::of(Bytes(300 << 10));
    assert!(files[0].size > little.small_file);
    let found = read_all(reading(&storage, &[(1, "a")]), files.clone(), little);
    assert_eq!(numbers(&found), expected);
    // A footer a file, and one request a row group.
    assert_eq!(storage.reads().len(), 5 * (1 + 3));
}

#[test]
fn only_columns_asked_for_are_fetched() {
    let folder = tempfile::tempdir().unwrap();
    let files = files(folder.path(), 1);
    let little = Shares::of(Bytes(300 << 10));
    let fetched = |columns: &[(i32, &str)]| {
        let storage = Arc::new(Noting::default());
        read_all(reading(&storage, columns), files.clone(), little);
        let requests = storage.reads();
        requests[1..].iter().map(|(_, bytes)| bytes).sum::<u64>()
    };
    let (one, both) = (fetched(&[(2, "b")]), fetched(&[(1, "a"), (2, "b")]));
    assert!(one * 19 / 10 < both && both < files[0].size, "{one} {both}");
    assert_eq!(fetched(&[(9, "nowhere")]), 0);
}

#[test]
fn a_row_group_larger_than_its_share_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let files = files(folder.path(), 1);
    let storage = Arc::new(Noting::default());
    let failure = block_on(async {
        let mut scan = Scan::new(
            reading(&storage, &[(1, "a")]),
            files,
            Shares::of(Bytes(20 << 10)),
        );
        scan.next().await.unwrap_err()
    });
    assert_eq!(failure.kind, icepress_model::RewriteFailureKind::OverMemory);
}
