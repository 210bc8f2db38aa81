//! Of many tables the first in an order are kept, and no more.

use icepress_coordination::TableRow;
use icepress_model::{BucketId, Generation, TableId};

use super::*;

/// A table of so many bytes; one that was never looked at where nobody knows.
fn known(number: u64, bytes: Option<u64>) -> Known {
    let table: TableId = format!("lake.shop.t{number:06}").parse().unwrap();
    let home = icepress_coordination::Home {
        bucket: BucketId(0),
        layout: Generation(1),
    };
    let row = bytes.map(|bytes| TableRow {
        conclusion: Some(format!("{{\"totals\":{{\"data_bytes\":{bytes}}}}}")),
        ..TableRow::unknown(home, table.clone())
    });
    Known::new(&table, None, row.as_ref(), icepress_model::TimestampMs(0))
}

#[test]
fn of_a_hundred_thousand_tables_the_first_few_are_kept() {
    let mut first = First::new(SortBy::Bytes, Some(5));
    let mut most = 0;
    for number in 0..100_000 {
        // Every size once, in no order; each third table is not known.
        let bytes = (number * 77_777) % 100_003;
        first.add(known(number, (number % 3 > 0).then_some(bytes)));
        most = most.max(first.kept.len());
    }
    assert!(most <= 2 * 5 + TOGETHER, "{most} were in memory");
    let mut all: Vec<u64> = (0..100_000)
        .filter(|number| number % 3 > 0)
        .map(|number| (number * 77_777) % 100_003)
        .collect();
    all.sort_unstable_by(|a, b| b.cmp(a));
    let kept = first.in_order();
    let sizes: Vec<Option<u64>> = kept.iter().map(Known::known_bytes).collect();
    let expected: Vec<Option<u64>> = all[..5].iter().copied().map(Some).collect();
    assert_eq!(sizes, expected);
}

#[test]
fn what_is_not_known_comes_last_and_equals_go_by_name() {
    for by in [SortBy::Bytes, SortBy::Health, SortBy::Files] {
        let mut first = First::new(by, None);
        for (number, bytes) in [(3, None), (2, Some(7)), (1, Some(7)), (0, None)] {
            first.add(known(number, bytes));
        }
        let names: Vec<String> = first
            .in_order()
            .iter()
            .map(|known| known.cells()[0].clone())
            .collect();
        let expected: &[u64] = match by {
            SortBy::Bytes => &[1, 2, 0, 3],
            _ => &[0, 1, 2, 3],
        };
        let expected: Vec<String> = expected
            .iter()
            .map(|n| format!("lake.shop.t{n:06}"))
            .collect();
        assert_eq!(names, expected, "{by:?}");
    }
}
