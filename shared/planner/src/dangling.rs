//! Delete files that no data file can match any more: what is left to do where nothing else is.
//!
//! Every commit of a rewrite takes such files out beside its own. A table whose data files need nothing would keep them:
//! so a commit of their own is planned, which reads and writes no file but manifests, as Iceberg Java's
//! `RemoveDanglingDeleteFiles` makes one.
//!
//! The rules are those by which the commit lets a delete file go, as far as manifests tell. What only the content of a
//! delete file could tell stays until another commit.

use std::collections::{BTreeSet, HashMap};

use icepress_model::SequenceNumber;
use icepress_table::scan::{DeleteKind, SnapshotScan};

/// The delete files of `scan` that no data file can match, by index.
pub(crate) fn dangling_deletes(scan: &SnapshotScan) -> Vec<u32> {
    if scan.delete_files().is_empty() {
        return Vec::new();
    }
    let mut oldest: HashMap<u32, SequenceNumber> = HashMap::new();
    for file in scan.data_files() {
        let least = oldest.entry(file.partition).or_insert(file.sequence_number);
        *least = file.sequence_number.min(*least);
    }
    let oldest_of_all = oldest.values().min().copied();
    let mut dangling = Vec::new();
    let mut by_name: HashMap<String, Vec<u32>> = HashMap::new();
    for (delete, number) in scan.delete_files().iter().zip(0..) {
        let least = oldest.get(&delete.partition).copied();
        let is_needed = match &delete.kind {
            // Strictly older data only.
            DeleteKind::Equality { global: true, .. } => {
                oldest_of_all.is_some_and(|least| least < delete.sequence_number)
            }
            DeleteKind::Equality { .. } => {
                least.is_some_and(|least| least < delete.sequence_number)
            }
            kind => match scan.referenced_data_file(delete) {
                Some(name) => {
                    by_name.entry(name).or_default().push(number);
                    true
                }
                // A vector must say which file it is about. One that does not is not ours to judge.
                None if matches!(kind, DeleteKind::Vector { .. }) => true,
                None => least.is_some_and(|least| least <= delete.sequence_number),
            },
        };
        if !is_needed {
            dangling.push(number);
        }
    }
    forget_live(scan, &mut by_name);
    dangling.extend(by_name.into_values().flatten());
    dangling.sort_unstable();
    dangling
}

/// Takes out the names that a data file has, or that may be one's with its end cut off: bounds are at times cut short, and
/// what names a file may be made of them.
fn forget_live(scan: &SnapshotScan, by_name: &mut HashMap<String, Vec<u32>>) {
    let mut path = String::new();
    for file in scan.data_files() {
        if by_name.is_empty() {
            return;
        }
        scan.path_into(file, &mut path);
        by_name.remove(&path);
    }
    let lengths: BTreeSet<usize> = by_name.keys().map(String::len).collect();
    for file in scan.data_files() {
        if by_name.is_empty() {
            return;
        }
        scan.path_into(file, &mut path);
        for length in &lengths {
            match path.get(..*length) {
                Some(start) => by_name.remove(start),
                None => None,
            };
        }
    }
}
