//! Who holds how much memory, against the cap of one group.
//!
//! What is held for long is counted: bytes fetched and not yet decoded, delete sets, the open row group of the writer.
//! The cap is shared out once, so that no part can starve another; whoever can't make do with its share refuses
//! the group with a reason instead of growing.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use icepress_model::Bytes;

/// The shares of one group's memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Shares {
    /// The cap itself.
    pub(crate) cap: u64,
    /// What is fetched ahead of the decoder.
    pub(crate) ahead: u64,
    /// The largest piece that must be held at once to be decoded: a row group, or a whole small file.
    pub(crate) piece: u64,
    /// Keys of equality deletes. More of them are applied in several passes.
    pub(crate) keys: u64,
    /// Positions of deleted rows.
    pub(crate) positions: u64,
    /// The writer's open row group; a fuller one is ended early.
    pub(crate) row_group: u64,
    /// One decoded batch.
    pub(crate) batch: u64,
}

impl Shares {
    /// The shares of `cap`.
    pub(crate) fn of(cap: Bytes) -> Self {
        let cap = cap.get();
        Self {
            cap,
            ahead: (cap / 6).min(192 << 20),
            piece: cap / 4,
            keys: cap / 4,
            positions: cap / 6,
            row_group: cap / 4,
            batch: (cap / 24).clamp(256 << 10, 24 << 20),
        }
    }
}

/// Bytes held by one part of the engine.
#[derive(Debug, Clone, Default)]
pub(crate) struct Gauge(Arc<AtomicU64>);

impl Gauge {
    /// Counts `bytes` as held until the guard is dropped.
    pub(crate) fn hold(&self, bytes: u64) -> Held {
        self.0.fetch_add(bytes, Ordering::Relaxed);
        Held {
            gauge: self.clone(),
            bytes,
        }
    }

    /// What is held now.
    pub(crate) fn held(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// Bytes that somebody holds.
#[derive(Debug)]
pub(crate) struct Held {
    gauge: Gauge,
    bytes: u64,
}

impl Drop for Held {
    fn drop(&mut self) {
        self.gauge.0.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}
