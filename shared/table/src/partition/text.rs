//! Times, decimals and bytes as the text that the specification's JSON has, and back.
//!
//! Everything returns `None` instead of failing: what does not fit is the caller's to report.

/// Units of a timestamp with microseconds, a second.
pub(super) const MICROS: i64 = 1_000_000;
/// Units of a timestamp with nanoseconds, a second.
pub(super) const NANOS: i64 = 1_000_000_000;

const SECONDS_A_DAY: i64 = 86_400;

/// `2026-01-31`; `None` outside the years 0 to 9999.
pub(super) fn date(days_since_1970: i64) -> Option<String> {
    let (year, month, day) = civil(days_since_1970);
    (0..=9999)
        .contains(&year)
        .then(|| format!("{year:04}-{month:02}-{day:02}"))
}

/// Days since 1970-01-01.
pub(super) fn parse_date(text: &str) -> Option<i64> {
    let mut parts = text.split('-');
    let year = digits(parts.next()?, 4)?;
    let month = digits(parts.next()?, 2)?;
    let day = digits(parts.next()?, 2)?;
    let days = days_from_civil(year, month, day);
    // A date that the calendar doesn't have comes back as another one.
    (parts.next().is_none() && civil(days) == (year, month, day)).then_some(days)
}

/// `12:59:59.000001`; `None` where it is no time of a day.
pub(super) fn time_of_day(micros: i64) -> Option<String> {
    (0..SECONDS_A_DAY * MICROS)
        .contains(&micros)
        .then(|| clock(micros, MICROS))
}

/// Units since midnight, of a text with any number of decimals that the unit can hold.
pub(super) fn parse_time_of_day(text: &str, units: i64) -> Option<i64> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let mut parts = whole.split(':');
    let hours = digits(parts.next()?, 2).filter(|hours| *hours < 24)?;
    let minutes = digits(parts.next()?, 2).filter(|minutes| *minutes < 60)?;
    let seconds = match parts.next() {
        Some(seconds) => digits(seconds, 2).filter(|seconds| *seconds < 60)?,
        None => 0,
    };
    if parts.next().is_some() {
        return None;
    }
    let mut fraction_units = 0;
    let mut unit = units;
    for digit in fraction.chars() {
        unit /= 10;
        if unit == 0 {
            return None;
        }
        fraction_units += i64::from(digit.to_digit(10)?) * unit;
    }
    Some(((hours * 60 + minutes) * 60 + seconds) * units + fraction_units)
}

/// `2026-01-31T12:59:59.000001`, with `+00:00` behind it where `zoned`; `None` outside the years 0 to 9999.
pub(super) fn timestamp(value: i64, units: i64, zoned: bool) -> Option<String> {
    let day = SECONDS_A_DAY * units;
    let date = date(value.div_euclid(day))?;
    let clock = clock(value.rem_euclid(day), units);
    let zone = if zoned { "+00:00" } else { "" };
    Some(format!("{date}T{clock}{zone}"))
}

/// Units since 1970-01-01T00:00:00.
pub(super) fn parse_timestamp(text: &str, units: i64, zoned: bool) -> Option<i64> {
    let text = if zoned {
        text.strip_suffix("+00:00")
            .or_else(|| text.strip_suffix('Z'))?
    } else {
        text
    };
    let (date, clock) = text.split_once('T')?;
    parse_date(date)?
        .checked_mul(SECONDS_A_DAY * units)?
        .checked_add(parse_time_of_day(clock, units)?)
}

/// `-12.30` of -1230 and scale 2.
pub(super) fn decimal(unscaled: i128, scale: u32) -> String {
    let scale = scale as usize;
    let sign = if unscaled < 0 { "-" } else { "" };
    let padded = format!("{:0>width$}", unscaled.unsigned_abs(), width = scale + 1);
    let (whole, fraction) = padded.split_at(padded.len() - scale);
    if scale == 0 {
        format!("{sign}{whole}")
    } else {
        format!("{sign}{whole}.{fraction}")
    }
}

/// The unscaled value; `None` where the text has not exactly `scale` decimals.
pub(super) fn parse_decimal(text: &str, scale: u32) -> Option<i128> {
    let (negative, magnitude) = match text.strip_prefix('-') {
        Some(magnitude) => (true, magnitude),
        None => (false, text),
    };
    let (whole, fraction) = magnitude.split_once('.').unwrap_or((magnitude, ""));
    let all_digits = format!("{whole}{fraction}");
    if fraction.len() != scale as usize
        || whole.is_empty()
        || !all_digits.bytes().all(|byte| byte.is_ascii_digit())
    {
        return None;
    }
    // With the sign in front, so that the least number of all fits too.
    let sign = if negative { "-" } else { "" };
    format!("{sign}{all_digits}").parse().ok()
}

/// Two lower-case digits a byte.
pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The bytes of [`hex`], in either case.
pub(super) fn parse_hex(text: &str) -> Option<Vec<u8>> {
    if !text.len().is_multiple_of(2) || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    (0..text.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(text.get(at..at + 2)?, 16).ok())
        .collect()
}

fn clock(value: i64, units: i64) -> String {
    let (seconds, fraction) = (value / units, value % units);
    let width = if units == NANOS { 9 } else { 6 };
    format!(
        "{:02}:{:02}:{:02}.{fraction:0width$}",
        seconds / 3600,
        seconds / 60 % 60,
        seconds % 60
    )
}

fn digits(text: &str, count: usize) -> Option<i64> {
    (text.len() == count && text.bytes().all(|byte| byte.is_ascii_digit()))
        .then(|| text.parse().ok())?
}

/// Year, month and day in the proleptic Gregorian calendar: Howard Hinnant, *chrono-Compatible Low-Level Date
/// Algorithms*, `civil_from_days`. Years are counted from March, in eras of 400.
fn civil(days_since_1970: i64) -> (i64, i64, i64) {
    let days = days_since_1970 + 719_468;
    let era = days.div_euclid(146_097);
    let day_of_era = days.rem_euclid(146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = (month_from_march + 2) % 12 + 1;
    (year_of_era + era * 400 + i64::from(month <= 2), month, day)
}

/// The inverse: `days_from_civil` of the same source.
fn days_from_civil(year: i64, month: i64, day: i64) -> i64 {
    let year = year - i64::from(month <= 2);
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    era * 146_097 + day_of_era - 719_468
}

/// Text as `application/x-www-form-urlencoded`: letters, digits and `.-*_` stay, a blank becomes `+`, every other byte
/// `%XX`.
pub(super) fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'.' | b'-' | b'*' | b'_' => {
                escaped.push(char::from(byte));
            }
            b' ' => escaped.push('+'),
            _ => escaped.push_str(&format!("%{byte:02X}")),
        }
    }
    escaped
}
