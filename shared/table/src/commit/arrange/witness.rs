//! What must not change of a manifest's live entries, in as little memory as can be: a sum over hashes, the same in any order.

use xxhash_rust::xxh3::xxh3_128;

use crate::manifests::{LiveEntry, PartitionKey};

/// Row ids from here on were inherited, and not written down: no table gets as far.
pub(super) const INHERITED: i64 = 1 << 62;

/// A multiset of live entries.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Witness {
    entries: u64,
    sum: u128,
}

impl Witness {
    /// Adds an entry: the file and everything that a commit gave it. Metrics are carried over as they are, and not looked at.
    pub(super) fn add(&mut self, entry: &LiveEntry<'_>, partition: &PartitionKey) {
        let file = &entry.file;
        let mut bytes = Vec::with_capacity(file.path.len() + partition.text().len() + 96);
        let blob = file.blob.unwrap_or((u64::MAX, u64::MAX));
        let first_row_id = file.first_row_id.filter(|id| *id < INHERITED);
        let numbers = [
            file.content as i64,
            i64::from(partition.spec_id),
            file.rows as i64,
            file.size as i64,
            blob.0 as i64,
            blob.1 as i64,
            entry.snapshot_id,
            entry.sequence_number,
            entry.file_sequence_number.unwrap_or(-1),
            first_row_id.unwrap_or(-1),
            file.path.len() as i64,
        ];
        for number in numbers {
            bytes.extend(number.to_le_bytes());
        }
        bytes.extend(file.path.as_bytes());
        bytes.extend(partition.text().as_bytes());
        self.entries += 1;
        self.sum = self.sum.wrapping_add(xxh3_128(&bytes));
    }

    /// How many there are.
    pub(super) fn entries(&self) -> u64 {
        self.entries
    }
}
