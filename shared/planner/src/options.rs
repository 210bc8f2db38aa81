//! What can be set about plans: defaults, and a table's own properties.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    str::FromStr,
    sync::Arc,
};

use icepress_model::{Bytes, MergePages, PlanSetting, TableId};
use icepress_table::DeleteGranularity;
use thiserror::Error;

#[cfg(test)]
mod tests;

/// Iceberg's `write.target-file-size-bytes` where a table does not set it.
const DEFAULT_TARGET: Bytes = Bytes::mebibytes(512);

/// Of which groups the rows are compared after a rewrite.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum VerifyRows {
    /// Of none.
    Off,
    /// Of one group in sixteen.
    Sample,
    /// Of every group.
    All,
}

impl FromStr for VerifyRows {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "off" => Ok(Self::Off),
            "sample" => Ok(Self::Sample),
            "all" => Ok(Self::All),
            _ => Err("it must be off, sample or all".to_owned()),
        }
    }
}

/// How to plan. Each option can be overridden by the table property named with it.
#[derive(Debug, Clone, PartialEq)]
pub struct PlanOptions {
    /// `icepress.enabled`: whether the table is maintained at all. Default `true`.
    pub enabled: bool,
    /// `icepress.target-file-size-bytes`, else the table's `write.target-file-size-bytes`, else 512 MiB.
    pub target_file_size: Option<Bytes>,
    /// `icepress.min-input-files`: how many candidates are worth rewriting, whatever their size. Default 5, at
    /// least 2: one file rewritten alone would be a candidate again.
    pub min_input_files: u64,
    /// `icepress.delete-ratio-threshold`: from which share of deleted rows on a file is rewritten. Default 0.1.
    pub delete_ratio_threshold: f64,
    /// `icepress.delete-file-threshold`: from how many delete files on a file is rewritten. Default 2.
    pub delete_file_threshold: u64,
    /// `icepress.light-rewrites`: whether the delete files of large files with few deleted rows may be rewritten instead
    /// of the files. Default `true`.
    pub light_rewrites: bool,
    /// `write.delete.granularity`: whether position deletes are written for each data file or for a group's together.
    /// Default for each, but together where that would be more files than there were.
    pub delete_granularity: Option<DeleteGranularity>,
    /// `icepress.max-group-bytes`: the most bytes of input in a group, so that a function can end it in its time.
    /// Default 5 GiB. Twice the target is allowed in any case: smaller groups could not make whole files.
    pub max_group_bytes: Bytes,
    /// `icepress.max-group-files`: the most data files in a group. Default 5,000.
    pub max_group_files: u64,
    /// `icepress.max-plan-bytes`: the most bytes of input in a plan. Default 256 GiB. One group is allowed in any
    /// case.
    pub max_plan_bytes: Bytes,
    /// `icepress.max-plan-files`: the most data files in a plan. Default 50,000. One group is allowed in any case.
    pub max_plan_files: u64,
    /// `icepress.max-plan-groups`: the most groups in a plan, and so tasks in the queue at a time. Default 1,000. One
    /// group is allowed in any case, and the light groups of one partition stay together.
    pub max_plan_groups: u64,
    /// `icepress.verify-rows`: `off`, `sample` or `all`: of which groups inputs and outputs are read once more after
    /// the rewrite, to compare their rows by an order-free hash. Default `sample`, one group in sixteen.
    pub verify_rows: VerifyRows,
    /// `icepress.merge-pages`: `where-it-pays`, `always` or `never`: whether row groups are joined page by page or row by
    /// row. Default `where-it-pays`.
    pub merge_pages: MergePages,
    /// What groups are held to for now. No table property.
    pub ceiling: Ceiling,
    /// Another number for each plan of a table, where the one before came to nothing: whose turn it is depends on it where
    /// not all can be done. No table property.
    pub turn: u64,
    /// Whether groups are wanted of which any may be left out: none of the light tier, which go together. No table
    /// property.
    pub separable: bool,
    /// Whether a person asked for all files to be rewritten, in one plan whatever its size. No table property.
    pub force: bool,
    /// Who set what is set, by the names of [`PlanOptions::settings`].
    pub origins: BTreeMap<&'static str, String>,
}

impl Default for PlanOptions {
    fn default() -> Self {
        Self {
            enabled: true,
            target_file_size: None,
            min_input_files: 5,
            delete_ratio_threshold: 0.1,
            delete_file_threshold: 2,
            light_rewrites: true,
            delete_granularity: None,
            max_group_bytes: Bytes::mebibytes(5 << 10),
            max_group_files: 5_000,
            max_plan_bytes: Bytes::mebibytes(256 << 10),
            max_plan_files: 50_000,
            max_plan_groups: 1_000,
            verify_rows: VerifyRows::Sample,
            merge_pages: MergePages::default(),
            ceiling: Ceiling::default(),
            turn: 0,
            separable: false,
            force: false,
            origins: BTreeMap::new(),
        }
    }
}

