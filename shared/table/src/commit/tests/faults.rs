//! Lost races, lost answers, dropped tables, failed writes.

use std::collections::{BTreeSet, HashMap};

use iceberg::{TableUpdate, spec::FormatVersion};
use icepress_catalog::CatalogError;
use icepress_model::ProcessId;

use super::{
    memory::Fault,
    world::{Foreign, World, data},
};
use crate::commit::CommitFailure;

async fn two_files() -> World {
    let world = World::new(FormatVersion::V2);
    world
        .append(&[data("a", "eu", 10), data("b", "us", 20)])
        .await;
    world
}

fn newcomer(round: usize) -> Foreign {
    Foreign {
        data: vec![data(&format!("new{round}"), "eu", 1)],
        ..Foreign::default()
    }
}

/// Every file that the current snapshot needs must be there, and of ours nothing else.
async fn assert_nothing_lost_and_nothing_left(world: &World, before: &BTreeSet<String>) {
    let loaded = world.loaded();
    let there = world.storage.locations();
    let mut needed = BTreeSet::new();
    for snapshot in loaded.metadata.snapshots() {
        needed.insert(snapshot.manifest_list().to_owned());
    }
    for (manifest, entries) in world.manifests_of(&loaded).await {
        needed.insert(manifest.manifest_path);
        needed.extend(entries.iter().map(|entry| entry.file_path().to_owned()));
    }
    let lost: Vec<_> = needed.difference(&there).collect();
    assert!(lost.is_empty(), "lost: {lost:?}");
    let left: Vec<_> = there
        .iter()
        .filter(|path| !needed.contains(*path) && !before.contains(*path))
        .collect();
    assert!(left.is_empty(), "left behind: {left:?}");
}

/// A compaction that gives up at the first lost race never wins against a writer that commits each minute.
#[tokio::test]
async fn c05_lost_races_are_tried_again_on_the_table_as_it_is_then() {
    let world = two_files().await;
    let base = world.base();
    let group = world.group(0, &["a"], &[data("o", "eu", 10)]).await;
    world.rivals((0..4).map(newcomer).collect()).await;
    let before = world.storage.locations();
    let outcome = world.run(&base, vec![group]).await.unwrap();
    assert!(outcome.rebased);
    let paths = world.data_paths().await;
    assert_eq!(paths, ["b", "new0", "new1", "new2", "new3", "o"]);
    assert_eq!(
        world.live().await.0[5].sequence_number,
        base.starting_sequence_number.get()
    );
    assert_eq!(world.clock.slept.lock().unwrap().len(), 4);
    assert_nothing_lost_and_nothing_left(&world, &before).await;
}

/// Against a writer that never rests it is the number of tries that wins; a wait of a minute before the last of them only
/// keeps the rewritten files, and all that is planned after them, from the table.
#[tokio::test]
async fn c05_a_race_that_is_mostly_lost_is_won_within_half_a_minute() {
    let world = two_files().await;
    let base = world.base();
    let group = world.group(0, &["a"], &[data("o", "eu", 10)]).await;
    world.rivals((0..15).map(newcomer).collect()).await;
    let before = world.storage.locations();
    world.run(&base, vec![group]).await.unwrap();
    assert_nothing_lost_and_nothing_left(&world, &before).await;
    let slept = world.clock.slept.lock().unwrap().clone();
    assert_eq!(slept.len(), 15);
    let longest = std::time::Duration::from_secs(2);
    assert!(slept.iter().all(|wait| *wait <= longest), "{slept:?}");
}

