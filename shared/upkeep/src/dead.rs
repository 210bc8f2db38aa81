//! Which files nothing refers to any more once some snapshots are gone.
//!
//! A file is dead where a snapshot that is gone has it live, or names it, and no snapshot that stays does, whatever branch,
//! tag or staged commit that one belongs to. (What `ReachableFileCleanup` of Iceberg's Java library does; its incremental
//! variant, which follows one line of ancestors, has deleted live files: apache/iceberg 13568.)
//!
//! Memory: 8 bytes for each live file of the manifests that go, a bit more for each manifest; the live files of the
//! manifests that stay are only looked at. Files are known by the hash of their path, in one spelling for all ways to
//! write it: two with one hash can only keep a dead file.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use bytes::Bytes as Buffer;
use futures::{FutureExt as _, StreamExt as _, stream};
use icepress_catalog::LoadedTable;
use icepress_model::{Bytes, SnapshotId, TableId, TimestampMs};
use icepress_storage::{Storage, StorageErrorKind, one_spelling};
use icepress_table::{
    TableError,
    tracked::{ListedManifest, SnapshotFiles},
};
use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::xxh3_64;

use crate::{UpkeepError, ledger::Statistics};

/// Manifest lists and manifests that are fetched at a time.
const CONCURRENT_READS: usize = 16;
/// Requests that are prepared at a time: a hundred thousand that wait take as much memory as what they are for.
const PREPARED: usize = 1024;
/// Bytes of manifests that go which are held in memory, so that they are fetched once. What is more is fetched twice.
const HELD: u64 = 64 << 20;

/// What a file is to its table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FileKind {
    /// Rows.
    Data,
    /// Deletes: positions, keys or vectors.
    Delete,
    /// Statistics of a table or its partitions.
    Statistics,
    /// A manifest.
    Manifest,
    /// A manifest list.
    ManifestList,
    /// A metadata file.
    Metadata,
    /// What no name tells.
    Other,
}

/// A file that nothing refers to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeadFile {
    /// Where it lies, as the table wrote it.
    pub path: String,
    /// What it was.
    pub kind: FileKind,
    /// Its size; 0 where the table does not say.
    pub bytes: Bytes,
    /// The newest of the snapshots that are gone which had it; `None` where no snapshot is known that did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_snapshot: Option<SnapshotId>,
    /// When it was written last; `None` where nobody looked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub modified: Option<TimestampMs>,
    /// Whether it is proved to be nobody's, so that neither its age nor a second look counts.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub at_once: bool,
}

impl DeadFile {
    fn of_snapshot(path: &str, kind: FileKind, bytes: Bytes, last_snapshot: SnapshotId) -> Self {
        Self {
            path: path.to_owned(),
            kind,
            bytes,
            last_snapshot: Some(last_snapshot),
            modified: None,
            at_once: false,
        }
    }
}

/// What stands for a location: the same for every way to write it.
pub(crate) fn mark_of(location: &str) -> u64 {
    xxh3_64(one_spelling(location).as_bytes())
}

/// What stays.
#[derive(Debug)]
pub(crate) struct Staying<'a> {
    pub(crate) snapshots: Vec<SnapshotFiles>,
    /// Statistics and metadata files.
    pub(crate) others: HashSet<u64>,
    pub(crate) storage: &'a Arc<dyn Storage>,
    pub(crate) table: &'a TableId,
}

/// Marks, sorted, and which of them are alive.
#[derive(Debug, Default)]
pub(crate) struct Marks {
    marks: Vec<u64>,
    alive: Vec<bool>,
    dead: usize,
}

impl Marks {
    pub(crate) fn new(mut marks: Vec<u64>) -> Self {
        marks.sort_unstable();
        marks.dedup();
        Self {
            alive: vec![false; marks.len()],
            dead: marks.len(),
            marks,
        }
    }

    fn note_alive(&mut self, mark: u64) {
        self.take(mark);
    }

    /// Whether the mark is one of these and was dead so far. It is not any more.
    fn take(&mut self, mark: u64) -> bool {
        let Ok(place) = self.marks.binary_search(&mark) else {
            return false;
        };
        let was_dead = !std::mem::replace(&mut self.alive[place], true);
        self.dead -= usize::from(was_dead);
        was_dead
    }

    pub(crate) fn is_alive(&self, mark: u64) -> bool {
        let place = self.marks.binary_search(&mark);
        place.is_ok_and(|place| self.alive[place])
    }
}

/// The manifests of the snapshots that stay.
struct Present {
    manifests: Vec<ListedManifest>,
    /// Everything that stays and is no data or delete file.
    named: HashSet<u64>,
}

