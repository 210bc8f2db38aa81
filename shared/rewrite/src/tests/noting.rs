//! Storage that remembers what it was asked for.

use std::{ops::Range, sync::Mutex};

use async_trait::async_trait;
use icepress_model::Bytes;
use icepress_storage::{
    DeleteOutcome, ListPage, LocalStorage, ObjectInfo, ObjectWriter, PutMode, Storage,
    StorageError, WriteOptions,
};

/// Local files, with every request noted.
#[derive(Debug, Default)]
pub(crate) struct Noting {
    local: LocalStorage,
    reads: Mutex<Vec<(String, u64)>>,
    writes: Mutex<Vec<(String, WriteOptions)>>,
    copies_nothing: bool,
}

impl Noting {
    /// The same, which has everything read that is to be copied.
    pub(crate) fn that_copies_nothing() -> Self {
        Self {
            copies_nothing: true,
            ..Self::default()
        }
    }

    fn note(&self, location: &str, bytes: u64) {
        let noted = (location.to_owned(), bytes);
        self.reads.lock().unwrap().push(noted);
    }

    /// Where was read, and how many bytes.
    pub(crate) fn reads(&self) -> Vec<(String, u64)> {
        self.reads.lock().unwrap().clone()
    }

    /// What was written, and how.
    pub(crate) fn writes(&self) -> Vec<(String, WriteOptions)> {
        self.writes.lock().unwrap().clone()
    }
}

#[async_trait]
impl Storage for Noting {
    async fn info(&self, location: &str) -> Result<ObjectInfo, StorageError> {
        self.local.info(location).await
    }

    async fn read(&self, location: &str) -> Result<bytes::Bytes, StorageError> {
        let content = self.local.read(location).await?;
        self.note(location, content.len() as u64);
        Ok(content)
    }

    async fn read_range(
        &self,
        location: &str,
        range: Range<u64>,
    ) -> Result<bytes::Bytes, StorageError> {
        self.note(location, range.end - range.start);
        self.local.read_range(location, range).await
    }

    async fn read_ranges(
        &self,
        location: &str,
        ranges: &[Range<u64>],
    ) -> Result<Vec<bytes::Bytes>, StorageError> {
        self.note(
            location,
            ranges.iter().map(|range| range.end - range.start).sum(),
        );
        self.local.read_ranges(location, ranges).await
    }

    async fn put(
        &self,
        location: &str,
        content: bytes::Bytes,
        mode: PutMode,
        options: &WriteOptions,
    ) -> Result<(), StorageError> {
        self.local.put(location, content, mode, options).await
    }

    async fn writer(
        &self,
        location: &str,
        options: &WriteOptions,
    ) -> Result<Box<dyn ObjectWriter>, StorageError> {
        let noted = (location.to_owned(), options.clone());
        self.writes.lock().unwrap().push(noted);
        self.local.writer(location, options).await
    }

    fn copies(&self, source: &str) -> Option<Bytes> {
        self.local.copies(source).filter(|_| !self.copies_nothing)
    }

    async fn list(&self, prefix: &str, next: Option<&str>) -> Result<ListPage, StorageError> {
        self.local.list(prefix, next).await
    }

    async fn delete(&self, locations: &[String]) -> Vec<DeleteOutcome> {
        self.local.delete(locations).await
    }
}
