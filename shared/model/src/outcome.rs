//! Outcomes: what came of a group, and of a process.

use std::{collections::BTreeMap, fmt};

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
    /// How the columns of the new data files came about.
    #[serde(default)]
    pub ways: Ways,
    /// What storage said of the new files once they were written. A commit takes none that changed since.
    #[serde(default)]
    pub seen: Inspection,
}

/// Bytes of columns in new data files, by how they came about: the less of them was encoded, the less the rewrite cost.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Ways {
    /// Row groups as they lay in the inputs, copied whole by the storage.
    pub spliced: Bytes,
    /// Pages as they lay in the inputs.
    pub copied: Bytes,
    /// Dictionaries united from several, and indices into them.
    pub united: Bytes,
    /// Pages written anew: without the dictionary that they had, or without deleted rows.
    pub spelled: Bytes,
    /// Rows decoded and encoded.
    pub encoded: Bytes,
}

impl Ways {
    /// Counts in what came about elsewhere.
    pub fn add(&mut self, other: Self) {
        self.spliced += other.spliced;
        self.copied += other.copied;
        self.united += other.united;
        self.spelled += other.spelled;
        self.encoded += other.encoded;
    }
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
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RewriteFailureKind {
    /// Trying again may help: a time-out, a full disk.
    Transient,
    /// A service asked for fewer requests, and went on asking for as long as was waited: nobody's failure. It is tried
    /// again, however often; a row that says so was written by a person's command.
    Throttled,
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
    /// It needs more time than one invocation has.
    OverTime,
    /// What was written is not what was read. The files are kept, for whoever looks into it.
    WrongRows,
}

impl RewriteFailureKind {
    /// Whether a smaller group might have ended well where this one did not.
    pub fn is_too_much(self) -> bool {
        matches!(self, Self::OverMemory | Self::OverTime)
    }
}

/// How large a group is, as its worker feels it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct GroupSize {
    /// Data files.
    pub files: u64,
    /// Bytes to be read of them ([`crate::Group::packed_bytes`]).
    pub bytes: Bytes,
}

/// How fast groups were rewritten: so many bytes of input in so many milliseconds, of several groups together.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Pace {
    /// Bytes read.
    pub bytes: Bytes,
    /// How long that took the workers, one after another.
    pub took_ms: u64,
}

impl Pace {
    /// Bytes a second; `None` where nothing was measured.
    pub fn bytes_a_second(self) -> Option<Bytes> {
        let bytes = self.bytes.get().saturating_mul(1_000);
        bytes.checked_div(self.took_ms).map(Bytes)
    }

    /// Both together, of which the older counts half: what is kept stays small, and follows the present.
    pub fn then(self, newer: Self) -> Self {
        Self {
            bytes: Bytes(self.bytes.get() / 2) + newer.bytes,
            took_ms: self.took_ms / 2 + newer.took_ms,
        }
    }
}

/// What the plan that follows a process should know of it. It stands in the process's row, and is of a bounded size.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lessons {
    /// Data files in the largest group that lost against another writer, 0 where none did: the next plan makes
    /// smaller groups.
    #[serde(default)]
    pub lost_files: u64,
    /// The smallest of the groups that were too much for their workers' time or memory, and of more than one file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub too_much: Option<GroupSize>,
    /// Files that were too much each alone, by a hash of their path: nothing smaller can be made of them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub hopeless: Vec<u64>,
    /// How fast its groups were rewritten, where they were large enough to tell.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pace: Option<Pace>,
    /// How many groups failed of what: the reasons that are named are the first ones alone.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub causes: BTreeMap<FailureCause, u64>,
}

impl Lessons {
    /// Counts so many groups that failed of one cause.
    pub fn count(&mut self, cause: FailureCause, groups: u64) {
        if groups > 0 {
            *self.causes.entry(cause).or_default() += groups;
        }
    }

    /// The counts for people: `149 over-memory, 1 corrupt-file`, the most frequent first; empty where nothing was counted.
    fn counted_causes(&self) -> String {
        let mut causes: Vec<_> = self.causes.iter().collect();
        causes.sort_by_key(|(_, groups)| std::cmp::Reverse(**groups));
        let causes = causes
            .iter()
            .map(|(cause, groups)| format!("{groups} {cause}"));
        causes.collect::<Vec<_>>().join(", ")
    }
}

