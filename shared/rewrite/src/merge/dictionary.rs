//! The values of dictionaries, and several dictionaries united into one.

use std::{borrow::Cow, collections::HashSet, ops::Range};

use parquet::basic::Type;
use xxhash_rust::xxh3::xxh3_64;

use super::{Sound, refused};

/// The values of a dictionary, or of a page of plain values, in Parquet's plain form: a text with its length before it.
#[derive(Debug, Clone)]
pub(super) struct Values<'a> {
    bytes: Cow<'a, [u8]>,
    /// Where each value ends; empty where all are equally long.
    ends: Vec<u32>,
    /// How long each is, where all are equally long.
    width: usize,
    count: usize,
}

/// Bytes of a value of a physical type; `None` where each says so itself.
pub(super) fn fixed_width(physical: Type, type_length: i32) -> Option<usize> {
    match physical {
        Type::INT32 | Type::FLOAT => Some(4),
        Type::INT64 | Type::DOUBLE => Some(8),
        Type::INT96 => Some(12),
        Type::FIXED_LEN_BYTE_ARRAY => usize::try_from(type_length).ok(),
        Type::BYTE_ARRAY | Type::BOOLEAN => None,
    }
}

impl<'a> Values<'a> {
    /// The `count` values in `bytes`, of `width` bytes each or with their lengths before them.
    pub(super) fn new(bytes: Cow<'a, [u8]>, count: u64, width: Option<usize>) -> Sound<Self> {
        let wrong = || refused("plain values don't fill their page");
        let count = usize::try_from(count).map_err(|_| wrong())?;
        if u32::try_from(bytes.len()).is_err() {
            return Err(refused("plain values of more than 4 GiB"));
        }
        let mut ends = Vec::new();
        match width {
            Some(width) if count.checked_mul(width) == Some(bytes.len()) && width > 0 => {}
            Some(_) => return Err(wrong()),
            None => {
                // Each takes four bytes or more, whatever the header claims.
                ends.reserve(count.min(bytes.len() / 4));
                let mut at = 0usize;
                for _ in 0..count {
                    let head = bytes.get(at..).and_then(|rest| rest.first_chunk::<4>());
                    let length = u32::from_le_bytes(*head.ok_or_else(wrong)?) as usize;
                    at = at + 4 + length;
                    if at > bytes.len() {
                        return Err(wrong());
                    }
                    ends.push(at as u32);
                }
                if at != bytes.len() {
                    return Err(wrong());
                }
            }
        }
        Ok(Self {
            bytes,
            ends,
            width: width.unwrap_or(0),
            count,
        })
    }

