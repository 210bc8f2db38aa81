//! Moments as text, in patterns as Java has them (`java.time.format.DateTimeFormatter`): what Amoro's properties are written
//! in. Numbers of years to seconds, text in quotes, and signs; names of months and the like are refused.

use std::fmt::Write as _;

use jiff::civil::{Date, DateTime, Time};

/// A pattern that was understood.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct DatePattern {
    parts: Vec<Part>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    Text(String),
    Number { unit: Unit, digits: usize },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Unit {
    Year,
    Month,
    Day,
    Hour,
    Minute,
    Second,
    /// Of a second, as many digits as there are letters.
    Fraction,
}

impl DatePattern {
    /// Understands a pattern. The error is a message for people.
    pub(crate) fn parse(pattern: &str) -> Result<Self, String> {
        let mut parts: Vec<Part> = Vec::new();
        let mut text = String::new();
        let mut rest = pattern.chars().peekable();
        while let Some(letter) = rest.next() {
            match letter {
                '\'' if rest.next_if_eq(&'\'').is_some() => text.push('\''),
                '\'' => loop {
                    match rest.next() {
                        Some('\'') if rest.next_if_eq(&'\'').is_some() => text.push('\''),
                        Some('\'') => break,
                        Some(letter) => text.push(letter),
                        None => return Err(format!("'{pattern}' ends within quotes")),
                    }
                },
                'a'..='z' | 'A'..='Z' => {
                    let mut digits = 1;
                    while rest.next_if_eq(&letter).is_some() {
                        digits += 1;
                    }
                    if !text.is_empty() {
                        parts.push(Part::Text(std::mem::take(&mut text)));
                    }
                    let unit = unit_of(letter, digits).ok_or_else(|| {
                        not_understood(pattern, &letter.to_string().repeat(digits))
                    })?;
                    parts.push(Part::Number { unit, digits });
                }
                '[' | ']' | '{' | '}' | '#' => {
                    return Err(not_understood(pattern, &letter.to_string()));
                }
                other => text.push(other),
            }
        }
        if !text.is_empty() {
            parts.push(Part::Text(text));
        }
        Ok(Self { parts })
    }

    /// A moment as text.
    pub(crate) fn format(&self, moment: DateTime) -> String {
        let mut text = String::new();
        for part in &self.parts {
            match part {
                Part::Text(fixed) => text.push_str(fixed),
                Part::Number { unit, digits } => {
                    let (number, digits) = match unit {
                        Unit::Year if *digits == 2 => (i64::from(moment.year()) % 100, 2),
                        Unit::Year => (moment.year().into(), *digits),
                        Unit::Month => (moment.month().into(), *digits),
                        Unit::Day => (moment.day().into(), *digits),
                        Unit::Hour => (moment.hour().into(), *digits),
                        Unit::Minute => (moment.minute().into(), *digits),
                        Unit::Second => (moment.second().into(), *digits),
                        Unit::Fraction => {
                            let scale = 10i64.pow(9 - (*digits).min(9) as u32);
                            (i64::from(moment.subsec_nanosecond()) / scale, *digits)
                        }
                    };
                    // Writing into a String can't fail.
                    let _ = write!(text, "{number:0digits$}");
                }
            }
        }
        text
    }

    /// The moment that a text names, its first where the pattern has days only; `None` where it is no such text.
    pub(crate) fn read(&self, text: &str) -> Option<DateTime> {
        let mut rest = text;
        let (mut year, mut month, mut day) = (None, 1, 1);
        let (mut hour, mut minute, mut second, mut nanos) = (0, 0, 0, 0);
        for part in &self.parts {
            match part {
                Part::Text(fixed) => rest = rest.strip_prefix(fixed.as_str())?,
                Part::Number { unit, digits } => {
                    // One letter stands for as many digits as there are: two at the most, of years four.
                    let most = match (digits, unit) {
                        (1, Unit::Year) => 4,
                        (1, Unit::Fraction) => 1,
                        (1, _) => 2,
                        (digits, _) => *digits,
                    };
                    let there = rest
                        .bytes()
                        .take(most)
                        .take_while(u8::is_ascii_digit)
                        .count();
                    let least = if *digits == 1 { 1 } else { *digits };
                    if there < least {
                        return None;
                    }
                    let (number, after) = rest.split_at(there);
                    rest = after;
                    match unit {
                        Unit::Year if *digits == 2 => {
                            year = Some(2000 + number.parse::<i16>().ok()?);
                        }
                        Unit::Year => year = Some(number.parse::<i16>().ok()?),
                        Unit::Month => month = number.parse().ok()?,
                        Unit::Day => day = number.parse().ok()?,
                        Unit::Hour => hour = number.parse().ok()?,
                        Unit::Minute => minute = number.parse().ok()?,
                        Unit::Second => second = number.parse().ok()?,
                        Unit::Fraction => nanos = format!("{number:0<9}").parse().ok()?,
                    }
                }
            }
        }
        if !rest.is_empty() {
            return None;
        }
        let date = Date::new(year?, month, day).ok()?;
        let time = Time::new(hour, minute, second, nanos).ok()?;
        Some(date.to_datetime(time))
    }

