//! Cases C25 and C28: every request of a commit lost before it acted, and after. Nothing that a snapshot may need is
//! deleted, and another worker finds and finishes what was begun.
#![allow(missing_docs, clippy::unwrap_used)]

use icepress_coordination::TaskMessage;
use icepress_model::TableId;
use icepress_service::{Context, Deadline, handle, tick};
use icepress_storage::conformance::proxy::Mishap;
use icepress_tests::{
    CatalogFault, EmulatedGlue, Lab, Row, StorageFault, planned, settings_for_tests,
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
        let table = lab.create_table(name, &[]).await;
        lab.append_numbered(&table, &["eu"], 8, 10, 0).await;
        let rows = lab.rows(&table).await.0;
        let worker = lab.worker(settings_for_tests("unlucky"));
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
