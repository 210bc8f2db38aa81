//! Why a table that is due is not worked on: what its row's conclusion says of it beside the rest.

use std::time::Duration;

use icepress_coordination::{Conclusion, TableRow};
use icepress_model::{Scope, TimestampMs};
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::conclusion::{entry, with_entry, without_entry};
use crate::Context;

/// The entry of a table's conclusion that says what it waits for.
const WAITS: &str = "waits";
/// The entry that says which priority its own properties give it.
const PRIORITY: &str = "priority";

/// What a table waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum WaitsFor {
    /// The end of a blocker.
    Blocker,
    /// The opening of its maintenance window.
    Window,
    /// A quota's next day or month.
    Quota,
    /// The end of processes that hold all of a quota's tasks.
    Tasks,
    /// A catalog, a storage or a store that asks for fewer requests.
    Requests,
}

impl WaitsFor {
    /// Its word, as it stands in rows.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Blocker => "blocker",
            Self::Window => "window",
            Self::Quota => "quota",
            Self::Tasks => "tasks",
            Self::Requests => "requests",
        }
    }
}

/// That a table waits.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Waiting {
    /// For what.
    #[serde(rename = "for")]
    pub waits_for: WaitsFor,
    /// One line for people.
    pub reason: String,
    /// Whose quota it waits for: `catalog lake`, as scopes are written.
    #[serde(rename = "quota", default, skip_serializing_if = "Option::is_none")]
    pub quota_of: Option<String>,
    /// When that is over, as far as is known. It is looked at again by then, or earlier.
    pub until: Option<TimestampMs>,
    /// Since when it has waited; its turn among others is reckoned from then.
    pub since: TimestampMs,
}

impl Waiting {
    /// What a row says of it; `None` where the table does not wait.
    pub fn of(row: &TableRow) -> Option<Self> {
        serde_json::from_value(entry(row, WAITS)?).ok()
    }
}

/// A reason to wait that was found just now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Obstacle {
    pub(crate) waits_for: WaitsFor,
    pub(crate) reason: String,
    /// Whose quota it is, where it is one.
    pub(crate) quota_of: Option<Scope>,
    pub(crate) until: Option<TimestampMs>,
}

impl Obstacle {
    /// That somebody asked for fewer requests, who is asked again after a wait that doubles: no failure of the table.
    pub(crate) fn throttled(context: &Context, row: &TableRow, message: String) -> Self {
        let now = context.ambient.now();
        let settings = &context.settings;
        let waited = Waiting::of(row)
            .filter(|waits| waits.waits_for == WaitsFor::Requests)
            .map_or(Duration::ZERO, |waits| now.since(waits.since));
        let wait = waited.min(settings.longest_rest).max(settings.slot_wait);
        Self {
            waits_for: WaitsFor::Requests,
            reason: message,
            quota_of: None,
            until: Some(now + wait + context.ambient.jitter(wait / 4)),
        }
    }

    /// What to write about a table that waits for it. Mark, failures and what was concluded before stay as they are.
    ///
    /// The next look is when the wait is over, but not later than the longest pause: somebody may raise a quota, or delete
    /// a blocker's row by hand.
    pub(crate) fn conclusion(&self, context: &Context, row: &TableRow) -> Conclusion {
        let now = context.ambient.now();
        let settings = &context.settings;
        let latest = now + settings.longest_backoff;
        let next_look = match self.waits_for {
            WaitsFor::Tasks => now + settings.slot_wait,
            WaitsFor::Blocker | WaitsFor::Window | WaitsFor::Quota | WaitsFor::Requests => {
                self.until.map_or(latest, |until| until.min(latest))
            }
        };
        let since = Waiting::of(row).map_or_else(|| row.due_at.unwrap_or(now), |waits| waits.since);
        let waiting = Waiting {
            waits_for: self.waits_for,
            reason: self.reason.clone(),
            quota_of: self.quota_of.as_ref().map(Scope::to_string),
            until: self.until,
            since,
        };
        Conclusion {
            evaluated_location: None,
            text: with_entry(row.conclusion.as_deref(), WAITS, json!(waiting)),
            // A look that would be due at once would be done again and again.
            next_due_at: Some(next_look.max(now + Duration::from_millis(1))),
            failures: row.failures,
        }
    }
}

/// A conclusion without the entry that says that the table waits.
pub(crate) fn no_longer_waiting(row: &TableRow) -> String {
    without_entry(row.conclusion.as_deref().unwrap_or_default(), WAITS)
}

/// Notes the priority that a table's own properties gave it at this look.
pub(crate) fn with_priority(conclusion: &str, priority: i32) -> String {
    with_entry(Some(conclusion), PRIORITY, json!(priority))
}

/// A table's priority as the last look at it found it.
pub(crate) fn priority_of(row: &TableRow) -> Option<i32> {
    i32::try_from(entry(row, PRIORITY)?.as_i64()?).ok()
}
