//! Services that ask a worker for fewer requests (case C56): for a while, and for longer than it can wait.

use std::sync::Arc;

use icepress_coordination::{TaskRow, TaskState};
use icepress_service::Handled;
use icepress_tests::DyingStore;

use super::*;

/// A table of one group that is planned, and its message.
struct Planned {
    lab: Lab,
    table: TableId,
    worker: Context,
    message: icepress_coordination::TaskMessage,
    rows: Vec<Row>,
}

impl Planned {
    async fn new(seed: u64, settings: Settings) -> Self {
        let lab = Lab::new(seed).await;
        let table = tables(&lab, &["t"]).await.remove(0);
        let worker = lab.worker(settings);
        let message = planned(&worker).await.remove(0);
        let rows = lab.rows(&table).await.0;
        Self {
            lab,
            table,
            worker,
            message,
            rows,
        }
    }

    /// With a worker that has no time to wait.
    async fn in_haste(seed: u64) -> Self {
        let settings = Settings {
            longest_rest: Duration::ZERO,
            ..settings_for_tests("a")
        };
        Self::new(seed, settings).await
    }

    async fn handle(&self) -> Handled {
        handle(&self.worker, &self.message, Deadline::NONE)
            .await
            .unwrap()
    }

    async fn task(&self) -> TaskRow {
        let tasks = self.worker.store.tasks(&self.message.task.process).await;
        tasks.unwrap().remove(0)
    }

    async fn process(&self) -> icepress_coordination::ProcessRow {
        let process = self.worker.store.process(&self.message.task.process).await;
        process.unwrap().unwrap()
    }

