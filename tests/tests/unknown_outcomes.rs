//! Cases C25 and C28: every request of a commit lost before it acted, and after. Nothing that a snapshot may need is
//! deleted, and another worker finds and finishes what was begun. What certainly came into no snapshot is deleted, and
//! storage is as it was.
#![allow(missing_docs, clippy::unwrap_used)]

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use icepress_coordination::TaskMessage;
use icepress_model::{Bytes, ProcessOutcome, TableId};
use icepress_service::{Context, Deadline, Handled, Settings, handle, processes, tick};
use icepress_storage::conformance::proxy::Mishap;
use icepress_tests::{
    CatalogFault, DyingStore, EmulatedGlue, Lab, Row, StorageFault, ended, planned,
    settings_for_tests,
};

/// A table with one group planned, by a worker that will meet the fault.
struct Begun {
    lab: Lab,
    table: TableId,
    worker: Context,
    message: TaskMessage,
    rows: Vec<Row>,
}

impl Begun {
    async fn in_lab(lab: Lab, name: &str) -> Self {
        Self::with(lab, name, &["eu"], settings_for_tests("unlucky")).await
    }

    /// With a group for each region.
    async fn with(lab: Lab, name: &str, regions: &[&str], settings: Settings) -> Self {
        let table = lab.create_table(name, &[]).await;
        lab.append_numbered(&table, regions, 8, 10, 0).await;
        let rows = lab.rows(&table).await.0;
        let worker = lab.worker(settings);
        let message = planned(&worker).await.remove(0);
        lab.disk.reset();
        Self {
            lab,
            table,
            worker,
            message,
            rows,
        }
    }

    async fn meet(&self) {
        // What the worker makes of it is its own affair; the table is ours.
        let handled = handle(&self.worker, &self.message, Deadline::NONE).await;
        assert!(handled.is_ok(), "{handled:?}");
    }

