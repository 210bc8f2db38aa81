use proptest::prelude::*;

use super::*;

const MINUTE: i64 = 60_000;
const HOUR: i64 = 60 * MINUTE;
const DAY: i64 = 24 * HOUR;

fn windows(text: &str) -> Windows {
    text.parse().unwrap()
}

fn at(text: &str) -> TimestampMs {
    TimestampMs(text.parse::<Timestamp>().unwrap().as_millisecond())
}

#[test]
fn a_window_over_midnight_belongs_to_the_day_it_opens_on() {
    let nights = windows("Mon-Fri 22:00-06:00 Europe/Berlin");
    // 2026-11-20 is a Friday; Berlin is an hour ahead of UTC in winter.
    assert!(!nights.is_open(at("2026-11-20T20:59:59Z")));
    assert!(nights.is_open(at("2026-11-20T21:00:00Z")));
    assert!(
        nights.is_open(at("2026-11-21T04:59:59Z")),
        "Saturday morning"
    );
    assert!(!nights.is_open(at("2026-11-21T05:00:00Z")));
    assert!(
        !nights.is_open(at("2026-11-21T22:00:00Z")),
        "Saturday night"
    );
    assert_eq!(
        nights.next_opening(at("2026-11-21T05:00:00Z")),
        Some(at("2026-11-23T21:00:00Z"))
    );
    // In summer it opens an hour earlier by UTC.
    assert_eq!(
        nights.next_opening(at("2026-07-06T12:00:00Z")),
        Some(at("2026-07-06T20:00:00Z"))
    );
}

#[test]
fn an_hour_that_a_zone_leaves_out_comes_later_and_one_it_repeats_is_the_first() {
    // Clocks go from 02:00 to 03:00 on 2026-03-29, and from 03:00 to 02:00 on 2026-10-25.
    let early = windows("02:15-02:45 Europe/Berlin");
    assert!(early.is_open(at("2026-03-29T01:20:00Z")), "03:20 there");
    assert!(!early.is_open(at("2026-03-29T00:20:00Z")), "01:20 there");
    assert!(
        early.is_open(at("2026-10-25T00:20:00Z")),
        "02:20, the first"
    );
    assert!(
        !early.is_open(at("2026-10-25T01:20:00Z")),
        "02:20, the second"
    );
    // One that closes within the hour left out is not open at all on that day.
    let gone = windows("Sun 02:15-03:00 Europe/Berlin");
    assert_eq!(
        gone.next_opening(at("2026-03-28T12:00:00Z")),
        Some(at("2026-04-05T00:15:00Z"))
    );
}

#[test]
fn what_is_no_window_is_refused_with_the_reason() {
    for (text, what) in [
        ("", "it is empty"),
        ("Mon-Fri", "it names no hours"),
        ("Mon-Fry 1:00-2:00", "'Fry' is none of Mon"),
        ("22:00", "hours are from-to"),
        ("22:00-22:00", "for the whole day write 00:00-24:00"),
        ("24:00-06:00", "none opens"),
        ("22:00-22:04", "open for 4 of the 5 minutes"),
        ("23:58-00:02", "open for 4 of the 5 minutes"),
        ("22:60-06:00", "'22:60' is no time of day"),
        ("25:00-26:00", "'25:00' is no time of day"),
        ("+2:00-06:00", "'+2:00' is no time of day"),
        (
            "22:00-06:00 Europe/Atlantis",
            "there is no time zone 'Europe/Atlantis'",
        ),
        (
            "Mon 22:00-06:00 Europe Berlin",
            "'Europe Berlin' is no time zone",
        ),
        ("Mon Tue 22:00-06:00", "'Mon Tue' are no days"),
    ] {
        let error = text.parse::<Windows>().unwrap_err().to_string();
        assert!(error.contains(what), "{text}: {error}");
    }
}

fn any_windows() -> impl Strategy<Value = Windows> {
    let zones = [
        "",
        " UTC",
        " Europe/Berlin",
        " America/St_Johns",
        " Australia/Lord_Howe",
        " Asia/Kathmandu",
        " Pacific/Apia",
    ];
    let days = ["", "Mon ", "Sat,Sun ", "Fri-Mon ", "Tue,Thu-Fri "];
    let window = (
        prop::sample::select(days.to_vec()),
        0..DAY_MINUTES,
        1..=DAY_MINUTES,
        prop::sample::select(zones.to_vec()),
    );
    let window = window
        .prop_filter("it is open for long enough", |(_, opens, closes, _)| {
            opens != closes && (closes + DAY_MINUTES - opens) % DAY_MINUTES >= SHORTEST_MINUTES
        })
        .prop_map(|(days, opens, closes, zone)| {
            let clock = |at: u16| format!("{:02}:{:02}", at / 60, at % 60);
            format!("{days}{}-{}{zone}", clock(opens), clock(closes))
        });
    prop::collection::vec(window, 1..4).prop_map(|texts| windows(&texts.join("; ")))
}

/// Any minute of 2026, in which each of the zones sets its clocks, or none.
fn any_time() -> impl Strategy<Value = TimestampMs> {
    (0..365 * 24 * 60i64).prop_map(|minute| at("2026-01-01T00:00:00Z") + minutes_of(minute))
}

fn minutes_of(minutes: i64) -> std::time::Duration {
    std::time::Duration::from_secs(u64::try_from(minutes).unwrap() * 60)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn the_next_opening_is_open_and_nothing_before_it_is(windows in any_windows(), now in any_time()) {
        let next = windows.next_opening(now).unwrap();
        prop_assert!(next >= now);
        prop_assert!(windows.is_open(next), "{windows} at {next}");
        prop_assert_eq!(windows.is_open(now), next == now);
        prop_assert!(next.get() - now.get() <= 8 * DAY + 2 * HOUR);
        // All that lies between is closed: every so often, and just before the end.
        let step = ((next.get() - now.get()) / 37).max(1);
        let mut between = now.get();
        while between < next.get() {
            prop_assert!(!windows.is_open(TimestampMs(between)), "{windows} at {between}");
            between += step;
        }
        if next > now {
            prop_assert!(!windows.is_open(TimestampMs(next.get() - 1)));
        }
    }

    #[test]
    fn in_utc_a_week_is_open_for_as_long_as_it_says(opens in 0..DAY_MINUTES, closes in 1..=DAY_MINUTES, monday in 0i64..50) {
        prop_assume!((closes + DAY_MINUTES - opens) % DAY_MINUTES >= SHORTEST_MINUTES);
        let clock = |at: u16| format!("{:02}:{:02}", at / 60, at % 60);
        let text = format!("Mon-Fri {}-{}", clock(opens), clock(closes));
        let windows = windows(&text);
        let start = at("2026-01-05T00:00:00Z").get() + monday * 7 * DAY;
        let open = (0..7 * 24 * 60)
            .filter(|minute| windows.is_open(TimestampMs(start + minute * MINUTE)))
            .count();
        let a_day = (i64::from(closes) - i64::from(opens)).rem_euclid(24 * 60);
        let a_day = if a_day == 0 { 24 * 60 } else { a_day };
        prop_assert_eq!(i64::try_from(open).unwrap(), 5 * a_day, "{}", text);
    }

    #[test]
    fn text_comes_back_as_it_was(windows in any_windows()) {
        let again: Windows = windows.to_string().parse().unwrap();
        prop_assert_eq!(again, windows);
    }
}
