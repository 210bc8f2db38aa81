//! Manifests written anew: by partition, without tombstones, and with every file as it was.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use iceberg::{
    TableUpdate,
    spec::{
        DataContentType, FormatVersion, ManifestContentType, ManifestStatus, Operation, Struct,
        UnboundPartitionSpec,
    },
};

use super::{
    memory::Fault,
    number,
    world::{Foreign, World, data, equality_deletes, file, vector},
};
use crate::commit::{
    CommitFailure, CommitOutcome, ManifestContent, ManifestLayout, NoObjection, RewrittenManifests,
    rewrite_manifests, survey_manifests,
};

const VERSIONS: [FormatVersion; 3] = [FormatVersion::V1, FormatVersion::V2, FormatVersion::V3];

type Arranged = Result<(CommitOutcome, Option<RewrittenManifests>), CommitFailure>;

impl World {
    /// Writes those manifests anew that `picks` says, over and over; all where it says nothing.
    pub(crate) async fn arrange(&self, picks: Option<&[bool]>) -> Arranged {
        let choose = |layout: &ManifestLayout| {
            let all = 0..layout.manifests.len();
            all.filter(|place| picks.is_none_or(|picks| picks[place % picks.len()]))
                .collect()
        };
        self.arrange_by(&choose).await
    }

    async fn arrange_by(
        &self,
        choose: &(dyn Fn(&ManifestLayout) -> Vec<usize> + Send + Sync),
    ) -> Arranged {
        let (context, table) = (&self.context, &self.table);
        rewrite_manifests(&NoObjection, context, table, &self.process, choose).await
    }

    async fn layout(&self) -> ManifestLayout {
        survey_manifests(&self.context, &self.loaded())
            .await
            .unwrap()
    }

    /// The regions of each data manifest, and the paths in it, in order.
    async fn regions(&self) -> Vec<Vec<(String, String)>> {
        let manifests = self.manifests_of(&self.loaded()).await.into_iter();
        let manifests = manifests.filter(|(file, _)| file.content == ManifestContentType::Data);
        manifests
            .map(|(_, entries)| {
                let entries = entries.into_iter().map(|entry| {
                    let region = format!("{:?}", entry.data_file().partition());
                    (region, entry.file_path().to_owned())
                });
                entries.collect()
            })
            .collect()
    }
}

/// A table in which every commit adds to both partitions, written over some commits.
async fn scattered(version: FormatVersion, commits: usize) -> World {
    let properties = HashMap::from([(
        "commit.manifest.target-size-bytes".to_owned(),
        "1000000".to_owned(),
    )]);
    let world = World::with(version, properties);
    for commit in 0..commits {
        let [eu, us] = ["eu", "us"].map(|region| data(&format!("{region}{commit}"), region, 10));
        world.append(&[us, eu]).await;
    }
    world
}

#[tokio::test]
async fn files_of_a_partition_come_together_and_stay_what_they_are() {
    for version in VERSIONS {
        let world = scattered(version, 12).await;
        let (before, row_ids) = (world.live().await, world.row_ids().await);
        let (_, rewritten) = world.arrange(None).await.unwrap();
        let expected = RewrittenManifests {
            created: 1,
            replaced: 12,
            kept: 0,
            entries: 24,
        };
        assert_eq!(rewritten, Some(expected));
        assert_eq!(world.live().await, before);
        assert_eq!(world.row_ids().await, row_ids);
        let regions = world.regions().await;
        assert_eq!(regions.len(), 1);
        let names: Vec<&str> = regions[0]
            .iter()
            .map(|(region, _)| region.as_str())
            .collect();
        assert!(names.is_sorted(), "{names:?}");
        // In a partition, in the order of the list.
        assert_eq!(regions[0][0].1, "eu11");

        let loaded = world.loaded();
        let snapshot = loaded.metadata.current_snapshot().unwrap();
        assert_eq!(snapshot.summary().operation, Operation::Replace);
        let counts = [
            "manifests-created",
            "manifests-kept",
            "manifests-replaced",
            "entries-processed",
        ];
        assert_eq!(counts.map(|key| number(&loaded, key)), [1, 0, 12, 24]);
        if version == FormatVersion::V3 {
            let (first, added) = snapshot.row_range().unwrap();
            assert_eq!(first + added, loaded.metadata.next_row_id());
        }
    }
}

