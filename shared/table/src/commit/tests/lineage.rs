//! Format version 3: row ids through commits, and deletion vectors.

use std::collections::BTreeMap;

use iceberg::{
    TableUpdate,
    spec::{FormatVersion, ManifestStatus},
};

use super::{
    validation::reason,
    world::{Foreign, World, data, vector},
};

async fn upgrade(world: &World, format_version: FormatVersion) {
    let update = TableUpdate::UpgradeFormatVersion { format_version };
    world.change(vec![update]).await;
}

/// Checks what holds for every state: each live data file has ids, no id is given out twice, none is beyond the table's
/// next, and the snapshot accounts for those that it gave out.
async fn check_ids(world: &World) -> BTreeMap<String, i64> {
    let loaded = world.loaded();
    let metadata = &loaded.metadata;
    let (live, _) = world.live().await;
    let ids = world.row_ids().await;
    let mut ranges = Vec::new();
    for seen in live {
        let first = ids[&seen.path].unwrap_or_else(|| panic!("{} has no row ids", seen.path));
        ranges.push((first, first + seen.rows as i64));
    }
    ranges.sort_unstable();
    assert!(
        ranges.windows(2).all(|pair| pair[0].1 <= pair[1].0),
        "ids given out twice: {ranges:?}"
    );
    let next = metadata.next_row_id() as i64;
    assert!(ranges.iter().all(|(_, end)| *end <= next), "{ranges:?}");
    let snapshot = metadata.current_snapshot().unwrap();
    let (first, added) = snapshot.row_range().unwrap();
    assert_eq!((first + added) as i64, next);
    ids.into_iter()
        .map(|(path, id)| (path, id.unwrap()))
        .collect()
}

/// Failed where entries were carried over as their manifest had them: `b` and `c`, which inherited their ids, got new ones
/// from the new manifest.
#[tokio::test]
async fn c24_manifests_written_anew_keep_every_row_id() {
    let world = World::new(FormatVersion::V3);
    let files = ["a", "b", "c", "d"].map(|path| data(path, "eu", 10));
    world.append(&files).await;
    world
        .append(&[data("e", "eu", 7), data("f", "us", 5)])
        .await;
    let before = check_ids(&world).await;
    assert_eq!(before["c"], 20);

    let group = world.group(0, &["a"], &[data("o1", "eu", 10)]).await;
    world.run(&world.base(), vec![group]).await.unwrap();
    let after = check_ids(&world).await;
    for path in ["b", "c", "d", "e", "f"] {
        assert_eq!(after[path], before[path], "{path}");
    }
    // The new file's rows carry their ids with them; what it is given itself is new.
    assert!(after["o1"] >= 52, "{after:?}");

    // And again, from a manifest whose entries have ids of their own; another writer takes files out too.
    let removed = Foreign {
        removed: vec!["e".to_owned()],
        ..Foreign::default()
    };
    world.commit(removed).await;
    let group = world.group(0, &["c", "o1"], &[data("o2", "eu", 20)]).await;
    let process = "p2".into();
    let world = World { process, ..world };
    world.run(&world.base(), vec![group]).await.unwrap();
    let last = check_ids(&world).await;
    for path in ["b", "d", "f"] {
        assert_eq!(last[path], before[path], "{path}");
    }

    // Tombstones keep the ids too: whoever asks what a snapshot changed finds the rows.
    let loaded = world.loaded();
    let mut tombstones = 0;
    for file in world.list_of(&loaded).await {
        for (status, path, id) in world.entries_of(&file).await {
            if status == ManifestStatus::Deleted && path == "c" {
                assert_eq!(id, Some(before["c"]));
                tombstones += 1;
            }
        }
    }
    assert_eq!(tombstones, 1);
}

/// A table that was written as v1 and v2 before: whether or not a v3 commit came before ours, all files have ids after it.
/// Failed where manifests carried over as they are kept no id.
#[tokio::test]
async fn c22_the_first_commit_after_an_upgrade_gives_ids_to_all() {
    for start in [FormatVersion::V1, FormatVersion::V2] {
        for writes_as_v3 in [false, true] {
            let world = World::new(start);
            world
                .append(&[data("a", "eu", 10), data("b", "eu", 3)])
                .await;
            upgrade(&world, FormatVersion::V2).await;
            world.append(&[data("c", "eu", 10)]).await;
            upgrade(&world, FormatVersion::V3).await;
            assert!(world.row_ids().await.values().all(Option::is_none));
            if writes_as_v3 {
                world.append(&[data("d", "us", 4)]).await;
                check_ids(&world).await;
            }
            let before = world.row_ids().await;
            let group = world.group(0, &["a"], &[data("o", "eu", 10)]).await;
            assert_eq!(group.group.inputs[0].first_row_id.is_some(), writes_as_v3);
            world.run(&world.base(), vec![group]).await.unwrap();
            let after = check_ids(&world).await;
            if writes_as_v3 {
                assert_eq!(
                    [after["b"], after["c"]],
                    [before["b"].unwrap(), before["c"].unwrap()]
                );
            }
        }
    }
}

