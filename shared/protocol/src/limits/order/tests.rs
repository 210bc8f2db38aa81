use proptest::prelude::*;

use super::*;

fn since(seconds: i64) -> TimestampMs {
    TimestampMs(seconds * 1_000)
}

#[test]
fn the_higher_priority_comes_first_and_the_longer_wait_among_equals() {
    let due = vec![
        ("old", 0, since(0)),
        ("young", 0, since(60)),
        ("urgent", 5, since(120)),
        ("later", -1, since(0)),
    ];
    let names = |due: Vec<(&'static str, i32, TimestampMs)>| -> Vec<&str> {
        let sorted = in_order(due, |(_, priority, since)| (*priority, *since));
        sorted.into_iter().map(|(name, ..)| name).collect()
    };
    assert_eq!(names(due), ["urgent", "old", "young", "later"]);
}

proptest! {
    #[test]
    fn nobody_is_overtaken_by_one_who_came_later_than_the_steps_between_them(
        due in prop::collection::vec((-100..=100i32, 0..200_000i64), 2..40),
    ) {
        let sorted = in_order(due, |(priority, at)| (*priority, since(*at)));
        for (place, (priority, at)) in sorted.iter().enumerate() {
            for (before, came) in &sorted[..place] {
                let steps = i64::from(before - priority).max(0);
                let step = i64::try_from(PRIORITY_STEP.as_secs()).unwrap();
                prop_assert!(*came <= at + steps * step, "{before} of {came} before {priority} of {at}");
                // And of two that came at the same time the higher priority is first.
                prop_assert!(came != at || before >= priority);
            }
        }
    }
}
