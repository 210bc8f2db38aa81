//! Light groups: delete files written anew beside data files that stay.

use std::collections::HashMap;

use iceberg::spec::{
    DataContentType, DataFile, DataFileFormat, FormatVersion, Operation,
    serialize_data_file_to_json,
};
use icepress_model::{Rows, Tier};

use super::{
    number,
    world::{Foreign, World, data, equality_deletes, file},
};
use crate::commit::{CommitFailure, FinishedGroup};

/// Files a and b in eu, c in us, all of snapshot 1.
async fn three_files(version: FormatVersion) -> World {
    let world = World::new(version);
    world
        .append(&[
            data("a", "eu", 10),
            data("b", "eu", 20),
            data("c", "us", 30),
        ])
        .await;
    world
}

fn added(files: Vec<DataFile>) -> Foreign {
    Foreign {
        deletes: files,
        ..Foreign::default()
    }
}

/// A position delete file about one data file of eu, by another writer.
fn positions_of(world: &World, path: &str, about: &str, rows: &[i64]) -> DataFile {
    let named: Vec<(&str, i64)> = rows.iter().map(|row| (about, *row)).collect();
    let mut delete = world.position_deletes(path, "eu", &named);
    delete.referenced_data_file(Some(about.to_owned()));
    delete.build().unwrap()
}

/// A new delete file of ours about one data file.
fn output(path: &str, about: &str, rows: u64) -> DataFile {
    file(path, "eu", rows)
        .content(DataContentType::PositionDeletes)
        .referenced_data_file(Some(about.to_owned()))
        .build()
        .unwrap()
}

/// A vector, of ours or of another writer.
fn vector(path: &str, offset: i64, about: &str, rows: u64) -> DataFile {
    file(path, "eu", rows)
        .content(DataContentType::PositionDeletes)
        .file_format(DataFileFormat::Puffin)
        .file_size_in_bytes(200)
        .referenced_data_file(Some(about.to_owned()))
        .content_offset(Some(offset))
        .content_size_in_bytes(Some(40))
        .build()
        .unwrap()
}

/// A finished light group: its inputs with the paths of the delete files that each was told.
async fn light(
    world: &World,
    index: u32,
    inputs: &[(&str, &[&str])],
    outputs: &[DataFile],
) -> FinishedGroup {
    let paths: Vec<&str> = inputs.iter().map(|(path, _)| *path).collect();
    let mut finished = world.group(index, &paths, &[]).await;
    finished.group.tier = Tier::Light;
    let place_of: HashMap<String, u32> = finished
        .group
        .deletes
        .iter()
        .map(|delete| delete.path.clone())
        .zip(0..)
        .collect();
    for (input, (_, told)) in finished.group.inputs.iter_mut().zip(inputs) {
        input.deletes = told.iter().map(|path| place_of[*path]).collect();
    }
    let metadata = &world.loaded().metadata;
    let spec = metadata.partition_spec_by_id(finished.group.spec_id.get());
    let partition = spec
        .unwrap()
        .partition_type(metadata.current_schema())
        .unwrap();
    let version = metadata.format_version();
    for output in outputs {
        let size = output.file_size_in_bytes() as usize;
        world.storage.insert(output.file_path(), vec![1; size]);
        let json = serialize_data_file_to_json(output.clone(), &partition, version).unwrap();
        let json = serde_json::from_str(&json).unwrap();
        finished.result.delete_files.push(json);
    }
    let hidden: u64 = outputs.iter().map(DataFile::record_count).sum();
    finished.result.rows_deleted = Rows(hidden);
    finished.result.rows_out = finished.result.rows_in.saturating_sub(Rows(hidden));
    finished
}

async fn refusals(world: &World, base: &icepress_model::BaseState, group: FinishedGroup) -> String {
    match world.run(base, vec![group]).await.unwrap_err() {
        failure @ CommitFailure::NothingLeft { .. } => failure.to_string(),
        other => panic!("{other}"),
    }
}

