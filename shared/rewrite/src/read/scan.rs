//! Files one after the other, fetched ahead of the decoder as far as memory allows.
//!
//! Order is kept: pieces come as the files are listed, and the row groups as they lie in the file. Footers and
//! column data are fetched by tasks of their own, so that they arrive while the piece before is being worked on.

use std::{collections::VecDeque, sync::Arc};

use bytes::Bytes;
use futures::FutureExt as _;
use icepress_model::RewriteFailureKind;
use tokio::task::JoinHandle;

use super::{
    Reading,
    content::FileBytes,
    open::{OpenFile, SourceFile, open},
    pages::Pages,
};
use crate::{
    failure::{Result, failure, from_read, guarded, over_memory},
    memory::{Gauge, Held, Shares},
    project::Wanted,
};

/// How many requests are under way at most.
const REQUESTS: usize = 16;
/// What the footer of a larger file is counted as while it is read.
const FOOTER_COST: u64 = 64 << 10;

/// A piece of a file in memory, ready to be decoded.
#[derive(Debug)]
pub(crate) struct Piece {
    /// The file's index in the list.
    pub(crate) file: usize,
    /// The file.
    pub(crate) opened: Arc<OpenFile>,
    /// Its row groups that are here, in order.
    pub(crate) row_groups: Vec<usize>,
    /// The bytes that hold them.
    pub(crate) bytes: FileBytes,
    /// Bytes of the largest dictionary among its pages.
    pub(crate) dictionary: u64,
    /// Counts them, and what decoding them holds, as held.
    held: Held,
}

impl Piece {
    /// A row group of a file whose columns to read are in `bytes`.
    pub(crate) fn in_memory(
        opened: Arc<OpenFile>,
        row_group: usize,
        bytes: FileBytes,
    ) -> Result<Self> {
        let row_groups = vec![row_group];
        let pages = guarded(&opened.path, || Pages::of(&opened, &row_groups, &bytes))?;
        Ok(Self {
            file: 0,
            opened,
            row_groups,
            bytes,
            dictionary: pages.dictionary,
            held: Gauge::default().hold(pages.held),
        })
    }

    /// The same piece, of which only what is `wanted` is decoded: nothing beyond what was wanted of it before.
    pub(crate) fn only(mut self, wanted: &Wanted) -> Result<Self> {
        self.opened = Arc::new(self.opened.only(wanted)?);
        Ok(self)
    }

    /// Bytes that the piece holds, and those that its decoder holds beside batches.
    pub(crate) fn held(&self) -> u64 {
        self.held.bytes()
    }
}

/// A task that ends when nobody waits for it any more.
#[derive(Debug)]
struct Task<T>(JoinHandle<T>);

impl<T> Drop for Task<T> {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl<T: Send + 'static> Task<T> {
    fn start(future: impl Future<Output = T> + Send + 'static) -> Self {
        Self(tokio::spawn(future))
    }
}

async fn join<T>(task: &mut Task<Result<T>>) -> Result<T> {
    match (&mut task.0).await {
        Ok(result) => result,
        Err(error) => Err(failure(
            RewriteFailureKind::Transient,
            format!("reading was interrupted: {error}"),
        )),
    }
}

#[derive(Debug)]
struct Opening {
    file: usize,
    held: Held,
    task: Task<Result<(OpenFile, Option<Bytes>)>>,
}

#[derive(Debug)]
struct Fetching {
    file: usize,
    opened: Arc<OpenFile>,
    row_groups: Vec<usize>,
    held: Held,
    source: Source,
}

#[derive(Debug)]
enum Source {
    Here(FileBytes),
    Coming(Task<Result<FileBytes>>),
}

/// Reads a list of files in order.
#[derive(Debug)]
pub(crate) struct Scan {
    reading: Arc<Reading>,
    files: Vec<SourceFile>,
    shares: Shares,
    gauge: Gauge,
    next_file: usize,
    opening: VecDeque<Opening>,
    /// Row groups of the file that was opened last, not yet asked for.
    waiting: VecDeque<(usize, Arc<OpenFile>, usize)>,
    fetching: VecDeque<Fetching>,
    row_groups_seen: u64,
}

impl Scan {
    /// Reads `files`, holding at most what `shares` allow.
    pub(crate) fn new(reading: Arc<Reading>, files: Vec<SourceFile>, shares: Shares) -> Self {
        Self {
            reading,
            files,
            shares,
            gauge: Gauge::default(),
            next_file: 0,
            opening: VecDeque::new(),
            waiting: VecDeque::new(),
            fetching: VecDeque::new(),
            row_groups_seen: 0,
        }
    }

    /// How many row groups with rows the files have that were opened so far.
    pub(crate) fn row_groups_seen(&self) -> u64 {
        self.row_groups_seen
    }

    /// The next piece; `None` after the last. A file without rows has no piece.
    pub(crate) async fn next(&mut self) -> Result<Option<Piece>> {
        loop {
            self.look_ahead()?;
            if let Some(mut fetching) = self.fetching.pop_front() {
                let bytes = match &mut fetching.source {
                    Source::Here(bytes) => bytes.clone(),
                    Source::Coming(task) => join(task).await?,
                };
                return self.piece(fetching, bytes).map(Some);
            }
            let Some(mut opening) = self.opening.pop_front() else {
                return Ok(None);
            };
            let (opened, whole) = join(&mut opening.task).await?;
            self.opened(opening.file, opened, whole, opening.held);
        }
    }

