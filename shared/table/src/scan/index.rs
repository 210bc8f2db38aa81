//! The index of a scan's delete files: which of them apply to which of its data files.

use super::SnapshotScan;
use crate::delete_index::{DeleteIndex, DuplicateVector};

impl DeleteIndex {
    /// An index of the deletes of a scan, numbered as [`SnapshotScan::delete_files`] is.
    pub fn of_scan(scan: &SnapshotScan) -> Result<Self, DuplicateVector> {
        let deletes = scan.delete_files().iter();
        Self::new(deletes.map(|file| (scan.delete_scope(file), file.sequence_number)))
    }
}
