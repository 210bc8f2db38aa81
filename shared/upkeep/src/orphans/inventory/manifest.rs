//! An inventory's `manifest.json`, in the form of version 2016-11-30.

use icepress_model::TimestampMs;
use md5::{Digest as _, Md5};
use serde::Deserialize;

use super::NEEDED;

/// What is needed of it.
#[derive(Debug)]
pub(super) struct Manifest {
    pub(super) source_bucket: String,
    pub(super) made_at: TimestampMs,
    pub(super) format: Format,
    pub(super) files: Vec<NamedFile>,
}

/// How its files are written.
#[derive(Debug)]
pub(super) enum Format {
    /// Compressed with gzip, keys percent-encoded.
    Csv(Columns),
    /// Parquet.
    Parquet,
}

/// Where the columns of a CSV file stand; it has no header.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Columns {
    pub(super) all: usize,
    pub(super) bucket: usize,
    pub(super) key: usize,
    pub(super) size: usize,
    pub(super) modified: usize,
    /// Only where it has all versions.
    pub(super) is_latest: Option<usize>,
    pub(super) is_delete_marker: Option<usize>,
}

/// A file of the inventory.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct NamedFile {
    pub(super) key: String,
    pub(super) size: Option<u64>,
    #[serde(rename = "MD5checksum")]
    pub(super) md5: String,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Written {
    source_bucket: String,
    creation_timestamp: String,
    file_format: String,
    file_schema: String,
    files: Vec<NamedFile>,
}

impl Manifest {
    /// The error says why it is of no use, and what to choose.
    pub(super) fn parse(content: &[u8]) -> Result<Self, String> {
        let written: Written = serde_json::from_slice(content)
            .map_err(|error| format!("it is no manifest of an inventory: {error}"))?;
        let made_at = written.creation_timestamp.parse();
        let made_at = made_at.map_err(|_| {
            format!(
                "its creationTimestamp '{}' is no moment",
                written.creation_timestamp
            )
        })?;
        let schema = &written.file_schema;
        let format = match written.file_format.to_ascii_lowercase().as_str() {
            "csv" => Format::Csv(Columns::parse(schema)?),
            "parquet" => {
                let has = |column: &str| {
                    let mut words = schema.split(|c: char| !(c.is_alphanumeric() || c == '_'));
                    words.any(|word| word == column)
                };
                if !(has("size") && has("last_modified_date")) {
                    return Err(format!("its files do not have all columns: {NEEDED}"));
                }
                check_versions(has("version_id"), has("is_latest"))?;
                Format::Parquet
            }
            "orc" => {
                return Err("its files are ORC, which is not read here: choose CSV or Apache Parquet as the output format in the inventory's configuration".to_owned());
            }
            other => return Err(format!("its files are '{other}', and not CSV or Parquet")),
        };
        Ok(Self {
            source_bucket: written.source_bucket,
            made_at: TimestampMs(made_at),
            format,
            files: written.files,
        })
    }
}

impl Columns {
    fn parse(schema: &str) -> Result<Self, String> {
        let names: Vec<&str> = schema.split(',').map(str::trim).collect();
        let find = |name: &str| names.iter().position(|it| it.eq_ignore_ascii_case(name));
        let need = |name: &str| {
            find(name).ok_or_else(|| format!("its files have no column {name}: {NEEDED}"))
        };
        check_versions(find("VersionId").is_some(), find("IsLatest").is_some())?;
        Ok(Self {
            all: names.len(),
            bucket: need("Bucket")?,
            key: need("Key")?,
            size: need("Size")?,
            modified: need("LastModifiedDate")?,
            is_latest: find("IsLatest"),
            is_delete_marker: find("IsDeleteMarker"),
        })
    }
}

/// Of all versions of an object only the newest is what the table reads.
fn check_versions(has_versions: bool, says_latest: bool) -> Result<(), String> {
    match has_versions && !says_latest {
        true => {
            Err("it has all versions of objects, and does not say which is the newest".to_owned())
        }
        false => Ok(()),
    }
}

/// As 32 hexadecimal digits.
pub(super) fn md5_of(content: &[u8]) -> String {
    hex::encode(Md5::digest(content))
}
