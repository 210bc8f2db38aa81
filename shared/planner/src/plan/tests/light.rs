//! When delete files are rewritten and not data files, and that they then go.

use icepress_model::{Bytes, GroupReason, TablePlan, Tier};
use icepress_table::scan::{DeleteKind, FileFormat};

use super::world::{World, equality};

/// Tier, partition and number of inputs of each group.
fn groups(plan: &TablePlan) -> Vec<(Tier, &str, usize)> {
    let groups = plan.groups.iter();
    groups
        .map(|group| (group.tier, &*group.partition_name, group.inputs.len()))
        .collect()
}

/// Runs the plan; the next must be empty.
fn settle(world: &mut World) {
    let plan = world.plan();
    world.run(&plan, 1.0, 0.0);
    let second = world.plan();
    assert!(second.groups.is_empty(), "{:?}", groups(&second));
}

#[test]
fn c18_many_delete_files_with_few_rows_are_rewritten_without_their_data_files() {
    let mut world = World::new();
    for _ in 0..3 {
        world.add(1, 1000);
    }
    for _ in 0..2 {
        world.delete(1, 4, equality(false));
    }
    let plan = world.plan();
    assert_eq!(groups(&plan), [(Tier::Light, "p=1", 3)]);
    assert_eq!(plan.groups[0].reason, GroupReason::Deletes);
    assert_eq!(plan.groups[0].deletes.len(), 2);
    assert!(plan.follow_up);
    assert!(plan.groups[0].shares_deletes, "three of two would be more");
    settle(&mut world);
    assert_eq!((world.data.len(), world.deletes.len()), (3, 1));
}

/// A rewrite of deletes that leaves more delete files than it found is none.
#[test]
fn c55_more_delete_files_than_before_are_no_gain() {
    let mut world = World::new();
    for _ in 0..6 {
        world.add(1, 1000);
    }
    for _ in 0..2 {
        world.delete(1, 4, equality(false));
    }
    let mut separate = world.clone();
    let wish = ("write.delete.granularity".to_owned(), "file".to_owned());
    separate.properties.extend([wish]);
    let mut vectors = world.clone();
    vectors.version = iceberg::spec::FormatVersion::V3;
    for world in [&mut separate, &mut vectors] {
        let plan = world.plan();
        assert!(plan.groups.is_empty(), "{:?}", groups(&plan));
        for _ in 0..4 {
            world.delete(1, 1, equality(false));
        }
        assert_eq!(groups(&world.plan()), [(Tier::Light, "p=1", 6)]);
        assert!(!world.plan().groups[0].shares_deletes);
        settle(world);
        assert_eq!(world.deletes.len(), 6);
    }
    let before = world.plan();
    assert!(before.groups[0].shares_deletes);
    settle(&mut world);
    assert_eq!(world.deletes.len(), 1);
    assert!(world.plan().health.score >= before.health.score);
    // Many for each data file are a gain all the same.
    let mut crowd = World::new();
    for _ in 0..30 {
        crowd.add(1, 1000);
    }
    let wish = ("write.delete.granularity".to_owned(), "file".to_owned());
    crowd.properties.extend([wish]);
    for number in 0..9 {
        let is_worth_it = !crowd.plan().groups.is_empty();
        assert_eq!(is_worth_it, number >= 8, "{number}");
        crowd.delete(1, 1, equality(false));
    }
}

/// Where bounds are cut short every shared delete file seems to be about every data file. To write it once more helps
/// nobody.
#[test]
fn c55_shared_delete_files_with_short_bounds_come_to_rest() {
    let mut world = World::new();
    world.folder = format!("s3://b/{}/", "a-folder-with-a-long-name".repeat(4));
    world.cuts_bounds = true;
    world.options.max_group_files = 5;
    share_delete_files(&mut world);
    for _ in 0..12 {
        world.add(1, 1000);
    }
    for _ in 0..4 {
        let folder = format!("{}p=1/", world.folder);
        let bounds = (format!("{folder}0"), format!("{folder}9"));
        world.delete(1, 15, DeleteKind::Position).bounds = Some(bounds);
    }
    let plan = world.plan();
    assert_eq!(groups(&plan).len(), 3, "{:?}", plan.left_alone);
    settle(&mut world);
    assert_eq!(world.deletes.len(), 3);
}

