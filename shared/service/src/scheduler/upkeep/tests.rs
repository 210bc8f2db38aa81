//! When upkeep is due, and what is remembered of it.

use icepress_coordination::BucketRow;
use icepress_model::{BucketId, Epoch, Lessons, ProcessId, WorkerId};

use super::*;

const NOW: TimestampMs = TimestampMs(1_760_000_000_000);
/// Of the settings.
const REST: Duration = Duration::from_secs(3600);
const MINUTE: Duration = Duration::from_secs(60);

fn settings() -> Settings {
    Settings::embedded(WorkerId::from("w"))
}

fn process(kind: ProcessKind, outcome: ProcessOutcome, upkeep: &Memory) -> ProcessRow {
    ProcessRow {
        process: ProcessId::from("p"),
        kind,
        table: "c.ns.t".parse().unwrap(),
        bucket: BucketRow::never_leased(BucketId(0)).bucket,
        epoch: Epoch(1),
        created_at: NOW,
        state: ProcessState::Ended(outcome),
        waits: 0,
        commit_claims: 1,
        tasks: 1,
        open_tasks: 0,
        header: serde_json::json!({ "upkeep": upkeep, "other": 7 }).to_string(),
        quotas: Vec::new(),
    }
}

fn did(unfinished: bool) -> ProcessOutcome {
    ProcessOutcome::Maintained {
        location: None,
        did: "all of it".to_owned(),
        unfinished,
    }
}

fn failed() -> ProcessOutcome {
    ProcessOutcome::Failed {
        failures: vec!["tested".to_owned()],
        lessons: Lessons::default(),
    }
}

fn work(saves: u64, costs: u64) -> Prospects {
    let worth = Worth {
        reason: "tested".to_owned(),
        saves_a_month: NanoDollars(saves),
        costs: NanoDollars(costs),
        frees: Bytes::ZERO,
    };
    of(Some(worth), None)
}

fn of(now: Option<Worth>, next: Option<TimestampMs>) -> Prospects {
    let prospect = Prospect::Work {
        now,
        next,
        next_after_commit: next,
    };
    Prospects(BTreeMap::from([(ProcessKind::Expire, prospect)]))
}

/// What is decided so long after the last run, which ended like this.
fn after(rest: Duration, outcome: ProcessOutcome, prospects: &Prospects) -> Verdict {
    let last = process(ProcessKind::Expire, outcome, &Memory::default());
    let memory = Memory::after(Some(&last));
    decide(&settings(), prospects, &memory, NOW + rest)
}

#[test]
fn what_is_worth_its_price_is_done_once_an_hour_and_the_rest_once_a_day() {
    let never = Memory::default();
    let due = decide(&settings(), &work(1, 9), &never, NOW).due.unwrap();
    assert_eq!(due.kind, ProcessKind::Expire, "for the first time at once");
    for (prospects, rest) in [(work(9, 1), REST), (work(1, 9), 24 * REST)] {
        let early = after(rest - MINUTE, did(false), &prospects);
        assert_eq!((early.due, early.next), (None, Some(NOW + rest)));
        assert!(after(rest, did(false), &prospects).due.is_some());
    }
}

#[test]
fn what_ended_at_a_limit_goes_on_at_once_and_what_failed_waits_ever_longer() {
    assert!(
        after(Duration::ZERO, did(true), &of(None, None))
            .due
            .is_some()
    );
    let once = process(ProcessKind::Expire, failed(), &Memory::default());
    let mut memory = Memory::after(Some(&once));
    for _ in 0..6 {
        memory = Memory::after(Some(&process(ProcessKind::Expire, failed(), &memory)));
    }
    let verdict = decide(&settings(), &of(None, None), &memory, NOW + REST);
    let backoff = settings().backoff(7);
    assert!(backoff > REST);
    assert_eq!((verdict.due, verdict.next), (None, Some(NOW + backoff)));
    let done = Memory::after(Some(&process(ProcessKind::Expire, did(false), &memory)));
    assert_eq!(done.0[&ProcessKind::Expire].failures, 0);
}

#[test]
fn rewrites_hand_on_what_is_remembered_of_upkeep() {
    let expiry = process(ProcessKind::Expire, did(false), &Memory::default());
    let memory = Memory::after(Some(&expiry));
    assert_eq!(memory.0[&ProcessKind::Expire].at, NOW);
    let rewrite = process(ProcessKind::Rewrite, failed(), &memory);
    assert_eq!(Memory::after(Some(&rewrite)), memory);
    assert_eq!(Memory::after(None), Memory::default());
}

#[test]
fn a_table_with_nothing_to_tidy_is_looked_at_when_there_will_be_something() {
    let later = NOW + MINUTE;
    let verdict = decide(&settings(), &of(None, Some(later)), &Memory::default(), NOW);
    assert_eq!((verdict.due, verdict.next), (None, Some(later)));
    let rested = after(Duration::ZERO, did(false), &of(None, Some(later)));
    assert_eq!(rested.next, Some(NOW + REST), "not before it has rested");
    assert_eq!(rested.next_after_commit, Some(NOW + REST));
}

#[test]
fn what_a_table_forbids_is_told_and_never_due() {
    let refused = Prospect::Refused("gc.enabled is false".to_owned());
    let prospects = Prospects(BTreeMap::from([(ProcessKind::Expire, refused)]));
    let verdict = decide(&settings(), &prospects, &Memory::default(), NOW);
    assert_eq!((verdict.due.clone(), verdict.next), (None, None));
    let text = tell_of(r#"{"groups":0}"#, &verdict);
    assert!(
        text.contains("gc.enabled") && text.contains("groups"),
        "{text}"
    );
}
