//! Commits of nothing but the removal of delete files that no data file can match.

use iceberg::spec::{FormatVersion, Operation};
use icepress_model::{GroupResult, Tier};

use super::{
    number,
    world::{World, data, equality_deletes},
};
use crate::commit::{CommitFailure, DropCause, DroppedGroup, FinishedGroup};

/// Files in two partitions; a delete file that names a file that is gone, one in an empty partition, and one that the
/// file c needs.
async fn world() -> World {
    let world = World::new(FormatVersion::V2);
    world
        .append(&[data("a", "eu", 10), data("c", "us", 30)])
        .await;
    let mut gone = world.position_deletes("gone", "us", &[("no more", 0)]);
    gone.referenced_data_file(Some("no more".to_owned()));
    let empty = world.position_deletes("empty", "asia", &[("x", 0), ("y", 0)]);
    let needed = world.position_deletes("needed", "us", &[("c", 0), ("no more", 1)]);
    let files = [gone, empty, needed].map(|file| { file }.build().unwrap());
    world.delete(&files).await;
    world.delete(&[equality_deletes("key", "asia", 1)]).await;
    world
}

/// What a plan and an optimizer make of these delete files.
async fn group(world: &World, deletes: &[&str]) -> FinishedGroup {
    let mut finished = world.group(0, &[], &[]).await;
    finished.group.tier = Tier::Dangling;
    let is_named = |path: &str| deletes.contains(&path);
    finished
        .group
        .deletes
        .retain(|delete| is_named(&delete.path));
    finished.result = GroupResult::default();
    finished
}

fn dropped(failure: CommitFailure) -> DroppedGroup {
    match failure {
        CommitFailure::NothingLeft { mut dropped, .. } => dropped.remove(0),
        other => panic!("{other}"),
    }
}

/// As Java's `RemoveDanglingDeleteFiles` does, by a `RewriteFiles` that only removes: an operation that changes no row.
#[tokio::test]
async fn c18_dangling_deletes_go_in_a_commit_of_their_own() {
    let world = world().await;
    let before = world.live().await.0;
    let group = group(&world, &["gone", "empty", "key"]).await;
    let outcome = world.run(&world.base(), vec![group]).await.unwrap();
    assert_eq!(
        (outcome.committed, outcome.removed_delete_files),
        (vec![0], 3)
    );
    assert_eq!(world.delete_paths().await, ["needed"]);
    assert_eq!(world.live().await.0, before);
    let loaded = world.loaded();
    let snapshot = loaded.metadata.current_snapshot().unwrap();
    assert_eq!(snapshot.summary().operation, Operation::Replace);
    assert_eq!(number(&loaded, "removed-delete-files"), 3);
    assert_eq!(number(&loaded, "removed-equality-deletes"), 1);
    assert_eq!(number(&loaded, "total-delete-files"), 1);
    assert_eq!(number(&loaded, "total-records"), 40);
}

/// What the plan says is not enough: each delete file is judged on the table as it is at the commit.
#[tokio::test]
async fn c18_a_delete_file_that_is_needed_stays_whatever_the_plan_says() {
    let world = world().await;
    let base = world.base();
    let wrong = group(&world, &["needed"]).await;
    // The first commit removes the others as any commit does, but is not made for the sake of what stays.
    let failure = world.run(&base, vec![wrong.clone()]).await.unwrap_err();
    let refused = dropped(failure);
    assert_eq!(refused.cause, DropCause::Gate, "{}", refused.reason);
    assert_eq!(world.delete_paths().await.len(), 4);
    // On a table that has moved another plan may tell otherwise.
    world.append(&[data("d", "us", 5)]).await;
    let refused = dropped(world.run(&base, vec![wrong]).await.unwrap_err());
    assert_eq!(refused.cause, DropCause::Conflict, "{}", refused.reason);
}

#[tokio::test]
async fn delete_files_that_another_writer_removed_are_no_work_left() {
    let mut world = world().await;
    let base = world.base();
    let late = group(&world, &["gone", "empty", "key"]).await;
    let first = group(&world, &["gone", "empty", "key"]).await;
    world.run(&base, vec![first]).await.unwrap();
    let after = world.loaded().metadata_location;
    world.process.0 = "p2".to_owned();
    let refused = dropped(world.run(&base, vec![late]).await.unwrap_err());
    assert_eq!(refused.cause, DropCause::Conflict, "{}", refused.reason);
    assert!(
        refused.reason.contains("another writer"),
        "{}",
        refused.reason
    );
    assert_eq!(world.loaded().metadata_location, after);
}
