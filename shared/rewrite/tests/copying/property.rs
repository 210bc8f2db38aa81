//! Random tables: whatever schema, pages, encodings, codecs and deletes, the same live rows in the same order.

use std::collections::BTreeSet;

use arrow_array::{BooleanArray, RecordBatch};
use arrow_select::{concat::concat_batches, filter::filter_record_batch};
use icepress_model::{Attempt, GroupResult};
use icepress_rewrite::rewrite_group;
use parquet::arrow::ArrowWriter;
use proptest::{prelude::*, test_runner::Config};

use crate::{
    draw::{Column, Dice, dressed, properties, rows},
    judge::judge,
    support::TestTable,
};

const CODECS: [&str; 4] = ["zstd", "snappy", "uncompressed", "gzip"];

/// A table of a seed's making with its live rows.
fn drawn(seed: u64, files: u64, most_rows: u64, deletes: bool) -> (TestTable, RecordBatch) {
    let mut dice = Dice(seed);
    let columns: Vec<Column> = (0..1 + dice.below(5))
        .map(|_| Column::drawn(&mut dice))
        .collect();
    let fields = (1..)
        .step_by(10)
        .zip(&columns)
        .map(|(id, column)| column.field(id));
    let (page_rows, dictionary) = (dice.of(&["9", "300", "20000"]), dice.of(&["64", "2097152"]));
    let row_group = dice.of(&["3000", "134217728", "134217728"]);
    let mut table = TestTable::with_properties(
        fields.collect(),
        &[
            ("write.parquet.compression-codec", dice.of(&CODECS)),
            ("write.parquet.page-row-limit", page_rows),
            ("write.parquet.dict-size-bytes", dictionary),
            ("write.parquet.row-group-size-bytes", row_group),
            (
                "write.parquet.bloom-filter-enabled.column.c1",
                dice.of(&["true", "false"]),
            ),
            // All bounds, whole: what is said of them is compared with what went in.
            ("write.metadata.metrics.default", "full"),
        ],
    );
    let (mut batches, mut first, mut removed) = (Vec::new(), 0, Vec::new());
    for file in 0..files {
        let count = 1 + dice.below(most_rows);
        let batch = rows(&columns, &mut dice, first, count);
        let mut writer =
            ArrowWriter::try_new(Vec::new(), batch.schema(), Some(properties(&mut dice))).unwrap();
        writer.write(&batch).unwrap();
        let written = dressed(&writer.into_inner().unwrap(), &mut dice);
        let path = table.next_path("parquet");
        std::fs::write(&path, written).unwrap();
        table.adopt(1, &path, count);
        first += count;
        let mut kept = vec![true; count as usize];
        if deletes && !dice.one_in(3) {
            // A run, and some at random; now and then all of them.
            let run = dice.below(count)..dice.below(count + 1);
            let mut gone: BTreeSet<u64> = (0..dice.below(4)).map(|_| dice.below(count)).collect();
            gone.extend(if dice.one_in(8) { 0..count } else { run });
            gone.iter().for_each(|row| kept[*row as usize] = false);
            removed.extend(gone.iter().map(|row| (file as usize, *row)));
        }
        batches.push(filter_record_batch(&batch, &BooleanArray::from(kept)).unwrap());
    }
    if !removed.is_empty() {
        let paths: Vec<String> = table
            .group
            .inputs
            .iter()
            .map(|input| input.path.clone())
            .collect();
        let positions: Vec<(&str, i64)> = removed
            .iter()
            .map(|(file, row)| (paths[*file].as_str(), *row as i64))
            .collect();
        table.delete_positions(2, &positions);
    }
    let live = concat_batches(&batches[0].schema(), &batches).unwrap();
    (table, live)
}

#[track_caller]
fn hold(seed: u64, files: u64, most_rows: u64, deletes: bool) {
    let (table, live) = drawn(seed, files, most_rows, deletes);
    let result = table.rewrite().unwrap();
    judge(&table, &result, &live);
}

/// Rewrites a table's group on four threads at once.
fn on_threads(table: &TestTable) -> GroupResult {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(4)
        .enable_all()
        .build()
        .unwrap();
    let (context, task) = (table.context(), table.task());
    let rewriting = rewrite_group(&context, &table.metadata, &task, Attempt(9));
    runtime.block_on(rewriting).unwrap()
}

proptest! {
    #![proptest_config(Config { cases: 48, failure_persistence: None, ..Config::default() })]

    #[test]
    fn rows_are_the_same_in_the_same_order(seed: u64, files in 1..6u64, most_rows in 1..300u64) {
        hold(seed, files, most_rows, false);
    }

    #[test]
    fn rows_are_the_same_but_for_those_deleted(seed: u64, files in 1..6u64, most_rows in 1..300u64) {
        hold(seed, files, most_rows, true);
    }

    #[test]
    fn threads_make_the_same_bytes_as_one(seed: u64, files in 1..8u64, most_rows in 1..300u64) {
        let (table, _) = drawn(seed, files, most_rows, seed % 2 == 0);
        let contents = |result: GroupResult| -> Vec<Vec<u8>> {
            let entries = table.entries(&result);
            entries.iter().map(|entry| std::fs::read(entry.file_path()).unwrap()).collect()
        };
        let alone = contents(table.rewrite().unwrap());
        let together = contents(on_threads(&table));
        prop_assert!(alone == together, "files of {:?} became {:?} bytes",
            alone.iter().map(Vec::len).collect::<Vec<_>>(), together.iter().map(Vec::len).collect::<Vec<_>>());
    }
}
