use icepress_model::{
    BucketId, Epoch, MetadataLocation, ProcessId, SchemaId, SequenceNumber, SnapshotId, TimestampMs,
};

use super::*;

fn ended(shrunk_to: Option<u64>, outcome: ProcessOutcome) -> ProcessRow {
    let header = ProcessHeader {
        base: BaseState {
            metadata_location: MetadataLocation::from("m"),
            snapshot_id: SnapshotId(1),
            starting_sequence_number: SequenceNumber(1),
            schema_id: SchemaId(0),
            format_version: 2,
        },
        follow_up: false,
        failures: 0,
        shrunk_to,
        reserved: Usage::default(),
    };
    ProcessRow {
        process: ProcessId::from("p"),
        table: "c.ns.t".parse().unwrap(),
        bucket: BucketId(0),
        epoch: Epoch(1),
        created_at: TimestampMs(0),
        state: ProcessState::Ended(outcome),
        commit_claims: 1,
        tasks: 1,
        open_tasks: 0,
        header: serde_json::to_string(&header).unwrap(),
        quotas: Vec::new(),
    }
}

fn lost(lost_files: u64) -> ProcessOutcome {
    ProcessOutcome::Failed {
        failures: Vec::new(),
        lost_files,
    }
}

fn won() -> ProcessOutcome {
    ProcessOutcome::Committed {
        location: MetadataLocation::from("n"),
        snapshot_id: SnapshotId(2),
    }
}

#[test]
fn c05_groups_shrink_after_a_loss_and_grow_again() {
    assert_eq!(shrunk_to(&ended(None, won())), None);
    assert_eq!(shrunk_to(&ended(None, lost(60))), Some(30));
    assert_eq!(shrunk_to(&ended(Some(30), lost(30))), Some(15));
    assert_eq!(shrunk_to(&ended(Some(15), won())), Some(30));
    assert_eq!(shrunk_to(&ended(Some(600), won())), None);
    // A failure that no other writer caused says nothing of sizes.
    assert_eq!(shrunk_to(&ended(Some(15), lost(0))), Some(30));
}

#[test]
fn a_header_of_an_older_version_is_read() {
    let mut row = ended(None, won());
    row.header = row.header.replace(",\"shrunk_to\":null", "");
    assert!(!row.header.contains("shrunk"), "{}", row.header);
    assert_eq!(shrunk_to(&row), None);
    assert!(serde_json::from_str::<ProcessHeader>(&row.header).is_ok());
}
