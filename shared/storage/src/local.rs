//! Local files.
//!
//! An object appears whole or not at all: it is written under a temporary name beside its final one and then renamed
//! (or linked, where it must not replace anything). The temporary name begins with the final one, so that whoever
//! cleans up after a dead attempt finds it by that name. Nothing is forced to the disk: after a power cut a laptop's
//! table may have lost its last commits, as with every other local Iceberg client.

use std::{
    fs,
    io::{self, Read as _, Seek as _, SeekFrom, Write as _},
    ops::Range,
    path::{Path, PathBuf},
    process,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::UNIX_EPOCH,
};

use async_trait::async_trait;
use bytes::Bytes as Buffer;
use icepress_model::{Bytes, TimestampMs};

use crate::{
    DeleteOutcome, ListPage, ObjectInfo, ObjectWriter, PutMode, Storage, StorageError,
    StorageErrorKind, WriteOptions, location::Location,
};

mod list;

/// Less is written as fast.
const LEAST_COPIED: Bytes = Bytes(32 << 10);
/// How many objects a page of a listing has at most, as on S3.
const PAGE: usize = 1000;

/// Files of this machine.
#[derive(Debug, Clone, Default)]
pub struct LocalStorage {
    written: Arc<AtomicU64>,
}

impl LocalStorage {
    /// Storage over the whole file system.
    pub fn new() -> Self {
        Self::default()
    }

    /// A name beside `path` that nobody has: a process has its number, and counts.
    fn temporary_name(&self, path: &Path) -> PathBuf {
        let count = self.written.fetch_add(1, Ordering::Relaxed);
        let mut name = path.as_os_str().to_owned();
        name.push(format!(".{}-{count}.tmp", process::id()));
        PathBuf::from(name)
    }

    /// Opens a fresh temporary file for `path`, and makes the folders above it.
    fn create_temporary(&self, path: &Path) -> io::Result<(PathBuf, fs::File)> {
        let mut folders_made = false;
        loop {
            let temporary = self.temporary_name(path);
            match fs::OpenOptions::new()
                .write(true)
                .create_new(true)
                .open(&temporary)
            {
                Ok(file) => return Ok((temporary, file)),
                // Left by a process of the same number that died.
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                // Also where another writer has made the folders since: whether they are there now says nothing about
                // the try that failed.
                Err(error) if error.kind() == io::ErrorKind::NotFound && !folders_made => {
                    let Some(parent) = path.parent() else {
                        return Err(error);
                    };
                    fs::create_dir_all(parent)?;
                    folders_made = true;
                }
                Err(error) => return Err(error),
            }
        }
    }

    fn put_blocking(&self, path: &Path, content: &[u8], mode: PutMode) -> io::Result<()> {
        if mode == PutMode::CreateOnly && path.exists() {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        let (temporary, mut file) = self.create_temporary(path)?;
        let published = file.write_all(content).and_then(|()| match mode {
            PutMode::Overwrite => fs::rename(&temporary, path),
            // A link fails where the name is taken: of several at once exactly one wins.
            PutMode::CreateOnly => fs::hard_link(&temporary, path),
        });
        if published.is_err() || mode == PutMode::CreateOnly {
            // A leftover is found by its name; failing to remove it changes nothing about the outcome.
            let _ = fs::remove_file(&temporary);
        }
        match published {
            // Some file systems know no links. There a reader may see the file before it is whole.
            Err(error) if mode == PutMode::CreateOnly && has_no_links(&error) => {
                fs::OpenOptions::new()
                    .write(true)
                    .create_new(true)
                    .open(path)
                    .and_then(|mut file| file.write_all(content))
            }
            published => published,
        }
    }
}

fn has_no_links(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::Unsupported | io::ErrorKind::PermissionDenied
    )
}

#[async_trait]
impl Storage for LocalStorage {
    async fn info(&self, location: &str) -> Result<ObjectInfo, StorageError> {
        let path = Location::local(location, "look at")?;
        blocking("look at", location, move || {
            let metadata = fs::metadata(path)?;
            if metadata.is_dir() {
                return Err(io::ErrorKind::NotFound.into());
            }
            Ok(ObjectInfo {
                size: Bytes(metadata.len()),
                modified: modified(&metadata),
                archived: false,
            })
        })
        .await
    }

    async fn read(&self, location: &str) -> Result<Buffer, StorageError> {
        let path = Location::local(location, "read")?;
        blocking("read", location, move || fs::read(path).map(Buffer::from)).await
    }

