//! What one table, one row or one death does to the rest: nothing (cases C56 and C57).
#![allow(missing_docs, clippy::unwrap_used)]

mod attempts;
mod resending;
mod throttling;

use std::{path::Path, process::Command, sync::Arc, time::Duration};

use icepress_catalog::SqlCatalog;
use icepress_coordination::{
    CancelOutcome, Conclusion, NewProcess, NewTask, Payload, ProcessState, SqliteFile,
    SqliteOptions, StateStore, TableRow, limits::Blocker,
};
use icepress_model::{
    Attempt, BucketCount, Bytes, CatalogName, LeftAloneReason, ProcessId, ProcessOutcome,
    RewriteFailure, RewriteFailureKind, Scope, TableId, TaskId, TimestampMs, ambient::Ambient,
};
use icepress_service::{
    Catalogs, Context, Deadline, Event, LogObserver, OpenCatalog, Settings, Waiting, WaitsFor,
    buckets, doctor,
    embedded::{Stop, run_once},
    handle, maintain, processes, tick,
};
use icepress_storage::{LocalStorage, Storage};
use icepress_tests::{FaultyCatalog, FaultyStorage, Lab, Row, peek, planned, settings_for_tests};
use icepress_upkeep::ExpireRequest;
use sqlx::{Connection as _, SqliteConnection};

/// Tables of six small files each.
async fn tables(lab: &Lab, names: &[&str]) -> Vec<TableId> {
    let mut tables = Vec::new();
    for name in names {
        let table = lab.create_table(name, &[]).await;
        lab.append_numbered(&table, &["eu"], 6, 1, 0).await;
        tables.push(table);
    }
    tables
}

/// Has the state file refuse, for ever, to write rows of one table.
async fn refuse(lab: &Lab, rows: &str, table: &str) {
    let file = lab.folder.path().join("state.db");
    let mut file = SqliteConnection::connect(&format!("sqlite://{}", file.display()))
        .await
        .unwrap();
    for event in ["INSERT", "UPDATE"] {
        let trigger = format!(
            "CREATE TRIGGER refuse_{rows}_{event} BEFORE {event} ON {rows} WHEN NEW.table_id LIKE '%/{table}'
             BEGIN SELECT RAISE(ABORT, 'refused'); END"
        );
        sqlx::raw_sql(sqlx::AssertSqlSafe(trigger))
            .execute(&mut file)
            .await
            .unwrap();
    }
}

/// Takes all rows again.
async fn refuse_no_more(lab: &Lab, rows: &str) {
    let file = lab.folder.path().join("state.db");
    let mut file = SqliteConnection::connect(&format!("sqlite://{}", file.display()))
        .await
        .unwrap();
    for event in ["INSERT", "UPDATE"] {
        let drop = format!("DROP TRIGGER refuse_{rows}_{event}");
        sqlx::raw_sql(sqlx::AssertSqlSafe(drop))
            .execute(&mut file)
            .await
            .unwrap();
    }
}

async fn files(lab: &Lab, table: &TableId) -> usize {
    lab.rows(table).await.1.len()
}

fn failures_told(lab: &Lab, of: &TableId) -> usize {
    let events = lab.take_events();
    let told = events
        .iter()
        .filter(|event| matches!(event, Event::TableFailed { table, .. } if table == of));
    told.count()
}

