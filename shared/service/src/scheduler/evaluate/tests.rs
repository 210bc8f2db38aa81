use icepress_model::{DeleteContent, DeleteFile, InputFile, Rows, SpecId, Tier};

use super::*;

fn group(reason: GroupReason, inputs: &[i64], deletes: &[i64]) -> Group {
    let input = |number: &i64| InputFile {
        path: format!("s3://lake/{number}.parquet"),
        size: Bytes(10),
        rows: Rows(1),
        sequence_number: SequenceNumber(*number),
        first_row_id: None,
        deletes: Vec::new(),
    };
    let delete = |number: &i64| DeleteFile {
        content: DeleteContent::Position,
        path: format!("s3://lake/{number}-deletes.parquet"),
        size: Bytes(1),
        rows: Rows(1),
        sequence_number: SequenceNumber(*number),
        referenced_data_file: None,
    };
    Group {
        spec_id: SpecId(0),
        partition: serde_json::Value::Null,
        partition_name: String::new(),
        inputs: inputs.iter().map(input).collect(),
        deletes: deletes.iter().map(delete).collect(),
        reason,
        tier: Tier::Full,
        target_file_size: Bytes(100),
        shares_deletes: false,
        without: None,
    }
}

#[test]
fn the_oldest_of_a_plan_is_what_made_it_worth_its_while() {
    let oldest = |groups: &[Group]| oldest_sequence_number(groups).map(|number| number.0);
    let small = group(GroupReason::EnoughFiles, &[7, 5, 9], &[]);
    assert_eq!(oldest(std::slice::from_ref(&small)), Some(5));
    let deleted = group(GroupReason::Deletes, &[1, 2], &[8, 6]);
    assert_eq!(
        oldest(std::slice::from_ref(&deleted)),
        Some(6),
        "the data files were as they should be until then"
    );
    assert_eq!(oldest(&[deleted, small]), Some(5));
    assert_eq!(oldest(&[]), None);
    let first_version = group(GroupReason::EnoughFiles, &[0, 0], &[]);
    assert_eq!(oldest(&[first_version]), None, "it has no sequence numbers");
}

#[test]
fn what_came_before_all_snapshots_that_are_left_is_as_old_as_the_oldest_at_the_least() {
    let at = |number: i64| {
        let snapshots = [(4, 400), (6, 600), (9, 900)];
        let snapshots = snapshots
            .into_iter()
            .map(|(number, at)| (SequenceNumber(number), TimestampMs(at)));
        committed_at(snapshots, Some(SequenceNumber(number))).map(TimestampMs::get)
    };
    assert_eq!(at(6), Some(600));
    assert_eq!(at(2), Some(400), "its own has expired");
    assert_eq!(
        at(5),
        Some(600),
        "its own has expired, those around have not"
    );
    assert_eq!(at(10), None);
    assert_eq!(committed_at(std::iter::empty(), None), None);
}
