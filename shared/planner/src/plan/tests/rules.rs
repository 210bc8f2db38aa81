//! One rule a test.

use icepress_model::{Bytes, GroupReason, LeftAloneReason, RowId, SpecId};
use icepress_table::scan::{DeleteKind, FileFormat};
use serde_json::json;

use super::world::{World, equality};
use crate::{group_all, plan_table};

fn reasons(world: &World) -> Vec<GroupReason> {
    let plan = world.plan();
    plan.groups.into_iter().map(|group| group.reason).collect()
}

fn left(world: &World) -> Vec<LeftAloneReason> {
    let left_alone = world.plan().left_alone;
    left_alone.into_iter().map(|left| left.reason).collect()
}

#[test]
fn five_small_files_are_enough() {
    let mut world = World::new();
    for _ in 0..4 {
        world.add(1, 10);
    }
    assert!(reasons(&world).is_empty());
    let too_few = LeftAloneReason::TooFewFiles {
        candidates: 4,
        needed: 5,
    };
    assert_eq!(left(&world), [too_few]);
    world.add(1, 10);
    assert_eq!(reasons(&world), [GroupReason::EnoughFiles]);
    let group = &world.plan().groups[0];
    assert_eq!(group.spec_id, SpecId(0));
    assert_eq!(group.partition, json!({"1000": 1}));
    assert_eq!(group.partition_name, "p=1");
    assert_eq!(group.target_file_size, Bytes(1000));
}

#[test]
fn two_files_of_more_than_a_target_are_enough() {
    let mut world = World::new();
    world.add(1, 600);
    world.add(1, 500);
    assert_eq!(reasons(&world), [GroupReason::EnoughContent]);
}

#[test]
fn one_file_that_is_too_large_is_enough() {
    let mut world = World::new();
    world.add(1, 1801);
    assert_eq!(reasons(&world), [GroupReason::TooLarge]);
}

#[test]
fn files_of_a_good_size_are_left_alone() {
    let mut world = World::new();
    for size in [751, 1000, 1800] {
        world.add(1, size);
    }
    assert_eq!(left(&world), [LeftAloneReason::Healthy]);
    let health = world.plan().health;
    assert_eq!((health.score, health.amoro_score), (100.0, 100.0));
}

#[test]
fn c01_a_file_larger_than_a_group_is_not_split() {
    let mut world = World::new();
    world.options.max_group_bytes = Bytes(2000);
    world.add(1, 9000);
    world.add(1, 900);
    let plan = world.plan();
    assert_eq!(plan.groups.len(), 1);
    assert_eq!(plan.groups[0].inputs.len(), 1);
}

#[test]
fn a_large_share_of_deleted_rows_is_enough() {
    let mut world = World::new();
    let path = world.add(1, 1000);
    world.delete(1, 9, DeleteKind::Position).referenced = Some(path.clone());
    assert!(reasons(&world).is_empty());
    world.deletes[0].rows = 10;
    assert_eq!(reasons(&world), [GroupReason::Deletes]);
    let group = &world.plan().groups[0];
    assert_eq!(group.deletes[0].referenced_data_file, Some(path));
    assert_eq!(group.inputs[0].deletes, [0]);
}

#[test]
fn equality_deletes_are_taken_to_hit_all_older_rows_evenly() {
    let mut world = World::new();
    for _ in 0..2 {
        world.add(1, 1000);
    }
    world.delete(1, 19, equality(false));
    world.add(1, 1000);
    assert!(reasons(&world).is_empty());
    world.deletes[0].rows = 20;
    assert_eq!(world.plan().groups[0].inputs.len(), 2);
}

#[test]
fn position_deletes_are_taken_to_hit_the_files_within_their_bounds() {
    let mut world = World::new();
    let first = world.add(1, 1000);
    let second = world.add(1, 1000);
    world.add(1, 1000);
    world.delete(1, 19, DeleteKind::Position).bounds = Some((first, second));
    assert!(reasons(&world).is_empty());
    world.deletes[0].rows = 20;
    assert_eq!(world.plan().groups[0].inputs.len(), 2);
}

#[test]
fn two_delete_files_are_enough() {
    let mut world = World::new();
    world.add(1, 1000);
    world.delete(1, 1, equality(false));
    assert!(reasons(&world).is_empty());
    world.delete(1, 1, equality(true));
    assert_eq!(reasons(&world), [GroupReason::Deletes]);
}

#[test]
fn any_delete_is_enough_for_a_file_that_costs_nothing() {
    let mut world = World::new();
    world.add(1, 125);
    world.delete(1, 1, equality(false));
    assert_eq!(reasons(&world), [GroupReason::Deletes]);
}

#[test]
fn a_partition_that_is_rewritten_gets_rid_of_all_its_deletes() {
    let mut world = World::new();
    world.options.light_rewrites = false;
    let healthy = world.add(1, 1000);
    let other = world.add(2, 1000);
    world.delete(1, 1, DeleteKind::Position).referenced = Some(healthy);
    world.delete(2, 1, DeleteKind::Position).referenced = Some(other);
    for _ in 0..5 {
        world.add(1, 10);
    }
    let plan = world.plan();
    assert_eq!(plan.groups.len(), 1);
    assert_eq!(plan.groups[0].inputs.len(), 6);
    world.run(&plan, 1.0, 0.0);
    assert_eq!(world.deletes.len(), 1, "the other partition's");
}

