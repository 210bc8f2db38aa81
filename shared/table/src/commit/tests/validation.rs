//! Groups that must not be committed, and that cost nothing but themselves.

use std::collections::HashMap;

use iceberg::{
    TableUpdate,
    spec::{FormatVersion, UnboundPartitionSpec},
};
use icepress_model::{Rows, SnapshotId};

use super::world::{Foreign, World, data, file, set_main};
use crate::commit::CommitFailure;

async fn two_files() -> World {
    let world = World::new(FormatVersion::V2);
    world
        .append(&[data("a", "eu", 10), data("b", "us", 20)])
        .await;
    world
}

pub(super) fn reason(failure: CommitFailure) -> String {
    match failure {
        CommitFailure::NothingLeft { dropped, .. } => {
            let reasons: Vec<String> = dropped.into_iter().map(|group| group.reason).collect();
            reasons.join("; ")
        }
        other => panic!("{other}"),
    }
}

/// A commit that trusts the rewrite loses rows without a word when the rewrite is wrong.
#[tokio::test]
async fn c02_rows_in_must_be_rows_out_and_rows_deleted() {
    type Change = fn(&mut crate::FinishedGroup);
    let cases: [(Change, &str); 6] = [
        (
            |g| g.result.rows_out = Rows(9),
            "10 rows where 9 were written",
        ),
        (
            |g| g.result.rows_in = Rows(11),
            "11 rows were read where the table has 10",
        ),
        (
            |g| {
                g.result.rows_deleted = Rows(1);
            },
            "do not make 10 rows out",
        ),
        (
            |g| {
                g.result.data_files[0]["record_count"] = 9.into();
                g.result.rows_out = Rows(9);
                g.result.rows_deleted = Rows(1);
            },
            "though no delete file applies",
        ),
        (
            |g| g.result.data_files[0]["null_value_counts"][1]["value"] = 7.into(),
            "nulls",
        ),
        (
            |g| g.result.data_files[0]["content"] = 1.into(),
            "no data file",
        ),
    ];
    for (change, expected) in cases {
        let world = two_files().await;
        let mut group = world.group(0, &["a"], &[data("o", "eu", 10)]).await;
        group.result.data_files[0]["null_value_counts"] =
            serde_json::json!([{"key": 1, "value": 0}, {"key": 2, "value": 1}]);
        change(&mut group);
        let before = world.loaded();
        let good = world.group(1, &["b"], &[data("p", "us", 20)]).await;
        let outcome = world.run(&world.base(), vec![group, good]).await.unwrap();
        assert_eq!(outcome.committed, [1]);
        assert!(
            outcome.dropped[0].reason.contains(expected),
            "{:?}",
            outcome.dropped
        );
        assert_eq!(world.data_paths().await, ["a", "p"]);
        assert_ne!(world.loaded().metadata_location, before.metadata_location);
    }
}

/// Deleted rows may take nulls with them: as many as there are rows, and none may come.
#[tokio::test]
async fn c02_nulls_go_only_with_deleted_rows() {
    for (nulls_left, is_right) in [(3, false), (2, true), (0, true)] {
        let world = two_files().await;
        let delete = world.position_deletes("del", "us", &[("b", 0), ("b", 1)]);
        world.delete(&[{ delete }.build().unwrap()]).await;
        let output = file("o", "us", 18)
            .null_value_counts(HashMap::from([(1, 0), (2, nulls_left)]))
            .build()
            .unwrap();
        let group = world.group(0, &["b"], &[output]).await;
        let result = world.run(&world.base(), vec![group]).await;
        assert_eq!(result.is_ok(), is_right, "{nulls_left}: {result:?}");
    }
}

/// An added column has no counts in old files, a nested one may be counted either way: neither stops a commit.
#[tokio::test]
async fn null_counts_that_not_all_files_have_are_not_compared() {
    let world = World::new(FormatVersion::V2);
    let counting = |path: &str, column: i32, nulls: u64| {
        file(path, "eu", 10)
            .null_value_counts(HashMap::from([(1, 0), (column, nulls)]))
            .build()
            .unwrap()
    };
    world.append(&[counting("a", 2, 1)]).await;
    let output = counting("o", 3, 5);
    let group = world.group(0, &["a"], &[output]).await;
    world.run(&world.base(), vec![group]).await.unwrap();
}

