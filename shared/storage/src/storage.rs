//! The port: what the rest of Icepress asks of object storage.

use std::{collections::BTreeMap, fmt::Debug, ops::Range};

use async_trait::async_trait;
use bytes::Bytes as Buffer;
use icepress_model::{Bytes, TimestampMs};

use crate::{StorageError, StorageErrorKind, location::invalid};

/// What is known of an object without reading it. Asking does not move it between tiers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ObjectInfo {
    /// Its size.
    pub size: Bytes,
    /// When it was written last.
    pub modified: TimestampMs,
    /// Whether it lies in an archive tier, where a read would fail.
    pub archived: bool,
}

/// Whether a write may replace what is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PutMode {
    /// It may.
    Overwrite,
    /// It must not: where the object exists, the write fails with `AlreadyExists`. Of several at once, one wins.
    CreateOnly,
}

/// How to write an object.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct WriteOptions {
    /// The storage class for this object (`s3.write.storage-class` of the table); `None` takes the store's own
    /// default. Local files ignore it.
    pub storage_class: Option<String>,
    /// How much of an object may be in memory while it is written; `None` takes the store's own default. What is written in
    /// parts has smaller ones then, of 5 MiB at least, which is S3's least. Local files hold nothing.
    pub in_memory: Option<Bytes>,
}

/// An object in a listing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListedObject {
    /// Its location, with the scheme and bucket of the prefix that was asked for.
    pub location: String,
    /// Its size.
    pub size: Bytes,
    /// When it was written last.
    pub modified: TimestampMs,
}

/// Part of a listing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListPage {
    /// Objects in the order of their keys' bytes.
    pub objects: Vec<ListedObject>,
    /// What to pass to get the next page; `None` at the end.
    pub next: Option<String>,
}

/// What became of one object in a batch delete.
#[derive(Debug)]
pub struct DeleteOutcome {
    /// The object.
    pub location: String,
    /// `Ok` where it is gone, also where it never was.
    pub result: Result<(), StorageError>,
}

const NO_TAGS: &str = "what lies there has no tags";

/// Object storage.
#[async_trait]
pub trait Storage: Send + Sync + Debug {
    /// Whether the location is one that this storage would serve, asked of nobody. Who is about to do much work that
    /// ends there asks before; every other call asks by itself.
    fn allows(&self, _location: &str) -> Result<(), StorageError> {
        Ok(())
    }

    /// Whether what a table needs no more may be deleted with this. Only who knows what its owner allows says yes; a role
    /// that can't delete objects, and whoever wraps another and does not ask it, keeps everything. Whoever deletes what it
    /// wrote itself, and nobody knows of, need not ask.
    fn may_delete(&self) -> bool {
        false
    }

    /// Size and state of an object, without reading it.
    async fn info(&self, location: &str) -> Result<ObjectInfo, StorageError>;

    /// The whole object.
    async fn read(&self, location: &str) -> Result<Buffer, StorageError>;

    /// The bytes `range` of the object; `OutOfRange` unless all of them are there.
    async fn read_range(&self, location: &str, range: Range<u64>) -> Result<Buffer, StorageError>;

    /// Several ranges of one object, in the order asked for. Near ones are read together.
    async fn read_ranges(
        &self,
        location: &str,
        ranges: &[Range<u64>],
    ) -> Result<Vec<Buffer>, StorageError>;

    /// Writes a small object in one request.
    async fn put(
        &self,
        location: &str,
        content: Buffer,
        mode: PutMode,
        options: &WriteOptions,
    ) -> Result<(), StorageError>;

    /// Begins a large object. Nothing can be read at the location before [`ObjectWriter::finish`].
    async fn writer(
        &self,
        location: &str,
        options: &WriteOptions,
    ) -> Result<Box<dyn ObjectWriter>, StorageError>;

    /// Whether writers of this storage take in parts of the object at `source` without anybody reading them
    /// ([`ObjectWriter::copy`]): from how many bytes on that is worth it.
    fn copies(&self, _source: &str) -> Option<Bytes> {
        None
    }

    /// A page of all objects whose location begins with `prefix`, at any depth.
    async fn list(&self, prefix: &str, next: Option<&str>) -> Result<ListPage, StorageError>;

