//! Tables with nothing to do but for delete files that nothing matches.

use icepress_model::{GroupReason, TablePlan, Tier};
use icepress_table::scan::{DeleteKind, FileFormat};

use super::world::{World, equality};

/// A table of two partitions with one good file each, and an older one.
fn healthy() -> (World, String) {
    let mut world = World::new();
    world.add(1, 1000);
    world.sequence_number = 5;
    let second = world.add(2, 1000);
    (world, second)
}

/// The delete files, by index, that the plan's only group names; none where there is no group.
fn dangling(world: &World, plan: &TablePlan) -> Vec<usize> {
    let Some(group) = plan.groups.first() else {
        return Vec::new();
    };
    assert_eq!(
        (plan.groups.len(), group.tier, &group.reason),
        (1, Tier::Dangling, &GroupReason::Dangling)
    );
    assert!(!plan.follow_up && group.bytes_to_read().get() == 0 && group.expected_outputs() == 0);
    let place = |path: &String| world.deletes.iter().position(|delete| delete.path == *path);
    let paths = group.deletes.iter().map(|delete| place(&delete.path));
    paths.collect::<Option<_>>().unwrap()
}

/// Without a plan of their own they would stay as long as the data files need nothing.
#[test]
fn c18_dangling_deletes_are_a_plan_where_nothing_else_is_to_be_done() {
    let (mut world, second) = healthy();
    // Older than the partition's only file, by value and by position.
    world.delete(2, 1, equality(false)).sequence_number = 5;
    world.delete(2, 1, DeleteKind::Position).sequence_number = 4;
    // Where there is nothing.
    world.delete(3, 1, equality(false));
    world.delete(3, 1, DeleteKind::Position);
    // Of files that are gone; one of them is another's name with something after it.
    world.delete(2, 1, DeleteKind::Position).referenced = Some("s3://b/t/gone".to_owned());
    let longer = format!("{second}.old");
    world.delete(1, 1, DeleteKind::Position).bounds = Some((longer.clone(), longer));
    let plan = world.plan();
    assert_eq!(dangling(&world, &plan), [0, 1, 2, 3, 4, 5]);
    world.run(&plan, 1.0, 0.0);
    assert!(world.deletes.is_empty());
    assert!(world.plan().groups.is_empty());
}

#[test]
fn c18_delete_files_that_something_may_match_do_not_dangle() {
    let (mut world, second) = healthy();
    let kept = |world: &World| dangling(world, &world.plan()).is_empty();
    world.delete(1, 1, DeleteKind::Position).sequence_number = 1;
    assert!(kept(&world), "a position delete applies to its own number");
    world.deletes.clear();
    world.delete(2, 1, equality(false)).sequence_number = 6;
    assert!(kept(&world), "an equality delete applies to older data");
    world.deletes.clear();
    world.delete(9, 1, equality(true)).sequence_number = 2;
    assert!(kept(&world), "in all partitions where it is global");
    world.deletes.clear();
    world.delete(9, 1, equality(true)).sequence_number = 1;
    assert_eq!(
        dangling(&world, &world.plan()),
        [0],
        "and to older data alone"
    );
    world.deletes.clear();
    // Readers that go by path do so in every partition, whatever the numbers are.
    world.delete(9, 1, DeleteKind::Position).referenced = Some(second.clone());
    world.deletes[0].sequence_number = 2;
    assert!(kept(&world), "it names a live file");
    world.deletes.clear();
    let cut = second[..second.len() - 4].to_owned();
    world.delete(2, 1, DeleteKind::Position).bounds = Some((cut.clone(), cut));
    assert!(kept(&world), "its bounds may have been cut short");
}

/// What stays in the table as it is still is a data file that a delete file may match.
#[test]
fn files_that_can_not_be_read_need_their_deletes() {
    let (mut world, _) = healthy();
    world.data[0].format = FileFormat::Avro;
    world.delete(1, 1, equality(false)).sequence_number = 2;
    assert!(world.plan().groups.is_empty());
    world.properties = [("icepress.enabled".to_owned(), "false".to_owned())].into();
    world.delete(3, 1, equality(false));
    assert!(world.plan().groups.is_empty(), "the table is left alone");
    world.properties.clear();
    assert_eq!(dangling(&world, &world.plan()), [1]);
}

/// Another group's commit takes them out: one of their own would be one too many.
#[test]
fn dangling_deletes_are_no_group_beside_others() {
    let (mut world, _) = healthy();
    for _ in 0..5 {
        world.add(1, 10);
    }
    world.delete(3, 1, equality(false));
    let plan = world.plan();
    assert_eq!(plan.groups.len(), 1);
    assert_eq!(plan.groups[0].tier, Tier::Full);
    world.run(&plan, 1.0, 0.0);
    assert!(world.deletes.is_empty());
}
