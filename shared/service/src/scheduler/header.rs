//! What a process row keeps beside its tasks.

use icepress_coordination::{ProcessRow, ProcessState, limits::Usage};
use icepress_model::{BaseState, ProcessOutcome};
use serde::{Deserialize, Serialize};

/// What the commit needs to know of the plan.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ProcessHeader {
    /// The state that was planned on.
    pub(crate) base: BaseState,
    /// Whether the table deserves another plan right after the commit.
    pub(crate) follow_up: bool,
    /// The table's failures in a row when the process began.
    pub(crate) failures: u32,
    /// The most data files that its groups might have, because larger ones had lost against another writer.
    #[serde(default)]
    pub(crate) shrunk_to: Option<u64>,
    /// What it reserved of its quotas.
    #[serde(default)]
    pub(crate) reserved: Usage,
}

/// How many data files a group may have in the plan that follows a process; `None` for as many as ever.
pub(crate) fn shrunk_to(process: &ProcessRow) -> Option<u64> {
    let ProcessState::Ended(outcome) = &process.state else {
        return None;
    };
    match outcome {
        ProcessOutcome::PartlyCommitted { lost_files, .. }
        | ProcessOutcome::Failed { lost_files, .. }
            if *lost_files > 0 =>
        {
            Some(lost_files / 2)
        }
        _ => {
            let header: ProcessHeader = serde_json::from_str(&process.header).ok()?;
            // Beyond this it is no limit to speak of.
            const LARGE: u64 = 1_000;
            header
                .shrunk_to?
                .checked_mul(2)
                .filter(|files| *files < LARGE)
        }
    }
}

#[cfg(test)]
mod tests;
