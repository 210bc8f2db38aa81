//! The decision, on layouts without any file.

use icepress_model::{Bytes, SpecId};
use icepress_table::{Held, ListedManifest, ManifestContent, ManifestLayout, PartitionPlace};
use proptest::prelude::*;

use super::{decide::decide, policy::ManifestPolicy};

const TARGET: u64 = 1000;
/// What an entry takes.
const ENTRY: u64 = 10;

/// A layout of one kind over so many partitions: of each manifest, files by partition.
fn layout(partitions: u32, manifests: &[Vec<(u32, u32)>]) -> ManifestLayout {
    let manifests = manifests.iter().enumerate().map(|(number, held)| {
        let live: u64 = held.iter().map(|(_, files)| u64::from(*files)).sum();
        ListedManifest {
            path: format!("m{number}"),
            content: ManifestContent::Data,
            spec_id: SpecId(0),
            size: Bytes(live * ENTRY),
            sequence_number: number as i64 + 1,
            live,
            removed: 0,
            held: held
                .iter()
                .map(|(partition, files)| Held {
                    partition: *partition,
                    files: *files,
                })
                .collect(),
        }
    });
    ManifestLayout {
        manifests: manifests.collect(),
        partitions: (0..partitions)
            .map(|number| PartitionPlace {
                spec_id: SpecId(0),
                fields: [number].into(),
            })
            .collect(),
        target: Bytes(TARGET),
    }
}

fn policy() -> ManifestPolicy {
    ManifestPolicy::default()
}

/// What would be there after the chosen ones were written anew: sorted by partition, and cut at the target.
fn rewritten(layout: &ManifestLayout, chosen: &[usize]) -> ManifestLayout {
    let partitions = layout.partitions.len() as u32;
    let mut files = vec![0; partitions as usize];
    let mut manifests = Vec::new();
    for (place, manifest) in layout.manifests.iter().enumerate() {
        let held = manifest.held.iter();
        if chosen.contains(&place) {
            held.for_each(|held| files[held.partition as usize] += held.files);
        } else {
            manifests.push(held.map(|held| (held.partition, held.files)).collect());
        }
    }
    let mut open: Vec<(u32, u32)> = Vec::new();
    let mut filled = 0;
    for (partition, count) in files.into_iter().enumerate() {
        for _ in 0..count {
            match open.last_mut() {
                Some((last, files)) if *last == partition as u32 => *files += 1,
                _ => open.push((partition as u32, 1)),
            }
            filled += ENTRY;
            if filled >= TARGET {
                manifests.push(std::mem::take(&mut open));
                filled = 0;
            }
        }
    }
    if !open.is_empty() {
        manifests.push(open);
    }
    self::layout(partitions, &manifests)
}

#[test]
fn many_small_manifests_are_written_together_and_few_are_left() {
    let small: Vec<Vec<(u32, u32)>> = (0..40).map(|_| vec![(0, 2)]).collect();
    let plan = decide(&layout(1, &small), &policy());
    assert_eq!(plan.chosen.len(), 40);
    let kind = &plan.kinds[0];
    assert_eq!((kind.before.manifests, kind.after.manifests), (40, 1));
    assert!(
        kind.price.dollars() > 0.0 && kind.reason.contains("40 of 40"),
        "{kind:?}"
    );

    let plan = decide(&layout(1, &small[..2]), &policy());
    assert!(plan.is_empty());
    assert!(plan.kinds[0].reason.contains("2 of 2"), "{:?}", plan.kinds);
}

#[test]
fn the_table_says_how_many_are_worth_it_and_whether_at_all() {
    let small: Vec<Vec<(u32, u32)>> = (0..5).map(|_| vec![(0, 2)]).collect();
    let layout = layout(1, &small);
    let few = ManifestPolicy {
        min_count: 5,
        ..policy()
    };
    let many = ManifestPolicy {
        min_count: 6,
        is_enabled: true,
    };
    let off = ManifestPolicy {
        is_enabled: false,
        ..few.clone()
    };
    assert_eq!(decide(&layout, &few).chosen.len(), 5);
    // One partition: all five are opened by its lookup, and one would be.
    assert_eq!(decide(&layout, &many).chosen.len(), 5);
    let plan = decide(&layout, &off);
    assert!(plan.is_empty());
    assert!(
        plan.kinds[0]
            .reason
            .contains("commit.manifest-merge.enabled")
    );
}

/// Each of ten manifests of full size holds ten files of each of ten partitions: nobody can be ruled out.
#[test]
fn scattered_partitions_are_gathered() {
    let scattered: Vec<Vec<(u32, u32)>> = (0..10)
        .map(|_| (0..10).map(|partition| (partition, 10)).collect())
        .collect();
    let layout = layout(10, &scattered);
    let plan = decide(&layout, &policy());
    assert_eq!(plan.chosen.len(), 10);
    let kind = &plan.kinds[0];
    assert_eq!(kind.small, 0);
    assert_eq!(kind.before.opened_by_lookup, 10.0);
    assert_eq!(kind.after.opened_by_lookup, 1.0);
    assert_eq!(kind.after.manifests, 10);
    let after = rewritten(&layout, &plan.chosen);
    assert!(decide(&after, &policy()).is_empty());
}

/// What is in order stays as it is, though small ones beside it are written anew.
#[test]
fn what_is_in_order_is_left_alone() {
    let mut manifests: Vec<Vec<(u32, u32)>> = (0..20).map(|place| vec![(place, 100)]).collect();
    manifests.extend((0..30).map(|number| vec![(number % 20, 1)]));
    let plan = decide(&layout(20, &manifests), &policy());
    assert_eq!(plan.chosen, (20..50).collect::<Vec<_>>());
}

#[test]
fn manifests_of_mostly_removed_entries_are_written_without_them() {
    let mut layout = layout(1, &[vec![(0, 10)]]);
    layout.manifests[0].removed = 990;
    layout.manifests[0].size = Bytes(10_000);
    let plan = decide(&layout, &policy());
    assert_eq!(plan.chosen, [0]);
    assert!(plan.kinds[0].reason.contains("removed"), "{:?}", plan.kinds);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, ..ProptestConfig::default() })]

    /// Whatever there is, what is written is not written once more.
    #[test]
    fn c18_the_second_run_does_nothing(
        manifests in prop::collection::vec(
            prop::collection::btree_map(0u32..12, 1u32..60, 1..6),
            1..60,
        ),
        min_count in 0u64..20,
    ) {
        let manifests: Vec<Vec<(u32, u32)>> =
            manifests.into_iter().map(|held| held.into_iter().collect()).collect();
        let layout = layout(12, &manifests);
        let policy = ManifestPolicy { min_count, ..policy() };
        let first = decide(&layout, &policy);
        let after = rewritten(&layout, &first.chosen);
        let second = decide(&after, &policy);
        prop_assert!(second.is_empty(), "{:?}\n{:?}", first.kinds, second.kinds);
        // More than before there are only where those were larger than the table wants.
        let chosen = first.chosen.iter().map(|place| layout.manifests[*place].size.get());
        let most = (first.chosen.len() as u64).max(chosen.sum::<u64>().div_ceil(TARGET));
        let kept = layout.manifests.len() as u64 - first.chosen.len() as u64;
        prop_assert!(after.manifests.len() as u64 <= kept + most);
    }
}
