//! Maintenance windows: at which hours of which days work on a table may begin, in a time zone of its own.
//!
//! `Mon-Fri 22:00-06:00 Europe/Berlin; Sat,Sun 00:00-24:00 Europe/Berlin`. Days are those on which a window opens; one
//! that closes at an earlier hour than it opens closes on the next day. Without days it opens every day, without a zone
//! in UTC. Where clocks are set forward over an opening or closing it comes an hour later, and where they are set back
//! it is the first of the two: as calendars do it (RFC 5545, section 3.3.5).

use std::{fmt, str::FromStr};

use icepress_model::TimestampMs;
use jiff::{Timestamp, ToSpan as _, civil, civil::Weekday, tz::TimeZone};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};
use thiserror::Error;

/// A window that is open for less may pass between two ticks, again and again: work begins when a tick looks. Ticks come
/// each minute where nothing else is set, and may be late.
const SHORTEST_MINUTES: u16 = 5;
/// The week's days as they are written, Monday first.
const DAYS: [&str; 7] = ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"];

const DAY_MINUTES: u16 = 24 * 60;

/// When work may begin: within any of these.
#[derive(Debug, Clone, PartialEq)]
pub struct Windows {
    text: String,
    windows: Vec<Window>,
}

#[derive(Debug, Clone, PartialEq)]
struct Window {
    /// On which days it opens, Monday first.
    days: [bool; 7],
    /// Minutes since midnight, below a day's.
    opens: u16,
    /// Minutes since the same midnight: above `opens`, and beyond a day's where it closes on the next day.
    closes: u16,
    zone: TimeZone,
}

/// Text that names no windows.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error(
    "'{text}' is no maintenance window ({what}): write it as in Mon-Fri 22:00-06:00 Europe/Berlin, several with ; \
     between them"
)]
pub struct InvalidWindow {
    text: String,
    what: String,
}

impl Windows {
    /// Whether work may begin.
    pub fn is_open(&self, now: TimestampMs) -> bool {
        self.openings(now, 2)
            .any(|(from, to)| from <= now && now < to)
    }

    /// When work may begin next: now where a window is open. `None` where none opens within a year.
    pub fn next_opening(&self, now: TimestampMs) -> Option<TimestampMs> {
        // Weeks first: a year's openings are many.
        [9, 370].into_iter().find_map(|days| {
            let to_come = self.openings(now, days).filter(|(_, to)| *to > now);
            to_come.map(|(from, _)| from.max(now)).min()
        })
    }

    /// Openings and closings of all windows from two days before `now` until so many days after; empty ones are left
    /// out.
    fn openings(
        &self,
        now: TimestampMs,
        days: i64,
    ) -> impl Iterator<Item = (TimestampMs, TimestampMs)> + '_ {
        self.windows.iter().flat_map(move |window| {
            let today = Timestamp::from_millisecond(now.get())
                .unwrap_or(Timestamp::UNIX_EPOCH)
                .to_zoned_datetime(window.zone.clone())
                .date();
            (-2..=days).filter_map(move |offset| {
                let day = today.checked_add(offset.days()).ok()?;
                window.on(day).filter(|(from, to)| from < to)
            })
        })
    }
}

impl Window {
    /// From when to when it is open that opens on this day.
    fn on(&self, day: civil::Date) -> Option<(TimestampMs, TimestampMs)> {
        if !self.days[weekday_number(day.weekday())] {
            return None;
        }
        let at = |minutes: u16| {
            let day = day
                .checked_add(i64::from(minutes / DAY_MINUTES).days())
                .ok()?;
            let minutes = minutes % DAY_MINUTES;
            let hour = i8::try_from(minutes / 60).ok()?;
            let time = day.at(hour, i8::try_from(minutes % 60).ok()?, 0, 0);
            let at = time.to_zoned_datetime(self.zone.clone()).ok()?;
            Some(TimestampMs(at.timestamp().as_millisecond()))
        };
        Some((at(self.opens)?, at(self.closes)?))
    }
}

