//! Quotas: how much of a catalog's, a database's or a table's upkeep may run at once, read in a day and cost in a month.
//!
//! What a process will take is **reserved** in the row of each of its quotas when it starts, **corrected** to what it did
//! take before it ends, and **released** when it ends. Start and end are one atomic step with the process's own row, so
//! each happens once, whatever crashes or comes twice. A row names the processes that hold something, so a reservation
//! whose process is gone is seen, and let go.
//!
//! Days and months are UTC's, and all that a process takes counts for the day and the month that it started in.

use std::{collections::BTreeMap, fmt};

use icepress_model::{Bytes, NanoDollars, ProcessId, Scope, TimestampMs};
use jiff::{Timestamp, ToSpan as _, civil, tz::TimeZone};
use serde::{Deserialize, Serialize};

/// Processes that may hold something of one quota at the same time, so that its row stays below the stores' limits.
pub const LARGEST_NUMBER_HELD: usize = 2_000;

/// What may be taken; `None` is no limit.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Quota {
    /// Tasks of processes under way.
    pub tasks: Option<u32>,
    /// Bytes that rewrites begun on one day read.
    pub bytes_a_day: Option<Bytes>,
    /// What rewrites begun in one month cost.
    pub cost_a_month: Option<NanoDollars>,
}

impl Quota {
    /// Whether it limits nothing.
    pub fn is_unlimited(&self) -> bool {
        *self == Self::default()
    }
}

/// What a process takes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Usage {
    /// Tasks.
    pub tasks: u32,
    /// Bytes read.
    pub bytes: Bytes,
    /// Money.
    pub cost: NanoDollars,
}

impl Usage {
    /// Both together.
    pub fn plus(self, other: Self) -> Self {
        Self {
            tasks: self.tasks.saturating_add(other.tasks),
            bytes: Bytes(self.bytes.get().saturating_add(other.bytes.get())),
            cost: NanoDollars(self.cost.get().saturating_add(other.cost.get())),
        }
    }
}

/// What is left of quotas; `None` is no limit.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Allowance {
    /// Tasks.
    pub tasks: Option<u32>,
    /// Bytes.
    pub bytes: Option<Bytes>,
    /// Money.
    pub cost: Option<NanoDollars>,
}

impl Allowance {
    /// What both leave.
    pub fn and(self, other: Self) -> Self {
        fn least<T: Ord>(a: Option<T>, b: Option<T>) -> Option<T> {
            match (a, b) {
                (Some(a), Some(b)) => Some(a.min(b)),
                (a, b) => a.or(b),
            }
        }
        Self {
            tasks: least(self.tasks, other.tasks),
            bytes: least(self.bytes, other.bytes),
            cost: least(self.cost, other.cost),
        }
    }

    /// Whether so much may be taken.
    pub fn allows(&self, usage: Usage) -> bool {
        self.tasks.is_none_or(|left| usage.tasks <= left)
            && self.bytes.is_none_or(|left| usage.bytes <= left)
            && self.cost.is_none_or(|left| usage.cost <= left)
    }
}

/// What a process wants of its quotas at its start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reservation {
    /// The quotas, by scope.
    pub of: Vec<(Scope, Quota)>,
    /// What it will take of each, as far as can be told.
    pub usage: Usage,
}

/// What is limited.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Resource {
    /// Tasks of processes under way.
    Tasks,
    /// Bytes of a day.
    Bytes,
    /// Money of a month.
    Cost,
    /// Places in the quota's row.
    Processes,
}

/// A quota that does not allow a process now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shortage {
    /// Whose quota.
    pub scope: Scope,
    /// Of what.
    pub resource: Resource,
    /// One line for people.
    pub reason: String,
    /// When there is more of it; `None` when something under way ends.
    pub until: Option<TimestampMs>,
}

impl fmt::Display for Shortage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.reason)
    }
}

/// What a process under way holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Held {
    /// How much.
    pub usage: Usage,
    /// When it started.
    pub since: TimestampMs,
}

