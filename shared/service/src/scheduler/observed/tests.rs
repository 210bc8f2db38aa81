use icepress_coordination::Home;
use icepress_model::{
    BucketId, DeleteFile, Generation, GroupReason, InputFile, Rows, SequenceNumber, SpecId,
    TableId, WorkerId,
};
use serde_json::Value;

use super::*;

fn delete(path: &str, content: DeleteContent, rows: u64) -> DeleteFile {
    DeleteFile {
        content,
        path: path.to_owned(),
        size: Bytes(10),
        rows: Rows(rows),
        sequence_number: SequenceNumber(2),
        referenced_data_file: None,
    }
}

/// A group of a file of 1,000 bytes and 100 rows.
fn group(tier: Tier, deletes: Vec<DeleteFile>) -> Group {
    let input = InputFile {
        path: "a".to_owned(),
        size: Bytes(1_000),
        rows: Rows(100),
        sequence_number: SequenceNumber(1),
        first_row_id: None,
        deletes: Vec::new(),
    };
    Group {
        spec_id: SpecId(0),
        partition: Value::Null,
        partition_name: String::new(),
        reason: GroupReason::Deletes,
        tier,
        inputs: vec![input],
        deletes,
        target_file_size: Bytes(1 << 20),
        shares_deletes: false,
        without: None,
    }
}

#[test]
fn delete_files_are_freed_once_and_rows_that_positions_name() {
    let equality = DeleteContent::Equality { field_ids: vec![1] };
    let by_value = delete("e", equality, 90);
    let by_position = delete("p", DeleteContent::Position, 25);
    let full = group(Tier::Full, vec![by_value.clone(), by_position]);
    let other = group(Tier::Full, vec![by_value.clone()]);
    let light = group(Tier::Light, vec![delete("l", DeleteContent::Position, 50)]);
    let dangling = group(
        Tier::Dangling,
        vec![delete("d", DeleteContent::Position, 50)],
    );
    assert_eq!(freed(std::slice::from_ref(&full)), Bytes(250 + 20));
    assert_eq!(freed(&[full, other, light, dangling]), Bytes(250 + 30));
    let all = group(Tier::Full, vec![delete("p", DeleteContent::Position, 500)]);
    assert_eq!(freed(&[all]), Bytes(1_000 + 10), "never more than there is");
}

#[test]
fn one_line_says_what_would_be_done() {
    let nothing = Observed::default();
    assert_eq!(nothing.to_string(), "observed: nothing would be done");
    let upkeep = ObservedUpkeep {
        kind: ProcessKind::Expire,
        price: NanoDollars(1_000_000_000),
        frees: Bytes(1 << 20),
    };
    let observed = Observed {
        groups: 2,
        files: 8,
        bytes: Bytes(2 << 20),
        delete_files: 1,
        price: NanoDollars(500_000_000),
        later_files: 3,
        later_bytes: Bytes(5),
        due: vec![upkeep.clone()],
        ..nothing.clone()
    };
    assert_eq!(
        observed.to_string(),
        "observed: would rewrite 2.0 MiB in 8 files with 1 delete file and run expire for $1.50, and free 1.0 MiB; \
         5 B in 3 files come after that"
    );
    let alone = Observed {
        due: vec![upkeep],
        ..nothing
    };
    assert_eq!(
        alone.to_string(),
        "observed: would run expire for $1.00, and free 1.0 MiB"
    );
}

#[test]
fn a_row_tells_the_mode_that_its_table_set_itself_and_else_the_configured_one_counts() {
    let table: TableId = "lake.sales.orders".parse().unwrap();
    let home = Home {
        bucket: BucketId(0),
        layout: Generation(1),
    };
    let row = |conclusion: Value| TableRow {
        conclusion: Some(conclusion.to_string()),
        ..TableRow::unknown(home, table.clone())
    };
    let observing = Settings {
        modes: Arc::new("observe".parse().unwrap()),
        ..Settings::embedded(WorkerId::from("w"))
    };
    let maintaining = Settings::embedded(WorkerId::from("w"));
    for (conclusion, settings, expected) in [
        (json!({}), &observing, Mode::Observe),
        (json!({}), &maintaining, Mode::Maintain),
        (json!({"mode": "maintain"}), &observing, Mode::Maintain),
        (json!({"mode": "observe"}), &maintaining, Mode::Observe),
    ] {
        assert_eq!(mode_of_row(settings, &row(conclusion)), expected);
    }
}