impl<'a> Staying<'a> {
    /// What stays of a table once `going` are gone.
    pub(crate) fn of(
        storage: &'a Arc<dyn Storage>,
        loaded: &'a LoadedTable,
        going: &[SnapshotId],
    ) -> Result<Self, UpkeepError> {
        let (table, metadata) = (&loaded.table, &loaded.metadata);
        let going: HashSet<i64> = going.iter().map(|id| id.get()).collect();
        let stays = |id: &i64| !going.contains(id);
        let snapshots = metadata
            .snapshots()
            .filter(|snapshot| stays(&snapshot.snapshot_id()))
            .map(|snapshot| SnapshotFiles::of(table, metadata, snapshot))
            .collect::<Result<Vec<_>, _>>()?;
        let statistics = metadata.statistics_iter();
        let statistics = statistics
            .filter(|file| stays(&file.snapshot_id))
            .map(|file| file.statistics_path.as_str());
        let partitions = metadata.partition_statistics_iter();
        let partitions = partitions
            .filter(|file| stays(&file.snapshot_id))
            .map(|file| file.statistics_path.as_str());
        let log = metadata.metadata_log().iter();
        let log = log.map(|entry| entry.metadata_file.as_str());
        let current = [loaded.metadata_location.as_str()];
        Ok(Self {
            snapshots,
            others: statistics
                .chain(partitions)
                .chain(log)
                .chain(current)
                .map(mark_of)
                .collect(),
            storage,
            table,
        })
    }
}

impl Staying<'_> {
    /// Which of `marks` are alive: any that a snapshot that stays refers to, as data file, manifest or anything else.
    pub(crate) async fn look_for(&self, marks: &mut Marks) -> Result<(), UpkeepError> {
        let present = self.present().await?;
        for mark in &present.named {
            marks.note_alive(*mark);
        }
        self.look_into(&present, marks).await
    }

    async fn present(&self) -> Result<Present, UpkeepError> {
        let mut manifests = Vec::new();
        let mut named = self.others.clone();
        named.extend(
            self.snapshots
                .iter()
                .filter_map(|snapshot| snapshot.manifest_list.as_deref())
                .map(mark_of),
        );
        let mut lists = manifests_of(self.storage, self.table, &self.snapshots);
        while let Some(listed) = lists.next().await {
            for manifest in listed? {
                if named.insert(mark_of(manifest.path())) {
                    manifests.push(manifest);
                }
            }
        }
        Ok(Present { manifests, named })
    }

    async fn look_into(&self, present: &Present, marks: &mut Marks) -> Result<(), UpkeepError> {
        let live = present.manifests.iter();
        let live: Vec<&ListedManifest> = live.filter(|it| it.has_live_files()).collect();
        let mut contents = contents_of(self.storage, self.table, &live);
        for manifest in &live {
            if marks.dead == 0 {
                break;
            }
            let Some(content) = contents.next().await else {
                break;
            };
            manifest.live_files(self.table, &content?, |file| {
                marks.note_alive(mark_of(file.path));
            })?;
        }
        Ok(())
    }
}

pub(crate) fn manifests_of<'a>(
    storage: &'a Arc<dyn Storage>,
    table: &'a TableId,
    snapshots: &'a [SnapshotFiles],
) -> impl futures::Stream<Item = Result<Vec<ListedManifest>, TableError>> + Unpin + Send + 'a {
    let chunks = snapshots.chunks(PREPARED).map(move |chunk| {
        let requests: Vec<_> = chunk
            .iter()
            .map(|snapshot| snapshot.manifests(storage.as_ref(), table).boxed())
            .collect();
        stream::iter(requests).buffered(CONCURRENT_READS)
    });
    stream::iter(chunks).flatten()
}

pub(crate) fn contents_of<'a>(
    storage: &'a Arc<dyn Storage>,
    table: &'a TableId,
    manifests: &'a [&'a ListedManifest],
) -> impl futures::Stream<Item = Result<Buffer, TableError>> + Unpin + Send + 'a {
    let chunks = manifests.chunks(PREPARED).map(move |chunk| {
        let requests: Vec<_> = chunk
            .iter()
            .map(|manifest| manifest.content(storage.as_ref(), table).boxed())
            .collect();
        stream::iter(requests).buffered(CONCURRENT_READS)
    });
    stream::iter(chunks).flatten()
}

/// A manifest that goes.
#[derive(Debug)]
struct Going {
    manifest: ListedManifest,
    last_snapshot: SnapshotId,
    content: Option<Buffer>,
}

/// Dead files, to be asked for a manifest at a time: data and delete files first, what names them last, so that what is
/// left can always be told from what is there.
#[derive(Debug)]
pub(crate) struct Dead<'a> {
    staying: &'a Staying<'a>,
    going: Vec<Going>,
    /// Live files of `going`; alive are those that stay, and those that were told already.
    marks: Marks,
    /// Everything that stays by name.
    named: HashSet<u64>,
    next: usize,
    /// What comes after the files of manifests.
    rest: Option<Vec<DeadFile>>,
}

