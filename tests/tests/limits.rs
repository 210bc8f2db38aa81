//! Blockers, maintenance windows, quotas, priorities and fairness, on real tables.
#![allow(missing_docs, clippy::unwrap_used)]

use std::{num::NonZeroU32, sync::Arc, time::Duration};

use async_trait::async_trait;
use icepress_catalog::{Catalog, CatalogError, CommitError, LoadedTable, TableChange, TablePage};
use icepress_coordination::{
    ProcessState, TaskMessage,
    limits::{Limits, QuotaRow},
};
use icepress_model::{
    BucketCount, BucketId, Bytes, CatalogName, DatabaseId, Epoch, Namespace, ProcessId, Scope,
    TableId, TaskId, TimestampMs,
};
use icepress_service::{
    Catalogs, Context, Deadline, Event, Handled, OpenCatalog, Settings, Waiting, WaitsFor,
    block::{block, commits_under_way, unblock},
    embedded::{RunReport, Stop, TableOutcome, run_once},
    handle, tables, tick,
};
use icepress_tests::{Lab, ended, planned, settings_for_tests};

const HOUR: Duration = Duration::from_secs(3_600);

/// Settings under which all tables share one bucket and are looked at one after another.
fn one_bucket(limits: &str) -> Settings {
    Settings {
        buckets: BucketCount(NonZeroU32::MIN),
        evaluations_at_once: 1,
        limits: Arc::new(serde_json::from_str::<Limits>(limits).unwrap()),
        ..settings_for_tests("w")
    }
}

async fn run(context: &Context) -> RunReport {
    run_once(context, 2, &Stop::default()).await.unwrap()
}

fn outcome(report: &RunReport, table: &TableId) -> (TableOutcome, String) {
    let of_table = report.tables.iter().find(|seen| seen.table == *table);
    let of_table = of_table.unwrap_or_else(|| panic!("{table} in {report:?}"));
    let reason = of_table.reason.clone().unwrap_or_default();
    (of_table.outcome, reason)
}

async fn waiting(context: &Context, table: &TableId) -> Option<Waiting> {
    Waiting::of(&context.store.table(table).await.unwrap()?)
}

fn table_scope(table: &TableId) -> Scope {
    Scope::Table(table.clone())
}

// --- fairness ---

