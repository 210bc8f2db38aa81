//! Object storage that promises what S3 promises: writes that are seen whole, at once and by everybody, conditional
//! creation, listings by page. It forgets nothing and is never sure to answer.

use std::{
    borrow::Cow,
    collections::BTreeMap,
    fmt,
    ops::Range,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
};

use async_trait::async_trait;
use bytes::Bytes as Buffer;
use icepress_model::{Bytes, TimestampMs, ambient::Clock};
use icepress_storage::{
    DeleteOutcome, ListPage, ListedObject, ObjectInfo, ObjectWriter, PutMode, Storage,
    StorageError, StorageErrorKind, WriteOptions,
};

use crate::network::{Cut, Delivery, Network, Service};

type Result<T> = std::result::Result<T, StorageError>;

/// How many objects a page of a listing has where nobody says otherwise.
const PAGE: usize = 1000;
/// Schemes that all mean the same.
const SCHEMES: [&str; 3] = ["s3://", "s3a://", "s3n://"];

/// Somebody who looks at every write.
pub trait Watch: Send + Sync + fmt::Debug {
    /// An object was written; `replaced` says whether other content stood there.
    fn put(&self, writer: &str, location: &str, replaced: bool);
    /// An object was deleted that was there.
    fn deleted(&self, writer: &str, location: &str);
}

#[derive(Debug, Clone)]
struct Object {
    content: Buffer,
    modified: TimestampMs,
}

/// All objects, by location with the scheme `s3://`.
pub struct Objects {
    objects: Mutex<BTreeMap<String, Object>>,
    clock: Arc<dyn Clock>,
    watch: Mutex<Option<Arc<dyn Watch>>>,
    page: AtomicUsize,
}

impl fmt::Debug for Objects {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Objects").finish_non_exhaustive()
    }
}

impl Objects {
    /// A store without objects, whose own clock is `clock`.
    pub fn new(clock: Arc<dyn Clock>) -> Arc<Self> {
        Arc::new(Self {
            objects: Mutex::default(),
            clock,
            watch: Mutex::new(None),
            page: AtomicUsize::new(PAGE),
        })
    }

    /// Sets how many objects a page of a listing has.
    pub fn set_page(&self, objects: usize) {
        self.page.store(objects, Ordering::Relaxed);
    }

    /// Lets somebody look at every write.
    pub fn set_watch(&self, watch: Option<Arc<dyn Watch>>) {
        *self.watch.lock().unwrap_or_else(PoisonError::into_inner) = watch;
    }

    fn objects(&self) -> MutexGuard<'_, BTreeMap<String, Object>> {
        self.objects.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn watch(&self) -> Option<Arc<dyn Watch>> {
        self.watch
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// An object's content, past the network.
    pub fn content(&self, location: &str) -> Option<Buffer> {
        self.objects()
            .get(&*one_scheme(location))
            .map(|object| object.content.clone())
    }

    /// Whether there is an object.
    pub fn has(&self, location: &str) -> bool {
        self.objects().contains_key(&*one_scheme(location))
    }

    /// Every location.
    pub fn locations(&self) -> Vec<String> {
        self.objects().keys().cloned().collect()
    }

    fn put(&self, writer: &str, location: &str, content: Buffer, mode: PutMode) -> bool {
        let replaced = {
            let mut objects = self.objects();
            if mode == PutMode::CreateOnly && objects.contains_key(location) {
                return false;
            }
            let object = Object {
                content: content.clone(),
                modified: self.clock.now(),
            };
            let before = objects.insert(location.to_owned(), object);
            before.is_some_and(|before| before.content != content)
        };
        if let Some(watch) = self.watch() {
            watch.put(writer, location, replaced);
        }
        true
    }

    fn delete(&self, writer: &str, location: &str) {
        let was_there = self.objects().remove(location).is_some();
        if was_there && let Some(watch) = self.watch() {
            watch.deleted(writer, location);
        }
    }
}

/// The store as one machine reaches it.
#[derive(Debug, Clone)]
pub struct MachineStorage {
    objects: Arc<Objects>,
    network: Arc<Network>,
    machine: Arc<str>,
    may_delete: bool,
}

impl MachineStorage {
    /// The store as `machine` reaches it.
    pub fn new(objects: &Arc<Objects>, network: &Arc<Network>, machine: &str) -> Self {
        Self {
            objects: Arc::clone(objects),
            network: Arc::clone(network),
            machine: Arc::from(machine),
            may_delete: true,
        }
    }

    /// The same under a role that may delete, or may not.
    pub fn that_deletes(self, may_delete: bool) -> Self {
        Self { may_delete, ..self }
    }