impl<'a> Dead<'a> {
    /// Finds what of `gone`, the newest first, and their statistics nothing of `staying` refers to.
    ///
    /// Anything that can't be read of what stays is an error. Of what is gone, a list or manifest that is not there any more
    /// tells nothing, and what it named is left for a search for orphans.
    pub(crate) async fn find(
        staying: &'a Staying<'a>,
        gone: &[SnapshotFiles],
        statistics: &[Statistics],
    ) -> Result<Self, UpkeepError> {
        let present = staying.present().await?;
        let (storage, table) = (staying.storage, staying.table);
        let mut going: Vec<Going> = Vec::new();
        let mut rest: Vec<DeadFile> = Vec::new();
        let mut seen = HashSet::new();
        let mut is_new = |path: &str| {
            let mark = mark_of(path);
            !present.named.contains(&mark) && seen.insert(mark)
        };
        for file in statistics {
            if is_new(&file.path) {
                let last = SnapshotId(file.snapshot_id);
                rest.push(DeadFile::of_snapshot(
                    &file.path,
                    FileKind::Statistics,
                    file.bytes,
                    last,
                ));
            }
        }
        let mut lists = manifests_of(storage, table, gone);
        for snapshot in gone {
            let Some(listed) = lists.next().await else {
                break;
            };
            for manifest in unless_gone(listed)?.unwrap_or_default() {
                if is_new(manifest.path()) {
                    going.push(Going {
                        manifest,
                        last_snapshot: snapshot.snapshot_id,
                        content: None,
                    });
                }
            }
        }
        drop(lists);
        rest.extend(going.iter().map(|going| {
            let (path, bytes) = (going.manifest.path(), going.manifest.bytes());
            DeadFile::of_snapshot(path, FileKind::Manifest, bytes, going.last_snapshot)
        }));
        for snapshot in gone {
            if let Some(list) = snapshot
                .manifest_list
                .as_deref()
                .filter(|list| is_new(list))
            {
                let last = snapshot.snapshot_id;
                rest.push(DeadFile::of_snapshot(
                    list,
                    FileKind::ManifestList,
                    Bytes(0),
                    last,
                ));
            }
        }
        let mut marks = Self::read_going(storage, table, &mut going).await?;
        for mark in &present.named {
            marks.note_alive(*mark);
        }
        staying.look_into(&present, &mut marks).await?;
        Ok(Self {
            staying,
            going,
            marks,
            named: present.named,
            next: 0,
            rest: Some(rest),
        })
    }

    /// Marks of all live files of the manifests that go; holds their content as long as there is room.
    async fn read_going(
        storage: &Arc<dyn Storage>,
        table: &TableId,
        going: &mut [Going],
    ) -> Result<Marks, UpkeepError> {
        let mut marks = Vec::new();
        let mut held = 0;
        let mut kept: HashMap<usize, Buffer> = HashMap::new();
        {
            let live: Vec<(usize, &ListedManifest)> = going
                .iter()
                .map(|going| &going.manifest)
                .enumerate()
                .filter(|(_, manifest)| manifest.has_live_files())
                .collect();
            let manifests: Vec<&ListedManifest> = live.iter().map(|(_, it)| *it).collect();
            let mut contents = contents_of(storage, table, &manifests);
            for (place, manifest) in live {
                let Some(content) = contents.next().await else {
                    break;
                };
                let Some(content) = unless_gone(content)? else {
                    continue;
                };
                manifest.live_files(table, &content, |file| marks.push(mark_of(file.path)))?;
                if held + content.len() as u64 <= HELD {
                    held += content.len() as u64;
                    kept.insert(place, content);
                }
            }
        }
        for (place, content) in kept {
            going[place].content = Some(content);
        }
        Ok(Marks::new(marks))
    }

    /// Some more dead files; `None` at the end.
    pub(crate) async fn next(&mut self) -> Result<Option<Vec<DeadFile>>, UpkeepError> {
        while let Some(going) = self.going.get_mut(self.next) {
            self.next += 1;
            if !going.manifest.has_live_files() {
                continue;
            }
            let (storage, table) = (self.staying.storage, self.staying.table);
            let content = match going.content.take() {
                Some(content) => content,
                None => {
                    let content = going.manifest.content(storage.as_ref(), table).await;
                    match unless_gone(content)? {
                        Some(content) => content,
                        None => continue,
                    }
                }
            };
            let (marks, last_snapshot) = (&mut self.marks, going.last_snapshot);
            let mut files = Vec::new();
            going.manifest.live_files(table, &content, |file| {
                let mark = mark_of(file.path);
                if !self.named.contains(&mark) && marks.take(mark) {
                    let kind = match file.is_delete_file {
                        true => FileKind::Delete,
                        false => FileKind::Data,
                    };
                    files.push(DeadFile::of_snapshot(
                        file.path,
                        kind,
                        file.bytes,
                        last_snapshot,
                    ));
                }
            })?;
            if !files.is_empty() {
                return Ok(Some(files));
            }
        }
        Ok(self.rest.take())
    }
}

/// What was read, unless it is not there any more: an earlier run that was killed came this far.
fn unless_gone<T>(read: Result<T, TableError>) -> Result<Option<T>, TableError> {
    match read {
        Err(TableError::Storage { source, .. }) if source.kind == StorageErrorKind::NotFound => {
            tracing::info!(location = %source.location, "what a snapshot named that is expired is not there any more");
            Ok(None)
        }
        read => read.map(Some),
    }
}
