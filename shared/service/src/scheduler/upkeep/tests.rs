//! When upkeep is due, and what is remembered of it.

use icepress_coordination::BucketRow;
use icepress_model::{BucketId, Epoch, Lessons, ProcessId, Rows, SpecId, WorkerId};
use icepress_table::ManifestContent;
use icepress_upkeep::{
    ages::{AgeOutlook, Sum},
    manifests::{KindPlan, ManifestPlan, Shape},
    statistics::{NdvColumn, NdvPlan, StatisticsPlan},
};

use super::{
    prospects::{ORDER, age_out, manifests, orphans, statistics},
    *,
};

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
        saves_a_month: Some(NanoDollars(saves)),
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
        as_of: None,
        rest: None,
    };
    Prospects::only(ProcessKind::Expire, prospect)
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
    let due = decide(&settings(), &work(1, 9), &never, NOW).due;
    assert_eq!(
        due[0].kind,
        ProcessKind::Expire,
        "for the first time at once"
    );
    for (prospects, rest) in [(work(9, 1), REST), (work(1, 9), 24 * REST)] {
        let early = after(rest - MINUTE, did(false), &prospects);
        assert_eq!((&early.due[..], early.next()), (&[][..], Some(NOW + rest)));
        assert!(!after(rest, did(false), &prospects).due.is_empty());
    }
}

#[test]
fn what_ended_at_a_limit_goes_on_at_once_and_what_failed_waits_ever_longer() {
    let goes_on = after(Duration::ZERO, did(true), &of(None, None));
    assert!(!goes_on.due.is_empty());
    let once = process(ProcessKind::Expire, failed(), &Memory::default());
    let mut memory = Memory::after(Some(&once));
    for _ in 0..6 {
        memory = Memory::after(Some(&process(ProcessKind::Expire, failed(), &memory)));
    }
    let verdict = decide(&settings(), &of(None, None), &memory, NOW + REST);
    let backoff = settings().backoff(7);
    assert!(backoff > REST);
    assert_eq!(
        (&verdict.due[..], verdict.next()),
        (&[][..], Some(NOW + backoff))
    );
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
    assert_eq!((&verdict.due[..], verdict.next()), (&[][..], Some(later)));
    let rested = after(Duration::ZERO, did(false), &of(None, Some(later)));
    assert_eq!(rested.next(), Some(NOW + REST), "not before it has rested");
    assert_eq!(rested.next_after_commit, Some(NOW + REST));
}