    async fn call<T: Send + 'static>(
        &self,
        action: &'static str,
        location: &str,
        effect: impl FnOnce(&Objects) -> T + Send + 'static,
    ) -> Result<T> {
        let objects = Arc::clone(&self.objects);
        let what = format!("{action} {location}");
        let network = Arc::clone(&self.network);
        let line = (Arc::clone(&self.machine), what.clone());
        let answer = self
            .network
            .call(
                Service::S3,
                &self.machine,
                what,
                Delivery::Usual,
                move || {
                    if let Some(engine) = network.engine() {
                        engine.note(format_args!("{}: {}", line.0, line.1));
                    }
                    effect(&objects)
                },
            )
            .await;
        answer.map_err(|cut| {
            let kind = match cut {
                Cut::Throttled => StorageErrorKind::Throttled,
                Cut::ServerError | Cut::NoAnswer => StorageErrorKind::Other,
            };
            error(kind, action, location)
        })
    }

    async fn get(&self, location: &str) -> Result<Buffer> {
        let key = key_of(location, "read")?;
        if self.network.is_silent(&self.machine, location) {
            return std::future::pending().await;
        }
        if self.network.is_throttled(&self.machine, location) {
            return Err(error(StorageErrorKind::Throttled, "read", location));
        }
        let found = self
            .call("read", location, move |objects| objects.content(&key))
            .await?;
        found.ok_or_else(|| error(StorageErrorKind::NotFound, "read", location))
    }
}

fn error(kind: StorageErrorKind, action: &'static str, location: &str) -> StorageError {
    StorageError {
        kind,
        action,
        location: location.to_owned(),
        source: None,
    }
}

/// The same location with the scheme that objects are kept by, where it has one that means the same.
pub fn one_scheme(location: &str) -> Cow<'_, str> {
    let others = SCHEMES.iter().filter(|scheme| **scheme != "s3://");
    let rest = others
        .into_iter()
        .find_map(|scheme| location.strip_prefix(scheme));
    match rest {
        Some(rest) => Cow::Owned(format!("s3://{rest}")),
        None => Cow::Borrowed(location),
    }
}

/// The location under the one scheme that objects are kept by.
fn key_of(location: &str, action: &'static str) -> Result<String> {
    let rest = SCHEMES
        .iter()
        .find_map(|scheme| location.strip_prefix(scheme));
    match rest {
        Some(rest) if !rest.starts_with('/') && !rest.is_empty() => Ok(format!("s3://{rest}")),
        _ => Err(error(StorageErrorKind::InvalidLocation, action, location)),
    }
}

fn slice(content: &Buffer, range: &Range<u64>, location: &str) -> Result<Buffer> {
    if range.end > content.len() as u64 || range.start > range.end {
        return Err(error(StorageErrorKind::OutOfRange, "read", location));
    }
    Ok(content.slice(range.start as usize..range.end as usize))
}

#[async_trait]
impl Storage for MachineStorage {
    fn may_delete(&self) -> bool {
        self.may_delete
    }

    async fn info(&self, location: &str) -> Result<ObjectInfo> {
        let key = key_of(location, "read")?;
        let found = self
            .call("look at", location, move |objects| {
                objects.objects().get(&key).cloned()
            })
            .await?;
        let object = found.ok_or_else(|| error(StorageErrorKind::NotFound, "read", location))?;
        Ok(ObjectInfo {
            size: Bytes(object.content.len() as u64),
            modified: object.modified,
            archived: false,
        })
    }

    async fn read(&self, location: &str) -> Result<Buffer> {
        self.get(location).await
    }

    async fn read_range(&self, location: &str, range: Range<u64>) -> Result<Buffer> {
        slice(&self.get(location).await?, &range, location)
    }

    async fn read_ranges(&self, location: &str, ranges: &[Range<u64>]) -> Result<Vec<Buffer>> {
        if ranges.is_empty() {
            return Ok(Vec::new());
        }
        let content = self.get(location).await?;
        ranges
            .iter()
            .map(|range| slice(&content, range, location))
            .collect()
    }

    async fn put(
        &self,
        location: &str,
        content: Buffer,
        mode: PutMode,
        _: &WriteOptions,
    ) -> Result<()> {
        let key = key_of(location, "write")?;
        let writer = Arc::clone(&self.machine);
        // What the service writes must be the same in every run of a seed. The foreign writers' clients see to it less.
        if let Some(engine) = self.network.engine()
            && !writer.starts_with("writer")
        {
            engine.note(format_args!(
                "{writer}: will write {}",
                words_of(&key, &content)
            ));
        }
        let written = self
            .call("write", location, move |objects| {
                objects.put(&writer, &key, content, mode)
            })
            .await?;
        if written {
            Ok(())
        } else {
            Err(error(StorageErrorKind::AlreadyExists, "write", location))
        }
    }

    async fn writer(&self, location: &str, _: &WriteOptions) -> Result<Box<dyn ObjectWriter>> {
        key_of(location, "write")?;
        Ok(Box::new(PartWriter {
            storage: self.clone(),
            location: location.to_owned(),
            parts: Vec::new(),
        }))
    }

