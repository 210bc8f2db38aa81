//! What a table's main branch was, at which time.

use iceberg::spec::{Snapshot, TableMetadata};
use icepress_model::TimestampMs;

/// A state that the main branch was in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Past {
    pub(crate) snapshot_id: i64,
    /// Since when it was: for a snapshot that was rolled back to, later than it was made.
    pub(crate) since: TimestampMs,
}

/// The states that the main branch was in and whose snapshots are still there, the oldest first. From the table's log, which
/// tells what readers saw, after rollbacks too; for a table that keeps none, from the ancestors of the current snapshot.
pub(crate) fn of_main(metadata: &TableMetadata) -> Vec<Past> {
    let is_there = |id: i64| metadata.snapshot_by_id(id).is_some();
    let log = metadata.history().iter();
    let past: Vec<Past> = log
        .filter(|entry| is_there(entry.snapshot_id))
        .map(|entry| Past {
            snapshot_id: entry.snapshot_id,
            since: TimestampMs(entry.timestamp_ms),
        })
        .collect();
    if !past.is_empty() {
        return past;
    }
    let mut line: Vec<Past> = ancestors(metadata, metadata.current_snapshot_id())
        .map(|snapshot| Past {
            snapshot_id: snapshot.snapshot_id(),
            since: TimestampMs(snapshot.timestamp_ms()),
        })
        .collect();
    line.reverse();
    line
}

/// The state at a moment: the last that began then or before.
pub(crate) fn at(past: &[Past], moment: TimestampMs) -> Option<Past> {
    past.iter().rev().find(|it| it.since <= moment).copied()
}

/// A snapshot and those before it, the newest first, as far as they are there.
pub(crate) fn ancestors(
    metadata: &TableMetadata,
    from: Option<i64>,
) -> impl Iterator<Item = &Snapshot> {
    let of = |id: i64| {
        metadata
            .snapshot_by_id(id)
            .map(|snapshot| snapshot.as_ref())
    };
    let line = std::iter::successors(from.and_then(of), move |snapshot| {
        snapshot.parent_snapshot_id().and_then(of)
    });
    // Whoever makes a snapshot its own ancestor must not keep us for ever.
    line.take(metadata.snapshots().len())
}
