use icepress_model::{
    BucketId, Epoch, GroupSize, Lessons, MetadataLocation, ProcessId, SchemaId, SequenceNumber,
    SnapshotId, TimestampMs,
};

use super::*;

const KEY: u64 = 7;

fn ended(shrunk_to: Option<u64>, outcome: ProcessOutcome) -> ProcessRow {
    let learned = Learned {
        key: KEY,
        ..Learned::default()
    };
    after(learned, shrunk_to, outcome)
}

fn after(learned: Learned, shrunk_to: Option<u64>, outcome: ProcessOutcome) -> ProcessRow {
    let header = ProcessHeader {
        sources: Sources::default(),
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
        learned,
        upkeep: Default::default(),
        tidied_at: None,
    };
    ProcessRow {
        process: ProcessId::from("p"),
        kind: icepress_model::ProcessKind::Rewrite,
        table: "c.ns.t".parse().unwrap(),
        bucket: BucketId(0),
        epoch: Epoch(1),
        created_at: TimestampMs(0),
        state: ProcessState::Ended(outcome),
        waits: 0,
        commit_claims: 1,
        tasks: 1,
        open_tasks: 0,
        header: serde_json::to_string(&header).unwrap(),
        quotas: Vec::new(),
    }
}

fn lost(lost_files: u64) -> ProcessOutcome {
    failed(Lessons {
        lost_files,
        ..Lessons::default()
    })
}

fn failed(lessons: Lessons) -> ProcessOutcome {
    ProcessOutcome::Failed {
        failures: Vec::new(),
        lessons,
    }
}

fn won() -> ProcessOutcome {
    ProcessOutcome::Committed {
        location: MetadataLocation::from("n"),
        snapshot_id: SnapshotId(2),
        lessons: Lessons::default(),
    }
}

/// How many files groups may have after a process.
fn shrunk_after(process: &ProcessRow) -> Option<u64> {
    Known::from(Some(process), KEY).shrunk_to
}

#[test]
fn c05_groups_shrink_after_a_loss_and_grow_again() {
    assert_eq!(shrunk_after(&ended(None, won())), None);
    assert_eq!(shrunk_after(&ended(None, lost(60))), Some(30));
    assert_eq!(shrunk_after(&ended(Some(30), lost(30))), Some(15));
    assert_eq!(shrunk_after(&ended(Some(15), won())), Some(30));
    assert_eq!(shrunk_after(&ended(Some(600), won())), None);
    // A failure that no other writer caused says nothing of sizes.
    assert_eq!(shrunk_after(&ended(Some(15), lost(0))), Some(30));
}

fn too_much(files: u64, bytes: u64) -> ProcessOutcome {
    failed(Lessons {
        too_much: Some(GroupSize {
            files,
            bytes: Bytes(bytes),
        }),
        ..Lessons::default()
    })
}

/// Plays processes one after another; returns the limits of files and bytes after each.
fn play(outcomes: &[ProcessOutcome]) -> Vec<(Option<u64>, Option<u64>)> {
    let mut learned = Known::from(None, KEY).learned;
    let mut limits = Vec::new();
    for outcome in outcomes {
        let process = after(learned, None, outcome.clone());
        learned = Known::from(Some(&process), KEY).learned;
        limits.push((learned.files, learned.bytes.map(Bytes::get)));
    }
    limits
}

#[test]
fn c40_what_was_too_much_is_halved_down_to_one_file_and_grows_when_it_was_calm() {
    let halves = play(&[too_much(6, 900), too_much(3, 450), too_much(2, 300)]);
    assert_eq!(
        halves,
        [
            (Some(3), Some(450)),
            (Some(1), Some(225)),
            (Some(1), Some(150))
        ]
    );
    let calm = vec![won(); 4];
    let grown = play(&[&[too_much(6, 900)], &calm[..], &[too_much(6, 900)]].concat());
    assert_eq!(grown[3], (Some(3), Some(450)), "not at once");
    assert_eq!(grown[4], (Some(6), Some(900)));
    assert_eq!(grown[5], (Some(3), Some(450)), "and it knows better");
    let large = play(&[&[too_much(8_000, 64 << 31)], &calm[..]].concat());
    assert_eq!(large[4], (None, None), "no limit to speak of");
}

#[test]
fn what_was_learned_is_handed_on_and_ends_with_what_it_was_learned_under() {
    let hopeless = |files: std::ops::Range<u64>| {
        failed(Lessons {
            hopeless: files.collect(),
            pace: Some(Pace {
                bytes: Bytes(1_000),
                took_ms: 10,
            }),
            ..Lessons::default()
        })
    };
    let first = ended(None, hopeless(0..60));
    let known = Known::from(Some(&first), KEY);
    assert_eq!(known.learned.hopeless.len(), 60);
    let second = after(known.learned, None, hopeless(60..120));
    let known = Known::from(Some(&second), KEY);
    // Of a bounded size, and the newest stay.
    assert_eq!(known.learned.hopeless.len(), REMEMBERED);
    assert!(known.learned.hopeless.contains(&119));
    let pace = known.learned.pace.unwrap();
    assert_eq!((pace.bytes, pace.took_ms), (Bytes(1_500), 15));
    assert!(known.last.is_some());
    let settings = Settings::embedded(icepress_model::WorkerId::from("w"));
    let ceiling = known.ceiling(&settings, &PlanOptions::default());
    assert!(ceiling.hopeless.contains(&119) && ceiling.bytes.is_none());

    let elsewhere = Known::from(Some(&second), KEY + 1);
    assert_eq!(
        elsewhere.learned,
        Learned {
            key: KEY + 1,
            ..Learned::default()
        }
    );
    assert!(elsewhere.last.is_none());
    let more = settings.clone().with_optimizer(Some(4_096), None);
    let options = PlanOptions::default();
    assert_ne!(key_of(&settings, &options), key_of(&more, &options));
}

#[test]
fn a_header_of_an_older_version_is_read() {
    let mut row = ended(None, won());
    let mut header: serde_json::Value = serde_json::from_str(&row.header).unwrap();
    let entries = header.as_object_mut().unwrap();
    entries.remove("shrunk_to");
    entries.remove("learned");
    row.header = header.to_string();
    assert_eq!(shrunk_after(&row), None);
    assert!(serde_json::from_str::<ProcessHeader>(&row.header).is_ok());
}
