use std::{collections::HashMap, time::Duration};

use proptest::prelude::*;

use super::*;

const DAY_MS: i64 = 86_400_000;

fn at(text: &str) -> TimestampMs {
    TimestampMs(text.parse::<Timestamp>().unwrap().as_millisecond())
}

fn row() -> QuotaRow {
    QuotaRow::unused(Scope::Catalog("lake".into()))
}

fn usage(tasks: u32, bytes: u64, cost: u64) -> Usage {
    Usage {
        tasks,
        bytes: Bytes(bytes),
        cost: NanoDollars(cost),
    }
}

fn quota(tasks: u32, bytes: u64, cost: u64) -> Quota {
    Quota {
        tasks: Some(tasks),
        bytes_a_day: Some(Bytes(bytes)),
        cost_a_month: Some(NanoDollars(cost)),
    }
}

#[test]
fn a_day_and_a_month_turn_and_what_is_under_way_still_holds_its_tasks() {
    let quota = quota(10, 100, 1_000);
    let evening = at("2026-11-30T23:50:00Z");
    let full = row()
        .reserve(&quota, &"p1".into(), usage(6, 90, 950), evening)
        .unwrap();
    let short = full
        .reserve(&quota, &"p2".into(), usage(1, 20, 10), evening)
        .unwrap_err();
    assert_eq!(
        (short.resource, short.until),
        (Resource::Bytes, Some(at("2026-12-01T00:00:00Z")))
    );
    let short = full
        .reserve(&quota, &"p2".into(), usage(1, 5, 60), evening)
        .unwrap_err();
    assert_eq!(
        (short.resource, short.until),
        (Resource::Cost, Some(at("2026-12-01T00:00:00Z")))
    );

    let morning = at("2026-12-01T00:10:00Z");
    let short = full
        .reserve(&quota, &"p2".into(), usage(5, 90, 950), morning)
        .unwrap_err();
    assert_eq!((short.resource, short.until), (Resource::Tasks, None));
    let both = full
        .reserve(&quota, &"p2".into(), usage(4, 90, 950), morning)
        .unwrap();
    // What began yesterday is booked to yesterday, which is over.
    let one = both.release(&"p1".into()).unwrap();
    assert_eq!(
        (
            one.tasks(),
            one.bytes_of_day(morning),
            one.cost_of_month(morning)
        ),
        (4, Bytes(90), NanoDollars(950))
    );
    let none = one.release(&"p2".into()).unwrap();
    assert_eq!(
        (none.tasks(), none.booked_bytes, none.booked_cost),
        (0, Bytes(90), NanoDollars(950))
    );
    assert_eq!(none.release(&"p2".into()), None, "once");
}

#[test]
fn what_no_day_has_room_for_is_said() {
    let short = row()
        .reserve(
            &quota(1, 100, 1_000),
            &"p1".into(),
            usage(1, 101, 1),
            at("2026-11-30T00:00:00Z"),
        )
        .unwrap_err();
    assert!(short.reason.contains("no day has so much"), "{short}");
    assert!(
        short.reason.contains("catalog lake may have 100 B a day"),
        "{short}"
    );
}

#[test]
fn a_clock_that_is_behind_neither_turns_the_day_back_nor_gains_a_day() {
    let quota = quota(10, 100, 1_000);
    let morning = at("2026-11-30T00:00:01Z");
    let before = at("2026-11-29T23:59:59Z");
    let row = row()
        .reserve(&quota, &"p1".into(), usage(1, 60, 1), morning)
        .unwrap();
    assert!(
        row.reserve(&quota, &"p2".into(), usage(1, 60, 1), before)
            .is_err()
    );
    let row = row
        .reserve(&quota, &"p2".into(), usage(1, 40, 1), before)
        .unwrap();
    assert_eq!(row.bytes_of_day(morning), Bytes(100));
}

#[test]
fn what_is_over_its_quota_starts_nothing_however_little() {
    let quota = quota(10, 100, 1_000);
    let morning = at("2026-11-30T00:00:01Z");
    let row = row()
        .reserve(&quota, &"p1".into(), usage(1, 60, 900), morning)
        .unwrap();
    for took in [usage(1, 101, 900), usage(1, 60, 1_001)] {
        let over = row.correct(&"p1".into(), took).unwrap();
        assert!(
            over.reserve(&quota, &"p2".into(), usage(1, 0, 0), morning)
                .is_err()
        );
    }
    let full = row.correct(&"p1".into(), usage(1, 100, 1_000)).unwrap();
    full.reserve(&quota, &"p2".into(), usage(1, 0, 0), morning)
        .unwrap();
}

