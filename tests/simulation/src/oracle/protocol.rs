//! The protocol's invariants, held against every write to the state table.

use std::{
    collections::{BTreeMap, HashMap},
    time::Duration,
};

use aws_sdk_dynamodb::{primitives::Blob, types::AttributeValue};
use base64::{Engine as _, prelude::BASE64_STANDARD};
use icepress_coordination::{
    BucketRow, InspectedRow, Layout, Payload, ProcessRow, ProcessState, TableRow, TaskRow,
    TaskState, inspect_row, invariants, limits::QuotaRow,
};
use icepress_model::{
    BucketId, CatalogName, DatabaseId, GroupResult, MetadataLocation, Namespace, ProcessKind,
    ProcessOutcome, RewriteFailureKind, TableId, TimestampMs,
};

use xxhash_rust::xxh3::xxh3_64;

use super::{Oracle, limits::books};
use crate::dynamo::{Change, Item, ItemKey, Watch};

type Items = BTreeMap<ItemKey, Item>;
type Verdict = Result<(), String>;

/// The process in the name of a file that an optimizer or a scheduler wrote.
pub(super) fn process_of(name: &str) -> Option<String> {
    let is_id =
        |part: &&str| part.len() == 32 && part.chars().all(|letter| letter.is_ascii_hexdigit());
    name.split(['-', '.']).find(is_id).map(str::to_owned)
}

pub(super) fn read(item: &Item) -> Result<InspectedRow, String> {
    let mut attributes = HashMap::new();
    for (name, value) in item {
        let (kind, value) = value
            .as_object()
            .and_then(|typed| typed.iter().next())
            .and_then(|(kind, value)| Some((kind.as_str(), value.as_str()?)))
            .ok_or_else(|| format!("'{name}' is {value}"))?;
        let value = match kind {
            "S" => AttributeValue::S(value.to_owned()),
            "N" => AttributeValue::N(value.to_owned()),
            _ => {
                let bytes = BASE64_STANDARD
                    .decode(value)
                    .map_err(|error| error.to_string())?;
                AttributeValue::B(Blob::new(bytes))
            }
        };
        attributes.insert(name.clone(), value);
    }
    inspect_row(&attributes)
}

fn layout_row(items: &Items) -> Option<Layout> {
    let key = ("buckets#0".to_owned(), "layout".to_owned());
    match items.get(&key).map(read) {
        Some(Ok(InspectedRow::Layout(layout))) => Some(layout),
        _ => None,
    }
}

fn bucket_row(items: &Items, bucket: BucketId) -> BucketRow {
    let key = (
        format!("buckets#{}", bucket.0 / 64),
        format!("{:010}", bucket.0),
    );
    match items.get(&key).map(read) {
        Some(Ok(InspectedRow::Bucket(row))) => row,
        _ => BucketRow::never_leased(bucket),
    }
}

/// A process with all of its tasks.
fn process_of_rows(items: &Items, process: &str) -> (Option<ProcessRow>, Vec<TaskRow>) {
    let pk = format!("process#{process}");
    let (mut found, mut tasks) = (None, Vec::new());
    let range = items
        .range((pk.clone(), String::new())..)
        .take_while(|((of, _), _)| *of == pk);
    for (_, item) in range {
        match read(item) {
            Ok(InspectedRow::Process(row)) => found = Some(row),
            Ok(InspectedRow::Task(row)) => tasks.push(row),
            _ => {}
        }
    }
    (found, tasks)
}

fn table_rows(items: &Items) -> Vec<TableRow> {
    let range = items
        .range(("share#".to_owned(), String::new())..)
        .take_while(|((pk, _), _)| pk.starts_with("share#"));
    let read = range.filter_map(|(_, item)| match read(item) {
        Ok(InspectedRow::Table(row)) => Some(row),
        _ => None,
    });
    read.collect()
}

