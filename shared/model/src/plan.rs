//! Plans: which files of a table are to be rewritten together, and why the others are not.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::{
    Bytes, GroupSize, MetadataLocation, Pace, ProcessId, RowId, Rows, SchemaId, SequenceNumber,
    SnapshotId, SpecId, TableId,
};

/// The state of a table that a plan was made on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BaseState {
    /// The metadata file that was read.
    pub metadata_location: MetadataLocation,
    /// Its current snapshot.
    pub snapshot_id: SnapshotId,
    /// That snapshot's sequence number: what the outputs are committed with, so that equality deletes that come
    /// later still apply to them. 0 for tables of format version 1.
    pub starting_sequence_number: SequenceNumber,
    /// The table's current schema: what the outputs are written in.
    pub schema_id: SchemaId,
    /// The table's format version, which says whether rows were written with their lineage. 0 where a plan does not say.
    #[serde(default)]
    pub format_version: u8,
}

/// A data file to be replaced.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct InputFile {
    /// Its location, letter for letter as the manifest has it.
    pub path: String,
    /// Its size as the manifest has it.
    pub size: Bytes,
    /// Its rows as the manifest has them, deleted ones included.
    pub rows: Rows,
    /// Its data sequence number.
    pub sequence_number: SequenceNumber,
    /// The id of its first row, inherited where its manifest entry has none: rows that store no id of their own have
    /// this one plus their position. `None` before format version 3, and until the first commit after an upgrade.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first_row_id: Option<RowId>,
    /// Which of [`Group::deletes`] may apply to it, by index.
    pub deletes: Vec<u32>,
}

/// What a delete file says of rows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DeleteContent {
    /// Rows by file and position (specification, *Position Delete Files*).
    Position,
    /// Rows by the values of these columns (specification, *Equality Delete Files*).
    Equality {
        /// Field ids of the key, in the file's order.
        field_ids: Vec<i32>,
    },
    /// A bitmap of positions in one data file, a blob of a Puffin file (specification, *Deletion Vectors*).
    Vector {
        /// Where the blob starts in the file, in bytes.
        offset: u64,
        /// How long it is, in bytes.
        length: u64,
    },
}

/// A delete file that may apply to inputs of a group.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeleteFile {
    /// What it says.
    pub content: DeleteContent,
    /// Its location, letter for letter.
    pub path: String,
    /// Its size as the manifest has it.
    pub size: Bytes,
    /// Its records as the manifest has them.
    pub rows: Rows,
    /// Its data sequence number.
    pub sequence_number: SequenceNumber,
    /// The one data file that it is about, where it says so.
    pub referenced_data_file: Option<String>,
}

/// Key columns are taken to be an eighth of a data file: one or two columns of ten, and none of the long texts.
pub const KEY_COLUMNS_DIVISOR: u64 = 8;

/// Why a group is worth rewriting.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum GroupReason {
    /// At least `min-input-files` files of the wrong size.
    EnoughFiles,
    /// Several files of the wrong size with more than a whole target file in them.
    EnoughContent,
    /// A file above the maximum size.
    TooLarge,
    /// A file with too many delete files, or too large a share of its rows deleted.
    Deletes,
    /// A person asked for all files.
    Forced,
    /// Delete files that no data file can match, in a table where nothing else is to be done.
    Dangling,
}

/// How much of a group is written anew.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Tier {
    /// Its data files, with the deletes applied.
    #[default]
    Full,
    /// Its delete files alone: the data files stay, and each has one position delete file, or one deletion vector, that
    /// says all that [`Group::deletes`] said of it. Equality deletes among them are looked up in the key columns.
    Light,
    /// Nothing: the group has no inputs, and the commit takes the delete files out that no data file of the table can
    /// match.
    Dangling,
}

impl Tier {
    /// How many of so many bytes of data files a worker reads: all, the key columns alone, or none.
    pub fn packed_bytes(self, inputs: Bytes) -> Bytes {
        match self {
            Self::Full => inputs,
            Self::Light => Bytes(inputs.get() / KEY_COLUMNS_DIVISOR),
            Self::Dangling => Bytes::ZERO,
        }
    }
}

