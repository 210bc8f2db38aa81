//! What lies in a table's folders, as an S3 Inventory says: nothing is listed.
//!
//! S3 writes an inventory of a bucket, or of a prefix of it, once a day or a week: a folder named by the moment with
//! `manifest.json` and, once everything is there, `manifest.checksum`; the files that the manifest names lie beside that folder.
//! It is the past, and it may be of a part: so it never tells that a file is gone, and whatever it tells of is asked for once
//! more before it goes. A file that is missing, or is not what the manifest says, ends the search: part of an inventory is
//! not taken for it.

mod csv;
mod manifest;
mod parquet;

use std::{collections::VecDeque, task::Poll};

use bytes::Bytes as Buffer;
use icepress_model::{Bytes, TimestampMs};
use icepress_storage::{ListedObject, Storage, StorageError, StorageErrorKind};

use self::{
    csv::CsvRows,
    manifest::{Format, Manifest, NamedFile, md5_of},
    parquet::ParquetRows,
};

/// Older ones are not believed: S3 makes one a week at the least, so nobody makes any more of these.
const STALE_MS: i64 = 16 * 24 * 3_600_000;
/// So many of the newest are looked at for one that is complete.
const LOOKED_AT: usize = 4;

/// One object, or one of its versions.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
struct Row {
    bucket: String,
    key: String,
    /// Whether it is what a reader of the key gets.
    is_current: bool,
    size: Option<u64>,
    modified: Option<TimestampMs>,
}

/// What an inventory must have beside bucket and key, as people choose it in its configuration.
const NEEDED: &str = "add the fields Size and LastModifiedDate to the inventory's configuration";

/// The rows of one file.
enum Rows {
    Csv(Box<CsvRows>),
    Parquet(Box<ParquetRows>),
}

/// A folder of the table's in the inventory's bucket.
#[derive(Debug, Clone)]
struct Folder {
    /// `s3://bucket/`, as the table writes it.
    root: String,
    /// What the keys of its objects begin with.
    prefix: String,
}

/// An inventory that is read.
pub(super) struct Inventory<'a> {
    storage: &'a dyn Storage,
    manifest: Manifest,
    manifest_location: String,
    folders: Vec<Folder>,
    /// The bucket that the inventory's own files lie in, with scheme and slash.
    root: String,
    files: VecDeque<NamedFile>,
    open: Option<(String, Rows)>,
    requests: u64,
}

impl<'a> Inventory<'a> {
    /// The newest complete inventory below `location`, `s3://destination/prefix/source/configuration`, for `folders`.
    pub(super) async fn newest(
        storage: &'a dyn Storage,
        location: &str,
        folders: &[String],
        now: TimestampMs,
    ) -> Result<Self, StorageError> {
        let place = location.trim_end_matches('/');
        let (root, _, _) = apart(place).ok_or_else(|| {
            unfit(
                place,
                "an inventory lies on S3, as in s3://bucket/prefix/source-bucket/configuration",
            )
        })?;
        let mut requests = 1;
        let mut moments = storage.folders(place).await?;
        moments.retain(|name| is_moment(name));
        for moment in moments.iter().rev().take(LOOKED_AT) {
            let manifest_location = format!("{place}/{moment}/manifest.json");
            requests += 1;
            let checksum = storage
                .read(&format!("{place}/{moment}/manifest.checksum"))
                .await;
            let checksum = match checksum {
                // It is written last: S3 is still at it.
                Err(error) if error.kind == StorageErrorKind::NotFound => continue,
                checksum => checksum?,
            };
            requests += 1;
            let content = storage.read(&manifest_location).await?;
            let checksum = String::from_utf8_lossy(&checksum).trim().to_owned();
            if !checksum.eq_ignore_ascii_case(&md5_of(&content)) {
                return Err(unfit(
                    &manifest_location,
                    "it is not what manifest.checksum says",
                ));
            }
            let manifest = Manifest::parse(&content);
            let manifest = manifest.map_err(|why| unfit(&manifest_location, why))?;
            let age = now.get().saturating_sub(manifest.made_at.get());
            if age > STALE_MS {
                let days = age / (24 * 3_600_000);
                let why = format!(
                    "the newest complete inventory is {days} days old: see in the bucket's configuration whether S3 still makes it"
                );
                return Err(unfit(&manifest_location, why));
            }
            let folders = folders_in(&manifest, folders);
            return Ok(Self {
                storage,
                folders: folders.map_err(|why| unfit(&manifest_location, why))?,
                root: root.to_owned(),
                files: manifest.files.clone().into(),
                manifest,
                manifest_location,
                open: None,
                requests,
            });
        }
        Err(unfit(
            place,
            format!(
                "no complete inventory is there, or the {LOOKED_AT} newest are not: it must be the folder that has folders named \
                 by moments, as in 2026-11-29T01-00Z"
            ),
        ))
    }

    /// Requests so far.
    pub(super) fn requests(&self) -> u64 {
        self.requests
    }

    /// Where its manifest lies, and when S3 began to make it.
    pub(super) fn manifest(&self) -> (&str, TimestampMs) {
        (&self.manifest_location, self.manifest.made_at)
    }

