//! Which delete files apply to a data file, found without trying them all.
//!
//! The rules are in [`DeleteScope`], for one delete file and one data file; here is how they are followed for many.
//!
//! A look-up costs what it finds and a logarithm, so that planning stays linear in data files and delete files; what
//! applies to a whole partition is handed out as a slice of a sorted list, so that not even long lists are copied.

mod ranges;
mod scope;

use std::collections::HashMap;

use icepress_model::SequenceNumber;
use thiserror::Error;
use xxhash_rust::xxh3::xxh3_64;

use ranges::Ranges;
pub(crate) use scope::DeleteTraits;
pub use scope::{DataFileAt, DataFiles, DeleteScope, Need};

#[cfg(test)]
mod tests;

/// A delete file in an index: its number, and its sequence number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IndexedDelete {
    /// Its number: the place that it had when the index was built.
    pub number: u32,
    /// Its data sequence number.
    pub sequence_number: SequenceNumber,
}

/// Two live deletion vectors for one data file, which the specification forbids.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("data file {0} has two live deletion vectors")]
pub struct DuplicateVector(pub String);

/// Delete files, by where they apply.
#[derive(Debug, Default)]
pub struct DeleteIndex {
    /// Sorted by sequence number, as are all lists here.
    everywhere: Vec<IndexedDelete>,
    equality: HashMap<u32, Vec<IndexedDelete>>,
    partition_wide: HashMap<u32, Vec<IndexedDelete>>,
    ranges: HashMap<u32, Ranges>,
    by_path: PathMap,
    vectors: PathMap,
}

/// What applies to one data file.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Matches<'a> {
    /// Equality deletes of the whole table.
    pub everywhere: &'a [IndexedDelete],
    /// Equality deletes of its partition.
    pub equality: &'a [IndexedDelete],
    /// Position deletes of its partition without bounds.
    pub partition_wide: &'a [IndexedDelete],
    /// Position deletes of its partition whose bounds its path lies within.
    pub ranged: Vec<IndexedDelete>,
    /// Position deletes, or the deletion vector, that name it.
    pub named: Vec<IndexedDelete>,
}

impl Matches<'_> {
    /// How many there are.
    pub fn len(&self) -> usize {
        self.everywhere.len()
            + self.equality.len()
            + self.partition_wide.len()
            + self.ranged.len()
            + self.named.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Their numbers.
    pub fn numbers(&self) -> impl Iterator<Item = u32> + '_ {
        self.everywhere
            .iter()
            .chain(self.equality)
            .chain(self.partition_wide)
            .chain(&self.ranged)
            .chain(&self.named)
            .map(|delete| delete.number)
    }
}

impl DeleteIndex {
    /// An index of these deletes, numbered in their order. Fails where two vectors name one data file.
    pub fn new(
        deletes: impl IntoIterator<Item = (DeleteScope, SequenceNumber)>,
    ) -> Result<Self, DuplicateVector> {
        let mut index = Self::default();
        let mut ranges: HashMap<u32, Vec<(String, String, IndexedDelete)>> = HashMap::new();
        for ((scope, sequence_number), number) in deletes.into_iter().zip(0..) {
            let delete = IndexedDelete {
                number,
                sequence_number,
            };
            match scope {
                DeleteScope::EqualityEverywhere => index.everywhere.push(delete),
                DeleteScope::EqualityInPartition(partition) => {
                    index.equality.entry(partition).or_default().push(delete);
                }
                DeleteScope::PositionInPartition(partition, None) => {
                    let list = index.partition_wide.entry(partition).or_default();
                    list.push(delete);
                }
                DeleteScope::PositionInPartition(partition, Some((lower, upper))) => {
                    let list = ranges.entry(partition).or_default();
                    list.push((lower, upper, delete));
                }
                DeleteScope::PositionOfFile(path) | DeleteScope::PositionWithinBounds(path) => {
                    index.by_path.add(path, delete);
                }
                DeleteScope::VectorOfFile(path) => index.vectors.add(path, delete),
            }
        }
        let lists = index.equality.values_mut();
        for list in lists
            .chain(index.partition_wide.values_mut())
            .chain([&mut index.everywhere])
        {
            list.sort_by_key(|delete| delete.sequence_number);
        }
        index.ranges = ranges
            .into_iter()
            .map(|(partition, list)| (partition, Ranges::new(list)))
            .collect();
        index.by_path.sort();
        index.vectors.sort();
        match index.vectors.repeated() {
            Some(path) => Err(DuplicateVector(path.to_owned())),
            None => Ok(index),
        }
    }