/// Processes that have not ended.
pub(super) fn under_way(items: &Items) -> Vec<ProcessRow> {
    let all = items
        .iter()
        .filter(|((pk, sk), _)| sk == "process" && pk.starts_with("process#"))
        .filter(|(_, item)| item.get("state").is_none_or(|state| state["S"] != "ended"));
    let read = all.filter_map(|(_, item)| match read(item) {
        Ok(InspectedRow::Process(row)) if !row.has_ended() => Some(row),
        _ => None,
    });
    read.collect()
}

fn processes_of(items: &Items, table: &TableId) -> Vec<ProcessRow> {
    let all = items
        .iter()
        .filter(|((pk, sk), _)| sk == "process" && pk.starts_with("process#"));
    let read = all.filter_map(|(_, item)| match read(item) {
        Ok(InspectedRow::Process(row)) if row.table == *table => Some(row),
        _ => None,
    });
    read.collect()
}

impl Watch for Oracle {
    fn wrote(&self, items: &Items, changes: &[Change]) {
        for change in changes {
            // A lock's key has one part.
            if change.key.1.is_empty() {
                self.judge_lock(change);
                continue;
            }
            if let Err(message) = self.judge_change(items, change) {
                let (pk, sk) = &change.key;
                self.engine.violated(format!("row {pk} {sk}: {message}"));
            }
        }
    }
}

impl Oracle {
    /// A commit lock passes from hand to hand only when it was given back, or stood still for its lease.
    fn judge_lock(&self, change: &Change) {
        let now = self.engine.now();
        let text = |item: &Item, name: &str| item.get(name)?["S"].as_str().map(str::to_owned);
        let owner = |item: &Option<Item>| item.as_ref().and_then(|item| text(item, "ownerId"));
        let (before, after) = (owner(&change.before), owner(&change.after));
        let mut state = self.state();
        match &after {
            Some(owner) => state
                .lock_owners
                .insert(change.key.0.clone(), owner.clone()),
            None => state.lock_owners.remove(&change.key.0),
        };
        let written = state.locks.insert(change.key.0.clone(), now);
        let (Some(before), Some(written)) = (before, written) else {
            return;
        };
        let lease = change
            .before
            .as_ref()
            .and_then(|item| item.get("leaseDurationMs"));
        let lease = lease
            .and_then(|lease| lease["N"].as_str()?.parse().ok())
            .unwrap_or(0);
        let is_over = now >= written + Duration::from_millis(lease);
        drop(state);
        if after.as_ref().is_some_and(|after| *after != before) && !is_over {
            self.engine.violated(format!(
                "the lock of {} went from {before} to {after:?} within its lease",
                change.key.0
            ));
        }
    }

