//! Everything that any snapshot of a table needs, as marks: 8 bytes a file, however long its path.
//!
//! A file whose mark is not among them is certainly not needed. One whose mark is may be dead all the same, where two paths
//! have one mark: of ten million live files and a million dead ones that spares one in two million. So no dead file needs a
//! proof, and a live one none either.

use std::collections::HashSet;

use futures::StreamExt as _;
use icepress_table::tracked::{ListedManifest, SnapshotFiles};

use crate::{
    UpkeepError,
    dead::{Staying, contents_of, manifests_of, mark_of},
};

/// Marks that are added before they are sorted in among the others.
const LEAST_RUN: usize = 1 << 20;
/// Sorted marks are found by their first bits, by so many at the most: a table has a place for each.
const MOST_BITS: u32 = 20;

/// The marks of everything that is needed.
#[derive(Debug, Default)]
pub(crate) struct LiveSet {
    /// Sorted up to `sorted`.
    marks: Vec<u64>,
    sorted: usize,
    /// Where the marks with these first `bits` bits begin.
    begins: Vec<u32>,
    bits: u32,
    /// Manifests and manifest lists that were read.
    read: HashSet<u64>,
}

impl LiveSet {
    /// Adds what is needed of one state of the table. What was read before is not read again, so that a later state costs what
    /// is new in it. Anything that can't be read is an error.
    pub(crate) async fn add(&mut self, staying: &Staying<'_>) -> Result<(), UpkeepError> {
        for mark in &staying.others {
            self.note(*mark);
        }
        let (storage, table) = (staying.storage, staying.table);
        let mut snapshots: Vec<SnapshotFiles> = Vec::new();
        for snapshot in &staying.snapshots {
            match snapshot.manifest_list.as_deref().map(mark_of) {
                Some(mark) if !self.read.insert(mark) => continue,
                Some(mark) => self.note(mark),
                None => {}
            }
            snapshots.push(snapshot.clone());
        }
        let mut unread: Vec<ListedManifest> = Vec::new();
        let mut lists = manifests_of(storage, table, &snapshots);
        while let Some(listed) = lists.next().await {
            for manifest in listed? {
                let mark = mark_of(manifest.path());
                if !self.read.insert(mark) {
                    continue;
                }
                self.note(mark);
                // Also where its list says that nothing in it is live: lists of some writers count wrongly.
                unread.push(manifest);
            }
        }
        let unread: Vec<&ListedManifest> = unread.iter().collect();
        let mut contents = contents_of(storage, table, &unread);
        for manifest in &unread {
            let Some(content) = contents.next().await else {
                break;
            };
            manifest.live_files(table, &content?, |file| self.note(mark_of(file.path)))?;
        }
        self.seal();
        Ok(())
    }

    /// Whether the file of this mark may be needed.
    pub(crate) fn holds(&self, mark: u64) -> bool {
        let place = self.place_of(mark);
        let (Some(from), Some(to)) = (self.begins.get(place), self.begins.get(place + 1)) else {
            return false;
        };
        self.marks[*from as usize..*to as usize]
            .binary_search(&mark)
            .is_ok()
    }

    /// How many files are needed.
    pub(crate) fn len(&self) -> u64 {
        self.marks.len() as u64
    }

    fn note(&mut self, mark: u64) {
        self.marks.push(mark);
        // One path is in many manifests of a long history: what is there twice must not grow without end.
        if self.marks.len() - self.sorted > self.sorted.max(LEAST_RUN) {
            self.sort();
        }
    }

    fn sort(&mut self) {
        self.marks.sort_unstable();
        self.marks.dedup();
        self.sorted = self.marks.len();
    }

    fn seal(&mut self) {
        self.sort();
        self.bits = self.marks.len().max(2).ilog2().min(MOST_BITS);
        self.begins.clear();
        let mut begin = 0;
        for place in 0..=1usize << self.bits {
            let ahead = self.marks[begin..].iter();
            begin += ahead
                .take_while(|mark| self.place_of(**mark) < place)
                .count();
            self.begins.push(u32::try_from(begin).unwrap_or(u32::MAX));
        }
    }

    fn place_of(&self, mark: u64) -> usize {
        (mark >> (u64::BITS - self.bits.max(1))) as usize
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_mark_is_held_where_it_was_noted(
            noted in proptest::collection::hash_set(any::<u64>(), 0..500),
            others in proptest::collection::vec(any::<u64>(), 0..500),
        ) {
            let mut set = LiveSet::default();
            let ends = [0, u64::MAX];
            for mark in noted.iter().chain(&ends).chain(&noted) {
                set.note(*mark);
            }
            set.seal();
            prop_assert!(noted.iter().chain(&ends).all(|mark| set.holds(*mark)));
            for other in others {
                prop_assert_eq!(set.holds(other), noted.contains(&other) || ends.contains(&other));
            }
        }
    }
}
