//! What a table's row tells of its upkeep: what is due, when what will be, and what can't be done.

use std::{collections::BTreeMap, fmt};

use icepress_coordination::TableRow;
use icepress_model::{NanoDollars, ProcessKind, TimestampMs};
use serde::{Deserialize, Serialize};

use super::Verdict;
use crate::scheduler::conclusion::{entry, with_entry};

/// The entry of a table's conclusion.
const UPKEEP: &str = "upkeep";

/// What was concluded of a table's upkeep when it was looked at last.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Upkeep {
    /// What was due, in the order in which it is done.
    pub due: Vec<DueUpkeep>,
    /// When the table is to be looked at for the sake of a kind, if nobody writes.
    #[serde(default)]
    pub later: BTreeMap<ProcessKind, TimestampMs>,
    /// What is switched on and can't be done, and why.
    #[serde(default)]
    pub refused: BTreeMap<ProcessKind, String>,
}

/// A kind of upkeep that was due.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct DueUpkeep {
    /// Which.
    pub kind: ProcessKind,
    /// Why.
    pub reason: String,
    /// What it costs.
    pub costs: NanoDollars,
}

impl Upkeep {
    /// What a row tells; `None` where nothing is switched on.
    pub fn of(row: &TableRow) -> Option<Self> {
        serde_json::from_value(entry(row, UPKEEP)?).ok()
    }
}

impl fmt::Display for DueUpkeep {
    /// One line for people.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            kind,
            reason,
            costs,
        } = self;
        write!(f, "{kind}: {reason} (for {costs})")
    }
}

/// A conclusion that tells of upkeep too.
pub(in crate::scheduler) fn tell_of(text: &str, verdict: &Verdict) -> String {
    if *verdict == Verdict::default() {
        return text.to_owned();
    }
    let due = verdict.due.iter().map(|due| DueUpkeep {
        kind: due.kind,
        reason: due.worth.reason.clone(),
        costs: due.worth.costs,
    });
    let told = Upkeep {
        due: due.collect(),
        later: verdict.later.clone(),
        refused: verdict.refused.clone(),
    };
    let told = serde_json::to_value(told).unwrap_or_default();
    with_entry(Some(text), UPKEEP, told)
}
