//! Many tables are seen in time, whatever their databases look like, for little.
#![allow(missing_docs, clippy::unwrap_used)]

use std::time::Duration;

use icepress_simulation::scale::{PAGE_TAKES, PERIOD, Scale, Seen, run};

/// Fewer tables than `bench requests` plays, of a catalog that is slower by as much: cheap, and too much for one tick.
const SCALE: Scale = Scale {
    tables: 6_000,
    databases: 40,
    buckets: 16,
    changed: 60,
    schedulers: 3,
    page_takes: Duration::from_secs(1),
};

fn is_in_time(seen: &Seen) {
    assert!(seen.ticks <= 2 && seen.took < PERIOD * 2, "{seen:?}");
}

#[test]
fn every_table_that_changed_is_looked_at_within_two_periods() {
    let seen = run(SCALE).unwrap();
    is_in_time(&seen);
    // Each bucket is handed out once a tick, and not more often.
    let ticks = seen.ticks + 2;
    let most = (u64::from(SCALE.buckets) + 1) * ticks;
    assert!(seen.runs.count <= most, "{seen:?}");
    // No bucket was left to a tick that can't have done it alone.
    assert!(seen.runs.count > seen.ticks, "{seen:?}");
}

#[test]
fn so_are_those_of_one_long_database_while_its_bucket_is_swept() {
    let seen = run(Scale {
        databases: 1,
        ..SCALE
    })
    .unwrap();
    is_in_time(&seen);
}

#[test]
fn a_listing_longer_than_a_run_goes_on_at_its_page() {
    // 60 pages are 480 s, of runs of 300 s.
    let seen = run(Scale {
        databases: 1,
        page_takes: Duration::from_secs(8),
        ..SCALE
    })
    .unwrap();
    assert!(seen.took > Duration::from_secs(450), "{seen:?}");
    assert!(seen.took < PERIOD * 3, "{seen:?}");
    // Each was read once, but for those that the next listing had begun with.
    assert!((60..75).contains(&seen.pages), "{seen:?}");
}

#[test]
fn a_small_deployment_hands_nothing_out_and_reads_alone_at_rest() {
    let seen = run(Scale {
        tables: 2_000,
        databases: 10,
        buckets: 4,
        changed: 5,
        page_takes: PAGE_TAKES,
        ..SCALE
    })
    .unwrap();
    assert_eq!(seen.ticks, 1, "{seen:?}");
    assert_eq!(seen.idle_runs.count, seen.idle_runs.ticks, "{seen:?}");
    let errands: Vec<&String> = seen
        .requests
        .keys()
        .filter(|kind| kind.starts_with("SQS"))
        .collect();
    assert!(errands.is_empty(), "{errands:?}");
    let reads = [
        "DynamoDB.GetItem",
        "DynamoDB.BatchGetItem",
        "DynamoDB.Query",
        "Glue.GetTables",
    ];
    let others: Vec<&String> = seen
        .idle
        .keys()
        .filter(|kind| !reads.contains(&kind.as_str()))
        .collect();
    assert!(others.is_empty(), "{others:?}");
}