    /// Whether a text is one of this pattern as far as it goes: statistics cut texts short. Of ordered patterns only, whose
    /// numbers have as many digits as the pattern has letters.
    pub(crate) fn begins(&self, text: &str) -> bool {
        if self.read(text).is_some() {
            return true;
        }
        let mut rest = text.chars();
        for part in &self.parts {
            match part {
                Part::Text(fixed) => {
                    for expected in fixed.chars() {
                        match rest.next() {
                            None => return !text.is_empty(),
                            Some(found) if found == expected => {}
                            Some(_) => return false,
                        }
                    }
                }
                Part::Number { digits, .. } => {
                    for _ in 0..*digits {
                        match rest.next() {
                            None => return !text.is_empty(),
                            Some(found) if found.is_ascii_digit() => {}
                            Some(_) => return false,
                        }
                    }
                }
            }
        }
        // Whole, and no moment all the same: the 30th of February.
        false
    }

    /// Whether texts of this pattern are in the order of their moments: from years down, each of as many digits always, and
    /// none left out before the last.
    pub(crate) fn is_ordered(&self) -> bool {
        const UNITS: [Unit; 7] = [
            Unit::Year,
            Unit::Month,
            Unit::Day,
            Unit::Hour,
            Unit::Minute,
            Unit::Second,
            Unit::Fraction,
        ];
        let numbers = self.parts.iter().filter_map(|part| match part {
            Part::Number { unit, digits } => Some((*unit, *digits)),
            Part::Text(_) => None,
        });
        let mut expected = UNITS.iter();
        let mut has_year = false;
        for (unit, digits) in numbers {
            let is_fixed = match unit {
                Unit::Year => digits == 4,
                Unit::Fraction => true,
                _ => digits == 2,
            };
            if expected.next() != Some(&unit) || !is_fixed {
                return false;
            }
            has_year |= unit == Unit::Year;
        }
        has_year
    }
}

fn unit_of(letter: char, digits: usize) -> Option<Unit> {
    match (letter, digits) {
        ('y' | 'u', 1 | 2 | 4) => Some(Unit::Year),
        ('M' | 'L', 1 | 2) => Some(Unit::Month),
        ('d', 1 | 2) => Some(Unit::Day),
        ('H', 1 | 2) => Some(Unit::Hour),
        ('m', 1 | 2) => Some(Unit::Minute),
        ('s', 1 | 2) => Some(Unit::Second),
        ('S', 1..=9) => Some(Unit::Fraction),
        _ => None,
    }
}

fn not_understood(pattern: &str, what: &str) -> String {
    format!(
        "'{pattern}' has '{what}', which is not understood: years (yyyy), months (MM), days (dd), hours (HH), minutes (mm), \
         seconds (ss) and their parts (SSS) are, and text in quotes"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn moment() -> DateTime {
        jiff::civil::date(2026, 3, 7).at(5, 9, 30, 120_000_000)
    }

    #[test]
    fn what_java_writes_is_written_and_read() {
        for (pattern, text) in [
            ("'tag-'yyyyMMddHH", "tag-2026030705"),
            ("yyyy-MM-dd", "2026-03-07"),
            ("yyyy-MM-dd HH:mm:ss.SSS", "2026-03-07 05:09:30.120"),
            ("d/M/yy", "7/3/26"),
            ("'it''s' uuuu", "it's 2026"),
            ("yyyy''MM", "2026'03"),
        ] {
            let pattern = DatePattern::parse(pattern).unwrap();
            assert_eq!(pattern.format(moment()), text);
            let read = pattern.read(text).unwrap();
            assert_eq!(pattern.format(read), text);
        }
        let days = DatePattern::parse("yyyy-MM-dd").unwrap();
        let first = jiff::civil::date(2026, 3, 7).at(0, 0, 0, 0);
        assert_eq!(days.read("2026-03-07"), Some(first));
    }

    #[test]
    fn what_is_no_moment_of_the_pattern_is_none() {
        let days = DatePattern::parse("yyyy-MM-dd").unwrap();
        for text in [
            "2026-13-01",
            "2026-02-30",
            "2026-2-03",
            "2026-03-07 ",
            "x",
            "",
            "26-03-07",
        ] {
            assert_eq!(days.read(text), None, "{text}");
        }
    }

    #[test]
    fn what_was_cut_short_begins_as_the_pattern_does() {
        let pattern = DatePattern::parse("yyyy-MM-dd HH:mm:ss").unwrap();
        for text in ["2026-03-07 05:09:30", "2026-03-07 05:09", "2026-", "2"] {
            assert!(pattern.begins(text), "{text}");
        }
        for text in [
            "",
            "x",
            "2026-03-07 05:0:",
            "2026-02-30 05:09:30",
            "2026-03-07T05",
            "2026-03-07 05:09:30Z",
        ] {
            assert!(!pattern.begins(text), "{text}");
        }
    }

    #[test]
    fn patterns_that_are_not_understood_are_refused() {
        for pattern in ["yyyy-MMM-dd", "yyyyQ", "'open", "[yyyy]", "hh", "yyy"] {
            DatePattern::parse(pattern).unwrap_err();
        }
    }

    #[test]
    fn only_from_years_down_is_text_in_the_order_of_time() {
        let is_ordered = |pattern| DatePattern::parse(pattern).unwrap().is_ordered();
        for pattern in [
            "yyyy-MM-dd",
            "yyyyMMddHH",
            "yyyy",
            "'d'yyyy/MM",
            "yyyy-MM-dd HH:mm:ss.S",
        ] {
            assert!(is_ordered(pattern), "{pattern}");
        }
        for pattern in [
            "dd-MM-yyyy",
            "yyyy-M-d",
            "yy-MM-dd",
            "MM-dd",
            "yyyy-dd",
            "yyyy HH",
            "''",
        ] {
            assert!(!is_ordered(pattern), "{pattern}");
        }
    }
}