#[derive(Debug, Clone)]
enum Step {
    Reserve(u8, Usage),
    Correct(u8, Usage),
    Release(u8),
    Pass(i64),
}

fn any_usage() -> impl Strategy<Value = Usage> {
    (1..5u32, 0..60u64, 0..400u64).prop_map(|(tasks, bytes, cost)| usage(tasks, bytes, cost))
}

fn any_step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (0..12u8, any_usage()).prop_map(|(process, usage)| Step::Reserve(process, usage)),
        2 => (0..12u8, any_usage()).prop_map(|(process, usage)| Step::Correct(process, usage)),
        4 => (0..12u8).prop_map(Step::Release),
        1 => (0..3 * DAY_MS).prop_map(Step::Pass),
    ]
}

/// A process as somebody with a complete memory knows it.
struct Known {
    usage: Usage,
    since: TimestampMs,
    ended: bool,
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    /// Whatever is reserved, corrected and released in whatever order, twice or by strangers: the row says what a complete
    /// memory says, and no reservation that was granted went over the quota.
    #[test]
    fn the_books_are_those_of_a_complete_memory(steps in prop::collection::vec(any_step(), 1..80)) {
        let quota = quota(8, 150, 1_000);
        let mut now = at("2026-11-20T12:00:00Z");
        let mut row = row();
        let mut memory: HashMap<u8, Known> = HashMap::new();
        let day = |at: TimestampMs| at.get().div_euclid(DAY_MS);
        let month = |at: TimestampMs| first_of_month(at);
        for step in steps {
            let id = |process: u8| ProcessId(format!("p{process}"));
            match step {
                Step::Pass(millis) => now = now + Duration::from_millis(u64::try_from(millis).unwrap()),
                Step::Reserve(process, usage) => {
                    // Ids are never used again.
                    if memory.get(&process).is_some_and(|known| known.ended) {
                        continue;
                    }
                    let reserved = row.reserve(&quota, &id(process), usage, now);
                    let knows = memory.contains_key(&process);
                    if let Ok(after) = reserved {
                        row = after;
                        memory.entry(process).or_insert(Known { usage, since: now, ended: false });
                        if !knows {
                            prop_assert!(row.tasks() <= 8 && row.bytes_of_day(now) <= Bytes(150));
                            prop_assert!(row.cost_of_month(now) <= NanoDollars(1_000));
                        }
                    } else {
                        prop_assert!(!knows, "again is harmless");
                    }
                }
                Step::Correct(process, usage) => {
                    let under_way = memory.get_mut(&process).filter(|known| !known.ended);
                    // A process takes no more tasks than it reserved.
                    let usage = Usage { tasks: under_way.as_ref().map_or(1, |known| known.usage.tasks), ..usage };
                    if let Some(after) = row.correct(&id(process), usage) {
                        row = after;
                        under_way.unwrap().usage = usage;
                    }
                }
                Step::Release(process) => {
                    let under_way = memory.get_mut(&process).filter(|known| !known.ended);
                    let after = row.release(&id(process));
                    prop_assert_eq!(after.is_some(), under_way.is_some());
                    if let Some(after) = after {
                        row = after;
                        under_way.unwrap().ended = true;
                    }
                }
            }
            let sum = |of: &dyn Fn(&Known) -> u64| memory.values().map(of).sum::<u64>();
            let tasks = sum(&|known| if known.ended { 0 } else { u64::from(known.usage.tasks) });
            let bytes = sum(&|known| if day(known.since) == day(now) { known.usage.bytes.get() } else { 0 });
            let cost = sum(&|known| if month(known.since) == month(now) { known.usage.cost.get() } else { 0 });
            prop_assert_eq!(u64::from(row.tasks()), tasks);
            prop_assert_eq!(row.bytes_of_day(now).get(), bytes);
            prop_assert_eq!(row.cost_of_month(now).get(), cost);
        }
    }
}