#[tokio::test(flavor = "multi_thread")]
async fn a_table_with_10_000_tasks_does_not_starve_its_bucket() {
    let lab = Lab::new(40).await;
    let small = lab.create_table("small", &[]).await;
    lab.append_numbered(&small, &["eu"], 6, 1, 0).await;
    let context = lab.worker(one_bucket("{}"));
    let bucket = BucketId(0);
    // What a plan of so many groups would have put into the queue, long before the small table came.
    let big: Vec<TaskMessage> = (0..10_000)
        .map(|index| TaskMessage {
            task: TaskId {
                process: ProcessId::from("big"),
                index,
            },
            table: Lab::table("big"),
            epoch: Epoch(1),
        })
        .collect();
    context.queue.send(bucket, &big).await.unwrap();
    tick(&context, Deadline::NONE).await.unwrap();

    let mut taken = 0;
    while ended(&lab.take_events()).is_empty() {
        let received = context
            .queue
            .receive(bucket, 1, Duration::ZERO, HOUR)
            .await
            .unwrap();
        taken += 1;
        assert!(
            taken < 5,
            "the small table's task waits behind the big one's"
        );
        // The big one's are at work for long.
        if received[0].message.table == small {
            let handled = handle(&context, &received[0].message, Deadline::NONE).await;
            assert_eq!(handled.unwrap(), Handled::Done);
            context.queue.delete(&received[0]).await.unwrap();
        }
    }
    let waiting = context
        .queue
        .receive(bucket, 3, Duration::ZERO, HOUR)
        .await
        .unwrap();
    assert_eq!(waiting.len(), 3, "and the big one's are still there");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_large_plan_is_done_in_slices_and_others_have_their_turn_between_them() {
    let lab = Lab::new(41).await;
    let properties = [("icepress.max-plan-groups", "2")];
    let big = lab.create_table("big", &properties).await;
    lab.append_numbered(&big, &["a", "b", "c", "d", "e"], 6, 1, 0)
        .await;
    let other = lab.create_table("other", &[]).await;
    lab.append_numbered(&other, &["eu"], 6, 1, 0).await;
    let context = lab.worker(one_bucket("{}"));
    let (rows, _) = lab.rows(&big).await;

    let first = planned(&context).await;
    let of_big = first.iter().filter(|message| message.table == big);
    assert_eq!(of_big.count(), 2);
    assert_eq!(first.len(), 3, "the other's is in the queue from the start");
    let report = run(&context).await;
    assert_eq!((report.compacted, report.failed), (2, 0), "{report:?}");
    let processes = context.store.processes_of(&big, 10).await.unwrap();
    let tasks: Vec<u32> = processes.iter().map(|process| process.tasks).collect();
    assert_eq!(tasks, [1, 2, 2]);
    let (after, files) = lab.rows(&big).await;
    assert_eq!((after, files.len()), (rows, 5));
}

// --- blockers ---

#[tokio::test(flavor = "multi_thread")]
async fn a_blocked_table_keeps_its_mark_and_is_compacted_at_the_end_of_the_blocker() {
    let (lab, table) = Lab::of_small_files(42).await;
    let other = lab.create_table("other", &[]).await;
    lab.append_numbered(&other, &["eu"], 6, 1, 0).await;
    let context = lab.worker(settings_for_tests("w"));
    let blocked = block(&context, table_scope(&table), "spark", "a long merge", HOUR)
        .await
        .unwrap();
    assert_eq!(blocked.under_way, []);

    let report = run(&context).await;
    let (what, reason) = outcome(&report, &table);
    assert_eq!(what, TableOutcome::Waiting);
    assert_eq!(reason, "spark blocks table lab.tests.events: a long merge");
    assert_eq!(outcome(&report, &other).0, TableOutcome::Compacted);
    let row = context.store.table(&table).await.unwrap().unwrap();
    let location = lab.load(&table).await.metadata_location;
    assert_eq!((row.due_location, row.failures), (Some(location), 0));
    assert_eq!(row.active_process, None);
    let waits = waiting(&context, &table).await.unwrap();
    assert_eq!(waits.waits_for, WaitsFor::Blocker);
    // Not even by hand.
    let by_hand = tables::compact(&context, &table, false, 1, &Stop::default()).await;
    assert_eq!(by_hand.unwrap().outcome, TableOutcome::Waiting);

    lab.clock.advance(HOUR + context.settings.lease_guard);
    lab.clock.advance(Duration::from_secs(1));
    let report = run(&context).await;
    assert_eq!(outcome(&report, &table).0, TableOutcome::Compacted);
    assert_eq!(waiting(&context, &table).await, None);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_waits_for_a_blocker_goes_on_as_soon_as_it_is_taken_away() {
    let (lab, table) = Lab::of_small_files(43).await;
    let context = lab.worker(settings_for_tests("w"));
    let database = Scope::Database(table.database());
    for owner in ["spark", "ann"] {
        block(&context, database.clone(), owner, "work", HOUR)
            .await
            .unwrap();
    }
    assert_eq!(
        outcome(&run(&context).await, &table).0,
        TableOutcome::Waiting
    );
    assert!(unblock(&context, &database, "spark").await.unwrap());
    let (what, reason) = outcome(&run(&context).await, &table);
    assert_eq!(what, TableOutcome::Waiting);
    assert!(
        reason.starts_with("ann blocks database lab.tests"),
        "{reason}"
    );
    assert!(!unblock(&context, &database, "bob").await.unwrap());
    assert!(unblock(&context, &database, "ann").await.unwrap());
    assert_eq!(
        outcome(&run(&context).await, &table).0,
        TableOutcome::Compacted
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_that_is_blocked_while_it_is_rewritten_is_not_committed_until_the_end() {
    let (lab, table) = Lab::of_small_files(44).await;
    let context = lab.worker(settings_for_tests("w"));
    let messages = planned(&context).await;
    let before = lab.load(&table).await.metadata_location;
    let blocked = block(&context, table_scope(&table), "spark", "merge", HOUR).await;
    assert_eq!(blocked.unwrap().under_way, []);

    let handled = handle(&context, &messages[0], Deadline::NONE)
        .await
        .unwrap();
    assert_eq!(handled, Handled::Done);
    lab.clock.advance(context.settings.check_interval);
    let report = run(&context).await;
    assert_eq!(outcome(&report, &table).0, TableOutcome::Waiting);
    assert_eq!(lab.load(&table).await.metadata_location, before);
    let process = &messages[0].task.process;
    let row = context.store.process(process).await.unwrap().unwrap();
    assert_eq!((row.commit_claims, row.has_ended()), (0, false));

    lab.clock.advance(HOUR + context.settings.check_interval);
    let report = run(&context).await;
    assert_eq!(outcome(&report, &table).0, TableOutcome::Compacted);
    let row = context.store.process(process).await.unwrap().unwrap();
    assert!(row.has_ended(), "what was rewritten was used");
}

/// A catalog in which somebody blocks a table at each load of it.
#[derive(Debug)]
struct BlockedAtLoad {
    inner: Arc<dyn Catalog>,
    engine: Context,
}

#[async_trait]
impl Catalog for BlockedAtLoad {
    fn name(&self) -> &CatalogName {
        self.inner.name()
    }

    async fn list_namespaces(&self) -> Result<Vec<Namespace>, CatalogError> {
        self.inner.list_namespaces().await
    }

    async fn list_tables(
        &self,
        database: &DatabaseId,
        next: Option<&str>,
    ) -> Result<TablePage, CatalogError> {
        self.inner.list_tables(database, next).await
    }

    async fn load(&self, table: &TableId) -> Result<LoadedTable, CatalogError> {
        let blocked = block(&self.engine, table_scope(table), "spark", "merge", HOUR).await;
        let under_way = blocked.unwrap().under_way;
        assert_eq!(under_way.len(), 1, "a claim stands: {under_way:?}");
        self.inner.load(table).await
    }

    async fn commit(&self, _: &LoadedTable, _: TableChange) -> Result<LoadedTable, CommitError> {
        panic!("nothing is swapped once the table is blocked")
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_commit_that_has_begun_is_told_of_and_looks_once_more_before_it_swaps() {
    let (lab, table) = Lab::of_small_files(45).await;
    let context = lab.worker(settings_for_tests("w"));
    let messages = planned(&context).await;
    let committer = Context {
        catalogs: Catalogs::new([OpenCatalog {
            catalog: Arc::new(BlockedAtLoad {
                inner: Arc::clone(&lab.catalog) as Arc<dyn Catalog>,
                engine: context.clone(),
            }),
            storage: Arc::clone(&lab.storage),
        }]),
        ..context.clone()
    };
    let files = lab.files_on_disk(&table).await.len();
    handle(&committer, &messages[0], Deadline::NONE)
        .await
        .unwrap();

    let process = context.store.process(&messages[0].task.process).await;
    let row = process.unwrap().unwrap();
    assert!(
        matches!(row.state, ProcessState::Committing { .. }),
        "{row:?}"
    );
    assert_eq!(
        lab.files_on_disk(&table).await.len(),
        files + 1,
        "manifests are gone"
    );
    // The claim ends by itself, and with it what the engine has to wait for.
    let scope = table_scope(&table);
    assert_eq!(commits_under_way(&context, &scope).await.unwrap().len(), 1);
    lab.clock
        .advance(context.settings.commit_ttl + context.settings.lease_guard);
    lab.clock.advance(Duration::from_secs(1));
    assert_eq!(commits_under_way(&context, &scope).await.unwrap(), []);
    assert_eq!(
        outcome(&run(&context).await, &table).0,
        TableOutcome::Waiting
    );
    assert!(unblock(&context, &scope, "spark").await.unwrap());
    lab.clock.advance(context.settings.check_interval);
    assert_eq!(
        outcome(&run(&context).await, &table).0,
        TableOutcome::Compacted
    );
}

// --- windows ---

/// A window of one hour of every day that opens so many hours from now.
fn window(now: TimestampMs, hours: i64) -> String {
    let minutes = now.get() / 60_000 + hours * 60;
    let clock = |at: i64| format!("{:02}:{:02}", at / 60 % 24, at % 60);
    format!("{}-{}", clock(minutes), clock(minutes + 60))
}

#[tokio::test(flavor = "multi_thread")]
async fn no_process_starts_outside_the_window_and_what_runs_may_end() {
    let lab = Lab::new(46).await;
    let window = window(lab.ambient.now(), 2);
    let properties = [("icepress.maintenance-window", &*window)];
    let table = lab.create_table("events", &properties).await;
    lab.append_numbered(&table, &["eu"], 6, 1, 0).await;
    let free = lab.create_table("free", &properties).await;
    lab.append_numbered(&free, &["eu"], 6, 1, 0).await;
    let context = lab.worker(settings_for_tests("w"));
    let report = run(&context).await;
    let (what, reason) = outcome(&report, &table);
    assert_eq!(what, TableOutcome::Waiting);
    assert!(reason.contains(&window), "{reason}");
    let waits = waiting(&context, &table).await.unwrap();
    let opens = waits.until.unwrap().since(lab.ambient.now());
    assert!(opens < 2 * HOUR && opens > HOUR, "{opens:?}");

    // A person need not wait.
    let by_hand = Context {
        settings: Arc::new(Settings {
            by_hand: true,
            ..(*context.settings).clone()
        }),
        ..context.clone()
    };
    let compacted = tables::compact(&by_hand, &free, false, 1, &Stop::default()).await;
    assert_eq!(compacted.unwrap().outcome, TableOutcome::Compacted);

    lab.clock.advance(2 * HOUR);
    let messages = planned(&context).await;
    assert_eq!(messages.len(), 1);
    // It closes while the task is at work.
    lab.clock.advance(HOUR);
    handle(&context, &messages[0], Deadline::NONE)
        .await
        .unwrap();
    assert_eq!(lab.rows(&table).await.1.len(), 1);
}

// --- quotas ---

async fn quota(context: &Context, scope: &Scope) -> QuotaRow {
    let rows = context
        .store
        .quotas(std::slice::from_ref(scope))
        .await
        .unwrap();
    rows.into_iter().next().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_quota_of_tasks_is_kept_by_all_tables_together_and_all_come_to_their_end() {
    let lab = Lab::new(47).await;
    let mut tables = Vec::new();
    for name in ["a", "b"] {
        let table = lab.create_table(name, &[]).await;
        lab.append_numbered(&table, &["x", "y", "z"], 6, 1, 0).await;
        tables.push(table);
    }
    let context = lab.worker(one_bucket(
        r#"{"catalog": {"lab": {"max-concurrent-tasks": 2}}}"#,
    ));
    let messages = planned(&context).await;
    assert_eq!(messages.len(), 2, "of the first table: {messages:?}");
    let catalog = Scope::Catalog(CatalogName::from("lab"));
    assert_eq!(quota(&context, &catalog).await.tasks(), 2);
    let kept = messages[0].table.clone();
    let other = tables.iter().find(|table| **table != kept).unwrap();
    let waits = waiting(&context, other).await.unwrap();
    assert_eq!(waits.waits_for, WaitsFor::Tasks);
    assert_eq!(
        waits.reason,
        "catalog lab may have 2 tasks at once: 2 are under way"
    );

    let report = run(&context).await;
    assert_eq!((report.compacted, report.failed), (2, 0), "{report:?}");
    for table in &tables {
        assert_eq!(lab.rows(table).await.1.len(), 3);
        let processes = context.store.processes_of(table, 10).await.unwrap();
        assert!(processes.iter().all(|process| process.tasks <= 2));
    }
    assert_eq!(quota(&context, &catalog).await.held.len(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_day_s_bytes_are_booked_to_the_byte_and_the_rest_waits_for_the_next_day() {
    let (lab, table) = Lab::of_small_files(48).await;
    let probe = lab.stranger(settings_for_tests("probe")).await;
    let plan = tables::plan(&probe, &table).await.unwrap();
    let bytes = plan.groups[0].bytes_to_read();
    let limits = format!(
        r#"{{"table": {{"{table}": {{"max-bytes-a-day": {}}}}}}}"#,
        bytes.get() * 3 / 2
    );
    let context = lab.worker(one_bucket(&limits));
    assert_eq!(
        outcome(&run(&context).await, &table).0,
        TableOutcome::Compacted
    );
    let scope = table_scope(&table);
    let now = lab.ambient.now();
    assert_eq!(quota(&context, &scope).await.bytes_of_day(now), bytes);

    lab.append_numbered(&table, &["us"], 8, 10, 1_000).await;
    let (what, reason) = outcome(&run(&context).await, &table);
    assert_eq!(what, TableOutcome::Waiting);
    assert!(reason.contains("a day rewritten"), "{reason}");
    let until = waiting(&context, &table).await.unwrap().until.unwrap();
    assert_eq!(until.get() % 86_400_000, 0, "midnight, by UTC");
    // Nobody has to come back before that, and a few hours later it is looked at in any case.
    while lab.ambient.now() < until {
        assert_eq!(
            outcome(&run(&context).await, &table).0,
            TableOutcome::Waiting
        );
        lab.clock.advance(6 * HOUR);
    }
    assert_eq!(
        outcome(&run(&context).await, &table).0,
        TableOutcome::Compacted
    );
    let row = quota(&context, &scope).await;
    assert!(row.bytes_of_day(lab.ambient.now()) > Bytes::ZERO);
}

#[tokio::test(flavor = "multi_thread")]
async fn dollars_are_reserved_as_reckoned_booked_as_measured_and_a_quota_of_none_lets_nothing_begin()
 {
    let (lab, table) = Lab::of_small_files(49).await;
    let scope = Scope::Database(table.database());
    let limits = |dollars: f64| Settings {
        // However slow the machine: it is faster than this.
        reckoned_throughput: Bytes(10),
        ..one_bucket(&format!(
            r#"{{"database": {{"lab.tests": {{"max-dollars-a-month": {dollars}}}}}}}"#
        ))
    };
    let none = lab.worker(limits(0.0));
    let (what, reason) = outcome(&run(&none).await, &table);
    assert_eq!(what, TableOutcome::Waiting);
    assert!(reason.contains("may cost $0.00 a month"), "{reason}");

    let some = lab.worker(limits(0.5));
    let home = some.layout().await.unwrap().home_of(&table);
    some.store
        .force_due(home, &table, lab.ambient.now())
        .await
        .unwrap();
    let messages = planned(&some).await;
    let reserved = quota(&some, &scope).await.cost_of_month(lab.ambient.now());
    for message in &messages {
        handle(&some, message, Deadline::NONE).await.unwrap();
    }
    let booked = quota(&some, &scope).await;
    let cost = booked.cost_of_month(lab.ambient.now());
    assert_eq!(booked.held.len(), 0);
    assert!(cost.get() > 0 && cost < reserved, "{cost} of {reserved}");
    // The same message again books nothing.
    for message in &messages {
        handle(&some, message, Deadline::NONE).await.unwrap();
    }
    assert_eq!(quota(&some, &scope).await, booked);
}

// --- priorities ---

#[tokio::test(flavor = "multi_thread")]
async fn due_tables_are_planned_by_priority_and_a_long_wait_is_worth_a_step() {
    let lab = Lab::new(50).await;
    let mut tables = Vec::new();
    for name in ["a", "b", "c"] {
        let table = lab.create_table(name, &[]).await;
        lab.append_numbered(&table, &["eu"], 6, 1, 0).await;
        tables.push(table);
    }
    let limits = r#"{"table": {"lab.tests.c": {"priority": 1}, "lab.tests.a": {"priority": -1}}}"#;
    let context = lab.worker(one_bucket(limits));
    let order = || -> Vec<String> {
        let events = lab.take_events().into_iter();
        let planned = events.filter_map(|event| match event {
            Event::Planned { table, .. } => Some(table.name),
            _ => None,
        });
        planned.collect()
    };
    tick(&context, Deadline::NONE).await.unwrap();
    assert_eq!(order(), ["c", "b", "a"]);
    run(&context).await;
    lab.take_events();

    // `a` falls due far earlier than the two others.
    let home = context.layout().await.unwrap().home_of(&tables[0]);
    let now = lab.ambient.now();
    context
        .store
        .force_due(home, &tables[0], now)
        .await
        .unwrap();
    lab.clock.advance(HOUR);
    for table in &tables[1..] {
        let now = lab.ambient.now();
        context.store.force_due(home, table, now).await.unwrap();
    }
    tick(&context, Deadline::NONE).await.unwrap();
    assert_eq!(order(), ["a", "c", "b"]);
}