    fn judge_change(&self, items: &Items, change: &Change) -> Verdict {
        let before = change.before.as_ref().map(read).transpose()?;
        if let Some(InspectedRow::Process(before)) = &before {
            self.state().bases.remove(before.process.as_str());
        }
        let Some(after) = change.after.as_ref() else {
            return match before {
                Some(InspectedRow::Table(row)) if row.active_process.is_some() => Err(format!(
                    "{} was forgotten with a process under way",
                    row.table
                )),
                Some(
                    InspectedRow::Layout(_)
                    | InspectedRow::Bucket(_)
                    | InspectedRow::DigestHead { .. },
                ) => Err("it was deleted".to_owned()),
                _ => Ok(()),
            };
        };
        match (before, read(after)?) {
            (Some(InspectedRow::Layout(before)), InspectedRow::Layout(after)) => {
                invariants::layout_step(&before, &after)
            }
            (_, InspectedRow::Layout(_)) => Ok(()),
            (before, InspectedRow::Bucket(after)) => {
                let before = match before {
                    Some(InspectedRow::Bucket(before)) => before,
                    _ => BucketRow::never_leased(after.bucket),
                };
                invariants::bucket_step(&before, &after)
            }
            (before, InspectedRow::Table(after)) => {
                let before = match before {
                    Some(InspectedRow::Table(before)) => Some(before),
                    _ => None,
                };
                self.note_named(&after);
                self.judge_table(items, before.as_ref(), &after)
            }
            (before, InspectedRow::Process(after)) => {
                self.state().processes.insert(after.process.to_string());
                if let Some(base) = base_of(&after) {
                    self.state().bases.insert(after.process.to_string(), base);
                }
                match &before {
                    Some(InspectedRow::Process(before)) => {
                        invariants::process_step(before, &after)?
                    }
                    _ => self.state().limits.judge_start(&after, &under_way(items))?,
                }
                invariants::process_row(&after)?;
                self.judge_books(items, &after)?;
                self.judge_ending(&after)?;
                self.judge_process(items, after.process.as_str())
            }
            (before, InspectedRow::Task(after)) => {
                self.state()
                    .processes
                    .insert(after.task.process.to_string());
                if let Some(InspectedRow::Task(before)) = before {
                    invariants::task_step(&before, &after)?;
                }
                judge_result(&after)?;
                self.judge_failure(&after)?;
                self.judge_process(items, after.task.process.as_str())
            }
            (_, InspectedRow::DigestHead { database, written }) => {
                let parts: Vec<&str> = database.split('/').collect();
                let database = DatabaseId {
                    catalog: CatalogName(parts[0].to_owned()),
                    namespace: Namespace(
                        parts[1..].iter().map(|part| (*part).to_owned()).collect(),
                    ),
                };
                let layout = layout_row(items).ok_or("no layout stands")?;
                let (by, epoch) = written;
                if by != layout.generation {
                    return Err(format!(
                        "written under layout {by}, and {} stands",
                        layout.generation
                    ));
                }
                let bucket = layout.bucket_of_database(&database);
                invariants::accepted_epoch(bucket_row(items, bucket).epoch, epoch)?;
                self.judge_digest(change, items)
            }
            (before, InspectedRow::Quota(after)) => {
                let before = match &before {
                    Some(InspectedRow::Quota(before)) => Some(before),
                    _ => None,
                };
                self.state().limits.judge_quota(items, before, &after)
            }
            (_, InspectedRow::Other) => Ok(()),
        }
    }

    /// What a process holds of its quotas is there from its start to its end.
    fn judge_books(&self, items: &Items, process: &ProcessRow) -> Verdict {
        if process.quotas.is_empty() {
            return Ok(());
        }
        let is_meant = |row: &&QuotaRow| process.quotas.contains(&row.scope);
        let of_quotas = items.iter().filter(|((pk, _), _)| pk.starts_with("quota#"));
        let rows: Vec<QuotaRow> = of_quotas
            .filter_map(|(_, item)| match read(item) {
                Ok(InspectedRow::Quota(row)) => Some(row),
                _ => None,
            })
            .collect();
        let known = rows.iter().filter(is_meant).count();
        if known != process.quotas.len() {
            return Err(format!(
                "{known} of its quotas have a row: {:?}",
                process.quotas
            ));
        }
        let all = under_way(items);
        rows.iter()
            .filter(is_meant)
            .try_for_each(|row| books(row, &all))
    }

    /// Marks come first: a digest has only seen states that the tables' rows have named.
    fn judge_digest(&self, change: &Change, items: &Items) -> Verdict {
        let head = change.after.as_ref().expect("a digest's head was written");
        let version = head
            .get("version")
            .and_then(|version| version["S"].as_str());
        let prefix = format!("chunk#{}#", version.unwrap_or_default());
        let pk = &change.key.0;
        let chunks = items
            .iter()
            .filter(|((of, sk), _)| of == pk && sk.starts_with(&prefix));
        let state = self.state();
        for (_, chunk) in chunks {
            let text = chunk.get("digest").and_then(|bytes| bytes["B"].as_str());
            let bytes = BASE64_STANDARD
                .decode(text.unwrap_or_default())
                .map_err(|error| error.to_string())?;
            for entry in bytes.as_chunks::<16>().0 {
                let (name, location) = entry.split_at(8);
                let number = |half: &[u8]| u64::from_le_bytes(half.try_into().unwrap_or_default());
                let seen = (number(name), number(location));
                // 0 stands for a table that the listing lacked, 1 for one that is gone and had a row when that was asked for.
                if seen.1 > 1 && !state.named.contains(&seen) {
                    return Err(format!(
                        "a digest has seen {seen:x?}, a state that no table's row was ever marked with"
                    ));
                }
            }
        }
        Ok(())
    }