/// How large groups may be for now, because larger ones came to nothing, or would.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Ceiling {
    /// The most data files, because larger groups lost against another writer. Never fewer than
    /// [`PlanOptions::min_input_files`].
    pub after_losses: Option<u64>,
    /// The most data files, because more were too much for a worker; down to one.
    pub files: Option<u64>,
    /// The most bytes that a worker is known, or reckoned, to get through.
    pub bytes: Option<Bytes>,
    /// Files that were too much each alone, by [`path_hash`]: they are left alone.
    pub hopeless: Arc<BTreeSet<u64>>,
}

/// The hash by which files are remembered that are too much for a worker: 64-bit FNV-1a, the same in every version.
pub fn path_hash(path: &str) -> u64 {
    path.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

/// A property, or a default of it, that can't be used.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{whose}: the property {property} is '{value}', but must be {shape}")]
pub struct InvalidProperty {
    /// Whose it is: `table lake.sales.orders`, or the section that sets it.
    pub whose: String,
    /// The property.
    pub property: String,
    /// What it is set to.
    pub value: String,
    /// What it must look like.
    pub shape: String,
}

impl PlanOptions {
    /// These options with what the table's own properties say in their place.
    pub fn for_table(
        &self,
        table: &TableId,
        properties: &HashMap<String, String>,
    ) -> Result<Self, InvalidProperty> {
        self.under(&|| format!("table {table}"), properties)
    }

    /// These options with what `properties` say in their place; `whose` they are is for errors.
    pub(crate) fn under(
        &self,
        whose: &dyn Fn() -> String,
        properties: &HashMap<String, String>,
    ) -> Result<Self, InvalidProperty> {
        let read = Properties { whose, properties };
        let bytes = |property: &str, default: Bytes| {
            let bytes = read.number(property, BYTES, at_least_one)?;
            Ok(bytes.map_or(default, Bytes))
        };
        let target = match read.number("icepress.target-file-size-bytes", BYTES, at_least_one)? {
            None => read.number("write.target-file-size-bytes", BYTES, at_least_one)?,
            own => own,
        };
        let target = target.or(self.target_file_size.map(Bytes::get));
        let min_input_files = read
            .number("icepress.min-input-files", "a number, 2 or more", |files| {
                *files >= 2
            })?
            .unwrap_or(self.min_input_files);
        let shape =
            format!("a number, at least icepress.min-input-files, which is {min_input_files}");
        let max_group_files = read
            .number("icepress.max-group-files", &shape, |files| {
                *files >= min_input_files
            })?
            .unwrap_or(self.max_group_files.max(min_input_files));
        Ok(Self {
            enabled: read
                .number("icepress.enabled", "true or false", |_: &bool| true)?
                .unwrap_or(self.enabled),
            target_file_size: target.map(Bytes),
            min_input_files,
            delete_ratio_threshold: read
                .number(
                    "icepress.delete-ratio-threshold",
                    "a number above 0, up to 1",
                    |ratio: &f64| *ratio > 0.0 && *ratio <= 1.0,
                )?
                .unwrap_or(self.delete_ratio_threshold),
            delete_file_threshold: read
                .number("icepress.delete-file-threshold", COUNT, at_least_one)?
                .unwrap_or(self.delete_file_threshold),
            light_rewrites: read
                .number("icepress.light-rewrites", "true or false", |_: &bool| true)?
                .unwrap_or(self.light_rewrites),
            delete_granularity: read
                .number(
                    DeleteGranularity::PROPERTY,
                    "file or partition",
                    |_: &DeleteGranularity| true,
                )?
                .or(self.delete_granularity),
            max_group_bytes: bytes("icepress.max-group-bytes", self.max_group_bytes)?,
            max_group_files,
            max_plan_bytes: bytes("icepress.max-plan-bytes", self.max_plan_bytes)?,
            max_plan_files: read
                .number("icepress.max-plan-files", COUNT, at_least_one)?
                .unwrap_or(self.max_plan_files),
            max_plan_groups: read
                .number("icepress.max-plan-groups", COUNT, at_least_one)?
                .unwrap_or(self.max_plan_groups),
            verify_rows: read
                .number("icepress.verify-rows", "off, sample or all", |_| true)?
                .unwrap_or(self.verify_rows),
            merge_pages: read
                .number(
                    "icepress.merge-pages",
                    "where-it-pays, always or never",
                    |_| true,
                )?
                .unwrap_or(self.merge_pages),
            ceiling: self.ceiling.clone(),
            turn: self.turn,
            separable: self.separable,
            force: self.force,
            origins: self.origins_under(whose, properties),
        })
    }

    fn origins_under(
        &self,
        whose: &dyn Fn() -> String,
        properties: &HashMap<String, String>,
    ) -> BTreeMap<&'static str, String> {
        let is_set = |name: &str| {
            properties.contains_key(&format!("icepress.{name}"))
                || name == "target-file-size-bytes"
                    && properties.contains_key("write.target-file-size-bytes")
        };
        let mut origins = self.origins.clone();
        let settings = self.settings().into_iter();
        let set = settings.filter(|(name, _)| is_set(name));
        origins.extend(set.map(|(name, _)| (name, whose())));
        origins
    }

    /// What is not as it is by default, and who set it so.
    pub(crate) fn other_than_default(&self) -> Vec<PlanSetting> {
        let defaults = Self::default().settings();
        let as_set = Self {
            ceiling: Ceiling::default(),
            ..self.clone()
        };
        let settings = self.settings().into_iter().zip(as_set.settings());
        settings
            .zip(defaults)
            .filter(|(((_, value), _), (_, default))| value != default)
            .map(|(((name, value), (_, set)), _)| PlanSetting {
                name: name.to_owned(),
                set_by: match self.origins.get(name) {
                    _ if value != set => "what optimizers get through".to_owned(),
                    Some(origin) => origin.clone(),
                    None => "the command".to_owned(),
                },
                value,
            })
            .collect()
    }

    /// The size that output files shall have.
    pub fn target(&self) -> Bytes {
        self.target_file_size.unwrap_or(DEFAULT_TARGET)
    }

    /// Below this a file is too small: 0.75 × the target.
    pub(crate) fn min_file_size(&self) -> u64 {
        (self.target().get() as f64 * 0.75) as u64
    }

    /// Above this a file is too large: 1.8 × the target.
    pub(crate) fn max_file_size(&self) -> u64 {
        (self.target().get() as f64 * 1.8) as u64
    }

    /// Up to this a file with deletes is rewritten for any of them: an eighth of the target.
    pub(crate) fn cheap_file_size(&self) -> u64 {
        self.target().get() / 8
    }

    /// The most data files of a group.
    pub(crate) fn group_files(&self) -> u64 {
        let after_losses = self.ceiling.after_losses.unwrap_or(u64::MAX);
        self.max_group_files
            .min(after_losses.max(self.min_input_files))
            .min(self.ceiling.files.unwrap_or(u64::MAX).max(1))
    }

    /// How many candidates are worth rewriting, whatever their size. Where a worker can't manage so many at a time, as
    /// many as it can: two files made one are a step, too.
    pub(crate) fn enough_files(&self) -> u64 {
        self.min_input_files.min(self.group_files()).max(2)
    }

    /// Whether delete files may be rewritten alone. What such a rewrite leaves, one delete file a data file, must be too
    /// few for another; and whoever asks for all files to be rewritten means the data files.
    pub(crate) fn allows_light(&self) -> bool {
        self.light_rewrites && self.delete_file_threshold > 1 && !self.force && !self.separable
    }

    /// Whether a position delete file may speak of several data files.
    pub(crate) fn shares_delete_files(&self) -> bool {
        self.delete_granularity != Some(DeleteGranularity::File)
    }

    /// The most bytes of a group: enough for whole files, as far as a worker can get through so much.
    pub(crate) fn group_bytes(&self) -> u64 {
        let least = self.target().get().saturating_mul(2);
        let ceiling = self.ceiling.bytes.map_or(u64::MAX, Bytes::get);
        self.max_group_bytes.get().max(least).min(ceiling)
    }

    /// What can be set, by the names of the table properties without `icepress.`, each with its value here.
    pub fn settings(&self) -> Vec<(&'static str, String)> {
        let verify_rows = match self.verify_rows {
            VerifyRows::Off => "off",
            VerifyRows::Sample => "sample",
            VerifyRows::All => "all",
        };
        let bytes = |bytes: Bytes| bytes.get().to_string();
        vec![
            ("enabled", self.enabled.to_string()),
            ("target-file-size-bytes", bytes(self.target())),
            ("min-input-files", self.min_input_files.to_string()),
            (
                "delete-ratio-threshold",
                self.delete_ratio_threshold.to_string(),
            ),
            (
                "delete-file-threshold",
                self.delete_file_threshold.to_string(),
            ),
            ("light-rewrites", self.light_rewrites.to_string()),
            (
                "max-group-bytes",
                Bytes(self.group_bytes()).get().to_string(),
            ),
            ("max-group-files", self.group_files().to_string()),
            ("max-plan-bytes", bytes(self.max_plan_bytes)),
            ("max-plan-files", self.max_plan_files.to_string()),
            ("max-plan-groups", self.max_plan_groups.to_string()),
            ("verify-rows", verify_rows.to_owned()),
            ("merge-pages", self.merge_pages.to_string()),
        ]
    }
}

const BYTES: &str = "a number of bytes, 1 or more";
const COUNT: &str = "a number, 1 or more";

fn at_least_one(number: &u64) -> bool {
    *number >= 1
}

struct Properties<'a> {
    whose: &'a dyn Fn() -> String,
    properties: &'a HashMap<String, String>,
}

impl Properties<'_> {
    fn number<T: FromStr>(
        &self,
        property: &str,
        shape: &str,
        allowed: impl Fn(&T) -> bool,
    ) -> Result<Option<T>, InvalidProperty> {
        let Some(value) = self.properties.get(property) else {
            return Ok(None);
        };
        match value.trim().parse().ok().filter(allowed) {
            Some(number) => Ok(Some(number)),
            None => Err(InvalidProperty {
                whose: (self.whose)(),
                property: property.to_owned(),
                value: value.clone(),
                shape: shape.to_owned(),
            }),
        }
    }
}
