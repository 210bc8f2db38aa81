//! What a look at a store or a queue found: a line for people, and whether anything has to be done.

use serde::Serialize;

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Severity {
    /// As it should be.
    Well,
    /// Works, but somebody should look, or it could not be looked at.
    Doubt,
    /// Does not work until somebody mends it.
    Wrong,
}

/// One thing that was looked at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// How bad it is.
    pub severity: Severity,
    /// What was looked at: `state table icepress`, `queue of bucket 3`.
    pub subject: String,
    /// What was seen, one line.
    pub seen: String,
    /// What to do about it, where something is to be done.
    pub advice: Option<String>,
}

impl Finding {
    /// As it should be.
    pub fn well(subject: impl Into<String>, seen: impl Into<String>) -> Self {
        Self {
            severity: Severity::Well,
            subject: subject.into(),
            seen: seen.into(),
            advice: None,
        }
    }

    /// Somebody should look.
    pub fn doubt(
        subject: impl Into<String>,
        seen: impl Into<String>,
        advice: impl Into<String>,
    ) -> Self {
        Self {
            severity: Severity::Doubt,
            advice: Some(advice.into()),
            ..Self::well(subject, seen)
        }
    }

    /// Somebody has to mend it.
    pub fn wrong(
        subject: impl Into<String>,
        seen: impl Into<String>,
        advice: impl Into<String>,
    ) -> Self {
        Self {
            severity: Severity::Wrong,
            ..Self::doubt(subject, seen, advice)
        }
    }
}
