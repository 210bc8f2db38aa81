//! A set of encoded keys with the greatest sequence number each was deleted at.
//!
//! One flat arena and one open-addressing table: an entry costs its bytes and about 32 more, and the size is known
//! exactly, which a memory cap needs.

use xxhash_rust::xxh3::xxh3_64;

/// Keys and the greatest sequence number at which each was deleted.
#[derive(Debug, Default)]
pub(crate) struct KeySet {
    arena: Vec<u8>,
    entries: Vec<Entry>,
    /// Index of an entry plus one; 0 is free. A power of two, at least half of it free.
    slots: Vec<u32>,
}

#[derive(Debug, Clone, Copy)]
struct Entry {
    start: u64,
    length: u32,
    /// The upper half of the hash: tells most keys apart without looking at them.
    tag: u32,
    sequence: i64,
}

/// The set can't count further than this.
const MOST_ENTRIES: usize = u32::MAX as usize - 1;

impl KeySet {
    /// Adds a key, and returns its number: keys count from 0. `None` where the set has no room for another, whatever the
    /// memory.
    #[must_use]
    pub(crate) fn insert(&mut self, key: &[u8], sequence: i64) -> Option<u32> {
        if (self.entries.len() + 1) * 2 > self.slots.len() {
            self.grow();
        }
        let hash = xxh3_64(key);
        let slot = self.slot_of(key, hash);
        match self.slots[slot] {
            0 => {
                let length = u32::try_from(key.len()).ok()?;
                if self.entries.len() >= MOST_ENTRIES {
                    return None;
                }
                self.entries.push(Entry {
                    start: self.arena.len() as u64,
                    length,
                    tag: (hash >> 32) as u32,
                    sequence,
                });
                self.arena.extend_from_slice(key);
                self.slots[slot] = self.entries.len() as u32;
                Some(self.entries.len() as u32 - 1)
            }
            taken => {
                let entry = &mut self.entries[taken as usize - 1];
                entry.sequence = entry.sequence.max(sequence);
                Some(taken - 1)
            }
        }
    }

    /// Notes that a key was deleted at `sequence`, if it is one of these.
    pub(crate) fn raise(&mut self, key: &[u8], sequence: i64) {
        if self.slots.is_empty() {
            return;
        }
        let slot = self.slot_of(key, xxh3_64(key));
        if let Some(number) = self.slots[slot].checked_sub(1) {
            let entry = &mut self.entries[number as usize];
            entry.sequence = entry.sequence.max(sequence);
        }
    }

    /// The greatest sequence number of the key with this number.
    pub(crate) fn sequence_of(&self, number: u32) -> i64 {
        self.entries[number as usize].sequence
    }

    /// All keys.
    pub(crate) fn keys(&self) -> impl Iterator<Item = &[u8]> {
        self.entries.iter().map(|entry| self.key_of(entry))
    }

    /// The greatest sequence number at which `key` was deleted.
    pub(crate) fn deleted_at(&self, key: &[u8]) -> Option<i64> {
        if self.slots.is_empty() {
            return None;
        }
        match self.slots[self.slot_of(key, xxh3_64(key))] {
            0 => None,
            taken => Some(self.entries[taken as usize - 1].sequence),
        }
    }

    /// Whether there is no key.
    pub(crate) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Bytes held.
    pub(crate) fn memory(&self) -> u64 {
        (self.arena.capacity()
            + self.entries.capacity() * size_of::<Entry>()
            + self.slots.capacity() * size_of::<u32>()) as u64
    }

    /// The slot that holds `key`, or the free one where it belongs.
    fn slot_of(&self, key: &[u8], hash: u64) -> usize {
        let mask = self.slots.len() - 1;
        let mut slot = hash as usize & mask;
        loop {
            match self.slots[slot] {
                0 => return slot,
                taken => {
                    let entry = &self.entries[taken as usize - 1];
                    if entry.tag == (hash >> 32) as u32 && self.key_of(entry) == key {
                        return slot;
                    }
                }
            }
            slot = (slot + 1) & mask;
        }
    }

    fn key_of(&self, entry: &Entry) -> &[u8] {
        &self.arena[entry.start as usize..][..entry.length as usize]
    }

    fn grow(&mut self) {
        let size = (self.slots.len() * 2).max(16);
        let mut slots = vec![0u32; size];
        for (entry, number) in self.entries.iter().zip(1u32..) {
            let mut slot = xxh3_64(self.key_of(entry)) as usize & (size - 1);
            while slots[slot] != 0 {
                slot = (slot + 1) & (size - 1);
            }
            slots[slot] = number;
        }
        self.slots = slots;
    }
}
