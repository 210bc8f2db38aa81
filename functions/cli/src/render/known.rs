//! What is known of a table and of its past.

use std::{cmp::Ordering, time::Duration};

use clap::ValueEnum;
use icepress_coordination::{ProcessRow, ProcessState, TableRow};
use icepress_model::{
    Bytes, MetadataLocation, ProcessKind, ProcessOutcome, TableId, TablePlan, TimestampMs,
};
use icepress_service::{Observed, Upkeep, Waiting};
use serde::Serialize;
use serde_json::Value;

use super::{count, counted, report::health};

/// An order of tables.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum SortBy {
    Name,
    Health,
    Files,
    Bytes,
    DeleteFiles,
    Failures,
}

/// Where a table stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub(crate) enum State {
    /// Never looked at.
    New,
    /// To be looked at now.
    Due,
    /// A process is under way.
    Working,
    /// The last tries failed; it waits for the next.
    Failing,
    /// It waits for the end of a blocker, its maintenance window, or a quota.
    Waiting,
    /// Left alone for a reason that only a person can change.
    Refused,
    /// Looked at, and nothing is begun: it is only observed.
    Observed,
    /// Looked at, and nothing is due.
    Settled,
    /// What is known of it can't be read.
    Unreadable,
}

/// What is known of a table.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Known {
    table: String,
    state: State,
    metadata_location: Option<MetadataLocation>,
    health: Option<f64>,
    files: Option<u64>,
    bytes: Option<Bytes>,
    delete_files: Option<u64>,
    /// Whether Icepress has rewritten it after the look that the sizes are of.
    rewritten_since: bool,
    failures: u32,
    failure: Option<String>,
    refused: Option<String>,
    waits: Option<Waiting>,
    /// What would be done, where it was only observed at the last look.
    observed: Option<Observed>,
    /// Why an optimizer looks at it in a scheduler's place, where one does.
    #[serde(skip_serializing_if = "Option::is_none")]
    elsewhere: Option<String>,
    /// What was due of upkeep at the last look, what will be, and what can't be done.
    #[serde(skip_serializing_if = "Option::is_none")]
    upkeep: Option<Upkeep>,
}

impl Known {
    /// From the table's row, and where the table is now if that was looked at. Sizes and health are those of the last look at it.
    pub(crate) fn new(
        table: &TableId,
        now_at: Option<&MetadataLocation>,
        row: Option<&TableRow>,
        now: TimestampMs,
    ) -> Self {
        let concluded: Option<Value> = row
            .and_then(|row| row.conclusion.as_deref())
            .and_then(|text| serde_json::from_str(text).ok());
        let number = |path: &str| concluded.as_ref()?.pointer(path)?.as_u64();
        let text = |path: &str| Some(concluded.as_ref()?.pointer(path)?.as_str()?.to_owned());
        let refused = text("/refused");
        let waits = row.and_then(Waiting::of);
        let observed = row.and_then(Observed::of);
        let is_waiting = waits.is_some()
            && row
                .and_then(|row| row.due_at)
                .is_some_and(|due_at| due_at > now);
        let state = match state(now_at, row, now) {
            State::Settled | State::Due if is_waiting => State::Waiting,
            State::Settled if refused.is_some() => State::Refused,
            State::Settled if observed.is_some() => State::Observed,
            state => state,
        };
        let has_planned_work =
            observed.is_none() && number("/groups").is_some_and(|groups| groups > 0);
        let rewritten_since = has_planned_work && row.is_some_and(was_rewritten);
        Self {
            table: table.to_string(),
            state,
            metadata_location: match (now_at, row) {
                (Some(location), _) => Some(location.clone()),
                (None, Some(row)) => last_seen(row, rewritten_since).cloned(),
                (None, None) => None,
            },
            health: concluded
                .as_ref()
                .and_then(|value| value.pointer("/health/score")?.as_f64()),
            files: number("/totals/data_files"),
            bytes: number("/totals/data_bytes").map(Bytes),
            delete_files: number("/totals/delete_files"),
            rewritten_since,
            failures: row.map_or(0, |row| row.failures),
            failure: text("/failure"),
            refused,
            waits,
            observed,
            elsewhere: text("/elsewhere/reason"),
            upkeep: row.and_then(Upkeep::of),
        }
    }

    /// Of a table whose row can't be read.
    pub(crate) fn unreadable(table: &TableId, error: &str) -> Self {
        Self {
            state: State::Unreadable,
            failure: Some(error.to_owned()),
            ..Self::new(table, None, None, TimestampMs(0))
        }
    }

    #[cfg(test)]
    pub(crate) fn known_bytes(&self) -> Option<u64> {
        self.bytes.map(Bytes::get)
    }

    /// The table's name.
    pub(crate) fn name(&self) -> &str {
        &self.table
    }

    /// Where it stands.
    pub(crate) fn state(&self) -> State {
        self.state
    }

    /// What would be done, where it was only observed at the last look.
    pub(crate) fn observed(&self) -> Option<&Observed> {
        self.observed.as_ref()
    }

