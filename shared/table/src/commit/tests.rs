//! The commit against tables that another writer made, with other writers in between and answers lost.
//!
//! Each case of the catalogue that concerns the commit is here under its id; the comment says how a naive commit fails.

mod arrange;
mod dangling;
mod deletes;
mod faults;
mod gate;
mod history;
mod late;
mod late_deletes;
mod light;
mod lineage;
mod manifests;
mod memory;
mod partition_stats;
mod passed_over;
mod places;
mod repair;
mod validation;
mod world;

use iceberg::spec::{FormatVersion, Operation};
use icepress_catalog::LoadedTable;

use self::world::{World, data};

/// A property of the current snapshot's summary, as a number.
fn number(loaded: &LoadedTable, key: &str) -> u64 {
    let snapshot = loaded.metadata.current_snapshot().unwrap();
    let value = snapshot.summary().additional_properties.get(key);
    value.map_or(0, |value| value.parse().unwrap())
}

/// Two snapshots with three files, of which two are replaced by one.
#[tokio::test]
async fn replaces_files_in_one_snapshot_and_leaves_the_rest_as_it_was() {
    for version in [FormatVersion::V1, FormatVersion::V2] {
        let world = World::new(version);
        world
            .append(&[data("a", "eu", 10), data("b", "eu", 20)])
            .await;
        world
            .append(&[data("c", "eu", 30), data("d", "us", 40)])
            .await;
        let base = world.base();
        let before = world.live().await.0;
        let group = world.group(0, &["a", "c"], &[data("o", "eu", 40)]).await;
        let outcome = world.run(&base, vec![group]).await.unwrap();

        assert_eq!(outcome.committed, [0]);
        assert!(outcome.dropped.is_empty() && !outcome.rebased);
        let loaded = world.loaded();
        let snapshot = loaded.metadata.current_snapshot().unwrap();
        assert_eq!(outcome.location, loaded.metadata_location);
        assert_eq!(outcome.snapshot_id.get(), snapshot.snapshot_id());
        assert_eq!(snapshot.summary().operation, Operation::Replace);
        assert_eq!(snapshot.parent_snapshot_id(), Some(base.snapshot_id.get()));
        assert!(snapshot.timestamp_ms() >= loaded.metadata.history()[1].timestamp_ms);
        let (data, deletes) = world.live().await;
        assert!(deletes.is_empty());
        let paths: Vec<&str> = data.iter().map(|seen| seen.path.as_str()).collect();
        assert_eq!(paths, ["b", "d", "o"]);
        // What stays keeps all its numbers: the snapshot that added it, and both sequence numbers.
        assert_eq!(data[0], before[1]);
        assert_eq!(data[1], before[3]);
        let (own, starting) = match version {
            FormatVersion::V1 => (0, 0),
            _ => (3, 2),
        };
        assert_eq!(snapshot.sequence_number(), own);
        assert_eq!(data[2].sequence_number, starting);
        assert_eq!(data[2].file_sequence_number, own);
        assert_eq!(data[2].snapshot_id, snapshot.snapshot_id());
        // The summary, whose totals the parent (which had none) left to us to count.
        for (key, value) in [
            ("added-data-files", 1),
            ("added-records", 40),
            ("added-files-size", 401),
            ("deleted-data-files", 2),
            ("deleted-records", 40),
            ("removed-files-size", 101 + 301),
            ("changed-partition-count", 1),
            ("total-data-files", 3),
            ("total-records", 100),
            ("total-files-size", 401 + 201 + 401),
            ("total-delete-files", 0),
        ] {
            assert_eq!(number(&loaded, key), value, "{key}");
        }
        // The branch's retention settings are somebody's wish. (Version 1 files have none.)
        if version == FormatVersion::V1 {
            continue;
        }
        let json = serde_json::to_value(&**loaded.metadata).unwrap();
        assert_eq!(json["refs"]["main"]["min-snapshots-to-keep"], 7);
    }
}

#[tokio::test]
async fn a_second_call_returns_what_the_first_committed() {
    let world = World::new(FormatVersion::V2);
    world
        .append(&[data("a", "eu", 10), data("b", "us", 20)])
        .await;
    let base = world.base();
    let group = world.group(4, &["a"], &[data("o", "eu", 10)]).await;
    let first = world.run(&base, vec![group.clone()]).await.unwrap();
    // Also after others went on: the location must be the one that our commit made, or their change would pass for ours.
    world.append(&[data("c", "eu", 10)]).await;
    let head = world.loaded();
    let other = world.group(5, &["b"], &[data("p", "us", 20)]).await;
    let second = world.run(&base, vec![group, other]).await.unwrap();
    assert_eq!(second.location, first.location);
    assert_eq!(second.snapshot_id, first.snapshot_id);
    assert_eq!(second.committed, [4]);
    assert_eq!(second.dropped.len(), 1);
    assert!(second.rebased);
    assert_eq!(world.loaded().metadata_location, head.metadata_location);
}

#[tokio::test]
async fn a_group_may_have_no_output_at_all() {
    let world = World::new(FormatVersion::V2);
    world
        .append(&[data("a", "eu", 1), data("b", "eu", 1)])
        .await;
    let delete = world
        .position_deletes("del", "eu", &[("a", 0)])
        .build()
        .unwrap();
    world.delete(&[delete]).await;
    let group = world.group(0, &["a"], &[]).await;
    world.run(&world.base(), vec![group]).await.unwrap();
    assert_eq!(world.data_paths().await, ["b"]);
    assert!(world.delete_paths().await.is_empty());
}