/// Written at the commit's own number the file would be one newer than all data, as a late delete is; at the data file's
/// number a reader that asks for greater ones would miss it.
#[tokio::test]
async fn c09_merged_position_deletes_take_the_greatest_number_of_what_they_replace() {
    let world = three_files(FormatVersion::V2).await;
    world.delete(&[positions_of(&world, "p1", "a", &[1])]).await;
    world
        .delete(&[positions_of(&world, "p2", "a", &[2, 3])])
        .await;
    world.append(&[data("d", "us", 5)]).await;
    let base = world.base();
    let before = world.live().await.0;
    let group = light(&world, 0, &[("a", &["p1", "p2"])], &[output("n", "a", 3)]).await;
    let outcome = world.run(&base, vec![group]).await.unwrap();
    assert_eq!(outcome.committed, [0]);
    assert_eq!(outcome.removed_delete_files, 2);

    let (after, deletes) = world.live().await;
    assert_eq!(after, before, "data files keep their entries");
    assert_eq!(deletes.len(), 1);
    assert_eq!((deletes[0].path.as_str(), deletes[0].rows), ("n", 3));
    assert_eq!(
        (deletes[0].sequence_number, deletes[0].file_sequence_number),
        (3, 5)
    );
    let loaded = world.loaded();
    let snapshot = loaded.metadata.current_snapshot().unwrap();
    assert_eq!(snapshot.summary().operation, Operation::Replace);
    let expected = [
        ("added-delete-files", 1),
        ("added-position-delete-files", 1),
        ("added-position-deletes", 3),
        ("removed-delete-files", 2),
        ("removed-position-delete-files", 2),
        ("removed-position-deletes", 3),
        ("added-records", 0),
        ("deleted-records", 0),
        ("total-delete-files", 1),
        ("total-position-deletes", 3),
        ("total-records", 65),
    ];
    for (key, value) in expected {
        assert_eq!(number(&loaded, key), value, "{key}");
    }
}

/// A commit that removes the equality delete it converted, and looks no further, brings back the rows of b.
#[tokio::test]
async fn c46_a_converted_equality_delete_goes_when_every_older_file_was_told() {
    let world = three_files(FormatVersion::V2).await;
    world.delete(&[equality_deletes("e", "eu", 1)]).await;
    world.append(&[data("newer", "eu", 7)]).await;
    let base = world.base();
    // Of two files of the partition one was told: the group would only add a file.
    let half = light(&world, 0, &[("a", &["e"])], &[output("n", "a", 1)]).await;
    let reason = refusals(&world, &base, half.clone()).await;
    assert!(reason.contains("still"), "{reason}");
    assert_eq!(world.delete_paths().await, ["e"]);

    let rest = light(&world, 1, &[("b", &["e"])], &[]).await;
    let outcome = world.run(&base, vec![half, rest]).await.unwrap();
    assert_eq!(outcome.committed, [0, 1]);
    let (data, deletes) = world.live().await;
    assert_eq!(data.len(), 4);
    assert_eq!(deletes.len(), 1);
    // A compactor that began before the equality delete came must see that something was deleted since.
    let loaded = world.loaded();
    let snapshot = loaded.metadata.current_snapshot().unwrap();
    assert_eq!(snapshot.summary().operation, Operation::Overwrite);
    assert_eq!(
        (deletes[0].path.as_str(), deletes[0].sequence_number),
        ("n", 2)
    );
}

/// Another compactor that began before the delete commits its output at the number that it began with: the delete applies
/// to that output, and to it alone now.
#[tokio::test]
async fn c46_a_converted_equality_delete_stays_for_a_file_that_came_with_an_older_number() {
    let world = three_files(FormatVersion::V2).await;
    world.delete(&[equality_deletes("e", "eu", 1)]).await;
    let base = world.base();
    let inputs: &[(&str, &[&str])] = &[("a", &["e"]), ("b", &["e"])];
    let group = light(&world, 0, inputs, &[output("n", "a", 1)]).await;
    let backdated = Foreign {
        data: vec![data("old", "eu", 9)],
        sequence_number: Some(1),
        ..Foreign::default()
    };
    world.rival(backdated).await;
    let reason = refusals(&world, &base, group).await;
    assert!(reason.contains("still"), "{reason}");
    assert_eq!(world.delete_paths().await, ["e"]);
}

/// An equality delete of a spec without fields, which the table gets.
async fn global(world: &World, path: &str) -> DataFile {
    let spec = iceberg::spec::UnboundPartitionSpec::builder().build();
    let add_spec = iceberg::TableUpdate::AddSpec { spec };
    world.change(vec![add_spec]).await;
    file(path, "eu", 1)
        .content(DataContentType::EqualityDeletes)
        .equality_ids(Some(vec![1]))
        .partition(iceberg::spec::Struct::empty())
        .partition_spec_id(1)
        .build()
        .unwrap()
}

