//! Waiting for services that ask for fewer requests, while a task is worked on (case C56).
//!
//! S3, DynamoDB and catalogs refuse requests for minutes when many ask at once. A worker that failed for it would throw away
//! what it has done, and ask for all of it again. So what is refused is asked for again, less and less often, for as long as
//! the invocation has time for the task; what does not help by then gives the task back without a try being counted.

use std::{
    collections::BTreeMap,
    future::Future,
    ops::Range,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use bytes::Bytes as Buffer;
use icepress_catalog::CatalogError;
use icepress_coordination::CoordinationError;
use icepress_model::{Bytes, TableId};
use icepress_storage::{
    DeleteOutcome, ListPage, ObjectInfo, ObjectWriter, PutMode, Storage, StorageError,
    StorageErrorKind, WriteOptions,
};

use super::payload::PayloadError;
use crate::{About, Context, Deadline, Event};

/// The wait before a request is sent again the first time; each further one doubles.
const FIRST: Duration = Duration::from_millis(500);
/// The longest wait between two of them.
const LONGEST: Duration = Duration::from_secs(20);

/// An error by which somebody may have asked for fewer requests.
pub(super) trait Throttling: std::fmt::Display {
    /// Whether this one is: nothing was done then.
    fn is_throttling(&self) -> bool;
}

impl Throttling for StorageError {
    fn is_throttling(&self) -> bool {
        self.kind == StorageErrorKind::Throttled
    }
}

impl Throttling for CatalogError {
    fn is_throttling(&self) -> bool {
        self.is_throttling()
    }
}

impl Throttling for CoordinationError {
    fn is_throttling(&self) -> bool {
        matches!(self, Self::Throttled { .. })
    }
}

impl Throttling for PayloadError {
    fn is_throttling(&self) -> bool {
        self.is_throttling()
    }
}

/// For how long one attempt at a task waits for others, and how long it has.
#[derive(Debug)]
pub(super) struct Patience {
    context: Context,
    table: TableId,
    until: Deadline,
    /// Milliseconds that were waited, of all requests together.
    waited: AtomicU64,
}

impl Patience {
    /// Until `until`, or [`longest_rest`](crate::Settings::longest_rest) at one request.
    pub(super) fn new(context: &Context, table: &TableId, until: Deadline) -> Arc<Self> {
        Arc::new(Self {
            context: context.clone(),
            table: table.clone(),
            until,
            waited: AtomicU64::new(0),
        })
    }

    /// How long was waited so far.
    pub(super) fn waited(&self) -> Duration {
        Duration::from_millis(self.waited.load(Ordering::Relaxed))
    }

    /// Asks until the answer is another than to ask less, or there is no time to ask again.
    pub(super) async fn ask<T, E, F>(&self, mut request: impl FnMut() -> F) -> Result<T, E>
    where
        E: Throttling,
        F: Future<Output = Result<T, E>>,
    {
        let mut turn = Turn::default();
        loop {
            match request().await {
                Err(error) if self.wait(&mut turn, &error).await => {}
                answer => return answer,
            }
        }
    }

    /// Waits for the next turn of a request that was answered so. `false`, at once, where it is not worth a wait or there is
    /// no time for it.
    async fn wait(&self, turn: &mut Turn, answer: &impl Throttling) -> bool {
        if !answer.is_throttling() {
            return false;
        }
        let ambient = &self.context.ambient;
        let longest = FIRST.saturating_mul(1 << turn.waits.min(10)).min(LONGEST);
        let pause = longest / 2 + ambient.jitter(longest / 2);
        let together = turn.waited + pause;
        if !self.until.allows(ambient, pause) || together > self.context.settings.longest_rest {
            return false;
        }
        if self.waited.fetch_add(millis(pause), Ordering::Relaxed) == 0 {
            self.context.tell(Event::Notice {
                about: About::table(&self.table),
                message: format!(
                    "table {}: {answer}: its worker asks again, less and less often",
                    self.table
                ),
            });
        }
        turn.waits += 1;
        turn.waited = together;
        ambient.clock.sleep(pause).await;
        true
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis())
        .unwrap_or(u64::MAX)
        .max(1)
}

/// What one request has waited.
#[derive(Debug, Default)]
struct Turn {
    waits: u32,
    waited: Duration,
}

/// Storage that is asked with patience.
#[derive(Debug)]
pub(super) struct PatientStorage {
    inner: Arc<dyn Storage>,
    patience: Arc<Patience>,
}

impl PatientStorage {
    pub(super) fn around(inner: Arc<dyn Storage>, patience: &Arc<Patience>) -> Arc<Self> {
        Arc::new(Self {
            inner,
            patience: Arc::clone(patience),
        })
    }
}

#[async_trait]
impl Storage for PatientStorage {
    fn allows(&self, location: &str) -> Result<(), StorageError> {
        self.inner.allows(location)
    }

    fn may_delete(&self) -> bool {
        self.inner.may_delete()
    }

    async fn info(&self, location: &str) -> Result<ObjectInfo, StorageError> {
        self.patience.ask(|| self.inner.info(location)).await
    }

    async fn read(&self, location: &str) -> Result<Buffer, StorageError> {
        self.patience.ask(|| self.inner.read(location)).await
    }

    async fn read_range(&self, location: &str, range: Range<u64>) -> Result<Buffer, StorageError> {
        self.patience
            .ask(|| self.inner.read_range(location, range.clone()))
            .await
    }

    async fn read_ranges(
        &self,
        location: &str,
        ranges: &[Range<u64>],
    ) -> Result<Vec<Buffer>, StorageError> {
        self.patience
            .ask(|| self.inner.read_ranges(location, ranges))
            .await
    }

    async fn put(
        &self,
        location: &str,
        content: Buffer,
        mode: PutMode,
        options: &WriteOptions,
    ) -> Result<(), StorageError> {
        self.patience
            .ask(|| self.inner.put(location, content.clone(), mode, options))
            .await
    }

    async fn writer(
        &self,
        location: &str,
        options: &WriteOptions,
    ) -> Result<Box<dyn ObjectWriter>, StorageError> {
        let inner = self
            .patience
            .ask(|| self.inner.writer(location, options))
            .await?;
        Ok(Box::new(PatientWriter {
            inner,
            patience: Arc::clone(&self.patience),
        }))
    }

    fn copies(&self, source: &str) -> Option<Bytes> {
        self.inner.copies(source)
    }

    async fn list(&self, prefix: &str, next: Option<&str>) -> Result<ListPage, StorageError> {
        self.patience.ask(|| self.inner.list(prefix, next)).await
    }

    async fn list_after(
        &self,
        prefix: &str,
        after: Option<&str>,
    ) -> Result<ListPage, StorageError> {
        self.patience
            .ask(|| self.inner.list_after(prefix, after))
            .await
    }

    async fn folders(&self, folder: &str) -> Result<Vec<String>, StorageError> {
        self.patience.ask(|| self.inner.folders(folder)).await
    }

    fn has_tags(&self, location: &str) -> bool {
        self.inner.has_tags(location)
    }

    async fn tags(&self, location: &str) -> Result<BTreeMap<String, String>, StorageError> {
        self.patience.ask(|| self.inner.tags(location)).await
    }

    async fn set_tags(
        &self,
        location: &str,
        tags: &BTreeMap<String, String>,
    ) -> Result<(), StorageError> {
        self.patience
            .ask(|| self.inner.set_tags(location, tags))
            .await
    }

    /// What can't be deleted now is orphans' removal's.
    async fn delete(&self, locations: &[String]) -> Vec<DeleteOutcome> {
        self.inner.delete(locations).await
    }
}

/// A writer that goes on where it was refused.
#[derive(Debug)]
struct PatientWriter {
    inner: Box<dyn ObjectWriter>,
    patience: Arc<Patience>,
}

#[async_trait]
impl ObjectWriter for PatientWriter {
    async fn write(&mut self, content: Buffer) -> Result<(), StorageError> {
        let (mut turn, mut rest) = (Turn::default(), content);
        loop {
            // What was given once is the writer's.
            match self.inner.write(std::mem::take(&mut rest)).await {
                Err(error) if self.patience.wait(&mut turn, &error).await => {}
                written => return written,
            }
        }
    }

    fn lead(&self, length: u64) -> u64 {
        self.inner.lead(length)
    }

    async fn copy(&mut self, source: &str, range: Range<u64>) -> Result<(), StorageError> {
        let mut turn = Turn::default();
        let mut copied = self.inner.copy(source, range).await;
        loop {
            match copied {
                // What was given once is the writer's.
                Err(error) if self.patience.wait(&mut turn, &error).await => {
                    copied = self.inner.write(Buffer::new()).await;
                }
                copied => return copied,
            }
        }
    }

    async fn finish(&mut self) -> Result<Bytes, StorageError> {
        let mut turn = Turn::default();
        loop {
            match self.inner.finish().await {
                Err(error) if self.patience.wait(&mut turn, &error).await => {}
                finished => return finished,
            }
        }
    }

    async fn abort(self: Box<Self>) -> Result<(), StorageError> {
        self.inner.abort().await
    }
}
