//! Delete files: those that came too late, those that still apply, and those that nothing needs any more.

use std::collections::HashMap;

use iceberg::{
    TableUpdate,
    spec::{
        DataContentType, DataFile, DataFileFormat, Datum, FormatVersion, Struct,
        UnboundPartitionSpec,
    },
};

use super::world::{Foreign, World, data, equality_deletes, file};
use crate::commit::CommitFailure;

async fn two_files() -> World {
    let world = World::new(FormatVersion::V2);
    world
        .append(&[
            data("a", "eu", 10),
            data("b", "eu", 20),
            data("c", "us", 30),
        ])
        .await;
    world
}

fn deletes(files: Vec<DataFile>) -> Foreign {
    Foreign {
        deletes: files,
        ..Foreign::default()
    }
}

/// Outputs at the commit's own sequence number would be newer than a delete that came meanwhile: the row comes back.
#[tokio::test]
async fn c03_a_late_equality_delete_still_applies_to_the_outputs() {
    let world = two_files().await;
    let base = world.base();
    let group = world.group(0, &["a", "b"], &[data("o", "eu", 30)]).await;
    world
        .rival(deletes(vec![equality_deletes("late", "eu", 1)]))
        .await;
    let outcome = world.run(&base, vec![group]).await.unwrap();
    assert_eq!(outcome.removed_delete_files, 0);
    let (data, deletes) = world.live().await;
    assert_eq!(data[1].path, "o");
    // Strictly older than the delete, which is what "applies" means.
    assert!(data[1].sequence_number < deletes[0].sequence_number);
    assert_eq!(data[1].sequence_number, 1);
}

/// A position delete names a file that is about to vanish: committing over it brings the row back.
#[tokio::test]
async fn c04_late_position_delete_aborts_the_group() {
    for referenced in [true, false] {
        let world = two_files().await;
        let base = world.base();
        let hit = world.group(0, &["a"], &[data("o", "eu", 10)]).await;
        let other = world.group(1, &["c"], &[data("p", "us", 30)]).await;
        let mut delete = world.position_deletes("late", "eu", &[("a", 4), ("b", 1)]);
        if referenced {
            delete = world.position_deletes("late", "eu", &[("a", 4)]);
            delete.referenced_data_file(Some("a".to_owned()));
        }
        world.rival(deletes(vec![delete.build().unwrap()])).await;
        let outcome = world.run(&base, vec![hit, other]).await.unwrap();
        assert_eq!(outcome.committed, [1]);
        assert_eq!(outcome.unused_files, ["o"]);
        assert!(
            outcome.dropped[0].reason.contains("late deletes rows of a"),
            "{:?}",
            outcome.dropped
        );
        assert_eq!(world.data_paths().await, ["a", "b", "p"]);
        assert_eq!(world.delete_paths().await, ["late"]);
    }
}

/// Judging by partition, or by bounds that span the input's path, would abort compaction for ever beside a busy writer.
#[tokio::test]
async fn c05_a_late_position_delete_of_other_files_aborts_nothing() {
    let world = two_files().await;
    world.append(&[data("aa", "eu", 5)]).await;
    let base = world.base();
    let group = world.group(0, &["aa"], &[data("o", "eu", 5)]).await;
    let late = world.position_deletes("late", "eu", &[("a", 0), ("b", 0)]);
    world.rival(deletes(vec![late.build().unwrap()])).await;
    let outcome = world.run(&base, vec![group]).await.unwrap();
    assert_eq!(outcome.committed, [0]);
    // It came after the starting number, so by number alone it could apply to the output.
    assert_eq!(world.delete_paths().await, ["late"]);
}

/// What can't be read might name the input.
#[tokio::test]
async fn c04_a_late_position_delete_that_can_not_be_read_aborts_the_group() {
    let world = two_files().await;
    let base = world.base();
    let group = world.group(0, &["a"], &[data("o", "eu", 10)]).await;
    let late = world.position_deletes("late", "eu", &[("a", 0), ("b", 0)]);
    world.rival(deletes(vec![late.build().unwrap()])).await;
    world.storage.insert("late", vec![1; 300]);
    match world.run(&base, vec![group]).await.unwrap_err() {
        CommitFailure::NothingLeft { dropped, .. } => {
            let reason = &dropped[0].reason;
            assert!(reason.contains("late") && reason.contains("can't be read"));
        }
        other => panic!("{other}"),
    }
}

