//! What is said of events, and what is not.

use std::sync::Arc;

use icepress_model::{
    Bytes, Health, LeftAlone, LeftAloneReason, Lessons, NanoDollars, PlanTotals, ProcessId,
    ProcessKind, ProcessOutcome, SnapshotId, SpecId, TableId, TablePlan,
};
use icepress_service::Event;

use super::lines::line;

fn table() -> TableId {
    "default.shop.orders".parse().unwrap()
}

#[test]
fn a_table_that_fails_is_one_line_that_names_it_once() {
    for message in [
        "the catalog is gone",
        "table default.shop.orders: the catalog is gone",
    ] {
        let event = Event::TableFailed {
            table: table(),
            message: message.to_owned(),
        };
        assert_eq!(
            line(&event, 0).as_deref(),
            Some("error: table default.shop.orders: the catalog is gone")
        );
    }
}

#[test]
fn what_did_not_change_is_said_only_to_those_who_ask_twice() {
    let event = Event::TableUnchanged { table: table() };
    assert_eq!(line(&event, 0), None);
    assert_eq!(line(&event, 1), None);
    assert!(line(&event, 2).is_some());
}

#[test]
fn a_table_whose_files_can_t_be_rewritten_is_told_with_the_reason() {
    let planned = |reason| {
        let left = LeftAlone {
            spec_id: SpecId(0),
            partition_name: String::new(),
            files: 7,
            bytes: Bytes(100),
            reason,
        };
        Event::Planned {
            table: table(),
            plan: Arc::new(TablePlan {
                base: None,
                groups: Vec::new(),
                left_alone: vec![left],
                health: Health {
                    score: 74.0,
                    amoro_score: 100.0,
                },
                totals: PlanTotals::default(),
                follow_up: false,
                settings: Vec::new(),
            }),
            process: None,
            price: NanoDollars::default(),
            oldest: None,
        }
    };
    let format = "orc".to_owned();
    let orc = planned(LeftAloneReason::UnsupportedFormat { format });
    assert_eq!(
        line(&orc, 0).as_deref(),
        Some(
            "default.shop.orders: nothing to do, health 74; left alone: its files are orc, and only Parquet is rewritten"
        )
    );
    assert_eq!(line(&planned(LeftAloneReason::Healthy), 0), None);
}

#[test]
fn groups_that_are_not_in_are_told_with_their_reasons() {
    let event = Event::ProcessEnded {
        table: table(),
        process: ProcessId::from("p"),
        kind: ProcessKind::Rewrite,
        outcome: ProcessOutcome::PartlyCommitted {
            location: "/m".into(),
            snapshot_id: SnapshotId(7),
            failures: vec![
                "table default.shop.orders: a file vanished".to_owned(),
                "a late delete".to_owned(),
            ],
            lessons: Lessons::default(),
        },
        removed_delete_files: 0,
    };
    let line = line(&event, 0).unwrap();
    assert!(
        line.starts_with("error: table default.shop.orders"),
        "{line}"
    );
    assert!(line.contains("a file vanished; a late delete"), "{line}");
    assert!(line.contains("without 2 groups"), "{line}");
}