/// At a target that every block reaches each manifest is of few partitions, and their bounds say so.
#[tokio::test]
async fn the_target_size_is_honoured_and_partitions_are_cut_in_order() {
    let world = scattered(FormatVersion::V2, 6).await;
    let property = TableUpdate::SetProperties {
        updates: HashMap::from([(
            "commit.manifest.target-size-bytes".to_owned(),
            "1".to_owned(),
        )]),
    };
    world.change(vec![property]).await;
    let before = world.live().await;
    world.arrange(None).await.unwrap();
    assert_eq!(world.live().await, before);
    let layout = world.layout().await;
    assert_eq!(layout.manifests.len(), 12);
    let held: Vec<u32> = layout
        .manifests
        .iter()
        .map(|it| it.held[0].partition)
        .collect();
    assert!(held.is_sorted());
}

/// Failed where entries that were removed were carried on as live ones.
#[tokio::test]
async fn c14_tombstones_are_dropped_and_what_they_removed_stays_removed() {
    for version in VERSIONS {
        let world = scattered(version, 4).await;
        let removed = Foreign {
            removed: vec!["eu1".to_owned(), "us2".to_owned()],
            ..Foreign::default()
        };
        world.commit(removed).await;
        let before = world.live().await;
        let layout = world.layout().await;
        let tombstones: u64 = layout
            .manifests
            .iter()
            .map(|manifest| manifest.removed)
            .sum();
        assert_eq!(tombstones, 2);
        world.arrange(None).await.unwrap();
        assert_eq!(world.live().await, before);
        for manifest in world.list_of(&world.loaded()).await {
            assert_eq!(manifest.deleted_files_count, Some(0));
            for (status, path, _) in world.entries_of(&manifest).await {
                assert_eq!(status, ManifestStatus::Existing, "{path}");
            }
        }
    }
}

/// Inherited ids must be written down, since the new manifest hands out others.
#[tokio::test]
async fn c24_every_row_id_is_kept_whoever_gave_it() {
    let world = scattered(FormatVersion::V2, 3).await;
    let upgrade = TableUpdate::UpgradeFormatVersion {
        format_version: FormatVersion::V3,
    };
    world.change(vec![upgrade]).await;
    // Files from before the upgrade have no ids yet: this commit gives them theirs, once.
    world.arrange(Some(&[true, false])).await.unwrap();
    let first = world.row_ids().await;
    assert!(first.values().all(Option::is_some), "{first:?}");
    world
        .append(&[data("eu9", "eu", 7), data("us9", "us", 5)])
        .await;
    let before = world.row_ids().await;
    for (path, id) in &first {
        assert_eq!(before[path], *id, "{path}");
    }
    let world = World {
        process: "p2".into(),
        ..world
    };
    world.arrange(None).await.unwrap();
    assert_eq!(world.row_ids().await, before);
    let ids: BTreeSet<Option<i64>> = before.values().copied().collect();
    assert_eq!(ids.len(), before.len());
}

#[tokio::test]
async fn delete_manifests_are_written_anew_too_each_spec_by_itself() {
    for version in [FormatVersion::V2, FormatVersion::V3] {
        let world = scattered(version, 3).await;
        let spec = UnboundPartitionSpec::builder().build();
        world.change(vec![TableUpdate::AddSpec { spec }]).await;
        for number in 0..3 {
            let name = format!("keys{number}");
            let global = file(&format!("all{number}"), "eu", 3)
                .content(DataContentType::EqualityDeletes)
                .equality_ids(Some(vec![1]))
                .partition(Struct::empty())
                .partition_spec_id(1)
                .build()
                .unwrap();
            world
                .delete(&[equality_deletes(&name, "eu", 2), global])
                .await;
        }
        if version == FormatVersion::V3 {
            // Two vectors share a Puffin file: told apart by where they lie.
            world
                .delete(&[vector("p", "eu", "eu0", 4), vector("p", "us", "us0", 44)])
                .await;
        }
        let before = world.live().await;
        world.arrange(None).await.unwrap();
        assert_eq!(world.live().await, before);
        let layout = world.layout().await;
        let mut kinds: BTreeMap<(ManifestContent, i32), usize> = BTreeMap::new();
        for manifest in &layout.manifests {
            *kinds
                .entry((manifest.content, manifest.spec_id.get()))
                .or_default() += 1;
        }
        let expected = [
            ((ManifestContent::Data, 0), 1),
            ((ManifestContent::Deletes, 0), 1),
            ((ManifestContent::Deletes, 1), 1),
        ];
        assert_eq!(kinds, BTreeMap::from(expected));
    }
}