/// It may name files outside the group: whoever can't read it can't tell.
#[tokio::test]
async fn c29_a_delete_file_that_can_not_be_read_stays() {
    let world = two_files().await;
    let both = world.position_deletes("both", "eu", &[("a", 0), ("b", 0)]);
    world.delete(&[both.build().unwrap()]).await;
    let base = world.base();
    let group = world.group(0, &["a"], &[data("o", "eu", 9)]).await;
    world.storage.insert("both", vec![1; 300]);
    world.run(&base, vec![group]).await.unwrap();
    assert_eq!(world.delete_paths().await, ["both"]);
}

/// A delete file can be added with an old number. By that number alone it would pass for one that was applied.
#[tokio::test]
async fn c06_a_late_delete_with_an_earlier_number_aborts_the_group() {
    for is_equality in [true, false] {
        let world = two_files().await;
        world.append(&[data("d", "us", 1)]).await;
        let base = world.base();
        let group = world.group(0, &["a"], &[data("o", "eu", 10)]).await;
        let late = if is_equality {
            equality_deletes("late", "eu", 1)
        } else {
            let late = world.position_deletes("late", "eu", &[("a", 0), ("b", 0)]);
            { late }.build().unwrap()
        };
        world
            .rival(Foreign {
                deletes: vec![late],
                sequence_number: Some(2),
                ..Foreign::default()
            })
            .await;
        let failure = world.run(&base, vec![group]).await.unwrap_err();
        assert!(
            matches!(failure, CommitFailure::NothingLeft { .. }),
            "{failure}"
        );
    }
}

/// Removing every delete file that a group used brings back the rows of files outside the group.
#[tokio::test]
async fn c07_a_delete_file_that_covers_files_outside_the_group_stays() {
    let world = two_files().await;
    let shared = world.position_deletes("shared", "eu", &[("a", 0), ("b", 0)]);
    let own = world.position_deletes("own", "eu", &[("a", 1)]);
    let by_key = equality_deletes("key", "eu", 1);
    world
        .delete(&[shared.build().unwrap(), own.build().unwrap(), by_key])
        .await;
    let group = world.group(0, &["a"], &[data("o", "eu", 7)]).await;
    let outcome = world.run(&world.base(), vec![group]).await.unwrap();
    assert_eq!(world.delete_paths().await, ["key", "shared"]);
    assert_eq!(outcome.removed_delete_files, 1);
    // When the last file that they cover goes, they go.
    let mut world = world;
    world.process.0 = "p2".to_owned();
    let group = world.group(0, &["b"], &[data("q", "eu", 18)]).await;
    let outcome = world.run(&world.base(), vec![group]).await.unwrap();
    assert!(world.delete_paths().await.is_empty());
    assert_eq!(outcome.removed_delete_files, 2);
}

/// Cleanup by the number that a delete file's manifest has, and not by the one assigned to the data, drops deletes
/// that files with an older assigned number still need.
#[tokio::test]
async fn c06_cleanup_judges_by_the_assigned_number() {
    let world = two_files().await;
    world.append(&[data("d", "eu", 40)]).await;
    let base = world.base();
    let group = world.group(0, &["a", "b"], &[data("o", "eu", 30)]).await;
    // Comes after the base, before our commit: the output is committed later, but its assigned number is older.
    world.delete(&[equality_deletes("late", "eu", 1)]).await;
    world.run(&base, vec![group]).await.unwrap();
    assert_eq!(world.delete_paths().await, ["late"]);
    let (data, _) = world.live().await;
    assert_eq!(data[2].path, "o");
    assert_eq!(data[2].sequence_number, 2);
}

