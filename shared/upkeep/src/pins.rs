//! Snapshots that somebody works on.

use std::fmt::Debug;

use async_trait::async_trait;
use icepress_model::{SnapshotId, TableId};
use serde::Serialize;

/// A snapshot that must stay although no branch or tag needs it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Pin {
    /// The snapshot.
    pub snapshot_id: SnapshotId,
    /// Who needs it, for people: `process 0198…`.
    pub by: String,
}

/// Who knows which snapshots are in use.
///
/// Asked after a table is loaded and before a commit is tried on that state, at each try. Whoever begins work on a snapshot
/// in between has loaded the table before us or later: later, it found what we keep; before, the snapshot was current
/// then, and one that was current within the floor of age stays.
#[async_trait]
pub trait Pins: Send + Sync + Debug {
    /// The snapshots of the table that are in use. The error is a message for people, and stops everything.
    async fn of(&self, table: &TableId) -> Result<Vec<Pin>, String>;
}

/// Nobody works on any table.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoPins;

#[async_trait]
impl Pins for NoPins {
    async fn of(&self, _table: &TableId) -> Result<Vec<Pin>, String> {
        Ok(Vec::new())
    }
}
