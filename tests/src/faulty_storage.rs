//! Storage that fails on demand: a request is lost before it acts, or its answer after.

use std::{
    ops::Range,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
};

use async_trait::async_trait;
use bytes::Bytes;
use futures::{FutureExt as _, future::BoxFuture};
use icepress_storage::{
    DeleteOutcome, ListPage, ObjectInfo, ObjectWriter, PutMode, Storage, StorageError,
    StorageErrorKind, WriteOptions,
};

/// What becomes of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StorageFault {
    /// It never arrives.
    LostBefore,
    /// It is carried out, and the answer is lost.
    LostAfter,
}

#[derive(Default)]
struct Orders {
    /// Metadata files and manifests put so far.
    puts: Vec<String>,
    /// Reads of such so far.
    reads: usize,
    put_fault: Option<(usize, StorageFault)>,
    read_fault: Option<usize>,
    deleted: Vec<String>,
    lists_in_order: usize,
    edit: Option<Edit>,
    deadly: Option<String>,
    throttled: Option<(String, u64)>,
    meddling: Option<(String, Deed)>,
}

/// What somebody else does.
type Deed = Box<dyn FnOnce() -> BoxFuture<'static, ()> + Send>;

/// Bytes that are changed on their way, and into what.
type Edit = (Vec<u8>, Vec<u8>);

impl std::fmt::Debug for Orders {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Orders").finish_non_exhaustive()
    }
}

fn throttled(
    orders: &Mutex<Orders>,
    action: &'static str,
    location: &str,
) -> Result<(), StorageError> {
    let mut orders = orders.lock().unwrap();
    match &mut orders.throttled {
        Some((part, left)) if *left > 0 && location.contains(part.as_str()) => {
            *left -= 1;
            Err(StorageError {
                kind: StorageErrorKind::Throttled,
                ..FaultyStorage::lost(action, location)
            })
        }
        _ => Ok(()),
    }
}

/// Passes everything on to a real storage, but for the faults that were ordered.
#[derive(Debug)]
pub struct FaultyStorage {
    inner: Arc<dyn Storage>,
    /// Whether whoever works here may delete for good.
    deletes: AtomicBool,
    orders: Arc<Mutex<Orders>>,
}

impl FaultyStorage {
    /// Around `inner`, without faults.
    pub fn around(inner: Arc<dyn Storage>) -> Arc<Self> {
        Arc::new(Self {
            inner,
            deletes: AtomicBool::new(false),
            orders: Arc::default(),
        })
    }

    /// From now on whoever works here may delete.
    pub fn let_delete(&self) {
        self.deletes.store(true, Ordering::Relaxed);
    }

    /// Forgets what was put and read, and every order.
    pub fn reset(&self) {
        *self.orders.lock().unwrap() = Orders::default();
    }

    /// Files under a `metadata` folder that were put since the last reset.
    pub fn metadata_puts(&self) -> Vec<String> {
        self.orders.lock().unwrap().puts.clone()
    }

    /// How many reads of such files there were since the last reset.
    pub fn metadata_reads(&self) -> usize {
        self.orders.lock().unwrap().reads
    }

    /// How many listings began at a name, as several beside each other do, since the last reset.
    pub fn lists_in_order(&self) -> usize {
        self.orders.lock().unwrap().lists_in_order
    }

    /// Every location that somebody asked to delete since the last reset.
    pub fn deleted(&self) -> Vec<String> {
        self.orders.lock().unwrap().deleted.clone()
    }

    /// Orders a fault for the put number `nth` (from 0) of a file under a `metadata` folder, and all that follow.
    pub fn fail_puts_from(&self, nth: usize, fault: StorageFault) {
        self.orders.lock().unwrap().put_fault = Some((nth, fault));
    }

    /// Orders every read from number `nth` on of a file under a `metadata` folder to fail.
    pub fn fail_reads_from(&self, nth: usize) {
        self.orders.lock().unwrap().read_fault = Some(nth);
    }

