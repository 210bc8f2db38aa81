//! Upkeep by itself: a process as any other, of a kind of its own.

use std::time::Duration;

use icepress_coordination::{ProcessState, limits::Blocker};
use icepress_model::{ProcessKind, ProcessOutcome, Scope, TableId, TimestampMs};
use icepress_service::{
    Context, Settings,
    embedded::{RunReport, Stop, TableOutcome, run_once},
    maintain, processes,
};
use icepress_tests::{Lab, settings_for_tests};
use icepress_upkeep::ExpireRequest;

const HOUR: Duration = Duration::from_secs(3600);
const DAY: Duration = Duration::from_secs(24 * 3600);
const ON: &[(&str, &str)] = &[("icepress.maintain.expire", "true")];

/// A table of one rewrite and the appends before it, six days later: all but the newest snapshot are older than it keeps them.
async fn six_days_old(seed: u64, properties: &[(&str, &str)]) -> (Lab, TableId, Context) {
    let lab = Lab::new(seed).await;
    lab.disk.let_delete();
    let table = lab.create_table("events", properties).await;
    for first in [0, 100] {
        lab.append_numbered(&table, &["eu"], 4, 10, first).await;
    }
    let worker = lab.worker(settings_for_tests("a"));
    let report = run(&worker).await;
    assert_eq!(report.tables[0].outcome, TableOutcome::Compacted);
    assert_eq!(snapshots(&lab, &table).await, 3, "all are young");
    lab.clock.advance(6 * DAY);
    (lab, table, worker)
}

async fn run(context: &Context) -> RunReport {
    run_once(context, 2, &Stop::default()).await.unwrap()
}

async fn snapshots(lab: &Lab, table: &TableId) -> usize {
    lab.load(table).await.metadata.snapshots().len()
}

/// How the newest process of a table ended, and of what kind it was.
async fn newest(context: &Context, table: &TableId) -> (ProcessKind, ProcessState) {
    let processes = context.store.processes_of(table, 1).await.unwrap();
    (processes[0].kind, processes[0].state.clone())
}

/// Data files below the table's folder.
async fn data_files(lab: &Lab, table: &TableId) -> usize {
    let files = lab.files_on_disk(table).await;
    files
        .keys()
        .filter(|path| path.ends_with(".parquet"))
        .count()
}