/// Files of one partition and one spec that are rewritten together, and that commit or fail alone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Group {
    /// The partition spec of the inputs, and of the outputs.
    pub spec_id: SpecId,
    /// The partition in the JSON form of the specification's *JSON single-value serialization* (a struct keyed by
    /// field id); `null` for an unpartitioned spec.
    pub partition: serde_json::Value,
    /// The partition for people: `day=2026-01-31/region=eu`, empty for an unpartitioned spec.
    pub partition_name: String,
    /// Why.
    pub reason: GroupReason,
    /// What of it is written anew.
    #[serde(default)]
    pub tier: Tier,
    /// Data files to replace, or in the light tier to find the deleted rows of, in the table's own order.
    pub inputs: Vec<InputFile>,
    /// Delete files that apply to any of them; in the tier of dangling ones those that apply to nothing.
    pub deletes: Vec<DeleteFile>,
    /// How large each output file shall be.
    pub target_file_size: Bytes,
    /// In the light tier: whether the position deletes of all its data files go into one file. Never so from format
    /// version 3 on.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub shares_deletes: bool,
    /// Rows that are left out beside those that are deleted: whoever commits it says that rows went.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub without: Option<OldRows>,
}

/// The rows whose value in a column is at most so great. One that is null is none of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct OldRows {
    /// The column's field id: a date, a timestamp or a long at the top of the table's schema.
    pub column: i32,
    /// The greatest value, in the column's own unit: days, micro- or nanoseconds since 1970, or the number itself.
    pub up_to: i64,
}

impl Group {
    /// Whether any row of its inputs may be left out.
    pub fn leaves_rows_out(&self) -> bool {
        !self.deletes.is_empty() || self.without.is_some()
    }

    /// The inputs' bytes.
    pub fn input_bytes(&self) -> Bytes {
        self.inputs.iter().map(|input| input.size).sum()
    }

    /// The inputs' rows, deleted ones included.
    pub fn input_rows(&self) -> Rows {
        self.inputs.iter().map(|input| input.rows).sum()
    }

    /// The delete files' bytes.
    pub fn delete_bytes(&self) -> Bytes {
        self.deletes.iter().map(|delete| delete.size).sum()
    }

    /// About how many bytes must be read: all of a full rewrite's inputs, and the key columns alone where equality
    /// deletes are looked up.
    pub fn bytes_to_read(&self) -> Bytes {
        let inputs = match self.tier {
            Tier::Full => self.input_bytes(),
            Tier::Light if self.has_equality_deletes() => {
                Bytes(self.input_bytes().get() / KEY_COLUMNS_DIVISOR)
            }
            Tier::Light => Bytes::ZERO,
            Tier::Dangling => return Bytes::ZERO,
        };
        inputs + self.delete_bytes()
    }

    /// The bytes by which groups are packed: those that are read of the inputs, key columns alone in the light tier.
    pub fn packed_bytes(&self) -> Bytes {
        self.tier.packed_bytes(self.input_bytes())
    }

    /// How large it is for its worker.
    pub fn size(&self) -> GroupSize {
        GroupSize {
            files: self.inputs.len() as u64,
            bytes: self.packed_bytes(),
        }
    }

    /// Whether any of the deletes is by value.
    pub fn has_equality_deletes(&self) -> bool {
        let is_equality =
            |delete: &DeleteFile| matches!(delete.content, DeleteContent::Equality { .. });
        self.deletes.iter().any(is_equality)
    }

    /// How many output files to expect, at most in the light tier.
    pub fn expected_outputs(&self) -> u64 {
        match self.tier {
            Tier::Full => self
                .input_bytes()
                .get()
                .div_ceil(self.target_file_size.get().max(1))
                .max(1),
            Tier::Light => self.inputs.len() as u64,
            Tier::Dangling => 0,
        }
    }
}

/// All that an optimizer needs to rewrite one group: what a task carries.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GroupTask {
    /// The table.
    pub table: TableId,
    /// The process that the group belongs to.
    pub process: ProcessId,
    /// The group's index in its plan.
    pub index: u32,
    /// The state it was planned on.
    pub base: BaseState,
    /// The files.
    pub group: Group,
    /// How fast groups of the table were rewritten before, where that is known: by it the group's size was chosen.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pace: Option<Pace>,
}

