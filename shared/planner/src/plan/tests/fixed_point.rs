//! The plan that follows a run is empty (C18).

use std::collections::BTreeSet;

use iceberg::spec::FormatVersion;
use icepress_model::{Bytes, ProcessId, TablePlan, Tier};
use icepress_table::scan::DeleteKind;
use proptest::prelude::*;

use super::world::{World, equality};
use crate::{LastRun, files_of, take_out_repeats};

#[derive(Debug, Clone)]
enum Change {
    Add {
        partition: i32,
        size: u64,
    },
    Equality {
        partition: i32,
        rows: u64,
        global: bool,
    },
    PositionsOf {
        file: usize,
        rows: u64,
    },
    PositionsBetween {
        partition: i32,
        rows: u64,
    },
    Positions {
        partition: i32,
        rows: u64,
    },
}

fn change() -> impl Strategy<Value = Change> {
    let size = prop_oneof![1..125u64, 1..750u64, 700..2000u64, 1800..9000u64];
    prop_oneof![
        12 => (0..3, size).prop_map(|(partition, size)| Change::Add { partition, size }),
        1 => (0..3, 1..60u64, prop::bool::weighted(0.2))
            .prop_map(|(partition, rows, global)| Change::Equality { partition, rows, global }),
        1 => (any::<usize>(), 1..60u64)
            .prop_map(|(file, rows)| Change::PositionsOf { file, rows }),
        1 => (0..3, 1..60u64)
            .prop_map(|(partition, rows)| Change::PositionsBetween { partition, rows }),
        1 => (0..3, 1..60u64).prop_map(|(partition, rows)| Change::Positions { partition, rows }),
    ]
}

fn history(changes: &[Change]) -> World {
    grown(World::new(), changes)
}

/// The world after a writer's changes.
fn grown(mut world: World, changes: &[Change]) -> World {
    for change in changes {
        match change {
            Change::Add { partition, size } => {
                world.sequence_number += 1;
                world.add(*partition, *size);
            }
            Change::Equality {
                partition,
                rows,
                global,
            } => {
                world.delete(*partition, *rows, equality(*global));
            }
            Change::PositionsOf { file, rows } if !world.data.is_empty() => {
                let file = world.data[file % world.data.len()].clone();
                let delete = world.delete(file.partition, *rows, DeleteKind::Position);
                delete.referenced = Some(file.path);
            }
            Change::PositionsOf { .. } => {}
            Change::PositionsBetween { partition, rows } => {
                let folder = format!("{}p={partition}/", world.folder);
                let bounds = (format!("{folder}0"), format!("{folder}9"));
                world.delete(*partition, *rows, DeleteKind::Position).bounds = Some(bounds);
            }
            Change::Positions { partition, rows } => {
                world.delete(*partition, *rows, DeleteKind::Position);
            }
        }
    }
    // A last commit elsewhere: position deletes without bounds that the very base snapshot added would, by their
    // sequence number, still apply to the outputs.
    world.sequence_number += 1;
    world
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 150, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn c18_the_second_plan_is_empty(
        changes in prop::collection::vec(change(), 0..120),
        ratio in 0.3..1.3f64,
        overshoot in 0.0..0.2f64,
    ) {
        let mut world = history(&changes);
        let plan = world.plan();
        if plan.groups.is_empty() {
            return Ok(());
        }
        // The limit of a group is above all files together: one group a partition, and one for its delete files.
        let light = plan.groups.iter().any(|group| group.tier == Tier::Light);
        prop_assert!(plan.follow_up || !light);
        // And nothing is announced without a delete: merged files are at rest at once.
        prop_assert!(!plan.follow_up || !world.deletes.is_empty());
        world.run(&plan, ratio, overshoot);
        // Files that stay may seem to be hit harder once those are gone that they shared deletes with.
        let known = taken(&plan);
        let is_known = |path: &String| {
            path.contains("-1-p1-") || known.iter().any(|(_, paths)| paths.contains(path))
        };
        for group in &world.plan().groups {
            let mut inputs = group.inputs.iter();
            let news = inputs.any(|input| !is_known(&input.path) && !input.deletes.is_empty());
            prop_assert!(news && plan.follow_up, "{group:?}");
        }
    }

    #[test]
    fn c18_tables_of_many_groups_come_to_rest(
        changes in prop::collection::vec(change(), 0..200),
        ratio in 0.3..1.3f64,
        overshoot in 0.0..0.2f64,
        max_group_bytes in 10_000..30_000u64,
        max_group_files in 20..60u64,
    ) {
        let mut world = history(&changes);
        world.options.max_group_bytes = Bytes(max_group_bytes);
        world.options.max_group_files = max_group_files;
        for round in 0.. {
            let plan = world.plan();
            if plan.groups.is_empty() {
                break;
            }
            prop_assert!(round < 3, "still {} groups", plan.groups.len());
            world.run(&plan, ratio, overshoot);
        }
    }
}

