//! Kinds of upkeep beside expiry, each by itself on a real table: what was done, that it is done once, and what is told of it.

use std::time::Duration;

use icepress_model::{ProcessKind, TableId, TimestampMs};
use icepress_service::{
    Context, Upkeep,
    embedded::{RunReport, Stop, TableOutcome, run_once},
    tables,
};
use icepress_tests::{Lab, settings_for_tests};

const DAY: Duration = Duration::from_secs(24 * 3600);

async fn run(context: &Context) -> RunReport {
    let report = run_once(context, 2, &Stop::default()).await.unwrap();
    assert_eq!(report.failed, 0, "{report:?}");
    report
}

/// What a run did to the only table beside rewrites.
async fn maintained(context: &Context) -> Vec<String> {
    run(context).await.tables.remove(0).maintained
}

/// A second run does nothing.
async fn is_settled(context: &Context, table: &TableId) -> bool {
    let before = context.store.processes_of(table, 99).await.unwrap().len();
    let outcome = run(context).await.tables[0].outcome;
    let after = context.store.processes_of(table, 99).await.unwrap().len();
    (outcome, after) == (TableOutcome::Unchanged, before)
}

/// What `icepress explain` says of the table's upkeep, and the kinds of its processes, the newest first.
async fn explained(context: &Context, table: &TableId) -> (Upkeep, Vec<ProcessKind>) {
    let explained = tables::explain(context, table).await.unwrap();
    let upkeep = Upkeep::of(&explained.row.unwrap()).unwrap();
    let kinds = explained.processes.iter().map(|process| process.kind);
    (upkeep, kinds.collect())
}

/// A table of eight small files with these properties, and who works on it.
async fn table_with(seed: u64, properties: &[(&str, &str)]) -> (Lab, TableId, Context) {
    let lab = Lab::new(seed).await;
    let table = lab.create_table("events", properties).await;
    lab.append_numbered(&table, &["eu"], 8, 10, 0).await;
    let worker = lab.worker(settings_for_tests("a"));
    (lab, table, worker)
}

async fn tags(lab: &Lab, table: &TableId) -> Vec<String> {
    let refs = lab.load(table).await.metadata.refs().unwrap();
    refs.into_keys().filter(|name| name != "main").collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn recovery_points_are_made_when_their_day_begins_and_a_table_at_rest_costs_no_commit() {
    let properties = [
        ("icepress.maintain.tags", "true"),
        ("icepress.tag.daily", "2d"),
    ];
    let (lab, table, worker) = table_with(71, &properties).await;
    // Its oldest state, as a table that is younger than its day has no other.
    let did = maintained(&worker).await;
    let first = tags(&lab, &table).await;
    assert_eq!(did, [format!("tagged {}", first[0])]);
    assert!(is_settled(&worker, &table).await);
    let (upkeep, kinds) = explained(&worker, &table).await;
    assert_eq!(kinds, [ProcessKind::Tags, ProcessKind::Rewrite]);
    let midnight = upkeep.later[&ProcessKind::Tags];
    assert!(midnight > lab.ambient.now() && midnight <= lab.ambient.now() + DAY);
    assert_eq!(midnight.get() % 86_400_000, 0, "by UTC");
    let row = worker.store.table(&table).await.unwrap().unwrap();
    assert_eq!(row.due_at, Some(midnight), "nobody looks before");

    // The rewrite's state, and then there is nothing new until the first is over.
    lab.clock.advance(DAY);
    let did = maintained(&worker).await;
    let second = tags(&lab, &table).await;
    assert_eq!((did.len(), second.len()), (1, 2), "{did:?}");
    assert!(is_settled(&worker, &table).await);
    lab.clock.advance(2 * DAY);
    let did = maintained(&worker).await;
    assert!(did[0].contains("whose time is over"), "{did:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_table_says_of_its_tags_and_nobody_can_read_is_refused_by_its_name() {
    let properties = [
        ("icepress.maintain.tags", "true"),
        ("icepress.tag.dayly", "2d"),
    ];
    let (lab, table, worker) = table_with(72, &properties).await;
    let report = run(&worker).await;
    assert_eq!(report.tables[0].outcome, TableOutcome::Compacted);
    assert!(tags(&lab, &table).await.is_empty());
    let (upkeep, kinds) = explained(&worker, &table).await;
    assert_eq!(kinds, [ProcessKind::Rewrite]);
    let why = &upkeep.refused[&ProcessKind::Tags];
    assert!(why.contains("icepress.tag.dayly"), "{why}");
}

#[tokio::test(flavor = "multi_thread")]
async fn partitions_go_when_they_pass_their_age_where_the_table_and_its_keeper_both_say_so() {
    let lab = Lab::new(73).await;
    // Long after everything else, so that no clock has to be moved.
    let (day, midnight) = ("2999-01-01", TimestampMs(32_472_144_000_000));
    let of_table = [
        ("icepress.age-out.field", "region"),
        ("icepress.age-out.keep", "5d"),
        ("icepress.age-out.base", "now"),
    ];
    let on = ("icepress.maintain.age-out", "true");
    let said = lab.create_table("said", &of_table).await;
    let switched = lab.create_table("switched", &[on]).await;
    let both = [&of_table[..], &[on]].concat();
    let table = lab.create_table("both", &both).await;
    let worker = lab.worker(settings_for_tests("a"));
    for table in [&said, &switched, &table] {
        lab.append_numbered(table, &["2020-01-01", day], 1, 10, 0)
            .await;
    }
    run(&worker).await;
    for table in [&said, &switched] {
        assert_eq!(
            lab.rows(table).await.1.len(),
            2,
            "{table}: one of the two says nothing"
        );
    }
    let (rows, files) = lab.rows(&table).await;
    assert_eq!((rows.len(), files.len()), (10, 1));
    assert!(rows.iter().all(|row| row.region == day));
    let (upkeep, kinds) = explained(&worker, &table).await;
    assert_eq!(kinds, [ProcessKind::AgeOut]);
    let next = upkeep.later[&ProcessKind::AgeOut];
    assert_eq!(next, midnight + 5 * DAY);
    let processes = worker.store.processes_of(&table, 9).await.unwrap();
    let told = format!("{:?}", processes[0].state);
    assert!(told.contains("let go of 1 files with 10 rows"), "{told}");
    assert!(is_settled(&worker, &table).await);
    let row = worker.store.table(&table).await.unwrap().unwrap();
    assert_eq!(row.due_at, Some(next));
}
