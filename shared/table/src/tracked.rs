//! Which files snapshots refer to, and nothing more about them: for whoever decides what nobody needs any more.
//!
//! Reads what plans and commits read, with the same reader and the same words where something can't be read. What is not
//! asked here: partitions, bounds, which delete applies to what.

use bytes::Bytes as Buffer;
use iceberg::spec::Snapshot;
use icepress_catalog::metadata::Metadata;
use icepress_model::{Bytes, Rows, SnapshotId, TableId};
use icepress_storage::Storage;
use serde::{Deserialize, Serialize};

use crate::{
    TableError,
    manifests::{
        ManifestFile, check_readable, defect, fetch, listed_at, read_live_paths, unsupported,
    },
};

/// Where a snapshot names its manifests. Written down before the snapshot is removed, this is what is left of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SnapshotFiles {
    /// The snapshot.
    pub snapshot_id: SnapshotId,
    /// Its manifest list.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub manifest_list: Option<String>,
    /// Its manifests, where it has no list (version 1, until 2019).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub manifests: Vec<String>,
}

impl SnapshotFiles {
    /// Those of a snapshot of `metadata`. Fails with `Unsupported` where its manifest list is encrypted.
    pub fn of(
        table: &TableId,
        metadata: &Metadata,
        snapshot: &Snapshot,
    ) -> Result<Self, TableError> {
        let id = snapshot.snapshot_id();
        if let Some(named) = metadata.named_manifests(id) {
            return Ok(Self {
                snapshot_id: SnapshotId(id),
                manifest_list: None,
                manifests: named.to_vec(),
            });
        }
        if snapshot.encryption_key_id().is_some() {
            let message = "its manifest list is encrypted, which Icepress can't read";
            return Err(unsupported(table, message.to_owned()));
        }
        Ok(Self {
            snapshot_id: SnapshotId(id),
            manifest_list: Some(snapshot.manifest_list().to_owned()),
            manifests: Vec::new(),
        })
    }

    /// Its manifests. Fails where the list can't be fetched, is none, or names an encrypted manifest.
    pub async fn manifests(
        &self,
        storage: &dyn Storage,
        table: &TableId,
    ) -> Result<Vec<ListedManifest>, TableError> {
        let listed = match &self.manifest_list {
            Some(location) => listed_at(storage, table, location).await?,
            None => {
                let named = self.manifests.iter();
                named
                    .map(|path| ManifestFile::named(path, self.snapshot_id.get()))
                    .collect()
            }
        };
        listed
            .into_iter()
            .map(|file| {
                check_readable(table, &file)?;
                Ok(ListedManifest(ManifestFile {
                    partitions: None,
                    ..file
                }))
            })
            .collect()
    }
}

/// A manifest, as a list has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListedManifest(ManifestFile);

impl ListedManifest {
    /// Where it lies.
    pub fn path(&self) -> &str {
        &self.0.path
    }

    /// Its size; 0 where nobody says.
    pub fn bytes(&self) -> Bytes {
        Bytes(u64::try_from(self.0.length).unwrap_or(0))
    }

    /// Whether readers look into it: not where its list says that nothing in it is live.
    pub fn has_live_files(&self) -> bool {
        self.0.may_have_live_files()
    }

    /// Its content.
    pub async fn content(
        &self,
        storage: &dyn Storage,
        table: &TableId,
    ) -> Result<Buffer, TableError> {
        fetch(storage, table, &self.0.path).await
    }

    /// Calls `each` for every live entry in `content`, the manifest's. Fails where that is no manifest, or was cut short.
    pub fn live_files(
        &self,
        table: &TableId,
        content: &[u8],
        each: impl FnMut(TrackedFile<'_>),
    ) -> Result<(), TableError> {
        read_live_paths(content, &self.0, each).map_err(|error| defect(table, &self.0.path, error))
    }
}

/// A live file of a manifest. Several vectors may share one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TrackedFile<'a> {
    /// Where it lies.
    pub path: &'a str,
    /// Its size, all of it.
    pub bytes: Bytes,
    /// Its records; 0 where the manifest does not say.
    pub rows: Rows,
    /// Whether it holds deletes.
    pub is_delete_file: bool,
}
