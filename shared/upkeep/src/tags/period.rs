//! Hours, days, weeks and months, by the clock of a time zone.

use icepress_model::TimestampMs;
use jiff::{
    Timestamp, ToSpan as _,
    civil::{DateTime, Time},
    tz::TimeZone,
};
use serde::Serialize;

/// How often a tag is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Period {
    /// From the full hour.
    Hourly,
    /// From midnight.
    Daily,
    /// From midnight on Monday.
    Weekly,
    /// From midnight on the first.
    Monthly,
}

impl Period {
    pub(super) const ALL: [Self; 4] = [Self::Hourly, Self::Daily, Self::Weekly, Self::Monthly];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Hourly => "hourly",
            Self::Daily => "daily",
            Self::Weekly => "weekly",
            Self::Monthly => "monthly",
        }
    }

    /// When the period began that a moment is in.
    pub(super) fn start(self, moment: DateTime) -> DateTime {
        let date = moment.date();
        let midnight = Time::midnight();
        match self {
            Self::Hourly => date.to_datetime(Time::constant(moment.hour(), 0, 0, 0)),
            Self::Daily => date.to_datetime(midnight),
            Self::Weekly => {
                let since_monday = i32::from(date.weekday().to_monday_zero_offset());
                date.saturating_sub(since_monday.days())
                    .to_datetime(midnight)
            }
            Self::Monthly => date.first_of_month().to_datetime(midnight),
        }
    }

    /// When the period before one that begins at `start` began.
    pub(super) fn before(self, start: DateTime) -> DateTime {
        match self {
            Self::Hourly => start.saturating_sub(1.hour()),
            Self::Daily => start.saturating_sub(1.day()),
            Self::Weekly => start.saturating_sub(1.week()),
            Self::Monthly => start.saturating_sub(1.month()),
        }
    }

    /// When the period after one that begins at `start` begins.
    pub(super) fn after(self, start: DateTime) -> DateTime {
        match self {
            Self::Hourly => start.saturating_add(1.hour()),
            Self::Daily => start.saturating_add(1.day()),
            Self::Weekly => start.saturating_add(1.week()),
            Self::Monthly => start.saturating_add(1.month()),
        }
    }

    /// How Icepress names the tag of the period that begins at `start`.
    pub(super) fn tag_name(self, start: DateTime) -> String {
        let date = start.date();
        let when = match self {
            Self::Hourly => format!("{date}T{:02}", start.hour()),
            Self::Daily => date.to_string(),
            Self::Weekly => {
                let week = date.iso_week_date();
                format!("{}-W{:02}", week.year(), week.week())
            }
            Self::Monthly => format!("{:04}-{:02}", date.year(), date.month()),
        };
        format!("{}{when}", self.prefix())
    }

    /// How the names of its tags begin.
    pub(super) fn prefix(self) -> String {
        format!("icepress-{}-", self.name())
    }
}

/// A moment as the clocks of a zone show it.
pub(super) fn civil(moment: TimestampMs, zone: &TimeZone) -> DateTime {
    // Outside of what a calendar has: nobody's clock shows that.
    let moment = Timestamp::from_millisecond(moment.get()).unwrap_or(Timestamp::MIN);
    zone.to_datetime(moment)
}

/// When the clocks of a zone show that; where they never do, since they are put forward, when they would have.
pub(super) fn moment(civil: DateTime, zone: &TimeZone) -> TimestampMs {
    let timestamp = zone.to_timestamp(civil);
    TimestampMs(timestamp.map_or(i64::MIN, |timestamp| timestamp.as_millisecond()))
}