/// The table's own `commit.retry.*` bound the tries; a commit that never wins says so and leaves nothing.
#[tokio::test]
async fn c05_a_race_that_is_always_lost_ends() {
    let retries = ("commit.retry.num-retries".to_owned(), "2".to_owned());
    let world = World::with(FormatVersion::V2, HashMap::from([retries]));
    world.append(&[data("a", "eu", 10)]).await;
    let base = world.base();
    let group = world.group(0, &["a"], &[data("o", "eu", 10)]).await;
    world.rivals((0..3).map(newcomer).collect()).await;
    let before = world.storage.locations();
    match world.run(&base, vec![group]).await.unwrap_err() {
        CommitFailure::RaceLost {
            attempts,
            is_overtaken,
            ..
        } => assert_eq!((attempts, is_overtaken), (3, true)),
        other => panic!("{other}"),
    }
    assert_eq!(world.data_paths().await, ["a", "new0", "new1", "new2"]);
    assert_eq!(world.storage.locations(), before);
}

/// Deleting "our" files after a lost answer deletes those of a committed snapshot: the table is destroyed.
#[tokio::test]
async fn c25_an_answer_lost_after_the_swap_is_found_and_nothing_deleted() {
    let world = two_files().await;
    let base = world.base();
    let before = world.storage.locations();
    let hit = world.group(3, &["a"], &[data("o", "eu", 10)]).await;
    let bad = world.group(4, &["b"], &[data("a", "us", 20)]).await;
    world.catalog.will(Fault::AnswerLost);
    let outcome = world.run(&base, vec![hit, bad]).await.unwrap();
    assert_eq!(outcome.committed, [3]);
    assert!(outcome.dropped[0].reason.contains("in the table already"));
    assert_eq!(outcome.location, world.loaded().metadata_location);
    assert!(!outcome.rebased);
    assert!(world.storage.deleted().is_empty());
    assert_nothing_lost_and_nothing_left(&world, &before).await;
}

/// A request that may still be under way must be neither repeated (it could be applied twice) nor cleaned up after.
#[tokio::test]
async fn c25_an_outcome_that_can_not_be_told_is_said_and_nothing_deleted() {
    let world = two_files().await;
    let base = world.base();
    let group = world.group(0, &["a"], &[data("o", "eu", 10)]).await;
    world.catalog.will(Fault::RequestLost);
    match world.run(&base, vec![group.clone()]).await.unwrap_err() {
        CommitFailure::OutcomeUnknown { message, .. } => assert!(message.contains("lost")),
        other => panic!("{other}"),
    }
    assert!(world.storage.deleted().is_empty());
    assert_eq!(*world.catalog.swaps.lock().unwrap(), 1);
    assert!(world.clock.slept.lock().unwrap().len() >= 3);
    // Called again, as the next sweep does, it commits.
    assert_eq!(world.run(&base, vec![group]).await.unwrap().committed, [0]);
}

/// Once the table has moved on without us, the lost request can't be applied any more: try again, on the new state.
#[tokio::test]
async fn c25_a_lost_request_is_repeated_once_the_table_moved_on() {
    let world = two_files().await;
    let base = world.base();
    let group = world.group(0, &["a"], &[data("o", "eu", 10)]).await;
    let after = world
        .after(Foreign {
            data: vec![data("c", "eu", 1)],
            ..Foreign::default()
        })
        .await;
    world.catalog.will(Fault::RequestLostToRival(after));
    let outcome = world.run(&base, vec![group]).await.unwrap();
    assert!(outcome.rebased);
    assert_eq!(world.data_paths().await, ["b", "c", "o"]);
    assert!(world.storage.deleted().is_empty());
}

/// A client that repeats a swap below us reports a conflict with our own success.
#[tokio::test]
async fn c25_a_race_lost_against_ourselves_is_a_success() {
    let world = two_files().await;
    let base = world.base();
    let before = world.storage.locations();
    let group = world.group(0, &["a"], &[data("o", "eu", 10)]).await;
    world.catalog.will(Fault::LostAgainstItself);
    let outcome = world.run(&base, vec![group]).await.unwrap();
    assert_eq!(outcome.committed, [0]);
    assert!(world.storage.deleted().is_empty());
    assert_nothing_lost_and_nothing_left(&world, &before).await;
}

