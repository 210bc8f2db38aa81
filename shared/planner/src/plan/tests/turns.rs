//! A limit says how much is done at a time, and never what is worth doing: everyone's turn comes.

use std::collections::BTreeSet;

use super::world::World;

/// A writer that spoils one partition between any two plans would have it alone rewritten, for ever.
#[test]
fn c64_a_partition_that_is_always_the_worst_does_not_starve_the_others() {
    let mut world = World::new();
    world.options.max_plan_groups = 1;
    for partition in 1..=4 {
        for _ in 0..6 {
            world.add(partition, 100);
        }
    }
    let mut had_a_turn = BTreeSet::new();
    let mut added = 0;
    for round in 0.. {
        world.sequence_number += 1;
        for _ in 0..30 {
            world.add(9, 10);
            let name = format!("s3://b/t/p=9/{}.parquet", added);
            world.data.last_mut().unwrap().path = name;
            added += 1;
        }
        let plan = world.plan();
        assert_eq!(plan.groups.len(), 1);
        assert!(plan.follow_up);
        had_a_turn.insert(plan.groups[0].partition_name.clone());
        if had_a_turn.len() == 5 {
            break;
        }
        assert!(round < 40, "only {had_a_turn:?} had a turn");
        world.run(&plan, 1.0, 0.0);
    }
}

/// Nor does one whose work comes to nothing.
#[test]
fn c64_a_partition_that_fails_each_time_does_not_keep_the_others() {
    let mut world = World::new();
    world.options.max_plan_groups = 1;
    for partition in 1..=4 {
        for _ in 0..(40 - partition) {
            world.add(partition, 10);
        }
    }
    let mut had_a_turn = BTreeSet::new();
    for failures in 0..60 {
        world.options.turn = failures;
        had_a_turn.insert(world.plan().groups[0].partition_name.clone());
    }
    assert_eq!(had_a_turn.len(), 4);
}
