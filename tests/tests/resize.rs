//! Another number of buckets while everything goes on, and another number of schedulers: no table skipped, none planned
//! twice, nothing redone.
#![allow(missing_docs, clippy::unwrap_used)]

use std::{
    collections::{BTreeMap, BTreeSet},
    num::NonZeroU32,
    sync::{Arc, Mutex},
    time::Duration,
};

use futures::future::join_all;
use iceberg::spec::Operation;
use icepress_coordination::{Received, StateStore};
use icepress_model::{BucketCount, BucketId, ProcessId, ProcessOutcome, TableId};
use icepress_service::{
    Context, Deadline, Event, Handled, Observer,
    buckets::{self, ResizeError},
    embedded::{Stop, run_once},
    handle, tick,
};
use icepress_tests::{DyingStore, Lab, Row, settings_for_tests};

fn count(buckets: u32) -> BucketCount {
    BucketCount(NonZeroU32::new(buckets).unwrap())
}

/// Tables that each need a rewrite, with their rows.
struct Tables {
    lab: Lab,
    rows: BTreeMap<TableId, Vec<Row>>,
}

impl Tables {
    async fn new(seed: u64, number: u32) -> Self {
        let lab = Lab::new(seed).await;
        let mut rows = BTreeMap::new();
        for index in 0..number {
            let table = lab.create_table(&format!("t{index}"), &[]).await;
            lab.append_numbered(&table, &["eu"], 6, 2, 0).await;
            let of_table = lab.rows(&table).await.0;
            rows.insert(table, of_table);
        }
        Self { lab, rows }
    }

    fn worker(&self, name: &str) -> Context {
        self.lab.worker(settings_for_tests(name))
    }

    /// Each table was rewritten so often, by as many processes as snapshots; its rows are what they were; it is in a
    /// bucket of the layout, and nothing waits.
    async fn assert_rewritten(&self, times: usize) {
        let worker = self.worker("judge");
        let layout = worker.store.layout().await.unwrap().unwrap();
        assert!(!layout.is_moving(), "{layout:?}");
        let mut seen = BTreeSet::new();
        for row in worker.store.tables().await.unwrap() {
            let row = row.unwrap();
            assert_eq!(row.home(), layout.home_of(&row.table), "{}", row.table);
            assert_eq!((&row.active_process, row.due_at), (&None, None), "{row:?}");
            seen.insert(row.table);
        }
        assert_eq!(
            seen,
            self.rows.keys().cloned().collect(),
            "no table is skipped"
        );
        for (table, rows) in &self.rows {
            assert_eq!(&self.lab.rows(table).await.0, rows, "{table}");
            let processes = worker.store.processes_of(table, 100).await.unwrap();
            assert_eq!(processes.len(), times, "{table}: {processes:#?}");
            let replaced = self.lab.load(table).await.metadata;
            let replaced = replaced
                .snapshots()
                .filter(|snapshot| snapshot.summary().operation == Operation::Replace);
            assert_eq!(replaced.count(), times, "{table}");
        }
    }

    async fn append_more(&mut self, from: i64) {
        for (table, rows) in &mut self.rows {
            self.lab.append_numbered(table, &["eu"], 6, 2, from).await;
            *rows = self.lab.rows(table).await.0;
        }
    }
}

/// Messages of all queues, hidden from others for an hour.
async fn receive_all(worker: &Context, queues: BucketCount) -> Vec<Received> {
    let hour = Duration::from_secs(3600);
    let mut all = Vec::new();
    for bucket in queues.all() {
        let received = worker
            .queue
            .receive(bucket, 100, Duration::ZERO, hour)
            .await;
        all.extend(received.unwrap());
    }
    all
}