    /// Some more objects in the table's folders, in no order, or none; `None` once all were told. After an error what was told
    /// is not the whole.
    pub(super) async fn next(&mut self) -> Result<Option<Vec<ListedObject>>, StorageError> {
        // The claim on the task is prolonged beside this.
        let_others_go_on().await;
        let Some((location, rows)) = &mut self.open else {
            let Some(file) = self.files.pop_front() else {
                return Ok(None);
            };
            let location = format!("{}{}", self.root, file.key);
            self.requests += 1;
            let content = self.storage.read(&location).await?;
            let rows = self.open_file(&location, &file, content)?;
            self.open = Some((location, rows));
            return Ok(Some(Vec::new()));
        };
        let batch = match rows {
            Rows::Csv(rows) => rows.next(),
            Rows::Parquet(rows) => rows.next(),
        };
        let batch = batch.map_err(|why| unfit(location, why))?;
        let Some(batch) = batch else {
            self.open = None;
            return Ok(Some(Vec::new()));
        };
        let location = location.clone();
        let mut objects = Vec::new();
        for row in batch {
            if let Some(object) = self.object_of(row).map_err(|why| unfit(&location, why))? {
                objects.push(object);
            }
        }
        Ok(Some(objects))
    }

    fn open_file(
        &self,
        location: &str,
        file: &NamedFile,
        content: Buffer,
    ) -> Result<Rows, StorageError> {
        if file.size.is_some_and(|size| size != content.len() as u64)
            || !file.md5.eq_ignore_ascii_case(&md5_of(&content))
        {
            return Err(unfit(
                location,
                "it is not the file that the inventory's manifest names",
            ));
        }
        let rows = match &self.manifest.format {
            Format::Csv(columns) => {
                CsvRows::new(columns.clone(), content).map(|it| Rows::Csv(Box::new(it)))
            }
            Format::Parquet => ParquetRows::new(content).map(|it| Rows::Parquet(Box::new(it))),
        };
        rows.map_err(|why| unfit(location, why))
    }

    /// `None` for what is not in the table's folders, or not there any more.
    fn object_of(&self, row: Row) -> Result<Option<ListedObject>, String> {
        if !row.is_current || row.bucket != self.manifest.source_bucket {
            return Ok(None);
        }
        let inside = self
            .folders
            .iter()
            .find(|folder| row.key.starts_with(&folder.prefix));
        let Some(folder) = inside else {
            return Ok(None);
        };
        let (Some(size), Some(modified)) = (row.size, row.modified) else {
            return Err(format!(
                "it does not say how large {} is and when it was written: {NEEDED}",
                row.key
            ));
        };
        Ok(Some(ListedObject {
            location: format!("{}{}", folder.root, row.key),
            size: Bytes(size),
            modified,
        }))
    }
}

/// A batch of rows from an inventory's file; each reader gives these.
type Batch = Result<Option<Vec<Row>>, String>;

/// `s3://bucket/`, the bucket, and the key; `None` where it is not on S3.
fn apart(location: &str) -> Option<(&str, &str, &str)> {
    let at = location.find("://")?;
    if !matches!(
        location[..at].to_ascii_lowercase().as_str(),
        "s3" | "s3a" | "s3n"
    ) {
        return None;
    }
    let rest = &location[at + 3..];
    let (bucket, key) = rest.split_once('/')?;
    let root = &location[..location.len() - key.len()];
    (!bucket.is_empty()).then_some((root, bucket, key))
}

fn folders_in(manifest: &Manifest, folders: &[String]) -> Result<Vec<Folder>, String> {
    let folders = folders.iter().map(|folder| {
        let whose = apart(folder).filter(|(_, bucket, _)| *bucket == manifest.source_bucket);
        let (root, _, key) = whose.ok_or_else(|| {
            format!(
                "it is of the bucket {}, and the table's folder {folder} is not in that: name an inventory of the table's own \
                 bucket, or `off` to have its folders listed",
                manifest.source_bucket
            )
        })?;
        Ok(Folder {
            root: root.to_owned(),
            prefix: format!("{key}/"),
        })
    });
    folders.collect()
}

/// `2026-11-29T01-00Z`.
fn is_moment(name: &str) -> bool {
    let pattern = b"dddd-dd-ddTdd-ddZ";
    name.len() == pattern.len()
        && name
            .bytes()
            .zip(pattern)
            .all(|(byte, wanted)| match wanted {
                b'd' => byte.is_ascii_digit(),
                wanted => byte == *wanted,
            })
}

fn unfit(location: &str, why: impl Into<String>) -> StorageError {
    StorageError {
        kind: StorageErrorKind::Other,
        action: "go by the inventory",
        location: location.to_owned(),
        source: Some(why.into().into()),
    }
}

/// Reading rows waits for nothing: without this whoever shares the thread would wait for all of them.
async fn let_others_go_on() {
    let mut was_asked = false;
    futures::future::poll_fn(|task| {
        if was_asked {
            return Poll::Ready(());
        }
        was_asked = true;
        task.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}
