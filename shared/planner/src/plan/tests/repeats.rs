//! Work that would repeat itself is known by its files, taken out and remembered.

use icepress_model::{LeftAloneReason, ProcessId, TablePlan, Tier};
use icepress_table::scan::DeleteKind;

use super::world::World;
use crate::{LastRun, take_out_repeats};

fn last(rounds: u32, files: u64) -> LastRun {
    LastRun {
        process: ProcessId::from("7d1f-p"),
        rounds,
        files,
        known: Vec::new(),
    }
}

/// A table whose small files were written by groups of the last process, one each.
fn written_by(groups: &[u32]) -> World {
    let mut world = World::new();
    for (number, group) in groups.iter().enumerate() {
        world.add(1, 100);
        let name = format!("s3://b/t/data/{group:05}-1-7d1f-p-{number:05}.parquet");
        world.data.last_mut().unwrap().path = name;
    }
    world
}

fn reasons(plan: &TablePlan) -> Vec<&LeftAloneReason> {
    plan.left_alone.iter().map(|left| &left.reason).collect()
}

#[test]
fn c55_what_one_group_wrote_is_not_taken_again() {
    let mut plan = written_by(&[3; 6]).plan();
    assert_eq!(plan.groups.len(), 1);
    let repeated = take_out_repeats(&mut plan, &last(0, 6));
    assert_eq!((repeated.groups, repeated.known.len()), (1, 1));
    assert!(plan.groups.is_empty());
    assert_eq!(reasons(&plan), [&LeftAloneReason::Repeats]);
    // By another name of the process it is nobody's, and by hashed paths it is.
    let mut other = written_by(&[3; 6]);
    other.data[0].path = "s3://b/t/data/00003-1-other-00001.parquet".to_owned();
    let mut plan = other.plan();
    assert_eq!(take_out_repeats(&mut plan, &last(0, 6)).groups, 0);
    let mut hashed = written_by(&[3; 6]);
    for file in &mut hashed.data {
        file.path = file.path.replace("data/", "data/0101/1010-");
    }
    let mut plan = hashed.plan();
    assert_eq!(take_out_repeats(&mut plan, &last(0, 6)).groups, 1);
}

/// Leftovers of several groups are merged, but not for ever.
#[test]
fn c55_leftovers_are_merged_as_long_as_they_get_fewer() {
    let world = written_by(&[1, 2, 3, 4, 5, 6]);
    let judge = |rounds, files| {
        let repeated = take_out_repeats(&mut world.plan(), &last(rounds, files));
        (repeated.groups, repeated.rounds)
    };
    assert_eq!(judge(0, 6), (0, 1));
    assert_eq!(judge(1, 7), (0, 0), "fewer files are progress");
    assert_eq!(judge(2, 6), (0, 3));
    assert_eq!(judge(3, 6), (1, 0));
    // A foreign delete is news.
    let mut hit = world.clone();
    hit.delete(1, 20, DeleteKind::Position);
    let repeated = take_out_repeats(&mut hit.plan(), &last(3, 6));
    assert_eq!((repeated.groups, repeated.rounds), (0, 0));
}

/// The light groups of a table go together, and so they stay.
#[test]
fn c55_deletes_that_were_written_anew_are_not_written_anew() {
    let mut world = World::new();
    for partition in [1, 2] {
        let path = world.add(partition, 1000);
        for number in 0..2 {
            let delete = world.delete(partition, 2, DeleteKind::Position);
            delete.referenced = Some(path.clone());
            if partition == 1 {
                delete.path = format!("s3://b/t/00000-2-7d1f-p-{number:05}-deletes.parquet");
            }
        }
    }
    let plan = world.plan();
    assert_eq!(plan.groups.len(), 2);
    assert!(plan.groups.iter().all(|group| group.tier == Tier::Light));
    let mut judged = plan.clone();
    let repeated = take_out_repeats(&mut judged, &last(0, 2));
    assert_eq!((repeated.groups, judged.groups.len()), (2, 0));
    // Remembered, it stays out when another process has been the last.
    let later = LastRun {
        process: ProcessId::from("later"),
        known: repeated.known.clone(),
        ..last(0, 0)
    };
    let mut again = plan.clone();
    assert_eq!(take_out_repeats(&mut again, &later).groups, 2);
    // One delete file more, and the inputs are new.
    let path = world.data[0].path.clone();
    world.delete(1, 1, DeleteKind::Position).referenced = Some(path);
    let path = world.data[1].path.clone();
    world.delete(2, 1, DeleteKind::Position).referenced = Some(path);
    assert_eq!(take_out_repeats(&mut world.plan(), &later).groups, 0);
}
