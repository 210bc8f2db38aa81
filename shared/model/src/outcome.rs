//! Outcomes: what came of a group, and of a process.

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::{Bytes, MetadataLocation, Rows, SnapshotId, TimestampMs};

/// What rewriting one group produced. The files exist, but count for nothing until a commit adds them.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct GroupResult {
    /// The new data files, each as the JSON of `iceberg::spec::serialize_data_file_to_json` under the group's spec.
    pub data_files: Vec<serde_json::Value>,
    /// The new delete files of a light rewrite, in the same form. Several vectors may share a file.
    #[serde(default)]
    pub delete_files: Vec<serde_json::Value>,
    /// Rows read, deleted ones included.
    pub rows_in: Rows,
    /// Rows left out because a delete file hides them; in a light rewrite, rows that the new delete files hide.
    pub rows_deleted: Rows,
    /// Rows written; in a light rewrite, rows that no delete file hides.
    pub rows_out: Rows,
    /// Bytes written.
    pub bytes_out: Bytes,
    /// Row groups in the inputs.
    pub row_groups_in: u64,
    /// Row groups in the outputs.
    pub row_groups_out: u64,
    /// What storage said of the new files once they were written. A commit takes none that changed since.
    #[serde(default)]
    pub seen: Inspection,
}

/// New files as storage had them after they were written, and whether their rows were compared with the inputs'.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Inspection {
    /// When each file was written, in the order of [`GroupResult::data_files`]; empty where nobody looked.
    pub modified: Vec<TimestampMs>,
    /// The order-free hash of the rows, in hexadecimal, where inputs and outputs were both read and have it.
    pub rows_hash: Option<String>,
    /// How long the attempt took that wrote them, in milliseconds; 0 where nobody measured.
    #[serde(default)]
    pub took_ms: u64,
}

impl GroupResult {
    /// Where the new files lie, each once.
    pub fn file_paths(&self) -> Vec<String> {
        let files = self.data_files.iter().chain(&self.delete_files);
        let mut paths: Vec<String> = files
            .filter_map(|file| file.get("file_path")?.as_str().map(str::to_owned))
            .collect();
        // Vectors that share a file stand one after the other.
        paths.dedup();
        paths
    }
}

/// A group that could not be rewritten: what failed, on which file, and what to do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Error)]
#[error("{message}")]
pub struct RewriteFailure {
    /// What kind of failure, which decides what happens next.
    pub kind: RewriteFailureKind,
    /// One clear line for people.
    pub message: String,
}

/// What to do about a failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RewriteFailureKind {
    /// Trying again may help: a time-out, a throttled request, a full disk.
    Transient,
    /// A file is missing: the table moved on, or is damaged. The next plan decides.
    FileVanished,
    /// A file's content is not what it should be: truncated, corrupt, not Parquet.
    CorruptFile,
    /// Access was refused.
    PermissionDenied,
    /// The object lies in an archive tier and can't be read.
    Archived,
    /// Something that we don't rewrite (a type, a format, an encryption).
    Unsupported,
    /// It needs more memory than the cap allows.
    OverMemory,
    /// What was written is not what was read. The files are kept, for whoever looks into it.
    WrongRows,
}

/// How a process ended: in exactly one of these ways.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "outcome", rename_all = "kebab-case")]
pub enum ProcessOutcome {
    /// Every group is in the table.
    Committed {
        /// The table's state that the commit made.
        location: MetadataLocation,
        /// The snapshot that it added.
        snapshot_id: SnapshotId,
    },
    /// Some groups are in the table; the others failed with a reason each.
    PartlyCommitted {
        /// The table's state that the commit made.
        location: MetadataLocation,
        /// The snapshot that it added.
        snapshot_id: SnapshotId,
        /// One line for each group that is not in.
        failures: Vec<String>,
        /// Data files in the largest group that lost against another writer, 0 where none did: the next plan makes
        /// smaller groups.
        #[serde(default)]
        lost_files: u64,
    },
    /// No group is in the table.
    Failed {
        /// One line for each group, or one for all.
        failures: Vec<String>,
        /// As in [`ProcessOutcome::PartlyCommitted`].
        #[serde(default)]
        lost_files: u64,
    },
    /// Given up without an attempt to commit: the table was dropped, or a person cancelled.
    Abandoned {
        /// Why.
        reason: String,
    },
}