    /// Whether it was looked at, so that sizes and health are known.
    pub(crate) fn was_evaluated(&self) -> bool {
        self.files.is_some()
    }

    /// How well it was at the last look, from 0 to 100.
    pub(crate) fn health(&self) -> Option<f64> {
        self.health
    }

    /// Whether Icepress has rewritten it since the look that sizes and health are of.
    pub(crate) fn was_rewritten_since(&self) -> bool {
        self.rewritten_since
    }

    /// What comes first in an order; what is not known comes last, and what is the same goes by name.
    pub(crate) fn compare(&self, other: &Self, by: SortBy) -> Ordering {
        fn least_first<T: PartialOrd>(a: Option<T>, b: Option<T>) -> Ordering {
            match (a, b) {
                (Some(a), Some(b)) => a.partial_cmp(&b).unwrap_or(Ordering::Equal),
                (a, b) => b.is_some().cmp(&a.is_some()),
            }
        }
        let most_first = |a: Option<u64>, b: Option<u64>| {
            least_first(a.map(std::cmp::Reverse), b.map(std::cmp::Reverse))
        };
        let order = match by {
            SortBy::Name => Ordering::Equal,
            SortBy::Health => least_first(self.health, other.health),
            SortBy::Files => most_first(self.files, other.files),
            SortBy::Bytes => most_first(self.bytes.map(Bytes::get), other.bytes.map(Bytes::get)),
            SortBy::DeleteFiles => most_first(self.delete_files, other.delete_files),
            SortBy::Failures => other.failures.cmp(&self.failures),
        };
        order.then_with(|| self.table.cmp(&other.table))
    }

    /// Takes sizes and health from a plan that was made just now.
    pub(crate) fn refresh(&mut self, plan: &TablePlan) {
        self.health = Some(plan.health.score);
        self.files = Some(plan.totals.data_files);
        self.bytes = Some(plan.totals.data_bytes);
        self.delete_files = Some(plan.totals.delete_files);
        self.rewritten_since = false;
    }

    /// One row of the list of tables.
    pub(crate) fn cells(&self) -> Vec<String> {
        let mark = if self.rewritten_since { "*" } else { "" };
        let show = |known: Option<String>| known.map(|known| known + mark).unwrap_or_default();
        vec![
            self.table.clone(),
            word(self.state).to_owned(),
            show(self.health.map(health)),
            show(self.files.map(count)),
            show(self.bytes.map(|bytes| bytes.to_string())),
            show(self.delete_files.map(count)),
        ]
    }

    /// The line about its last failure, if the last look at it failed, or about why it is left alone.
    pub(crate) fn failure_line(&self) -> Option<String> {
        if let Some(waits) = &self.waits {
            return Some(format!("{} waits: {}", self.table, waits.reason));
        }
        match (&self.failure, &self.refused) {
            (Some(failure), _) if self.state == State::Unreadable => Some(format!(
                "{}: {failure}; `icepress doctor` says what to do",
                self.table
            )),
            (Some(failure), _) => Some(format!("{} failed: {failure}", self.table)),
            (None, Some(reason)) => Some(format!("{} is left alone: {reason}", self.table)),
            (None, None) => None,
        }
    }

    /// One or two lines for an explanation.
    pub(crate) fn story(&self, now: TimestampMs) -> String {
        let mut text = format!("state: {}\n", sentence(self.state));
        if let Some(failure) = &self.failure
            && self.state != State::Unreadable
        {
            text.push_str(&format!(
                "{} in a row, the last: {failure}\n",
                counted(u64::from(self.failures), "failure")
            ));
        }
        if let Some(waits) = &self.waits {
            let until = waits
                .until
                .map(|until| format!(", until {}", moment(until, now)));
            let until = until.unwrap_or_default();
            text.push_str(&format!("it waits: {}{until}\n", waits.reason));
        }
        if let Some(observed) = &self.observed {
            text.push_str(&format!("when it was looked at last: {observed}\n"));
        }
        if let Some(reason) = &self.elsewhere {
            text.push_str(&format!("an optimizer looks at it: {reason}\n"));
        }
        if let Some(reason) = &self.refused {
            text.push_str(&format!("left alone: {reason}\n"));
        }
        let upkeep = self.upkeep.iter();
        text.extend(upkeep.map(|upkeep| of_upkeep(upkeep, now)));
        text
    }
}

/// A line for each kind of upkeep of which there is something to say.
fn of_upkeep(upkeep: &Upkeep, now: TimestampMs) -> String {
    let due = upkeep.due.iter().map(|due| format!("was due: {due}\n"));
    let later = upkeep.later.iter().map(|(kind, at)| {
        let at = moment(*at, now);
        format!("{kind}: looked at {at}, or when the table changes\n")
    });
    let refused = upkeep.refused.iter();
    let refused = refused.map(|(kind, why)| format!("{kind} can't be done: {why}\n"));
    due.chain(later).chain(refused).collect()
}

