//! What a table wants tagged: `icepress.tag.…`, and Amoro's `tag.auto-create.…` as it reads them.

use std::{collections::HashMap, time::Duration};

use jiff::tz::TimeZone;

use super::period::Period;
use crate::{dates::DatePattern, policy};

/// Ours: `icepress.tag.PERIOD` is how long the tags of a period are kept.
const OWN: &str = "icepress.tag.";
const ZONE: &str = "icepress.tag.time-zone";

/// Amoro's, with the defaults of its `TableProperties`.
const AMORO_ENABLED: &str = "tag.auto-create.enabled";
const AMORO_PERIOD: &str = "tag.auto-create.trigger.period";
const AMORO_OFFSET: &str = "tag.auto-create.trigger.offset.minutes";
const AMORO_DELAY: &str = "tag.auto-create.trigger.max-delay.minutes";
const AMORO_FORMAT: &str = "tag.auto-create.tag-format";
const AMORO_AGE: &str = "tag.auto-create.max-age-ms";
const AMORO_DELAY_DEFAULT: i64 = 60;

/// What is to be tagged, and how long it is kept.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct TagPolicy {
    /// Periods of ours, each with how long its tags are kept.
    pub(super) own: Vec<(Period, Duration)>,
    pub(super) amoro: Option<AmoroTags>,
    pub(super) zone: TimeZone,
}

/// Amoro's tags: the first snapshot after a period's end has the period's name.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct AmoroTags {
    pub(super) period: Period,
    pub(super) offset_minutes: i64,
    /// How much later than the period's end the snapshot may be; `None` for any.
    pub(super) max_delay_minutes: Option<i64>,
    pub(super) format: DatePattern,
    /// `max-ref-age-ms` of the tags; `None` for ever.
    pub(super) max_age_ms: Option<i64>,
}

impl TagPolicy {
    /// The policy of a table with these properties. The error is a message for people.
    pub(super) fn of(properties: &HashMap<String, String>) -> Result<Self, String> {
        let name = properties.get(ZONE).map_or("UTC", |name| name.trim());
        let zone = TimeZone::get(name).map_err(|_| {
            format!("{ZONE} is '{name}': it must be a time zone, as in Europe/Berlin")
        })?;
        Ok(Self {
            own: own(properties)?,
            amoro: AmoroTags::of(properties)?,
            zone,
        })
    }

    /// Whether nothing is to be tagged.
    pub(super) fn is_empty(&self) -> bool {
        self.own.is_empty() && self.amoro.is_none()
    }
}

fn own(properties: &HashMap<String, String>) -> Result<Vec<(Period, Duration)>, String> {
    let known = |name: &str| Period::ALL.iter().any(|period| period.name() == name);
    let mut strange = properties
        .keys()
        .filter_map(|key| key.strip_prefix(OWN))
        .filter(|name| !known(name) && format!("{OWN}{name}") != ZONE);
    if let Some(name) = strange.next() {
        return Err(format!(
            "{OWN}{name} is no property: {OWN}hourly, .daily, .weekly, .monthly and .time-zone are"
        ));
    }
    let mut own = Vec::new();
    for period in Period::ALL {
        let key = format!("{OWN}{}", period.name());
        let Some(text) = properties.get(&key).map(|text| text.trim()) else {
            continue;
        };
        if ["off", "false"]
            .iter()
            .any(|off| text.eq_ignore_ascii_case(off))
        {
            continue;
        }
        let is_bare = text.ends_with(|last: char| last.is_ascii_digit());
        let kept = policy::duration(properties, &key, 1);
        let kept = kept
            .ok()
            .flatten()
            .filter(|kept| !kept.is_zero() && !is_bare);
        let kept = kept.ok_or_else(|| {
            format!("{key} is '{text}': it must be how long its tags are kept, as in 48h, 30d or 8w, or off")
        })?;
        own.push((period, kept));
    }
    Ok(own)
}

impl AmoroTags {
    fn of(properties: &HashMap<String, String>) -> Result<Option<Self>, String> {
        let text = |key: &str| properties.get(key).map(|text| text.trim());
        let is_enabled = match text(AMORO_ENABLED) {
            None => false,
            Some(text) if text.eq_ignore_ascii_case("true") => true,
            Some(text) if text.eq_ignore_ascii_case("false") => false,
            Some(text) => {
                return Err(format!(
                    "{AMORO_ENABLED} is '{text}': it must be true or false"
                ));
            }
        };
        if !is_enabled {
            return Ok(None);
        }
        let number = |key: &str, default: i64| match text(key) {
            None => Ok(default),
            Some(text) => text
                .parse::<i64>()
                .map_err(|_| format!("{key} is '{text}': it must be a whole number")),
        };
        let period = match text(AMORO_PERIOD).unwrap_or("daily") {
            text if text.eq_ignore_ascii_case("hourly") => Period::Hourly,
            text if text.eq_ignore_ascii_case("daily") => Period::Daily,
            text if text.eq_ignore_ascii_case("monthly") => Period::Monthly,
            text => {
                return Err(format!(
                    "{AMORO_PERIOD} is '{text}': it must be hourly, daily or monthly"
                ));
            }
        };
        let default = match period {
            Period::Hourly => "'tag-'yyyyMMddHH",
            Period::Daily | Period::Weekly => "'tag-'yyyyMMdd",
            Period::Monthly => "'tag-'yyyyMM",
        };
        let format = properties
            .get(AMORO_FORMAT)
            .map_or(default, |it| it.as_str());
        let format =
            DatePattern::parse(format).map_err(|error| format!("{AMORO_FORMAT}: {error}"))?;
        let delay = number(AMORO_DELAY, AMORO_DELAY_DEFAULT)?;
        let age = number(AMORO_AGE, -1)?;
        Ok(Some(Self {
            period,
            offset_minutes: number(AMORO_OFFSET, 0)?,
            max_delay_minutes: (delay > 0).then_some(delay),
            format,
            max_age_ms: (age > 0).then_some(age),
        }))
    }
}
