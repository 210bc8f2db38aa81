use super::*;

#[test]
fn waits_double_up_to_the_longest_and_never_end() {
    let settings = Settings::embedded(WorkerId::from("w"));
    assert_eq!(settings.backoff(1), Duration::from_secs(60));
    assert_eq!(settings.backoff(2), Duration::from_secs(120));
    assert_eq!(settings.backoff(4), Duration::from_secs(480));
    assert_eq!(settings.backoff(u32::MAX), settings.longest_backoff);
}

#[test]
fn a_group_of_the_default_plan_fits_a_function() {
    let settings = Settings::embedded(WorkerId::from("w"));
    let largest = settings.reckoned_time(settings.plan.max_group_bytes);
    assert!(largest < Duration::from_secs(900 - 60), "{largest:?}");
}

#[test]
fn a_group_is_as_large_as_an_optimizer_gets_through() {
    let unlimited = Settings::embedded(WorkerId::from("w"));
    assert_eq!(unlimited.largest_group(None, VerifyRows::Sample), None);
    let limit = Some(Duration::from_secs(900));
    let strong = unlimited.clone().with_optimizer(Some(2_048), limit);
    let strong_bytes = strong.largest_group(None, VerifyRows::Sample).unwrap();
    assert!(strong_bytes > strong.plan.max_group_bytes, "{strong_bytes}");
    // What is planned so, a worker with as much time does not refuse.
    let needed = strong.reckoned_time(strong_bytes) + strong.deadline_margin;
    assert!(needed < Duration::from_secs(900), "{needed:?}");
    let twice = strong.largest_group(None, VerifyRows::All).unwrap();
    assert!(twice.get() * 2 <= strong_bytes.get() + 2);
    // A quarter of a processor, and a fifth of the time.
    let short = Some(Duration::from_secs(180));
    let weak = unlimited.clone().with_optimizer(Some(442), short);
    let weak_bytes = weak.largest_group(None, VerifyRows::Sample).unwrap();
    assert!(weak_bytes.get() * 20 < strong_bytes.get(), "{weak_bytes}");
    assert_eq!(weak.billed_memory, Bytes::mebibytes(442));
    // Measured, it is what was measured, within reason.
    let pace = |bytes| {
        Some(Pace {
            bytes: Bytes(bytes),
            took_ms: 1_000,
        })
    };
    let at = |bytes| {
        strong
            .largest_group(pace(bytes), VerifyRows::Sample)
            .unwrap()
    };
    assert_eq!(at(6 << 20).get() * 2, strong_bytes.get());
    assert_eq!(at(24 << 20).get(), strong_bytes.get() * 2);
    assert_eq!(at(1), at(12 << 16));
    assert_eq!(
        strong.time_at(pace(0), Bytes(0)),
        strong.reckoned_time(Bytes(0))
    );
}