/// A delete file keeps its own numbers when its manifest is written anew: a greater one would hit newer rows.
#[tokio::test]
async fn c09_delete_files_that_stay_keep_their_numbers() {
    let world = two_files().await;
    world
        .delete(&[
            equality_deletes("key1", "eu", 1),
            equality_deletes("gone", "us", 1),
        ])
        .await;
    world.append(&[data("d", "eu", 40)]).await;
    world.delete(&[equality_deletes("key2", "eu", 1)]).await;
    let before = world.live().await.1;
    let group = world.group(0, &["c"], &[data("o", "us", 29)]).await;
    world.run(&world.base(), vec![group]).await.unwrap();
    let after = world.live().await.1;
    assert_eq!(world.delete_paths().await, ["key1", "key2"]);
    assert_eq!(after[0], before[1]);
    assert_eq!(after[1], before[2]);
}

/// Equality deletes apply to strictly older data only, position deletes to data of the same number too.
#[tokio::test]
async fn c10_a_delete_of_the_same_number_applies_by_position_and_not_by_key() {
    let world = World::new(FormatVersion::V2);
    let near = world.position_deletes("near", "eu", &[("a", 0), ("b", 0)]);
    for name in ["a", "b"] {
        world.storage.insert(name, vec![0; 101]);
    }
    world
        .commit(Foreign {
            data: vec![data("a", "eu", 10), data("b", "eu", 10)],
            deletes: vec![near.build().unwrap(), equality_deletes("key", "eu", 1)],
            ..Foreign::default()
        })
        .await;
    let group = world.group(0, &["a"], &[data("o", "eu", 9)]).await;
    world.run(&world.base(), vec![group]).await.unwrap();
    // Both have the number of the data. "b" is older than neither.
    assert_eq!(world.delete_paths().await, ["near"]);
}

/// A delete entry that points at a removed file makes some readers fail, and the next plan rewrite the file again.
#[tokio::test]
async fn c17_no_delete_points_at_a_removed_file() {
    let world = two_files().await;
    let mut own = world.position_deletes("own", "eu", &[("a", 1)]);
    own.referenced_data_file(Some("a".to_owned()));
    let mut other = world.position_deletes("other", "eu", &[("b", 1)]);
    other.referenced_data_file(Some("b".to_owned()));
    world
        .delete(&[own.build().unwrap(), other.build().unwrap()])
        .await;
    let group = world.group(0, &["a"], &[data("o", "eu", 9)]).await;
    world.run(&world.base(), vec![group]).await.unwrap();
    let live = world.data_paths().await;
    for (_, entries) in world.manifests_of(&world.loaded()).await {
        for entry in entries {
            if let Some(path) = entry.data_file().referenced_data_file() {
                assert!(
                    live.contains(&path),
                    "{} points at {path}",
                    entry.file_path()
                );
            }
        }
    }
    assert_eq!(world.delete_paths().await, ["other"]);
}

/// By partition and number, the delete file applies to the output too: a plan would rewrite it for ever.
#[tokio::test]
async fn c18_after_a_rewrite_no_delete_is_left_that_a_plan_would_see() {
    let world = two_files().await;
    let both = world.position_deletes("both", "eu", &[("a", 0), ("b", 0)]);
    world
        .delete(&[both.build().unwrap(), equality_deletes("key", "eu", 1)])
        .await;
    let base = world.base();
    assert_eq!(base.starting_sequence_number.get(), 2);
    let group = world.group(0, &["a", "b"], &[data("o", "eu", 27)]).await;
    world.run(&base, vec![group]).await.unwrap();
    assert_eq!(world.live().await.0[1].sequence_number, 2);
    assert!(world.delete_paths().await.is_empty());
}

/// What dangled before, in partitions that nobody rewrites, goes with the next commit.
#[tokio::test]
async fn c18_deletes_that_dangle_elsewhere_go_too() {
    let world = two_files().await;
    let mut dangling = world.position_deletes("vanished", "us", &[("gone", 0)]);
    dangling.referenced_data_file(Some("gone".to_owned()));
    let empty = world.position_deletes("nothing there", "asia", &[("x", 0), ("y", 0)]);
    let alone = world.position_deletes("names one that is gone", "us", &[("gone too", 0)]);
    let kept = world.position_deletes("names two", "us", &[("c", 0), ("gone", 0)]);
    let files = [dangling, empty, alone, kept].map(|file| { file }.build().unwrap());
    world.delete(&files).await;
    world.delete(&[equality_deletes("old", "asia", 1)]).await;
    let group = world.group(0, &["a"], &[data("o", "eu", 10)]).await;
    world.run(&world.base(), vec![group]).await.unwrap();
    assert_eq!(world.delete_paths().await, ["names two"]);
}

