//! How rows stand in a store: names and types of their columns, the same in SQLite and in DynamoDB.
//!
//! A store hands in a [`Fields`] to read one of its own rows, and takes the columns of [`Columns`] to write one.

use icepress_model::text::shortened;
use icepress_model::{
    Attempt, BucketCount, BucketId, Bytes, CatalogName, Epoch, Generation, MetadataLocation,
    NanoDollars, ProcessId, ProcessKind, Scope, TableId, TaskId, TimestampMs, WorkerId,
};
use serde::{Serialize, de::DeserializeOwned};
use std::{borrow::Cow, num::NonZeroU32};

use crate::{
    BucketRow, Component, CoordinationError, Layout, ProcessRow, ProcessState, RunningVersion,
    TableRow, TaskRow, TaskState, key,
    limits::{Blocker, QuotaRow},
};

/// A stored row's columns, by name. `None` is a column that is absent or null; the error says what is there instead.
pub(crate) trait Fields {
    fn text(&self, name: &'static str) -> Result<Option<String>, String>;
    fn number(&self, name: &'static str) -> Result<Option<i64>, String>;
}

/// What a column holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Column {
    Text(String),
    Number(i64),
}

/// A row to be written: the columns that have a value.
#[derive(Debug, Clone, Default)]
pub(crate) struct Columns(pub(crate) Vec<(&'static str, Column)>);

impl Columns {
    pub(crate) fn text(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.0.push((name, Column::Text(value.into())));
        self
    }

    pub(crate) fn text_if(self, name: &'static str, value: Option<impl Into<String>>) -> Self {
        match value {
            Some(value) => self.text(name, value),
            None => self,
        }
    }

    pub(crate) fn number(mut self, name: &'static str, value: impl Into<i64>) -> Self {
        self.0.push((name, Column::Number(value.into())));
        self
    }

    pub(crate) fn number_if(self, name: &'static str, value: Option<TimestampMs>) -> Self {
        match value {
            Some(value) => self.number(name, value.get()),
            None => self,
        }
    }

    pub(crate) fn get_text(&self, name: &str) -> Option<&str> {
        self.0.iter().find_map(|(column, value)| match value {
            Column::Text(text) if *column == name => Some(text.as_str()),
            _ => None,
        })
    }

    pub(crate) fn get_number(&self, name: &str) -> Option<i64> {
        self.0.iter().find_map(|(column, value)| match value {
            Column::Number(number) if *column == name => Some(*number),
            _ => None,
        })
    }
}

/// Bytes that a row may have, names of columns included. DynamoDB keeps 409,600, with the key and what is written beside
/// a row; the state file is held to the same, so that what works on a laptop works in an account.
pub(crate) const LARGEST_ROW: usize = 390_000;
/// Bytes that a row's key may have: DynamoDB's limit for a sort key.
pub(crate) const LARGEST_KEY: usize = 1_024;
/// Bytes of a conclusion that are kept. Whoever writes one keeps it far smaller.
const LARGEST_CONCLUSION: usize = 64 << 10;

/// That a row may be written under `key`, but for `uncounted` columns. Nothing that would be refused for its size is
/// sent anywhere.
pub(crate) fn check_size(
    key: &str,
    columns: &Columns,
    uncounted: &[&str],
) -> Result<(), CoordinationError> {
    check_key(key)?;
    let counted = columns
        .0
        .iter()
        .filter(|(name, _)| !uncounted.contains(name));
    let bytes = counted
        .map(|(name, value)| {
            name.len()
                + match value {
                    Column::Text(text) => text.len(),
                    // As DynamoDB counts the longest.
                    Column::Number(_) => 21,
                }
        })
        .sum();
    within(key, bytes, LARGEST_ROW)
}

/// That a key is one that a row can have.
pub(crate) fn check_key(key: &str) -> Result<(), CoordinationError> {
    within(key, key.len(), LARGEST_KEY)
}

fn within(row: &str, bytes: usize, most: usize) -> Result<(), CoordinationError> {
    if bytes <= most {
        return Ok(());
    }
    Err(CoordinationError::RowTooLarge {
        row: shortened(row.to_owned(), 200),
        bytes,
        most,
    })
}

/// A conclusion as it is kept: people's reading matter must not keep a table from being written.
fn kept_conclusion(conclusion: &str) -> Cow<'_, str> {
    if conclusion.len() <= LARGEST_CONCLUSION {
        return Cow::Borrowed(conclusion);
    }
    let bytes = conclusion.len();
    Cow::Owned(format!(
        r#"{{"cut":"what was concluded had {bytes} bytes, more than a row keeps"}}"#
    ))
}

type Decoded<T> = Result<T, String>;

fn required<T>(name: &str, value: Option<T>) -> Decoded<T> {
    value.ok_or_else(|| format!("'{name}' is missing"))
}

fn text(fields: &impl Fields, name: &'static str) -> Decoded<String> {
    required(name, fields.text(name)?)
}

fn number<T: TryFrom<i64>>(fields: &impl Fields, name: &'static str) -> Decoded<T> {
    let value = required(name, fields.number(name)?)?;
    T::try_from(value).map_err(|_| format!("'{name}' is {value}, which is out of range"))
}

/// A count that rows of older versions lack: nothing was counted then.
fn since_then<T: TryFrom<i64> + Default>(fields: &impl Fields, name: &'static str) -> Decoded<T> {
    match fields.number(name)? {
        None => Ok(T::default()),
        Some(_) => number(fields, name),
    }
}

fn time(fields: &impl Fields, name: &'static str) -> Decoded<Option<TimestampMs>> {
    Ok(fields.number(name)?.map(TimestampMs))
}

fn required_time(fields: &impl Fields, name: &'static str) -> Decoded<TimestampMs> {
    required(name, time(fields, name)?)
}

pub(crate) fn to_json(value: &impl Serialize) -> String {
    serde_json::to_string(value).expect("the model's types always have a JSON form")
}

pub(crate) fn from_json<T: DeserializeOwned>(name: &str, text: &str) -> Decoded<T> {
    serde_json::from_str(text).map_err(|error| format!("'{name}' is no valid JSON: {error}"))
}

/// SQLite's and DynamoDB's numbers as ours; both hold 63 bits, which epochs and counts never reach.
pub(crate) fn signed(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

// --- buckets ---

pub(crate) fn decode_bucket(bucket: BucketId, fields: &impl Fields) -> Decoded<BucketRow> {
    Ok(BucketRow {
        bucket,
        owner: fields.text("owner")?.map(WorkerId),
        epoch: Epoch(number(fields, "epoch")?),
        expires_at: time(fields, "expires_at")?.unwrap_or_default(),
        last_swept_at: time(fields, "last_swept_at")?.unwrap_or_default(),
        last_begun_at: time(fields, "last_begun_at")?.unwrap_or_default(),
    })
}

// --- the layout ---

pub(crate) fn encode_layout(layout: &Layout) -> Columns {
    let columns = Columns::default()
        .number("generation", signed(layout.generation.get()))
        .number("buckets", layout.buckets.0.get())
        .number_if("moving_since", layout.moving_since);
    match layout.former {
        Some(former) => columns.number("former", former.0.get()),
        None => columns,
    }
}

pub(crate) fn decode_layout(fields: &impl Fields) -> Decoded<Layout> {
    let count = |name, value: i64| {
        let count = u32::try_from(value).ok().and_then(NonZeroU32::new);
        let wrong = || format!("'{name}' is {value}, which is no number of buckets");
        count.map(BucketCount).ok_or_else(wrong)
    };
    let buckets = required("buckets", fields.number("buckets")?)?;
    let former = fields.number("former")?;
    Ok(Layout {
        generation: Generation(number(fields, "generation")?),
        buckets: count("buckets", buckets)?,
        former: former.map(|former| count("former", former)).transpose()?,
        moving_since: time(fields, "moving_since")?,
    })
}

// --- tables ---

pub(crate) fn encode_table(row: &TableRow) -> Columns {
    Columns::default()
        .number("bucket", row.bucket.0)
        .number("layout", signed(row.layout.get()))
        .text("table_id", key::of_table(&row.table))
        .number("epoch", signed(row.epoch.get()))
        .text_if(
            "due_location",
            row.due_location.as_ref().map(MetadataLocation::as_str),
        )
        .number_if("due_at", row.due_at)
        .number_if("marked_at", row.marked_at)
        .number("marks", signed(row.marks))
        .number("seen_marks", signed(row.seen_marks))
        .text_if(
            "evaluated_location",
            row.evaluated_location
                .as_ref()
                .map(MetadataLocation::as_str),
        )
        .text_if(
            "committed_location",
            row.committed_location
                .as_ref()
                .map(MetadataLocation::as_str),
        )
        .text_if("conclusion", row.conclusion.as_deref().map(kept_conclusion))
        .number("failures", row.failures)
        .number("begun", row.begun)
        .text_if(
            "active_process",
            row.active_process.as_ref().map(ProcessId::as_str),
        )
}

pub(crate) fn decode_table(fields: &impl Fields) -> Decoded<TableRow> {
    Ok(TableRow {
        table: key::to_table(&text(fields, "table_id")?)?,
        bucket: BucketId(number(fields, "bucket")?),
        layout: Generation(number(fields, "layout")?),
        epoch: Epoch(number(fields, "epoch")?),
        due_location: fields.text("due_location")?.map(MetadataLocation),
        due_at: time(fields, "due_at")?,
        marked_at: time(fields, "marked_at")?,
        marks: number(fields, "marks")?,
        seen_marks: number(fields, "seen_marks")?,
        evaluated_location: fields.text("evaluated_location")?.map(MetadataLocation),
        committed_location: fields.text("committed_location")?.map(MetadataLocation),
        conclusion: fields.text("conclusion")?,
        failures: number(fields, "failures")?,
        begun: since_then(fields, "begun")?,
        active_process: fields.text("active_process")?.map(ProcessId),
    })
}

// --- processes ---

pub(crate) fn encode_process(row: &ProcessRow) -> Columns {
    let columns = Columns::default()
        .text("process", row.process.as_str())
        .text("kind", row.kind.name())
        .text("table_id", key::of_table(&row.table))
        .number("bucket", row.bucket.0)
        .number("epoch", signed(row.epoch.get()))
        .number("created_at", row.created_at.get())
        .number("commit_claims", row.commit_claims)
        .number("waits", row.waits)
        .number("tasks", row.tasks)
        .number("open_tasks", row.open_tasks)
        .text("header", row.header.as_str())
        .text_if(
            "quotas",
            (!row.quotas.is_empty()).then(|| to_json(&row.quotas)),
        );
    match &row.state {
        ProcessState::Running => columns.text("state", "running"),
        ProcessState::Committing { worker, deadline } => columns
            .text("state", "committing")
            .text("worker", worker.as_str())
            .number("deadline", deadline.get()),
        ProcessState::Ended(outcome) => columns
            .text("state", "ended")
            .text("outcome", to_json(outcome)),
    }
}

pub(crate) fn decode_process(fields: &impl Fields) -> Decoded<ProcessRow> {
    let state = match text(fields, "state")?.as_str() {
        "running" => ProcessState::Running,
        "committing" => ProcessState::Committing {
            worker: WorkerId(text(fields, "worker")?),
            deadline: required_time(fields, "deadline")?,
        },
        "ended" => ProcessState::Ended(from_json("outcome", &text(fields, "outcome")?)?),
        other => return Err(format!("'state' is '{other}', which no process has")),
    };
    Ok(ProcessRow {
        process: ProcessId(text(fields, "process")?),
        kind: decode_kind(fields)?,
        table: decode_table_id(fields)?,
        bucket: BucketId(number(fields, "bucket")?),
        epoch: Epoch(number(fields, "epoch")?),
        created_at: required_time(fields, "created_at")?,
        state,
        commit_claims: number(fields, "commit_claims")?,
        waits: since_then(fields, "waits")?,
        tasks: number(fields, "tasks")?,
        open_tasks: number(fields, "open_tasks")?,
        header: text(fields, "header")?,
        quotas: match fields.text("quotas")? {
            Some(quotas) => from_json("quotas", &quotas)?,
            None => Vec::new(),
        },
    })
}

/// The kind of a process or task: rows that were written before there were kinds are of rewrites. One that a newer version
/// wrote is not guessed at.
fn decode_kind(fields: &impl Fields) -> Decoded<ProcessKind> {
    match fields.text("kind")? {
        None => Ok(ProcessKind::Rewrite),
        Some(kind) => kind
            .parse()
            .map_err(|unknown| format!("{unknown}: a newer one wrote it")),
    }
}

fn decode_table_id(fields: &impl Fields) -> Decoded<TableId> {
    key::to_table(&text(fields, "table_id")?)
}

// --- tasks ---

pub(crate) fn encode_task(row: &TaskRow) -> Columns {
    let columns = Columns::default()
        .text("process", row.task.process.as_str())
        .text("kind", row.kind.name())
        .number("task_index", row.task.index)
        .number("bucket", row.bucket.0)
        .number("attempt", row.attempt.get())
        .number("waits", row.waits)
        .text("payload", to_json(&row.payload))
        .number_if("sent_at", row.sent_at);
    match &row.state {
        TaskState::Queued => columns.text("state", "queued"),
        TaskState::Running { worker, deadline } => columns
            .text("state", "running")
            .text("worker", worker.as_str())
            .number("deadline", deadline.get()),
        TaskState::Done(result) => columns
            .text("state", "done")
            .text("result", to_json(result)),
        TaskState::Failed(failure) => columns
            .text("state", "failed")
            .text("result", to_json(failure)),
    }
}

pub(crate) fn decode_task(fields: &impl Fields) -> Decoded<TaskRow> {
    let state = match text(fields, "state")?.as_str() {
        "queued" => TaskState::Queued,
        "running" => TaskState::Running {
            worker: WorkerId(text(fields, "worker")?),
            deadline: required_time(fields, "deadline")?,
        },
        "done" => TaskState::Done(from_json("result", &text(fields, "result")?)?),
        "failed" => TaskState::Failed(from_json("result", &text(fields, "result")?)?),
        other => return Err(format!("'state' is '{other}', which no task has")),
    };
    Ok(TaskRow {
        task: TaskId {
            process: ProcessId(text(fields, "process")?),
            index: number(fields, "task_index")?,
        },
        kind: decode_kind(fields)?,
        bucket: BucketId(number(fields, "bucket")?),
        attempt: Attempt(number(fields, "attempt")?),
        waits: since_then(fields, "waits")?,
        state,
        payload: from_json("payload", &text(fields, "payload")?)?,
        sent_at: time(fields, "sent_at")?,
    })
}

// --- blockers and quotas ---

pub(crate) fn encode_blocker(blocker: &Blocker) -> Columns {
    Columns::default()
        .text("scope", key::of_scope(&blocker.scope))
        .text("owner", blocker.owner.as_str())
        .text("reason", blocker.reason.as_str())
        .number("created_at", blocker.created_at.get())
        .number("expires_at", blocker.expires_at.get())
}

/// Reads a blocker of a catalog. Others may have written it: what can't be read blocks, for ever.
pub(crate) fn decode_blocker(catalog: &CatalogName, fields: &impl Fields) -> Blocker {
    let read = || -> Decoded<Blocker> {
        Ok(Blocker {
            scope: key::to_scope(&text(fields, "scope")?)?,
            owner: text(fields, "owner")?,
            reason: fields.text("reason")?.unwrap_or_default(),
            created_at: time(fields, "created_at")?.unwrap_or_default(),
            expires_at: required_time(fields, "expires_at")?,
        })
    };
    read().unwrap_or_else(|message| {
        let scope = text(fields, "scope").and_then(|scope| key::to_scope(&scope));
        Blocker {
            scope: scope.unwrap_or_else(|_| Scope::Catalog(catalog.clone())),
            owner: text(fields, "owner").unwrap_or_else(|_| "unknown".to_owned()),
            reason: format!("a blocker's row can't be read, so it counts: {message}"),
            created_at: TimestampMs(0),
            expires_at: TimestampMs(i64::MAX),
        }
    })
}

pub(crate) fn encode_quota(row: &QuotaRow) -> Columns {
    Columns::default()
        .text("scope", key::of_scope(&row.scope))
        .number("day", row.day.get())
        .number("month", row.month.get())
        .number("booked_bytes", signed(row.booked_bytes.get()))
        .number("booked_cost", signed(row.booked_cost.get()))
        .text("held", to_json(&row.held))
}

pub(crate) fn decode_quota(fields: &impl Fields) -> Decoded<QuotaRow> {
    Ok(QuotaRow {
        scope: key::to_scope(&text(fields, "scope")?)?,
        day: required_time(fields, "day")?,
        month: required_time(fields, "month")?,
        booked_bytes: Bytes(number(fields, "booked_bytes")?),
        booked_cost: NanoDollars(number(fields, "booked_cost")?),
        held: from_json("held", &text(fields, "held")?)?,
    })
}

// --- versions ---

pub(crate) fn encode_version(row: &RunningVersion) -> Columns {
    Columns::default()
        .text("component", row.component.as_str())
        .text("version", row.version.as_str())
        .number("first_at", row.first_at.get())
        .number("last_at", row.last_at.get())
}

pub(crate) fn decode_version(fields: &impl Fields) -> Decoded<RunningVersion> {
    let component = text(fields, "component")?;
    Ok(RunningVersion {
        component: Component::named(&component)
            .ok_or_else(|| format!("'component' is '{component}', which is none of ours"))?,
        version: text(fields, "version")?,
        first_at: required_time(fields, "first_at")?,
        last_at: required_time(fields, "last_at")?,
    })
}
