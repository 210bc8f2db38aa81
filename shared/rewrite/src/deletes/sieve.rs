//! Keys of equality deletes that do not fit their share of memory, looked up the other way round.
//!
//! A Bloom filter of all keys, some ten bits for each, goes over the key columns of the inputs, and leaves few rows more than
//! are deleted. These are held, with their keys; the delete files, read once more, tell which of them go, and the positions
//! found are kept as bitmaps. So key columns of inputs, which are most of what there is to read, are decoded once however many
//! keys there are, and delete files twice. Where even the rows that are left do not fit, the delete files are read again for
//! each memory full of them.

use parquet::bloom_filter::Sbbf;

use super::{key_set::KeySet, position::DeletedPositions};

/// How many of the rows whose keys nobody deleted the filter lets through. (Bits a key are 8 to 16 then.)
const FALSE_POSITIVES: f64 = 0.01;
/// The filter's part of the memory for keys at most. With less than it needs it lets more rows through.
const PART: u64 = 3;

/// All deleted keys, about.
#[derive(Debug)]
pub(super) struct Sieve(Sbbf);

impl Sieve {
    /// For so many keys, in a part of `most` bytes.
    pub(super) fn new(keys: u64, most: u64) -> Self {
        let part = Self::reserved(most).max(1);
        // The filter takes a power of two.
        let fitting = 1 << part.ilog2();
        let bytes = bytes_for(keys).next_power_of_two().min(fitting);
        Self(Sbbf::new_with_num_of_bytes(bytes as usize))
    }

    /// Bytes that it holds at most, of `most` for all keys.
    pub(super) fn reserved(most: u64) -> u64 {
        most / PART
    }

    pub(super) fn add(&mut self, key: &[u8]) {
        self.0.insert(key);
    }

    /// Whether a key may be one of these.
    pub(super) fn may_hold(&self, key: &[u8]) -> bool {
        self.0.check(key)
    }
}

/// What a split block filter of eight bits a key takes for so many keys (Parquet's specification, *Bloom Filter*, "Sizing an
/// SBBF").
fn bytes_for(keys: u64) -> u64 {
    let bits = -8.0 * keys as f64 / (1.0 - FALSE_POSITIVES.powf(1.0 / 8.0)).ln();
    (bits / 8.0) as u64
}

/// Rows that may be deleted.
#[derive(Debug)]
pub(super) struct Candidates {
    /// For each kind of key theirs, and when it was deleted last as far as is known.
    keys: Vec<KeySet>,
    rows: Vec<Row>,
}

#[derive(Debug)]
struct Row {
    kind: u32,
    /// The number of its key.
    key: u32,
    input: u32,
    position: u64,
}

/// Lower than all sequence numbers.
const NEVER: i64 = i64::MIN;

impl Candidates {
    /// None, of so many kinds of keys.
    pub(super) fn of_kinds(kinds: usize) -> Self {
        Self {
            keys: (0..kinds).map(|_| KeySet::default()).collect(),
            rows: Vec::new(),
        }
    }

    /// Adds a row of an input. `false` where its key can't be held, whatever the memory.
    #[must_use]
    pub(super) fn add(&mut self, kind: usize, key: &[u8], (input, position): (usize, u64)) -> bool {
        let Some(key) = self.keys[kind].insert(key, NEVER) else {
            return false;
        };
        self.rows.push(Row {
            kind: kind as u32,
            key,
            input: input as u32,
            position,
        });
        true
    }

    /// Bytes held.
    pub(super) fn memory(&self) -> u64 {
        let keys: u64 = self.keys.iter().map(KeySet::memory).sum();
        keys + (self.rows.capacity() * size_of::<Row>()) as u64
    }

    pub(super) fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// Takes note of a deleted key.
    pub(super) fn delete(&mut self, kind: usize, key: &[u8], sequence: i64) {
        self.keys[kind].raise(key, sequence);
    }

    /// Marks the rows whose keys were deleted after their input came; `sequences` says when that was.
    pub(super) fn mark(self, positions: &mut DeletedPositions, sequences: impl Fn(usize) -> i64) {
        for row in self.rows {
            let input = row.input as usize;
            let deleted = self.keys[row.kind as usize].sequence_of(row.key);
            if deleted > sequences(input) {
                positions.mark(input, row.position);
            }
        }
    }
}
