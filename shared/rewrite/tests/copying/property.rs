//! Random tables: whatever schema, pages, encodings, codecs and deletes, the same live rows in the same order.

use std::collections::BTreeSet;

use arrow_array::{BooleanArray, RecordBatch};
use arrow_select::{concat::concat_batches, filter::filter_record_batch};
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
}
