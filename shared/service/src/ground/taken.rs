//! How far this process of the program saw queues come: when the newest message was sent that somebody took out.
//!
//! What was sent long before that, and was not taken out, is lost. Which table is looked at first decides nothing then, and a
//! successor that knows nothing yet sends again later, not less.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
};

use icepress_model::{BucketId, TimestampMs};

/// By the bucket of the queue. Clones are the same.
#[derive(Debug, Clone, Default)]
pub struct TakenOut(Arc<Mutex<BTreeMap<BucketId, TimestampMs>>>);

impl TakenOut {
    /// Notes that a message was taken out that was sent at `sent_at`.
    pub(crate) fn note(&self, bucket: BucketId, sent_at: TimestampMs) {
        let mut newest = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let newest = newest.entry(bucket).or_insert(sent_at);
        *newest = sent_at.max(*newest);
    }

    /// When the newest was sent; `None` where none was seen.
    pub(crate) fn newest(&self, bucket: BucketId) -> Option<TimestampMs> {
        let newest = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        newest.get(&bucket).copied()
    }
}