/// Whether a process of ours ended well after the last look.
fn was_rewritten(row: &TableRow) -> bool {
    row.active_process.is_none()
        && row.failures == 0
        && row.committed_location.is_some()
        && row.committed_location != row.evaluated_location
}

/// The newest state of the table that its row knows of.
fn last_seen(row: &TableRow, rewritten_since: bool) -> Option<&MetadataLocation> {
    let (evaluated, committed) = (&row.evaluated_location, &row.committed_location);
    let (first, second) = match rewritten_since {
        true => (committed, evaluated),
        false => (evaluated, committed),
    };
    let newest = row.due_location.as_ref().or(first.as_ref());
    newest.or(second.as_ref())
}

fn state(listed: Option<&MetadataLocation>, row: Option<&TableRow>, now: TimestampMs) -> State {
    let Some(row) = row else {
        return State::New;
    };
    let moved = listed.is_some()
        && listed != row.evaluated_location.as_ref()
        && listed != row.committed_location.as_ref();
    if row.active_process.is_some() {
        State::Working
    } else if row.due_at.is_some_and(|due_at| due_at <= now) {
        State::Due
    } else if row.failures > 0 {
        State::Failing
    } else if moved {
        State::Due
    } else {
        State::Settled
    }
}

pub(crate) fn word(state: State) -> &'static str {
    match state {
        State::New => "new",
        State::Due => "due",
        State::Working => "working",
        State::Failing => "failing",
        State::Waiting => "waiting",
        State::Refused => "refused",
        State::Observed => "observed",
        State::Settled => "settled",
        State::Unreadable => "unreadable",
    }
}

fn sentence(state: State) -> &'static str {
    match state {
        State::New => "Icepress has not looked at it yet",
        State::Due => "due: the next run looks at it",
        State::Working => "a process is under way",
        State::Failing => "it failed, and is tried again later",
        State::Waiting => "due, and waiting",
        State::Refused => "refused: it is left alone until it changes",
        State::Observed => "observed: it is seen and priced, and nothing is begun",
        State::Settled => "settled: nothing is done until it changes",
        State::Unreadable => "what is known of it can't be read",
    }
}

/// A process of a table.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Past {
    process: String,
    kind: ProcessKind,
    started_at: TimestampMs,
    state: &'static str,
    outcome: Option<ProcessOutcome>,
}

impl Past {
    /// From its row.
    pub(crate) fn new(row: &ProcessRow) -> Self {
        let (state, outcome) = match &row.state {
            ProcessState::Running => ("running", None),
            ProcessState::Committing { .. } => ("committing", None),
            ProcessState::Ended(outcome) => ("ended", Some(outcome.clone())),
        };
        Self {
            process: row.process.to_string(),
            kind: row.kind,
            started_at: row.created_at,
            state,
            outcome,
        }
    }

    /// One line for an explanation.
    pub(crate) fn line(&self, now: TimestampMs) -> String {
        let what = match &self.outcome {
            None => self.state.to_owned(),
            Some(outcome) => ending(outcome),
        };
        format!(
            "{} ago, {}: {what}\n",
            ago(now.since(self.started_at)),
            self.kind
        )
    }
}

/// How a process ended, in a few words.
pub(crate) fn ending(outcome: &ProcessOutcome) -> String {
    match outcome {
        ProcessOutcome::Committed { snapshot_id, .. } => {
            format!("committed as snapshot {snapshot_id}")
        }
        ProcessOutcome::PartlyCommitted {
            snapshot_id,
            failures,
            ..
        } => format!(
            "committed as snapshot {snapshot_id} without {}: {}",
            counted(failures.len() as u64, "group"),
            failures.join("; ")
        ),
        ProcessOutcome::Failed { failures, .. } => format!("failed: {}", failures.join("; ")),
        ProcessOutcome::Maintained {
            did, unfinished, ..
        } => match unfinished {
            true => format!("{did}; the rest is left to the next run"),
            false => did.clone(),
        },
        ProcessOutcome::Evaluated => "looked at the table for a scheduler".to_owned(),
        ProcessOutcome::Abandoned { reason } => format!("given up: {reason}"),
    }
}

/// A point in time, and how far away it is.
pub(crate) fn moment(at: TimestampMs, now: TimestampMs) -> String {
    let text = match jiff::Timestamp::from_millisecond(at.get() / 1_000 * 1_000) {
        Ok(at) => at.to_string(),
        Err(_) => "the end of time".to_owned(),
    };
    if at > now {
        format!("{text} (in {})", ago(at.since(now)))
    } else {
        format!("{text} ({} ago)", ago(now.since(at)))
    }
}

/// A time span in one word and a number.
pub(crate) fn ago(time: Duration) -> String {
    match time.as_secs() {
        seconds @ 0..120 => counted(seconds, "second"),
        seconds @ 120..7_200 => counted(seconds / 60, "minute"),
        seconds @ 7_200..172_800 => counted(seconds / 3_600, "hour"),
        seconds => counted(seconds / 86_400, "day"),
    }
}