#[test]
fn small_files_and_many_deleted_rows_are_worth_a_full_rewrite_beside_it() {
    let mut world = World::new();
    let heavy = world.add(1, 1000);
    for _ in 0..2 {
        world.add(1, 1000);
    }
    world.add(1, 100);
    world.delete(1, 8, equality(false));
    world.delete(1, 10, DeleteKind::Position).referenced = Some(heavy.clone());
    let plan = world.plan();
    assert_eq!(
        groups(&plan),
        [(Tier::Full, "p=1", 2), (Tier::Light, "p=1", 2)]
    );
    assert_eq!(plan.groups[0].inputs[0].path, heavy);
    settle(&mut world);
    let kinds = world.deletes.iter().map(|delete| &delete.kind);
    assert_eq!(kinds.collect::<Vec<_>>(), [&DeleteKind::Position]);
}

/// Files that one shared delete file applies to, and no other, must come along: else it would stay for their sake.
#[test]
fn c07_all_files_that_share_a_delete_file_are_taken_in() {
    let mut world = World::new();
    let twice = world.add(1, 1000);
    let shared = world.add(1, 1000);
    let own = world.add(1, 1000);
    world.add(2, 1000);
    world.delete(1, 4, DeleteKind::Position).bounds = Some((twice.clone(), shared));
    world.delete(1, 2, DeleteKind::Position).referenced = Some(own);
    assert!(world.plan().groups.is_empty(), "one delete file each");
    world.delete(1, 2, DeleteKind::Position).referenced = Some(twice);
    assert_eq!(groups(&world.plan()), [(Tier::Light, "p=1", 2)]);
    settle(&mut world);
    assert_eq!(world.deletes.len(), 3);
}

/// A delete file that must stay for the sake of a file that can't be read would be told again and again.
#[test]
fn c18_a_delete_file_that_can_not_go_is_not_rewritten() {
    let mut world = World::new();
    world.add(1, 1000);
    world.add(1, 1000);
    world.data[1].format = FileFormat::Avro;
    for _ in 0..2 {
        world.delete(1, 2, equality(false));
    }
    assert_eq!(groups(&world.plan()), [(Tier::Full, "p=1", 1)]);
    settle(&mut world);
}

#[test]
fn c46_a_global_equality_delete_is_rewritten_in_every_partition_or_in_none() {
    let mut world = World::new();
    for partition in [1, 2, 2, 3] {
        world.add(partition, 1000);
    }
    world.delete(9, 4, equality(true));
    world.add(4, 1000);
    assert!(world.plan().groups.is_empty(), "one delete file each");
    for _ in 0..3 {
        world.delete(1, 1, equality(false));
    }
    let expected = [
        (Tier::Light, "p=1", 1),
        (Tier::Light, "p=2", 2),
        (Tier::Light, "p=3", 1),
    ];
    assert_eq!(groups(&world.plan()), expected);
    settle(&mut world.clone());

    world.data[3].format = FileFormat::Orc;
    assert_eq!(groups(&world.plan()), [(Tier::Full, "p=1", 1)]);
    settle(&mut world);
}

#[test]
fn c46_a_plan_too_small_for_all_partitions_rewrites_no_global_equality_delete() {
    let mut world = World::new();
    for partition in 1..=3 {
        world.add(partition, 1000);
    }
    for _ in 0..3 {
        world.delete(9, 4, equality(true));
    }
    assert_eq!(world.plan().groups.len(), 3);
    world.options.max_plan_files = 2;
    let tiers =
        |plan: &TablePlan| -> Vec<Tier> { plan.groups.iter().map(|group| group.tier).collect() };
    assert_eq!(tiers(&world.plan()), [Tier::Full; 2]);
    let plan = world.plan();
    world.run(&plan, 1.0, 0.0);
    assert_eq!(tiers(&world.plan()), [Tier::Light]);
    settle(&mut world);
}