    /// Remembers the states that a table's row names, as a digest has them.
    fn note_named(&self, row: &TableRow) {
        let named = [
            &row.due_location,
            &row.evaluated_location,
            &row.committed_location,
        ];
        let name = xxh3_64(row.table.name.as_bytes());
        let mut state = self.state();
        for location in named.into_iter().flatten() {
            let location = xxh3_64(location.as_str().as_bytes()).max(1);
            state.named.insert((name, location));
        }
    }

    fn judge_table(&self, items: &Items, before: Option<&TableRow>, after: &TableRow) -> Verdict {
        invariants::table_step(before, after)?;
        let planned = |row: &TableRow| {
            (
                row.epoch,
                row.conclusion.clone(),
                row.evaluated_location.clone(),
                row.seen_marks,
            )
        };
        let unknown = TableRow::unknown(after.home(), after.table.clone());
        let before = before.unwrap_or(&unknown);
        let began = after.active_process.is_some() && after.active_process != before.active_process;
        let freed = before.active_process.is_some() && after.active_process.is_none();
        // The end of a process and a move need no lease; everything else on the planning side does.
        let moved = before.bucket != after.bucket;
        if began || (!freed && !moved && planned(before) != planned(after)) {
            let newest = bucket_row(items, after.bucket).epoch;
            invariants::accepted_epoch(newest, after.epoch)?;
        }
        if let (Some(old), Some(new)) = (&before.active_process, &after.active_process)
            && old != new
        {
            return Err(format!("process {new} took the place of {old}"));
        }
        invariants::one_process(Some(after), &processes_of(items, &after.table))
    }

    fn judge_process(&self, items: &Items, process: &str) -> Verdict {
        let (row, tasks) = process_of_rows(items, process);
        let Some(row) = row else {
            return Ok(());
        };
        invariants::open_tasks(&row, &tasks)?;
        let table = table_rows(items)
            .into_iter()
            .find(|table| table.table == row.table);
        invariants::one_process(table.as_ref(), &processes_of(items, &row.table))
    }

    /// A task that failed has a reason: that services asked for fewer requests is none.
    fn judge_failure(&self, row: &TaskRow) -> Verdict {
        let TaskState::Failed(failure) = &row.state else {
            return Ok(());
        };
        let is_others_deed = failure.kind == RewriteFailureKind::FileVanished;
        if is_others_deed || !self.state().no_task_may_fail {
            return Ok(());
        }
        Err(format!("task {} failed: {}", row.task, failure.message))
    }

    /// A process that says it committed must have.
    fn judge_ending(&self, row: &ProcessRow) -> Verdict {
        let ProcessState::Ended(
            ProcessOutcome::Committed { snapshot_id, .. }
            | ProcessOutcome::PartlyCommitted { snapshot_id, .. },
        ) = &row.state
        else {
            return Ok(());
        };
        match self.state().snapshots_ever.get(&snapshot_id.get()) {
            Some(Some(process)) if process == row.process.as_str() => Ok(()),
            found => Err(format!(
                "process {} ended with snapshot {snapshot_id}, which it had not committed: {found:?}",
                row.process
            )),
        }
    }
}

