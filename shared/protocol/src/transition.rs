//! What each operation makes of a row: plain functions, the same for every store.
//!
//! A store reads a row, applies one of these and writes the result, in one atomic step of its own kind: SQLite in a
//! transaction, DynamoDB under the condition that nobody wrote in between. None of them looks at a clock.

mod process;
mod task;

use std::time::Duration;

use icepress_model::{
    Attempt, Epoch, Generation, MetadataLocation, ProcessId, ProcessOutcome, RewriteFailure,
    TableId, TaskId, TimestampMs, WorkerId,
};

use crate::{
    BucketRow, CancelOutcome, ClaimOutcome, Conclusion, CoordinationError, GivenBack, Home, Layout,
    Lease, NewProcess, NewTask, Payload, ProcessRow, ProcessState, TableRow, TaskRow, TaskState,
    invariants,
};

pub use process::*;
pub use task::*;

type Result<T> = std::result::Result<T, CoordinationError>;

/// The error of a write under a lease that is not the newest of its bucket any more.
pub fn lost_lease(lease: &Lease) -> CoordinationError {
    CoordinationError::Fenced(format!(
        "{} holds bucket {} no more under epoch {}",
        lease.owner, lease.bucket, lease.epoch
    ))
}

// --- leases ---

/// The bucket in `owner`'s hands under a new epoch; `None` where somebody holds it.
pub fn take_lease(
    before: &BucketRow,
    owner: &WorkerId,
    now: TimestampMs,
    ttl: Duration,
    guard: Duration,
) -> Option<BucketRow> {
    if before.owner.is_some() && before.expires_at + guard >= now {
        return None;
    }
    let after = BucketRow {
        owner: Some(owner.clone()),
        epoch: Epoch(before.epoch.get() + 1),
        expires_at: now + ttl,
        last_begun_at: now.max(before.last_begun_at),
        ..before.clone()
    };
    invariants::assert_bucket_step(before, &after);
    debug_assert_eq!(invariants::lease_ends(&after, now, ttl), Ok(()));
    Some(after)
}

/// The bucket held until `now + ttl`.
pub fn renew_lease(
    before: &BucketRow,
    lease: &Lease,
    now: TimestampMs,
    ttl: Duration,
) -> Result<BucketRow> {
    if !is_newest(before, lease) {
        return Err(lost_lease(lease));
    }
    let after = BucketRow {
        expires_at: now + ttl,
        ..before.clone()
    };
    invariants::assert_bucket_step(before, &after);
    Ok(after)
}

/// Whether the bucket is held under this lease.
pub fn is_newest(row: &BucketRow, lease: &Lease) -> bool {
    row.epoch == lease.epoch && row.owner.as_ref() == Some(&lease.owner)
}

/// That a digest may be written under this lease by one who marked tables under `layout`, where the newest writer was
/// `written`. It may not once another layout stands: marks of the old one may lie where nobody looks any more, and the
/// census that repeats them must still find something new.
pub fn check_digest(
    bucket: &BucketRow,
    lease: &Lease,
    layout: Generation,
    stands: Option<&Layout>,
    written: Option<(Generation, Epoch)>,
) -> Result<()> {
    if stands.map_or(Generation(0), |stands| stands.generation) != layout {
        return Err(old_layout(layout));
    }
    // Epochs of different buckets can't be compared; layouts can.
    let is_newer = written.is_some_and(|written| written > (layout, lease.epoch));
    if !is_newest(bucket, lease) || is_newer {
        return Err(lost_lease(lease));
    }
    Ok(())
}

/// The error of a write that belongs to a layout which stands no more.
pub fn old_layout(layout: Generation) -> CoordinationError {
    CoordinationError::Fenced(format!(
        "the number of buckets was changed after layout {layout}"
    ))
}

/// The bucket let go; `None` where this lease was let go already.
pub fn release_lease(
    before: &BucketRow,
    lease: &Lease,
    swept_at: Option<TimestampMs>,
) -> Result<Option<BucketRow>> {
    if before.epoch != lease.epoch {
        return Err(lost_lease(lease));
    }
    match &before.owner {
        None => return Ok(None),
        Some(owner) if *owner != lease.owner => return Err(lost_lease(lease)),
        Some(_) => {}
    }
    let after = BucketRow {
        owner: None,
        last_swept_at: swept_at
            .unwrap_or(before.last_swept_at)
            .max(before.last_swept_at),
        ..before.clone()
    };
    invariants::assert_bucket_step(before, &after);
    Ok(Some(after))
}

// --- tables ---

fn earlier(a: Option<TimestampMs>, b: Option<TimestampMs>) -> Option<TimestampMs> {
    match (a, b) {
        (Some(a), Some(b)) => Some(a.min(b)),
        (a, b) => a.or(b),
    }
}