/// What was taken of one scope's quota.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QuotaRow {
    /// Whose.
    pub scope: Scope,
    /// The newest day that something was reserved on: its first moment.
    pub day: TimestampMs,
    /// The newest month: its first moment.
    pub month: TimestampMs,
    /// Bytes of processes that began on that day and have ended.
    pub booked_bytes: Bytes,
    /// Money of processes that began in that month and have ended.
    pub booked_cost: NanoDollars,
    /// Processes under way.
    pub held: BTreeMap<ProcessId, Held>,
}

impl QuotaRow {
    /// The row of a scope of whose quota nothing was ever taken.
    pub fn unused(scope: Scope) -> Self {
        Self {
            scope,
            day: TimestampMs(0),
            month: TimestampMs(0),
            booked_bytes: Bytes::ZERO,
            booked_cost: NanoDollars::ZERO,
            held: BTreeMap::new(),
        }
    }

    /// Tasks of processes under way.
    pub fn tasks(&self) -> u32 {
        let held = self.held.values().map(|held| held.usage.tasks);
        held.fold(0, u32::saturating_add)
    }

    /// Bytes of the day, those of processes under way included.
    pub fn bytes_of_day(&self, now: TimestampMs) -> Bytes {
        let row = self.rolled(now);
        let held = row.held.values().filter(|held| held.since >= row.day);
        let sum = held.fold(row.booked_bytes.get(), |sum, held| {
            sum.saturating_add(held.usage.bytes.get())
        });
        Bytes(sum)
    }

    /// Money of the month, that of processes under way included.
    pub fn cost_of_month(&self, now: TimestampMs) -> NanoDollars {
        let row = self.rolled(now);
        let held = row.held.values().filter(|held| held.since >= row.month);
        let sum = held.fold(row.booked_cost.get(), |sum, held| {
            sum.saturating_add(held.usage.cost.get())
        });
        NanoDollars(sum)
    }

    /// What `quota` leaves at `now`.
    pub fn left(&self, quota: &Quota, now: TimestampMs) -> Allowance {
        Allowance {
            tasks: quota.tasks.map(|most| most.saturating_sub(self.tasks())),
            bytes: quota
                .bytes_a_day
                .map(|most| most.saturating_sub(self.bytes_of_day(now))),
            cost: quota
                .cost_a_month
                .map(|most| most.saturating_sub(self.cost_of_month(now))),
        }
    }

    /// Why `usage` more can't be taken at `now`, if it can't. Of what is over its quota, since a process took more than was
    /// thought, nothing is taken, however little.
    pub fn shortage(&self, quota: &Quota, usage: Usage, now: TimestampMs) -> Option<Shortage> {
        let left = self.left(quota, now);
        let scope = &self.scope;
        let short = |resource, reason, until| {
            Some(Shortage {
                scope: scope.clone(),
                resource,
                reason,
                until,
            })
        };
        if let (Some(most), Some(left)) = (quota.cost_a_month, left.cost)
            && (usage.cost > left || self.cost_of_month(now) > most)
        {
            let (spent, wanted) = (self.cost_of_month(now), usage.cost);
            let mut reason = format!(
                "{scope} may cost {most} a month: {spent} are spent or promised, and this needs {wanted}"
            );
            if wanted > most {
                reason.push_str("; no month has so much, so raise the quota");
            }
            return short(Resource::Cost, reason, Some(next_month(now)));
        }
        if let (Some(most), Some(left)) = (quota.bytes_a_day, left.bytes)
            && (usage.bytes > left || self.bytes_of_day(now) > most)
        {
            let (taken, wanted) = (self.bytes_of_day(now), usage.bytes);
            let mut reason = format!(
                "{scope} may have {most} a day rewritten: {taken} are done or under way, and this needs {wanted}"
            );
            if wanted > most {
                reason.push_str(
                    "; no day has so much, so raise the quota, or lower icepress.max-group-bytes",
                );
            }
            return short(Resource::Bytes, reason, Some(next_day(now)));
        }
        if let (Some(most), Some(left)) = (quota.tasks, left.tasks)
            && usage.tasks > left
        {
            let under_way = self.tasks();
            let reason =
                format!("{scope} may have {most} tasks at once: {under_way} are under way");
            return short(Resource::Tasks, reason, None);
        }
        if self.held.len() >= LARGEST_NUMBER_HELD {
            let reason = format!("{scope} has {LARGEST_NUMBER_HELD} processes under way");
            return short(Resource::Processes, reason, None);
        }
        None
    }