    /// What has arrived, once it is known that memory has room to decode it.
    fn piece(&self, fetching: Fetching, bytes: FileBytes) -> Result<Piece> {
        let mut held = fetching.held;
        let pages = guarded(&fetching.opened.path, || {
            Pages::of(&fetching.opened, &fetching.row_groups, &bytes)
        })?;
        held.grow(pages.held);
        if held.bytes() > self.shares.piece
            && let Some(widest) = &pages.widest
        {
            return Err(over_memory(format!(
                "{} takes {} to be decoded, most of them ({}) for {}, more than the {} that a cap of {} leaves for it: give \
                 the optimizer more memory",
                fetching.opened.path,
                icepress_model::Bytes(held.bytes()),
                icepress_model::Bytes(widest.bytes),
                widest.what(),
                icepress_model::Bytes(self.shares.piece),
                icepress_model::Bytes(self.shares.cap),
            )));
        }
        Ok(Piece {
            file: fetching.file,
            opened: fetching.opened,
            row_groups: fetching.row_groups,
            bytes,
            dictionary: pages.dictionary,
            held,
        })
    }

    /// Starts what memory has room for. Never waits; called again between batches, it notices what has arrived.
    pub(crate) fn look_ahead(&mut self) -> Result<()> {
        loop {
            self.fetch_waiting()?;
            if !self.waiting.is_empty() {
                break;
            }
            let arrived = match self.opening.front_mut() {
                Some(opening) if opening.task.0.is_finished() => {
                    join(&mut opening.task).now_or_never()
                }
                _ => None,
            };
            match (arrived, self.opening.front()) {
                (Some(result), Some(_)) => {
                    let (opened, whole) = result?;
                    if let Some(opening) = self.opening.pop_front() {
                        self.opened(opening.file, opened, whole, opening.held);
                    }
                }
                _ => break,
            }
        }
        self.open_more()
    }

    fn idle(&self) -> bool {
        self.opening.is_empty() && self.waiting.is_empty() && self.fetching.is_empty()
    }

    fn open_more(&mut self) -> Result<()> {
        while let Some(file) = self.files.get(self.next_file) {
            let cost = if file.size <= self.shares.small_file {
                file.size
            } else {
                FOOTER_COST
            };
            let busy = self.opening.len() + self.fetching.len() >= REQUESTS
                || self.gauge.held() + cost > self.shares.ahead;
            if busy && !self.idle() {
                return Ok(());
            }
            if cost > self.shares.piece {
                return Err(self.too_large(&file.path, cost));
            }
            let reading = Arc::clone(&self.reading);
            let source = file.clone();
            let whole = file.size <= self.shares.small_file;
            let most = self.shares.piece;
            self.opening.push_back(Opening {
                file: self.next_file,
                held: self.gauge.hold(cost),
                task: Task::start(async move { open(&reading, &source, whole, most).await }),
            });
            self.next_file += 1;
        }
        Ok(())
    }

    fn opened(&mut self, file: usize, opened: OpenFile, whole: Option<Bytes>, held: Held) {
        let opened = Arc::new(opened);
        let row_groups = opened.row_groups.clone();
        self.row_groups_seen += row_groups.len() as u64;
        match whole {
            Some(content) if !row_groups.is_empty() => self.fetching.push_back(Fetching {
                file,
                opened,
                row_groups,
                held,
                source: Source::Here(FileBytes::whole(content)),
            }),
            Some(_) => {}
            None => self.waiting.extend(
                row_groups
                    .into_iter()
                    .map(|group| (file, Arc::clone(&opened), group)),
            ),
        }
    }

    fn fetch_waiting(&mut self) -> Result<()> {
        while let Some((file, opened, group)) = self.waiting.front() {
            let ranges = opened.ranges(*group)?;
            let cost = ranges.iter().map(|range| range.end - range.start).sum();
            let busy =
                self.fetching.len() >= REQUESTS || self.gauge.held() + cost > self.shares.ahead;
            if busy && !self.fetching.is_empty() {
                return Ok(());
            }
            if cost > self.shares.piece {
                return Err(self.too_large(&opened.path, cost));
            }
            let storage = Arc::clone(&self.reading.storage);
            let source = Arc::clone(opened);
            let fetching = Fetching {
                file: *file,
                opened: Arc::clone(opened),
                row_groups: vec![*group],
                held: self.gauge.hold(cost),
                source: Source::Coming(Task::start(async move {
                    let contents = storage
                        .read_ranges(&source.path, &ranges)
                        .await
                        .map_err(|error| from_read(&error, &source.path))?;
                    Ok(FileBytes::parts(source.size, &ranges, contents))
                })),
            };
            self.fetching.push_back(fetching);
            self.waiting.pop_front();
        }
        Ok(())
    }

    fn too_large(&self, path: &str, cost: u64) -> icepress_model::RewriteFailure {
        over_memory(format!(
            "{path} has a row group of {}, more than the {} that a cap of {} leaves for one: give the optimizer more \
             memory",
            icepress_model::Bytes(cost),
            icepress_model::Bytes(self.shares.piece),
            icepress_model::Bytes(self.shares.cap),
        ))
    }
}
