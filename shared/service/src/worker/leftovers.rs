//! What was written for a table and certainly never came into it (case C28): the one place where such files are deleted.
//!
//! A file is named in a report, and a report in a commit. So the files of an attempt that can't report any more are
//! nobody's ([`Footprints`]); and what a process reported is nobody's where no swap was sent for it, or none of those that
//! were can act any more. Where that is not known, everything stays; and what a check refused is evidence, and stays too.

use std::{
    ops::Range,
    sync::{Arc, Mutex, PoisonError},
};

use async_trait::async_trait;
use bytes::Bytes as Buffer;
use icepress_catalog::CatalogError;
use icepress_coordination::{CommitClaim, TaskRow, TaskState};
use icepress_model::{
    Bytes, GroupResult, ProcessId, ProcessKind, RewriteFailure, RewriteFailureKind, TableId,
};
use icepress_storage::{
    DeleteOutcome, ListPage, ObjectInfo, ObjectWriter, PutMode, Storage, StorageError, WriteOptions,
};

use crate::{About, Context, Event, scheduler::handover::EvaluateTask, worker::payload};

/// Deletes files that are certainly nobody's, where the settings allow it.
pub(crate) async fn delete(context: &Context, storage: &dyn Storage, paths: &[String]) {
    if !context.settings.may_delete || paths.is_empty() {
        return;
    }
    for outcome in storage.delete(paths).await {
        if let Err(error) = outcome.result {
            context.tell(Event::Notice {
                about: About::NONE,
                message: format!("a file that nobody needs stays behind: {error}"),
            });
        }
    }
}

/// Whether no swap can have been sent for the process before this claim: a committer before may have died with one under
/// way.
pub(crate) fn is_first(claim: &CommitClaim) -> bool {
    claim.claim == 1
}

/// Deletes what the finished tasks of a process reported, of which nothing is or can come into the table. Only once the
/// process has ended: until then somebody may want to commit it.
///
/// Nothing here can fail the end of the process, which has taken place; what can't be found out stays.
pub(crate) async fn delete_reported(context: &Context, table: &TableId, process: &ProcessId) {
    if !context.settings.may_delete {
        return;
    }
    let stays = |reason: String| {
        context.tell(Event::Notice {
            about: About::process(process).of(table),
            message: format!("table {table}: files of process {process} stay behind: {reason}"),
        });
    };
    let tasks = match context.store.tasks(process).await {
        Ok(tasks) => tasks,
        Err(error) => return stays(error.to_string()),
    };
    let mut paths = Vec::new();
    for task in &tasks {
        let TaskState::Done(result) = &task.state else {
            continue;
        };
        // What upkeep leaves, its own record names.
        if task.kind != ProcessKind::Rewrite {
            continue;
        }
        // Whoever only looks writes nothing.
        if EvaluateTask::of(&task.payload).is_some() {
            continue;
        }
        match payload::fetch::<GroupResult>(context, result).await {
            Ok(result) => paths.extend(result.file_paths()),
            Err(error) => stays(format!("task {}: {error}", task.task)),
        }
    }
    if paths.is_empty() {
        return;
    }
    match storage_of(context, table).await {
        Ok(storage) => delete(context, &*storage, &paths).await,
        Err(error) => stays(error.to_string()),
    }
}

/// Where the files of a table lie, also of one that is gone.
pub(crate) async fn storage_of(
    context: &Context,
    table: &TableId,
) -> Result<Arc<dyn Storage>, CatalogError> {
    let open = context.catalog_of(table)?;
    match open.storage_of(table).await {
        Err(CatalogError::NoSuchTable(_)) => Ok(Arc::clone(&open.storage)),
        storage => storage,
    }
}

/// Whether the files of an attempt that failed are to be kept: what a check refused is looked into by people.
pub(crate) fn is_evidence(failure: &RewriteFailure) -> bool {
    failure.kind == RewriteFailureKind::WrongRows
}

/// Whether a report that was turned down can't have been taken the first time that it was sent, of which the answer may
/// have been lost.
pub(crate) fn is_unreported(reported: &TaskRow, now: &TaskRow) -> bool {
    now.attempt != reported.attempt || !matches!(now.state, TaskState::Done(_))
}

/// Storage that remembers where one attempt wrote, so that it can be taken back however the attempt ended.
#[derive(Debug)]
pub(crate) struct Footprints {
    inner: Arc<dyn Storage>,
    written: Mutex<Vec<String>>,
}

impl Footprints {
    pub(crate) fn on(inner: Arc<dyn Storage>) -> Arc<Self> {
        Arc::new(Self {
            inner,
            written: Mutex::default(),
        })
    }

    /// Deletes what was written: the attempt will not report it, or its report was not taken.
    pub(crate) async fn wipe(&self, context: &Context) {
        let written = {
            let mut written = self.written.lock().unwrap_or_else(PoisonError::into_inner);
            std::mem::take(&mut *written)
        };
        delete(context, &*self.inner, &written).await;
    }

    fn note(&self, location: &str) {
        let mut written = self.written.lock().unwrap_or_else(PoisonError::into_inner);
        written.push(location.to_owned());
    }
}

#[async_trait]
impl Storage for Footprints {
    fn allows(&self, location: &str) -> Result<(), StorageError> {
        self.inner.allows(location)
    }

    fn may_delete(&self) -> bool {
        self.inner.may_delete()
    }

    async fn info(&self, location: &str) -> Result<ObjectInfo, StorageError> {
        self.inner.info(location).await
    }

    async fn read(&self, location: &str) -> Result<Buffer, StorageError> {
        self.inner.read(location).await
    }

    async fn read_range(&self, location: &str, range: Range<u64>) -> Result<Buffer, StorageError> {
        self.inner.read_range(location, range).await
    }

    async fn read_ranges(
        &self,
        location: &str,
        ranges: &[Range<u64>],
    ) -> Result<Vec<Buffer>, StorageError> {
        self.inner.read_ranges(location, ranges).await
    }

    async fn put(
        &self,
        location: &str,
        content: Buffer,
        mode: PutMode,
        options: &WriteOptions,
    ) -> Result<(), StorageError> {
        self.note(location);
        self.inner.put(location, content, mode, options).await
    }

    async fn writer(
        &self,
        location: &str,
        options: &WriteOptions,
    ) -> Result<Box<dyn ObjectWriter>, StorageError> {
        self.note(location);
        self.inner.writer(location, options).await
    }

    fn copies(&self, source: &str) -> Option<Bytes> {
        self.inner.copies(source)
    }

    async fn list(&self, prefix: &str, next: Option<&str>) -> Result<ListPage, StorageError> {
        self.inner.list(prefix, next).await
    }

    async fn list_after(
        &self,
        prefix: &str,
        after: Option<&str>,
    ) -> Result<ListPage, StorageError> {
        self.inner.list_after(prefix, after).await
    }

    async fn folders(&self, folder: &str) -> Result<Vec<String>, StorageError> {
        self.inner.folders(folder).await
    }

    async fn delete(&self, locations: &[String]) -> Vec<DeleteOutcome> {
        self.inner.delete(locations).await
    }
}
