//! One storage out of several, each for the locations that begin with its prefix; the longest that fits is taken.

use std::{collections::BTreeMap, ops::Range, sync::Arc};

use async_trait::async_trait;
use bytes::Bytes as Buffer;
use icepress_model::Bytes;
use icepress_storage::{
    DeleteOutcome, ListPage, ObjectInfo, ObjectWriter, PutMode, Storage, StorageError, WriteOptions,
};

/// Storages by prefix. The empty prefix is among them, so that each location has one.
#[derive(Debug)]
pub(super) struct PrefixedStorage {
    /// Longest first.
    by_prefix: Vec<(String, Arc<dyn Storage>)>,
}

impl PrefixedStorage {
    pub(super) fn new(mut by_prefix: Vec<(String, Arc<dyn Storage>)>) -> Self {
        for (prefix, _) in &mut by_prefix {
            *prefix = one_scheme(prefix);
        }
        by_prefix.sort_by_key(|(prefix, _)| std::cmp::Reverse(prefix.len()));
        Self { by_prefix }
    }

    fn index_of(&self, location: &str) -> usize {
        let location = one_scheme(location);
        let fits = |(prefix, _): &(String, Arc<dyn Storage>)| location.starts_with(prefix.as_str());
        self.by_prefix
            .iter()
            .position(fits)
            .unwrap_or(self.by_prefix.len().saturating_sub(1))
    }

    pub(super) fn of(&self, location: &str) -> &dyn Storage {
        &*self.by_prefix[self.index_of(location)].1
    }
}

/// `s3a` and `s3n` mean `s3`.
fn one_scheme(location: &str) -> String {
    match location
        .strip_prefix("s3a:")
        .or_else(|| location.strip_prefix("s3n:"))
    {
        Some(rest) => format!("s3:{rest}"),
        None => location.to_owned(),
    }
}

#[async_trait]
impl Storage for PrefixedStorage {
    fn allows(&self, location: &str) -> Result<(), StorageError> {
        self.of(location).allows(location)
    }

    async fn info(&self, location: &str) -> Result<ObjectInfo, StorageError> {
        self.of(location).info(location).await
    }

    async fn read(&self, location: &str) -> Result<Buffer, StorageError> {
        self.of(location).read(location).await
    }

    async fn read_range(&self, location: &str, range: Range<u64>) -> Result<Buffer, StorageError> {
        self.of(location).read_range(location, range).await
    }

    async fn read_ranges(
        &self,
        location: &str,
        ranges: &[Range<u64>],
    ) -> Result<Vec<Buffer>, StorageError> {
        self.of(location).read_ranges(location, ranges).await
    }

    async fn put(
        &self,
        location: &str,
        content: Buffer,
        mode: PutMode,
        options: &WriteOptions,
    ) -> Result<(), StorageError> {
        self.of(location)
            .put(location, content, mode, options)
            .await
    }

    async fn writer(
        &self,
        location: &str,
        options: &WriteOptions,
    ) -> Result<Box<dyn ObjectWriter>, StorageError> {
        self.of(location).writer(location, options).await
    }

    fn copies(&self, source: &str) -> Option<Bytes> {
        // Keys for one prefix need not do for another.
        let is_alone = self.by_prefix.len() == 1;
        self.of(source).copies(source).filter(|_| is_alone)
    }

    async fn list(&self, prefix: &str, next: Option<&str>) -> Result<ListPage, StorageError> {
        self.of(prefix).list(prefix, next).await
    }

    async fn list_after(
        &self,
        prefix: &str,
        after: Option<&str>,
    ) -> Result<ListPage, StorageError> {
        self.of(prefix).list_after(prefix, after).await
    }

    async fn folders(&self, folder: &str) -> Result<Vec<String>, StorageError> {
        self.of(folder).folders(folder).await
    }

    fn has_tags(&self, location: &str) -> bool {
        self.of(location).has_tags(location)
    }

    async fn tags(&self, location: &str) -> Result<BTreeMap<String, String>, StorageError> {
        self.of(location).tags(location).await
    }

    async fn set_tags(
        &self,
        location: &str,
        tags: &BTreeMap<String, String>,
    ) -> Result<(), StorageError> {
        self.of(location).set_tags(location, tags).await
    }

    async fn delete(&self, locations: &[String]) -> Vec<DeleteOutcome> {
        let mut outcomes: Vec<Option<DeleteOutcome>> = locations.iter().map(|_| None).collect();
        for (index, (_, storage)) in self.by_prefix.iter().enumerate() {
            let (places, some): (Vec<usize>, Vec<String>) = locations
                .iter()
                .enumerate()
                .filter(|(_, location)| self.index_of(location) == index)
                .map(|(place, location)| (place, location.clone()))
                .unzip();
            if some.is_empty() {
                continue;
            }
            for (place, outcome) in places.into_iter().zip(storage.delete(&some).await) {
                outcomes[place] = Some(outcome);
            }
        }
        outcomes.into_iter().flatten().collect()
    }
}
