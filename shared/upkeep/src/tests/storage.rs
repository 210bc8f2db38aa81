//! A storage in memory that can die, be busy, and refuse; and counts what it is asked.

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Range,
    sync::Mutex,
};

use async_trait::async_trait;
use bytes::Bytes as Buffer;
use icepress_model::{Bytes, TimestampMs};
use icepress_storage::{
    DeleteOutcome, ListPage, ListedObject, ObjectInfo, ObjectWriter, PutMode, Storage,
    StorageError, StorageErrorKind, WriteOptions,
};

use super::world::INVENTORIES;

#[derive(Debug, Default)]
struct Objects {
    objects: BTreeMap<String, Buffer>,
    /// Requests until everything fails; `None` for never.
    fuse: Option<u32>,
    /// Deletes that are refused because the store is busy.
    busy: u32,
    denied: BTreeSet<String>,
    /// When objects were written last, where that is not long ago.
    modified: BTreeMap<String, TimestampMs>,
    /// Sizes of all delete requests.
    batches: Vec<usize>,
    /// What was listed.
    lists: Vec<String>,
    tags: BTreeMap<String, BTreeMap<String, String>>,
    /// Whether tags are refused.
    refuses_tags: bool,
}

#[derive(Debug, Default)]
pub(super) struct MemoryStorage(Mutex<Objects>);

fn failed(kind: StorageErrorKind, location: &str) -> StorageError {
    StorageError {
        kind,
        action: "ask for",
        location: location.to_owned(),
        source: None,
    }
}

impl MemoryStorage {
    fn with<T>(
        &self,
        location: &str,
        act: impl FnOnce(&mut Objects) -> Result<T, StorageError>,
    ) -> Result<T, StorageError> {
        let mut objects = self.0.lock().unwrap();
        match &mut objects.fuse {
            Some(0) => return Err(failed(StorageErrorKind::Other, location)),
            Some(left) => *left -= 1,
            None => {}
        }
        act(&mut objects)
    }

    /// Dies after so many requests, or never.
    pub(super) fn set_fuse(&self, fuse: Option<u32>) {
        self.0.lock().unwrap().fuse = fuse;
    }

    pub(super) fn set_modified(&self, location: &str, time: TimestampMs) {
        let mut objects = self.0.lock().unwrap();
        objects.modified.insert(location.to_owned(), time);
    }

    pub(super) fn be_busy(&self, times: u32) {
        self.0.lock().unwrap().busy = times;
    }

    pub(super) fn deny(&self, location: &str, denied: bool) {
        let mut objects = self.0.lock().unwrap();
        match denied {
            true => objects.denied.insert(location.to_owned()),
            false => objects.denied.remove(location),
        };
    }

    /// What was listed so far.
    pub(super) fn lists(&self) -> Vec<String> {
        self.0.lock().unwrap().lists.clone()
    }

    /// The object's tags, as they are.
    pub(super) fn tags_of(&self, location: &str) -> BTreeMap<String, String> {
        let objects = self.0.lock().unwrap();
        objects.tags.get(location).cloned().unwrap_or_default()
    }

    pub(super) fn tag(&self, location: &str, key: &str, value: &str) {
        let mut objects = self.0.lock().unwrap();
        let tags = objects.tags.entry(location.to_owned()).or_default();
        tags.insert(key.to_owned(), value.to_owned());
    }

    pub(super) fn refuse_tags(&self, refuses: bool) {
        self.0.lock().unwrap().refuses_tags = refuses;
    }

    pub(super) fn modified(&self, location: &str) -> TimestampMs {
        let objects = self.0.lock().unwrap();
        let modified = objects.modified.get(location).copied();
        modified.unwrap_or(TimestampMs(1))
    }

    pub(super) fn batches(&self) -> Vec<usize> {
        self.0.lock().unwrap().batches.clone()
    }

    pub(super) fn insert(&self, location: &str, content: Vec<u8>) {
        let mut objects = self.0.lock().unwrap();
        objects.objects.insert(location.to_owned(), content.into());
    }

    pub(super) fn remove(&self, location: &str) -> Option<Buffer> {
        self.0.lock().unwrap().objects.remove(location)
    }

    pub(super) fn get(&self, location: &str) -> Option<Buffer> {
        self.0.lock().unwrap().objects.get(location).cloned()
    }