/// All data files are told something, and none of them of a delete that came since: it is not of their partitions, and
/// applies to all of them. Failed (its rows came back) where only data files of its own partition were asked.
#[tokio::test]
async fn c46_a_global_equality_delete_that_came_later_stays() {
    let world = three_files(FormatVersion::V2).await;
    let late = global(&world, "late").await;
    world.delete(&[equality_deletes("e", "eu", 1)]).await;
    world.delete(&[equality_deletes("f", "us", 1)]).await;
    let base = world.base();
    let eu: &[(&str, &[&str])] = &[("a", &["e"]), ("b", &["e"])];
    let eu = light(&world, 0, eu, &[output("n", "b", 1)]).await;
    let us = light(&world, 1, &[("c", &["f"])], &[]).await;
    world.rival(added(vec![late])).await;
    let outcome = world.run(&base, vec![eu, us]).await.unwrap();
    assert_eq!(outcome.committed, [0, 1]);
    assert_eq!(world.delete_paths().await, ["late", "n"]);
}

/// The data of the very commit that brought an equality delete is not older than it: it holds no such delete back.
#[tokio::test]
async fn c10_a_converted_equality_delete_goes_beside_data_of_its_own_number() {
    let world = three_files(FormatVersion::V2).await;
    world
        .commit(Foreign {
            data: vec![data("d", "eu", 5)],
            deletes: vec![equality_deletes("e", "eu", 1)],
            ..Foreign::default()
        })
        .await;
    world.delete(&[positions_of(&world, "p", "d", &[1])]).await;
    let base = world.base();
    let inputs: &[(&str, &[&str])] = &[("a", &["e"]), ("b", &["e"]), ("d", &["p"])];
    let outputs = [output("n", "a", 1), output("m", "d", 1)];
    let group = light(&world, 0, inputs, &outputs).await;
    world.run(&base, vec![group]).await.unwrap();
    assert_eq!(world.delete_paths().await, ["m", "n"]);
}

/// A position delete that is older than a data file says nothing of it, whatever a plan may have made of it.
#[tokio::test]
async fn c10_a_new_delete_file_that_would_not_apply_is_refused() {
    let world = three_files(FormatVersion::V2).await;
    world.delete(&[positions_of(&world, "p", "a", &[1])]).await;
    world.append(&[data("d", "eu", 5)]).await;
    let base = world.base();
    let group = light(&world, 0, &[("d", &["p"])], &[output("n", "d", 1)]).await;
    let reason = refusals(&world, &base, group).await;
    assert!(reason.contains("would not apply to d"), "{reason}");
}

/// Beside a vector readers don't look at position delete files: those of before an upgrade go, although nobody was told
/// what they say of a file that had a vector by then.
#[tokio::test]
async fn c15_position_deletes_that_a_vector_took_the_place_of_hold_nothing_back() {
    let world = three_files(FormatVersion::V2).await;
    let both = world.position_deletes("both", "eu", &[("a", 1), ("b", 2)]);
    world.delete(&[both.build().unwrap()]).await;
    let update = iceberg::TableUpdate::UpgradeFormatVersion {
        format_version: FormatVersion::V3,
    };
    world.change(vec![update]).await;
    world.delete(&[vector("v", 4, "a", 2)]).await;
    world.delete(&[equality_deletes("e", "eu", 1)]).await;
    let base = world.base();
    let inputs: &[(&str, &[&str])] = &[("a", &["v", "e"]), ("b", &["both", "e"])];
    let outputs = [vector("n", 4, "a", 3), vector("n", 44, "b", 2)];
    let group = light(&world, 0, inputs, &outputs).await;
    world.run(&base, vec![group]).await.unwrap();
    assert_eq!(world.delete_paths().await, ["n", "n"]);
}

/// An equality delete of an unpartitioned spec reaches into every partition: done in one, it is still needed in others.
#[tokio::test]
async fn c46_a_global_equality_delete_goes_when_every_partition_was_told() {
    let world = three_files(FormatVersion::V2).await;
    let global = global(&world, "g").await;
    world.delete(&[global]).await;
    let base = world.base();
    let eu: &[(&str, &[&str])] = &[("a", &["g"]), ("b", &["g"])];
    let eu = light(&world, 0, eu, &[output("n", "b", 1)]).await;
    let reason = refusals(&world, &base, eu.clone()).await;
    assert!(reason.contains("still"), "{reason}");
    let us = light(&world, 1, &[("c", &["g"])], &[]).await;
    let outcome = world.run(&base, vec![eu, us]).await.unwrap();
    assert_eq!(outcome.committed, [0, 1]);
    assert_eq!(world.delete_paths().await, ["n"]);
}

