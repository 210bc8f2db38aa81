//! Amoro's score by its formula, worked out by hand; ours by what it is meant to say.

use proptest::prelude::*;

use super::*;

const MB: u64 = 1_000_000;
/// So that Amoro's least size is 96 MB.
const TARGET: u64 = 128 * MB;

fn amoro(files: u64, bytes: u64, equality: u64, position: u64) -> PartitionFacts {
    PartitionFacts {
        amoro: AmoroFacts {
            files,
            bytes,
            rows: 1000,
            equality_records: equality,
            position_records: position,
        },
        ..PartitionFacts::default()
    }
}

fn score(partitions: &[PartitionFacts]) -> f64 {
    amoro_score(partitions, TARGET)
}

#[test]
fn amoros_score_is_amoros() {
    // One file or none is no problem, whatever its size.
    assert_eq!(score(&[]), 100.0);
    assert_eq!(score(&[amoro(1, MB, 0, 0)]), 100.0);
    // Twelve files of 1 MB: P = 12/12 × 12/96 = 1/8; small = ⌈40 − 5 × (1 − 1/96)⌉ = ⌈35.05⌉.
    assert_eq!(score(&[amoro(12, 12 * MB, 0, 0)]), 96.0);
    // 96 of them: P = 1; small = ⌈40 − 40 × 95/96⌉ = ⌈0.42⌉.
    assert_eq!(score(&[amoro(96, 96 * MB, 0, 0)]), 61.0);
    // And 5 % of the rows in equality deletes: half of ten per cent; 5 % in position deletes: a quarter of twenty.
    assert_eq!(score(&[amoro(96, 96 * MB, 50, 50)]), 1.0 + 20.0 + 15.0);
    assert_eq!(score(&[amoro(96, 96 * MB, 900, 900)]), 1.0);
    // The mean of each part over the partitions, rounded up.
    assert_eq!(
        score(&[amoro(96, 96 * MB, 0, 0), amoro(1, MB, 0, 0)]),
        21.0 + 40.0 + 20.0
    );
}

fn files(good: u64, small: u64, small_bytes: u64) -> PartitionFacts {
    PartitionFacts {
        files: good + small,
        bytes: good * TARGET + small * small_bytes,
        good_files: good,
        wrong_bytes: small * small_bytes,
        rows: 1000,
        ..PartitionFacts::default()
    }
}

fn ours(facts: PartitionFacts) -> f64 {
    partition_score(&facts, TARGET)
}

#[test]
fn our_score_falls_with_what_a_reader_suffers_from() {
    assert_eq!(ours(files(0, 0, 0)), 100.0);
    assert_eq!(ours(files(10, 0, 0)), 100.0);
    assert_eq!(ours(files(0, 1, MB)), 100.0);
    let few = ours(files(10, 4, MB));
    let some = ours(files(10, 12, MB));
    let many = ours(files(10, 1000, 10_000));
    assert!(
        few > 90.0 && some > many && many < 45.0,
        "{few} {some} {many}"
    );

    let good = files(10, 0, 0);
    let deleted = |rows: f64| PartitionFacts {
        deleted_rows: rows,
        ..good
    };
    assert_eq!(ours(deleted(150.0)), 85.0);
    assert_eq!(ours(deleted(900.0)), 70.0);
    let under_many_deletes = PartitionFacts { pairs: 60, ..good };
    assert_eq!(ours(under_many_deletes), 85.0);
    let row_groups = |row_groups: u64| PartitionFacts {
        row_groups,
        row_group_bytes: good.bytes,
        ..good
    };
    assert_eq!(ours(row_groups(10)), 100.0);
    assert!(ours(row_groups(10_000)) < 91.0);
}

#[test]
fn ours_weighs_partitions_by_bytes_and_amoros_does_not() {
    let large = PartitionFacts {
        amoro: AmoroFacts::default(),
        ..files(1000, 0, 0)
    };
    let tiny = PartitionFacts {
        amoro: amoro(96, 96 * MB, 900, 900).amoro,
        ..files(0, 96, 10)
    };
    let health = table_health(&[large, tiny], TARGET);
    assert!(health.score > 99.9, "{health:?}");
    assert_eq!(health.amoro_score, 51.0);
}

proptest! {
    #[test]
    fn scores_are_between_0_and_100(
        good_files in 0..1000u64,
        small in 0..1000u64,
        size in 0..TARGET,
        deleted in 0.0..1000.0f64,
        pairs in 0..1_000_000u64,
        row_groups in 0..1_000_000u64,
        records in 0..10_000u64,
    ) {
        let facts = PartitionFacts {
            deleted_rows: deleted,
            pairs,
            row_groups,
            row_group_bytes: size,
            amoro: amoro(small, small * size, records, records).amoro,
            ..files(good_files, small, size)
        };
        let health = table_health(&[facts, facts], TARGET);
        prop_assert!((0.0..=100.0).contains(&health.score), "{:?}", health);
        prop_assert!((0.0..=100.0).contains(&health.amoro_score), "{:?}", health);
    }
}
