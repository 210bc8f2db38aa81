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