/// One file for both: its number is the greatest of all that it replaces, and it counts for each that had deletes.
#[tokio::test]
async fn c09_a_shared_position_delete_file_takes_the_place_of_those_of_all_its_files() {
    let world = three_files(FormatVersion::V2).await;
    world.delete(&[equality_deletes("e", "eu", 1)]).await;
    world.delete(&[positions_of(&world, "p", "b", &[2])]).await;
    let base = world.base();
    let before = world.live().await.0;
    let shared = |rows: u64| {
        let mut file = file("n", "eu", rows);
        file.content(DataContentType::PositionDeletes);
        file.build().unwrap()
    };
    let inputs: &[(&str, &[&str])] = &[("a", &["e"]), ("b", &["e", "p"])];
    let refused = async |group: FinishedGroup| refusals(&world, &base, group).await;
    let reason = refused(light(&world, 0, inputs, &[shared(31)]).await).await;
    assert!(reason.contains("hides 31 of the 30 rows"), "{reason}");
    let both = [shared(3), output("m", "a", 1)];
    let reason = refused(light(&world, 0, inputs, &both).await).await;
    assert!(reason.contains("two of its new delete files"), "{reason}");
    let untold = [("a", &[][..])];
    let reason = refused(light(&world, 0, &untold, &[shared(3)]).await).await;
    assert!(reason.contains("none of its data files"), "{reason}");

    let group = light(&world, 0, inputs, &[shared(3)]).await;
    let outcome = world.run(&base, vec![group]).await.unwrap();
    assert_eq!(outcome.removed_delete_files, 2);
    let (after, deletes) = world.live().await;
    assert_eq!(after, before, "data files keep their entries");
    let seen: Vec<_> = deletes
        .iter()
        .map(|delete| (delete.path.as_str(), delete.rows, delete.sequence_number))
        .collect();
    assert_eq!(seen, [("n", 3, 3)]);
}

/// A light group touches no row: that its rows got ids meanwhile is no conflict.
#[tokio::test]
async fn c16_rows_that_got_ids_meanwhile_stop_no_light_group() {
    let world = three_files(FormatVersion::V2).await;
    world.delete(&[equality_deletes("e", "eu", 1)]).await;
    let update = iceberg::TableUpdate::UpgradeFormatVersion {
        format_version: FormatVersion::V3,
    };
    world.change(vec![update]).await;
    let base = world.base();
    let inputs: &[(&str, &[&str])] = &[("a", &["e"]), ("b", &["e"])];
    let group = light(&world, 0, inputs, &[vector("n", 4, "a", 1)]).await;
    world.append(&[data("d", "us", 5)]).await;
    let outcome = world.run(&base, vec![group]).await.unwrap();
    assert_eq!(outcome.committed, [0]);
    assert_eq!(world.delete_paths().await, ["n"]);
}

/// What came later is no matter of ours before format version 3: it applies beside the new file.
#[tokio::test]
async fn c03_c10_later_deletes_stay_and_apply_beside_the_new_ones() {
    let world = three_files(FormatVersion::V2).await;
    world.delete(&[equality_deletes("e", "eu", 1)]).await;
    let base = world.base();
    let inputs: &[(&str, &[&str])] = &[("a", &["e"]), ("b", &["e"])];
    let group = light(&world, 0, inputs, &[output("n", "a", 1)]).await;
    world
        .rival(added(vec![
            positions_of(&world, "late", "a", &[5]),
            equality_deletes("later", "eu", 1),
        ]))
        .await;
    let outcome = world.run(&base, vec![group]).await.unwrap();
    assert_eq!(outcome.committed, [0]);
    assert!(outcome.rebased);
    assert_eq!(world.delete_paths().await, ["late", "later", "n"]);
}

/// Many data files, one delete file that names two of them: it stays until both were told.
#[tokio::test]
async fn c07_a_position_delete_file_stays_while_a_file_that_it_names_was_not_told() {
    let world = three_files(FormatVersion::V2).await;
    let both = world.position_deletes("p", "eu", &[("a", 1), ("b", 2)]);
    let single = positions_of(&world, "q", "a", &[3]);
    world.delete(&[both.build().unwrap()]).await;
    world.delete(&[single]).await;
    let base = world.base();
    let group = light(&world, 0, &[("a", &["p", "q"])], &[output("n", "a", 2)]).await;
    let outcome = world.run(&base, vec![group]).await.unwrap();
    assert_eq!(outcome.removed_delete_files, 1);
    assert_eq!(world.delete_paths().await, ["n", "p"]);

    let world = World {
        process: "p2".into(),
        ..world
    };
    let base = world.base();
    let inputs: &[(&str, &[&str])] = &[("a", &["n", "p"]), ("b", &["p"])];
    let outputs = [output("n1", "a", 2), output("n2", "b", 1)];
    let group = light(&world, 0, inputs, &outputs).await;
    world.run(&base, vec![group]).await.unwrap();
    assert_eq!(world.delete_paths().await, ["n1", "n2"]);
}

