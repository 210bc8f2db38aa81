//! Which files and rows come and go between two snapshots.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use futures::{FutureExt as _, StreamExt as _, stream};
use iceberg::spec::Snapshot;
use icepress_catalog::LoadedTable;
use icepress_model::{Bytes, Rows};
use icepress_storage::Storage;
use icepress_table::tracked::{ListedManifest, SnapshotFiles};
use serde::Serialize;

use crate::{UpkeepError, dead::mark_of};

/// Manifests that are fetched at a time.
const CONCURRENT_READS: usize = 16;

/// Files, with what is in them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Amount {
    /// How many.
    pub files: u64,
    /// Their records: rows of data files, deletes of delete files.
    pub rows: Rows,
    /// Their sizes.
    pub bytes: Bytes,
}

impl Amount {
    fn add(&mut self, file: &Known) {
        self.files += 1;
        self.rows = Rows(self.rows.get().saturating_add(file.rows));
        self.bytes = Bytes(self.bytes.get().saturating_add(file.bytes));
    }
}

/// What comes and what goes. Rows are those of files: what delete files say of them is told by the delete files that come
/// and go.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Difference {
    /// Data files that readers will see again.
    pub data_back: Amount,
    /// Data files that they will see no longer.
    pub data_gone: Amount,
    /// Delete files that will apply again: rows go.
    pub deletes_back: Amount,
    /// Delete files that will apply no longer: rows come back.
    pub deletes_gone: Amount,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Known {
    is_delete_file: bool,
    rows: u64,
    bytes: u64,
}

/// What changes for readers who saw `from` and will see `to`. Memory: some bytes for each file of manifests that only one of
/// them has.
pub(super) async fn between(
    storage: &Arc<dyn Storage>,
    loaded: &LoadedTable,
    from: &Snapshot,
    to: &Snapshot,
) -> Result<Difference, UpkeepError> {
    let mut difference = Difference::default();
    if from.snapshot_id() == to.snapshot_id() {
        return Ok(difference);
    }
    let [old, new] = [
        manifests_of(storage, loaded, from).await?,
        manifests_of(storage, loaded, to).await?,
    ];
    let paths = |manifests: &[ListedManifest]| -> HashSet<String> {
        manifests.iter().map(|it| it.path().to_owned()).collect()
    };
    let (in_old, in_new) = (paths(&old), paths(&new));
    let only_old = old.iter().filter(|it| !in_new.contains(it.path()));
    let only_new = new.iter().filter(|it| !in_old.contains(it.path()));
    let mut going = files_of(storage, loaded, only_old).await?;
    let coming = files_of(storage, loaded, only_new).await?;
    for (mark, file) in &coming {
        // One that was only written into another manifest.
        if going.remove(mark).is_some() {
            continue;
        }
        match file.is_delete_file {
            false => difference.data_back.add(file),
            true => difference.deletes_back.add(file),
        }
    }
    for file in going.values() {
        match file.is_delete_file {
            false => difference.data_gone.add(file),
            true => difference.deletes_gone.add(file),
        }
    }
    Ok(difference)
}

/// The manifests of a snapshot that have live files.
pub(super) async fn manifests_of(
    storage: &Arc<dyn Storage>,
    loaded: &LoadedTable,
    snapshot: &Snapshot,
) -> Result<Vec<ListedManifest>, UpkeepError> {
    let files = SnapshotFiles::of(&loaded.table, &loaded.metadata, snapshot)?;
    let mut manifests = files.manifests(storage.as_ref(), &loaded.table).await?;
    manifests.retain(ListedManifest::has_live_files);
    Ok(manifests)
}

async fn files_of(
    storage: &Arc<dyn Storage>,
    loaded: &LoadedTable,
    manifests: impl Iterator<Item = &ListedManifest>,
) -> Result<HashMap<u64, Known>, UpkeepError> {
    let table = &loaded.table;
    let requests: Vec<_> = manifests
        .map(|manifest| {
            let content = manifest.content(storage.as_ref(), table);
            content.map(move |content| (manifest, content)).boxed()
        })
        .collect();
    let mut files = HashMap::new();
    let mut contents = stream::iter(requests).buffered(CONCURRENT_READS);
    while let Some((manifest, content)) = contents.next().await {
        manifest.live_files(table, &content?, |file| {
            let known = Known {
                is_delete_file: file.is_delete_file,
                rows: file.rows.get(),
                bytes: file.bytes.get(),
            };
            // Vectors that share a file are one file; their deletes are counted together.
            let entry = files
                .entry(mark_of(file.path))
                .or_insert(Known { rows: 0, ..known });
            entry.rows = entry.rows.saturating_add(known.rows);
        })?;
    }
    Ok(files)
}
