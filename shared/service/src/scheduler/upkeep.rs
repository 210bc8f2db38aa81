//! Upkeep beside rewrites: for which kind of process a table is due, why, what it is worth, and when the table is looked at
//! again for its sake.
//!
//! A table has one process under way at a time, of whatever kind. So no two kinds ever meet on a table in our own hands, and a
//! rewrite's base can't be expired by ours: pins are for what people do by hand beside it. Rewrites come first; upkeep comes
//! where there is nothing to rewrite, or where the last process was a rewrite, so that a table that is always written keeps
//! neither waiting for ever. Each kind rests between two runs, so that together they take a table little of its time.

mod prospects;
mod start;
pub(crate) mod told;

use std::{collections::BTreeMap, time::Duration};

use icepress_coordination::{ProcessRow, ProcessState};
use icepress_model::{Bytes, NanoDollars, ProcessKind, ProcessOutcome, SnapshotId, TimestampMs};
use serde::{Deserialize, Serialize};

pub(super) use self::{
    prospects::{Prospect, Worth},
    start::{Beginning, start},
    told::tell_of,
};
pub(crate) use self::{
    prospects::{Prospects, Read, expire_request, wants_layout},
    start::{UpkeepHeader, UpkeepTask},
};
use crate::Settings;

/// Where a run costs more than it saves in a month the rest is so many times as long: what is dead goes all the same, only not
/// as soon.
const LONGER: u32 = 24;
/// By how much the clock of whoever wrote last may be behind ours.
const CLOCKS_DIFFER: Duration = Duration::from_secs(900);

/// When each kind was last done for a table: it stands in the header of every process, handed on from one to the next.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Memory(BTreeMap<ProcessKind, Run>);

/// The last run of a kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct Run {
    /// When it began.
    at: TimestampMs,
    /// Runs in a row that failed, this one the last.
    #[serde(default)]
    failures: u32,
    /// Whether it ended at one of its limits.
    #[serde(default)]
    unfinished: bool,
}

/// The one entry of a header that memory is read from, whatever the kind of its process.
#[derive(Deserialize)]
struct Remembering {
    #[serde(default)]
    upkeep: Memory,
}

impl Memory {
    /// What a table's newest process hands on, and what it was itself. One that only looked at the table hands on nothing,
    /// and must not be asked.
    pub(crate) fn after(newest: Option<&ProcessRow>) -> Self {
        let Some(newest) = newest else {
            return Self::default();
        };
        let header: Option<Remembering> = serde_json::from_str(&newest.header).ok();
        let mut memory = header.map(|header| header.upkeep).unwrap_or_default();
        if newest.kind == ProcessKind::Rewrite {
            return memory;
        }
        let before = memory.0.get(&newest.kind).map_or(0, |run| run.failures);
        let (failures, unfinished) = match &newest.state {
            ProcessState::Ended(ProcessOutcome::Maintained { unfinished, .. }) => (0, *unfinished),
            ProcessState::Ended(ProcessOutcome::Abandoned { .. }) => (before, false),
            _ => (before.saturating_add(1), false),
        };
        let run = Run {
            at: newest.created_at,
            failures,
            unfinished,
        };
        memory.0.insert(newest.kind, run);
        memory
    }
}

/// What is to be done beside rewrites.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Verdict {
    /// What is due now, in the order in which it is done.
    pub(crate) due: Vec<Due>,
    /// When the table is to be looked at again for the sake of a kind, if nothing else happens.
    pub(crate) later: BTreeMap<ProcessKind, TimestampMs>,
    /// The same for any kind, once a commit of ours is made.
    pub(crate) next_after_commit: Option<TimestampMs>,
    /// What is switched on and can't be done, and why.
    pub(crate) refused: BTreeMap<ProcessKind, String>,
}

/// A kind that is due.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct Due {
    /// Which.
    pub(crate) kind: ProcessKind,
    /// Why.
    #[serde(flatten)]
    pub(crate) worth: Worth,
}

impl Verdict {
    /// When the table is to be looked at again for upkeep's sake, if nothing else happens.
    pub(crate) fn next(&self) -> Option<TimestampMs> {
        self.later.values().min().copied()
    }
}

/// Decides from what there is to do and when it was done last. Of several kinds that are due the first in their order is done;
/// the others come next.
pub(crate) fn decide(
    settings: &Settings,
    prospects: &Prospects,
    memory: &Memory,
    now: TimestampMs,
) -> Verdict {
    let mut verdict = Verdict::default();
    for (kind, prospect) in prospects.in_order() {
        let (worth, next, next_after_commit, as_of, rest) = match prospect {
            Prospect::Work {
                now,
                next,
                next_after_commit,
                as_of,
                rest,
            } => (now, *next, *next_after_commit, *as_of, *rest),
            Prospect::Refused(message) => {
                verdict.refused.insert(kind, message.clone());
                continue;
            }
        };
        let rest = rest.unwrap_or(settings.upkeep_rest);
        let last = memory.0.get(&kind);
        let is_seen_to = last.zip(as_of).is_some_and(|(run, as_of)| {
            run.failures == 0 && !run.unfinished && run.at >= as_of + CLOCKS_DIFFER
        });
        // What was written down to be deleted is nowhere in the table.
        let goes_on = last.filter(|run| kind.deletes() && (run.unfinished || run.failures > 0));
        let worth = match (worth, goes_on) {
            (Some(worth), _) if !is_seen_to => worth.clone(),
            (_, Some(_)) => Worth {
                reason: "an earlier run left something to be done".to_owned(),
                saves_a_month: Some(NanoDollars::ZERO),
                costs: NanoDollars::ZERO,
                frees: Bytes::ZERO,
            },
            (_, None) => {
                let rested = |at: TimestampMs| last.map_or(at, |run| at.max(run.at + rest));
                if let Some(at) = next {
                    verdict.later.insert(kind, rested(at));
                }
                if let Some(at) = next_after_commit {
                    verdict.comes_after_a_commit(rested(at));
                }
                continue;
            }
        };
        let ready = last.map_or(now, |run| {
            if run.unfinished {
                return now;
            }
            let rest = match worth.is_worth_it() {
                true => rest,
                false => rest * LONGER,
            };
            // What failed is not put off for as long as what was done.
            let rest = match run.failures {
                0 => rest,
                _ => rest.min(settings.upkeep_rest * LONGER),
            };
            run.at + rest.max(settings.backoff(run.failures))
        });
        verdict.comes_after_a_commit(ready.max(now));
        if ready <= now {
            verdict.due.push(Due { kind, worth });
        } else {
            verdict.later.insert(kind, ready);
        }
    }
    verdict
}

impl Verdict {
    fn comes_after_a_commit(&mut self, at: TimestampMs) {
        let next = self.next_after_commit.map_or(at, |next| next.min(at));
        self.next_after_commit = Some(next);
    }
}

/// The snapshot that a table's process of this kind works on, where it needs one.
pub(crate) fn needs_snapshot(kind: ProcessKind, current: Option<SnapshotId>) -> Option<SnapshotId> {
    current.filter(|_| !kind.deletes())
}

/// Bytes that a run of upkeep counts against quotas: it reads no data.
pub(super) const READS: Bytes = Bytes::ZERO;

#[cfg(test)]
mod tests;