    pub(super) fn count(&self) -> usize {
        self.count
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    fn range(&self, index: usize) -> Option<Range<usize>> {
        if self.width > 0 {
            return (index < self.count).then(|| index * self.width..(index + 1) * self.width);
        }
        let end = *self.ends.get(index)? as usize;
        let start = match index {
            0 => 0,
            _ => self.ends[index - 1] as usize,
        };
        Some(start..end)
    }

    /// A value in its plain form.
    pub(super) fn get(&self, index: usize) -> Option<&[u8]> {
        self.range(index).map(|range| &self.bytes[range])
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &[u8]> {
        (0..self.count).filter_map(|index| self.get(index))
    }

    /// Adds the values that `indices` point to, of which there may be `most` bytes.
    pub(super) fn spell(&self, indices: &[u32], most: usize, out: &mut Vec<u8>) -> Sound<()> {
        let beyond = super::hybrid::beyond;
        let too_large = || refused("a page would be too large without its dictionary");
        if indices.len().saturating_mul(self.width) > most {
            return Err(too_large());
        }
        match self.width {
            8 => gather::<8>(&self.bytes, indices, out),
            4 => gather::<4>(&self.bytes, indices, out),
            _ => {
                for index in indices {
                    let value = self.get(*index as usize).ok_or_else(beyond)?;
                    out.extend_from_slice(value);
                    if out.len() > most {
                        return Err(too_large());
                    }
                }
                Some(())
            }
        }
        .ok_or_else(beyond)
    }
}

fn gather<const W: usize>(values: &[u8], indices: &[u32], out: &mut Vec<u8>) -> Option<()> {
    let (values, _) = values.as_chunks::<W>();
    out.reserve(indices.len() * W);
    for index in indices {
        out.extend_from_slice(values.get(*index as usize)?);
    }
    Some(())
}

/// So many values are looked up at a time.
const AT_ONCE: usize = 64;

/// Where a value is likely to be.
struct Likely {
    hash: u64,
    place: Option<u32>,
}

/// Dictionaries in one.
#[derive(Debug)]
pub(super) struct Union {
    bytes: Vec<u8>,
    /// Where each value ends.
    ends: Vec<u32>,
    /// Places of values by their hashes, one above: 0 is free. With them, a part of the hash.
    slots: Vec<(u32, u32)>,
}

impl Union {
    pub(super) fn new() -> Self {
        Self {
            bytes: Vec::new(),
            ends: Vec::new(),
            slots: vec![(0, 0); 1024],
        }
    }

    pub(super) fn count(&self) -> usize {
        self.ends.len()
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    pub(super) fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }

    fn get(&self, index: usize) -> &[u8] {
        let start = match index {
            0 => 0,
            _ => self.ends[index - 1] as usize,
        };
        &self.bytes[start..self.ends[index] as usize]
    }

    /// The place of a value, or the free slot that it would have.
    fn find(&self, value: &[u8], hash: u64) -> Result<u32, usize> {
        let mask = self.slots.len() - 1;
        let part = (hash >> 32) as u32;
        let mut slot = hash as usize & mask;
        loop {
            match self.slots[slot] {
                (0, _) => return Err(slot),
                (place, held) if held == part && self.get(place as usize - 1) == value => {
                    return Ok(place - 1);
                }
                _ => slot = (slot + 1) & mask,
            }
        }
    }

    /// Bytes that the union would grow by.
    pub(super) fn missing(&self, values: &Values<'_>) -> usize {
        let mut new = HashSet::new();
        let missing = values
            .iter()
            .filter(|value| self.find(value, xxh3_64(value)).is_err() && new.insert(*value));
        missing.map(<[u8]>::len).sum()
    }

    /// Takes in a dictionary; returns the place of each of its values. `None` where there would be more than can be
    /// counted.
    pub(super) fn add(&mut self, values: &Values<'_>) -> Option<Vec<u32>> {
        let most = u32::MAX as usize / 2;
        if self.bytes.len() + values.bytes().len() > most || self.count() + values.count() > most {
            return None;
        }
        let mut places = Vec::with_capacity(values.count());
        let (mut batch, mut likely) = (Vec::with_capacity(AT_ONCE), Vec::with_capacity(AT_ONCE));
        let mut left = values.iter();
        loop {
            batch.clear();
            batch.extend(left.by_ref().take(AT_ONCE));
            if batch.is_empty() {
                return Some(places);
            }
            self.look_ahead(&batch, &mut likely);
            for (value, likely) in batch.iter().zip(&likely) {
                let place = match likely.place {
                    Some(place) if self.get(place as usize) == *value => place,
                    _ => self.place(value, likely.hash),
                };
                places.push(place);
            }
        }
    }

    /// Where the values of a batch are likely to be: in the first slot that their hashes lead to. Each step is done for all
    /// before the next, so that the memory that they lie in is waited for once, not one after the other.
    fn look_ahead(&self, values: &[&[u8]], likely: &mut Vec<Likely>) {
        let mask = self.slots.len() - 1;
        likely.clear();
        likely.extend(values.iter().map(|value| {
            let hash = xxh3_64(value);
            let (above, part) = self.slots[hash as usize & mask];
            Likely {
                hash,
                place: above.checked_sub(1).filter(|_| part == (hash >> 32) as u32),
            }
        }));
        for (value, likely) in values.iter().zip(likely) {
            likely.place = likely.place.filter(|place| {
                let held = self.get(*place as usize);
                held.len() == value.len() && held.first() == value.first()
            });
        }
    }

    /// The place of a value, which it gets if it has none.
    fn place(&mut self, value: &[u8], hash: u64) -> u32 {
        if self.count() * 2 >= self.slots.len() {
            self.grow();
        }
        match self.find(value, hash) {
            Ok(place) => place,
            Err(slot) => {
                self.bytes.extend_from_slice(value);
                self.ends.push(self.bytes.len() as u32);
                let above = self.count() as u32;
                self.slots[slot] = (above, (hash >> 32) as u32);
                above - 1
            }
        }
    }

    fn grow(&mut self) {
        let mask = self.slots.len() * 2 - 1;
        let mut slots = vec![(0, 0); mask + 1];
        for index in 0..self.count() {
            let hash = xxh3_64(self.get(index));
            let mut slot = hash as usize & mask;
            while slots[slot].0 != 0 {
                slot = (slot + 1) & mask;
            }
            slots[slot] = (index as u32 + 1, (hash >> 32) as u32);
        }
        self.slots = slots;
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use proptest::{collection::vec, prelude::*};

    use super::*;

    fn dictionary(values: &[String]) -> Values<'static> {
        let mut plain = Vec::new();
        for value in values {
            plain.extend((value.len() as u32).to_le_bytes());
            plain.extend(value.as_bytes());
        }
        Values::new(Cow::Owned(plain), values.len() as u64, None).unwrap()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]

        /// Each value has one place, whichever dictionaries it is in and however often, and lies there.
        #[test]
        fn a_value_has_one_place(dictionaries in vec(vec("[a-c]{0,6}", 0..900), 1..4)) {
            let mut union = Union::new();
            let mut known: HashMap<String, u32> = HashMap::new();
            for values in dictionaries {
                let places = union.add(&dictionary(&values)).unwrap();
                prop_assert_eq!(places.len(), values.len());
                for (value, place) in values.into_iter().zip(places) {
                    prop_assert_eq!(&union.get(place as usize)[4..], value.as_bytes());
                    prop_assert_eq!(*known.entry(value).or_insert(place), place);
                }
            }
            prop_assert_eq!(union.count(), known.len());
        }
    }
}