    async fn read_range(&self, location: &str, range: Range<u64>) -> Result<Buffer, StorageError> {
        let mut buffers = self.read_ranges(location, &[range]).await?;
        Ok(buffers.pop().unwrap_or_default())
    }

    async fn read_ranges(
        &self,
        location: &str,
        ranges: &[Range<u64>],
    ) -> Result<Vec<Buffer>, StorageError> {
        let path = Location::local(location, "read")?;
        let ranges = ranges.to_vec();
        blocking("read", location, move || {
            let mut file = fs::File::open(path)?;
            let size = file.metadata()?.len();
            ranges
                .into_iter()
                .map(|range| read_exactly(&mut file, size, range))
                .collect()
        })
        .await
    }

    async fn put(
        &self,
        location: &str,
        content: Buffer,
        mode: PutMode,
        _options: &WriteOptions,
    ) -> Result<(), StorageError> {
        let path = Location::local(location, "write")?;
        let storage = self.clone();
        blocking("write", location, move || {
            storage.put_blocking(&path, &content, mode)
        })
        .await
    }

    async fn writer(
        &self,
        location: &str,
        _options: &WriteOptions,
    ) -> Result<Box<dyn ObjectWriter>, StorageError> {
        let path = Location::local(location, "write")?;
        let storage = self.clone();
        let target = path.clone();
        let (temporary, file) =
            blocking("write", location, move || storage.create_temporary(&target)).await?;
        Ok(Box::new(LocalWriter {
            location: location.to_owned(),
            path,
            temporary: TemporaryFile(Some(temporary)),
            file: Some(file),
            size: 0,
        }))
    }

    fn copies(&self, source: &str) -> Option<Bytes> {
        Location::local(source, "copy").ok().map(|_| LEAST_COPIED)
    }

    async fn list(&self, prefix: &str, next: Option<&str>) -> Result<ListPage, StorageError> {
        let Location::Local {
            prefix: scheme,
            path,
        } = Location::parse(prefix, "list")?
        else {
            return Err(crate::location::invalid(
                prefix,
                "list",
                "it is not a local file",
            ));
        };
        let (scheme, path) = (scheme.to_owned(), path.to_owned());
        let after = next.map(str::to_owned);
        blocking("list", prefix, move || {
            list::page(&scheme, &path, after.as_deref(), PAGE)
        })
        .await
    }

    async fn list_after(
        &self,
        prefix: &str,
        after: Option<&str>,
    ) -> Result<ListPage, StorageError> {
        // A page's own mark is the path of its last file.
        let path = |location| Location::local(location, "list");
        let after = after.map(path).transpose()?;
        let after = after.as_deref().and_then(Path::to_str);
        let mut page = self.list(prefix, after).await?;
        page.next = page
            .next
            .and(page.objects.last().map(|last| last.location.clone()));
        Ok(page)
    }

    async fn folders(&self, folder: &str) -> Result<Vec<String>, StorageError> {
        let path = Location::local(folder, "list")?;
        blocking("list", folder, move || list::folders(&path)).await
    }

    async fn delete(&self, locations: &[String]) -> Vec<DeleteOutcome> {
        let mut outcomes = Vec::with_capacity(locations.len());
        for location in locations {
            outcomes.push(DeleteOutcome {
                location: location.clone(),
                result: delete_one(location).await,
            });
        }
        outcomes
    }
}

async fn delete_one(location: &str) -> Result<(), StorageError> {
    let path = Location::local(location, "delete")?;
    let deleted = blocking("delete", location, move || fs::remove_file(path)).await;
    match deleted {
        Err(error) if error.kind == StorageErrorKind::NotFound => Ok(()),
        deleted => deleted,
    }
}