    /// From now on, whoever reads metadata in a folder of this name dies of it, at once and without a word, as one does
    /// that runs out of memory.
    pub fn die_at_reads_in(&self, folder: &str) {
        self.orders.lock().unwrap().deadly = Some(format!("/{folder}/"));
    }

    /// From now on, whoever reads, looks at or writes a file whose name has this in it is asked for fewer requests: so many times.
    pub fn throttle(&self, part: &str, times: u64) {
        self.orders.lock().unwrap().throttled = Some((part.to_owned(), times));
    }

    /// The first to look at a file whose name has this in it hears nothing for ever, and somebody else does `deed` meanwhile.
    pub fn meddle_at_look_at<F: Future<Output = ()> + Send + 'static>(
        &self,
        part: &str,
        deed: impl FnOnce() -> F + Send + 'static,
    ) {
        let deed: Deed = Box::new(move || deed().boxed());
        self.orders.lock().unwrap().meddling = Some((part.to_owned(), deed));
    }

    /// Whether this request is one that is refused.
    fn throttled(&self, action: &'static str, location: &str) -> Result<(), StorageError> {
        throttled(&self.orders, action, location)
    }

    async fn meddled(&self, location: &str) {
        let deed = {
            let mut orders = self.orders.lock().unwrap();
            let is_it = |(part, _): &(String, Deed)| location.contains(part.as_str());
            match orders.meddling.as_ref().is_some_and(is_it) {
                true => orders.meddling.take(),
                false => None,
            }
        };
        if let Some((_, deed)) = deed {
            deed().await;
            std::future::pending::<()>().await;
        }
    }

    /// From now on, puts `into` where a data file has `from` the first time, which must be as long.
    pub fn edit_data(&self, from: &[u8], into: &[u8]) {
        assert_eq!(from.len(), into.len());
        self.orders.lock().unwrap().edit = Some((from.to_vec(), into.to_vec()));
    }

    fn edited(&self, location: &str, content: Bytes) -> Bytes {
        let edit = self.orders.lock().unwrap().edit.clone();
        match edit {
            Some(edit) if location.contains("/data/") => {
                Bytes::from(apply(&edit, content.to_vec()))
            }
            _ => content,
        }
    }

    fn lost(action: &'static str, location: &str) -> StorageError {
        StorageError {
            kind: StorageErrorKind::Other,
            action,
            location: location.to_owned(),
            source: None,
        }
    }

    fn note_read(&self, location: &str) -> Result<(), StorageError> {
        self.throttled("read", location)?;
        if !location.contains("/metadata/") {
            return Ok(());
        }
        let mut orders = self.orders.lock().unwrap();
        if orders
            .deadly
            .as_deref()
            .is_some_and(|folder| location.contains(folder))
        {
            std::process::abort();
        }
        let number = orders.reads;
        orders.reads += 1;
        match orders.read_fault {
            Some(first) if number >= first => Err(Self::lost("read", location)),
            _ => Ok(()),
        }
    }
}

#[async_trait]
impl Storage for FaultyStorage {
    fn may_delete(&self) -> bool {
        self.deletes.load(Ordering::Relaxed)
    }

    async fn info(&self, location: &str) -> Result<ObjectInfo, StorageError> {
        self.throttled("look at", location)?;
        self.meddled(location).await;
        self.inner.info(location).await
    }

    async fn read(&self, location: &str) -> Result<Bytes, StorageError> {
        self.note_read(location)?;
        self.inner.read(location).await
    }

    async fn read_range(&self, location: &str, range: Range<u64>) -> Result<Bytes, StorageError> {
        self.note_read(location)?;
        self.inner.read_range(location, range).await
    }

    async fn read_ranges(
        &self,
        location: &str,
        ranges: &[Range<u64>],
    ) -> Result<Vec<Bytes>, StorageError> {
        self.note_read(location)?;
        self.inner.read_ranges(location, ranges).await
    }

