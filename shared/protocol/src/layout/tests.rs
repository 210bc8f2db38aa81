use std::num::NonZeroU32;

use icepress_model::{CatalogName, Epoch, Namespace, TimestampMs};

use super::*;
use crate::transition::rehome;

fn buckets(count: u32) -> BucketCount {
    BucketCount(NonZeroU32::new(count).unwrap())
}

fn table(number: u32) -> TableId {
    TableId {
        catalog: CatalogName::from("lake"),
        namespace: Namespace(vec!["sales".to_owned()]),
        name: format!("t{number}"),
    }
}

#[test]
fn no_bucket_is_given_up_before_its_tables_have_moved() {
    let eight = Layout::first(buckets(8));
    assert_eq!(resize(&eight, buckets(8)), None, "nothing to do");
    let two = resize(&eight, buckets(2)).unwrap();
    assert_eq!(two.swept(), buckets(8));
    // Changed again before everything has moved.
    let three = resize(&two, buckets(3)).unwrap();
    assert_eq!((three.buckets, three.swept()), (buckets(3), buckets(8)));
    assert_eq!(settle(&three, two.generation), None, "of an older layout");
    let settled = settle(&three, three.generation).unwrap();
    assert_eq!(settled.swept(), buckets(3));
    assert_eq!(settle(&settled, settled.generation), None, "once");

    let hasty = Layout {
        former: None,
        ..two
    };
    let said = invariants::layout_step(&eight, &hasty).unwrap_err();
    assert!(said.contains("gave up buckets"), "{said}");
    let silent = Layout {
        generation: eight.generation,
        ..two
    };
    let said = invariants::layout_step(&eight, &silent).unwrap_err();
    assert!(said.contains("number of buckets changed"), "{said}");
}

#[test]
fn every_table_of_a_former_layout_keeps_it_and_none_of_the_new_one_does() {
    let before = Layout::first(buckets(8));
    let after = resize(&before, buckets(2)).unwrap();
    for number in 0..200 {
        let row = TableRow {
            epoch: Epoch(9),
            ..TableRow::unknown(before.home_of(&table(number)), table(number))
        };
        assert!(keeps_former(&after, &row, None));
        let moved = rehome(&row, after.home_of(&row.table)).unwrap();
        assert!(after.buckets.contains(moved.bucket));
        assert!(!keeps_former(&after, &moved, None));
        assert!(!keeps_former(&after, &moved, Some(BucketId(1))));
        let has_stayed = moved.bucket == row.bucket;
        assert_eq!(moved.epoch, Epoch(if has_stayed { 9 } else { 0 }));
        // Its process was sent to a queue that is not there for ever.
        assert!(keeps_former(&after, &moved, Some(BucketId(7))));
        assert_eq!(rehome(&moved, before.home_of(&row.table)), None, "back");
    }
}

#[test]
fn a_row_in_two_buckets_under_one_layout_is_told() {
    let layout = Layout::first(buckets(8));
    let row = TableRow::unknown(layout.home_of(&table(1)), table(1));
    let elsewhere = TableRow {
        bucket: BucketId(row.bucket.0 + 1),
        ..row.clone()
    };
    let said = invariants::table_step(Some(&row), &elsewhere).unwrap_err();
    assert!(said.contains("two buckets under one layout"), "{said}");
    let due_nowhere = TableRow {
        bucket: BucketId(8),
        due_at: Some(TimestampMs(5)),
        ..row
    };
    assert!(invariants::is_swept(&due_nowhere, &layout).is_err());
}
