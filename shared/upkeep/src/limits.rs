//! How much one run may delete. What is left over is written down, and the next run goes on.

use std::time::Duration;

use icepress_model::{Bytes, ambient::Ambient};

/// What one run may do at most.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Limits {
    /// Files to delete; `None` for all.
    pub files: Option<u64>,
    /// Bytes to delete, as far as sizes are known; `None` for all.
    pub bytes: Option<Bytes>,
    /// For how long new deletions are begun; `None` for as long as it takes.
    pub time: Option<Duration>,
}

/// What a run has left of its limits.
#[derive(Debug)]
pub(crate) struct Meter<'a> {
    limits: Limits,
    ambient: &'a Ambient,
    began: Duration,
    files: u64,
    bytes: u64,
}

impl<'a> Meter<'a> {
    pub(crate) fn start(limits: Limits, ambient: &'a Ambient) -> Self {
        Self {
            limits,
            began: ambient.clock.monotonic(),
            ambient,
            files: 0,
            bytes: 0,
        }
    }

    /// Of so many files that wait, how many may be deleted now; 0 where a limit is reached.
    pub(crate) fn room(&self, wanted: usize) -> usize {
        let elapsed = self.ambient.clock.monotonic().saturating_sub(self.began);
        let is_late = self.limits.time.is_some_and(|time| elapsed >= time);
        let is_full = self
            .limits
            .bytes
            .is_some_and(|most| self.bytes >= most.get());
        if is_late || is_full {
            return 0;
        }
        match self.limits.files {
            None => wanted,
            Some(most) => {
                let left = most.saturating_sub(self.files);
                wanted.min(usize::try_from(left).unwrap_or(usize::MAX))
            }
        }
    }

    pub(crate) fn add(&mut self, files: u64, bytes: u64) {
        self.files += files;
        self.bytes = self.bytes.saturating_add(bytes);
    }
}
