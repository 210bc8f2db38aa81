//! The record of what a census saw: 16 bytes a table, and 8 at its end where any table may be only observed.

use std::collections::BTreeMap;

use icepress_coordination::{Digest, hash_of_name};
use icepress_model::{MetadataLocation, TableId};
use xxhash_rust::xxh3::xxh3_64;

/// Stands in for the hash of a location where a table was missing from the last listing, for the first time.
const MISSING_ONCE: u64 = 0;

/// Stands in for the hash of a location where a table is gone, and its row was there when it was last asked for.
const ASKED_FOR: u64 = 1;

/// Names' hashes of tables that are gone, as far as listings tell.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Gone {
    /// Two complete listings lacked them: nobody has asked for their rows.
    pub(super) first: Vec<u64>,
    /// Their rows were there when they were asked for.
    pub(super) again: Vec<u64>,
}

impl Gone {
    pub(super) fn is_empty(&self) -> bool {
        self.first.is_empty() && self.again.is_empty()
    }

    /// Both together, each once.
    pub(super) fn and(mut self, other: Self) -> Self {
        self.first.extend(other.first);
        self.again.extend(other.again);
        for names in [&mut self.first, &mut self.again] {
            names.sort_unstable();
            names.dedup();
        }
        self
    }
}

/// Whether it is the hash of a location.
fn is_state(location: u64) -> bool {
    location > ASKED_FOR
}

/// One table in one state, as two hashes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Seen {
    pub(super) name: u64,
    pub(super) location: u64,
}

impl Seen {
    pub(super) fn new(table: &TableId, location: &MetadataLocation) -> Self {
        Self {
            name: hash_of_name(&table.name),
            location: xxh3_64(location.as_str().as_bytes()).max(ASKED_FOR + 1),
        }
    }
}

/// All tables of one database, as a census saw them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct SeenTables {
    /// By the hash of a name, that of the location.
    tables: BTreeMap<u64, u64>,
    /// Under which modes: [`crate::Modes::fingerprint`].
    pub(super) modes: Option<u64>,
}

impl SeenTables {
    /// Reads a digest. Bytes that are no whole entry, and no number of modes, are dropped: their tables count as changed, which
    /// is harmless. (Versions that know of no modes drop those.)
    pub(super) fn decode(digest: &Digest) -> Self {
        let (entries, rest) = digest.0.as_chunks::<16>();
        Self {
            modes: (rest.len() == 8).then(|| number(rest)),
            tables: entries
                .iter()
                .map(|entry| {
                    let (name, location) = entry.split_at(8);
                    (number(name), number(location))
                })
                .collect(),
        }
    }

    pub(super) fn encode(&self) -> Digest {
        let mut bytes = Vec::with_capacity(self.tables.len() * 16 + 8);
        for (name, location) in &self.tables {
            bytes.extend_from_slice(&name.to_le_bytes());
            bytes.extend_from_slice(&location.to_le_bytes());
        }
        // Of a database without tables nothing is kept.
        if let Some(modes) = self.modes.filter(|_| !self.is_empty()) {
            bytes.extend_from_slice(&modes.to_le_bytes());
        }
        Digest(bytes)
    }

    /// The table of that name, in whatever state; `None` where it was not there.
    pub(super) fn of_name(&self, name: u64) -> Option<Seen> {
        let location = *self.tables.get(&name)?;
        is_state(location).then_some(Seen { name, location })
    }

    /// Whether anything is known of a table of that name, be it that it was missing.
    pub(super) fn has_name(&self, name: u64) -> bool {
        self.tables.contains_key(&name)
    }

    pub(super) fn contains(&self, seen: &Seen) -> bool {
        self.tables.get(&seen.name) == Some(&seen.location)
    }

    pub(super) fn insert(&mut self, seen: Seen) {
        self.tables.insert(seen.name, seen.location);
    }

    /// Whether nothing is known of any table.
    pub(super) fn is_empty(&self) -> bool {
        self.tables.is_empty()
    }

    /// The names' hashes of tables that are known without a state.
    pub(super) fn missing(&self) -> Vec<u64> {
        let missing = self.tables.iter().filter(|(_, hash)| !is_state(**hash));
        missing.map(|(name, _)| *name).collect()
    }

    /// The names' hashes that `last` knows nothing of.
    pub(super) fn names_beside(&self, last: &Self) -> Vec<u64> {
        let names = self.tables.keys();
        names
            .filter(|name| !last.has_name(**name))
            .copied()
            .collect()
    }

    /// Notes tables by the hashes of their names as missing once, as if they had been there before: the next listing that
    /// lacks them has them gone.
    pub(super) fn miss_again(&mut self, names: &[u64]) {
        self.tables
            .extend(names.iter().map(|name| (*name, MISSING_ONCE)));
    }

    /// Notes tables by the hashes of their names as gone, with a row: the next listing that lacks them has it asked for again.
    pub(super) fn ask_again(&mut self, names: &[u64]) {
        self.tables
            .extend(names.iter().map(|name| (*name, ASKED_FOR)));
    }

    /// Tables that are there.
    pub(super) fn len(&self) -> u64 {
        self.tables.values().filter(|hash| is_state(**hash)).count() as u64
    }

    /// Takes over tables that `last` had and this listing lacks, as missing once. Those that were missing once
    /// already are gone: their names' hashes are returned (case B05).
    pub(super) fn carry_over_missing(&mut self, last: &Self) -> Gone {
        let mut gone = Gone::default();
        for (name, location) in &last.tables {
            if self.tables.contains_key(name) {
                continue;
            }
            match *location {
                MISSING_ONCE => gone.first.push(*name),
                ASKED_FOR => gone.again.push(*name),
                _ => {
                    self.tables.insert(*name, MISSING_ONCE);
                }
            }
        }
        gone
    }
}

pub(super) fn number(bytes: &[u8]) -> u64 {
    bytes
        .iter()
        .rev()
        .fold(0, |number, byte| (number << 8) | u64::from(*byte))
}

#[cfg(test)]
mod tests;
