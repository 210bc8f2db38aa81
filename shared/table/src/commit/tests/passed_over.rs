//! Manifests that a commit carries over by name: none of its rules asks about what is in them. Here they are not even there.

use iceberg::spec::FormatVersion;
use icepress_model::BaseState;

use super::{
    number,
    world::{Foreign, World, data, equality_deletes},
};
use crate::{
    commit::{CommitFailure, CommitOutcome},
    manifests::{Compression, ManifestSettings, Version, listed_at, write_manifest_list},
};

/// A table whose last commit was ours, so that its summary has all totals; and the state that the next one is planned on.
async fn planned(version: FormatVersion) -> (World, BaseState) {
    let mut world = World::new(version);
    world
        .append(&[data("a", "eu", 1), data("b", "eu", 2)])
        .await;
    world.append(&[data("c", "eu", 4)]).await;
    world
        .append(&[data("d", "us", 8), data("e", "us", 16)])
        .await;
    let group = world.group(0, &["a"], &[data("o", "eu", 1)]).await;
    world.run(&world.base(), vec![group]).await.unwrap();
    world.process.0 = "p2".to_owned();
    let base = world.base();
    (world, base)
}

/// Takes the manifest with this data file away.
async fn take_manifest_of(world: &World, path: &str) {
    for (manifest, entries) in world.manifests_of(&world.loaded()).await {
        if entries.iter().any(|entry| entry.file_path() == path) {
            world.storage.remove(&manifest.manifest_path);
        }
    }
}

async fn replace_b(
    world: &World,
    base: &BaseState,
    lost: &str,
) -> Result<CommitOutcome, CommitFailure> {
    let group = world.group(0, &["b"], &[data("p", "eu", 2)]).await;
    take_manifest_of(world, lost).await;
    world.run(base, vec![group]).await
}

#[tokio::test]
async fn manifests_of_other_partitions_are_not_looked_into() {
    for version in [FormatVersion::V2, FormatVersion::V3] {
        let (world, base) = planned(version).await;
        let listed = world.list_of(&world.loaded()).await;
        let outcome = replace_b(&world, &base, "d").await.unwrap();
        assert_eq!(outcome.committed, [0]);
        let after = world.loaded();
        assert_eq!(number(&after, "total-records"), 31);
        assert_eq!(number(&after, "total-data-files"), 5);
        // What was not looked into is listed as it was.
        let of_us = |path: &str| path.contains("foreign") && path.ends_with("-1.avro");
        let carried = world.list_of(&after).await;
        let same = |old: &&iceberg::spec::ManifestFile| carried.contains(old);
        assert!(
            listed
                .iter()
                .filter(same)
                .any(|file| of_us(&file.manifest_path))
        );
    }
    // Version 1 does not say when a manifest came.
    let (world, base) = planned(FormatVersion::V1).await;
    assert!(replace_b(&world, &base, "d").await.is_err());
}

/// New files of a process whose commit was forgotten can only be in manifests that came after its plan.
#[tokio::test]
async fn what_came_after_the_plan_is_looked_into_whatever_its_partition() {
    let (world, base) = planned(FormatVersion::V2).await;
    world.append(&[data("f", "us", 32)]).await;
    assert!(replace_b(&world, &base, "f").await.is_err());
}

/// Whether a delete file is needed still is a question to all data files.
#[tokio::test]
async fn where_deletes_are_live_everything_is_looked_into() {
    let (world, _) = planned(FormatVersion::V2).await;
    world.delete(&[equality_deletes("q", "us", 1)]).await;
    assert!(replace_b(&world, &world.base(), "d").await.is_err());
}

/// Bounds that exclude an input are wrong, and no reason to take it for removed.
#[tokio::test]
async fn an_input_that_lies_out_of_its_manifests_bounds_is_found() {
    let (mut world, base) = planned(FormatVersion::V2).await;
    let group = world.group(0, &["b"], &[data("p", "eu", 2)]).await;
    let loaded = world.loaded();
    let snapshot = loaded.metadata.current_snapshot().unwrap();
    let list = snapshot.manifest_list();
    let storage = world.storage.as_ref();
    let mut listed = listed_at(storage, &world.table, list).await.unwrap();
    for bounds in listed
        .iter_mut()
        .flat_map(|file| &mut file.partitions)
        .flatten()
    {
        bounds.lower_bound = Some(b"zz".to_vec());
        bounds.upper_bound = Some(b"zz".to_vec());
    }
    let settings = ManifestSettings {
        version: Version::V2,
        compression: Compression::None,
        target_bytes: 1 << 20,
        snapshot_id: snapshot.snapshot_id(),
        sequence_number: snapshot.sequence_number(),
    };
    let parent = snapshot.parent_snapshot_id();
    let encoded = write_manifest_list(&listed, parent, &settings, [7; 16]).unwrap();
    world.storage.insert(list, encoded);
    let outcome = world.run(&base, vec![group]).await.unwrap();
    assert_eq!(outcome.committed, [0]);
    assert_eq!(world.data_paths().await, ["c", "d", "e", "o", "p"]);
    // And one that another writer removed is missed all the same.
    let foreign = Foreign {
        removed: vec!["c".to_owned()],
        ..Foreign::default()
    };
    let group = world.group(0, &["c"], &[data("r", "eu", 4)]).await;
    world.commit(foreign).await;
    world.process.0 = "p3".to_owned();
    let failure = world.run(&world.base(), vec![group]).await.unwrap_err();
    assert!(
        failure.to_string().contains("is not in the table any more"),
        "{failure}"
    );
}
