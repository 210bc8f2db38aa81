//! What is to be deleted, written down beside the table, so that whoever is killed leaves something to go on from.
//!
//! A folder a run in the table's metadata folder, named by [`Ledger`], time and a UUID:
//!
//! | file | written | says |
//! |---|---|---|
//! | `intent.json` | before the commit | which snapshots it lets go of, and where they name their files |
//! | `part-00000.jsonl` … | before the first deletion | every file, a line each: what, of which snapshot |
//! | `planned.json` | once all parts are there | how many parts and files, why, and since when they are dead |
//! | `done.json` | after each wave of deletions | how far it came, and what could not be deleted |
//!
//! Without `planned.json` nothing was deleted yet. A folder goes when everything in it is done, its `intent.json` first.

use std::collections::BTreeSet;

use bytes::Bytes as Buffer;
use icepress_model::{Bytes, MetadataLocation, TableId, TimestampMs, ambient::Ambient};
use icepress_storage::{PutMode, Storage, StorageError, StorageErrorKind, WriteOptions};
use icepress_table::tracked::SnapshotFiles;
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use crate::{DeadFile, UpkeepError};

const INTENT: &str = "intent.json";
const PLANNED: &str = "planned.json";
const DONE: &str = "done.json";
/// How many files a part names: some 10 MB.
const PART: usize = 50_000;
/// The form of these files.
const VERSION: u32 = 1;

/// Whose list it is: each kind of upkeep goes on from its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ledger {
    /// What expired snapshots leave.
    Expiry,
    /// What nothing refers to. `intent.json` says when that was found; the folder stays as long as any of it is there.
    Orphans,
    /// The same of old metadata files alone.
    OldMetadata,
}

impl Ledger {
    pub(crate) const ALL: [Self; 3] = [Self::Expiry, Self::Orphans, Self::OldMetadata];

    /// The name of its folder.
    pub(crate) fn folder(self) -> &'static str {
        match self {
            Self::Expiry => "icepress-upkeep",
            Self::Orphans => "icepress-orphans",
            Self::OldMetadata => "icepress-old-metadata",
        }
    }
}

/// What a commit is about to let go of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Intent {
    pub(crate) version: u32,
    pub(crate) table: TableId,
    /// A table of the same name and another identity is another table.
    pub(crate) table_uuid: String,
    /// The state that the commit is tried on.
    pub(crate) base: MetadataLocation,
    pub(crate) made_at: TimestampMs,
    /// The newest first.
    pub(crate) snapshots: Vec<SnapshotFiles>,
    /// Statistics and partition statistics of these snapshots.
    pub(crate) statistics: Vec<Statistics>,
}

impl Intent {
    pub(crate) const VERSION: u32 = VERSION;
}

/// A statistics file of a snapshot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Statistics {
    pub(crate) snapshot_id: i64,
    pub(crate) path: String,
    pub(crate) bytes: Bytes,
}

/// That all parts are written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Planned {
    pub(crate) why: String,
    pub(crate) dead_since: TimestampMs,
    pub(crate) parts: u32,
    pub(crate) files: u64,
    pub(crate) bytes: Bytes,
}

/// How far the deletions came.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Done {
    /// The part that is worked on, or the number of parts.
    pub(crate) part: u32,
    /// Lines of it that are done.
    pub(crate) lines: usize,
    /// What was refused on the way.
    #[serde(default)]
    pub(crate) refused: Vec<DeadFile>,
}

/// The folder of one run.
#[derive(Debug, Clone)]
pub(crate) struct Record<'a> {
    storage: &'a dyn Storage,
    table: &'a TableId,
    folder: String,
}

impl<'a> Record<'a> {
    /// A new folder, of which nothing is written yet.
    pub(crate) fn new(
        storage: &'a dyn Storage,
        table: &'a TableId,
        metadata_folder: &str,
        ledger: Ledger,
        ambient: &Ambient,
    ) -> Self {
        let name = format!("{:013}-{}", ambient.now().get().max(0), ambient.uuid());
        Self {
            storage,
            table,
            folder: format!("{metadata_folder}/{}/{name}", ledger.folder()),
        }
    }

    /// What earlier runs left, the oldest first.
    pub(crate) async fn pending(
        storage: &'a dyn Storage,
        table: &'a TableId,
        metadata_folder: &str,
        ledger: Ledger,
    ) -> Result<Vec<Self>, UpkeepError> {
        let folder = format!("{metadata_folder}/{}", ledger.folder());
        let prefix = format!("{folder}/");
        // By their files: on a disk a folder stays when the last of them is gone.
        let mut names = BTreeSet::new();
        let mut next: Option<String> = None;
        loop {
            let page = storage.list(&prefix, next.as_deref()).await;
            let page = page.map_err(|source| UpkeepError::ledger(table, source))?;
            for object in page.objects {
                let below = object.location.get(prefix.len()..).unwrap_or_default();
                if let Some((name, _)) = below.split_once('/') {
                    names.insert(name.to_owned());
                }
            }
            next = page.next;
            if next.is_none() {
                break;
            }
        }
        let records = names.into_iter().map(|name| Self {
            storage,
            table,
            folder: format!("{folder}/{name}"),
        });
        Ok(records.collect())
    }

    /// `None` where nothing was written, or another run is through with it.
    pub(crate) async fn intent(&self) -> Result<Option<Intent>, UpkeepError> {
        self.read(INTENT).await
    }

    pub(crate) async fn write_intent(&self, intent: &Intent) -> Result<(), UpkeepError> {
        self.write(INTENT, intent).await
    }

