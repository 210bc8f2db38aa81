use std::{
    io,
    sync::{Arc, Mutex},
};

use icepress_model::{Lessons, ProcessKind, ProcessOutcome, SnapshotId, TableId};
use serde_json::Value;

use super::*;
use crate::{About, GroupRead};

/// What was written.
#[derive(Debug, Clone, Default)]
struct Written(Arc<Mutex<Vec<u8>>>);

impl io::Write for Written {
    fn write(&mut self, text: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(text);
        Ok(text.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The line of an event, as functions write it.
fn line(event: &Event) -> Value {
    let written = Written::default();
    let writer = written.clone();
    let subscriber = tracing_subscriber::fmt()
        .json()
        .with_writer(move || writer.clone())
        .finish();
    tracing::subscriber::with_default(subscriber, || LogObserver.observe(event));
    let text = written.0.lock().unwrap();
    serde_json::from_slice(&text).unwrap()
}

fn table() -> TableId {
    "glue.shop.orders".parse().unwrap()
}

fn ended(outcome: ProcessOutcome) -> Value {
    line(&Event::ProcessEnded {
        table: table(),
        process: ProcessId::from("p"),
        kind: ProcessKind::Expire,
        outcome,
        removed_delete_files: 0,
    })
}

#[test]
fn a_process_that_failed_is_a_warning_with_its_reason_and_one_that_did_not_is_none() {
    let failed = ended(ProcessOutcome::Failed {
        failures: vec!["a file vanished".to_owned()],
        lessons: Lessons::default(),
    });
    assert_eq!(failed["level"], "WARN", "{failed}");
    let fields = &failed["fields"];
    assert_eq!(fields["message"], "process failed");
    assert_eq!(fields["reason"], "a file vanished");
    assert_eq!(fields["table"], "glue.shop.orders");
    assert_eq!(fields["process"], "p");
    assert_eq!(fields["kind"], "expire");

    let committed = ended(ProcessOutcome::Committed {
        location: "s3://lake/m".into(),
        snapshot_id: SnapshotId(7),
        lessons: Lessons::default(),
    });
    assert_eq!(committed["level"], "INFO", "{committed}");
    assert_eq!(committed["fields"]["message"], "process ended");
}

#[test]
fn what_is_known_of_table_process_and_task_is_told_as_fields() {
    let task = task(&ProcessId::from("p"), 3);
    let notice = |about| {
        line(&Event::Notice {
            about,
            message: "a claim was lost".to_owned(),
        })
    };
    let known = notice(About::task(&task).of(&table()));
    assert_eq!(known["fields"]["table"], "glue.shop.orders", "{known}");
    assert_eq!(known["fields"]["process"], "p");
    assert_eq!(known["fields"]["task"], task.to_string());
    let unknown = notice(About::NONE);
    for field in ["table", "process", "task"] {
        assert!(unknown["fields"].get(field).is_none(), "{unknown}");
    }

    let group = line(&Event::GroupFinished {
        table: table(),
        process: ProcessId::from("p"),
        index: 3,
        read: GroupRead::default(),
        result: Err("no memory".to_owned()),
    });
    assert_eq!(group["fields"]["task"], task.to_string(), "{group}");
}
