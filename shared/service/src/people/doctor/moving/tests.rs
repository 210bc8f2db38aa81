use std::{num::NonZeroU32, time::Duration};

use icepress_coordination::{Severity, layout};
use icepress_model::{BucketCount, BucketId, Epoch, Generation, TableId};

use super::*;

const NOW: TimestampMs = TimestampMs(1_760_000_000_000);

fn count(number: u32) -> BucketCount {
    BucketCount(NonZeroU32::new(number).unwrap())
}

/// Tables in buckets of a layout, due just now.
fn rows(layout: &Layout, numbers: std::ops::Range<u32>) -> Vec<TableRow> {
    let row = |number| {
        let table: TableId = format!("lake.sales.t{number}").parse().unwrap();
        TableRow {
            due_at: Some(NOW),
            epoch: Epoch(1),
            ..TableRow::unknown(layout.home_of(&table), table)
        }
    };
    numbers.map(row).collect()
}

fn finding(layout: &Layout, tables: &[TableRow], now: TimestampMs) -> Finding {
    let (mut places, mut astray) = (Places::default(), Astray::default());
    for row in tables {
        places.add(layout, row);
        astray.add(layout, row, now);
    }
    match layout.is_moving() {
        true => moving(layout, places.old, places.all, now),
        false => settled(layout, &astray),
    }
}

#[test]
fn a_resize_that_is_not_finished_is_told_with_its_age_and_what_is_left() {
    let eight = Layout::first(count(8));
    let tables = rows(&eight, 0..9);
    assert_eq!(finding(&eight, &tables, NOW).severity, Severity::Well);

    let begun = NOW - Duration::from_secs(7_200);
    let two = layout::resize(&eight, count(2)).unwrap();
    let said = finding(&two.noted(begun), &tables, NOW);
    assert_eq!(said.severity, Severity::Doubt);
    assert_eq!(
        said.seen,
        "tables have been moving to 2 buckets for 2 h: not moved yet: 9 of 9 tables"
    );
    let advice = said.advice.unwrap();
    assert!(advice.contains("icepress buckets resize 2"), "{advice}");
    assert!(advice.contains("all 8 queues"), "{advice}");

    let said = finding(&two, &rows(&two, 0..9), NOW);
    assert!(
        said.seen
            .contains("that nobody noted: all of 9 tables have moved, and processes"),
        "{}",
        said.seen
    );
}

#[test]
fn due_tables_of_an_older_layout_in_no_bucket_are_told() {
    let layout = Layout {
        generation: Generation(3),
        ..Layout::first(count(2))
    };
    let mut tables = rows(&layout, 0..4);
    let lost = |due_at| TableRow {
        bucket: BucketId(5),
        layout: Generation(2),
        due_at,
        ..tables[0].clone()
    };
    let settled = lost(None);
    let due = lost(Some(NOW));
    tables.push(settled);
    assert_eq!(finding(&layout, &tables, NOW).severity, Severity::Well);
    tables.push(due);
    let said = finding(&layout, &tables, NOW);
    assert_eq!(said.severity, Severity::Doubt);
    assert!(
        said.seen.starts_with("1 table of an older layout"),
        "{}",
        said.seen
    );
}

#[test]
fn buckets_of_former_layouts_are_searched_where_there_were_any() {
    let numbers = |layout: &Layout| buckets_to_search(layout).count();
    let eight = Layout::first(count(8));
    assert_eq!(numbers(&eight), 8);
    let two = layout::resize(&eight, count(2)).unwrap();
    let two = layout::settle(&two, two.generation).unwrap();
    assert_eq!(numbers(&two), 128);
}