async fn finish(worker: &Context, received: &Received) {
    let handled = handle(worker, &received.message, Deadline::NONE).await;
    assert_eq!(handled.unwrap(), Handled::Done);
    worker.queue.delete(received).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn b09_work_under_way_ends_from_the_queues_it_was_sent_to_while_its_tables_move() {
    let mut tables = Tables::new(31, 10).await;
    let old = tables.worker("old");
    tick(&old, Deadline::NONE).await.unwrap();
    let sent = receive_all(&old, count(8)).await;
    assert_eq!(sent.len(), 10, "one group a table");
    let (early, late) = sent.split_at(4);
    let optimizer = tables.worker("optimizer");
    for received in early {
        finish(&optimizer, received).await;
    }

    let resized = buckets::resize(&old, count(2)).await.unwrap();
    assert_eq!((resized.moves.moved, resized.moves.unreadable), (10, 0));
    let kept = late
        .iter()
        .filter(|received| received.bucket.0 >= 2)
        .count() as u64;
    assert!(kept > 0, "some tasks are in queues that are to go");
    assert_eq!(resized.moves.under_way, kept);
    assert!(!resized.moves.is_settled, "their queues have to stay");
    let report = tick(&old, Deadline::NONE).await.unwrap();
    assert_eq!(report.swept, 8, "{report:?}");

    for received in late {
        finish(&optimizer, received).await;
    }
    let report = tick(&old, Deadline::NONE).await.unwrap();
    assert_eq!(
        report.swept, 8,
        "what it found on coming was still moving: {report:?}"
    );
    let report = tick(&old, Deadline::NONE).await.unwrap();
    assert_eq!(report.swept, 2, "and then it is over: {report:?}");
    tables.assert_rewritten(1).await;

    // And from two to five, with what changed meanwhile.
    tables.append_more(100).await;
    let resized = buckets::resize(&old, count(5)).await.unwrap();
    assert!(resized.moves.is_settled, "{resized:?}");
    let report = run_once(&tables.worker("new"), 2, &Stop::default())
        .await
        .unwrap();
    assert_eq!((report.compacted, report.failed), (10, 0), "{report:?}");
    tables.assert_rewritten(2).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_in_queues_that_go_are_worked_off_by_who_runs_embedded() {
    let tables = Tables::new(32, 6).await;
    let worker = tables.worker("w");
    tick(&worker, Deadline::NONE).await.unwrap();
    buckets::resize(&worker, count(1)).await.unwrap();
    let report = run_once(&worker, 2, &Stop::default()).await.unwrap();
    assert_eq!((report.compacted, report.failed), (6, 0), "{report:?}");
    tick(&worker, Deadline::NONE).await.unwrap();
    assert!(receive_all(&worker, count(8)).await.is_empty());
    tables.assert_rewritten(1).await;
}

/// The number changes before each single write of a tick that knows the old one only.
#[tokio::test(flavor = "multi_thread")]
async fn b07_a_tick_of_the_old_number_spoils_nothing_wherever_the_change_meets_it() {
    let mut tables = Tables::new(33, 2).await;
    run_once(&tables.worker("w"), 2, &Stop::default())
        .await
        .unwrap();
    let mut rewrites = 1;
    for writes in 0.. {
        tables.append_more(1000 + i64::from(writes) * 100).await;
        let to = if writes % 2 == 0 { count(2) } else { count(8) };
        let other = tables.worker("other");
        let old = tables.worker("old");
        let store = DyingStore::interrupted(Arc::clone(&old.store), writes, move || {
            let other = other.clone();
            async move {
                buckets::resize(&other, to).await.unwrap();
            }
        });
        let old = Context {
            store: Arc::clone(&store) as Arc<dyn StateStore>,
            ..old
        };
        tick(&old, Deadline::NONE).await.unwrap();
        // Whatever the old one left undone, a new one does at once: nothing of it has to time out.
        run_once(&tables.worker("new"), 2, &Stop::default())
            .await
            .unwrap();
        run_once(&tables.worker("new"), 2, &Stop::default())
            .await
            .unwrap();
        rewrites += 1;
        tables.assert_rewritten(rewrites).await;
        if !store.was_reached() {
            assert!(
                writes >= 8,
                "a tick that marks, plans and sends writes more than {writes}"
            );
            break;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_resize_that_dies_at_any_write_is_finished_by_the_next_tick() {
    let tables = Tables::new(34, 5).await;
    let worker = tables.worker("w");
    run_once(&worker, 2, &Stop::default()).await.unwrap();
    let mut deaths = 0;
    for writes in 0.. {
        let mut died = false;
        for last_acts in [false, true] {
            let stands = worker.layout().await.unwrap().buckets;
            let to = if stands == count(8) {
                count(3)
            } else {
                count(8)
            };
            let store = DyingStore::around(Arc::clone(&worker.store), writes, last_acts);
            let dying = Context {
                store: Arc::clone(&store) as Arc<dyn StateStore>,
                ..tables.worker("dying")
            };
            let outcome = buckets::resize(&dying, to).await;
            assert_eq!(outcome.is_err(), store.is_dead());
            died |= store.is_dead();
            deaths += u32::from(store.is_dead());
            tick(&worker, Deadline::NONE).await.unwrap();
            let stands = worker.layout().await.unwrap();
            assert_eq!(
                stands.buckets,
                if writes == 0 && !last_acts {
                    stands.buckets
                } else {
                    to
                }
            );
            tables.assert_rewritten(1).await;
        }
        if !died {
            break;
        }
    }
    // The layout, each table that has to go elsewhere or not, and the note that all is done; twice each.
    assert_eq!(deaths, 2 * 7);
}

#[tokio::test(flavor = "multi_thread")]
async fn two_that_resize_at_once_end_in_one_layout() {
    let tables = Tables::new(35, 6).await;
    let worker = tables.worker("w");
    run_once(&worker, 2, &Stop::default()).await.unwrap();
    let resizes = [3, 5, 2, 7].map(|number| {
        let worker = worker.clone();
        tokio::spawn(async move { buckets::resize(&worker, count(number)).await.unwrap() })
    });
    join_all(resizes).await;
    tick(&worker, Deadline::NONE).await.unwrap();
    tables.assert_rewritten(1).await;
    assert_eq!(worker.layout().await.unwrap().generation.get(), 5);
    let many = buckets::resize(&worker, count(5_000)).await;
    assert!(matches!(many, Err(ResizeError::TooMany(_))), "{many:?}");
}

/// What one worker planned.
#[derive(Debug, Default)]
struct Plans(Mutex<Vec<ProcessId>>);

impl Observer for Plans {
    fn observe(&self, event: &Event) {
        if let Event::Planned {
            process: Some(process),
            ..
        } = event
        {
            self.0.lock().unwrap().push(process.clone());
        }
    }
}

fn watched(worker: Context) -> (Context, Arc<Plans>) {
    let plans = Arc::new(Plans::default());
    let worker = Context {
        observer: Arc::clone(&plans) as Arc<dyn Observer>,
        ..worker
    };
    (worker, plans)
}

#[tokio::test(flavor = "multi_thread")]
async fn from_one_scheduler_to_eight_to_two_nothing_is_planned_twice_or_redone() {
    let mut tables = Tables::new(36, 16).await;
    // One plans all, and a few tasks are done.
    let (first, by_first) = watched(tables.worker("s0"));
    tick(&first, Deadline::NONE).await.unwrap();
    assert_eq!(by_first.0.lock().unwrap().len(), 16);
    let sent = receive_all(&first, count(8)).await;
    for received in &sent[..10] {
        finish(&first, received).await;
    }
    // It dies with six tasks in hand, of which it had begun two.
    let claimed = &sent[10..12];
    for received in claimed {
        let now = first.ambient.now();
        let end = now + first.settings.claim_ttl;
        let task = &received.message.task;
        let outcome = first
            .store
            .claim_task(task, &first.settings.worker, now, end);
        outcome.await.unwrap();
    }

    // Eight begin where it ended, each table written to once more; its messages come back when their time is over.
    tables.append_more(100).await;
    tables.lab.clock.advance(Duration::from_secs(3700));
    let (eight, planned): (Vec<Context>, Vec<Arc<Plans>>) = (1..9)
        .map(|number| watched(tables.worker(&format!("s{number}"))))
        .unzip();
    let ticks = eight.iter().map(|worker| {
        let worker = worker.clone();
        tokio::spawn(async move { tick(&worker, Deadline::NONE).await })
    });
    for ticked in join_all(ticks).await {
        ticked.unwrap().unwrap();
    }
    // No time has passed that a lease needs to end.
    let shares = planned.iter().map(|plans| plans.0.lock().unwrap().len());
    let working = shares.filter(|share| *share > 0).count();
    assert!(working >= 2, "the work spreads: {planned:?}");

    // All but two of them die where they stand, some with leases: those end by themselves.
    for (number, worker) in eight[..6].iter().enumerate() {
        let bucket = BucketId(u32::try_from(number).unwrap());
        let settings = &worker.settings;
        let taken = worker.store.take_lease(
            bucket,
            &settings.worker,
            worker.ambient.now(),
            settings.lease_ttl,
            settings.lease_guard,
        );
        assert!(taken.await.unwrap().is_some());
    }
    tables.lab.clock.advance(Duration::from_secs(60));
    for _ in 0..2 {
        let runs = eight[6..].iter().map(|worker| {
            let worker = worker.clone();
            tokio::spawn(async move { run_once(&worker, 1, &Stop::default()).await })
        });
        for ran in join_all(runs).await {
            ran.unwrap().unwrap();
        }
    }

    tables.assert_histories_are_single().await;
}

impl Tables {
    /// Each process ended committed, planned on a base of its own, and each of its tasks was done by one attempt, but
    /// for those that died with their worker.
    async fn assert_histories_are_single(&self) {
        let worker = self.worker("judge");
        let mut second_attempts = 0;
        for (table, rows) in &self.rows {
            assert_eq!(&self.lab.rows(table).await.0, rows, "{table}");
            let processes = worker.store.processes_of(table, 100).await.unwrap();
            let mut bases = BTreeSet::new();
            for process in &processes {
                let outcome = match &process.state {
                    icepress_coordination::ProcessState::Ended(outcome) => outcome,
                    other => panic!("{table}: {other:?}"),
                };
                assert!(
                    matches!(outcome, ProcessOutcome::Committed { .. }),
                    "{table}: {outcome:?}"
                );
                let header: serde_json::Value = serde_json::from_str(&process.header).unwrap();
                assert!(
                    bases.insert(header["base"].to_string()),
                    "{table}: planned twice on one state"
                );
                for task in worker.store.tasks(&process.process).await.unwrap() {
                    second_attempts += task.attempt.get() - 1;
                }
            }
            let metadata = self.lab.load(table).await.metadata;
            let replaced = metadata
                .snapshots()
                .filter(|snapshot| snapshot.summary().operation == Operation::Replace);
            assert_eq!(replaced.count(), processes.len(), "{table}");
            let plan = icepress_service::tables::plan(&worker, table)
                .await
                .unwrap();
            assert!(plan.groups.is_empty(), "{table}: {:?}", plan.groups);
        }
        assert_eq!(
            second_attempts, 2,
            "only what the dead had begun is begun again"
        );
    }
}