    /// The row with `usage` reserved for a process. Again is harmless.
    pub fn reserve(
        &self,
        quota: &Quota,
        process: &ProcessId,
        usage: Usage,
        now: TimestampMs,
    ) -> Result<Self, Shortage> {
        let mut row = self.rolled(now);
        if row.held.contains_key(process) {
            return Ok(row);
        }
        if let Some(shortage) = row.shortage(quota, usage, now) {
            return Err(shortage);
        }
        // A clock that is behind must not book to a day that is over.
        let since = now.max(row.day).max(row.month);
        row.held.insert(process.clone(), Held { usage, since });
        Ok(row)
    }

    /// The row with what a process did take in the place of what it was thought to; `None` where it holds nothing, or just
    /// that.
    pub fn correct(&self, process: &ProcessId, usage: Usage) -> Option<Self> {
        let held = self.held.get(process)?;
        if held.usage == usage {
            return None;
        }
        let mut row = self.clone();
        row.held.insert(
            process.clone(),
            Held {
                usage,
                since: held.since,
            },
        );
        Some(row)
    }

    /// The row once a process has ended: what it held is booked. `None` where it holds nothing.
    pub fn release(&self, process: &ProcessId) -> Option<Self> {
        let mut row = self.clone();
        let held = row.held.remove(process)?;
        if held.since >= row.day {
            let booked = row.booked_bytes.get();
            row.booked_bytes = Bytes(booked.saturating_add(held.usage.bytes.get()));
        }
        if held.since >= row.month {
            let booked = row.booked_cost.get();
            row.booked_cost = NanoDollars(booked.saturating_add(held.usage.cost.get()));
        }
        Some(row)
    }

    /// The row on the day of `now`: what was booked on earlier days, or in earlier months, counts no more.
    fn rolled(&self, now: TimestampMs) -> Self {
        let mut row = self.clone();
        let (day, month) = (first_of_day(now), first_of_month(now));
        if day > row.day {
            row.day = day;
            row.booked_bytes = Bytes::ZERO;
        }
        if month > row.month {
            row.month = month;
            row.booked_cost = NanoDollars::ZERO;
        }
        row
    }
}

fn date(at: TimestampMs) -> civil::Date {
    let at = Timestamp::from_millisecond(at.get()).unwrap_or(Timestamp::UNIX_EPOCH);
    at.to_zoned_datetime(TimeZone::UTC).date()
}

fn start_of(date: civil::Date) -> TimestampMs {
    let start = date.to_zoned_datetime(TimeZone::UTC);
    // UTC has each midnight, but for the very last day that there is.
    TimestampMs(start.map_or(i64::MAX, |start| start.timestamp().as_millisecond()))
}

fn first_of_day(now: TimestampMs) -> TimestampMs {
    start_of(date(now))
}

fn first_of_month(now: TimestampMs) -> TimestampMs {
    start_of(date(now).first_of_month())
}

/// When the day of `now` is over, by UTC.
fn next_day(now: TimestampMs) -> TimestampMs {
    start_of(date(now).saturating_add(1.day()))
}

/// When the month of `now` is over, by UTC.
fn next_month(now: TimestampMs) -> TimestampMs {
    start_of(date(now).first_of_month().saturating_add(1.month()))
}

#[cfg(test)]
mod tests;
