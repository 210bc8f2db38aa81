//! Storage in which files can be replaced by damaged ones: what is written lies in memory, and the disk stays as it is.

use std::{
    collections::{BTreeSet, HashMap},
    ops::Range,
    sync::{Arc, Mutex},
};

use async_trait::async_trait;
use bytes::Bytes as Buffer;
use icepress_model::{Bytes, TimestampMs};
use icepress_storage::{
    DeleteOutcome, ListPage, LocalStorage, ObjectInfo, ObjectWriter, PutMode, Storage,
    StorageError, StorageErrorKind, WriteOptions,
};

/// Local files with other content for some of them.
#[derive(Debug, Default, Clone)]
pub struct Overlay {
    inner: LocalStorage,
    replaced: Arc<Mutex<HashMap<String, Buffer>>>,
    read: Arc<Mutex<BTreeSet<String>>>,
}

impl Overlay {
    /// Gives `location` other content, and forgets all other changes.
    pub fn replace(&self, location: &str, content: Vec<u8>) {
        let mut replaced = self.replaced.lock().unwrap();
        replaced.clear();
        replaced.insert(location.to_owned(), Buffer::from(content));
    }

    /// What was read since the last call.
    pub fn take_read(&self) -> BTreeSet<String> {
        std::mem::take(&mut self.read.lock().unwrap())
    }

    fn replacement(&self, location: &str) -> Option<Buffer> {
        self.read.lock().unwrap().insert(location.to_owned());
        self.replaced.lock().unwrap().get(location).cloned()
    }
}

fn part(content: &Buffer, location: &str, range: &Range<u64>) -> Result<Buffer, StorageError> {
    let bounds = usize::try_from(range.start)
        .ok()
        .zip(usize::try_from(range.end).ok());
    match bounds.filter(|(start, end)| start <= end && *end <= content.len()) {
        Some((start, end)) => Ok(content.slice(start..end)),
        None => Err(StorageError {
            kind: StorageErrorKind::OutOfRange,
            action: "read",
            location: location.to_owned(),
            source: None,
        }),
    }
}

#[async_trait]
impl Storage for Overlay {
    async fn info(&self, location: &str) -> Result<ObjectInfo, StorageError> {
        match self.replacement(location) {
            Some(content) => Ok(ObjectInfo {
                size: Bytes(content.len() as u64),
                modified: TimestampMs(0),
                archived: false,
            }),
            None => self.inner.info(location).await,
        }
    }

    async fn read(&self, location: &str) -> Result<Buffer, StorageError> {
        match self.replacement(location) {
            Some(content) => Ok(content),
            None => self.inner.read(location).await,
        }
    }

    async fn read_range(&self, location: &str, range: Range<u64>) -> Result<Buffer, StorageError> {
        match self.replacement(location) {
            Some(content) => part(&content, location, &range),
            None => self.inner.read_range(location, range).await,
        }
    }

    async fn read_ranges(
        &self,
        location: &str,
        ranges: &[Range<u64>],
    ) -> Result<Vec<Buffer>, StorageError> {
        match self.replacement(location) {
            Some(content) => ranges
                .iter()
                .map(|range| part(&content, location, range))
                .collect(),
            None => self.inner.read_ranges(location, ranges).await,
        }
    }

    async fn put(
        &self,
        location: &str,
        content: Buffer,
        _mode: PutMode,
        _options: &WriteOptions,
    ) -> Result<(), StorageError> {
        let mut replaced = self.replaced.lock().unwrap();
        replaced.insert(location.to_owned(), content);
        Ok(())
    }

    async fn writer(
        &self,
        location: &str,
        _options: &WriteOptions,
    ) -> Result<Box<dyn ObjectWriter>, StorageError> {
        Ok(Box::new(Writer {
            overlay: self.clone(),
            location: location.to_owned(),
            content: Vec::new(),
        }))
    }

    async fn list(&self, prefix: &str, next: Option<&str>) -> Result<ListPage, StorageError> {
        self.inner.list(prefix, next).await
    }

    async fn delete(&self, locations: &[String]) -> Vec<DeleteOutcome> {
        let mut replaced = self.replaced.lock().unwrap();
        locations
            .iter()
            .map(|location| {
                replaced.remove(location);
                DeleteOutcome {
                    location: location.clone(),
                    result: Ok(()),
                }
            })
            .collect()
    }
}

#[derive(Debug)]
struct Writer {
    overlay: Overlay,
    location: String,
    content: Vec<u8>,
}

#[async_trait]
impl ObjectWriter for Writer {
    async fn write(&mut self, content: Buffer) -> Result<(), StorageError> {
        self.content.extend_from_slice(&content);
        Ok(())
    }

    async fn finish(&mut self) -> Result<Bytes, StorageError> {
        let size = self.content.len() as u64;
        let mut replaced = self.overlay.replaced.lock().unwrap();
        let content = Buffer::from(std::mem::take(&mut self.content));
        replaced.insert(self.location.clone(), content);
        Ok(Bytes(size))
    }

    async fn abort(self: Box<Self>) -> Result<(), StorageError> {
        Ok(())
    }
}
