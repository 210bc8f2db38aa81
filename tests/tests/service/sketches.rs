//! Sketches of distinct values over histories of appends and rewrites: from earlier ones on they are what they are anew.

use std::collections::BTreeMap;

use iceberg::{TableUpdate, io::FileIO, puffin::PuffinReader, spec::Operation};
use icepress_catalog::{Catalog as _, TableChange};
use icepress_model::TableId;
use icepress_service::{Context, maintain};
use icepress_tests::{Lab, settings_for_tests};
use icepress_upkeep::statistics::WrittenSketches;

use super::kinds::{maintained, run};

const ASKED: (&str, &str) = ("icepress.statistics.ndv-columns", "*");

/// The blobs that the table names for its current snapshot, by field id: content, and `ndv`.
async fn blobs(lab: &Lab, table: &TableId) -> BTreeMap<i32, (Vec<u8>, String)> {
    let metadata = lab.load(table).await.metadata;
    let id = metadata.current_snapshot_id().unwrap();
    let file = metadata.statistics_for_snapshot(id).unwrap();
    let content = lab.storage.read(&file.statistics_path).await.unwrap();
    let scratch = FileIO::new_with_memory();
    let output = scratch.new_output("memory:/a.stats").unwrap();
    output.write(content).await.unwrap();
    let reader = PuffinReader::new(scratch.new_input("memory:/a.stats").unwrap());
    let mut found = BTreeMap::new();
    for (blob, named) in reader
        .file_metadata()
        .await
        .unwrap()
        .blobs()
        .iter()
        .zip(&file.blob_metadata)
    {
        let blob = reader.blob(blob).await.unwrap();
        assert_eq!((blob.snapshot_id(), blob.fields()), (id, &named.fields[..]));
        let said = (blob.data().to_vec(), blob.properties()["ndv"].clone());
        found.insert(blob.fields()[0], said);
    }
    found
}

async fn count(worker: &Context, table: &TableId) -> Option<WrittenSketches> {
    maintain::maintain_statistics(worker, table)
        .await
        .unwrap()
        .sketches
}

/// Takes all statistics of the table away.
async fn forget(lab: &Lab, table: &TableId) {
    let loaded = lab.load(table).await;
    let files = loaded.metadata.statistics_iter();
    let updates = files.map(|file| TableUpdate::RemoveStatistics {
        snapshot_id: file.snapshot_id,
    });
    let change = TableChange {
        requirements: Vec::new(),
        updates: updates.collect(),
    };
    lab.catalog.commit(&loaded, change).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn from_earlier_sketches_on_they_are_what_they_are_anew() {
    let (mut continued, mut rewritten) = (0, 0);
    for seed in 300..306u64 {
        let lab = Lab::new(seed).await;
        let table = lab.create_table("events", &[ASKED]).await;
        let worker = lab.worker(settings_for_tests("a"));
        let mut dice = seed;
        let mut roll = |most: u64| {
            dice = dice
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            (dice >> 33) % most
        };
        for _ in 0..6 {
            let (files, rows) = (1 + roll(3) as i64, 50 + roll(1_500) as i64);
            // Some of the ids were there before.
            let first = roll(9_000) as i64;
            let regions = [&["eu"][..], &["us", "eu"][..]][roll(2) as usize];
            lab.append_numbered(&table, regions, files, rows, first)
                .await;
            if roll(3) == 0 {
                run(&worker).await;
            }
            if roll(2) == 0 {
                count(&worker, &table).await;
            }
        }
        count(&worker, &table).await;
        lab.append_numbered(&table, &["asia"], 1, 100, 20_000).await;
        continued += count(&worker, &table).await.unwrap().incremental;
        let goes_on = blobs(&lab, &table).await;
        forget(&lab, &table).await;
        let anew = count(&worker, &table).await.unwrap();
        assert_eq!((anew.incremental, anew.columns), (0, 3));
        assert_eq!(blobs(&lab, &table).await, goes_on, "seed {seed}");
        let metadata = lab.load(&table).await.metadata;
        let operations = metadata
            .snapshots()
            .map(|it| it.summary().operation.clone());
        rewritten += operations.filter(|it| *it == Operation::Replace).count();
    }
    assert_eq!(continued, 6 * 3);
    assert!(rewritten > 2, "{rewritten}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_counts_distinct_values_where_the_table_asks_for_them() {
    let lab = Lab::new(77).await;
    let asked = [
        ("icepress.maintain.statistics", "true"),
        ("icepress.statistics.ndv-columns", "id,note"),
    ];
    let table = lab.create_table("events", &asked).await;
    lab.append_numbered(&table, &["eu"], 8, 10, 0).await;
    let worker = lab.worker(settings_for_tests("a"));
    let did = maintained(&worker).await;
    let expected = "counted 1 partitions, from all manifests; counted distinct values of 2 columns, 0 of them from the last sketches on";
    assert_eq!(did, [expected]);
    let found = blobs(&lab, &table).await;
    assert_eq!(found.keys().collect::<Vec<_>>(), [&1, &3]);
    assert_eq!(found[&1].1, "80");
    // Of deleted rows, no value is left once all is read.
    lab.delete_ids(&table, "eu", &(0..30).collect::<Vec<_>>())
        .await;
    let counted = count(&worker, &table).await.unwrap();
    assert_eq!((counted.incremental, counted.ndv["id"]), (0, 50));
}