fn new_manifests(world: &World) -> usize {
    let locations = world.storage.locations();
    let ours = |path: &&String| !path.contains("foreign") && path.contains("-m");
    locations.iter().filter(ours).count()
}

/// What was written is kept when what came between left it alone.
#[tokio::test]
async fn what_others_add_meanwhile_is_carried_over_and_nothing_is_written_twice() {
    for version in VERSIONS {
        let world = scattered(version, 5).await;
        let before = world.live().await.0;
        let late = Foreign {
            data: vec![data("late", "eu", 3)],
            ..Foreign::default()
        };
        world.rivals(vec![late.clone()]).await;
        let (_, rewritten) = world.arrange(None).await.unwrap();
        assert_eq!(rewritten.unwrap().kept, 1);
        let after = world.live().await.0;
        assert_eq!(after.len(), before.len() + 1);
        assert!(before.iter().all(|seen| after.contains(seen)));
        assert_eq!(new_manifests(&world), 1);
        assert_eq!(world.list_of(&world.loaded()).await.len(), 2);
    }
}

/// Failed where new manifests stood for old ones that another writer had changed: what it removed came back.
#[tokio::test]
async fn what_others_remove_meanwhile_stays_removed() {
    for version in VERSIONS {
        let world = scattered(version, 5).await;
        let removes = Foreign {
            removed: vec!["eu3".to_owned()],
            ..Foreign::default()
        };
        world.rivals(vec![removes]).await;
        world.arrange(None).await.unwrap();
        let paths = world.data_paths().await;
        assert_eq!(paths.len(), 9);
        assert!(!paths.contains(&"eu3".to_owned()));
        // What was written first is of no use, and gone.
        assert_eq!(new_manifests(&world), 1);
    }
}

/// The first commit after an upgrade gives rows their ids, and manifests that were made without must not take them away.
#[tokio::test]
async fn c24_an_upgrade_meanwhile_has_it_written_anew() {
    let world = scattered(FormatVersion::V2, 4).await;
    let start = world.loaded();
    let upgrade = TableUpdate::UpgradeFormatVersion {
        format_version: FormatVersion::V3,
    };
    world.change(vec![upgrade]).await;
    world.append(&[data("late", "eu", 3)]).await;
    let ids = world.row_ids().await;
    let upgraded = world.loaded();
    world.catalog.set(start);
    world.catalog.will(Fault::Rival(Box::new(upgraded)));
    world.arrange(None).await.unwrap();
    assert_eq!(world.row_ids().await, ids);
}

#[tokio::test]
async fn a_lost_answer_is_found_and_a_refusal_leaves_nothing() {
    for fault in [
        Fault::AnswerLost,
        Fault::RequestLost,
        Fault::LostAgainstItself,
    ] {
        let world = scattered(FormatVersion::V2, 5).await;
        let before = world.live().await;
        world.catalog.will(fault.clone());
        let mut result = world.arrange(None).await;
        if matches!(result, Err(CommitFailure::OutcomeUnknown { .. })) {
            result = world.arrange(None).await;
        }
        result.unwrap();
        assert_eq!(world.live().await, before, "{fault:?}");
        assert_eq!(*world.catalog.swaps.lock().unwrap(), 6, "{fault:?}");
    }
    let world = scattered(FormatVersion::V2, 5).await;
    let there = world.storage.locations();
    world.catalog.will(Fault::Refused);
    world.arrange(None).await.unwrap_err();
    assert_eq!(world.storage.locations(), there);
}

/// A write that fails in the middle leaves no manifest behind, and the table as it was.
#[tokio::test]
async fn a_write_that_fails_leaves_nothing() {
    for writes in 0..2 {
        let world = scattered(FormatVersion::V2, 5).await;
        let (there, before) = (world.storage.locations(), world.loaded());
        world.storage.fail_writes_after(writes);
        world.arrange(None).await.unwrap_err();
        assert_eq!(world.loaded().metadata_location, before.metadata_location);
        let left: Vec<String> = world
            .storage
            .locations()
            .difference(&there)
            .cloned()
            .collect();
        assert_eq!(left, Vec::<String>::new(), "{writes}");
    }
}

#[tokio::test]
async fn where_none_is_chosen_nothing_is_written() {
    let world = scattered(FormatVersion::V2, 5).await;
    let there = world.storage.locations();
    let result = world.arrange_by(&|_| Vec::new()).await;
    assert!(matches!(result, Err(CommitFailure::NothingLeft { .. })));
    assert_eq!(world.storage.locations(), there);
}