    /// Lets another worker, and where `rival` a foreign writer before it, find the table; then all must be well.
    async fn end_well(mut self, rival: bool, what: &str) {
        self.lab.assert_whole(&self.table, what).await;
        if rival {
            let more = self
                .lab
                .append_numbered(&self.table, &["eu"], 1, 10, 1000)
                .await;
            assert!(more.metadata.current_snapshot().is_some());
            self.rows
                .extend((1000..1010).map(|id| Row::numbered(id, "eu")));
        }
        let other = self.lab.worker(settings_for_tests("other"));
        for _ in 0..6 {
            let settings = &other.settings;
            self.lab
                .clock
                .advance(settings.check_interval + settings.commit_ttl);
            for message in planned(&other).await {
                handle(&other, &message, Deadline::NONE).await.unwrap();
            }
            tick(&other, Deadline::NONE).await.unwrap();
            let row = other.store.table(&self.table).await.unwrap();
            let row = row.unwrap();
            if row.active_process.is_none() && row.due_at.is_none() {
                break;
            }
        }
        self.lab.assert_whole(&self.table, what).await;
        let (rows, files) = self.lab.rows(&self.table).await;
        assert_eq!(rows, self.rows, "{what}");
        assert_eq!(files.len(), if rival { 2 } else { 1 }, "{what}: {files:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn c25_every_write_of_a_commit_lost_before_and_after_it_acted() {
    let quiet = Begun::in_lab(Lab::new(100).await, "events").await;
    quiet.meet().await;
    let puts = quiet.lab.disk.metadata_puts();
    quiet.end_well(false, "without a fault").await;
    // Manifests of new and of replaced files, their list, and the metadata file.
    assert_eq!(puts.len(), 4, "{puts:?}");

    let mut seed = 101;
    for fault in [StorageFault::LostBefore, StorageFault::LostAfter] {
        for nth in 0..puts.len() {
            let begun = Begun::in_lab(Lab::new(seed).await, "events").await;
            begun.lab.disk.fail_puts_from(nth, fault);
            begun.meet().await;
            begun.lab.disk.reset();
            let what = format!("put {nth} {fault:?}");
            begun.end_well(seed % 2 == 0, &what).await;
            seed += 1;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn c25_c29_every_read_of_a_commit_lost() {
    let quiet = Begun::in_lab(Lab::new(200).await, "events").await;
    quiet.meet().await;
    let reads = quiet.lab.disk.metadata_reads();
    assert!(reads >= 4, "{reads}");
    for nth in 0..reads {
        let begun = Begun::in_lab(Lab::new(201 + nth as u64).await, "events").await;
        begun.lab.disk.fail_reads_from(nth);
        begun.meet().await;
        // Case C29: whoever could not read what is live has deleted nothing.
        let deleted = begun.lab.disk.deleted();
        assert!(
            !deleted.iter().any(|path| path.contains("/data/")),
            "{deleted:?}"
        );
        begun.lab.disk.reset();
        begun.end_well(nth % 2 == 0, &format!("read {nth}")).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn c25_the_swap_lost_before_and_after_it_acted() {
    for (seed, fault) in [
        (300, CatalogFault::LostBefore),
        (301, CatalogFault::LostAfter),
    ] {
        for rival in [false, true] {
            let begun = Begun::in_lab(Lab::new(seed).await, "events").await;
            begun.lab.catalog.order(fault);
            begun.meet().await;
            assert!(begun.lab.disk.deleted().is_empty(), "{fault:?}");
            begun.end_well(rival, &format!("swap {fault:?}")).await;
        }
    }
}

/// The same on Glue with the commit lock: the load, the taking of the lock, the swap, the letting go.
#[tokio::test(flavor = "multi_thread")]
async fn c25_every_request_to_glue_and_to_the_lock_lost_before_and_after_it_acted() {
    let Some(glue) = EmulatedGlue::start().await else {
        return;
    };
    let before = || {
        Mishap::AnsweredInstead(
            500,
            "{\"__type\":\"InternalServiceException\",\"Message\":\"busy\"}".to_owned(),
        )
    };
    let operations = [
        "AWSGlue.GetTable",
        "AWSGlue.UpdateTable",
        "DynamoDB_20120810.GetItem",
        "DynamoDB_20120810.PutItem",
        "DynamoDB_20120810.DeleteItem",
    ];
    let mut number = 0;
    for operation in operations {
        for mishap in [before(), Mishap::AnswerLost] {
            number += 1;
            let lab = glue.lab(400 + number).await;
            let begun = Begun::in_lab(lab, &format!("t{number}")).await;
            let seen = glue.proxy.seen(operation);
            glue.proxy.plan(operation, 1000, mishap.clone());
            begun.meet().await;
            glue.proxy.clear();
            assert!(glue.proxy.seen(operation) > seen, "{operation} was asked");
            let what = format!("{operation} {mishap:?}");
            begun.end_well(number % 2 == 0, &what).await;
        }
    }
}

/// A process is tried so often, however short a time that takes.
fn patient_for(commit_claims: u32) -> Settings {
    Settings {
        commit_claims,
        commit_patience: Duration::ZERO,
        ..settings_for_tests("unlucky")
    }
}

impl Begun {
    async fn files(&self) -> BTreeMap<String, u64> {
        self.lab.files_on_disk(&self.table).await
    }

    /// Orders so many commits to lose their races, each of which tries five times.
    fn lose(&self, commits: usize) {
        for _ in 0..commits * 5 {
            self.lab.catalog.order(CatalogFault::Conflict);
        }
    }

    fn assert_failed(&self, expected: &str) {
        let outcomes = ended(&self.lab.take_events());
        let [ProcessOutcome::Failed { failures, .. }] = outcomes.as_slice() else {
            panic!("{outcomes:?}")
        };
        assert!(failures[0].contains(expected), "{failures:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn c28_the_last_lost_race_leaves_no_file() {
    let begun = Begun::with(Lab::new(501).await, "events", &["eu"], patient_for(1)).await;
    let before = begun.files().await;
    begun.lose(1);
    begun.meet().await;
    begun.assert_failed("lost the race");
    assert_eq!(begun.files().await, before);
}

/// Whoever had the claim before may have died with a swap under way, and the table is where it was compared with.
#[tokio::test(flavor = "multi_thread")]
async fn c28_files_stay_where_an_earlier_claim_may_have_sent_a_swap() {
    let begun = Begun::with(Lab::new(502).await, "events", &["eu"], patient_for(2)).await;
    let before = begun.files().await;
    begun.lose(2);
    begun.meet().await;
    let written = begun.files().await;
    assert_eq!(written.len(), before.len() + 1);
    let settings = &begun.worker.settings;
    let wait = settings.check_interval + settings.commit_ttl;
    begun.lab.clock.advance(wait);
    tick(&begun.worker, Deadline::NONE).await.unwrap();
    begun.assert_failed("lost the race");
    assert_eq!(begun.files().await, written);
}

#[tokio::test(flavor = "multi_thread")]
async fn c28_a_process_whose_row_is_not_understood_leaves_no_file() {
    let begun = Begun::in_lab(Lab::new(503).await, "events").await;
    let before = begun.files().await;
    let state = format!("sqlite://{}/state.db", begun.lab.folder.path().display());
    let pool = sqlx::SqlitePool::connect(&state).await.unwrap();
    let changed = sqlx::query("UPDATE process SET header = '{}'")
        .execute(&pool)
        .await;
    assert_eq!(changed.unwrap().rows_affected(), 1);
    pool.close().await;
    begun.meet().await;
    begun.assert_failed("can't be understood");
    assert_eq!(begun.files().await, before);
}

/// Of two groups one is done when somebody cancels the process; the other learns of it when it is to report.
#[tokio::test(flavor = "multi_thread")]
async fn c28_a_cancelled_process_leaves_no_file_where_it_may_delete() {
    for (seed, may_delete) in [(504, true), (505, false)] {
        let settings = Settings {
            may_delete,
            ..settings_for_tests("unlucky")
        };
        let regions = ["eu", "us"];
        let begun = Begun::with(Lab::new(seed).await, "events", &regions, settings).await;
        let before = begun.files().await;
        begun.meet().await;
        assert_eq!(begun.files().await.len(), before.len() + 1);

        // The claim is the first write, the report the second.
        let (canceller, process) = (begun.worker.clone(), begun.message.task.process.clone());
        let store = DyingStore::interrupted(Arc::clone(&begun.worker.store), 1, move || {
            let (canceller, process) = (canceller.clone(), process.clone());
            async move {
                let cancelled = processes::cancel(&canceller, &process, "enough").await;
                cancelled.unwrap();
            }
        });
        let late = Context {
            store: Arc::clone(&store) as _,
            ..begun.worker.clone()
        };
        let messages = planned(&begun.worker).await;
        let other = messages.iter().find(|message| **message != begun.message);
        let handled = handle(&late, other.unwrap(), Deadline::NONE).await;
        assert_eq!(handled.unwrap(), Handled::Done);
        assert!(store.was_reached());
        let left = begun.files().await;
        let expected = before.len() + if may_delete { 0 } else { 2 };
        assert_eq!(left.len(), expected, "{left:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn c28_an_attempt_that_can_t_keep_its_result_leaves_no_file() {
    let lab = Lab::new(506).await;
    let settings = Settings {
        payload_limit: Bytes(0),
        payload_location: Some(format!("{}/metadata/payloads", lab.folder.path().display())),
        ..settings_for_tests("unlucky")
    };
    let begun = Begun::with(lab, "events", &["eu"], settings).await;
    let before = begun.files().await;
    begun.lab.disk.fail_puts_from(0, StorageFault::LostBefore);
    let handled = handle(&begun.worker, &begun.message, Deadline::NONE).await;
    assert!(matches!(handled, Ok(Handled::Again(_))), "{handled:?}");
    assert_eq!(begun.lab.disk.metadata_puts().len(), 1, "the result's");
    assert_eq!(begun.files().await, before);
    begun.lab.disk.reset();
    begun
        .end_well(false, "after a result that was not kept")
        .await;
}