/// The plan saw no ids; while the files were rewritten another writer committed as v3, and the rows have ids now that the
/// new file knows nothing of. Failed where inputs were compared without their ids, and where manifests of an earlier try
/// were remembered by their path alone.
#[tokio::test]
async fn c22_rows_that_got_ids_during_the_rewrite_are_not_replaced() {
    for rival_during_the_swap in [false, true] {
        let world = World::new(FormatVersion::V2);
        world
            .append(&[data("a", "eu", 10), data("b", "eu", 10)])
            .await;
        upgrade(&world, FormatVersion::V3).await;
        let base = world.base();
        let group = world.group(0, &["a"], &[data("o", "eu", 10)]).await;
        let foreign = Foreign {
            data: vec![data("c", "eu", 10)],
            ..Foreign::default()
        };
        if rival_during_the_swap {
            world.rival(foreign).await;
        } else {
            world.commit(foreign).await;
        }
        let failure = world.run(&base, vec![group]).await.unwrap_err();
        assert!(reason(failure).contains("other ids now"));
        assert_eq!(world.data_paths().await, ["a", "b", "c"]);
        let group = world.group(0, &["a"], &[data("o2", "eu", 10)]).await;
        world.run(&world.base(), vec![group]).await.unwrap();
        check_ids(&world).await;
    }
}

/// The upgrade is no snapshot, and no row has an id before the next one: but what was written for version 2 does not say
/// when each row last changed, and would give all rows the number that the plan began with.
#[tokio::test]
async fn c22_rows_written_for_version_2_are_not_committed_to_a_table_upgraded_since() {
    let world = World::new(FormatVersion::V2);
    world.append(&[data("a", "eu", 10)]).await;
    world.append(&[data("b", "eu", 10)]).await;
    let base = world.base();
    let group = world.group(0, &["a"], &[data("o", "eu", 10)]).await;
    upgrade(&world, FormatVersion::V3).await;
    let failure = world.run(&base, vec![group]).await.unwrap_err();
    assert!(reason(failure).contains("was upgraded to format version 3"));
    assert_eq!(world.data_paths().await, ["a", "b"]);
    // The next plan is of version 3, and from 1 to 2 nothing changes for rows.
    let group = world.group(0, &["a"], &[data("o2", "eu", 10)]).await;
    world.run(&world.base(), vec![group]).await.unwrap();
    check_ids(&world).await;
    let world = World::new(FormatVersion::V1);
    world.append(&[data("a", "eu", 10)]).await;
    let base = world.base();
    let group = world.group(0, &["a"], &[data("o", "eu", 10)]).await;
    upgrade(&world, FormatVersion::V2).await;
    world.run(&base, vec![group]).await.unwrap();
    assert_eq!(world.data_paths().await, ["o"]);
}

/// What happened between the plan and now does not matter, only what is live: `b`'s vector was replaced twice, and two
/// vectors of one file stand in the history. Failed (the group of `c` too) where every delete file that came after the
/// plan was looked at, live or not.
#[tokio::test]
async fn c16_a_vector_replaced_twice_stops_only_the_group_that_it_hits() {
    let world = World::new(FormatVersion::V3);
    world
        .append(&["a", "b", "c", "d"].map(|path| data(path, "eu", 10)))
        .await;
    world
        .delete(&[
            vector("a.puffin", "eu", "a", 4),
            vector("b1.puffin", "eu", "b", 4),
        ])
        .await;
    let base = world.base();
    let outputs = [
        data("oa", "eu", 9),
        data("ob", "eu", 9),
        data("oc", "eu", 10),
    ];
    let mut groups = Vec::new();
    for (path, output) in ["a", "b", "c"].iter().zip(&outputs) {
        let outputs = std::slice::from_ref(output);
        let group = world.group(groups.len() as u32, &[path], outputs).await;
        groups.push(group);
    }
    for number in 1..3 {
        let foreign = Foreign {
            deletes: vec![vector(&format!("b{}.puffin", number + 1), "eu", "b", 4)],
            removed: vec![format!("b{number}.puffin")],
            ..Foreign::default()
        };
        world.commit(foreign).await;
    }
    let outcome = world.run(&base, groups).await.unwrap();
    assert_eq!(outcome.committed, [0, 2]);
    assert!(
        outcome.dropped[0]
            .reason
            .contains("b3.puffin deletes rows of b")
    );
    assert_eq!(world.data_paths().await, ["b", "d", "oa", "oc"]);
    // C15: one live vector a file, and none of a file that is gone.
    assert_eq!(world.delete_paths().await, ["b3.puffin"]);
    assert_eq!(outcome.removed_delete_files, 1);
    check_ids(&world).await;
    let loaded = world.loaded();
    let summary = &loaded
        .metadata
        .current_snapshot()
        .unwrap()
        .summary()
        .additional_properties;
    assert_eq!(summary["removed-dvs"], "1");
    assert!(!summary.contains_key("removed-position-delete-files"));
    // Of the Puffin file only the vector's own part counts: 2 × 101 bytes and 40 go, 92 and 101 come.
    assert_eq!(summary["removed-files-size"], "242");
}