/// A bound may be cut short. Taken for the path itself it says that the file is gone, and its rows come back.
#[tokio::test]
async fn c18_bounds_that_were_cut_short_prove_nothing() {
    let world = two_files().await;
    world.append(&[data("long/path/1", "eu", 10)]).await;
    let path_id = 2_147_483_546;
    let mut cut = world.position_deletes("cut", "eu", &[("long/path/1", 0)]);
    cut.lower_bounds(HashMap::from([(path_id, Datum::string("long/pa"))]))
        .upper_bounds(HashMap::from([(path_id, Datum::string("long/pa"))]));
    world.delete(&[cut.build().unwrap()]).await;
    let group = world.group(0, &["a"], &[data("o", "eu", 10)]).await;
    world.run(&world.base(), vec![group]).await.unwrap();
    assert_eq!(world.delete_paths().await, ["cut"]);
    // Late, such a file still is a conflict with the file it names.
    let mut world = world;
    world.process.0 = "p2".to_owned();
    let base = world.base();
    let group = world
        .group(0, &["long/path/1"], &[data("p", "eu", 10)])
        .await;
    let mut cut = world.position_deletes("cut2", "eu", &[("long/path/1", 1)]);
    cut.lower_bounds(HashMap::from([(path_id, Datum::string("long/pa"))]))
        .upper_bounds(HashMap::from([(path_id, Datum::string("long/pa"))]));
    world.rival(deletes(vec![cut.build().unwrap()])).await;
    let failure = world.run(&base, vec![group]).await.unwrap_err();
    assert!(
        failure.to_string().contains("cut2 deletes rows"),
        "{failure}"
    );
}

/// An unpartitioned spec's equality deletes apply to every partition of every spec: dropping one because *its*
/// partition is empty brings rows back everywhere.
#[tokio::test]
async fn c46_a_global_equality_delete_stays_while_any_older_file_does() {
    let world = two_files().await;
    let spec = UnboundPartitionSpec::builder().build();
    world.change(vec![TableUpdate::AddSpec { spec }]).await;
    let global = file("global", "", 1)
        .content(DataContentType::EqualityDeletes)
        .equality_ids(Some(vec![1]))
        .partition(Struct::empty())
        .partition_spec_id(1)
        .build()
        .unwrap();
    world.delete(&[global]).await;
    let mut world = world;
    for (round, (input, output)) in [("a", "o"), ("b", "p"), ("c", "q")].into_iter().enumerate() {
        world.process.0 = format!("p{round}");
        let region = if input == "c" { "us" } else { "eu" };
        let group = world.group(0, &[input], &[data(output, region, 9)]).await;
        world.run(&world.base(), vec![group]).await.unwrap();
        assert_eq!(
            world.delete_paths().await.len(),
            usize::from(round < 2),
            "{round}"
        );
    }
    // And a late one, from whatever spec, is no conflict.
    let base = world.base();
    let group = world.group(0, &["q"], &[data("r", "us", 9)]).await;
    let late = file("late", "", 1)
        .content(DataContentType::EqualityDeletes)
        .equality_ids(Some(vec![1]))
        .partition(Struct::empty())
        .partition_spec_id(1)
        .build()
        .unwrap();
    world.rival(deletes(vec![late])).await;
    world.process.0 = "last".to_owned();
    world.run(&base, vec![group]).await.unwrap();
    assert_eq!(world.delete_paths().await, ["late"]);
}

