//! Putting a scan together, file by file: for [`super::open_snapshot`], and for whoever has the files from elsewhere.

use std::{collections::HashMap, sync::Arc};

use iceberg::spec::Struct;
use icepress_model::{Bytes, RowId, Rows, SequenceNumber, SpecId, TableId};
use thiserror::Error;
use xxhash_rust::xxh3::Xxh3Default;

use super::{
    DataFileEntry, DeleteFileEntry, DeleteKind, FileFormat, PartitionEntry, ScannedSnapshot,
    SnapshotScan,
};

/// Files that can't be one snapshot's.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{0}")]
pub struct ScanDefect(String);

/// A data file to add to a scan.
#[derive(Debug, Clone, Copy)]
pub struct NewDataFile<'a> {
    /// Its path.
    pub path: &'a str,
    /// Its size.
    pub size: Bytes,
    /// Its rows.
    pub rows: Rows,
    /// Its data sequence number.
    pub sequence_number: SequenceNumber,
    /// The id of its first row, where it has one.
    pub first_row_id: Option<RowId>,
    /// Its partition's number.
    pub partition: u32,
    /// Its row groups; 0 where unknown.
    pub row_groups: u32,
    /// Its format.
    pub format: FileFormat,
    /// Whether it is encrypted.
    pub encrypted: bool,
}

/// A delete file to add to a scan.
#[derive(Debug, Clone)]
pub struct NewDeleteFile<'a> {
    /// Its path.
    pub path: &'a str,
    /// What it deletes.
    pub kind: DeleteKind,
    /// Its size.
    pub size: Bytes,
    /// Its records.
    pub rows: Rows,
    /// Its data sequence number.
    pub sequence_number: SequenceNumber,
    /// Its partition's number.
    pub partition: u32,
    /// The data file that it names.
    pub referenced_data_file: Option<&'a str>,
    /// The least and greatest data file that it has rows for.
    pub path_bounds: Option<(&'a str, &'a str)>,
    /// Its format.
    pub format: FileFormat,
    /// Whether it is encrypted.
    pub encrypted: bool,
}

/// A scan in the making.
#[derive(Debug)]
pub struct ScanBuilder {
    scan: SnapshotScan,
    total_bytes: i64,
    total_rows: i64,
    equality_keys: HashMap<Vec<i32>, Arc<[i32]>>,
}

impl ScanBuilder {
    /// An empty one.
    pub fn new(table: TableId, snapshot: Option<ScannedSnapshot>) -> Self {
        Self {
            scan: SnapshotScan {
                snapshot,
                ..SnapshotScan::empty(table)
            },
            total_bytes: 0,
            total_rows: 0,
            equality_keys: HashMap::new(),
        }
    }

    /// Adds a partition that was not added yet, and returns its number.
    pub fn add_partition(&mut self, spec_id: SpecId, value: Struct) -> u32 {
        self.scan.partitions.push(PartitionEntry { spec_id, value });
        (self.scan.partitions.len() - 1) as u32
    }

    /// Replaces all partitions.
    pub(super) fn set_partitions(&mut self, partitions: Vec<PartitionEntry>) {
        self.scan.partitions = partitions;
    }

    /// One copy of each list of equality field ids.
    pub(super) fn equality_key(&mut self, field_ids: Vec<i32>) -> Arc<[i32]> {
        let key = self.equality_keys.entry(field_ids);
        let ids = key.key().as_slice().into();
        Arc::clone(key.or_insert(ids))
    }

    /// Adds a data file behind those added before.
    pub fn add_data_file(&mut self, file: &NewDataFile<'_>) -> Result<(), ScanDefect> {
        self.count(file.size, file.rows)?;
        let path = self.scan.paths.add(file.path);
        self.scan.data_files.push(DataFileEntry {
            path,
            size: file.size,
            rows: file.rows,
            sequence_number: file.sequence_number,
            first_row_id: file
                .first_row_id
                .map_or(DataFileEntry::NO_ROW_ID, RowId::get),
            partition: file.partition,
            row_groups: file.row_groups,
            format: file.format,
            encrypted: file.encrypted,
        });
        Ok(())
    }