/// A mark for `location`, or one for whatever state there is (`None`): a person asks, or two complete listings lacked the
/// table. Then no state is due any more that was seen before, so that a table that is gone is forgotten. `None` when
/// nothing is to be written.
///
/// A row that is where an older layout had it goes to `home`, also where the state is known already; one that a newer
/// layout put elsewhere stays there.
pub fn mark(
    row: Option<&TableRow>,
    home: Home,
    table: &TableId,
    location: Option<&MetadataLocation>,
    due_at: TimestampMs,
) -> Option<TableRow> {
    let moved = row.and_then(|row| rehome(row, home));
    let before = moved
        .as_ref()
        .or(row)
        .cloned()
        .unwrap_or_else(|| TableRow::unknown(home, table.clone()));
    let known = [
        &before.due_location,
        &before.evaluated_location,
        &before.committed_location,
    ];
    if location.is_some_and(|new| known.iter().any(|known| known.as_ref() == Some(new))) {
        return moved;
    }
    let mut after = before.clone();
    after.marks += 1;
    after.due_location = location.cloned();
    if after.active_process.is_some() {
        after.marked_at = earlier(before.marked_at, Some(due_at));
    } else if location.is_none() || !is_pausing(&before) {
        after.due_at = earlier(before.due_at, Some(due_at));
    }
    invariants::assert_table_step(Some(&before), &after);
    Some(after)
}

/// Whether the table failed and waits before it is tried again. A writer that goes on must not have it tried at each of
/// its commits; a person may.
fn is_pausing(row: &TableRow) -> bool {
    row.failures > 0 && row.due_at.is_some()
}

/// The row where a newer layout has it; `None` where it is there, or a newer layout still has moved it. Nothing else
/// changes: what is due stays due, and a process under way stays the table's.
pub fn rehome(row: &TableRow, home: Home) -> Option<TableRow> {
    if row.layout >= home.layout {
        return None;
    }
    let mut after = row.clone();
    after.layout = home.layout;
    if row.bucket != home.bucket {
        after.bucket = home.bucket;
        // Epochs are counted bucket by bucket: those of the old one say nothing in the new one, whose owners must be
        // able to write.
        after.epoch = Epoch(0);
    }
    invariants::assert_table_step(Some(row), &after);
    Some(after)
}

/// That the row may be written by the owner of the lease's bucket.
fn check_row(row: &TableRow, lease: &Lease) -> Result<()> {
    if row.bucket != lease.bucket {
        return Err(CoordinationError::Moved(format!(
            "table {} is in bucket {} since layout {}, not in bucket {} of {}",
            row.table, row.bucket, row.layout, lease.bucket, lease.owner
        )));
    }
    if row.epoch > lease.epoch {
        return Err(CoordinationError::Fenced(format!(
            "table {} was written under epoch {}, later than {} of {}",
            row.table, row.epoch, lease.epoch, lease.owner
        )));
    }
    Ok(())
}

/// The table with one more evaluation begun than `seen` knew of: noted before it begins, so that one who dies at it leaves
/// a trace. What is concluded clears it. `None` for a row that is gone. Noting it again (an answer was lost) is harmless.
/// It is a note and no planning, so it leaves the row's epoch alone: it is one plain write, which does not ask whether the
/// lease still stands. The worst that a note of a former owner does is one pause of a table that nobody has looked at since.
pub fn begin(row: Option<&TableRow>, lease: &Lease, seen: &TableRow) -> Result<Option<TableRow>> {
    let Some(before) = row else { return Ok(None) };
    check_row(before, lease)?;
    let after = TableRow {
        begun: seen.begun.saturating_add(1),
        ..before.clone()
    };
    invariants::assert_table_step(Some(before), &after);
    Ok(Some(after))
}

/// What the owner of the bucket concluded from `seen`.
pub fn conclude(
    row: Option<&TableRow>,
    lease: &Lease,
    seen: &TableRow,
    conclusion: &Conclusion,
) -> Result<TableRow> {
    let before = row
        .cloned()
        .unwrap_or_else(|| TableRow::unknown(seen.home(), seen.table.clone()));
    check_row(&before, lease)?;
    let mut after = before.clone();
    after.epoch = lease.epoch;
    after.conclusion = Some(conclusion.text.clone());
    after.failures = conclusion.failures;
    after.begun = 0;
    if before.active_process.is_some() {
        after.due_at = conclusion.next_due_at.or(before.due_at);
    } else {
        note_evaluated(&mut after, seen, conclusion);
        if before.marks == seen.marks {
            after.due_at = conclusion.next_due_at;
            let retried_unseen =
                conclusion.evaluated_location.is_none() && conclusion.next_due_at.is_some();
            if !retried_unseen {
                after.due_location = None;
            }
        } else if conclusion.failures > 0 {
            // What was marked meanwhile is looked at after the pause.
            after.due_at = conclusion.next_due_at.or(before.due_at);
        } else {
            after.due_at = earlier(before.due_at, conclusion.next_due_at);
        }
    }
    invariants::assert_table_step(Some(&before), &after);
    Ok(after)
}