/// Told apart by path alone, one vector of a Puffin file survives and the others' rows come back.
#[tokio::test]
async fn c49_vectors_in_one_file_are_told_apart_by_offset() {
    let world = two_files().await;
    let vector = |names: &str, offset: i64| {
        file("vectors.puffin", "eu", 1)
            .content(DataContentType::PositionDeletes)
            .file_format(DataFileFormat::Puffin)
            .referenced_data_file(Some(names.to_owned()))
            .content_offset(Some(offset))
            .content_size_in_bytes(Some(40))
            .build()
            .unwrap()
    };
    world.delete(&[vector("a", 4), vector("b", 44)]).await;
    let group = world.group(0, &["a"], &[data("o", "eu", 9)]).await;
    world.run(&world.base(), vec![group]).await.unwrap();
    let mut left = Vec::new();
    for (_, entries) in world.manifests_of(&world.loaded()).await {
        left.extend(
            entries
                .into_iter()
                .filter(|entry| entry.file_path() == "vectors.puffin"),
        );
    }
    assert_eq!(left.len(), 1);
    let file = left[0].data_file();
    assert_eq!(file.referenced_data_file().as_deref(), Some("b"));
    assert_eq!(
        file.content_offset().zip(file.content_size_in_bytes()),
        Some((44, 40))
    );
}

/// Looking at the history between, instead of at what is live, stalls for ever after a vector was replaced twice.
#[tokio::test]
async fn c16_deletes_that_came_and_went_again_abort_nothing() {
    let world = two_files().await;
    let base = world.base();
    let group = world.group(0, &["a"], &[data("o", "eu", 10)]).await;
    for name in ["v1", "v2"] {
        let mut vector = world.position_deletes(name, "eu", &[("b", 1)]);
        vector.referenced_data_file(Some("b".to_owned()));
        let removed = if name == "v2" {
            vec!["v1".to_owned()]
        } else {
            Vec::new()
        };
        world
            .commit(Foreign {
                deletes: vec![vector.build().unwrap()],
                removed,
                ..Foreign::default()
            })
            .await;
    }
    world.run(&base, vec![group]).await.unwrap();
    assert_eq!(world.data_paths().await, ["b", "c", "o"]);
    assert_eq!(world.delete_paths().await, ["v2"]);
}

/// Taking a number from before for a sign of new deletes would let every merge of delete files abort a rewrite: Java
/// looks at the number alone, and we must not be stricter.
#[tokio::test]
async fn c16_a_merge_of_delete_files_that_says_nothing_new_aborts_nothing() {
    for is_replace in [true, false] {
        let world = two_files().await;
        let first = world.position_deletes("first", "eu", &[("a", 0), ("b", 1)]);
        world.delete(&[{ first }.build().unwrap()]).await;
        let base = world.base();
        let group = world.group(0, &["a"], &[data("o", "eu", 9)]).await;
        let merged = world.position_deletes("merged", "eu", &[("a", 0), ("b", 1)]);
        world
            .rival(Foreign {
                deletes: vec![{ merged }.build().unwrap()],
                removed: vec!["first".to_owned()],
                sequence_number: Some(base.starting_sequence_number.get()),
                is_replace,
                ..Foreign::default()
            })
            .await;
        let result = world.run(&base, vec![group]).await;
        assert_eq!(result.is_ok(), is_replace, "{result:?}");
        if is_replace {
            // It still hides a row of b.
            assert_eq!(world.delete_paths().await, ["merged"]);
        }
    }
}

/// A rewrite of part of a table that takes along every delete file it applied brings rows of the rest back.
#[tokio::test]
async fn c19_a_filtered_rewrite_keeps_delete_files_that_others_share() {
    let world = two_files().await;
    let shared = world.position_deletes("positions", "eu", &[("a", 0), ("b", 1)]);
    world
        .delete(&[
            { shared }.build().unwrap(),
            equality_deletes("keys", "eu", 1),
        ])
        .await;
    let base = world.base();
    let first = world.group(0, &["a"], &[data("o", "eu", 8)]).await;
    world.run(&base, vec![first]).await.unwrap();
    assert_eq!(world.delete_paths().await, ["keys", "positions"]);
    // Once the other file is rewritten too, nothing needs them.
    let mut world = world;
    world.process = icepress_model::ProcessId::from("p2");
    let second = world.group(0, &["b"], &[data("q", "eu", 18)]).await;
    world.run(&world.base(), vec![second]).await.unwrap();
    assert!(world.delete_paths().await.is_empty());
}