/// Why files of a partition were left alone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LeftAloneReason {
    /// Every file has a good size and few deletes.
    Healthy,
    /// Some files are small, but fewer than `min-input-files`, and together less than a whole target file.
    TooFewFiles {
        /// Files of the wrong size.
        candidates: u64,
        /// How many would be needed.
        needed: u64,
    },
    /// The plan was full: the partition's turn comes with the next one.
    PlanFull,
    /// The files, or delete files that apply to them, are of a format that can't be rewritten.
    UnsupportedFormat {
        /// `avro` or `orc`.
        format: String,
    },
    /// The files, or delete files that apply to them, are encrypted.
    Encrypted,
    /// The table's property `icepress.enabled` is `false`.
    Disabled,
    /// The table's property `icepress.partition-filter` takes in no row of the partition.
    Filtered {
        /// The filter, as it is written.
        filter: String,
    },
    /// Each of the files alone was more than a worker's time or memory.
    TooMuch,
    /// The last run did just this to these files, and the next would do it again: an error of Icepress's own.
    Repeats,
}

impl fmt::Display for LeftAloneReason {
    /// One line for people.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Healthy => f.write_str("every file has a good size and few deletes"),
            Self::TooFewFiles { candidates, needed } => {
                let plural = if *candidates == 1 { "" } else { "s" };
                write!(
                    f,
                    "{candidates} file{plural} of a wrong size, and {needed} would be worth a rewrite"
                )
            }
            Self::PlanFull => f.write_str("the plan was full: its turn comes with the next one"),
            Self::UnsupportedFormat { format } => {
                write!(f, "its files are {format}, and only Parquet is rewritten")
            }
            Self::Encrypted => f.write_str("its files are encrypted"),
            Self::Disabled => f.write_str("the table's property icepress.enabled is false"),
            Self::Filtered { filter } => write!(
                f,
                "the table's property icepress.partition-filter leaves the partition alone: {filter}"
            ),
            Self::TooMuch => f.write_str(
                "each file alone was too much for a worker's time or memory: give optimizers more of it, or run \
                 icepress where no time limit holds",
            ),
            Self::Repeats => f.write_str(
                "the last run rewrote these very files in the same way and would do so again: an error of Icepress; please \
                 report it",
            ),
        }
    }
}

/// Files of one partition and spec that a plan does not touch, and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeftAlone {
    /// The partition spec.
    pub spec_id: SpecId,
    /// The partition for people.
    pub partition_name: String,
    /// Data files left alone.
    pub files: u64,
    /// Their bytes.
    pub bytes: Bytes,
    /// Why.
    pub reason: LeftAloneReason,
}

/// How well a table is, from 0 (rotten) to 100 (nothing to do).
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Health {
    /// Ours: partitions weighed by their bytes.
    pub score: f64,
    /// Amoro's score, for people who come from there: the mean over partitions.
    pub amoro_score: f64,
}

/// Sums over a table's live files at the base state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct PlanTotals {
    /// Live data files.
    pub data_files: u64,
    /// Their bytes.
    pub data_bytes: Bytes,
    /// Their rows, deleted ones included.
    pub rows: Rows,
    /// Live delete files: position, equality, and vectors.
    pub delete_files: u64,
    /// Their bytes.
    pub delete_bytes: Bytes,
    /// Partitions, counted once for each spec.
    pub partitions: u64,
}

/// What is to be done to one table, and why the rest is not.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TablePlan {
    /// The state the plan was made on; `None` for a table without a snapshot.
    pub base: Option<BaseState>,
    /// What to rewrite.
    pub groups: Vec<Group>,
    /// What not, with reasons.
    pub left_alone: Vec<LeftAlone>,
    /// How well the table is now.
    pub health: Health,
    /// Sums over the table.
    pub totals: PlanTotals,
    /// Whether another plan should follow right after this one's commit: the cap on a plan was reached, or a
    /// partition was cut into several groups.
    pub follow_up: bool,
    /// By what it was made, as far as that is not the default.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub settings: Vec<PlanSetting>,
}

/// Something that was set about a plan.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct PlanSetting {
    /// Its name: that of the table property without `icepress.`.
    pub name: String,
    /// Its value.
    pub value: String,
    /// Who set it: a table, a section of the configuration, or what optimizers get through.
    pub set_by: String,
}
