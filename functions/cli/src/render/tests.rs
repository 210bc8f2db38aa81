//! Numbers and tables as people see them.

use proptest::prelude::*;

use super::{change, count, counted, table};

#[test]
fn a_change_is_shown_only_where_there_is_one() {
    assert_eq!(change(Some(2_000), Some(20), count), "2,000 → 20");
    assert_eq!(change(Some(7), Some(7), count), "7");
    assert_eq!(change(None, Some(7), count), "7");
    assert_eq!(change(None::<u64>, None, count), "");
}

#[test]
fn one_is_singular() {
    assert_eq!(counted(1, "file"), "1 file");
    assert_eq!(counted(0, "file"), "0 files");
    assert_eq!(counted(1_000, "file"), "1,000 files");
}

#[test]
fn a_table_has_a_header_and_numbers_to_the_right() {
    let rows = vec![
        vec!["events".to_owned(), "2,000".to_owned()],
        vec!["a".to_owned(), "1".to_owned()],
    ];
    let shown = table(&["table", "files"], &[1], rows);
    let lines: Vec<&str> = shown.lines().map(str::trim_end).collect();
    assert_eq!(lines.len(), 4, "{shown}");
    assert!(lines[1].chars().all(|c| c == '─'), "{shown}");
    assert_eq!(lines[2].trim(), "events   2,000", "{shown}");
    assert!(lines[3].ends_with("    1"), "{shown}");
}

proptest! {
    #[test]
    fn grouping_digits_changes_no_digit(number: u64) {
        let grouped = count(number);
        prop_assert_eq!(grouped.replace(',', ""), number.to_string());
        prop_assert!(grouped.split(',').skip(1).all(|group| group.len() == 3));
        prop_assert!(grouped.split(',').next().is_some_and(|group| (1..=3).contains(&group.len())));
    }
}

mod plans {
    use icepress_model::{
        BaseState, Bytes, Group, GroupReason, Health, InputFile, LeftAlone, LeftAloneReason,
        PlanTotals, Rows, SchemaId, SequenceNumber, SnapshotId, SpecId, TablePlan,
    };

    use super::super::plan::of_plan;

    fn group(partition: &str, files: u64) -> Group {
        let input = |number| InputFile {
            path: format!("/{number}"),
            size: Bytes::mebibytes(1),
            rows: Rows(10),
            sequence_number: SequenceNumber(1),
            first_row_id: None,
            deletes: Vec::new(),
        };
        Group {
            spec_id: SpecId(0),
            partition: serde_json::Value::Null,
            partition_name: partition.to_owned(),
            reason: GroupReason::EnoughFiles,
            tier: icepress_model::Tier::Full,
            inputs: (0..files).map(input).collect(),
            deletes: Vec::new(),
            target_file_size: Bytes::mebibytes(4),
            shares_deletes: false,
            without: None,
        }
    }

    fn plan(groups: Vec<Group>, left_alone: Vec<LeftAlone>) -> TablePlan {
        TablePlan {
            base: Some(BaseState {
                metadata_location: "/m".into(),
                snapshot_id: SnapshotId(1),
                starting_sequence_number: SequenceNumber(1),
                schema_id: SchemaId(0),
                format_version: 2,
            }),
            groups,
            left_alone,
            health: Health {
                score: 12.4,
                amoro_score: 30.0,
            },
            totals: PlanTotals {
                data_files: 1_234,
                ..PlanTotals::default()
            },
            follow_up: false,
            settings: Vec::new(),
        }
    }

