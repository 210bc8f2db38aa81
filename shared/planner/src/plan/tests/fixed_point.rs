//! The plan that follows a run is empty (C18).

use icepress_model::{Bytes, Tier};
use icepress_table::scan::DeleteKind;
use proptest::prelude::*;

use super::world::{World, equality};

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
    let mut world = World::new();
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
                let folder = format!("s3://b/t/p={partition}/");
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
        prop_assert_eq!(plan.follow_up, light);
        world.run(&plan, ratio, overshoot);
        let second = world.plan();
        prop_assert!(second.groups.is_empty(), "{:?}", second.groups);
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
