//! What the doctor says of a system that is well, and of each thing that is not: on real tables and the SQLite state.
#![allow(missing_docs, clippy::unwrap_used)]

use std::{num::NonZeroU32, sync::Arc, time::Duration};

use icepress_coordination::{CancelOutcome, Component, Finding, Severity, limits::Limits};
use icepress_model::{BucketCount, Scope, TableId};
use icepress_service::{
    Context, Deadline, Settings, SignOfLife, VERSION,
    block::block,
    doctor::examine,
    embedded::{Stop, run_once},
    processes::{cancel, under_way},
    tables::explain,
    tick,
};
use icepress_tests::{Lab, planned, settings_for_tests};
use sqlx::{SqlitePool, sqlite::SqliteConnectOptions};

const HOUR: Duration = Duration::from_secs(3_600);

/// The findings whose subject begins so.
async fn about(context: &Context, subject: &str) -> Vec<Finding> {
    let mut all = examine(context).await;
    all.retain(|finding| finding.subject.starts_with(subject));
    all
}

/// The only finding whose subject begins so.
async fn one(context: &Context, subject: &str) -> Finding {
    let mut all = about(context, subject).await;
    assert_eq!(all.len(), 1, "{subject}: {all:?}");
    all.remove(0)
}

fn assert_doubt(finding: &Finding, seen: &str, advice: &str) {
    assert_eq!(finding.severity, Severity::Doubt, "{finding:?}");
    assert!(finding.seen.contains(seen), "'{seen}' in {finding:?}");
    let advised = finding.advice.as_deref().unwrap_or_default();
    assert!(advised.contains(advice), "'{advice}' in {finding:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sound_system_is_well_and_stuck_work_is_told_with_age_and_reason() {
    let (lab, table) = Lab::of_small_files(61).await;
    let worker = lab.worker(settings_for_tests("w"));
    SignOfLife::new(Component::Run).give(&worker).await;
    planned(&worker).await;
    let all = examine(&worker).await;
    let bad: Vec<&Finding> = all
        .iter()
        .filter(|finding| finding.severity != Severity::Well)
        .collect();
    assert!(bad.is_empty(), "{bad:?}");
    let versions = one(&worker, "versions").await;
    assert!(versions.seen.contains(VERSION), "{versions:?}");

    // Nobody takes the task, and nobody ticks.
    lab.clock.advance(30 * HOUR);
    let stuck = one(&worker, "process").await;
    let seen = format!("of table {table} is 30 h old and waits for an optimizer to take 1 task");
    assert_doubt(&stuck, &seen, "icepress cancel");
    assert_doubt(
        &one(&worker, "schedulers").await,
        "nobody looked at 8 of 8 buckets",
        "schedule",
    );

    // Received too often, its message dies.
    for bucket in worker.settings.buckets.all() {
        for _ in 0..6 {
            let queue = &worker.queue;
            let received = queue.receive(bucket, 1, Duration::ZERO, Duration::ZERO);
            received.await.unwrap();
        }
    }
    let queues = about(&worker, "queue of bucket").await;
    assert_eq!(queues.len(), 1, "{queues:?}");
    assert_eq!(queues[0].severity, Severity::Doubt);
    assert!(
        queues[0].advice.as_deref().unwrap().contains("redrive"),
        "{queues:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mix_of_versions_is_told_until_the_old_one_is_long_gone() {
    let lab = Lab::new(62).await;
    let worker = lab.worker(settings_for_tests("w"));
    let sign = SignOfLife::new(Component::Scheduler);
    sign.give(&worker).await;
    let old = Component::Optimizer;
    let note_old = async || {
        let now = lab.ambient.now();
        worker.store.note_version(old, "0.0.9", now).await.unwrap();
    };
    note_old().await;
    lab.clock.advance(HOUR);
    // An instance that starts later; the first one goes on.
    SignOfLife::new(Component::Scheduler).give(&worker).await;
    let all = about(&worker, "versions").await;
    assert_eq!(all.len(), 2, "{all:?}");
    assert_doubt(&all[0], "are at work together", "deploy one build");
    assert_doubt(
        &all[1],
        "newer than the optimizer, 0.0.9",
        "deploy this version",
    );

    note_old().await;
    // The optimizers are of this version from now on; those of the old one noted nothing more.
    lab.clock.advance(HOUR);
    SignOfLife::new(old).give(&worker).await;
    lab.clock.advance(49 * HOUR);
    sign.give(&worker).await;
    let versions = one(&worker, "versions").await;
    assert_eq!(versions.severity, Severity::Well, "{versions:?}");
    assert!(!versions.seen.contains("0.0.9"), "{versions:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_program_that_goes_on_notes_itself_once_a_day() {
    let lab = Lab::new(63).await;
    let worker = lab.worker(settings_for_tests("w"));
    let started = lab.ambient.now();
    let sign = SignOfLife::new(Component::Run);
    let noted = async || {
        sign.give(&worker).await;
        let rows = worker.store.versions(lab.ambient.now()).await.unwrap();
        assert_eq!(rows.len(), 1);
        rows[0].last_at.since(started)
    };
    assert!(noted().await < HOUR);
    lab.clock.advance(23 * HOUR);
    assert!(noted().await < HOUR, "not yet again");
    lab.clock.advance(2 * HOUR);
    assert!(noted().await >= 25 * HOUR);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_resize_that_nobody_finishes_is_told_with_its_age() {
    let (lab, _) = Lab::of_small_files(64).await;
    let worker = lab.worker(settings_for_tests("w"));
    planned(&worker).await;
    let two = BucketCount(NonZeroU32::new(2).unwrap());
    // As a command that is killed after its first write leaves it.
    worker.store.resize(two, lab.ambient.now()).await.unwrap();
    lab.clock.advance(3 * HOUR);
    let moving = one(&worker, "buckets").await;
    let seen = "moving to 2 buckets for 3 h: not moved yet: 1 of 1 table";
    assert_doubt(&moving, seen, "icepress buckets resize 2");

    tick(&worker, Deadline::NONE).await.unwrap();
    run_once(&worker, 1, &Stop::default()).await.unwrap();
    tick(&worker, Deadline::NONE).await.unwrap();
    let moved = one(&worker, "buckets").await;
    assert_eq!(moved.severity, Severity::Well, "{moved:?}");
    assert!(moved.seen.ends_with("into 2"), "{moved:?}");
}

/// What somebody does to the state file.
async fn by_hand(lab: &Lab, statement: &'static str) {
    let file = lab.folder.path().join("state.db");
    let state = SqlitePool::connect_with(SqliteConnectOptions::new().filename(file));
    let state = state.await.unwrap();
    sqlx::raw_sql(statement).execute(&state).await.unwrap();
    state.close().await;
}

async fn small_table(lab: &Lab, name: &str, properties: &[(&str, &str)]) -> TableId {
    let table = lab.create_table(name, properties).await;
    lab.append_numbered(&table, &["eu"], 8, 10, 0).await;
    table
}

#[tokio::test(flavor = "multi_thread")]
async fn what_blockers_and_quotas_keep_back_is_told_with_what_is_taken() {
    let lab = Lab::new(65).await;
    let blocked = small_table(&lab, "blocked", &[]).await;
    small_table(&lab, "poor", &[("icepress.max-dollars-a-month", "0")]).await;
    let limits = r#"{"catalog": {"lab": {"max-concurrent-tasks": 50}},
                     "database": {"lab.tests": {"max-bytes-a-day": 0}}}"#;
    let worker = lab.worker(Settings {
        limits: Arc::new(serde_json::from_str::<Limits>(limits).unwrap()),
        ..settings_for_tests("w")
    });
    let scope = Scope::Table(blocked.clone());
    block(&worker, scope, "nightly", "a merge", 2 * HOUR)
        .await
        .unwrap();
    let idle = one(&worker, "blocker").await;
    assert_eq!(
        idle.severity,
        Severity::Well,
        "nothing is due yet: {idle:?}"
    );

    tick(&worker, Deadline::NONE).await.unwrap();
    let blocker = one(&worker, &format!("blocker of table {blocked}")).await;
    let seen = "nightly blocks it for ";
    assert_doubt(&blocker, seen, "unblock");
    assert!(
        blocker
            .seen
            .ends_with("and 1 table waits for that: a merge"),
        "{blocker:?}"
    );
    let catalog = one(&worker, "quota of catalog lab").await;
    assert_eq!(catalog.severity, Severity::Well, "{catalog:?}");
    assert_eq!(catalog.seen, "0 of 50 tasks are under way");
    // The first quota that is short is told: money before bytes, but the widest scope first.
    let database = one(&worker, "quota of database lab.tests").await;
    assert_doubt(
        &database,
        "today; 1 table waits for it",
        "there is more in ",
    );
    assert!(about(&worker, "quota of table").await.is_empty());

    // A quota whose row can't be read hides nothing else.
    let row = "INSERT INTO quota VALUES ('database/lab/tests', 0, 0, 0, 0, 'nonsense')";
    by_hand(&lab, row).await;
    let all = examine(&worker).await;
    let wrong: Vec<&Finding> = all
        .iter()
        .filter(|finding| finding.severity == Severity::Wrong)
        .collect();
    assert_eq!(wrong.len(), 1, "{all:?}");
    assert!(wrong[0].seen.contains("quota of "), "{wrong:?}");
    for subject in ["blocker of ", "buckets", "versions", "tables", "schedulers"] {
        let told = |finding: &Finding| finding.subject.starts_with(subject);
        assert!(all.iter().any(told), "{subject}: {all:?}");
    }
    by_hand(&lab, "DELETE FROM quota").await;

    // By its own property alone.
    let worker = lab.worker(settings_for_tests("w"));
    lab.clock.advance(25 * HOUR);
    tick(&worker, Deadline::NONE).await.unwrap();
    let table = one(&worker, "quota of table lab.tests.poor").await;
    assert_doubt(&table, "$0.00 a month", "compact a table by hand");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_that_can_t_be_read_is_named_by_each_command_and_hides_nothing() {
    let lab = Lab::new(66).await;
    let bad = small_table(&lab, "bad", &[]).await;
    let good = small_table(&lab, "good", &[]).await;
    let worker = lab.worker(settings_for_tests("w"));
    planned(&worker).await;
    let process_of = async |table: &TableId| {
        let row = worker.store.table(table).await.unwrap().unwrap();
        row.active_process.unwrap()
    };
    let (of_bad, of_good) = (process_of(&bad).await, process_of(&good).await);

    // The row of a process.
    by_hand(
        &lab,
        "UPDATE process SET open_tasks = -1 WHERE table_id LIKE '%/bad'",
    )
    .await;
    let found = under_way(&worker, None, 100).await.unwrap();
    assert_eq!(found.work.len(), 1, "{found:?}");
    assert_eq!((&found.work[0].process, found.more), (&of_good, 0));
    assert_eq!(found.unread.len(), 1, "{found:?}");
    assert!(found.unread[0].contains(of_bad.as_str()), "{found:?}");
    let finding = one(&worker, "state of a process").await;
    assert!(finding.seen.contains(of_bad.as_str()), "{finding:?}");

    // The row of a table.
    by_hand(
        &lab,
        "UPDATE table_state SET failures = -1 WHERE table_id LIKE '%/bad'",
    )
    .await;
    let finding = one(&worker, "state of a table").await;
    assert!(finding.seen.contains("bad"), "{finding:?}");
    let found = under_way(&worker, None, 100).await.unwrap();
    assert_eq!(found.work.len(), 1, "{found:?}");
    assert!(found.unread[0].contains("bad"), "{found:?}");
    let found = under_way(&worker, Some(&bad), 100).await.unwrap();
    assert!(found.unread[0].contains("bad"), "{found:?}");
    let explained = explain(&worker, &bad).await.unwrap();
    assert_eq!(explained.row, None);
    assert!(explained.unread[0].contains("bad"), "{explained:?}");
    assert!(!explained.plan.groups.is_empty(), "made of the table alone");
    let error = cancel(&worker, &of_bad, "enough").await.unwrap_err();
    assert!(error.to_string().contains(of_bad.as_str()), "{error}");
    // The others go on.
    let cancelled = cancel(&worker, &of_good, "enough").await.unwrap();
    assert_eq!(cancelled, CancelOutcome::Cancelled);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_oldest_processes_are_shown_and_the_others_counted() {
    let lab = Lab::new(67).await;
    let mut processes = Vec::new();
    let worker = lab.worker(settings_for_tests("w"));
    for name in ["c", "a", "b"] {
        let table = small_table(&lab, name, &[]).await;
        tick(&worker, Deadline::NONE).await.unwrap();
        let row = worker.store.table(&table).await.unwrap().unwrap();
        processes.extend(row.active_process);
        lab.clock.advance(Duration::from_secs(10));
    }
    let found = under_way(&worker, None, 2).await.unwrap();
    let shown: Vec<_> = found.work.iter().map(|work| work.process.clone()).collect();
    assert_eq!((shown.as_slice(), found.more), (&processes[..2], 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn one_table_that_can_t_be_read_is_no_doubt_about_its_catalog() {
    let lab = Lab::new(68).await;
    let bad = small_table(&lab, "a_bad_one", &[]).await;
    let good = small_table(&lab, "good", &[]).await;
    let metadata = lab.load(&bad).await.metadata_location;
    let path = metadata.as_str().trim_start_matches("file://");
    std::fs::remove_file(path).unwrap();
    let worker = lab.worker(settings_for_tests("w"));
    let catalog = about(&worker, "catalog lab").await;
    let is_well = |finding: &Finding| finding.severity == Severity::Well;
    assert!(catalog.iter().all(is_well), "{catalog:?}");
    let tried = format!("table {good} can be read");
    assert!(
        catalog.iter().any(|finding| finding.seen == tried),
        "{catalog:?}"
    );
    let table = one(&worker, &format!("table {bad}")).await;
    assert_eq!(table.severity, Severity::Doubt, "{table:?}");
}
