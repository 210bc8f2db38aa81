//! The files of a table's current snapshot, as compact as a plan needs them.
//!
//! A table may have millions of files, and each has a kilobyte of statistics in its manifest entry. A plan needs some
//! fifty bytes of it and the path. So entries are decoded in place, statistics are stepped over, folders and
//! partitions are kept once, and a scan takes about 120 bytes a file.

mod builder;
mod index;
pub(crate) mod open;
mod paths;

use std::sync::Arc;

use iceberg::spec::Struct;
use icepress_model::{
    Bytes, DeleteContent, DeleteFile, RowId, Rows, SequenceNumber, SnapshotId, SpecId, TableId,
};

pub use crate::manifests::FileFormat;

use crate::delete_index::{DeleteScope, DeleteTraits};
pub use builder::{NewDataFile, NewDeleteFile, ScanBuilder, ScanDefect};
pub use open::{ListedSnapshot, list_snapshot, open_snapshot, open_snapshot_at};

use paths::{PathRef, Paths};

#[cfg(test)]
mod tests;

/// The live files of one snapshot, in the order of its manifests.
#[derive(Debug)]
pub struct SnapshotScan {
    table: TableId,
    snapshot: Option<ScannedSnapshot>,
    paths: Paths,
    data_files: Vec<DataFileEntry>,
    delete_files: Vec<DeleteFileEntry>,
    partitions: Vec<PartitionEntry>,
}

/// Which snapshot was scanned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ScannedSnapshot {
    /// Its id.
    pub snapshot_id: SnapshotId,
    /// Its sequence number; 0 in tables of format version 1.
    pub sequence_number: SequenceNumber,
}

/// A partition of one spec.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PartitionEntry {
    /// The spec.
    pub spec_id: SpecId,
    /// The values, in the order of the spec's fields.
    pub value: Struct,
}

/// A live data file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DataFileEntry {
    path: PathRef,
    /// Its size.
    pub size: Bytes,
    /// Its rows, deleted ones included.
    pub rows: Rows,
    /// Its data sequence number, inherited where the entry has none.
    pub sequence_number: SequenceNumber,
    /// [`Self::NO_ROW_ID`] stands for none: an `Option` would take twice the memory.
    first_row_id: i64,
    /// Its partition, by number in [`SnapshotScan::partitions`].
    pub partition: u32,
    /// How many split offsets it has, which for Parquet is how many row groups; 0 where the entry does not say.
    pub row_groups: u32,
    /// Its format.
    pub format: FileFormat,
    /// Whether it is encrypted.
    pub encrypted: bool,
}

impl DataFileEntry {
    /// Row ids are never negative.
    const NO_ROW_ID: i64 = -1;

    /// The id of its first row, inherited where the entry has none; `None` in snapshots before format version 3.
    pub fn first_row_id(&self) -> Option<RowId> {
        (self.first_row_id != Self::NO_ROW_ID).then_some(RowId(self.first_row_id))
    }
}

/// What a delete file deletes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DeleteKind {
    /// Rows by file and position.
    Position,
    /// Rows by value.
    Equality {
        /// Field ids of the key.
        field_ids: Arc<[i32]>,
        /// Whether it applies to every partition: it was written under a spec without partition fields.
        global: bool,
    },
    /// Rows of one data file, by a bitmap.
    Vector {
        /// Where the blob starts.
        offset: u64,
        /// How long it is.
        length: u64,
    },
}

/// A live delete file, or a deletion vector.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeleteFileEntry {
    path: PathRef,
    referenced: Option<PathRef>,
    path_bounds: Option<(PathRef, PathRef)>,
    /// What it deletes.
    pub kind: DeleteKind,
    /// Its size.
    pub size: Bytes,
    /// Its records.
    pub rows: Rows,
    /// Its data sequence number, inherited where the entry has none.
    pub sequence_number: SequenceNumber,
    /// Its partition, by number in [`SnapshotScan::partitions`].
    pub partition: u32,
    /// Its format.
    pub format: FileFormat,
    /// Whether it is encrypted.
    pub encrypted: bool,
}