/// Half of a partition's light groups would leave the delete files, and be planned again.
#[test]
fn light_groups_of_a_partition_go_in_together() {
    let mut world = World::new();
    for _ in 0..5 {
        world.add(1, 1000);
    }
    for _ in 0..5 {
        world.delete(1, 1, equality(false));
    }
    world.options.max_group_files = 2;
    world.options.min_input_files = 2;
    world.options.max_plan_files = 3;
    world.options.max_group_bytes = Bytes(2000);
    assert_eq!(world.plan().groups.len(), 3);
    settle(&mut world);
}

fn share_delete_files(world: &mut World) {
    let property = ("write.delete.granularity", "partition");
    let (name, value) = property;
    world.properties.insert(name.to_owned(), value.to_owned());
}

/// What a light rewrite makes where delete files are shared must not be worth another.
#[test]
fn c18_a_shared_position_delete_file_lasts_where_the_table_wants_it() {
    let mut world = World::new();
    let paths: Vec<String> = (0..3).map(|_| world.add(1, 1000)).collect();
    world.delete(1, 6, DeleteKind::Position).bounds = Some((paths[0].clone(), paths[2].clone()));
    for _ in 0..5 {
        world.add(1, 100);
    }
    let each = [(Tier::Full, "p=1", 5), (Tier::Light, "p=1", 3)];
    assert_eq!(groups(&world.plan()), [(Tier::Full, "p=1", 5)]);
    share_delete_files(&mut world);
    assert_eq!(groups(&world.plan()), [(Tier::Full, "p=1", 5)]);
    // By value it is no end; vectors are one a data file, and would be more.
    let mut by_value = world.clone();
    by_value.deletes[0].kind = equality(false);
    by_value.deletes[0].bounds = None;
    assert_eq!(groups(&by_value.plan()), each);
    let mut vectors = world.clone();
    vectors.version = iceberg::spec::FormatVersion::V3;
    assert_eq!(groups(&vectors.plan()), [(Tier::Full, "p=1", 5)]);
    world.delete(1, 2, DeleteKind::Position).referenced = Some(paths[1].clone());
    assert_eq!(
        groups(&world.plan()),
        each,
        "two delete files of one data file"
    );
}

/// A path between the bounds of another group's delete file would have two, and be planned again and again.
#[test]
fn c18_light_groups_that_share_delete_files_do_not_overlap() {
    let mut world = World::new();
    for place in [3, 1, 4, 2] {
        world.add(1, 1000);
        world.data.last_mut().unwrap().path = format!("s3://b/t/p=1/{place}.parquet");
    }
    for _ in 0..4 {
        world.delete(1, 1, equality(false));
    }
    world.options.max_group_files = 2;
    world.options.min_input_files = 2;
    let inputs = |world: &World| {
        let inputs = |group: &icepress_model::Group| {
            let paths = group.inputs.iter();
            let place = paths.map(|input| input.path.as_bytes()[13] - b'0');
            place.collect::<Vec<_>>()
        };
        let plan = world.plan();
        plan.groups.iter().map(inputs).collect::<Vec<_>>()
    };
    assert_eq!(inputs(&world), [[1, 2], [3, 4]]);
    let wish = ("write.delete.granularity".to_owned(), "file".to_owned());
    world.properties.extend([wish]);
    assert_eq!(inputs(&world), [[3, 1], [4, 2]]);
    share_delete_files(&mut world);
    assert_eq!(inputs(&world), [[1, 2], [3, 4]]);
}

#[test]
fn light_rewrites_can_be_turned_off() {
    let mut world = World::new();
    world.add(1, 1000);
    for _ in 0..2 {
        world.delete(1, 2, equality(false));
    }
    let tier = |world: &World| world.plan().groups[0].tier;
    assert_eq!(tier(&world), Tier::Light);
    let mut no_deletes_at_all = world.clone();
    no_deletes_at_all.options.delete_file_threshold = 1;
    assert_eq!(tier(&no_deletes_at_all), Tier::Full);
    let mut forced = world.clone();
    forced.options.force = true;
    assert_eq!(tier(&forced), Tier::Full);
    let off = ("icepress.light-rewrites".to_owned(), "false".to_owned());
    world.properties.extend([off]);
    assert_eq!(tier(&world), Tier::Full);
}
