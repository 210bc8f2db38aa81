//! Upkeep beside rewrites: for which kind of process a table is due, why, what it is worth, and when the table is looked at
//! again for its sake.
//!
//! A table has one process under way at a time, of whatever kind. So no two kinds ever meet on a table in our own hands, and a
//! rewrite's base can't be expired by ours: pins are for what people do by hand beside it. Rewrites come first; upkeep comes
//! where there is nothing to rewrite, or where the last process was a rewrite, so that a table that is always written keeps
//! neither waiting for ever. Each kind rests between two runs, so that together they take a table little of its time.

mod start;

use std::{
    collections::{BTreeMap, HashMap},
    time::Duration,
};

use icepress_catalog::LoadedTable;
use icepress_coordination::{ProcessRow, ProcessState};
use icepress_model::{
    Bytes, NanoDollars, ProcessKind, ProcessOutcome, SnapshotId, TableId, TimestampMs,
};
use icepress_planner::PlanError;
use icepress_upkeep::{ExpireOutlook, ExpireRequest, Limits, expire_outlook};
use serde::{Deserialize, Serialize};

pub(super) use self::start::{Beginning, start, tell_of};
pub(crate) use self::start::{UpkeepHeader, UpkeepTask};
use super::evaluate::error::EvaluateError;
use crate::{Context, Settings};

/// Where a run costs more than it saves in a month the rest is so many times as long: what is dead goes all the same, only not
/// as soon.
const LONGER: u32 = 24;
/// How long one run of upkeep is reckoned to take.
const RECKONED: Duration = Duration::from_secs(10);

/// What each kind of upkeep that is switched on would come to.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Prospects(BTreeMap<ProcessKind, Prospect>);

/// What one kind would come to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Prospect {
    /// There is something to do now, or nothing before a moment.
    Work {
        /// What, and why it is to be done; `None` where there is nothing now.
        now: Option<Worth>,
        /// When there will be something, or something more, if nobody writes.
        next: Option<TimestampMs>,
        /// The same once a commit of ours is made.
        next_after_commit: Option<TimestampMs>,
    },
    /// The table forbids it, or says something of it that can't be read: one line for people.
    Refused(String),
}

/// Why something is to be done, and what it is worth.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct Worth {
    /// One line for people.
    pub(crate) reason: String,
    /// What it saves in a month.
    pub(crate) saves_a_month: NanoDollars,
    /// What it costs.
    pub(crate) costs: NanoDollars,
    /// What it frees.
    #[serde(default)]
    pub(crate) frees: Bytes,
}

impl Prospects {
    /// Of a table as it was loaded: told by its metadata alone.
    pub(crate) fn of(context: &Context, loaded: &LoadedTable) -> Result<Self, EvaluateError> {
        let (table, metadata) = (&loaded.table, &loaded.metadata);
        let mut prospects = BTreeMap::new();
        if is_on(
            &context.settings,
            ProcessKind::Expire,
            table,
            metadata.properties(),
        )? {
            let now = context.ambient.now();
            let request = expire_request(&context.settings, Limits::default());
            let outlook = expire_outlook(metadata, &request, now);
            let prospect = match outlook {
                Ok(outlook) => of_expiry(&context.settings, &outlook),
                Err(message) => Prospect::Refused(message),
            };
            prospects.insert(ProcessKind::Expire, prospect);
        }
        Ok(Self(prospects))
    }