/// Attempts that certainly failed leave manifests behind for ever, unless whoever wrote them clears them away.
#[tokio::test]
async fn c28_what_a_certain_failure_wrote_is_removed() {
    let world = two_files().await;
    let base = world.base();
    let group = world.group(0, &["a"], &[data("o", "eu", 10)]).await;
    let before = world.storage.locations();
    world.catalog.will(Fault::Refused);
    match world.run(&base, vec![group.clone()]).await.unwrap_err() {
        CommitFailure::Catalog(CatalogError::PermissionDenied { .. }) => {}
        other => panic!("{other}"),
    }
    assert_eq!(world.storage.locations(), before);
    assert!(!world.storage.deleted().is_empty());
    // The same when a write fails half way.
    world.storage.fail_writes_after(1);
    let failure = world.run(&base, vec![group]).await.unwrap_err();
    assert!(matches!(failure, CommitFailure::Table(_)), "{failure}");
    assert_eq!(world.storage.locations(), before);
}

/// An expired snapshot can't tell any more that it was ours. Its files are live all the same.
#[tokio::test]
async fn c25_files_of_a_commit_that_expired_are_never_called_unused() {
    let world = two_files().await;
    let base = world.base();
    let group = world.group(0, &["a"], &[data("o", "eu", 10)]).await;
    let outcome = world.run(&base, vec![group.clone()]).await.unwrap();
    world.append(&[data("c", "eu", 1)]).await;
    for expired in [outcome.snapshot_id, base.snapshot_id] {
        let snapshot_ids = vec![expired.get()];
        world
            .change(vec![TableUpdate::RemoveSnapshots { snapshot_ids }])
            .await;
        match world.run(&base, vec![group.clone()]).await.unwrap_err() {
            CommitFailure::NothingLeft {
                dropped,
                unused_files,
                ..
            } => {
                assert!(
                    dropped[0].reason.contains("replaced already"),
                    "{dropped:?}"
                );
                assert!(unused_files.is_empty());
            }
            other => panic!("{other}"),
        }
    }
    assert_eq!(world.data_paths().await, ["b", "c", "o"]);
}

/// Our snapshot expired, and another writer has taken our file out since: between the two is a snapshot that needs it.
#[tokio::test]
async fn c25_files_that_a_snapshot_in_between_needs_are_never_called_unused() {
    let world = two_files().await;
    let base = world.base();
    let group = world.group(0, &["a"], &[data("o", "eu", 10)]).await;
    let outcome = world.run(&base, vec![group.clone()]).await.unwrap();
    world.append(&[data("c", "eu", 1)]).await;
    world
        .commit(Foreign {
            data: vec![data("d", "eu", 10)],
            removed: vec!["o".to_owned()],
            ..Foreign::default()
        })
        .await;
    let snapshot_ids = vec![outcome.snapshot_id.get()];
    world
        .change(vec![TableUpdate::RemoveSnapshots { snapshot_ids }])
        .await;
    match world.run(&base, vec![group]).await.unwrap_err() {
        CommitFailure::NothingLeft { unused_files, .. } => assert!(unused_files.is_empty()),
        other => panic!("{other}"),
    }
}

/// Comparing only the branch's snapshot, or a cached pointer, overwrites changes that left the snapshot alone.
#[tokio::test]
async fn c30_a_change_without_a_snapshot_is_a_lost_race_too() {
    let world = two_files().await;
    let base = world.base();
    let group = world.group(0, &["a"], &[data("o", "eu", 10)]).await;
    let start = world.loaded();
    let updates = HashMap::from([("owner".to_owned(), "somebody".to_owned())]);
    world
        .change(vec![TableUpdate::SetProperties { updates }])
        .await;
    let changed = Box::new(world.loaded());
    world.catalog.set(start);
    world.catalog.will(Fault::Rival(changed));
    world.run(&base, vec![group]).await.unwrap();
    let loaded = world.loaded();
    assert_eq!(loaded.metadata.properties()["owner"], "somebody");
    assert_eq!(world.data_paths().await, ["b", "o"]);
}