    async fn assert_done(&self) {
        let (rows, files) = self.lab.rows(&self.table).await;
        assert_eq!((rows, files.len()), (self.rows.clone(), 1));
        let row = known(&self.worker, &self.table).await;
        assert_eq!((row.failures, row.active_process), (0, None));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn c56_a_rewrite_waits_for_an_s3_that_refuses_reads_and_writes() {
    for (seed, part) in [(60, "/data/"), (61, ".metadata.json")] {
        let planned = Planned::new(seed, settings_for_tests("a")).await;
        planned.lab.disk.throttle(part, 4);
        assert_eq!(planned.handle().await, Handled::Done);
        let task = planned.task().await;
        assert_eq!(task.attempt, Attempt(1), "{part}: nothing was begun anew");
        planned.assert_done().await;
        let told = planned.lab.take_events();
        let notices = told.iter().filter(
            |event| matches!(event, Event::Notice { message, .. } if message.contains("throttling")),
        );
        assert_eq!(notices.count(), 1, "{part}: it is told once: {told:?}");
    }
}

/// What is refused for longer than anybody waits: of reads, of what is written alone, of the table's metadata.
#[tokio::test(flavor = "multi_thread")]
async fn c56_a_rewrite_that_is_refused_for_long_uses_up_no_try() {
    for (seed, part) in [
        (62, Some("/data/")),
        (63, None),
        (64, Some(".metadata.json")),
    ] {
        let planned = Planned::in_haste(seed).await;
        let written = planned.message.task.process.to_string();
        let part = part.map_or(written, str::to_owned);
        let (lab, settings) = (&planned.lab, &planned.worker.settings);
        let before = lab.files_on_disk(&planned.table).await;
        lab.disk.throttle(&part, u64::MAX);
        let often = settings.claims_of_task + settings.task_attempts;
        for time in 1..=often {
            assert_eq!(
                planned.handle().await,
                Handled::Done,
                "no receive is used up"
            );
            let task = planned.task().await;
            assert_eq!(task.state, TaskState::Queued);
            assert_eq!((task.waits, task.tries()), (time, 0));
            assert_eq!(task.sent_at, None, "another message has to be sent");
        }
        let told = lab.take_events();
        let failed = told.iter().any(|e| matches!(e, Event::TaskFailed { .. }));
        assert!(!failed, "{told:?}");
        let waits = told.iter().filter(|e| matches!(e, Event::Waiting { .. }));
        assert_eq!(waits.count(), often as usize);

        lab.disk.reset();
        assert_eq!(lab.files_on_disk(&planned.table).await, before);
        let message = peek(&planned.worker, planned.task().await.bucket).await;
        assert_eq!(
            message.len(),
            1,
            "the first one, which nobody has deleted here"
        );
        lab.clock.advance(settings.check_interval * 2);
        tick(&planned.worker, Deadline::NONE).await.unwrap();
        let messages = peek(&planned.worker, planned.task().await.bucket).await;
        assert_eq!(messages.len(), 2, "another was sent");
        assert_eq!(planned.handle().await, Handled::Done);
        planned.assert_done().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn c56_a_report_waits_for_a_store_that_refuses_it() {
    let mut planned = Planned::new(65, settings_for_tests("a")).await;
    // The claim is the first write, the report the second.
    let store = DyingStore::throttled(Arc::clone(&planned.worker.store), 1, 2);
    planned.worker.store = store;
    assert_eq!(planned.handle().await, Handled::Done);
    assert_eq!(planned.task().await.attempt, Attempt(1));
    planned.assert_done().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn c56_a_report_that_is_refused_for_long_leaves_no_file_and_is_made_by_another() {
    let planned = Planned::in_haste(66).await;
    let before = planned.lab.files_on_disk(&planned.table).await;
    let refused = Context {
        store: DyingStore::throttled(Arc::clone(&planned.worker.store), 1, u32::MAX),
        ..planned.worker.clone()
    };
    let handled = handle(&refused, &planned.message, Deadline::NONE).await;
    assert!(handled.is_err(), "it can't even be given back: {handled:?}");
    assert_eq!(planned.lab.files_on_disk(&planned.table).await, before);
    let wait = planned.worker.settings.claim_ttl * 2;
    planned.lab.clock.advance(wait);
    assert_eq!(planned.handle().await, Handled::Done);
    planned.assert_done().await;
}

/// A commit is tried again for as long as the catalog, or S3, refuses what it asks, and the rewrite is not done again.
#[tokio::test(flavor = "multi_thread")]
async fn c56_a_commit_that_is_refused_for_long_uses_up_no_try() {
    for (seed, by_catalog) in [(67, true), (68, false)] {
        let planned = Planned::new(seed, settings_for_tests("a")).await;
        let (lab, settings) = (&planned.lab, &planned.worker.settings);
        match by_catalog {
            true => lab.catalog.throttle_loads(true),
            false => lab.disk.throttle(".avro", u64::MAX),
        }
        planned.handle().await;
        let often = settings.commit_claims * 3;
        for time in 1..=often {
            let process = planned.process().await;
            assert_eq!(process.state, ProcessState::Running, "by {time} tries");
            assert_eq!((process.waits, process.tries()), (time, 0));
            lab.clock.advance(settings.commit_patience);
            tick(&planned.worker, Deadline::NONE).await.unwrap();
        }
        lab.catalog.throttle_loads(false);
        lab.disk.reset();
        lab.clock.advance(settings.commit_patience);
        tick(&planned.worker, Deadline::NONE).await.unwrap();
        assert_eq!(planned.task().await.attempt, Attempt(1));
        planned.assert_done().await;
    }
}

/// An evaluation that an optimizer can't report waits as well.
#[tokio::test(flavor = "multi_thread")]
async fn c56_an_evaluation_that_can_t_be_kept_uses_up_no_try() {
    let folder = "payloads-of-t";
    let lab = Lab::new(69).await;
    let table = tables(&lab, &["t"]).await.remove(0);
    let worker = lab.worker(Settings {
        payload_limit: Bytes(0),
        payload_location: Some(format!("{}/{folder}", lab.folder.path().display())),
        longest_rest: Duration::ZERO,
        ..of_little_memory("a")
    });
    let message = planned(&worker).await.remove(0);
    lab.disk.throttle(folder, u64::MAX);
    for _ in 0..worker.settings.task_attempts + 1 {
        handle(&worker, &message, Deadline::NONE).await.unwrap();
    }
    let task = worker.store.tasks(&message.task.process).await.unwrap();
    assert_eq!((task[0].tries(), &task[0].state), (0, &TaskState::Queued));
    // Nor is it a failure of the table where the scheduler can't keep what is to be done.
    lab.disk.throttle(folder, 0);
    handle(&worker, &message, Deadline::NONE).await.unwrap();
    lab.disk.throttle("/plans/", u64::MAX);
    tick(&worker, Deadline::NONE).await.unwrap();
    let row = known(&worker, &table).await;
    let waits = Waiting::of(&row).map(|waits| waits.waits_for);
    assert_eq!((row.failures, waits), (0, Some(WaitsFor::Requests)));
    lab.disk.reset();
    lab.clock.advance(Duration::from_secs(600));
    run_once(&worker, 1, &Stop::default()).await.unwrap();
    assert_eq!(files(&lab, &table).await, 1);
}