#[test]
fn what_a_table_forbids_is_told_and_never_due() {
    let refused = Prospect::Refused("gc.enabled is false".to_owned());
    let prospects = Prospects::only(ProcessKind::Expire, refused);
    let verdict = decide(&settings(), &prospects, &Memory::default(), NOW);
    assert_eq!((&verdict.due[..], verdict.next()), (&[][..], None));
    let text = tell_of(r#"{"groups":0}"#, &verdict);
    assert!(
        text.contains("gc.enabled") && text.contains("groups"),
        "{text}"
    );
}

fn asked_for() -> Prospect {
    Prospect::Work {
        now: Some(Worth {
            reason: "asked for".to_owned(),
            saves_a_month: None,
            costs: NanoDollars(9),
            frees: Bytes::ZERO,
        }),
        next: None,
        next_after_commit: None,
        as_of: None,
        rest: None,
    }
}

/// Where all kinds are due that are done by themselves.
fn everything() -> Prospects {
    let all = ORDER.into_iter();
    all.fold(Prospects::default(), |all, kind| all.and(kind, asked_for()))
}

#[test]
fn what_is_to_be_kept_is_marked_before_anything_goes() {
    let verdict = decide(&settings(), &everything(), &Memory::default(), NOW);
    let kinds: Vec<ProcessKind> = verdict.due.iter().map(|due| due.kind).collect();
    let expected = [
        ProcessKind::Tags,
        ProcessKind::AgeOut,
        ProcessKind::Expire,
        ProcessKind::Manifests,
        ProcessKind::Statistics,
        ProcessKind::Orphans,
    ];
    assert_eq!(kinds, expected);
}

#[test]
fn a_tag_is_not_late_for_the_sake_of_a_rest_and_is_not_weighed() {
    let tags = || {
        let mut prospect = asked_for();
        if let Prospect::Work { rest, .. } = &mut prospect {
            *rest = Some(Duration::ZERO);
        }
        Prospects::only(ProcessKind::Tags, prospect)
    };
    let last = process(ProcessKind::Tags, did(false), &Memory::default());
    let memory = Memory::after(Some(&last));
    assert!(
        !decide(&settings(), &tags(), &memory, NOW + MINUTE)
            .due
            .is_empty()
    );
    // Its failures are waited after all the same.
    let last = process(ProcessKind::Tags, failed(), &Memory::default());
    let memory = Memory::after(Some(&last));
    let verdict = decide(&settings(), &tags(), &memory, NOW);
    assert_eq!(
        (verdict.due.len(), verdict.next()),
        (0, Some(NOW + settings().backoff(1)))
    );
    // And are forgotten where nothing is due any more: it left nothing behind.
    let nothing = Prospect::Work {
        now: None,
        next: None,
        next_after_commit: None,
        as_of: None,
        rest: None,
    };
    let nothing = Prospects::only(ProcessKind::Tags, nothing);
    assert_eq!(
        decide(&settings(), &nothing, &memory, NOW),
        Verdict::default()
    );
}

fn sum(files: u64) -> Sum {
    Sum {
        files,
        rows: Rows(10 * files),
        bytes: Bytes(100 * files),
    }
}

/// What is decided of rows that are too old, so long after a run that ended well.
fn ages_after(rest: Duration, outlook: &AgeOutlook) -> Verdict {
    let prospect = age_out::of_outlook(outlook, NanoDollars(9));
    let last = process(ProcessKind::AgeOut, did(false), &Memory::default());
    let memory = Memory::after(Some(&last));
    let prospects = Prospects::only(ProcessKind::AgeOut, prospect);
    decide(&settings(), &prospects, &memory, NOW + rest)
}

#[test]
fn a_partition_goes_when_it_passes_its_age_and_frees_what_it_takes() {
    let old = AgeOutlook {
        partitions: 1,
        old: sum(3),
        ..AgeOutlook::default()
    };
    let due = ages_after(REST, &old).due.remove(0);
    assert_eq!(
        (due.kind, due.worth.frees),
        (ProcessKind::AgeOut, Bytes(300))
    );
    assert!(due.worth.reason.contains("3 files with 30 rows"), "{due:?}");
    assert!(
        ages_after(REST - MINUTE, &old).due.is_empty(),
        "it rests as every kind"
    );
    let later = AgeOutlook {
        next: Some(NOW + 24 * REST),
        ..AgeOutlook::default()
    };
    let verdict = ages_after(REST, &later);
    assert_eq!((&verdict.due[..], verdict.next()), (&[][..], later.next));
    assert_eq!(ages_after(REST, &AgeOutlook::default()), Verdict::default());
}

#[test]
fn what_partitions_do_not_tell_is_asked_once_a_day_and_only_after_a_commit_that_ages_count_from() {
    let untold = AgeOutlook {
        untold: sum(3),
        ..AgeOutlook::default()
    };
    let verdict = ages_after(REST, &untold);
    assert_eq!(
        (&verdict.due[..], verdict.next()),
        (&[][..], Some(NOW + 24 * REST))
    );
    assert!(
        !ages_after(24 * REST, &untold).due.is_empty(),
        "all gets older all the time"
    );
    let counts_from = |at: TimestampMs| AgeOutlook {
        as_of: Some(at),
        ..untold
    };
    assert_eq!(
        ages_after(48 * REST, &counts_from(TimestampMs(NOW.get() - 3_600_000))),
        Verdict::default()
    );
    assert!(
        !ages_after(48 * REST, &counts_from(NOW + REST))
            .due
            .is_empty()
    );
}

#[test]
fn manifests_are_due_when_planning_pays_for_it_and_wait_for_nothing_but_a_commit() {
    let kind = |rewrite| KindPlan {
        content: ManifestContent::Data,
        spec_id: SpecId(0),
        rewrite,
        reason: "20 of 20 manifests are small".to_owned(),
        candidates: 20,
        small: 20,
        removed_entries: 0,
        before: Shape::default(),
        after: Shape::default(),
        price: NanoDollars(5),
    };
    let mut plan = ManifestPlan::default();
    plan.kinds = vec![kind(false), kind(true)];
    let decided = |plan: &ManifestPlan| {
        let prospect = manifests::of_plan(plan, NanoDollars(9));
        let prospects = Prospects::only(ProcessKind::Manifests, prospect);
        decide(&settings(), &prospects, &Memory::default(), NOW)
    };
    let due = decided(&plan).due.remove(0);
    assert_eq!(
        (due.kind, due.worth.costs),
        (ProcessKind::Manifests, NanoDollars(14))
    );
    assert!(due.worth.reason.contains("are small"));
    plan.kinds.pop();
    assert_eq!(decided(&plan), Verdict::default());
}

#[test]
fn partitions_are_counted_once_a_day_where_the_current_snapshot_has_no_statistics() {
    let plan = |write| StatisticsPlan {
        write,
        reason: "the statistics that there are, are 3 snapshots old".to_owned(),
        snapshot_id: None,
        since: None,
        ndv: None,
    };
    let last = process(ProcessKind::Statistics, did(false), &Memory::default());
    let memory = Memory::after(Some(&last));
    let decided = |write, memory: &Memory, at| {
        let prospect = statistics::of_plan(plan(write), NanoDollars(9));
        let prospects = Prospects::only(ProcessKind::Statistics, prospect);
        decide(&settings(), &prospects, memory, at)
    };
    let first = decided(true, &Memory::default(), NOW).due.remove(0);
    assert_eq!(first.kind, ProcessKind::Statistics);
    let next = decided(true, &memory, NOW + REST);
    assert_eq!(
        (&next.due[..], next.next()),
        (&[][..], Some(NOW + 24 * REST))
    );
    assert!(!decided(true, &memory, NOW + 24 * REST).due.is_empty());
    assert_eq!(decided(false, &memory, NOW + 24 * REST), Verdict::default());
}

#[test]
fn distinct_values_have_a_reason_and_a_price_of_their_own() {
    let plan = |write, ndv_write, bytes| StatisticsPlan {
        write,
        reason: "there are none".to_owned(),
        snapshot_id: None,
        since: None,
        ndv: Some(NdvPlan {
            write: ndv_write,
            reason: "there is no sketch of column a".to_owned(),
            columns: vec![NdvColumn {
                name: "a".to_owned(),
                field_id: 1,
                since: None,
                removed_rows: 0,
            }],
            files: 100,
            bytes: Bytes(bytes),
            all_columns: 10,
        }),
    };
    let gibibyte = 1u64 << 30;
    let price =
        |ndv_write, bytes| statistics::cost_of(&settings(), &plan(true, ndv_write, bytes), 5);
    // What is not read costs nothing, and ten times as much takes longer.
    assert_eq!(price(false, gibibyte), price(false, 10 * gibibyte));
    assert!(price(false, gibibyte) < price(true, gibibyte));
    assert!(price(true, gibibyte) < price(true, 10 * gibibyte));
    let reason = |write, ndv_write| {
        let prospect = statistics::of_plan(plan(write, ndv_write, 1), NanoDollars(9));
        let prospects = Prospects::only(ProcessKind::Statistics, prospect);
        let verdict = decide(&settings(), &prospects, &Memory::default(), NOW);
        verdict.due.first().map(|due| due.worth.reason.clone())
    };
    assert_eq!(reason(false, false), None);
    assert_eq!(reason(true, false).unwrap(), "there are none");
    let of_columns = "distinct values: there is no sketch of column a";
    assert_eq!(reason(false, true).unwrap(), of_columns);
    assert_eq!(
        reason(true, true).unwrap(),
        format!("there are none; {of_columns}")
    );
}

#[test]
fn folders_are_listed_by_the_clock_and_what_failed_is_tried_again_sooner() {
    let week = Duration::from_secs(7 * 24 * 3600);
    let prospects = Prospects::only(
        ProcessKind::Orphans,
        orphans::every_so_often(week, NanoDollars(9)),
    );
    let decided = |memory: &Memory, at| decide(&settings(), &prospects, memory, at);
    let first = decided(&Memory::default(), NOW).due.remove(0);
    assert!(first.worth.reason.contains("every 168 hours"), "{first:?}");
    let after = |outcome| {
        let last = process(ProcessKind::Orphans, outcome, &Memory::default());
        Memory::after(Some(&last))
    };
    let next = decided(&after(did(false)), NOW + week - MINUTE);
    assert_eq!((&next.due[..], next.next()), (&[][..], Some(NOW + week)));
    assert!(!decided(&after(did(false)), NOW + week).due.is_empty());
    assert!(
        !decided(&after(did(true)), NOW).due.is_empty(),
        "it goes on"
    );
    assert_eq!(decided(&after(failed()), NOW).next(), Some(NOW + 24 * REST));
}