    async fn list(&self, prefix: &str, next: Option<&str>) -> Result<ListPage> {
        let key = key_of(prefix, "list")?;
        let scheme = SCHEMES.iter().find(|scheme| prefix.starts_with(**scheme));
        let scheme = (*scheme.unwrap_or(&"s3://")).to_owned();
        let after = next.map(str::to_owned);
        self.call("list", prefix, move |objects| {
            let most = objects.page.load(Ordering::Relaxed);
            let objects = objects.objects();
            let mut found = objects
                .range(key.clone()..)
                .take_while(|(location, _)| location.starts_with(&key))
                .filter(|(location, _)| after.as_ref().is_none_or(|after| *location > after));
            let page: Vec<(&String, &Object)> = found.by_ref().take(most).collect();
            let more = found.next().is_some();
            ListPage {
                next: page
                    .last()
                    .filter(|_| more)
                    .map(|(location, _)| (*location).clone()),
                objects: page
                    .into_iter()
                    .map(|(location, object)| ListedObject {
                        location: format!("{scheme}{}", &location["s3://".len()..]),
                        size: Bytes(object.content.len() as u64),
                        modified: object.modified,
                    })
                    .collect(),
            }
        })
        .await
    }

    async fn list_after(&self, prefix: &str, after: Option<&str>) -> Result<ListPage> {
        let after = after.map(one_scheme);
        let mut page = self.list(prefix, after.as_deref()).await?;
        // It goes on behind a name as the page has it.
        if page.next.is_some() {
            page.next = page.objects.last().map(|last| last.location.clone());
        }
        Ok(page)
    }

    async fn delete(&self, locations: &[String]) -> Vec<DeleteOutcome> {
        let mut outcomes = Vec::with_capacity(locations.len());
        for location in locations {
            let result = match key_of(location, "delete") {
                Ok(_) if !self.may_delete => Err(error(
                    StorageErrorKind::PermissionDenied,
                    "delete",
                    location,
                )),
                Ok(key) => {
                    let writer = Arc::clone(&self.machine);
                    self.call("delete", location, move |objects| {
                        objects.delete(&writer, &key)
                    })
                    .await
                }
                Err(error) => Err(error),
            };
            outcomes.push(DeleteOutcome {
                location: location.clone(),
                result,
            });
        }
        outcomes
    }
}

/// An object in parts, which nobody sees before the last request.
#[derive(Debug)]
struct PartWriter {
    storage: MachineStorage,
    location: String,
    parts: Vec<Buffer>,
}

#[async_trait]
impl ObjectWriter for PartWriter {
    async fn write(&mut self, content: Buffer) -> Result<()> {
        self.parts.push(content);
        Ok(())
    }

    async fn finish(&mut self) -> Result<Bytes> {
        let content = Buffer::from(self.parts.concat());
        let size = Bytes(content.len() as u64);
        let options = WriteOptions::default();
        self.storage
            .put(&self.location, content, PutMode::Overwrite, &options)
            .await?;
        Ok(size)
    }

    async fn abort(self: Box<Self>) -> Result<()> {
        Ok(())
    }
}

/// What is the same of a file in every run of a seed. The `iceberg` crate, which the foreign writers write with, keeps maps in
/// an order of its own each time: that of a Puffin footer's properties, and those of the manifests that it merges, whose
/// entries go on as they are.
fn words_of(key: &str, content: &[u8]) -> String {
    if key.ends_with(".puffin") {
        format!("{} bytes of vectors", content.len())
    } else if key.ends_with(".avro") {
        match records_in_order(content) {
            Ok(records) => format!("records {}", crate::engine::short(records.as_bytes())),
            Err(error) => format!("what is no Avro: {error}"),
        }
    } else {
        format!("{} bytes, {}", content.len(), crate::engine::short(content))
    }
}

/// The records of an Avro file, the entries of each map by key. Manifests' lengths, which depend on their order, are left out.
fn records_in_order(content: &[u8]) -> std::result::Result<String, apache_avro::Error> {
    use apache_avro::types::Value;

    fn text(value: &Value) -> String {
        match value {
            Value::Array(entries) => {
                let mut entries: Vec<String> = entries.iter().map(text).collect();
                entries.sort();
                format!("{entries:?}")
            }
            Value::Union(_, inner) => text(inner),
            Value::Record(fields) => {
                let kept = fields.iter().filter(|(name, _)| name != "manifest_length");
                let kept: Vec<(&str, String)> = kept
                    .map(|(name, value)| (name.as_str(), text(value)))
                    .collect();
                format!("{kept:?}")
            }
            leaf => format!("{leaf:?}"),
        }
    }
    let records: std::result::Result<Vec<String>, _> = apache_avro::Reader::new(content)?
        .map(|record| record.map(|record| text(&record)))
        .collect();
    Ok(records?.join("\n"))
}