/// Whether a table is due for its upkeep's sake at a moment, and for nothing else.
fn is_for_upkeep(row: &TableRow, at: TimestampMs) -> bool {
    let conclusion = row.conclusion.as_deref().unwrap_or_default();
    let conclusion: serde_json::Value = serde_json::from_str(conclusion).unwrap_or_default();
    let later = conclusion["upkeep"]["later"].as_object();
    let mut moments = later.into_iter().flat_map(|later| later.values());
    row.failures == 0
        && row.due_location.is_none()
        && moments.any(|moment| moment.as_i64() == Some(at.get()))
}

/// The snapshot that a rewrite under way was planned on.
fn base_of(row: &ProcessRow) -> Option<i64> {
    let header: serde_json::Value = serde_json::from_str(&row.header).ok()?;
    let base = header.get("base")?.get("snapshot_id")?.as_i64();
    base.filter(|_| !row.has_ended() && row.kind == ProcessKind::Rewrite)
}

/// A result is of the attempt that its row names: the files say so themselves.
fn judge_result(row: &TaskRow) -> Verdict {
    let TaskState::Done(Payload::Inline(text)) = &row.state else {
        return Ok(());
    };
    // Upkeep names no files.
    if row.kind != ProcessKind::Rewrite {
        return Ok(());
    }
    let value: serde_json::Value = serde_json::from_str(text).map_err(|error| error.to_string())?;
    // What came of looking at a table names no files.
    if value.get("plan").or(value.get("failure")).is_some() {
        return Ok(());
    }
    let result: GroupResult = serde_json::from_value(value).map_err(|error| error.to_string())?;
    let stem = format!(
        "{:05}-{}-{}-",
        row.task.index, row.attempt, row.task.process
    );
    for path in result.file_paths() {
        let name = path.rsplit('/').next().unwrap_or_default();
        if !name.starts_with(&stem) {
            return Err(format!(
                "attempt {} reported {path}, another attempt's file",
                row.attempt
            ));
        }
    }
    Ok(())
}

/// Why the rows are not at rest, if they are not.
///
/// `tended_now` is the time in a world in which tables are looked at by the clock, for what gets old: what is due later than
/// that, and for nothing else, is no unrest.
pub(super) fn unrest(
    items: &Items,
    tables: &BTreeMap<TableId, MetadataLocation>,
    outcast: Option<&str>,
    tended_now: Option<TimestampMs>,
) -> Option<String> {
    const SOON: Duration = Duration::from_secs(200);
    let mut rows = table_rows(items);
    rows.retain(|row| Some(row.table.name.as_str()) != outcast);
    let layout = layout_row(items);
    // An outcast can't be moved.
    if outcast.is_none() && layout.is_some_and(|layout| layout.is_moving()) {
        return Some("tables have yet to move to their new buckets".to_owned());
    }
    for row in &rows {
        // A mark that came late, of a table that is gone: nobody looks there any more.
        let is_lost = layout.is_some_and(|layout| invariants::is_swept(row, &layout).is_err());
        if is_lost && !tables.contains_key(&row.table) && row.active_process.is_none() {
            continue;
        }
        if let Some(process) = &row.active_process {
            return Some(format!("{} has process {process} under way", row.table));
        }
        let is_by_the_clock = tended_now.is_some_and(|now| {
            let at = row.due_at.filter(|at| *at > now + SOON);
            at.is_some_and(|at| is_for_upkeep(row, at))
        });
        if row.due_at.is_some() && !is_by_the_clock {
            return Some(format!(
                "{} is due ({} failures): {:?}",
                row.table, row.failures, row.conclusion
            ));
        }
        if !tables.contains_key(&row.table) {
            return Some(format!("{} is remembered, and was dropped", row.table));
        }
    }
    for (table, location) in tables {
        let seen = rows
            .iter()
            .find(|row| row.table == *table)
            .is_some_and(|row| {
                row.evaluated_location.as_ref() == Some(location)
                    || row.committed_location.as_ref() == Some(location)
            });
        if !seen {
            return Some(format!(
                "{table} moved to {location}, and nobody looked at it"
            ));
        }
    }
    None
}