/// Two runs over the same files would leave two copies of the rows, and orphans.
#[tokio::test]
async fn c42_of_two_runs_on_one_table_one_wins_and_the_other_leaves_nothing() {
    let mut world = two_files().await;
    let base = world.base();
    let ours = world.group(0, &["a"], &[data("o", "eu", 10)]).await;
    let theirs = world.group(0, &["a"], &[data("q", "eu", 10)]).await;
    let before = world.storage.locations();
    world.run(&base, vec![ours]).await.unwrap();
    let after = world.storage.locations();
    world.process = ProcessId::from("p2");
    let failure = world.run(&base, vec![theirs]).await.unwrap_err();
    match failure {
        CommitFailure::NothingLeft { unused_files, .. } => assert_eq!(unused_files, ["q"]),
        other => panic!("{other}"),
    }
    assert_eq!(world.data_paths().await, ["b", "o"]);
    assert_eq!(world.storage.locations(), after);
    assert_nothing_lost_and_nothing_left(&world, &before).await;
}

/// Two workers that commit the same process at once: the loser finds the winner's snapshot and reports it.
#[tokio::test]
async fn c42_two_commits_of_one_process_are_one() {
    let world = two_files().await;
    let base = world.base();
    let group = world.group(0, &["a"], &[data("o", "eu", 10)]).await;
    let start = world.loaded();
    let winner = world.run(&base, vec![group.clone()]).await.unwrap();
    let won = Box::new(world.loaded());
    let there = world.storage.locations();
    world.catalog.set(start);
    world.catalog.will(Fault::Rival(won));
    let loser = world.run(&base, vec![group]).await.unwrap();
    assert_eq!(loser.snapshot_id, winner.snapshot_id);
    assert_eq!(world.data_paths().await, ["b", "o"]);
    assert!(world.storage.locations().is_superset(&there));
}

/// What a commit did is not what the table has more or less than before: others write too.
#[tokio::test]
async fn c27_counts_are_of_what_the_commit_did() {
    let world = two_files().await;
    let base = world.base();
    let group = world.group(0, &["a"], &[data("o", "eu", 10)]).await;
    let bad = world.group(1, &["b"], &[data("a", "us", 20)]).await;
    world.rivals((0..3).map(newcomer).collect()).await;
    let outcome = world.run(&base, vec![group, bad]).await.unwrap();
    assert_eq!(
        (outcome.committed.as_slice(), outcome.dropped.len()),
        (&[0][..], 1)
    );
    let loaded = world.loaded();
    for (key, value) in [
        ("added-data-files", 1),
        ("added-records", 10),
        ("deleted-data-files", 1),
        ("deleted-records", 10),
        ("total-data-files", 5),
        ("total-records", 33),
    ] {
        assert_eq!(super::number(&loaded, key), value, "{key}");
    }
}

#[tokio::test]
async fn a_dropped_table_is_reported_as_such() {
    let world = two_files().await;
    let base = world.base();
    let group = world.group(0, &["a"], &[data("o", "eu", 10)]).await;
    let before = world.storage.locations();
    world.catalog.will(Fault::Dropped);
    for _ in 0..2 {
        let failure = world.run(&base, vec![group.clone()]).await.unwrap_err();
        assert!(matches!(failure, CommitFailure::TableGone(_)), "{failure}");
        assert_eq!(world.storage.locations(), before);
    }
}

/// A clock that runs behind the last writer's must not make a snapshot that is older than its parent.
#[tokio::test]
async fn time_never_goes_back_in_a_table() {
    let world = two_files().await;
    let group = world.group(0, &["a"], &[data("o", "eu", 10)]).await;
    let parent = world
        .loaded()
        .metadata
        .current_snapshot()
        .unwrap()
        .timestamp_ms();
    *world.clock.now.lock().unwrap() -= 3_600_000;
    world.run(&world.base(), vec![group]).await.unwrap();
    let snapshot = world
        .loaded()
        .metadata
        .current_snapshot()
        .unwrap()
        .timestamp_ms();
    assert!(snapshot >= parent);
}
