//! Delete files that no data file can match any more: what is left to do where nothing else is.
//!
//! Every commit of a rewrite takes such files out beside its own. A table whose data files need nothing would keep them:
//! so a commit of their own is planned, which reads and writes no file but manifests, as Iceberg Java's
//! `RemoveDanglingDeleteFiles` makes one.
//!
//! Whether one is needed is for [`DeleteScope::need`] to say, as it is for the commit, as far as manifests tell. What only
//! the content of a delete file could tell stays until another commit.

use std::collections::{BTreeSet, HashMap, HashSet};

use icepress_table::{
    delete_index::{DataFiles, DeleteScope, Need},
    scan::SnapshotScan,
};

/// The delete files of `scan` that no data file can match, by index.
pub(crate) fn dangling_deletes(scan: &SnapshotScan) -> Vec<u32> {
    let deletes = scan.delete_files().iter();
    let scopes: Vec<(DeleteScope, i64)> = deletes
        .map(|file| (scan.delete_scope(file), file.sequence_number.get()))
        .collect();
    if scopes.is_empty() {
        return Vec::new();
    }
    let files = ScannedFiles::new(scan, &scopes);
    let numbered = scopes.iter().zip(0..);
    numbered
        .filter(|((scope, number), _)| scope.need(*number, &files) == Need::No)
        .map(|(_, index)| index)
        .collect()
}

/// The data files of a scan, as far as its delete files care.
struct ScannedFiles<'a> {
    oldest: HashMap<u32, i64>,
    oldest_of_all: Option<i64>,
    /// The paths that delete files name and a data file has, or that may be one's with its end cut off: bounds are at
    /// times cut short, and what names a file may be made of them.
    named: HashSet<&'a str>,
}

impl<'a> ScannedFiles<'a> {
    fn new(scan: &SnapshotScan, scopes: &'a [(DeleteScope, i64)]) -> Self {
        let names: HashSet<&str> = scopes
            .iter()
            .filter_map(|(scope, _)| scope.path())
            .collect();
        let lengths: BTreeSet<usize> = names.iter().map(|name| name.len()).collect();
        let mut oldest: HashMap<u32, i64> = HashMap::new();
        let mut named = HashSet::new();
        let mut path = String::new();
        for file in scan.data_files() {
            let number = file.sequence_number.get();
            let least = oldest.entry(file.partition).or_insert(number);
            *least = number.min(*least);
            if named.len() == names.len() {
                continue;
            }
            scan.path_into(file, &mut path);
            // Most names are whole paths.
            let whole = std::iter::once(path.len());
            for length in whole.chain(lengths.iter().copied()) {
                let name = path.get(..length).and_then(|start| names.get(start));
                named.extend(name.copied());
            }
        }
        Self {
            oldest_of_all: oldest.values().min().copied(),
            oldest,
            named,
        }
    }
}

impl DataFiles<u32> for ScannedFiles<'_> {
    fn least_in(&self, partition: &u32) -> Option<i64> {
        self.oldest.get(partition).copied()
    }

    fn least_of_all(&self) -> Option<i64> {
        self.oldest_of_all
    }

    fn has_path(&self, path: &str) -> bool {
        self.named.contains(path)
    }
}