    /// Everything, with its size.
    pub(super) fn everything(&self) -> Vec<(String, usize)> {
        let objects = self.0.lock().unwrap();
        let all = objects.objects.iter();
        all.map(|(location, content)| (location.clone(), content.len()))
            .collect()
    }

    /// All metadata files.
    pub(super) fn metadata_files(&self) -> BTreeSet<String> {
        let objects = self.0.lock().unwrap();
        let locations = objects.objects.keys();
        locations
            .filter(|location| location.ends_with(".metadata.json"))
            .cloned()
            .collect()
    }

    /// All objects but metadata files and inventories.
    pub(super) fn there(&self) -> BTreeSet<String> {
        let objects = self.0.lock().unwrap();
        let locations = objects.objects.keys();
        let is_of_a_table = |location: &&String| {
            !location.ends_with(".metadata.json") && !location.starts_with(INVENTORIES)
        };
        locations.filter(is_of_a_table).cloned().collect()
    }
}

#[async_trait]
impl Storage for MemoryStorage {
    fn may_delete(&self) -> bool {
        true
    }
    async fn info(&self, location: &str) -> Result<ObjectInfo, StorageError> {
        let size = self.read(location).await?.len() as u64;
        Ok(ObjectInfo {
            size: Bytes(size),
            modified: self.modified(location),
            archived: false,
        })
    }
    async fn read(&self, location: &str) -> Result<Buffer, StorageError> {
        self.with(location, |all| {
            let found = all.objects.get(location).cloned();
            found.ok_or_else(|| failed(StorageErrorKind::NotFound, location))
        })
    }
    async fn read_range(&self, location: &str, _: Range<u64>) -> Result<Buffer, StorageError> {
        Err(failed(StorageErrorKind::NotFound, location))
    }
    async fn read_ranges(
        &self,
        location: &str,
        _: &[Range<u64>],
    ) -> Result<Vec<Buffer>, StorageError> {
        Err(failed(StorageErrorKind::NotFound, location))
    }
    async fn put(
        &self,
        location: &str,
        content: Buffer,
        _: PutMode,
        _: &WriteOptions,
    ) -> Result<(), StorageError> {
        self.with(location, |all| {
            all.objects.insert(location.to_owned(), content);
            Ok(())
        })
    }
    async fn writer(
        &self,
        location: &str,
        _: &WriteOptions,
    ) -> Result<Box<dyn ObjectWriter>, StorageError> {
        Err(failed(StorageErrorKind::NotFound, location))
    }
    async fn list(&self, prefix: &str, _: Option<&str>) -> Result<ListPage, StorageError> {
        self.with(prefix, |all| {
            all.lists.push(prefix.to_owned());
            let objects = all.objects.iter();
            let listed = objects.filter(|(location, _)| location.starts_with(prefix));
            Ok(ListPage {
                objects: listed
                    .map(|(location, content)| ListedObject {
                        location: location.clone(),
                        size: Bytes(content.len() as u64),
                        modified: all
                            .modified
                            .get(location)
                            .copied()
                            .unwrap_or(TimestampMs(1)),
                    })
                    .collect(),
                next: None,
            })
        })
    }
    fn has_tags(&self, location: &str) -> bool {
        location.starts_with("s3://")
    }
    async fn tags(&self, location: &str) -> Result<BTreeMap<String, String>, StorageError> {
        self.read(location).await?;
        Ok(self.tags_of(location))
    }
    async fn set_tags(
        &self,
        location: &str,
        tags: &BTreeMap<String, String>,
    ) -> Result<(), StorageError> {
        self.with(location, |all| {
            if all.refuses_tags {
                return Err(failed(StorageErrorKind::PermissionDenied, location));
            }
            all.tags.insert(location.to_owned(), tags.clone());
            Ok(())
        })
    }
    async fn delete(&self, locations: &[String]) -> Vec<DeleteOutcome> {
        self.0.lock().unwrap().batches.push(locations.len());
        let outcomes = locations.iter().map(|location| DeleteOutcome {
            location: location.clone(),
            // Each on its own: whoever dies in the middle of a batch has deleted a part of it.
            result: self.with(location, |all| {
                if all.busy > 0 {
                    all.busy -= 1;
                    return Err(failed(StorageErrorKind::Throttled, location));
                }
                if all.denied.contains(location) {
                    return Err(failed(StorageErrorKind::PermissionDenied, location));
                }
                all.objects.remove(location);
                Ok(())
            }),
        });
        outcomes.collect()
    }
}
