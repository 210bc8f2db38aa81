//! How much of a data file is deleted, as far as manifests can tell.
//!
//! A delete file says how many records it has, not which data files they hit. Records are taken to be spread evenly
//! over the rows of the files that it applies to. Where it names one file that is exact; for equality deletes it is a
//! guess, too high where keys are deleted that never were, too low where they hit one file only.

use std::collections::HashMap;

use icepress_model::SequenceNumber;
use icepress_table::{
    delete_index::{DeleteIndex, IndexedDelete, Matches},
    scan::SnapshotScan,
};

/// For each delete list of an index, the share of rows that the deletes from a place in the list on delete, together.
#[derive(Debug, Default)]
pub(crate) struct DeletedShares {
    everywhere: Vec<f64>,
    equality: HashMap<u32, Vec<f64>>,
    partition_wide: HashMap<u32, Vec<f64>>,
    /// By delete file: the rows of the data files within its bounds.
    ranged_rows: HashMap<u32, u64>,
}

impl DeletedShares {
    /// The shares of `scan`'s deletes. `files_of` has the data files of each partition, by index.
    pub(crate) fn new(scan: &SnapshotScan, index: &DeleteIndex, files_of: &[Vec<u32>]) -> Self {
        let mut shares = Self::default();
        if scan.delete_files().is_empty() {
            return shares;
        }
        let rows_of =
            |delete: &IndexedDelete| scan.delete_files()[delete.number as usize].rows.get() as f64;
        let everywhere = index.equality_everywhere();
        if !everywhere.is_empty() {
            // Of all rows, not of the older ones only: else each partition that is rewritten would make the same
            // delete look heavier on those that are not, and plans would follow each other through the table.
            let rows = scan.data_files().iter().map(|file| file.rows.get()).sum();
            shares.everywhere = sums_to_the_end(everywhere, |delete| share(rows_of(delete), rows));
        }
        let mut path = String::new();
        for (files, partition) in files_of.iter().zip(0..) {
            let equality = index.equality_of(partition);
            let partition_wide = index.partition_wide_of(partition);
            if !equality.is_empty() || !partition_wide.is_empty() {
                let covered = CoveredRows::new(scan, files.iter().copied());
                let sums = sums_to_the_end(equality, |delete| {
                    share(rows_of(delete), covered.older_than(delete.sequence_number))
                });
                shares.equality.insert(partition, sums);
                let sums = sums_to_the_end(partition_wide, |delete| {
                    let next = SequenceNumber(delete.sequence_number.get().saturating_add(1));
                    share(rows_of(delete), covered.older_than(next))
                });
                shares.partition_wide.insert(partition, sums);
            }
            if index.has_ranges(partition) {
                for file in files {
                    let file = &scan.data_files()[*file as usize];
                    scan.path_into(file, &mut path);
                    let matches = index.for_file(&path, partition, file.sequence_number);
                    for delete in &matches.ranged {
                        *shares.ranged_rows.entry(delete.number).or_default() += file.rows.get();
                    }
                }
            }
        }
        shares
    }

    /// The share of a data file's rows that is deleted: 0 to 1.
    pub(crate) fn of_file(
        &self,
        scan: &SnapshotScan,
        partition: u32,
        rows: u64,
        matches: &Matches<'_>,
    ) -> f64 {
        let tail = |sums: Option<&Vec<f64>>, matched: &[IndexedDelete]| {
            let sums = sums.map_or(&[][..], Vec::as_slice);
            let first = sums.len().checked_sub(matched.len().max(1));
            first
                .filter(|_| !matched.is_empty())
                .map_or(0.0, |first| sums[first])
        };
        let records = |number: u32| scan.delete_files()[number as usize].rows.get() as f64;
        let named: f64 = matches
            .named
            .iter()
            .map(|delete| share(records(delete.number), rows))
            .sum();
        let ranged: f64 = matches
            .ranged
            .iter()
            .map(|delete| {
                let covered = self.ranged_rows.get(&delete.number);
                share(records(delete.number), covered.copied().unwrap_or(0))
            })
            .sum();
        let total = tail(Some(&self.everywhere), matches.everywhere)
            + tail(self.equality.get(&partition), matches.equality)
            + tail(self.partition_wide.get(&partition), matches.partition_wide)
            + named
            + ranged;
        total.min(1.0)
    }
}

fn share(records: f64, rows: u64) -> f64 {
    (records / (rows.max(1) as f64)).min(1.0)
}

/// For each place in `list`, the sum of `value` from there to the end.
fn sums_to_the_end(list: &[IndexedDelete], value: impl Fn(&IndexedDelete) -> f64) -> Vec<f64> {
    let mut sums: Vec<f64> = list.iter().map(value).collect();
    let mut total = 0.0;
    for sum in sums.iter_mut().rev() {
        total += *sum;
        *sum = total;
    }
    sums
}

/// How many rows data files older than a sequence number have.
struct CoveredRows {
    /// Sequence numbers, ascending, with the rows of all files up to and including it.
    rows_up_to: Vec<(SequenceNumber, u64)>,
}

impl CoveredRows {
    fn new(scan: &SnapshotScan, files: impl Iterator<Item = u32>) -> Self {
        let mut rows_up_to: Vec<(SequenceNumber, u64)> = files
            .map(|file| {
                let file = &scan.data_files()[file as usize];
                (file.sequence_number, file.rows.get())
            })
            .collect();
        rows_up_to.sort_unstable();
        let mut total = 0;
        for (_, rows) in &mut rows_up_to {
            total += *rows;
            *rows = total;
        }
        Self { rows_up_to }
    }

    fn older_than(&self, sequence_number: SequenceNumber) -> u64 {
        let older = self
            .rows_up_to
            .partition_point(|(number, _)| *number < sequence_number);
        older
            .checked_sub(1)
            .map_or(0, |last| self.rows_up_to[last].1)
    }
}