#[test]
fn c46_a_global_equality_delete_is_in_the_groups_of_every_partition() {
    let mut world = World::new();
    for partition in 1..=3 {
        world.add(partition, 100);
    }
    world.delete(9, 5, equality(true));
    let plan = world.plan();
    assert_eq!(plan.groups.len(), 3);
    for group in &plan.groups {
        assert_eq!(group.deletes.len(), 1);
        assert_eq!(group.inputs[0].deletes, [0]);
    }
    world.run(&plan, 1.0, 0.0);
    assert!(world.deletes.is_empty());
}

#[test]
fn files_that_can_not_be_rewritten_are_named_with_the_reason() {
    let mut world = World::new();
    for format in [FileFormat::Avro, FileFormat::Orc] {
        world.add(1, 10);
        world.data.last_mut().unwrap().format = format;
    }
    world.add(1, 10);
    world.data.last_mut().unwrap().encrypted = true;
    let under_avro_deletes = world.add(1, 10);
    let delete = world.delete(1, 1, DeleteKind::Position);
    delete.referenced = Some(under_avro_deletes);
    delete.format = FileFormat::Avro;
    let unsupported = |format: &str| LeftAloneReason::UnsupportedFormat {
        format: format.to_owned(),
    };
    let expected = [
        LeftAloneReason::Encrypted,
        unsupported("avro"),
        unsupported("orc"),
    ];
    assert_eq!(left(&world), expected);
    assert_eq!(world.plan().left_alone[1].files, 2);
}

#[test]
fn disabled_tables_are_left_alone() {
    let mut world = World::new();
    for _ in 0..5 {
        world.add(1, 10);
    }
    let off = ("icepress.enabled".to_owned(), "false".to_owned());
    world.properties.extend([off]);
    assert_eq!(left(&world), [LeftAloneReason::Disabled]);
    assert!(world.plan().groups.is_empty() && !world.plan().follow_up);
}

/// A group with both would write down the ids of some rows and leave the others to the commit.
#[test]
fn c23_files_with_and_without_row_ids_are_never_rewritten_together() {
    let mut world = World::new();
    world.version = iceberg::spec::FormatVersion::V3;
    for number in 0..12 {
        world.add(1, 10);
        let file = world.data.last_mut().unwrap();
        file.first_row_id = (number % 2 == 0).then_some(RowId(number * 100));
    }
    let groups = world.plan().groups;
    assert_eq!(groups.len(), 2);
    for (group, with_ids) in groups.iter().zip([true, false]) {
        assert_eq!(group.inputs.len(), 6);
        let mut inputs = group.inputs.iter();
        assert!(inputs.all(|input| input.first_row_id.is_some() == with_ids));
    }
    assert_eq!(groups[0].inputs[1].first_row_id, Some(RowId(200)));
    // Three of a kind are too few, though there are six files.
    world.data.truncate(6);
    assert!(world.plan().groups.is_empty());
}

#[test]
fn a_person_can_ask_for_all_files() {
    let mut world = World::new();
    for partition in 1..=3 {
        world.add(partition, 1000);
    }
    world.options.force = true;
    world.options.max_plan_files = 1;
    assert_eq!(reasons(&world), [const { GroupReason::Forced }; 3]);
    // Asked again, all would be rewritten again: nobody must.
    assert!(!world.plan().follow_up);
}

#[test]
fn a_full_plan_takes_the_worst_partition_first() {
    let mut world = World::new();
    for _ in 0..6 {
        world.add(1, 700);
    }
    for _ in 0..60 {
        world.add(2, 10);
    }
    world.options.max_plan_files = 60;
    let plan = world.plan();
    assert_eq!(plan.groups.len(), 1);
    assert_eq!(plan.groups[0].partition_name, "p=2");
    assert!(plan.follow_up);
    assert_eq!(left(&world), [LeftAloneReason::PlanFull]);
    // One group is always allowed.
    world.options.max_plan_files = 1;
    assert_eq!(world.plan().groups[0].inputs.len(), 60);
}

#[test]
fn a_table_with_much_to_do_is_planned_in_slices_of_so_many_groups() {
    let mut world = World::new();
    for partition in 0..30 {
        for _ in 0..6 {
            world.add(partition, 10);
        }
    }
    assert_eq!(world.plan().groups.len(), 30);
    world.options.max_plan_groups = 7;
    let plan = world.plan();
    assert_eq!(plan.groups.len(), 7);
    assert!(plan.follow_up);
    assert_eq!(left(&world), [const { LeftAloneReason::PlanFull }; 23]);
    world.options.max_plan_groups = 30;
    assert_eq!(world.plan().groups.len(), 30);
}

