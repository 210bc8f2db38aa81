//! Processes that write files under names of their own.

use std::fmt::Debug;

use async_trait::async_trait;
use icepress_model::{Attempt, ProcessId, TableId};

/// What can still become of the files that a process wrote.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fate {
    /// Nobody can tell: its files are as anybody's.
    Unknown,
    /// It is under way. Of each task, by its index, the attempt that may still report: files of earlier ones are nobody's.
    UnderWay(Vec<Attempt>),
    /// It has ended, and no commit of it can take effect any more: what is not in the table will not come into it.
    Over,
}

/// Who knows what became of processes.
#[async_trait]
pub trait Attempts: Send + Sync + Debug {
    /// What became of a process of the table. The error is a message for people, and stops everything.
    async fn fate(&self, table: &TableId, process: &ProcessId) -> Result<Fate, String>;
}

/// Nobody keeps books of processes.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoAttempts;

#[async_trait]
impl Attempts for NoAttempts {
    async fn fate(&self, _table: &TableId, _process: &ProcessId) -> Result<Fate, String> {
        Ok(Fate::Unknown)
    }
}
