//! The second fence: a row or digest that a later epoch wrote refuses an earlier one, even one that its own bucket knows as
//! the newest. The model never gets there, since the lease alone refuses such writes in one bucket.

use std::time::Duration;

use icepress_model::{
    BucketCount, BucketId, CatalogName, Epoch, Generation, MetadataLocation, Namespace, ProcessId,
    TableId, TimestampMs, WorkerId,
};

use super::{begin, check_digest, conclude, may_forget, start, take_lease};
use crate::{BucketRow, Conclusion, CoordinationError, Home, Layout, Lease, NewProcess, TableRow};

const NOW: TimestampMs = TimestampMs(1_000_000);
const MINUTE: Duration = Duration::from_secs(60);
const LAYOUT: Generation = Generation(0);

fn home(lease: &Lease) -> Home {
    Home {
        bucket: lease.bucket,
        layout: LAYOUT,
    }
}

fn table() -> TableId {
    TableId {
        catalog: CatalogName::from("lake"),
        namespace: Namespace(vec!["sales".to_owned()]),
        name: "orders".to_owned(),
    }
}

/// A bucket at its first epoch, held.
fn held() -> (BucketRow, Lease) {
    let owner = WorkerId::from("w");
    let bucket = BucketRow::never_leased(BucketId(0));
    let bucket = take_lease(&bucket, &owner, NOW, MINUTE, MINUTE).unwrap();
    let lease = Lease {
        bucket: bucket.bucket,
        owner,
        epoch: bucket.epoch,
        expires_at: bucket.expires_at,
    };
    (bucket, lease)
}

fn conclusion() -> Conclusion {
    Conclusion {
        evaluated_location: Some(MetadataLocation::from("m1")),
        text: String::new(),
        next_due_at: None,
        failures: 0,
    }
}

fn is_fenced<T>(result: Result<T, CoordinationError>) -> bool {
    matches!(result, Err(CoordinationError::Fenced(_)))
}

/// The note that an evaluation begins is one plain write that does not ask for the lease, so it may come from a former
/// owner: it must never pass for that owner's planning.
#[test]
fn a_note_of_a_beginning_leaves_the_epoch_alone_and_yields_to_later_ones() {
    let (_, lease) = held();
    let row = TableRow::unknown(home(&lease), table());
    let begun = begin(Some(&row), &lease, &row).unwrap().unwrap();
    assert_eq!((begun.epoch, begun.begun), (row.epoch, row.begun + 1));
    // An answer that was lost: the same note again says the same.
    let again = begin(Some(&begun), &lease, &row).unwrap().unwrap();
    assert_eq!(again, begun);
    // Who planned under a later epoch is not written over.
    let planned = TableRow {
        epoch: Epoch(lease.epoch.get() + 1),
        ..row.clone()
    };
    assert!(is_fenced(begin(Some(&planned), &lease, &row)));
    assert_eq!(begin(None, &lease, &row).unwrap(), None);
}

#[test]
fn b07_a_row_of_a_later_epoch_refuses_an_earlier_one() {
    let (_, lease) = held();
    let of_epoch = |epoch| TableRow {
        epoch: Epoch(epoch),
        ..TableRow::unknown(home(&lease), table())
    };
    let process = NewProcess {
        process: ProcessId::from("p"),
        kind: icepress_model::ProcessKind::Rewrite,
        table: table(),
        created_at: NOW,
        header: String::new(),
        check_at: NOW + MINUTE,
        reservation: None,
        conclusion: conclusion(),
    };
    let own = of_epoch(lease.epoch.get());
    assert!(conclude(Some(&own), &lease, &own, &conclusion()).is_ok());
    assert!(start(Some(&own), &lease, &own, &process).is_ok());
    assert!(may_forget(&own, &lease, &own).is_ok_and(|may| may));

    let later = of_epoch(lease.epoch.get() + 1);
    assert!(is_fenced(conclude(
        Some(&later),
        &lease,
        &later,
        &conclusion()
    )));
    assert!(is_fenced(start(Some(&later), &lease, &later, &process)));
    assert!(is_fenced(may_forget(&later, &lease, &later)));
}

#[test]
fn b07_a_digest_of_a_later_epoch_refuses_an_earlier_one() {
    let (bucket, lease) = held();
    let next = Some((LAYOUT, Epoch(lease.epoch.get() + 1)));
    let check = |written| check_digest(&bucket, &lease, LAYOUT, None, written);
    assert!(check(None).is_ok());
    assert!(check(Some((LAYOUT, lease.epoch))).is_ok());
    assert!(is_fenced(check(next)));
}

#[test]
fn a_digest_of_another_layout_refuses_this_one_s() {
    let (bucket, lease) = held();
    let stands = Layout::first(BucketCount(std::num::NonZeroU32::MIN));
    let check = |layout, written| check_digest(&bucket, &lease, layout, Some(&stands), written);
    assert!(is_fenced(check(LAYOUT, None)), "the layout was changed");
    // Epochs of other buckets under an older layout say nothing; a newer layout's writer is newer whatever its epoch.
    assert!(check(stands.generation, Some((LAYOUT, Epoch(99)))).is_ok());
    let newer = Some((Generation(2), Epoch(0)));
    assert!(is_fenced(check(stands.generation, newer)));
}

#[test]
fn a_table_whose_process_failed_says_why() {
    let row = |failures| TableRow {
        conclusion: Some(r#"{"groups":2,"failure":"an older one"}"#.to_owned()),
        failures,
        ..TableRow::unknown(home(&held().1), table())
    };
    let outcome = icepress_model::ProcessOutcome::Failed {
        failures: vec!["x".repeat(5_000), "another".to_owned()],
        lessons: icepress_model::Lessons::default(),
    };
    let text = super::with_ending(row(3), &outcome).conclusion.unwrap();
    assert!(text.starts_with(r#"{"groups":2,"failure":"xxx"#), "{text}");
    assert!(
        text.ends_with(r#"… (and 1 more)"}"#) && text.len() < 800,
        "{text}"
    );
    // One that is as good as none, because the next plan is another, leaves what was concluded.
    assert_eq!(super::with_ending(row(0), &outcome), row(0));
}
