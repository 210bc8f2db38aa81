//! How a table's files lie in its manifests, as far as it decides which manifests readers open.

use icepress_model::{Bytes, SpecId};
use serde::Serialize;

/// What a manifest tracks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum ManifestContent {
    /// Data files.
    Data,
    /// Delete files and vectors.
    Deletes,
}

/// The live files of one partition in one manifest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Held {
    /// The partition's place in [`ManifestLayout::partitions`].
    pub partition: u32,
    /// How many files.
    pub files: u32,
}

/// A manifest with live files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListedManifest {
    /// Where it is.
    pub path: String,
    /// What it tracks.
    pub content: ManifestContent,
    /// The partition spec of its files.
    pub spec_id: SpecId,
    /// Its size in storage, tombstones and all.
    pub size: Bytes,
    /// The sequence number of the commit that added it; 0 in version 1.
    pub sequence_number: i64,
    /// Entries of live files.
    pub live: u64,
    /// Entries of files that were removed.
    pub removed: u64,
    /// Its live files by partition, in the partitions' order.
    pub held: Vec<Held>,
}

impl ListedManifest {
    /// What its live entries take of its size.
    pub fn live_size(&self) -> Bytes {
        let all = u128::from(self.live + self.removed).max(1);
        let size = u128::from(self.size.get()) * u128::from(self.live) / all;
        Bytes(u64::try_from(size).unwrap_or(u64::MAX))
    }
}

/// A partition among the others of its spec.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct PartitionPlace {
    /// Its spec.
    pub spec_id: SpecId,
    /// For each partition field which value it has, counted from the least, with NULL first: two partitions have the same number
    /// where they have the same value. Ranges of these numbers are what readers compare bounds by.
    pub fields: Box<[u32]>,
}

/// The manifests of a snapshot that have live files, and where these are.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ManifestLayout {
    /// In the order of the manifest list.
    pub manifests: Vec<ListedManifest>,
    /// Partitions of live files, by spec and values.
    pub partitions: Vec<PartitionPlace>,
    /// The size that the table wants its manifests to have (`commit.manifest.target-size-bytes`).
    pub target: Bytes,
}
