//! The engine: a file group in, data files out. Knows nothing of commits.
#![cfg_attr(test, allow(clippy::unwrap_used))]

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use iceberg::spec::TableMetadata;
use icepress_model::{
    Attempt, Bytes, GroupResult, GroupTask, RewriteFailure, Rows, ambient::Ambient,
};
use icepress_storage::Storage;

/// What the engine works with.
#[derive(Debug, Clone)]
pub struct RewriteContext {
    /// Where the files lie.
    pub storage: Arc<dyn Storage>,
    /// Clock, randomness, identifiers.
    pub ambient: Ambient,
    /// How much memory one group may take.
    pub memory_cap: Bytes,
    /// Rows and bytes read so far, for progress bars.
    pub progress: Arc<Progress>,
}

/// How far a rewrite is. Only ever grows.
#[derive(Debug, Default)]
pub struct Progress {
    rows: AtomicU64,
    bytes: AtomicU64,
}

impl Progress {
    /// Counts a part of an input as read.
    pub fn add(&self, rows: Rows, bytes: Bytes) {
        self.rows.fetch_add(rows.get(), Ordering::Relaxed);
        self.bytes.fetch_add(bytes.get(), Ordering::Relaxed);
    }

    /// Rows and input bytes read so far.
    pub fn read(&self) -> (Rows, Bytes) {
        (
            Rows(self.rows.load(Ordering::Relaxed)),
            Bytes(self.bytes.load(Ordering::Relaxed)),
        )
    }
}

/// Rewrites one group: reads its inputs by field id under the table's current schema, leaves out deleted rows, and
/// writes files of the group's target size.
///
/// `metadata` is the table at the task's base state. On failure the files written so far are aborted where they were
/// not finished; finished ones carry process, task and attempt in their names and count for nothing.
pub async fn rewrite_group(
    _context: &RewriteContext,
    _metadata: &TableMetadata,
    _task: &GroupTask,
    _attempt: Attempt,
) -> Result<GroupResult, RewriteFailure> {
    std::future::pending().await
}