#[test]
fn a_table_without_a_snapshot_has_nothing_to_do() {
    let world = World::new();
    let scan = icepress_table::scan::SnapshotScan::empty("c.ns.t".parse().unwrap());
    let plan = plan_table(&scan, &world.metadata(), &"v1".into(), &world.options).unwrap();
    assert_eq!(plan.base, None);
    assert!(plan.groups.is_empty() && plan.left_alone.is_empty() && !plan.follow_up);
    assert_eq!((plan.health.score, plan.health.amoro_score), (100.0, 100.0));
}

#[test]
fn a_bad_property_is_an_error_that_names_it() {
    let mut world = World::new();
    let bad = ("icepress.max-plan-files".to_owned(), "many".to_owned());
    world.properties.extend([bad]);
    let planned = plan_table(
        &world.scan(),
        &world.metadata(),
        &"v1".into(),
        &world.options,
    );
    assert_eq!(
        planned.unwrap_err().to_string(),
        "table c.ns.t: the property icepress.max-plan-files is 'many', but must be a number, 1 or more"
    );
}

#[test]
fn many_small_commits_do_not_make_a_plan_of_unbounded_size() {
    let mut world = World::new();
    for _ in 0..3500 {
        world.add(1, 10);
        world.delete(1, 1, equality(false));
    }
    let plan = world.plan();
    let inputs = plan.groups.iter().flat_map(|group| &group.inputs);
    let pairs: usize = inputs.map(|input| input.deletes.len()).sum();
    assert!((1 << 20..=4 << 20).contains(&pairs), "{pairs}");
    assert!(plan.groups.len() > 1 && plan.follow_up);
}

#[test]
fn whoever_wants_all_rows_gets_all_files() {
    let mut world = World::new();
    world.version = iceberg::spec::FormatVersion::V3;
    for number in 0..3500 {
        world.add(number % 3, 1000);
        world.delete(number % 3, 1, equality(true));
    }
    world.data.last_mut().unwrap().format = FileFormat::Orc;
    let limits = [("enabled", "false"), ("max-plan-files", "1")];
    let limits = limits.map(|(name, value)| (format!("icepress.{name}"), value.to_owned()));
    world.properties.extend(limits);
    let (groups, left_alone) = group_all(&world.scan(), &world.metadata()).unwrap();
    let files: usize = groups.iter().map(|group| group.inputs.len()).sum();
    assert_eq!((files, left_alone.len()), (3499, 1));
}

#[test]
fn what_a_cut_leaves_over_is_looked_at_again() {
    let mut world = World::new();
    world.options.min_input_files = 2;
    world.options.max_group_files = 3;
    for _ in 0..4 {
        world.add(0, 10);
    }
    // Three files are a group, and the fourth alone is none: not before the group has become a file.
    let plan = world.plan();
    assert_eq!(plan.groups.len(), 1);
    assert_eq!(plan.groups[0].inputs.len(), 3);
    assert!(plan.follow_up);
    world.run(&plan, 1.0, 0.0);
    let plan = world.plan();
    assert_eq!(plan.groups.len(), 1);
    assert!(!plan.follow_up);
    world.run(&plan, 1.0, 0.0);
    assert!(world.plan().groups.is_empty());
}

#[test]
fn partitions_that_the_filter_has_nothing_of_are_left_alone_with_it() {
    let mut world = World::new();
    for partition in [1, 2] {
        for _ in 0..5 {
            world.add(partition, 10);
        }
    }
    let filter = |world: &mut World, text: &str| {
        let key = "icepress.partition-filter".to_owned();
        world.properties.insert(key, text.to_owned());
    };
    filter(&mut world, "p > 1");
    let plan = world.plan();
    let groups: Vec<&str> = plan
        .groups
        .iter()
        .map(|it| it.partition_name.as_str())
        .collect();
    assert_eq!(groups, ["p=2"]);
    assert_eq!(plan.left_alone.len(), 1);
    let left = &plan.left_alone[0];
    assert_eq!((left.partition_name.as_str(), left.files), ("p=1", 5));
    let reason = LeftAloneReason::Filtered {
        filter: "p > 1".to_owned(),
    };
    assert_eq!(left.reason, reason);
    assert!(
        reason.to_string().contains("icepress.partition-filter"),
        "{reason}"
    );
    filter(&mut world, "q > 1");
    let error = world.try_plan().unwrap_err().to_string();
    assert!(
        error.contains("no column 'q'") && error.contains("partitioned by p"),
        "{error}"
    );
}

#[test]
fn an_equality_delete_of_the_whole_table_stays_where_the_filter_leaves_a_part_alone() {
    let mut world = World::new();
    for partition in [1, 2] {
        for _ in 0..3 {
            world.add(partition, 1_000);
        }
    }
    for _ in 0..4 {
        world.delete(1, 1, equality(true));
    }
    let light = |world: &World| {
        let groups = world.plan().groups;
        groups
            .iter()
            .filter(|group| group.tier == icepress_model::Tier::Light)
            .count()
    };
    assert!(light(&world) > 0);
    world
        .properties
        .insert("icepress.partition-filter".to_owned(), "p = 1".to_owned());
    assert_eq!(light(&world), 0);
}
