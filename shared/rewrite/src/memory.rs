//! Who holds how much memory, against the cap of one group.
//!
//! What is held for long is counted before it is: bytes fetched and footers (`ahead`, `piece`), pages and dictionaries that are
//! being decoded, by what their headers claim (`piece`), delete sets (`keys`, `positions`), the open row group of the writer
//! (`row_group`). The cap is shared out once, so that no part can starve another; whoever can't make do with its share refuses
//! the group with a reason instead of growing. Only the writer takes what the reader leaves.
//!
//! | what | takes from | where it does not fit |
//! |---|---|---|
//! | files and row groups that are fetched, and their footers | `ahead`, and `piece` for the one that is decoded | waits; one that is too large by itself is refused |
//! | pages, dictionaries | `piece` | refused, by column and value |
//! | a batch | `batch` | fewer rows, down to one |
//! | keys of equality deletes | `keys` | a Bloom filter, then rows that may be deleted, some at a time (`deletes`) |
//! | positions | `positions` | refused |
//! | the open row group | `row_group`, and what others leave | ends early, but never so that there are more than before |
//! | parts on their way to S3 | a quarter of the cap, beside it | smaller parts, then the writer waits |
//! | footers and column chunks of a merge | its own shares (`merge`) | rows are decoded |
//!
//! A commit comes after, when nothing of this is held: its manifests take permits of their own (`table`'s `manifests`).

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use icepress_model::Bytes;

/// Files up to this size come in one request.
const SMALL_FILE: u64 = 8 << 20;
/// More than this is never fetched ahead: it would only wait.
const MOST_AHEAD: u64 = 192 << 20;
/// Larger parts of a file cost no fewer requests that anybody would notice.
const MOST_PARTS: u64 = 128 << 20;
/// Decoded batches: large enough to make each worth its while, small enough for the processor's cache.
const BATCH: std::ops::RangeInclusive<u64> = 256 << 10..=24 << 20;

/// What a column takes to be decoded, and again to be encoded, however little of it there is: buffers for levels and
/// indices (measured). Of a thousand columns, that is more than their pages.
pub(crate) const COLUMN: u64 = 20 << 10;
/// Batches that are there at a time: decoded, filtered, and the step of it that is being encoded.
const BATCHES: u64 = 3;

/// The shares of one group's memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Shares {
    /// The cap itself.
    pub(crate) cap: u64,
    /// What is fetched ahead of the decoder.
    pub(crate) ahead: u64,
    /// What may be free at all, deletes taken off.
    free: u64,
    /// The largest piece that must be held at once to be decoded: a row group, or a whole small file, with the pages
    /// that are being decoded.
    pub(crate) piece: u64,
    /// Up to what size a file is read whole.
    pub(crate) small_file: u64,
    /// Keys of equality deletes. What does not fit is looked up by way of a Bloom filter.
    pub(crate) keys: u64,
    /// Positions of deleted rows.
    pub(crate) positions: u64,
    /// The writer's open row group at least; one that is fuller than what is left is ended early.
    pub(crate) row_group: u64,
    /// One decoded batch.
    pub(crate) batch: u64,
}

impl Shares {
    /// The shares of `cap` while deletes are loaded: nothing is written then.
    pub(crate) fn of(cap: Bytes) -> Self {
        let cap = cap.get();
        Self {
            keys: cap / 4,
            positions: cap / 6,
            ..Self::split(cap, cap - cap / 4 - cap / 6)
        }
    }

    /// The shares once deletes are loaded and take `held` bytes.
    pub(crate) fn after_deletes(self, held: u64) -> Self {
        Self {
            keys: self.keys,
            positions: self.positions,
            ..Self::split(self.cap, self.cap.saturating_sub(held))
        }
    }

    /// Parts of the open file on their way to storage. They are beside the cap, which leaves a quarter of what there is.
    pub(crate) fn parts(&self) -> u64 {
        (self.cap / 4).min(MOST_PARTS)
    }

    /// What is left beside somebody who holds a whole piece and has fetched ahead.
    pub(crate) fn beside_another(self) -> Self {
        let free = self.free;
        Self {
            ahead: free / 20,
            piece: free / 5,
            small_file: self.small_file.min(free / 40),
            ..self
        }
    }

    /// What is left for the open row group while a piece of `reading` bytes is being decoded.
    pub(crate) fn left_to_write(&self, reading: u64) -> u64 {
        let others = reading + self.ahead + BATCHES * self.batch;
        self.free.saturating_sub(others).max(self.row_group)
    }

    /// Shares out `free` bytes among what reads and writes.
    fn split(cap: u64, free: u64) -> Self {
        Self {
            cap,
            free,
            ahead: (free * 3 / 20).min(MOST_AHEAD),
            piece: free / 2,
            small_file: SMALL_FILE.min(free / 16),
            keys: 0,
            positions: 0,
            row_group: free * 3 / 10,
            batch: (free / 24).clamp(*BATCH.start(), *BATCH.end()),
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

impl Held {
    /// How many bytes.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Counts so many more.
    pub(crate) fn grow(&mut self, bytes: u64) {
        self.gauge.0.fetch_add(bytes, Ordering::Relaxed);
        self.bytes += bytes;
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