/// What a table and whoever runs Icepress may choose.
#[derive(Debug, Clone)]
struct Choices {
    granularity: Option<&'static str>,
    long_paths: bool,
    cuts_bounds: bool,
    version: FormatVersion,
    max_group_files: u64,
    max_plan_groups: u64,
    delete_file_threshold: u64,
    delete_ratio_threshold: f64,
}

fn choices() -> impl Strategy<Value = Choices> {
    let granularity = prop_oneof![Just(None), Just(Some("file")), Just(Some("partition"))];
    let version = prop_oneof![Just(FormatVersion::V2), Just(FormatVersion::V3)];
    let limits = (5..40u64, prop_oneof![Just(1_000u64), 1..4u64]);
    let thresholds = (1..4u64, prop_oneof![Just(0.1), Just(0.95)]);
    (
        granularity,
        any::<bool>(),
        any::<bool>(),
        version,
        limits,
        thresholds,
    )
        .prop_map(
            |(granularity, long_paths, cuts_bounds, version, limits, thresholds)| Choices {
                granularity,
                long_paths,
                cuts_bounds,
                version,
                max_group_files: limits.0,
                max_plan_groups: limits.1,
                delete_file_threshold: thresholds.0,
                delete_ratio_threshold: thresholds.1,
            },
        )
}

impl Choices {
    fn world(&self) -> World {
        let mut world = World::new();
        if self.long_paths {
            world.folder = format!("s3://b/{}/", "a-folder-with-a-long-name".repeat(4));
        }
        world.cuts_bounds = self.cuts_bounds;
        world.version = self.version;
        let granularity = self.granularity.map(str::to_owned);
        let property = granularity.map(|value| ("write.delete.granularity".to_owned(), value));
        world.properties.extend(property);
        world.options.max_group_files = self.max_group_files;
        world.options.max_plan_groups = self.max_plan_groups;
        world.options.delete_file_threshold = self.delete_file_threshold;
        world.options.delete_ratio_threshold = self.delete_ratio_threshold;
        world
    }
}

/// Tier and files of each group.
fn taken(plan: &TablePlan) -> BTreeSet<(u8, Vec<String>)> {
    let groups = plan.groups.iter();
    groups
        .map(|group| {
            let paths = group.inputs.iter().map(|input| input.path.clone());
            (group.tier as u8, paths.collect())
        })
        .collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    /// Each further plan is empty, or its inputs are new; and no light rewrite leaves more delete files than it found,
    /// unless they were many for each data file.
    #[test]
    fn c55_no_plan_takes_the_same_files_in_the_same_way_again(
        changes in prop::collection::vec(change(), 0..120),
        choices in choices(),
        ratio in 0.3..1.3f64,
        overshoot in 0.0..0.2f64,
    ) {
        let mut world = grown(choices.world(), &changes);
        let mut last: Option<LastRun> = None;
        let mut before = BTreeSet::new();
        for round in 0.. {
            let mut plan = world.plan();
            let mut rounds = 0;
            if let Some(last) = &last {
                let repeated = take_out_repeats(&mut plan, last);
                prop_assert_eq!(repeated.groups, 0, "{:?}", plan.left_alone);
                rounds = repeated.rounds;
            }
            if plan.groups.is_empty() {
                break;
            }
            let now = taken(&plan);
            prop_assert!(now.is_disjoint(&before), "{:?}", now);
            prop_assert!(round < 150, "still {} groups", plan.groups.len());
            before = now;
            last = Some(LastRun {
                process: ProcessId(format!("p{}", world.processes + 1)),
                rounds,
                files: files_of(&plan),
                known: Vec::new(),
            });
            let found = world.deletes.len();
            let only_light = plan.groups.iter().all(|group| group.tier == Tier::Light);
            let groups = plan.groups.iter();
            let pairs: usize = groups.clone().flat_map(|group| &group.inputs).map(|input| input.deletes.len()).sum();
            let inputs: usize = groups.map(|group| group.inputs.len()).sum();
            world.run(&plan, ratio, overshoot);
            if only_light && pairs < 8 * inputs {
                prop_assert!(world.deletes.len() <= found, "{} of {found}", world.deletes.len());
            }
        }
    }
}
