//! Whether all files of a snapshot are there.
//!
//! A few are asked for one by one, many at a time. For many, the table's places are listed first, a thousand keys a request,
//! and what no listing had is asked for.

use std::{collections::HashSet, sync::Arc};

use futures::{FutureExt as _, StreamExt as _, stream};
use iceberg::spec::Snapshot;
use icepress_catalog::LoadedTable;
use icepress_storage::{Storage, StorageErrorKind};
use icepress_table::{TableError, tracked::SnapshotFiles};
use serde::Serialize;

use crate::{Progress, UpkeepError, dead::mark_of, places};

/// Files that are asked for at a time.
const CONCURRENT_ASKS: usize = 64;
/// More files than these are looked for in listings first.
const LISTED_FROM: u64 = 2_000;
/// Missing files that are named.
const NAMED: usize = 20;

/// What a snapshot needs and is not there, or can't be read where it is.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Missing {
    /// How many files.
    pub files: u64,
    /// The first of them.
    pub named: Vec<String>,
    /// How many were asked for.
    pub checked: u64,
}

impl Missing {
    fn note(&mut self, path: &str, why: &str) {
        self.files += 1;
        if self.named.len() < NAMED {
            self.named.push(format!("{path} ({why})"));
        }
    }
}

/// Looks for everything that `snapshot` refers to: manifest list, manifests, data and delete files. Where a manifest is
/// missing nobody knows what it named; that it is missing is enough.
pub(super) async fn missing(
    storage: &Arc<dyn Storage>,
    loaded: &LoadedTable,
    snapshot: &Snapshot,
    progress: Progress<'_>,
) -> Result<Missing, UpkeepError> {
    let table = &loaded.table;
    let mut missing = Missing::default();
    let files = SnapshotFiles::of(table, &loaded.metadata, snapshot)?;
    let listed = files.manifests(storage.as_ref(), table).await;
    let Some(manifests) = there(listed, &mut missing)? else {
        return Ok(missing);
    };
    let live: Vec<_> = manifests.iter().filter(|it| it.has_live_files()).collect();
    let requests: Vec<_> = live
        .iter()
        .map(|manifest| manifest.content(storage.as_ref(), table).boxed())
        .collect();
    let mut contents = stream::iter(requests).buffered(CONCURRENT_ASKS / 4);
    let mut paths: Vec<String> = Vec::new();
    let mut seen = HashSet::new();
    for manifest in &live {
        let Some(content) = contents.next().await else {
            break;
        };
        missing.checked += 1;
        let Some(content) = there(content, &mut missing)? else {
            continue;
        };
        manifest.live_files(table, &content, |file| {
            if seen.insert(mark_of(file.path)) {
                paths.push(file.path.to_owned());
            }
        })?;
    }
    drop(contents);
    // What no reader opens is needed all the same, by whoever writes on the snapshot.
    let idle = manifests.iter().filter(|it| !it.has_live_files());
    paths.extend(idle.map(|manifest| manifest.path().to_owned()));
    let all = paths.len() as u64;
    if all > LISTED_FROM {
        let found = listing(storage, loaded, &seen).await?;
        paths.retain(|path| !found.contains(&mark_of(path)));
    }
    let mut done = all - paths.len() as u64;
    missing.checked += done;
    progress(done, all);
    let asks = paths.iter().map(|path| {
        let info = storage.info(path);
        async move { (path, info.await) }.boxed()
    });
    let asks: Vec<_> = asks.collect();
    let mut answers = stream::iter(asks).buffered(CONCURRENT_ASKS);
    while let Some((path, answer)) = answers.next().await {
        done += 1;
        missing.checked += 1;
        progress(done, all);
        match answer {
            Ok(info) if info.archived => missing.note(path, "in an archive tier"),
            Ok(_) => {}
            Err(error) if error.kind == StorageErrorKind::NotFound => missing.note(path, "gone"),
            Err(source) => {
                let table = table.clone();
                return Err(TableError::Storage { table, source }.into());
            }
        }
    }
    Ok(missing)
}

/// Which of `wanted` lie in the table's places.
async fn listing(
    storage: &Arc<dyn Storage>,
    loaded: &LoadedTable,
    wanted: &HashSet<u64>,
) -> Result<HashSet<u64>, UpkeepError> {
    let mut found = HashSet::with_capacity(wanted.len());
    for place in places::folders_of(&loaded.metadata) {
        let prefix = format!("{place}/");
        let mut from: Option<String> = None;
        loop {
            let page = storage.list(&prefix, from.as_deref()).await;
            let page = page.map_err(|source| TableError::Storage {
                table: loaded.table.clone(),
                source,
            })?;
            let marks = page.objects.iter().map(|object| mark_of(&object.location));
            found.extend(marks.filter(|mark| wanted.contains(mark)));
            from = page.next;
            if from.is_none() || found.len() == wanted.len() {
                break;
            }
        }
    }
    Ok(found)
}

/// What was read; `None`, and noted, where it is gone.
fn there<T>(read: Result<T, TableError>, missing: &mut Missing) -> Result<Option<T>, TableError> {
    match read {
        Err(TableError::Storage { source, .. }) if source.kind == StorageErrorKind::NotFound => {
            missing.note(&source.location, "gone");
            Ok(None)
        }
        read => read.map(Some),
    }
}