    /// Whether nothing is switched on.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

fn is_on(
    settings: &Settings,
    kind: ProcessKind,
    table: &TableId,
    properties: &HashMap<String, String>,
) -> Result<bool, EvaluateError> {
    let on = settings.maintain.is_on(kind, table, properties);
    Ok(on.map_err(PlanError::from)?)
}

/// What is asked of an expiry that nobody asked for by hand.
pub(crate) fn expire_request(settings: &Settings, limits: Limits) -> ExpireRequest {
    ExpireRequest {
        floor: settings.expire_floor,
        limits,
        ..ExpireRequest::default()
    }
}

fn of_expiry(settings: &Settings, outlook: &ExpireOutlook) -> Prospect {
    let ExpireOutlook {
        snapshots,
        refs,
        files,
        bytes,
        next,
        next_after_commit,
    } = *outlook;
    if snapshots == 0 && refs == 0 {
        return Prospect::Work {
            now: None,
            next,
            next_after_commit,
        };
    }
    let saves_a_month = settings.prices.of_storage(bytes);
    // A list and about one manifest of each snapshot are read; the metadata, the record and its ticks are written. To delete
    // costs nothing.
    let (reads, writes) = (2 * snapshots + 10, 8 + files / 4_000);
    let costs = settings
        .prices
        .of_task(reads, writes, RECKONED, settings.billed_memory);
    let mut reason = match snapshots {
        1 => "1 snapshot is older than the table keeps it".to_owned(),
        snapshots => format!("{snapshots} snapshots are older than the table keeps them"),
    };
    if refs > 0 {
        reason.push_str(&format!(", {refs} branches or tags among them"));
    }
    reason.push_str(&format!(
        "; about {files} files of {bytes} are dead then, {saves_a_month} a month"
    ));
    let now = Some(Worth {
        reason,
        saves_a_month,
        costs,
        frees: bytes,
    });
    Prospect::Work {
        now,
        next,
        next_after_commit,
    }
}

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
    /// What is due now.
    pub(crate) due: Option<Due>,
    /// When the table is to be looked at again for upkeep's sake, if nothing else happens.
    pub(crate) next: Option<TimestampMs>,
    /// The same once a commit of ours is made.
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

/// Decides from what there is to do and when it was done last.
pub(crate) fn decide(
    settings: &Settings,
    prospects: &Prospects,
    memory: &Memory,
    now: TimestampMs,
) -> Verdict {
    let mut verdict = Verdict::default();
    let sooner = |next: &mut Option<TimestampMs>, at: TimestampMs| {
        *next = Some(next.map_or(at, |next| next.min(at)));
    };
    for (kind, prospect) in &prospects.0 {
        let (worth, next, next_after_commit) = match prospect {
            Prospect::Work {
                now,
                next,
                next_after_commit,
            } => (now, *next, *next_after_commit),
            Prospect::Refused(message) => {
                verdict.refused.insert(*kind, message.clone());
                continue;
            }
        };
        let last = memory.0.get(kind);
        let goes_on = last.filter(|run| run.unfinished || run.failures > 0);
        let worth = match (worth, goes_on) {
            (Some(worth), _) => worth.clone(),
            (None, Some(_)) => Worth {
                reason: "an earlier run left something to be done".to_owned(),
                saves_a_month: NanoDollars::ZERO,
                costs: NanoDollars::ZERO,
                frees: Bytes::ZERO,
            },
            (None, None) => {
                let rested =
                    |at: TimestampMs| last.map_or(at, |run| at.max(run.at + settings.upkeep_rest));
                let places = [
                    (&mut verdict.next, next),
                    (&mut verdict.next_after_commit, next_after_commit),
                ];
                for (place, at) in places {
                    if let Some(at) = at {
                        sooner(place, rested(at));
                    }
                }
                continue;
            }
        };
        let ready = last.map_or(now, |run| {
            if run.unfinished {
                return now;
            }
            let is_worth_it = worth.saves_a_month >= worth.costs;
            let rest = match is_worth_it {
                true => settings.upkeep_rest,
                false => settings.upkeep_rest * LONGER,
            };
            run.at + rest.max(settings.backoff(run.failures))
        });
        sooner(&mut verdict.next_after_commit, ready.max(now));
        if ready > now {
            sooner(&mut verdict.next, ready);
        } else if verdict.due.is_none() {
            verdict.due = Some(Due { kind: *kind, worth });
        }
    }
    verdict
}

/// The snapshot that a table's process of this kind works on, where it needs one.
pub(crate) fn needs_snapshot(kind: ProcessKind, current: Option<SnapshotId>) -> Option<SnapshotId> {
    current.filter(|_| !kind.deletes())
}

/// Bytes that a run of upkeep counts against quotas: it reads no data.
pub(super) const READS: Bytes = Bytes::ZERO;

#[cfg(test)]
mod tests;
