//! Which programs of which version are alive: each notes itself when it starts, so that a mix of versions is seen.
//!
//! A note is for people alone. Nothing that is decided reads it, so it may be missing, late or old.

use std::{fmt, time::Duration};

use icepress_model::TimestampMs;
use serde::{Deserialize, Serialize};

/// A note that is younger than this is not written again: a thousand instances that start together write about one.
pub(crate) const NOTE_REST: Duration = Duration::from_secs(600);

/// A program that works on the state by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Component {
    /// The scheduler function.
    Scheduler,
    /// The optimizer function.
    Optimizer,
    /// The cleaner function.
    Cleaner,
    /// `icepress run`, which is all of them.
    Run,
}

impl Component {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Scheduler, Self::Optimizer, Self::Cleaner, Self::Run];

    /// Its name in rows.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Scheduler => "scheduler",
            Self::Optimizer => "optimizer",
            Self::Cleaner => "cleaner",
            Self::Run => "run",
        }
    }

    /// The component of that name.
    pub(crate) fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|one| one.as_str() == name)
    }
}

impl fmt::Display for Component {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Scheduler => "scheduler",
            Self::Optimizer => "optimizer",
            Self::Cleaner => "cleaner",
            Self::Run => "`icepress run`",
        })
    }
}

/// One version of one component, and when instances of it noted that they live.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RunningVersion {
    /// What runs.
    pub component: Component,
    /// Its version, as `0.1.0` or `0.1.0+3f2a9c1`.
    pub version: String,
    /// The first note.
    pub first_at: TimestampMs,
    /// The last note.
    pub last_at: TimestampMs,
}

/// The row once an instance has noted itself at `now`; `None` where it would say nothing new.
pub(crate) fn noted(
    before: Option<&RunningVersion>,
    component: Component,
    version: &str,
    now: TimestampMs,
) -> Option<RunningVersion> {
    let first_at = match before {
        // A clock that is behind changes nothing either.
        Some(before) if now.since(before.last_at) < NOTE_REST => return None,
        Some(before) => before.first_at,
        None => now,
    };
    Some(RunningVersion {
        component,
        version: version.to_owned(),
        first_at,
        last_at: now,
    })
}

/// Those noted within `retention`, the newest first.
pub(crate) fn newest_first(
    mut all: Vec<RunningVersion>,
    now: TimestampMs,
    retention: Duration,
) -> Vec<RunningVersion> {
    all.retain(|row| now.since(row.last_at) <= retention);
    all.sort_by(|a, b| {
        let newest = b.last_at.cmp(&a.last_at);
        newest.then_with(|| (a.component, &a.version).cmp(&(b.component, &b.version)))
    });
    all
}