impl SnapshotScan {
    /// The scan of a table without a snapshot.
    pub fn empty(table: TableId) -> Self {
        Self {
            table,
            snapshot: None,
            paths: Paths::default(),
            data_files: Vec::new(),
            delete_files: Vec::new(),
            partitions: Vec::new(),
        }
    }

    /// The table.
    pub fn table(&self) -> &TableId {
        &self.table
    }

    /// The snapshot; `None` for a table that has none.
    pub fn snapshot(&self) -> Option<ScannedSnapshot> {
        self.snapshot
    }

    /// Live data files, in the order of the manifest list and of the manifests in it.
    pub fn data_files(&self) -> &[DataFileEntry] {
        &self.data_files
    }

    /// Live delete files, in the same order.
    pub fn delete_files(&self) -> &[DeleteFileEntry] {
        &self.delete_files
    }

    /// All partitions that have a live file, each once for each spec.
    pub fn partitions(&self) -> &[PartitionEntry] {
        &self.partitions
    }

    /// The path of one of [`Self::data_files`], letter for letter as the manifest has it.
    pub fn path_of(&self, file: &DataFileEntry) -> String {
        self.paths.get(file.path)
    }

    /// Writes [`Self::path_of`] into `buffer`.
    pub fn path_into(&self, file: &DataFileEntry, buffer: &mut String) {
        self.paths.get_into(file.path, buffer);
    }

    /// The path of one of [`Self::delete_files`].
    pub fn delete_path(&self, file: &DeleteFileEntry) -> String {
        self.paths.get(file.path)
    }

    /// The one data file that a position delete file or vector is about: because it says so, or because its bounds
    /// leave no other.
    pub fn referenced_data_file(&self, file: &DeleteFileEntry) -> Option<String> {
        file.referenced.map(|path| self.paths.get(path))
    }

    /// The least and the greatest path that a position delete file has rows for, where its bounds say so.
    pub fn path_bounds(&self, file: &DeleteFileEntry) -> Option<(String, String)> {
        let (lower, upper) = file.path_bounds?;
        Some((self.paths.get(lower), self.paths.get(upper)))
    }

    /// Where a delete file applies.
    pub fn delete_scope(&self, file: &DeleteFileEntry) -> DeleteScope {
        let is_equality = matches!(file.kind, DeleteKind::Equality { .. });
        let referenced = self.referenced_data_file(file);
        let bounds = self.path_bounds(file);
        let bounds = bounds.as_ref().map(|(lower, upper)| (&**lower, &**upper));
        let traits = DeleteTraits {
            is_equality,
            is_unpartitioned: matches!(file.kind, DeleteKind::Equality { global: true, .. }),
            is_vector: matches!(file.kind, DeleteKind::Vector { .. }),
            referenced: referenced.as_deref(),
            bounds,
        };
        DeleteScope::new(file.partition, traits)
    }

    /// A delete file as plans carry it.
    pub fn delete_file(&self, file: &DeleteFileEntry) -> DeleteFile {
        DeleteFile {
            content: match &file.kind {
                DeleteKind::Position => DeleteContent::Position,
                DeleteKind::Equality { field_ids, .. } => DeleteContent::Equality {
                    field_ids: field_ids.to_vec(),
                },
                DeleteKind::Vector { offset, length } => DeleteContent::Vector {
                    offset: *offset,
                    length: *length,
                },
            },
            path: self.delete_path(file),
            size: file.size,
            rows: file.rows,
            sequence_number: file.sequence_number,
            referenced_data_file: self.referenced_data_file(file),
        }
    }

    /// Bytes of memory that the scan takes, partitions' values aside.
    pub fn memory(&self) -> usize {
        self.paths.memory()
            + self.data_files.capacity() * size_of::<DataFileEntry>()
            + self.delete_files.capacity() * size_of::<DeleteFileEntry>()
    }
}