    pub(crate) async fn planned(&self) -> Result<Option<Planned>, UpkeepError> {
        self.read(PLANNED).await
    }

    pub(crate) async fn done(&self) -> Result<Done, UpkeepError> {
        Ok(self.read(DONE).await?.unwrap_or_default())
    }

    pub(crate) async fn write_done(&self, done: &Done) -> Result<(), UpkeepError> {
        self.write(DONE, done).await
    }

    /// The files of a part.
    pub(crate) async fn part(&self, number: u32) -> Result<Vec<DeadFile>, UpkeepError> {
        let location = self.part_location(number);
        let content = self.storage.read(&location).await;
        let content = content.map_err(|source| UpkeepError::ledger(self.table, source))?;
        let lines = content.split(|byte| *byte == b'\n');
        lines
            .filter(|line| !line.is_empty())
            .map(serde_json::from_slice)
            .collect::<Result<_, _>>()
            .map_err(|error| self.unreadable(location, error))
    }

    /// Takes the folder away: everything in it is done, or was for nothing.
    pub(crate) async fn remove(&self) -> Result<(), UpkeepError> {
        let prefix = format!("{}/", self.folder);
        // First: what has no intent is only taken away, by whoever finds it.
        self.delete(vec![format!("{prefix}{INTENT}")]).await?;
        let mut next: Option<String> = None;
        let mut others = Vec::new();
        loop {
            let page = self.storage.list(&prefix, next.as_deref()).await;
            let page = page.map_err(|source| UpkeepError::ledger(self.table, source))?;
            others.extend(page.objects.into_iter().map(|object| object.location));
            next = page.next;
            if next.is_none() {
                break;
            }
        }
        self.delete(others).await
    }

    async fn delete(&self, locations: Vec<String>) -> Result<(), UpkeepError> {
        for outcome in self.storage.delete(&locations).await {
            outcome
                .result
                .map_err(|source| UpkeepError::ledger(self.table, source))?;
        }
        Ok(())
    }

    fn part_location(&self, number: u32) -> String {
        format!("{}/part-{number:05}.jsonl", self.folder)
    }

    async fn read<T: DeserializeOwned>(&self, name: &str) -> Result<Option<T>, UpkeepError> {
        let location = format!("{}/{name}", self.folder);
        let content = match self.storage.read(&location).await {
            Err(error) if error.kind == StorageErrorKind::NotFound => return Ok(None),
            content => content.map_err(|source| UpkeepError::ledger(self.table, source))?,
        };
        let read = serde_json::from_slice(&content);
        read.map(Some)
            .map_err(|error| self.unreadable(location, error))
    }

    async fn write<T: Serialize>(&self, name: &str, content: &T) -> Result<(), UpkeepError> {
        let location = format!("{}/{name}", self.folder);
        let json = serde_json::to_vec(content);
        let json = json.map_err(|error| self.unreadable(location.clone(), error))?;
        self.put(&location, json).await
    }

    async fn put(&self, location: &str, content: Vec<u8>) -> Result<(), UpkeepError> {
        let (content, options) = (Buffer::from(content), WriteOptions::default());
        let put = self
            .storage
            .put(location, content, PutMode::Overwrite, &options);
        put.await
            .map_err(|source| UpkeepError::ledger(self.table, source))
    }

    fn unreadable(&self, location: String, error: serde_json::Error) -> UpkeepError {
        let source = StorageError {
            kind: StorageErrorKind::Other,
            action: "make sense of",
            location,
            source: Some(Box::new(error)),
        };
        UpkeepError::ledger(self.table, source)
    }
}

/// Writes down dead files, part by part.
#[derive(Debug)]
pub(crate) struct PartWriter<'a> {
    record: &'a Record<'a>,
    lines: Vec<u8>,
    in_part: usize,
    parts: u32,
    files: u64,
    bytes: u64,
}

impl<'a> PartWriter<'a> {
    pub(crate) fn new(record: &'a Record<'a>) -> Self {
        Self {
            record,
            lines: Vec::new(),
            in_part: 0,
            parts: 0,
            files: 0,
            bytes: 0,
        }
    }

    pub(crate) async fn add(&mut self, files: &[DeadFile]) -> Result<(), UpkeepError> {
        for file in files {
            let written = serde_json::to_writer(&mut self.lines, file);
            let place = || self.record.part_location(self.parts);
            written.map_err(|error| self.record.unreadable(place(), error))?;
            self.lines.push(b'\n');
            self.in_part += 1;
            self.files += 1;
            self.bytes = self.bytes.saturating_add(file.bytes.get());
            if self.in_part == PART {
                self.end_part().await?;
            }
        }
        Ok(())
    }

    /// Says that everything is written. Only now may the first file go.
    pub(crate) async fn finish(
        mut self,
        why: String,
        dead_since: TimestampMs,
    ) -> Result<Planned, UpkeepError> {
        if self.in_part > 0 {
            self.end_part().await?;
        }
        let planned = Planned {
            why,
            dead_since,
            parts: self.parts,
            files: self.files,
            bytes: Bytes(self.bytes),
        };
        self.record.write(PLANNED, &planned).await?;
        Ok(planned)
    }

    async fn end_part(&mut self) -> Result<(), UpkeepError> {
        let location = self.record.part_location(self.parts);
        let lines = std::mem::take(&mut self.lines);
        self.record.put(&location, lines).await?;
        self.parts += 1;
        self.in_part = 0;
        Ok(())
    }
}