    async fn put(
        &self,
        location: &str,
        content: Bytes,
        mode: PutMode,
        options: &WriteOptions,
    ) -> Result<(), StorageError> {
        self.throttled("write", location)?;
        let fault = location
            .contains("/metadata/")
            .then(|| {
                let mut orders = self.orders.lock().unwrap();
                let number = orders.puts.len();
                orders.puts.push(location.to_owned());
                orders
                    .put_fault
                    .filter(|(first, _)| number >= *first)
                    .map(|(_, fault)| fault)
            })
            .flatten();
        match fault {
            None => {
                let content = self.edited(location, content);
                self.inner.put(location, content, mode, options).await
            }
            Some(StorageFault::LostBefore) => Err(Self::lost("write", location)),
            Some(StorageFault::LostAfter) => {
                self.inner.put(location, content, mode, options).await?;
                Err(Self::lost("write", location))
            }
        }
    }

    async fn writer(
        &self,
        location: &str,
        options: &WriteOptions,
    ) -> Result<Box<dyn ObjectWriter>, StorageError> {
        let inner = self.inner.writer(location, options).await?;
        let edit = self.orders.lock().unwrap().edit.clone();
        let inner: Box<dyn ObjectWriter> = match edit {
            None => inner,
            Some(edit) => Box::new(EditingWriter {
                inner,
                edit,
                held: Vec::new(),
            }),
        };
        Ok(Box::new(RefusedWriter {
            inner,
            location: location.to_owned(),
            orders: Arc::clone(&self.orders),
            unsent: Vec::new(),
        }))
    }

    async fn list(&self, prefix: &str, next: Option<&str>) -> Result<ListPage, StorageError> {
        self.inner.list(prefix, next).await
    }

    async fn list_after(
        &self,
        prefix: &str,
        after: Option<&str>,
    ) -> Result<ListPage, StorageError> {
        self.orders.lock().unwrap().lists_in_order += 1;
        self.inner.list_after(prefix, after).await
    }

    async fn delete(&self, locations: &[String]) -> Vec<DeleteOutcome> {
        self.orders
            .lock()
            .unwrap()
            .deleted
            .extend_from_slice(locations);
        self.inner.delete(locations).await
    }
}

fn apply((from, into): &Edit, mut content: Vec<u8>) -> Vec<u8> {
    let found = content.windows(from.len()).position(|part| part == from);
    if let Some(start) = found {
        content[start..start + into.len()].copy_from_slice(into);
    }
    content
}

/// Holds the whole object back until it can be edited.
#[derive(Debug)]
struct EditingWriter {
    inner: Box<dyn ObjectWriter>,
    edit: Edit,
    held: Vec<u8>,
}

#[async_trait]
impl ObjectWriter for EditingWriter {
    async fn write(&mut self, content: Bytes) -> Result<(), StorageError> {
        self.held.extend_from_slice(&content);
        Ok(())
    }

    async fn finish(&mut self) -> Result<icepress_model::Bytes, StorageError> {
        let content = apply(&self.edit, std::mem::take(&mut self.held));
        self.inner.write(Bytes::from(content)).await?;
        self.inner.finish().await
    }

    async fn abort(self: Box<Self>) -> Result<(), StorageError> {
        self.inner.abort().await
    }
}

/// Keeps what it was given for as long as it is refused.
#[derive(Debug)]
struct RefusedWriter {
    inner: Box<dyn ObjectWriter>,
    location: String,
    orders: Arc<Mutex<Orders>>,
    unsent: Vec<Bytes>,
}

impl RefusedWriter {
    async fn send(&mut self) -> Result<(), StorageError> {
        throttled(&self.orders, "write", &self.location)?;
        for content in std::mem::take(&mut self.unsent) {
            self.inner.write(content).await?;
        }
        Ok(())
    }
}

#[async_trait]
impl ObjectWriter for RefusedWriter {
    async fn write(&mut self, content: Bytes) -> Result<(), StorageError> {
        self.unsent.push(content);
        self.send().await
    }

    async fn finish(&mut self) -> Result<icepress_model::Bytes, StorageError> {
        self.send().await?;
        self.inner.finish().await
    }

    async fn abort(self: Box<Self>) -> Result<(), StorageError> {
        self.inner.abort().await
    }
}