/// A commit that only looks whether the swap goes through brings back rows that another writer removed.
#[tokio::test]
async fn c11_an_input_that_another_writer_removed_aborts_its_group_alone() {
    let world = two_files().await;
    let base = world.base();
    let hit = world.group(0, &["a"], &[data("o", "eu", 10)]).await;
    let other = world.group(1, &["b"], &[data("p", "us", 20)]).await;
    world
        .rival(Foreign {
            removed: vec!["a".to_owned()],
            ..Foreign::default()
        })
        .await;
    let outcome = world.run(&base, vec![hit, other]).await.unwrap();
    assert_eq!(outcome.committed, [1]);
    assert!(
        outcome.dropped[0]
            .reason
            .contains("another writer removed it")
    );
    assert!(outcome.rebased);
    assert_eq!(world.data_paths().await, ["p"]);
}

/// A path can come back with other content: it is the file that must be live, not the name.
#[tokio::test]
async fn c11_a_path_that_is_another_file_now_aborts_the_group() {
    let world = two_files().await;
    let base = world.base();
    let group = world.group(0, &["a"], &[data("o", "eu", 10)]).await;
    world
        .commit(Foreign {
            removed: vec!["a".to_owned()],
            ..Foreign::default()
        })
        .await;
    world.append(&[data("a", "eu", 10)]).await;
    let failure = world.run(&base, vec![group]).await.unwrap_err();
    assert!(reason(failure).contains("another file now"));
}

/// Files that two groups both replace, or a table that lists a file twice: rows would double or vanish.
#[tokio::test]
async fn c01_nothing_is_replaced_or_added_twice() {
    let world = two_files().await;
    let base = world.base();
    let same_output = world.group(2, &["b"], &[data("o", "us", 20)]).await;
    let first = world.group(0, &["a"], &[data("o", "eu", 10)]).await;
    let same_input = world.group(1, &["a"], &[data("q", "eu", 10)]).await;
    let outcome = world
        .run(&base, vec![first, same_input, same_output])
        .await
        .unwrap();
    assert_eq!(outcome.committed, [0]);
    assert!(outcome.dropped[0].reason.contains("replaced twice"));
    assert!(outcome.dropped[1].reason.contains("added twice"));
    // The third group's file is the first's too, which is in the table now.
    assert_eq!(outcome.unused_files, ["q"]);

    let world = two_files().await;
    world.append(&[data("a", "eu", 10)]).await;
    let group = world.group(0, &["a"], &[data("o", "eu", 10)]).await;
    let live_output = world.group(1, &["b"], &[data("a", "us", 20)]).await;
    let failure = world.run(&world.base(), vec![group, live_output]).await;
    let reason = reason(failure.unwrap_err());
    assert!(reason.contains("more than once") && reason.contains("in the table already"));
}

#[tokio::test]
async fn outputs_must_exist_with_the_size_that_they_claim() {
    let world = two_files().await;
    let missing = world.group(0, &["a"], &[data("o", "eu", 10)]).await;
    let cut = world.group(1, &["b"], &[data("p", "us", 20)]).await;
    world.storage.remove("o");
    world.storage.insert("p", vec![0; 7]);
    let failure = world.run(&world.base(), vec![missing, cut]).await;
    let reason = reason(failure.unwrap_err());
    assert!(reason.contains("o does not exist"), "{reason}");
    assert!(reason.contains("p has 7 bytes, not 201"), "{reason}");
    assert_eq!(world.data_paths().await, ["a", "b"]);
}

#[tokio::test]
async fn inputs_of_several_partitions_are_no_group() {
    let world = two_files().await;
    let group = world.group(0, &["a", "b"], &[data("o", "eu", 30)]).await;
    let failure = world.run(&world.base(), vec![group]).await.unwrap_err();
    assert!(reason(failure).contains("several partitions"));
}