    /// Adds a delete file behind those added before.
    pub fn add_delete_file(&mut self, file: NewDeleteFile<'_>) -> Result<(), ScanDefect> {
        self.count(file.size, file.rows)?;
        let by_position = matches!(file.kind, DeleteKind::Position);
        let bounds = file.path_bounds.filter(|_| by_position);
        // As Iceberg Java does: equal bounds are as good as a reference.
        let referenced = file.referenced_data_file.or(match bounds {
            Some((lower, upper)) if lower == upper => Some(lower),
            _ => None,
        });
        let paths = &mut self.scan.paths;
        let entry = DeleteFileEntry {
            path: paths.add(file.path),
            referenced: referenced.map(|path| paths.add(path)),
            path_bounds: match (referenced, bounds) {
                (None, Some((lower, upper))) => Some((paths.add(lower), paths.add(upper))),
                _ => None,
            },
            kind: file.kind,
            size: file.size,
            rows: file.rows,
            sequence_number: file.sequence_number,
            partition: file.partition,
            format: file.format,
            encrypted: file.encrypted,
        };
        self.scan.delete_files.push(entry);
        Ok(())
    }

    /// The scan. Fails where a file is there twice: rows would be counted twice, and a commit that replaces the file
    /// could not say which. Vectors are told apart by path, offset and length, other files by path.
    pub fn finish(self) -> Result<SnapshotScan, ScanDefect> {
        let mut scan = self.scan;
        scan.data_files.shrink_to_fit();
        scan.delete_files.shrink_to_fit();
        let mut path = String::new();
        let mut keys: Vec<(u64, u32)> = Vec::with_capacity(scan.data_files.len());
        for (file, index) in scan.data_files.iter().zip(0..) {
            scan.path_into(file, &mut path);
            keys.push((hash(&path, None), index));
        }
        let path_of = |index: u32| (scan.path_of(&scan.data_files[index as usize]), ());
        refuse_repeated(&mut keys, path_of, "data file")?;
        keys.clear();
        for (file, index) in scan.delete_files.iter().zip(0..) {
            scan.paths.get_into(file.path, &mut path);
            keys.push((hash(&path, blob(file)), index));
        }
        let path_of = |index: u32| {
            let file = &scan.delete_files[index as usize];
            (scan.delete_path(file), blob(file))
        };
        refuse_repeated(&mut keys, path_of, "delete file")?;
        Ok(scan)
    }

    /// Keeps every sum of sizes or rows below 2⁶³, so that nobody else need look at overflows.
    fn count(&mut self, size: Bytes, rows: Rows) -> Result<(), ScanDefect> {
        let add = |total: i64, more: u64| total.checked_add(i64::try_from(more).ok()?);
        let bytes = add(self.total_bytes, size.get());
        let rows = add(self.total_rows, rows.get());
        let (Some(bytes), Some(rows)) = (bytes, rows) else {
            return Err(ScanDefect(
                "the files' sizes or rows add up to more than 2^63".to_owned(),
            ));
        };
        (self.total_bytes, self.total_rows) = (bytes, rows);
        Ok(())
    }
}

fn blob(file: &DeleteFileEntry) -> Option<(u64, u64)> {
    match file.kind {
        DeleteKind::Vector { offset, length } => Some((offset, length)),
        _ => None,
    }
}

fn hash(path: &str, blob: Option<(u64, u64)>) -> u64 {
    let mut hasher = Xxh3Default::new();
    hasher.update(path.as_bytes());
    if let Some((offset, length)) = blob {
        hasher.update(&offset.to_le_bytes());
        hasher.update(&length.to_le_bytes());
    }
    hasher.digest()
}

fn refuse_repeated<K: PartialEq>(
    keys: &mut [(u64, u32)],
    key_of: impl Fn(u32) -> (String, K),
    what: &str,
) -> Result<(), ScanDefect> {
    keys.sort_unstable();
    for same_hash in keys.chunk_by(|left, right| left.0 == right.0) {
        for (at, (_, left)) in same_hash.iter().enumerate() {
            for (_, right) in &same_hash[at + 1..] {
                let key = key_of(*left);
                if key == key_of(*right) {
                    return Err(ScanDefect(format!(
                        "{what} {} is listed twice: `icepress repair` writes manifests that list it once",
                        key.0
                    )));
                }
            }
        }
    }
    Ok(())
}