    /// A page of all objects whose location begins with `prefix` and sorts behind `after`, which need not be the location of
    /// an object; `next` is what to pass as `after` for the next page. Several can list parts of one prefix at a time, whatever
    /// its names are.
    ///
    /// This one reads the whole listing; stores that can begin in the middle override it.
    async fn list_after(
        &self,
        prefix: &str,
        after: Option<&str>,
    ) -> Result<ListPage, StorageError> {
        let mut objects = Vec::new();
        let mut next: Option<String> = None;
        loop {
            let page = self.list(prefix, next.as_deref()).await?;
            let listed = page.objects.into_iter();
            objects
                .extend(listed.filter(|it| after.is_none_or(|after| it.location.as_str() > after)));
            next = page.next;
            if next.is_none() {
                return Ok(ListPage { objects, next });
            }
        }
    }

    /// The names of the folders directly below `folder` (with or without a slash at its end), in the order of their bytes;
    /// none where it is not there. A folder is what lies before the next slash of an object's location.
    ///
    /// This one reads the whole listing; stores that can be asked for it override it.
    async fn folders(&self, folder: &str) -> Result<Vec<String>, StorageError> {
        let prefix = format!("{}/", folder.trim_end_matches('/'));
        let mut names: Vec<String> = Vec::new();
        let mut next: Option<String> = None;
        loop {
            let page = self.list(&prefix, next.as_deref()).await?;
            for object in page.objects {
                let below = object.location.get(prefix.len()..).unwrap_or_default();
                if let Some((name, _)) = below.split_once('/')
                    && names.last().is_none_or(|last| last != name)
                {
                    names.push(name.to_owned());
                }
            }
            next = page.next;
            if next.is_none() {
                return Ok(names);
            }
        }
    }

    /// Whether what lies there can have tags, asked of nobody: objects on S3 can, files of a disk can't.
    fn has_tags(&self, _location: &str) -> bool {
        false
    }

    /// The object's tags.
    async fn tags(&self, location: &str) -> Result<BTreeMap<String, String>, StorageError> {
        Err(invalid(location, "ask for the tags of", NO_TAGS))
    }

    /// Gives the object these tags, and no others.
    async fn set_tags(
        &self,
        location: &str,
        _tags: &BTreeMap<String, String>,
    ) -> Result<(), StorageError> {
        Err(invalid(location, "tag", NO_TAGS))
    }

    /// Deletes objects in batches. One that can't be deleted does not keep the others.
    async fn delete(&self, locations: &[String]) -> Vec<DeleteOutcome>;
}

/// An object being written, part by part.
#[async_trait]
pub trait ObjectWriter: Send + Debug {
    /// Adds to the end. Parts are sent when they are full, several at a time.
    ///
    /// Where the store asks for fewer requests (`Throttled`), what was given is kept: a call with nothing to add goes on
    /// with what could not be sent. After any other failure the writer is good for nothing but [`ObjectWriter::abort`].
    async fn write(&mut self, content: Buffer) -> Result<(), StorageError>;

    /// How many bytes at the beginning of `length` that are to be copied have to be written like others, all of them perhaps: stores take no
    /// part of any size.
    fn lead(&self, length: u64) -> u64 {
        length
    }

    /// Adds the bytes `range` of the object at `source`, which the store copies by itself; as many as [`ObjectWriter::lead`] says were
    /// written before. For `Throttled` holds what [`ObjectWriter::write`] says of it.
    async fn copy(&mut self, source: &str, range: Range<u64>) -> Result<(), StorageError> {
        Err(StorageError {
            kind: StorageErrorKind::Other,
            action: "copy",
            location: source.to_owned(),
            source: Some(
                format!("bytes {}..{} can't be copied here", range.start, range.end).into(),
            ),
        })
    }

    /// Makes the object visible; returns its size. After `Throttled` it may be called again.
    async fn finish(&mut self) -> Result<Bytes, StorageError>;

    /// Throws away what was written. Dropping a writer leaves parts behind for the bucket's lifecycle rule.
    async fn abort(self: Box<Self>) -> Result<(), StorageError>;
}