/// After a rollback the deletes that were applied are undone, and the outputs lack rows that the table has again.
#[tokio::test]
async fn a_table_that_was_rolled_back_behind_the_plan_takes_no_group() {
    let world = two_files().await;
    let first = world.base().snapshot_id;
    let delete = world
        .position_deletes("del", "eu", &[("a", 3)])
        .build()
        .unwrap();
    world.delete(&[delete]).await;
    let base = world.base();
    let group = world.group(0, &["a"], &[data("o", "eu", 9)]).await;
    world.change(vec![set_main(first.get())]).await;
    let failure = world.run(&base, vec![group]).await.unwrap_err();
    assert!(reason(failure).contains("rolled back"));
}

/// Walking the history back to the start snapshot fails, or worse stops early, when others expire it meanwhile.
#[tokio::test]
async fn c26_an_expired_base_is_judged_by_what_is_live() {
    for is_delete_gone in [false, true] {
        let world = two_files().await;
        let delete = world
            .position_deletes("del", "eu", &[("a", 3)])
            .build()
            .unwrap();
        world.delete(&[delete]).await;
        let base = world.base();
        let group = world.group(0, &["a"], &[data("o", "eu", 9)]).await;
        let removed = if is_delete_gone {
            vec!["del".to_owned()]
        } else {
            Vec::new()
        };
        world
            .commit(Foreign {
                data: vec![data("c", "us", 1)],
                removed,
                ..Foreign::default()
            })
            .await;
        let snapshot_ids = vec![base.snapshot_id.get(), world.base().snapshot_id.get()];
        world.append(&[data("d", "us", 1)]).await;
        world
            .change(vec![TableUpdate::RemoveSnapshots { snapshot_ids }])
            .await;
        let result = world.run(&base, vec![group]).await;
        if is_delete_gone {
            assert!(reason(result.unwrap_err()).contains("expired"));
        } else {
            assert_eq!(result.unwrap().committed, [0]);
        }
    }
}

/// A group planned under a spec that is not the table's any more still commits, under its own spec.
#[tokio::test]
async fn a_group_of_an_old_spec_is_written_under_that_spec() {
    let world = two_files().await;
    let base = world.base();
    let group = world.group(0, &["a"], &[data("o", "eu", 10)]).await;
    let spec = UnboundPartitionSpec::builder().build();
    world
        .change(vec![
            TableUpdate::AddSpec { spec },
            TableUpdate::SetDefaultSpec { spec_id: -1 },
        ])
        .await;
    let outcome = world.run(&base, vec![group]).await.unwrap();
    assert_eq!(outcome.committed, [0]);
    for (manifest, _) in world.manifests_of(&world.loaded()).await {
        assert_eq!(manifest.partition_spec_id, 0);
    }
}

#[tokio::test]
async fn an_unknown_schema_or_spec_refuses_the_group() {
    let world = two_files().await;
    let mut base = world.base();
    base.schema_id.0 = 9;
    let group = world.group(0, &["a"], &[data("o", "eu", 10)]).await;
    let failure = world.run(&base, vec![group.clone()]).await.unwrap_err();
    assert!(reason(failure).contains("no schema 9"));
    let mut group = group;
    group.group.spec_id.0 = 9;
    let failure = world.run(&world.base(), vec![group]).await.unwrap_err();
    assert!(reason(failure).contains("no partition spec 9"));
}

#[tokio::test]
async fn a_corrupt_manifest_is_named_and_nothing_is_written() {
    let world = two_files().await;
    let group = world.group(0, &["a"], &[data("o", "eu", 10)]).await;
    let loaded = world.loaded();
    let manifest = world.list_of(&loaded).await[0].manifest_path.clone();
    world.storage.insert(&manifest, vec![7; 100]);
    let before = world.storage.locations();
    let failure = world.run(&world.base(), vec![group]).await.unwrap_err();
    assert!(failure.to_string().contains(&manifest), "{failure}");
    assert_eq!(world.storage.locations(), before);
}

#[tokio::test]
async fn a_table_without_a_snapshot_takes_no_group() {
    let world = two_files().await;
    let base = world.base();
    let group = world.group(0, &["a"], &[data("o", "eu", 10)]).await;
    let empty = World::new(FormatVersion::V2);
    world.catalog.set(empty.loaded());
    let failure = world.run(&base, vec![group]).await.unwrap_err();
    assert!(reason(failure).contains("rolled back or replaced"));
    assert_ne!(base.snapshot_id, SnapshotId(0));
}
