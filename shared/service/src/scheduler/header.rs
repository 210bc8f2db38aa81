//! What a process row keeps beside its tasks, and what the next plan learns from it.

use std::{collections::BTreeSet, sync::Arc};

use icepress_coordination::{ProcessRow, ProcessState, limits::Usage};
use icepress_model::{BaseState, Bytes, Pace, ProcessOutcome, TablePlan, TimestampMs};
use icepress_planner::{Ceiling, LastRun, PlanOptions, Repeated, files_of, path_hash};
use serde::{Deserialize, Serialize};

use super::upkeep::Memory;
use crate::{Settings, VERSION, ground::plans::Sources};

/// What the commit needs to know of the plan, and the next plan of this one. It stands in the process's row, and is of a
/// bounded size.
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
    /// What the plan was made of: a commit reads it too.
    #[serde(flatten)]
    pub(crate) sources: Sources,
    /// What was known of the table's groups when it was planned.
    #[serde(default)]
    pub(crate) learned: Learned,
    /// When each kind of upkeep was done last.
    #[serde(default)]
    pub(crate) upkeep: Memory,
    /// When the table is to be looked at for upkeep's sake, once this has ended.
    #[serde(default)]
    pub(crate) tidied_at: Option<TimestampMs>,
}

/// What processes taught about a table's groups, handed on from one to the next.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Learned {
    /// Under what it was learned: settings, an optimizer's memory and time, and the program. What was learned under
    /// another counts no more.
    key: u64,
    /// The most data files of a group, because more were too much for a worker.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    files: Option<u64>,
    /// The same in bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    bytes: Option<Bytes>,
    /// Processes since in which nothing was too much.
    #[serde(default)]
    calm: u32,
    /// Files that were too much each alone.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    hopeless: Vec<u64>,
    /// How fast the table's groups are rewritten.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) pace: Option<Pace>,
    /// Groups that repeated what had been done.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    repeats: Vec<u64>,
    /// See [`LastRun::rounds`].
    #[serde(default)]
    rounds: u32,
    /// Data files that the process takes.
    #[serde(default)]
    files_then: u64,
    /// So many of the next evaluations are an optimizer's, because schedulers died at those before.
    #[serde(default)]
    pub(crate) elsewhere: u32,
}

/// After so many calm processes groups may be twice as large again: what was too much need not be there any more.
const CALM: u32 = 4;
/// Beyond these a limit is none to speak of.
const MANY_FILES: u64 = 5_000;
const MANY_BYTES: Bytes = Bytes::mebibytes(64 << 10);
/// How many hopeless files are remembered; of more the newest. The others are found out again.
const REMEMBERED: usize = 100;

/// What the next plan of a table should know.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Known {
    /// How many data files a group may have after lost races; `None` for as many as ever.
    pub(crate) shrunk_to: Option<u64>,
    pub(crate) learned: Learned,
    /// The last process, where its files are no reason for more work of the same kind.
    pub(crate) last: Option<LastRun>,
}

impl Known {
    /// From a table's last process, for a plan under `key`.
    pub(crate) fn from(process: Option<&ProcessRow>, key: u64) -> Self {
        let fresh = Learned {
            key,
            ..Learned::default()
        };
        let (Some(process), Some(header)) = (process, process.and_then(header_of)) else {
            return Self {
                learned: fresh,
                ..Self::default()
            };
        };
        let ProcessState::Ended(outcome) = &process.state else {
            return Self {
                learned: fresh,
                ..Self::default()
            };
        };
        let shrunk_to = shrunk_to(&header, outcome);
        if header.learned.key != key {
            return Self {
                shrunk_to,
                learned: fresh,
                last: None,
            };
        }
        Self {
            shrunk_to,
            last: Some(LastRun {
                process: process.process.clone(),
                rounds: header.learned.rounds,
                files: header.learned.files_then,
                known: header.learned.repeats.clone(),
            }),
            learned: header.learned.after(outcome),
        }
    }

    /// The ceiling of the next plan's groups.
    pub(crate) fn ceiling(&self, settings: &Settings, options: &PlanOptions) -> Ceiling {
        let in_time = settings.largest_group(self.learned.pace, options.verify_rows);
        let learned = self.learned.bytes;
        Ceiling {
            after_losses: self.shrunk_to,
            files: self.learned.files,
            bytes: in_time.into_iter().chain(learned).min(),
            hopeless: Arc::new(BTreeSet::from_iter(self.learned.hopeless.iter().copied())),
        }
    }
}

impl Learned {
    /// What is known after a process that began with this.
    fn after(mut self, outcome: &ProcessOutcome) -> Self {
        let Some(lessons) = outcome.lessons() else {
            return self;
        };
        if let Some(pace) = lessons.pace {
            self.pace = Some(self.pace.unwrap_or_default().then(pace));
        }
        if let Some(size) = lessons.too_much {
            self.files = Some((size.files / 2).max(1));
            self.bytes = Some(Bytes((size.bytes.get() / 2).max(1)));
            self.calm = 0;
        } else if !lessons.hopeless.is_empty() {
            self.calm = 0;
        } else if self.files.is_some() || self.bytes.is_some() {
            self.calm += 1;
            if self.calm >= CALM {
                let files = self.files.map(|files| files.saturating_mul(2));
                let bytes = self.bytes.map(|bytes| Bytes(bytes.get().saturating_mul(2)));
                self.files = files.filter(|files| *files < MANY_FILES);
                self.bytes = bytes.filter(|bytes| *bytes < MANY_BYTES);
                self.calm = 0;
            }
        }
        self.hopeless.extend(&lessons.hopeless);
        let forgotten = self.hopeless.len().saturating_sub(REMEMBERED);
        self.hopeless.drain(..forgotten);
        self
    }

    /// What the process of this plan hands on.
    pub(crate) fn with_plan(mut self, plan: &TablePlan, repeated: &Repeated) -> Self {
        self.repeats.clone_from(&repeated.known);
        self.rounds = repeated.rounds;
        self.files_then = files_of(plan);
        self.elsewhere = 0;
        self
    }
}

/// Under what something is learned: `options` as they hold for the table.
pub(crate) fn key_of(settings: &Settings, options: &PlanOptions) -> u64 {
    // Where functions work, their memory counts, and not that of a command that plans for them.
    let memory = match settings.optimizer_limit {
        Some(_) => settings.billed_memory,
        None => settings.memory_cap,
    };
    let limit = settings.optimizer_limit.unwrap_or_default();
    let (set, granularity) = (options.settings(), options.delete_granularity);
    path_hash(&format!(
        "{VERSION} {memory} {limit:?} {granularity:?} {set:?}"
    ))
}

pub(crate) fn header_of(process: &ProcessRow) -> Option<ProcessHeader> {
    serde_json::from_str(&process.header).ok()
}

/// How many data files a group may have in the plan that follows a process (case C05): half of the largest that lost
/// against another writer, and twice as many again with each process that lost none. `None` for as many as ever.
fn shrunk_to(header: &ProcessHeader, outcome: &ProcessOutcome) -> Option<u64> {
    let lost = outcome.lessons().map_or(0, |lessons| lessons.lost_files);
    if lost > 0 {
        return Some(lost / 2);
    }
    // Beyond this it is no limit to speak of.
    const LARGE: u64 = 1_000;
    let doubled = header.shrunk_to?.checked_mul(2);
    doubled.filter(|files| *files < LARGE)
}

#[cfg(test)]
mod tests;