/// One snapshot with both tiers: what they share goes, and nothing is left that points at a file that is gone.
#[tokio::test]
async fn c17_full_and_light_groups_together_leave_no_dangling_delete() {
    let world = three_files(FormatVersion::V2).await;
    world.delete(&[equality_deletes("e", "eu", 1)]).await;
    world.delete(&[positions_of(&world, "p", "a", &[1])]).await;
    let base = world.base();
    let full = world.group(0, &["a"], &[data("o", "eu", 8)]).await;
    let beside = light(&world, 1, &[("b", &["e"])], &[output("n", "b", 1)]).await;
    let outcome = world.run(&base, vec![full, beside]).await.unwrap();
    assert_eq!(outcome.committed, [0, 1]);
    assert_eq!(world.data_paths().await, ["b", "c", "o"]);
    assert_eq!(world.delete_paths().await, ["n"]);

    // Where the full group loses, the equality delete must stay, and the light group is put off with it.
    let world = three_files(FormatVersion::V2).await;
    world.delete(&[equality_deletes("e", "eu", 1)]).await;
    world.delete(&[positions_of(&world, "p", "a", &[1])]).await;
    let base = world.base();
    let full = world.group(0, &["a"], &[data("o", "eu", 8)]).await;
    let beside = light(&world, 1, &[("b", &["e"])], &[output("n", "b", 1)]).await;
    world
        .rival(added(vec![positions_of(&world, "late", "a", &[5])]))
        .await;
    match world.run(&base, vec![full, beside]).await.unwrap_err() {
        CommitFailure::NothingLeft {
            dropped,
            unused_files,
            ..
        } => {
            assert!(dropped[0].reason.contains("late"), "{dropped:?}");
            assert!(dropped[1].reason.contains("still"), "{dropped:?}");
            assert_eq!(unused_files, ["o", "n"]);
        }
        other => panic!("{other}"),
    }
    assert_eq!(world.delete_paths().await, ["e", "late", "p"]);
}

#[tokio::test]
async fn a_delete_file_that_was_read_and_is_gone_fails_the_group() {
    let world = three_files(FormatVersion::V2).await;
    world.delete(&[positions_of(&world, "p", "a", &[1])]).await;
    world.delete(&[positions_of(&world, "q", "a", &[2])]).await;
    let base = world.base();
    let group = light(&world, 0, &[("a", &["p", "q"])], &[output("n", "a", 2)]).await;
    let gone = Foreign {
        removed: vec!["q".to_owned()],
        ..Foreign::default()
    };
    world.rival(gone).await;
    let reason = refusals(&world, &base, group).await;
    assert!(
        reason.contains("q is not in the table any more"),
        "{reason}"
    );
}