#[tokio::test(flavor = "multi_thread")]
async fn snapshots_expire_by_themselves_where_that_is_switched_on_and_the_inputs_of_a_rewrite_go() {
    let (lab, table, worker) = six_days_old(61, ON).await;
    let (rows, live) = lab.rows(&table).await;
    assert_eq!((live.len(), data_files(&lab, &table).await), (1, 9));

    let report = run(&worker).await;

    let of_table = &report.tables[0];
    assert_eq!(of_table.outcome, TableOutcome::Maintained, "{report:?}");
    assert!(
        of_table.maintained[0].starts_with("expired 2 snapshots"),
        "{report:?}"
    );
    assert_eq!(snapshots(&lab, &table).await, 1);
    assert_eq!(data_files(&lab, &table).await, 1, "its inputs are gone");
    assert_eq!(lab.rows(&table).await, (rows, live));
    let (kind, state) = newest(&worker, &table).await;
    assert_eq!(kind, ProcessKind::Expire);
    let location = lab.load(&table).await.metadata_location;
    let ProcessState::Ended(ProcessOutcome::Maintained {
        location: made,
        unfinished: false,
        ..
    }) = state
    else {
        panic!("{state:?}")
    };
    assert_eq!(made.as_ref(), Some(&location));
    let row = worker.store.table(&table).await.unwrap().unwrap();
    assert_eq!(row.committed_location, made, "our own commit is no news");

    let again = run(&worker).await;
    assert_eq!(again.tables[0].outcome, TableOutcome::Unchanged);
    assert_eq!(worker.store.processes_of(&table, 9).await.unwrap().len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_expires_where_nobody_switched_it_on_nor_where_the_table_forbids_it() {
    let forbidden = [ON[0], ("gc.enabled", "false")];
    for (seed, properties) in [(62, &[][..]), (63, &forbidden[..])] {
        let (lab, table, worker) = six_days_old(seed, properties).await;
        let home = worker
            .store
            .layout()
            .await
            .unwrap()
            .unwrap()
            .home_of(&table);
        let now = lab.ambient.now();
        worker.store.force_due(home, &table, now).await.unwrap();
        run(&worker).await;
        assert_eq!(snapshots(&lab, &table).await, 3, "{properties:?}");
        let row = worker.store.table(&table).await.unwrap().unwrap();
        let told = row.conclusion.unwrap().contains("gc.enabled");
        assert_eq!((told, row.due_at), (!properties.is_empty(), None));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_is_due_when_its_next_snapshot_gets_too_old() {
    let lab = Lab::new(64).await;
    let table = lab.create_table("events", ON).await;
    for first in [0, 100] {
        lab.append_numbered(&table, &["eu"], 4, 10, first).await;
    }
    let worker = lab.worker(settings_for_tests("a"));
    run(&worker).await;
    let made = lab
        .load(&table)
        .await
        .metadata
        .snapshots()
        .map(|it| it.timestamp_ms())
        .min();
    let due_at = worker
        .store
        .table(&table)
        .await
        .unwrap()
        .unwrap()
        .due_at
        .unwrap();
    assert_eq!(due_at, TimestampMs(made.unwrap() + 1) + 5 * DAY);
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_may_not_delete_leaves_an_expiry_to_those_who_may() {
    let (lab, table, worker) = six_days_old(65, ON).await;
    let optimizer = lab.worker(Settings {
        may_delete: false,
        ..settings_for_tests("b")
    });
    // It is begun, for somebody may; but not done.
    for message in icepress_tests::planned(&optimizer).await {
        icepress_service::handle(&optimizer, &message, icepress_service::Deadline::NONE)
            .await
            .unwrap();
    }
    let under_way = processes::under_way(&worker, None, 9).await.unwrap().work;
    assert_eq!(under_way[0].kind, ProcessKind::Expire);
    assert_eq!(snapshots(&lab, &table).await, 3);
    // Nobody may at all: it is not even begun.
    run(&worker).await;
    assert_eq!(snapshots(&lab, &table).await, 1);
    lab.append_numbered(&table, &["eu"], 1, 10, 500).await;
    lab.clock.advance(6 * DAY);
    let nobody = Context {
        cleaners: None,
        ..worker.clone()
    };
    run(&nobody).await;
    let row = nobody.store.table(&table).await.unwrap().unwrap();
    assert!(row.active_process.is_none());
    assert!(
        row.conclusion
            .unwrap()
            .contains("nobody here who may delete")
    );
    assert_eq!(snapshots(&lab, &table).await, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_expiry_waits_for_the_end_of_a_blocker_and_is_told_to_who_blocks() {
    let (lab, table, worker) = six_days_old(66, ON).await;
    let now = lab.ambient.now();
    let blocker = Blocker {
        scope: Scope::Table(table.clone()),
        owner: "spark".to_owned(),
        reason: "a long read".to_owned(),
        created_at: now,
        expires_at: now + HOUR,
    };
    worker.store.block(&blocker).await.unwrap();
    assert_eq!(run(&worker).await.tables[0].outcome, TableOutcome::Waiting);
    assert_eq!(snapshots(&lab, &table).await, 3);
    worker.store.unblock(&blocker.scope, "spark").await.unwrap();
    let home = worker
        .store
        .layout()
        .await
        .unwrap()
        .unwrap()
        .home_of(&table);
    worker.store.force_due(home, &table, now).await.unwrap();
    assert_eq!(
        run(&worker).await.tables[0].outcome,
        TableOutcome::Maintained
    );
    assert_eq!(snapshots(&lab, &table).await, 1);
}

/// Where everything may expire at once, so that no clock has to be moved: the crate that makes metadata looks at this machine's.
fn at_once(worker: &str) -> Settings {
    Settings {
        expire_floor: Duration::ZERO,
        upkeep_rest: Duration::ZERO,
        ..settings_for_tests(worker)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn c26_what_people_expire_by_hand_leaves_the_base_of_a_rewrite_under_way() {
    let (lab, table) = Lab::of_small_files(67).await;
    lab.disk.let_delete();
    let worker = lab.worker(at_once("a"));
    let messages = icepress_tests::planned(&worker).await;
    assert_eq!(messages.len(), 1);
    let base = lab.load(&table).await.metadata.current_snapshot_id();
    // Two on top, so that the base is not the current one, and one between may go.
    for first in [1_000, 2_000] {
        lab.append_numbered(&table, &["us"], 1, 10, first).await;
    }
    let request = ExpireRequest {
        older_than: Some(Duration::ZERO),
        floor: Duration::ZERO,
        ..ExpireRequest::default()
    };
    let expired = maintain::maintain(&worker, &table, &request, &|_, _| {})
        .await
        .unwrap();
    assert_eq!(expired.snapshots.len(), 1, "{expired:?}");
    assert_eq!(expired.spared.len(), 1, "{expired:?}");
    assert!(expired.spared[0].why.contains("process"), "{expired:?}");
    let left = lab.load(&table).await.metadata;
    assert!(left.snapshot_by_id(base.unwrap()).is_some());
    let report = run(&worker).await;
    assert_eq!(report.failed, 0, "{report:?}");
    assert_eq!(report.tables[0].outcome, TableOutcome::Compacted);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_somebody_wrote_beside_an_expiry_is_looked_at() {
    let lab = Lab::new(68).await;
    lab.disk.let_delete();
    let age = ("history.expire.max-snapshot-age-ms", "1");
    let table = lab.create_table("events", &[ON[0], age]).await;
    for first in [0, 100] {
        lab.append_numbered(&table, &["eu"], 1, 10, first).await;
    }
    let worker = lab.worker(at_once("a"));
    icepress_service::tick(&worker, icepress_service::Deadline::NONE)
        .await
        .unwrap();
    assert_eq!(newest(&worker, &table).await.0, ProcessKind::Expire);
    // Between the look and the commit.
    lab.append_numbered(&table, &["eu"], 6, 10, 1_000).await;
    let report = run(&worker).await;
    assert_eq!(report.failed, 0, "{report:?}");
    let (_, files) = lab.rows(&table).await;
    assert_eq!(files.len(), 1, "all are one by now: {report:?}");
    let processes = worker.store.processes_of(&table, 9).await.unwrap();
    let is_rewrite =
        |process: &icepress_coordination::ProcessRow| process.kind == ProcessKind::Rewrite;
    assert!(processes.iter().any(is_rewrite), "{processes:?}");
}