/// Why a group is not in the table, as far as it is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FailureCause {
    /// It lost against another writer, or an earlier commit of the process went without it.
    Conflict,
    /// The last gate refused it.
    Gate,
    /// It could not be rewritten.
    #[serde(untagged)]
    Rewrite(RewriteFailureKind),
}

impl From<RewriteFailureKind> for FailureCause {
    fn from(kind: RewriteFailureKind) -> Self {
        Self::Rewrite(kind)
    }
}

impl fmt::Display for FailureCause {
    /// As it stands in rows.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Conflict => f.write_str("conflict"),
            Self::Gate => f.write_str("gate"),
            Self::Rewrite(kind) => kind.fmt(f),
        }
    }
}

impl fmt::Display for RewriteFailureKind {
    /// As it stands in rows.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Transient => "transient",
            Self::Throttled => "throttled",
            Self::FileVanished => "file-vanished",
            Self::CorruptFile => "corrupt-file",
            Self::PermissionDenied => "permission-denied",
            Self::Archived => "archived",
            Self::Unsupported => "unsupported",
            Self::OverMemory => "over-memory",
            Self::OverTime => "over-time",
            Self::WrongRows => "wrong-rows",
        })
    }
}

impl ProcessOutcome {
    /// Why it came to nothing, or to less than it was to: the first reason in a line, and how many more there are.
    pub fn reason(&self) -> Option<String> {
        const LONGEST: usize = 600;
        let failures = match self {
            Self::Committed { .. } | Self::Evaluated | Self::Maintained { .. } => return None,
            Self::PartlyCommitted { failures, .. } | Self::Failed { failures, .. } => {
                failures.as_slice()
            }
            Self::Abandoned { reason } => std::slice::from_ref(reason),
        };
        let (first, others) = failures.split_first()?;
        let mut text: String = first.chars().take(LONGEST).collect();
        if text.len() < first.len() {
            text.push('…');
        }
        if !others.is_empty() {
            text = format!("{text} (and {} more)", others.len());
        }
        Some(text)
    }
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
        /// As in [`ProcessOutcome::PartlyCommitted`].
        #[serde(flatten)]
        lessons: Lessons,
    },
    /// Some groups are in the table; the others failed with a reason each.
    PartlyCommitted {
        /// The table's state that the commit made.
        location: MetadataLocation,
        /// The snapshot that it added.
        snapshot_id: SnapshotId,
        /// One line for each group that is not in.
        failures: Vec<String>,
        /// What the next plan should know.
        #[serde(flatten)]
        lessons: Lessons,
    },
    /// No group is in the table.
    Failed {
        /// One line for each group, or one for all.
        failures: Vec<String>,
        /// As in [`ProcessOutcome::PartlyCommitted`].
        #[serde(flatten)]
        lessons: Lessons,
    },
    /// It was to look at the table and not to rewrite anything, and did: what came of that is the result of its task.
    Evaluated,
    /// Done, by a process of another kind than rewrites.
    Maintained {
        /// The table's state that it made; `None` where the table stayed as it was.
        location: Option<MetadataLocation>,
        /// What it did, in one line for people.
        did: String,
        /// Whether it ended at one of its limits, and another has to go on.
        unfinished: bool,
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
    /// Its name, as rows have it.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Committed { .. } => "committed",
            Self::PartlyCommitted { .. } => "partly-committed",
            Self::Failed { .. } => "failed",
            Self::Evaluated => "evaluated",
            Self::Maintained { .. } => "maintained",
            Self::Abandoned { .. } => "abandoned",
        }
    }

    /// What the next plan should know, of a rewrite.
    pub fn lessons(&self) -> Option<&Lessons> {
        match self {
            Self::Committed { lessons, .. }
            | Self::PartlyCommitted { lessons, .. }
            | Self::Failed { lessons, .. } => Some(lessons),
            Self::Evaluated | Self::Maintained { .. } | Self::Abandoned { .. } => None,
        }
    }

    /// The same with so much text as a row holds: the first reasons, shortened, and how many more there are. What each
    /// group failed of stands in its task's row.
    pub fn bounded(self) -> Self {
        match self {
            Self::Committed { .. } | Self::Evaluated => self,
            Self::Maintained {
                location,
                did,
                unfinished,
            } => Self::Maintained {
                location,
                did: shortened(did, LONGEST_REASON),
                unfinished,
            },
            Self::PartlyCommitted {
                location,
                snapshot_id,
                failures,
                lessons,
            } => Self::PartlyCommitted {
                location,
                snapshot_id,
                failures: bounded_reasons(failures, &lessons),
                lessons,
            },
            Self::Failed { failures, lessons } => Self::Failed {
                failures: bounded_reasons(failures, &lessons),
                lessons,
            },
            Self::Abandoned { reason } => Self::Abandoned {
                reason: shortened(reason, LONGEST_REASON),
            },
        }
    }
}