#[tokio::test(flavor = "multi_thread")]
async fn c56_a_table_whose_row_is_never_written_stops_itself_alone() {
    let lab = Lab::new(31).await;
    let all = tables(&lab, &["t0", "t1", "t2", "t3", "t4"]).await;
    refuse(&lab, "table_state", "t2").await;

    let worker = lab.worker(settings_for_tests("a"));
    run_once(&worker, 2, &Stop::default()).await.unwrap();

    assert!(failures_told(&lab, &all[2]) > 0);
    for (index, table) in all.iter().enumerate() {
        let wanted = if index == 2 { 6 } else { 1 };
        assert_eq!(files(&lab, table).await, wanted, "{table}");
    }
    // Nothing else names it: it has no row.
    let findings = doctor::examine(&worker).await;
    let about: Vec<_> = findings
        .iter()
        .filter(|finding| finding.subject == "table lab.tests.t2")
        .collect();
    assert_eq!(about.len(), 1, "{findings:?}");
    assert!(about[0].seen.contains("has no row"), "{about:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn c56_a_table_that_is_due_and_can_t_be_written_any_more_stops_itself_alone() {
    let lab = Lab::new(32).await;
    let all = tables(&lab, &["t0", "t1", "t2", "t3", "t4"]).await;
    let worker = lab.worker(settings_for_tests("a"));
    run_once(&worker, 2, &Stop::default()).await.unwrap();
    let now = lab.ambient.now();
    for table in &all {
        lab.append_numbered(table, &["eu"], 6, 1, 100).await;
        let home = worker.store.table(table).await.unwrap().unwrap().home();
        worker.store.force_due(home, table, now).await.unwrap();
    }
    refuse(&lab, "table_state", "t2").await;
    lab.take_events();

    let report = run_once(&worker, 2, &Stop::default()).await.unwrap();

    assert!(failures_told(&lab, &all[2]) > 0, "{report:?}");
    for (index, table) in all.iter().enumerate() {
        let wanted = if index == 2 { 7 } else { 1 };
        assert_eq!(files(&lab, table).await, wanted, "{table}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn c56_a_process_that_can_t_be_written_any_more_stops_its_table_alone() {
    let lab = Lab::new(33).await;
    let all = tables(&lab, &["t0", "t1", "t2", "t3", "t4"]).await;
    let worker = lab.worker(settings_for_tests("a"));
    tick(&worker, Deadline::NONE).await.unwrap();
    refuse(&lab, "process", "t2").await;

    // The run tells of it in the end.
    assert!(run_once(&worker, 2, &Stop::default()).await.is_err());

    for (index, table) in all.iter().enumerate() {
        let wanted = if index == 2 { 6 } else { 1 };
        assert_eq!(files(&lab, table).await, wanted, "{table}");
    }
}

/// A process that can't end keeps nothing of a quota that other tables need: once nothing of it runs, they do.
#[tokio::test(flavor = "multi_thread")]
async fn c56_a_process_that_can_t_end_keeps_no_quota_from_others() {
    let lab = Lab::new(38).await;
    let limits = r#"{"catalog": {"lab": {"max-concurrent-tasks": 1}}}"#;
    let worker = lab.worker(Settings {
        limits: Arc::new(serde_json::from_str(limits).unwrap()),
        ..settings_for_tests("a")
    });
    let refused = tables(&lab, &["t2"]).await.remove(0);
    tick(&worker, Deadline::NONE).await.unwrap();
    let row = worker.store.table(&refused).await.unwrap().unwrap();
    assert!(row.active_process.is_some(), "it has the only task");
    refuse(&lab, "table_state", "t2").await;
    let others = tables(&lab, &["t0", "t1"]).await;

    // Each run does its tasks and tells of the end that it could not write.
    for _ in 0..3 {
        run_once(&worker, 2, &Stop::default()).await.ok();
        lab.clock.advance(Duration::from_secs(120));
    }

    for table in &others {
        assert_eq!(files(&lab, table).await, 1, "{table}");
    }
    refuse_no_more(&lab, "table_state").await;
    run_once(&worker, 2, &Stop::default()).await.unwrap();
    let row = worker.store.table(&refused).await.unwrap().unwrap();
    assert_eq!(row.active_process, None);
    assert_eq!(files(&lab, &refused).await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn c56_a_table_that_is_gone_and_can_t_be_marked_holds_up_no_census() {
    let lab = Lab::new(36).await;
    let all = tables(&lab, &["t0", "t1", "t2"]).await;
    let worker = lab.worker(settings_for_tests("a"));
    let round = async || run_once(&worker, 2, &Stop::default()).await.unwrap();
    round().await;
    lab.drop_table(&all[0]).await;
    lab.drop_table(&all[1]).await;
    refuse(&lab, "table_state", "t1").await;
    lab.take_events();

    // Missed twice, they are gone; what is new in the same database is seen meanwhile.
    round().await;
    let new = tables(&lab, &["t3"]).await.remove(0);
    round().await;
    round().await;

    assert!(failures_told(&lab, &all[1]) > 0);
    let store = &worker.store;
    assert!(store.table(&all[0]).await.unwrap().is_none());
    assert!(store.table(&all[1]).await.unwrap().is_some());
    assert_eq!(files(&lab, &new).await, 1, "it was seen, and compacted");
    // Once the store takes its row again, it goes too.
    refuse_no_more(&lab, "table_state").await;
    round().await;
    round().await;
    assert!(store.table(&all[1]).await.unwrap().is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn c56_a_table_whose_row_can_t_be_written_keeps_no_other_from_moving() {
    let lab = Lab::new(37).await;
    let all = tables(&lab, &["t0", "t1", "t2", "t3", "t4"]).await;
    let worker = lab.worker(settings_for_tests("a"));
    run_once(&worker, 2, &Stop::default()).await.unwrap();
    refuse(&lab, "table_state", "t2").await;

    let three = BucketCount(3.try_into().unwrap());
    let moves = buckets::resize(&worker, three).await.unwrap().moves;
    assert_eq!((moves.moved, moves.unreadable), (4, 1));
    assert!(!moves.is_settled, "the former buckets are kept for it");
    let layout = worker.layout().await.unwrap();
    for (index, table) in all.iter().enumerate() {
        let row = worker.store.table(table).await.unwrap().unwrap();
        assert_eq!(row.home() == layout.home_of(table), index != 2, "{table}");
    }
    refuse_no_more(&lab, "table_state").await;
    tick(&worker, Deadline::NONE).await.unwrap();
    assert!(!worker.layout().await.unwrap().is_moving());
}

/// A process of so many tasks, planned on the table as it is.
async fn start(lab: &Lab, worker: &Context, table: &TableId, tasks: usize) -> ProcessId {
    let (store, now) = (&worker.store, lab.ambient.now());
    let settings = &worker.settings;
    let home = worker.layout().await.unwrap().home_of(table);
    let location = lab.load(table).await.metadata_location;
    store.mark_due(home, table, &location, now).await.unwrap();
    let lease = store
        .take_lease(
            home.bucket,
            &settings.worker,
            now,
            settings.lease_ttl,
            settings.lease_guard,
        )
        .await
        .unwrap()
        .unwrap();
    let seen = store.table(table).await.unwrap().unwrap();
    let plan = icepress_service::tables::plan(worker, table).await.unwrap();
    let process = NewProcess {
        process: ProcessId::from("p"),
        kind: icepress_model::ProcessKind::Rewrite,
        table: table.clone(),
        created_at: now,
        header: serde_json::json!({ "base": plan.base, "follow_up": false, "failures": 0 })
            .to_string(),
        check_at: now,
        reservation: None,
        conclusion: Conclusion {
            evaluated_location: Some(location),
            text: "{}".to_owned(),
            next_due_at: None,
            failures: 0,
        },
    };
    let task = NewTask {
        payload: Payload::Inline("{}".to_owned()),
    };
    store
        .start_process(&lease, &seen, &process, &vec![task; tasks])
        .await
        .unwrap();
    store.release_lease(&lease, None).await.unwrap();
    process.process
}

async fn fail_all(worker: &Context, process: &ProcessId, tasks: u32) {
    let now = worker.ambient.now();
    for index in 0..tasks {
        let task = TaskId {
            process: process.clone(),
            index,
        };
        let failure = RewriteFailure {
            kind: RewriteFailureKind::OverMemory,
            message: format!("group {index}: {}", "x".repeat(4_000)),
        };
        let until = now + Duration::from_secs(60);
        let name = &worker.settings.worker;
        worker
            .store
            .claim_task(&task, name, now, until)
            .await
            .unwrap();
        worker
            .store
            .report_task(&task, Attempt(1), Err(failure))
            .await
            .unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn c56_a_failed_process_of_many_groups_ends_and_lets_the_others_be_served() {
    const GROUPS: u32 = 150;
    let lab = Lab::new(34).await;
    let failing = tables(&lab, &["failing"]).await.remove(0);
    let worker = lab.worker(settings_for_tests("a"));
    let process = start(&lab, &worker, &failing, GROUPS as usize).await;
    fail_all(&worker, &process, GROUPS).await;
    let others = tables(&lab, &["t0", "t1", "t2"]).await;

    tick(&worker, Deadline::NONE).await.unwrap();

    let row = worker.store.process(&process).await.unwrap().unwrap();
    let ProcessState::Ended(ProcessOutcome::Failed { failures, .. }) = &row.state else {
        panic!("{row:?}")
    };
    assert_eq!(failures.len(), 11, "{failures:?}");
    assert!(failures[10].contains("140 more"), "{}", failures[10]);
    let bytes: usize = failures.iter().map(String::len).sum();
    assert!(bytes < 16_000, "{bytes}");
    for table in &others {
        let row = worker.store.table(table).await.unwrap().unwrap();
        assert!(row.active_process.is_some(), "{table} was not served");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn c56_a_process_whose_committer_is_gone_can_be_cancelled() {
    let lab = Lab::new(35).await;
    let table = tables(&lab, &["t"]).await.remove(0);
    let worker = lab.worker(settings_for_tests("a"));
    let process = start(&lab, &worker, &table, 1).await;
    fail_all(&worker, &process, 1).await;
    let (now, ttl) = (lab.ambient.now(), worker.settings.commit_ttl);
    let claim = worker
        .store
        .claim_commit(&process, &"dead".into(), now, now + ttl)
        .await;
    assert!(claim.unwrap().is_some());

    let early = processes::cancel(&worker, &process, "enough")
        .await
        .unwrap();
    assert!(
        matches!(early, CancelOutcome::Committing { .. }),
        "{early:?}"
    );
    lab.clock.advance(ttl + Duration::from_secs(1));
    let late = processes::cancel(&worker, &process, "enough")
        .await
        .unwrap();
    assert_eq!(late, CancelOutcome::Cancelled);
    let row = worker.store.table(&table).await.unwrap().unwrap();
    assert_eq!(row.active_process, None);
}

// --- requests refused ---

/// What is known of a table that is due.
async fn known(worker: &Context, table: &TableId) -> TableRow {
    worker.store.table(table).await.unwrap().unwrap()
}

/// Whoever asks for fewer requests is asked later, and less and less often: the table has not failed, and stays due.
async fn is_no_failure_of_a_table(seed: u64, refuse: fn(&Lab), allow: fn(&Lab)) {
    let lab = Lab::new(seed).await;
    let table = tables(&lab, &["t"]).await.remove(0);
    let worker = lab.worker(settings_for_tests("a"));
    refuse(&lab);
    let mut waits = Vec::new();
    for _ in 0..8 {
        tick(&worker, Deadline::NONE).await.unwrap();
        let row = known(&worker, &table).await;
        assert_eq!((row.failures, row.begun), (0, 0), "{row:?}");
        assert!(row.due_location.is_some(), "{row:?}");
        let waiting = Waiting::of(&row).expect("it says what it waits for");
        assert_eq!(waiting.waits_for, WaitsFor::Requests);
        assert!(waiting.reason.contains("requests"), "{}", waiting.reason);
        let wait = row.due_at.unwrap().since(lab.ambient.now());
        waits.push(wait.as_secs());
        lab.clock.advance(wait + Duration::from_secs(1));
    }
    assert!(waits[0] <= 3 && waits[7] > 60, "{waits:?}");
    let longest = worker.settings.longest_rest.as_secs() * 5 / 4;
    assert!(waits.iter().all(|wait| *wait <= longest), "{waits:?}");
    assert_eq!(failures_told(&lab, &table), 0);

    allow(&lab);
    run_once(&worker, 1, &Stop::default()).await.unwrap();
    assert_eq!(files(&lab, &table).await, 1);
    assert_eq!(Waiting::of(&known(&worker, &table).await), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn c56_throttling_by_a_catalog_is_no_failure_of_a_table() {
    let throttle = |lab: &Lab| lab.catalog.throttle_loads(true);
    is_no_failure_of_a_table(37, throttle, |lab| lab.catalog.throttle_loads(false)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn c56_throttling_of_metadata_files_is_no_failure_of_a_table() {
    let throttle = |lab: &Lab| lab.disk.throttle(".metadata.json", u64::MAX);
    is_no_failure_of_a_table(38, throttle, |lab| lab.disk.reset()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn c56_throttling_of_manifests_is_no_failure_of_a_table() {
    let throttle = |lab: &Lab| lab.disk.throttle(".avro", u64::MAX);
    is_no_failure_of_a_table(39, throttle, |lab| lab.disk.reset()).await;
}

// --- repetition ---

/// Small files of one name each that say that `process` wrote them: what an engine would leave that never gets done.
async fn leave_as(lab: &Lab, table: &TableId, process: &ProcessId, first_id: i64) {
    let files: Vec<_> = (first_id..first_id + 6)
        .map(|id| vec![Row::numbered(id, "eu")])
        .collect();
    let name = |number| format!("00000-1-{process}-9{number:04}");
    lab.append_as(table, &files, name).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn c55_a_plan_that_would_repeat_the_last_run_backs_off_and_is_explained() {
    let lab = Lab::new(40).await;
    let table = tables(&lab, &["t"]).await.remove(0);
    let worker = lab.worker(settings_for_tests("a"));
    run_once(&worker, 1, &Stop::default()).await.unwrap();
    let process = worker
        .store
        .processes_of(&table, 1)
        .await
        .unwrap()
        .remove(0);
    leave_as(&lab, &table, &process.process, 100).await;
    lab.take_events();

    let mut waits = Vec::new();
    for _ in 0..3 {
        tick(&worker, Deadline::NONE).await.unwrap();
        let row = known(&worker, &table).await;
        assert_eq!(row.active_process, None, "the same work was begun again");
        let wait = row
            .due_at
            .expect("it is looked at again")
            .since(lab.ambient.now());
        waits.push(wait);
        lab.clock.advance(wait + Duration::from_secs(1));
    }
    assert!(waits.is_sorted() && waits[2] > waits[0] * 2, "{waits:?}");
    let told = lab.take_events();
    let repeats = told
        .iter()
        .filter(|event| matches!(event, Event::Repeats { table: of, .. } if *of == table));
    assert_eq!(repeats.count(), 3, "the alarm counts them");

    let explained = icepress_service::tables::explain(&worker, &table)
        .await
        .unwrap();
    let row = explained.row.unwrap();
    assert_eq!(row.failures, 3);
    let said = row.conclusion.unwrap();
    assert!(
        said.contains("would do again what the last run did"),
        "{said}"
    );
    let left = &explained.plan.left_alone;
    let is_told = left
        .iter()
        .any(|left| left.reason == LeftAloneReason::Repeats);
    assert!(is_told && explained.plan.groups.is_empty(), "{left:?}");

    // What is new is worked on at once, and the table comes to rest.
    lab.append_numbered(&table, &["eu"], 6, 1, 200).await;
    lab.clock.advance(worker.settings.longest_backoff * 2);
    run_once(&worker, 1, &Stop::default()).await.unwrap();
    assert_eq!(files(&lab, &table).await, 1);
    assert_eq!(known(&worker, &table).await.failures, 0);
}

// --- deaths ---

const CHILD: &str = "ICEPRESS_TEST_DEADLY_LAB";
const HANDS_OVER: &str = "ICEPRESS_TEST_HANDS_OVER";
const LISTS: &str = "ICEPRESS_TEST_DEADLY_LISTING";
const DEADLY: &str = "monster";

/// What a scheduler that dies at one table works with, in a process of its own.
async fn child_context(folder: &Path) -> Context {
    let ambient = Ambient::system();
    let disk = FaultyStorage::around(Arc::new(LocalStorage::new()));
    disk.die_at_reads_in(DEADLY);
    let storage = disk as Arc<dyn Storage>;
    let uri = format!("sqlite:///{}/catalog.db", folder.display());
    let name = CatalogName::from("lab");
    let catalog = SqlCatalog::open(name, &uri, None, Arc::clone(&storage), ambient.clone())
        .await
        .unwrap();
    let options = SqliteOptions::default();
    let state = SqliteFile::open(&folder.join("state.db"), options, ambient.clone())
        .await
        .unwrap();
    let worker = format!("child-{}", std::process::id());
    Context {
        errands: None,
        ambient,
        store: Arc::new(state.store()) as Arc<dyn StateStore>,
        queue: Arc::new(state.queue()),
        cleaners: None,
        catalogs: Catalogs::new([OpenCatalog {
            catalog: Arc::new(catalog),
            storage: Arc::clone(&storage),
        }]),
        payloads: storage,
        settings: Arc::new(Settings {
            // One bucket, so that all are in the way of the one; and the leases of the dead are soon over.
            buckets: BucketCount(1.try_into().unwrap()),
            lease_ttl: Duration::from_secs(1),
            lease_guard: Duration::ZERO,
            ..settings_for_tests(&worker)
        }),
        observer: Arc::new(LogObserver),
        commits: Default::default(),
        plans: Default::default(),
        listed: Default::default(),
        taken: Default::default(),
        placed: Default::default(),
    }
}

/// Not a test by itself: the process that dies.
#[tokio::test(flavor = "multi_thread")]
async fn a_scheduler_of_its_own() {
    let Some(folder) = std::env::var_os(CHILD) else {
        return;
    };
    let mut context = child_context(Path::new(&folder)).await;
    if std::env::var_os(LISTS).is_some() {
        let own = context.catalogs.iter().next().unwrap().clone();
        let catalog = FaultyCatalog::around(own.catalog);
        catalog.die_at_listings();
        context.catalogs = Catalogs::new([OpenCatalog {
            catalog,
            storage: own.storage,
        }]);
    }
    if std::env::var_os(HANDS_OVER).is_some() {
        let settings = (*context.settings).clone();
        context.settings = Arc::new(Settings {
            hands_over: true,
            ..settings
        });
        tick(&context, Deadline::NONE).await.unwrap();
    } else {
        run_once(&context, 1, &Stop::default()).await.unwrap();
    }
}

/// Runs a scheduler in a process of its own, again and again until it comes to an end; how often it died. One that hands
/// over has no optimizers beside it.
fn die_until_done(lab: &Lab, how: Option<&str>) -> u32 {
    let mut deaths = 0;
    loop {
        let mut run = Command::new(std::env::current_exe().unwrap());
        run.args(["--exact", "a_scheduler_of_its_own", "--test-threads", "1"])
            .env(CHILD, lab.folder.path());
        if let Some(how) = how {
            run.env(how, "1");
        }
        let run = run.output().unwrap();
        if run.status.success() {
            return deaths;
        }
        deaths += 1;
        assert!(deaths < 5, "it dies at every run: {run:?}");
        // Until the leases of the dead are over.
        #[allow(clippy::disallowed_methods)]
        std::thread::sleep(Duration::from_millis(1_200));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn c57_a_scheduler_that_dies_at_one_table_serves_the_others_and_puts_that_one_off() {
    let lab = Lab::new(36).await;
    let others = tables(&lab, &["a0", "a1", "z0", "z1"]).await;
    let monster = tables(&lab, &[DEADLY]).await.remove(0);
    let deaths = die_until_done(&lab, None);
    assert_eq!(deaths, 2, "it was tried twice, the second time by itself");
    for table in &others {
        assert_eq!(files(&lab, table).await, 1, "{table} was not served");
    }
    let row = child_context(lab.folder.path())
        .await
        .store
        .table(&monster)
        .await
        .unwrap()
        .unwrap();
    assert_eq!((row.failures, row.begun), (1, 0), "{row:?}");
    assert!(row.due_at > Some(lab.ambient.now()), "{row:?}");
    let said = row.conclusion.unwrap();
    assert!(said.contains("begun 2 times and never ended"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn c57_a_scheduler_that_dies_at_a_listing_serves_what_is_due_and_puts_the_listing_off() {
    let lab = Lab::new(47).await;
    let all = tables(&lab, &["a", "b"]).await;
    let worker = lab.worker(Settings {
        buckets: BucketCount(1.try_into().unwrap()),
        ..settings_for_tests("a")
    });
    run_once(&worker, 1, &Stop::default()).await.unwrap();
    let now = lab.ambient.now();
    for table in &all {
        lab.append_numbered(table, &["eu"], 6, 1, 100).await;
        let home = known(&worker, table).await.home();
        worker.store.force_due(home, table, now).await.unwrap();
    }

    let deaths = die_until_done(&lab, Some(LISTS));
    assert_eq!(deaths, 2, "in its bucket's turn, and in a run of its own");
    for table in &all {
        assert_eq!(files(&lab, table).await, 1, "{table} was not served");
    }
    // A listing that ends takes the notes away, once its wait is over.
    lab.take_events();
    run_once(&worker, 1, &Stop::default()).await.unwrap();
    let waits = lab.take_events().into_iter().any(|event| {
        matches!(event, Event::ListingFailed { message, .. } if message.contains("never ended"))
    });
    assert!(waits, "it waits");
    lab.clock.advance(worker.settings.first_backoff * 2);
    run_once(&worker, 1, &Stop::default()).await.unwrap();
    lab.append_numbered(&all[0], &["eu"], 6, 1, 200).await;
    run_once(&worker, 1, &Stop::default()).await.unwrap();
    assert_eq!(files(&lab, &all[0]).await, 1, "what is new is seen again");
}

// --- evaluations and commits of others ---

/// Settings of a scheduler that has optimizers beside it, and no memory for plans to speak of.
fn with_optimizers(worker: &str) -> Settings {
    Settings {
        hands_over: true,
        ..settings_for_tests(worker)
    }
}

fn of_little_memory(worker: &str) -> Settings {
    Settings {
        plan_memory: Bytes(1),
        ..with_optimizers(worker)
    }
}

fn handed_over(events: &[Event]) -> Vec<String> {
    let reasons = events.iter().filter_map(|event| match event {
        Event::HandedOver { reason, .. } => Some(reason.clone()),
        _ => None,
    });
    reasons.collect()
}

/// Has optimizers work off what is queued, once.
async fn optimize(worker: &Context) {
    for bucket in worker.settings.buckets.all() {
        for message in peek(worker, bucket).await {
            handle(worker, &message, Deadline::NONE).await.unwrap();
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn c57_a_table_too_large_for_the_scheduler_is_looked_at_by_an_optimizer() {
    let lab = Lab::new(41).await;
    let table = tables(&lab, &["t"]).await.remove(0);
    let worker = lab.worker(of_little_memory("a"));

    run_once(&worker, 1, &Stop::default()).await.unwrap();

    assert_eq!(files(&lab, &table).await, 1);
    let reasons = handed_over(&lab.take_events());
    // Once for the rewrite, and once to see that nothing is left to do, or not even that.
    assert!((1..=2).contains(&reasons.len()), "{reasons:?}");
    assert!(reasons[0].contains("manifests"), "{reasons:?}");
    let processes = worker.store.processes_of(&table, 9).await.unwrap();
    let ends: Vec<_> = processes.iter().rev().map(|row| &row.state).collect();
    assert_eq!(ends[0], &ProcessState::Ended(ProcessOutcome::Evaluated));
    let committed = |state: &ProcessState| {
        matches!(state, ProcessState::Ended(ProcessOutcome::Committed { .. }))
    };
    assert!(committed(ends[1]), "{ends:?}");
    // What was learned is handed on although an evaluation came between.
    let row = known(&worker, &table).await;
    assert_eq!(
        (row.failures, row.begun, row.due_at),
        (0, 0, None),
        "{row:?}"
    );

    // At rest nothing is handed over.
    run_once(&worker, 1, &Stop::default()).await.unwrap();
    assert_eq!(handed_over(&lab.take_events()).len(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plan_that_was_made_elsewhere_is_carried_out_beside_other_writers() {
    let lab = Lab::new(42).await;
    let table = tables(&lab, &["t"]).await.remove(0);
    let worker = lab.worker(of_little_memory("a"));
    tick(&worker, Deadline::NONE).await.unwrap();
    optimize(&worker).await;
    // Between the plan and its start somebody else writes.
    lab.append_numbered(&table, &["eu"], 2, 1, 500).await;
    let (before, _) = lab.rows(&table).await;

    tick(&worker, Deadline::NONE).await.unwrap();
    optimize(&worker).await;
    assert_eq!(
        files(&lab, &table).await,
        3,
        "the six that were planned are one"
    );
    run_once(&worker, 1, &Stop::default()).await.unwrap();
    assert_eq!(lab.rows(&table).await.0, before);
    let row = known(&worker, &table).await;
    assert_eq!(
        row.due_at, None,
        "what was written meanwhile was looked at: {row:?}"
    );
    let location = lab.load(&table).await.metadata_location;
    assert!([row.evaluated_location, row.committed_location].contains(&Some(location)));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_evaluation_under_way_holds_up_no_expiry() {
    let lab = Lab::new(49).await;
    let table = tables(&lab, &["t"]).await.remove(0);
    let worker = lab.worker(of_little_memory("a"));
    tick(&worker, Deadline::NONE).await.unwrap();
    let row = known(&worker, &table).await;
    assert!(row.active_process.is_some(), "it is handed over: {row:?}");

    let request = ExpireRequest::default();
    let plan = maintain::plan(&worker, &table, &request).await.unwrap();
    assert_eq!(plan.snapshots_kept, 1, "{plan:?}");
}

/// What nobody has looked at yet is not forgotten with the process that was to look.
#[tokio::test(flavor = "multi_thread")]
async fn a_table_whose_evaluation_elsewhere_is_cancelled_is_looked_at_again() {
    let lab = Lab::new(50).await;
    let table = tables(&lab, &["t"]).await.remove(0);
    let worker = lab.worker(of_little_memory("a"));
    tick(&worker, Deadline::NONE).await.unwrap();
    let process = known(&worker, &table).await.active_process.unwrap();
    let cancelled = processes::cancel(&worker, &process, "enough").await;
    assert_eq!(cancelled.unwrap(), CancelOutcome::Cancelled);
    let row = known(&worker, &table).await;
    assert!(row.due_at.is_some(), "{row:?}");

    run_once(&worker, 1, &Stop::default()).await.unwrap();
    assert_eq!(files(&lab, &table).await, 1);
}

/// A plan is no look at what was written after it was made.
#[tokio::test(flavor = "multi_thread")]
async fn a_table_that_moved_since_it_was_planned_elsewhere_outlives_that_plan() {
    let lab = Lab::new(51).await;
    let table = tables(&lab, &["t"]).await.remove(0);
    let worker = lab.worker(of_little_memory("a"));
    tick(&worker, Deadline::NONE).await.unwrap();
    optimize(&worker).await;
    lab.append_numbered(&table, &["eu"], 2, 1, 500).await;
    let moved_to = lab.load(&table).await.metadata_location;
    tick(&worker, Deadline::NONE).await.unwrap();
    let row = known(&worker, &table).await;
    assert_ne!(row.evaluated_location.as_ref(), Some(&moved_to), "{row:?}");
    assert_eq!(row.due_location, Some(moved_to), "{row:?}");
    let process = row.active_process.unwrap();

    let cancelled = processes::cancel(&worker, &process, "enough").await;
    assert_eq!(cancelled.unwrap(), CancelOutcome::Cancelled);
    let row = known(&worker, &table).await;
    assert!(row.due_at.is_some(), "{row:?}");
    run_once(&worker, 1, &Stop::default()).await.unwrap();
    assert_eq!(files(&lab, &table).await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_to_do_elsewhere_is_looked_at_again_where_the_table_moved_since() {
    let lab = Lab::new(43).await;
    let table = lab.create_table("t", &[]).await;
    lab.append_numbered(&table, &["eu"], 1, 1, 0).await;
    let worker = lab.worker(of_little_memory("a"));
    tick(&worker, Deadline::NONE).await.unwrap();
    optimize(&worker).await;
    lab.append_numbered(&table, &["eu"], 6, 1, 500).await;

    run_once(&worker, 1, &Stop::default()).await.unwrap();
    assert_eq!(files(&lab, &table).await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_an_optimizer_can_t_look_at_is_told_as_if_the_scheduler_had_looked() {
    let lab = Lab::new(44).await;
    let table = tables(&lab, &["t"]).await.remove(0);
    let worker = lab.worker(of_little_memory("a"));
    tick(&worker, Deadline::NONE).await.unwrap();
    lab.disk.throttle(".avro", u64::MAX);
    optimize(&worker).await;
    tick(&worker, Deadline::NONE).await.unwrap();
    let row = known(&worker, &table).await;
    assert_eq!(row.failures, 0, "{row:?}");
    let waits = Waiting::of(&row).map(|waits| waits.waits_for);
    assert_eq!(waits, Some(WaitsFor::Requests));

    // It is asked again.
    lab.disk.reset();
    lab.clock.advance(Duration::from_secs(60));
    run_once(&worker, 1, &Stop::default()).await.unwrap();
    assert_eq!(files(&lab, &table).await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn c57_a_commit_that_nobody_came_back_from_is_made_by_an_optimizer() {
    let lab = Lab::new(45).await;
    let table = tables(&lab, &["t"]).await.remove(0);
    let worker = lab.worker(with_optimizers("a"));
    tick(&worker, Deadline::NONE).await.unwrap();
    let message = planned(&worker).await.remove(0);
    // Whoever reports the last task dies at the commit, and so does the next.
    worker
        .store
        .block(&blocker(&table, lab.ambient.now() + Duration::from_secs(1)))
        .await
        .unwrap();
    handle(&worker, &message, Deadline::NONE).await.unwrap();
    let process = &message.task.process;
    for _ in 0..2 {
        let now = lab.ambient.now();
        let dead = "dead".into();
        let claim = worker.store.claim_commit(process, &dead, now, now).await;
        assert!(claim.unwrap().is_some());
        lab.clock.advance(Duration::from_secs(1));
    }
    lab.clock.advance(worker.settings.check_interval * 2);

    tick(&worker, Deadline::NONE).await.unwrap();
    let row = worker.store.process(process).await.unwrap().unwrap();
    assert_eq!(row.commit_claims, 2, "the scheduler leaves it to others");
    assert_eq!(files(&lab, &table).await, 6);
    optimize(&worker).await;
    assert_eq!(files(&lab, &table).await, 1);
}

fn blocker(table: &TableId, expires_at: TimestampMs) -> Blocker {
    Blocker {
        scope: Scope::Table(table.clone()),
        owner: "a person".to_owned(),
        reason: "a pause".to_owned(),
        created_at: TimestampMs(0),
        expires_at,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn c57_a_table_at_which_schedulers_die_is_looked_at_by_an_optimizer() {
    let lab = Lab::new(46).await;
    let other = tables(&lab, &["other"]).await.remove(0);
    let monster = tables(&lab, &[DEADLY]).await.remove(0);
    let deaths = die_until_done(&lab, Some(HANDS_OVER));
    assert_eq!(deaths, 2, "it was tried twice, the second time by itself");

    // Whose memory is larger, lives.
    let worker = lab.worker(with_optimizers("a"));
    let row = known(&worker, &monster).await;
    assert!(
        row.active_process.is_some(),
        "an optimizer is asked: {row:?}"
    );
    let findings = doctor::examine(&worker).await;
    let told = findings
        .iter()
        .find(|finding| finding.subject.contains(DEADLY))
        .expect("the doctor tells of it");
    assert!(
        told.seen.contains("begun 2 times and never ended"),
        "{told:?}"
    );
    lab.clock.advance(Duration::from_secs(120));
    run_once(&worker, 1, &Stop::default()).await.unwrap();
    for table in [&other, &monster] {
        assert_eq!(files(&lab, table).await, 1, "{table}");
    }

    // The next times nobody dies for it.
    lab.append_numbered(&monster, &["eu"], 6, 1, 300).await;
    lab.take_events();
    let deaths = die_until_done(&lab, Some(HANDS_OVER));
    assert_eq!(deaths, 0);
    run_once(&worker, 1, &Stop::default()).await.unwrap();
    assert_eq!(files(&lab, &monster).await, 1);
}