    #[test]
    fn a_plan_says_what_would_be_done_and_why_the_rest_is_not() {
        let left = LeftAlone {
            spec_id: SpecId(0),
            partition_name: "region=eu".to_owned(),
            files: 3,
            bytes: Bytes(100),
            reason: LeftAloneReason::TooFewFiles {
                candidates: 3,
                needed: 5,
            },
        };
        let table = "default.shop.orders".parse().unwrap();
        let text = of_plan(&table, &plan(vec![group("region=us", 9)], vec![left]));
        for part in [
            "default.shop.orders: 1,234 data files",
            "health 12 of 100",
            "to rewrite: 9 files (9.0 MiB) in 1 group into about 3 files",
            "region=us",
            "enough files of the wrong size",
            "left alone: 1 partition",
            "3 files of a wrong size, and 5 would be worth a rewrite",
        ] {
            assert!(text.contains(part), "{part} in {text}");
        }
    }

    #[test]
    fn a_long_plan_is_cut_and_says_so() {
        let groups = (0..45).map(|n| group(&format!("day={n}"), 1)).collect();
        let text = of_plan(&"a.b.c".parse().unwrap(), &plan(groups, Vec::new()));
        assert!(text.contains("in 45 groups"), "{text}");
        assert!(text.contains("day=39 "), "{text}");
        assert!(!text.contains("day=40 "), "{text}");
        assert!(text.contains("and 5 groups more"), "{text}");
    }
}

mod knowledge {
    use std::num::NonZeroU32;

    use icepress_coordination::{Layout, TableRow};
    use icepress_model::{BucketCount, MetadataLocation, ProcessId, TableId, TimestampMs};
    use serde_json::{Value, json};

    use super::super::known::Known;

    fn known(change: impl FnOnce(&mut TableRow)) -> Value {
        let table: TableId = "default.shop.orders".parse().unwrap();
        let home = Layout::first(BucketCount(NonZeroU32::MIN)).home_of(&table);
        let mut row = TableRow::unknown(home, table.clone());
        row.evaluated_location = Some(MetadataLocation::from("/here"));
        change(&mut row);
        let listed = MetadataLocation::from("/here");
        let known = Known::new(&table, Some(&listed), Some(&row), TimestampMs(1_000));
        serde_json::to_value(known).unwrap()
    }

    #[test]
    fn the_state_is_what_a_person_would_call_it() {
        assert_eq!(known(|_| {})["state"], "settled");
        assert_eq!(
            known(|row| row.due_at = Some(TimestampMs(1_000)))["state"],
            "due"
        );
        assert_eq!(
            known(|row| row.due_at = Some(TimestampMs(1_001)))["state"],
            "settled"
        );
        assert_eq!(known(|row| row.evaluated_location = None)["state"], "due");
        let committed = |row: &mut TableRow| {
            row.committed_location = row.evaluated_location.replace("/before".into());
        };
        assert_eq!(known(committed)["state"], "settled");
        let working = |row: &mut TableRow| row.active_process = Some(ProcessId::from("p"));
        assert_eq!(known(working)["state"], "working");
        let failing = |row: &mut TableRow| {
            row.failures = 2;
            row.conclusion = Some(json!({ "failure": "no access" }).to_string());
        };
        assert_eq!(known(failing)["state"], "failing");
        assert_eq!(known(failing)["failure"], "no access");
        let refused = |row: &mut TableRow| {
            row.conclusion = Some(json!({ "refused": "of a type that nobody knows" }).to_string());
        };
        assert_eq!(known(refused)["state"], "refused");
        assert_eq!(known(refused)["refused"], "of a type that nobody knows");
        let moved = known(|row| {
            refused(row);
            row.evaluated_location = None;
        });
        assert_eq!(moved["state"], "due");
    }

    #[test]
    fn sizes_come_from_what_was_concluded_last_and_odd_text_is_no_conclusion() {
        let concluded = json!({ "health": { "score": 50.5 }, "totals": { "data_files": 9 } });
        let seen = known(|row| row.conclusion = Some(concluded.to_string()));
        assert_eq!(seen["health"], 50.5);
        assert_eq!(seen["files"], 9);
        assert_eq!(seen["bytes"], Value::Null);
        let odd = known(|row| row.conclusion = Some("not JSON".to_owned()));
        assert_eq!(odd["files"], Value::Null);
    }
}