fn read_exactly(file: &mut fs::File, size: u64, range: Range<u64>) -> io::Result<Buffer> {
    if range.start > range.end || range.end > size {
        return Err(io::Error::new(
            io::ErrorKind::UnexpectedEof,
            format!("bytes {}..{} of {size}", range.start, range.end),
        ));
    }
    let length = usize::try_from(range.end - range.start).map_err(io::Error::other)?;
    let mut buffer = Vec::with_capacity(length);
    file.seek(SeekFrom::Start(range.start))?;
    file.take(range.end - range.start)
        .read_to_end(&mut buffer)?;
    if buffer.len() < length {
        // It was cut between the question for its size and now.
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok(Buffer::from(buffer))
}

/// Adds a part of another file; within one file system the kernel does it alone.
fn append(file: &mut fs::File, from: &Path, range: Range<u64>) -> io::Result<()> {
    let length = range.end.saturating_sub(range.start);
    let mut from = fs::File::open(from)?;
    from.seek(SeekFrom::Start(range.start))?;
    match io::copy(&mut from.take(length), file)? {
        copied if copied == length => Ok(()),
        copied => Err(io::Error::new(
            io::ErrorKind::UnexpectedEof,
            format!("{copied} of the bytes {}..{}", range.start, range.end),
        )),
    }
}

fn modified(metadata: &fs::Metadata) -> TimestampMs {
    let since_epoch = metadata
        .modified()
        .ok()
        .and_then(|modified| modified.duration_since(UNIX_EPOCH).ok())
        .unwrap_or_default();
    TimestampMs(i64::try_from(since_epoch.as_millis()).unwrap_or(i64::MAX))
}

/// Runs file operations where they may block, and says what became of them.
async fn blocking<T: Send + 'static>(
    action: &'static str,
    location: &str,
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> Result<T, StorageError> {
    let result = match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(error) => Err(io::Error::other(error)),
    };
    result.map_err(|error| StorageError {
        kind: kind_of(&error),
        action,
        location: location.to_owned(),
        source: Some(Box::new(error)),
    })
}

fn kind_of(error: &io::Error) -> StorageErrorKind {
    match error.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory | io::ErrorKind::IsADirectory => {
            StorageErrorKind::NotFound
        }
        io::ErrorKind::AlreadyExists => StorageErrorKind::AlreadyExists,
        io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => {
            StorageErrorKind::PermissionDenied
        }
        io::ErrorKind::UnexpectedEof => StorageErrorKind::OutOfRange,
        io::ErrorKind::InvalidInput | io::ErrorKind::InvalidFilename => {
            StorageErrorKind::InvalidLocation
        }
        _ => StorageErrorKind::Other,
    }
}

/// A temporary file that goes away with its owner unless it was given its final name.
#[derive(Debug)]
struct TemporaryFile(Option<PathBuf>);

impl Drop for TemporaryFile {
    fn drop(&mut self) {
        if let Some(path) = self.0.take() {
            // Failing leaves a file that is found by its name.
            let _ = fs::remove_file(path);
        }
    }
}

/// A file that is being written under its temporary name.
#[derive(Debug)]
struct LocalWriter {
    location: String,
    path: PathBuf,
    temporary: TemporaryFile,
    /// `None` only while a write is under way, or after one failed.
    file: Option<fs::File>,
    size: u64,
}

impl LocalWriter {
    fn broken(&self) -> StorageError {
        StorageError {
            kind: StorageErrorKind::Other,
            action: "write",
            location: self.location.clone(),
            source: Some("an earlier write of this file failed".into()),
        }
    }
}

#[async_trait]
impl ObjectWriter for LocalWriter {
    async fn write(&mut self, content: Buffer) -> Result<(), StorageError> {
        let mut file = self.file.take().ok_or_else(|| self.broken())?;
        self.size += content.len() as u64;
        let file = blocking("write", &self.location, move || {
            file.write_all(&content)?;
            Ok(file)
        })
        .await?;
        self.file = Some(file);
        Ok(())
    }

    fn lead(&self, _length: u64) -> u64 {
        0
    }

    async fn copy(&mut self, source: &str, range: Range<u64>) -> Result<(), StorageError> {
        let from = Location::local(source, "copy")?;
        let mut file = self.file.take().ok_or_else(|| self.broken())?;
        self.size += range.end.saturating_sub(range.start);
        let file = blocking("copy", source, move || {
            append(&mut file, &from, range)?;
            Ok(file)
        })
        .await?;
        self.file = Some(file);
        Ok(())
    }

    async fn finish(&mut self) -> Result<Bytes, StorageError> {
        if self.file.take().is_none() {
            return Err(self.broken());
        }
        let path = self.path.clone();
        let temporary = TemporaryFile(self.temporary.0.take());
        blocking("write", &self.location, move || {
            let mut temporary = temporary;
            if let Some(written) = &temporary.0 {
                fs::rename(written, path)?;
            }
            temporary.0 = None;
            Ok(())
        })
        .await?;
        Ok(Bytes(self.size))
    }

    async fn abort(mut self: Box<Self>) -> Result<(), StorageError> {
        let Some(temporary) = self.temporary.0.take() else {
            return Ok(());
        };
        blocking("write", &self.location, move || fs::remove_file(temporary)).await
    }
}

#[cfg(test)]
mod tests;