/// On format version 3 one vector a data file is all that readers look at.
#[tokio::test]
async fn c15_a_new_vector_takes_the_place_of_the_old_one_and_of_position_deletes() {
    let world = three_files(FormatVersion::V3).await;
    world
        .delete(&[vector("v", 4, "a", 2), vector("v", 44, "b", 1)])
        .await;
    world.delete(&[equality_deletes("e", "eu", 1)]).await;
    let base = world.base();
    let mut group = light(
        &world,
        0,
        &[("a", &[]), ("b", &[])],
        &[vector("n", 4, "a", 3), vector("n", 44, "b", 1)],
    )
    .await;
    // Both vectors have one path: their places tell them apart (C49).
    let deletes = &group.group.deletes;
    let place = |about: &str| {
        let found = deletes
            .iter()
            .position(|delete| delete.referenced_data_file.as_deref() == Some(about));
        found.unwrap() as u32
    };
    let equality = deletes
        .iter()
        .position(|delete| delete.path == "e")
        .unwrap() as u32;
    let told = [vec![place("a"), equality], vec![place("b"), equality]];
    for (input, told) in group.group.inputs.iter_mut().zip(told) {
        input.deletes = told;
    }
    let outcome = world.run(&base, vec![group.clone()]).await.unwrap();
    assert_eq!(outcome.removed_delete_files, 3);
    let deletes = world.live().await.1;
    let seen: Vec<_> = deletes
        .iter()
        .map(|seen| (seen.path.as_str(), seen.rows, seen.sequence_number))
        .collect();
    assert_eq!(seen, [("n", 1, 3), ("n", 3, 3)]);
    let loaded = world.loaded();
    for (key, value) in [
        ("added-dvs", 2),
        ("removed-dvs", 2),
        ("total-position-deletes", 4),
    ] {
        assert_eq!(number(&loaded, key), value, "{key}");
    }

    // A vector with fewer rows than the one that it replaces brings rows back.
    let world = three_files(FormatVersion::V3).await;
    world.delete(&[vector("v", 4, "a", 2)]).await;
    let base = world.base();
    let fewer = light(&world, 0, &[("a", &["v"])], &[vector("n", 4, "a", 1)]).await;
    let reason = refusals(&world, &base, fewer).await;
    assert!(reason.contains("2 were hidden before"), "{reason}");
}

/// Added beside the late one, the vector would hide its rows, or be the second of two.
#[tokio::test]
async fn c15_a_vector_or_position_delete_that_came_later_fails_the_group() {
    for is_vector in [true, false] {
        let world = three_files(FormatVersion::V3).await;
        world.delete(&[equality_deletes("e", "eu", 1)]).await;
        let base = world.base();
        let inputs: &[(&str, &[&str])] = &[("a", &["e"]), ("b", &["e"])];
        let group = light(&world, 0, inputs, &[vector("n", 4, "a", 1)]).await;
        let late = if is_vector {
            vector("late", 4, "a", 1)
        } else {
            positions_of(&world, "late", "a", &[5])
        };
        world.rival(added(vec![late])).await;
        let reason = refusals(&world, &base, group).await;
        assert!(reason.contains("late deletes rows of a"), "{reason}");
    }
}

/// What an optimizer reports is checked against the table before it counts.
#[tokio::test]
async fn results_that_contradict_the_table_are_refused() {
    let world = three_files(FormatVersion::V2).await;
    world.delete(&[positions_of(&world, "p", "a", &[1])]).await;
    world.delete(&[positions_of(&world, "q", "a", &[2])]).await;
    let base = world.base();
    let good = || light(&world, 0, &[("a", &["p", "q"])], &[]);
    let with = |outputs: Vec<DataFile>| {
        let world = &world;
        async move { light(world, 0, &[("a", &["p", "q"])], &outputs).await }
    };
    let refused = |group: FinishedGroup| refusals(&world, &base, group);

    let reason = refused(with(vec![output("n", "b", 2)]).await).await;
    assert!(reason.contains("none of its data files"), "{reason}");
    let twice = vec![output("n", "a", 1), output("m", "a", 1)];
    let reason = refused(with(twice).await).await;
    assert!(reason.contains("two of its new delete files"), "{reason}");
    let reason = refused(with(vec![vector("n", 4, "a", 2)]).await).await;
    assert!(reason.contains("format version has none"), "{reason}");
    let reason = refused(with(vec![output("p", "a", 2)]).await).await;
    assert!(reason.contains("in the table already"), "{reason}");
    let reason = refused(with(vec![output("n", "a", 11)]).await).await;
    assert!(reason.contains("hides 11 of the 10 rows"), "{reason}");
    let mut miscounted = with(vec![output("n", "a", 2)]).await;
    miscounted.result.rows_deleted = Rows(1);
    assert!(refused(miscounted).await.contains("refused"));
    let mut another = with(vec![output("n", "a", 2)]).await;
    another.group.deletes[1].rows = Rows(2);
    let reason = refused(another).await;
    assert!(reason.contains("another file now"), "{reason}");
    let mut with_data = good().await;
    let spare = world.group(0, &["a"], &[data("o", "eu", 8)]).await;
    with_data.result.data_files = spare.result.data_files;
    assert!(refused(with_data).await.contains("new data files"));
    let untold = light(&world, 0, &[("a", &[])], &[output("n", "a", 2)]).await;
    assert!(refused(untold).await.contains("no delete file was about"));
    let missing = with(vec![output("n", "a", 2)]).await;
    world.storage.insert("n", vec![1; 3]);
    assert!(refused(missing).await.contains("3 bytes"));
}
