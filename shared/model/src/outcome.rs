//! Outcomes: what came of a group, and of a process.

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::text::shortened;
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
    /// How many values the columns at the top have in the replaced files and in the new ones, counted from the files
    /// themselves and not by what rewrote them; empty where nobody counted.
    #[serde(default)]
    pub values: Vec<ColumnValues>,
    /// How long the attempt took that wrote them, in milliseconds; 0 where nobody measured.
    #[serde(default)]
    pub took_ms: u64,
}

/// How many values, NULLs apart, a column has before and after a rewrite.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ColumnValues {
    /// The column's field id.
    pub column: i32,
    /// In live rows of the replaced files, at the least: footers don't tell how many of a column's values are deleted.
    pub least: u64,
    /// In live rows of the replaced files, at the most.
    pub most: u64,
    /// In the new files.
    pub after: u64,
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

/// Reasons that an outcome names; what more there are it counts.
const NAMED_REASONS: usize = 10;
/// Bytes of a reason in an outcome.
const LONGEST_REASON: usize = 1_000;
/// Bytes of a failure's message in its own row.
const LONGEST_FAILURE: usize = 16_000;

impl ProcessOutcome {
    /// The same with so much text as a row holds: the first reasons, shortened, and how many more there are. What each
    /// group failed of stands in its task's row.
    pub fn bounded(self) -> Self {
        match self {
            Self::Committed { .. } => self,
            Self::PartlyCommitted {
                location,
                snapshot_id,
                failures,
                lost_files,
            } => Self::PartlyCommitted {
                location,
                snapshot_id,
                failures: bounded_reasons(failures),
                lost_files,
            },
            Self::Failed {
                failures,
                lost_files,
            } => Self::Failed {
                failures: bounded_reasons(failures),
                lost_files,
            },
            Self::Abandoned { reason } => Self::Abandoned {
                reason: shortened(reason, LONGEST_REASON),
            },
        }
    }
}

/// The first reasons, and a line that says how many more there were. A list that ends in such a line already has one
/// more than are named, and stays as it is.
fn bounded_reasons(reasons: Vec<String>) -> Vec<String> {
    let more = reasons.len().saturating_sub(NAMED_REASONS);
    let first = reasons.iter().take(NAMED_REASONS + usize::from(more == 1));
    let mut kept: Vec<String> = first
        .map(|reason| shortened(reason.clone(), LONGEST_REASON))
        .collect();
    if more > 1 {
        kept.push(format!("and {more} more: see the tasks of the process"));
    }
    kept
}

impl RewriteFailure {
    /// The same with so much text as a task's row holds.
    pub fn bounded(self) -> Self {
        Self {
            message: shortened(self.message, LONGEST_FAILURE),
            ..self
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn c56_an_outcome_of_a_thousand_reasons_fits_a_row() {
        let reason = |number: u64| format!("group {number}: {}", "x".repeat(5_000));
        let failed = ProcessOutcome::Failed {
            failures: (0..1_000).map(reason).collect(),
            lost_files: 7,
        };
        let bounded = failed.bounded();
        let text = serde_json::to_string(&bounded).unwrap();
        assert!(text.len() < 16_000, "{}", text.len());
        let ProcessOutcome::Failed {
            failures,
            lost_files: 7,
        } = &bounded
        else {
            panic!("{bounded:?}")
        };
        assert!(failures[0].starts_with("group 0: "), "{}", failures[0]);
        assert_eq!(failures[10], "and 990 more: see the tasks of the process");
        assert_eq!(bounded.clone().bounded(), bounded, "once is enough");
    }
}