/// The first reasons, and a line that says how many more there were. A list that ends in such a line already has one
/// more than are named, and stays as it is.
fn bounded_reasons(reasons: Vec<String>, lessons: &Lessons) -> Vec<String> {
    let more = reasons.len().saturating_sub(NAMED_REASONS);
    let first = reasons.iter().take(NAMED_REASONS + usize::from(more == 1));
    let mut kept: Vec<String> = first
        .map(|reason| shortened(reason.clone(), LONGEST_REASON))
        .collect();
    if more > 1 {
        let causes = match lessons.counted_causes() {
            causes if causes.is_empty() => causes,
            causes => format!(" (in all {causes})"),
        };
        kept.push(format!(
            "and {more} more{causes}: see the tasks of the process"
        ));
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
    fn outcomes_have_the_names_that_rows_have() {
        let (location, lessons) = (MetadataLocation::from("m"), Lessons::default());
        let (snapshot_id, failures) = (SnapshotId(1), vec!["why".to_owned()]);
        let outcomes = [
            ProcessOutcome::Committed {
                location: location.clone(),
                snapshot_id,
                lessons: lessons.clone(),
            },
            ProcessOutcome::PartlyCommitted {
                location,
                snapshot_id,
                failures: failures.clone(),
                lessons: lessons.clone(),
            },
            ProcessOutcome::Failed { failures, lessons },
            ProcessOutcome::Evaluated,
            ProcessOutcome::Maintained {
                location: None,
                did: "it".to_owned(),
                unfinished: false,
            },
            ProcessOutcome::Abandoned {
                reason: "why".to_owned(),
            },
        ];
        for outcome in outcomes {
            let row = serde_json::to_value(&outcome).unwrap();
            assert_eq!(row["outcome"], outcome.name());
        }
    }

    #[test]
    fn causes_stand_in_rows_as_people_read_them() {
        let causes = [
            FailureCause::Conflict,
            FailureCause::Gate,
            RewriteFailureKind::OverMemory.into(),
            RewriteFailureKind::FileVanished.into(),
        ];
        for cause in causes {
            let counted = std::collections::BTreeMap::from([(cause, 3)]);
            let text = serde_json::to_string(&counted).unwrap();
            assert_eq!(text, format!("{{\"{cause}\":3}}"));
            let read: std::collections::BTreeMap<FailureCause, u64> =
                serde_json::from_str(&text).unwrap();
            assert_eq!(read, counted);
        }
        assert!(serde_json::from_str::<FailureCause>("\"unheard-of\"").is_err());
    }

    #[test]
    fn c56_an_outcome_of_a_thousand_reasons_fits_a_row() {
        let reason = |number: u64| format!("group {number}: {}", "x".repeat(5_000));
        let failed = ProcessOutcome::Failed {
            failures: (0..1_000).map(reason).collect(),
            lessons: Lessons {
                lost_files: 7,
                causes: [
                    (FailureCause::Gate, 1),
                    (RewriteFailureKind::OverMemory.into(), 999),
                ]
                .into(),
                ..Lessons::default()
            },
        };
        let bounded = failed.bounded();
        let text = serde_json::to_string(&bounded).unwrap();
        assert!(text.len() < 16_000, "{}", text.len());
        let ProcessOutcome::Failed {
            failures,
            lessons: Lessons { lost_files: 7, .. },
        } = &bounded
        else {
            panic!("{bounded:?}")
        };
        assert!(failures[0].starts_with("group 0: "), "{}", failures[0]);
        assert_eq!(
            failures[10],
            "and 990 more (in all 999 over-memory, 1 gate): see the tasks of the process"
        );
        assert_eq!(
            serde_json::from_str::<ProcessOutcome>(&text).unwrap(),
            bounded
        );
        assert_eq!(bounded.clone().bounded(), bounded, "once is enough");
    }
}