fn weekday_number(day: Weekday) -> usize {
    usize::try_from(day.to_monday_zero_offset()).unwrap_or(0)
}

impl FromStr for Windows {
    type Err = InvalidWindow;

    fn from_str(text: &str) -> Result<Self, InvalidWindow> {
        let windows: Result<Vec<Window>, String> = text
            .split(';')
            .map(str::trim)
            .filter(|part| !part.is_empty())
            .map(window)
            .collect();
        let wrong = |what: String| InvalidWindow {
            text: text.to_owned(),
            what,
        };
        let windows = windows.map_err(wrong)?;
        if windows.is_empty() {
            return Err(wrong("it is empty".to_owned()));
        }
        Ok(Self {
            text: text.trim().to_owned(),
            windows,
        })
    }
}

/// `[DAYS] HH:MM-HH:MM [ZONE]`.
fn window(text: &str) -> Result<Window, String> {
    let words: Vec<&str> = text.split_whitespace().collect();
    let hours_at = words
        .iter()
        .position(|word| word.contains(':'))
        .ok_or("it names no hours")?;
    let days = match &words[..hours_at] {
        [] => [true; 7],
        [named] => days(named)?,
        more => return Err(format!("'{}' are no days", more.join(" "))),
    };
    let (opens, closes) = words[hours_at]
        .split_once('-')
        .ok_or("hours are from-to, as 22:00-06:00")?;
    let (opens, closes) = (minutes(opens)?, minutes(closes)?);
    if opens == closes {
        return Err("it closes when it opens: for the whole day write 00:00-24:00".to_owned());
    }
    if opens == DAY_MINUTES {
        return Err("24:00 is when a window closes, and none opens".to_owned());
    }
    let zone = match &words[hours_at + 1..] {
        [] => TimeZone::UTC,
        [name] => TimeZone::get(name).map_err(|_| format!("there is no time zone '{name}'"))?,
        more => return Err(format!("'{}' is no time zone", more.join(" "))),
    };
    let over_midnight = if closes < opens { DAY_MINUTES } else { 0 };
    let length = closes + over_midnight - opens;
    if length < SHORTEST_MINUTES {
        return Err(format!(
            "it is open for {length} of the {SHORTEST_MINUTES} minutes that it takes at the least for a tick to fall into it"
        ));
    }
    Ok(Window {
        days,
        opens,
        closes: closes + over_midnight,
        zone,
    })
}

/// `Mon-Fri,Sun`; a range may go over the week's end, as in `Fri-Mon`.
fn days(text: &str) -> Result<[bool; 7], String> {
    let number = |name: &str| {
        let known = DAYS.iter().position(|day| day.eq_ignore_ascii_case(name));
        known.ok_or_else(|| format!("'{name}' is none of {}", DAYS.join(", ")))
    };
    let mut days = [false; 7];
    for part in text.split(',') {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (first, last) = (number(first)?, number(last)?);
        let length = (last + DAYS.len() - first) % DAYS.len();
        for offset in 0..=length {
            days[(first + offset) % DAYS.len()] = true;
        }
    }
    Ok(days)
}

fn minutes(text: &str) -> Result<u16, String> {
    let parsed = text.split_once(':').and_then(|(hours, minutes)| {
        let two_digits = |part: &str| {
            let digits = part.len() <= 2 && part.bytes().all(|byte| byte.is_ascii_digit());
            digits.then(|| part.parse::<u16>().ok()).flatten()
        };
        let (hours, minutes) = (two_digits(hours)?, two_digits(minutes)?);
        let at = hours * 60 + minutes;
        (minutes < 60 && at <= DAY_MINUTES).then_some(at)
    });
    parsed.ok_or_else(|| format!("'{text}' is no time of day from 00:00 to 24:00"))
}

impl fmt::Display for Windows {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl Serialize for Windows {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.text)
    }
}

impl<'de> Deserialize<'de> for Windows {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?
            .parse()
            .map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests;