    /// What applies to the data file `path` of the partition numbered `partition`.
    pub fn for_file(
        &self,
        path: &str,
        partition: u32,
        sequence_number: SequenceNumber,
    ) -> Matches<'_> {
        self.look_up(path, partition, sequence_number).0
    }

    /// The equality deletes of a partition, sorted by sequence number: [`Matches::equality`] is the end of it.
    pub fn equality_of(&self, partition: u32) -> &[IndexedDelete] {
        self.equality.get(&partition).map_or(&[], Vec::as_slice)
    }

    /// The equality deletes of the whole table, sorted by sequence number: [`Matches::everywhere`] is the end of it.
    pub fn equality_everywhere(&self) -> &[IndexedDelete] {
        &self.everywhere
    }

    /// The position deletes of a partition without bounds, sorted by sequence number: [`Matches::partition_wide`] is
    /// the end of it.
    pub fn partition_wide_of(&self, partition: u32) -> &[IndexedDelete] {
        let list = self.partition_wide.get(&partition);
        list.map_or(&[], Vec::as_slice)
    }

    /// Whether [`Matches::ranged`] can have any for a partition.
    pub fn has_ranges(&self, partition: u32) -> bool {
        self.ranges.contains_key(&partition)
    }

    /// The equality deletes that apply to data of a partition with this sequence number.
    pub fn equality_for(
        &self,
        partition: u32,
        sequence_number: SequenceNumber,
    ) -> impl Iterator<Item = &IndexedDelete> {
        newer_than(&self.everywhere, sequence_number)
            .iter()
            .chain(newer_than(self.equality_of(partition), sequence_number))
    }

    /// The matches, and how many deletes were compared to find them.
    fn look_up(
        &self,
        path: &str,
        partition: u32,
        sequence_number: SequenceNumber,
    ) -> (Matches<'_>, usize) {
        let applies = |delete: &IndexedDelete| delete.sequence_number >= sequence_number;
        let mut matches = Matches {
            everywhere: newer_than(&self.everywhere, sequence_number),
            equality: newer_than(self.equality_of(partition), sequence_number),
            ..Matches::default()
        };
        let mut compared = self.vectors.find(path, &applies, &mut matches.named);
        if matches.named.is_empty() {
            let list = self.partition_wide_of(partition);
            let older = list.partition_point(|delete| delete.sequence_number < sequence_number);
            matches.partition_wide = &list[older..];
            compared += self.by_path.find(path, &applies, &mut matches.named);
            if let Some(ranges) = self.ranges.get(&partition) {
                compared += ranges.find(path, &applies, &mut matches.ranged);
            }
        }
        (matches, compared)
    }
}

/// The end of a sorted list, from the first delete with a greater sequence number.
fn newer_than(list: &[IndexedDelete], sequence_number: SequenceNumber) -> &[IndexedDelete] {
    &list[list.partition_point(|delete| delete.sequence_number <= sequence_number)..]
}

/// Deletes by the path that they name.
#[derive(Debug, Default)]
struct PathMap {
    /// Sorted by the path's hash.
    entries: Vec<(u64, Box<str>, IndexedDelete)>,
}

impl PathMap {
    fn add(&mut self, path: String, delete: IndexedDelete) {
        let hash = xxh3_64(path.as_bytes());
        self.entries.push((hash, path.into_boxed_str(), delete));
    }

    fn sort(&mut self) {
        self.entries.sort_unstable_by(|left, right| {
            (left.0, left.2.number).cmp(&(right.0, right.2.number))
        });
    }

    /// Adds to `found` what names `path` and `applies`; returns how many were compared.
    fn find(
        &self,
        path: &str,
        applies: &impl Fn(&IndexedDelete) -> bool,
        found: &mut Vec<IndexedDelete>,
    ) -> usize {
        if self.entries.is_empty() {
            return 0;
        }
        let hash = xxh3_64(path.as_bytes());
        let first = self.entries.partition_point(|entry| entry.0 < hash);
        let same_hash = self.entries[first..].iter();
        let mut compared = 0;
        for (_, named, delete) in same_hash.take_while(|entry| entry.0 == hash) {
            compared += 1;
            if **named == *path && applies(delete) {
                found.push(*delete);
            }
        }
        compared
    }

    /// A path that two deletes name.
    fn repeated(&self) -> Option<&str> {
        let same_hash = self.entries.chunk_by(|left, right| left.0 == right.0);
        same_hash.filter(|same| same.len() > 1).find_map(|same| {
            let mut paths: Vec<&str> = same.iter().map(|(_, path, _)| &**path).collect();
            paths.sort_unstable();
            paths
                .windows(2)
                .find(|pair| pair[0] == pair[1])
                .map(|pair| pair[0])
        })
    }
}