fn note_evaluated(after: &mut TableRow, seen: &TableRow, conclusion: &Conclusion) {
    // A row that was removed and made anew counts from the start: then nothing of it was seen.
    if seen.marks <= after.marks {
        after.seen_marks = after.seen_marks.max(seen.marks);
    }
    if let Some(evaluated) = &conclusion.evaluated_location {
        after.evaluated_location = Some(evaluated.clone());
    }
}

/// The table's row once `process` stands. The caller has made sure that no other process is under way.
pub fn start(
    row: Option<&TableRow>,
    lease: &Lease,
    seen: &TableRow,
    process: &NewProcess,
) -> Result<TableRow> {
    let before = row
        .cloned()
        .unwrap_or_else(|| TableRow::unknown(seen.home(), seen.table.clone()));
    check_row(&before, lease)?;
    let mut after = before.clone();
    after.epoch = lease.epoch;
    after.conclusion = Some(process.conclusion.text.clone());
    after.failures = process.conclusion.failures;
    after.begun = 0;
    note_evaluated(&mut after, seen, &process.conclusion);
    // One that only looks has not looked yet: until its end the table stays as due as it was.
    let is_evaluated = process.conclusion.evaluated_location.is_some();
    if is_evaluated && before.marks == seen.marks {
        after.due_location = None;
        after.marked_at = None;
    } else {
        after.marked_at = earlier(before.marked_at, before.due_at);
    }
    after.due_at = Some(process.check_at);
    after.active_process = Some(process.process.clone());
    invariants::assert_table_step(Some(&before), &after);
    Ok(after)
}

/// The table's row once its process has ended; `None` where the row is another process's by now.
pub fn free(
    row: &TableRow,
    process: &ProcessId,
    committed_location: Option<&MetadataLocation>,
    next_due_at: Option<TimestampMs>,
    failures: u32,
) -> Option<TableRow> {
    if row.active_process.as_ref() != Some(process) {
        return None;
    }
    let mut after = row.clone();
    after.active_process = None;
    after.failures = failures;
    if let Some(location) = committed_location {
        after.committed_location = Some(location.clone());
    }
    // Only if nothing but our own commit was marked: an earlier mark that ours overwrote was somebody else's write.
    let only_mark_is_ours = row.due_location.is_some()
        && row.due_location.as_ref() == committed_location
        && row.marks == row.seen_marks + 1;
    if only_mark_is_ours {
        after.seen_marks = row.marks;
        after.due_location = None;
        after.due_at = next_due_at;
    } else if failures > 0 {
        after.due_at = next_due_at.or(row.marked_at);
    } else {
        after.due_at = earlier(next_due_at, row.marked_at);
    }
    after.marked_at = None;
    if after.due_at.is_none() {
        after.due_location = None;
    }
    invariants::assert_table_step(Some(row), &after);
    Some(after)
}

/// The row of a table whose process has just ended: it says why, where the process failed. What was concluded when the
/// process began is no longer the last word then.
pub fn with_ending(row: TableRow, outcome: &ProcessOutcome) -> TableRow {
    let Some(reason) = outcome.reason().filter(|_| row.failures > 0) else {
        return row;
    };
    let concluded = row.conclusion.as_deref().unwrap_or("{}");
    let mut conclusion = match serde_json::from_str(concluded) {
        Ok(serde_json::Value::Object(entries)) => entries,
        _ => serde_json::Map::new(),
    };
    conclusion.insert("failure".to_owned(), reason.into());
    TableRow {
        conclusion: Some(serde_json::Value::Object(conclusion).to_string()),
        ..row
    }
}

/// The table's row with the next look at its process brought forward to `at`; `None` where that changes nothing.
pub fn look_sooner(row: &TableRow, process: &ProcessId, at: TimestampMs) -> Option<TableRow> {
    if row.active_process.as_ref() != Some(process) || row.due_at.is_some_and(|due| due <= at) {
        return None;
    }
    let after = TableRow {
        due_at: Some(at),
        ..row.clone()
    };
    invariants::assert_table_step(Some(row), &after);
    Some(after)
}

/// Whether the table's row may go: not while a process is under way, nor where the table was marked since it was seen,
/// for then it is there again.
pub fn may_forget(row: &TableRow, lease: &Lease, seen: &TableRow) -> Result<bool> {
    check_row(row, lease)?;
    let may = row.active_process.is_none() && row.marks == seen.marks;
    debug_assert!(!may || invariants::row_may_go(row, seen).is_ok());
    Ok(may)
}

/// The row of a table whose active process has no row any more: it counts as ended.
pub fn without_lost_process(row: &TableRow) -> TableRow {
    TableRow {
        active_process: None,
        due_at: earlier(row.due_at, row.marked_at),
        marked_at: None,
        ..row.clone()
    }
}

#[cfg(test)]
mod tests;
