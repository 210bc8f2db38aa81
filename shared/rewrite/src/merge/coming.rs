//! A row group on its way: fetched once there is room for it, and its columns joined by as many threads as there are, also while
//! the one before it is still being written.

use std::{future::Future, pin::Pin, sync::Arc};

use futures::{Stream, StreamExt as _, stream};
use tokio::{
    sync::{Mutex, Notify, Semaphore, oneshot},
    task::{JoinHandle, spawn_blocking},
};

use super::{MergedChunk, Sound, Stopped, inputs::Fetched, refused};
use crate::failure::Result;

/// Makes the chunks of a column, one a leaf, of what was fetched.
pub(super) trait Join: Send + Sync + 'static {
    /// How many columns there are.
    fn columns(&self) -> usize;
    fn chunks(&self, column: usize, fetched: &[Fetched]) -> Sound<Vec<MergedChunk>>;
    /// Whether that is so little work that no thread is worth being woken for it.
    fn is_little(&self, fetched: &[Fetched]) -> bool;
}

type Chunks = std::result::Result<Vec<MergedChunk>, Stopped>;
type Fetch = Pin<Box<dyn Future<Output = Result<Vec<Fetched>>> + Send>>;

/// The threads that join columns, shared by row groups.
#[derive(Debug, Clone)]
pub(super) struct Threads {
    count: usize,
    free: Arc<Semaphore>,
    /// Whose columns are begun: row groups take turns, so that none takes threads from the one before it.
    turn: Arc<Mutex<()>>,
}

impl Threads {
    pub(super) fn new(count: usize) -> Self {
        Self {
            count,
            free: Arc::new(Semaphore::new(count)),
            turn: Arc::default(),
        }
    }

    /// Begins a row group once `room` is there; `fetch` brings what it is made of.
    pub(super) fn begin(&self, join: Arc<impl Join>, room: Arc<Notify>, fetch: Fetch) -> Coming {
        let fetch = async move {
            room.notified().await;
            fetch.await
        };
        match self.count {
            // Nothing may depend on how fast another thread is: columns are joined when they are asked for.
            1 => Self::begin_alone(join, fetch),
            _ => self.begin_on_all(join, fetch),
        }
    }

    fn begin_alone(
        join: Arc<impl Join>,
        fetch: impl Future<Output = Result<Vec<Fetched>>> + Send + 'static,
    ) -> Coming {
        let (sender, receiver) = oneshot::channel();
        let work = tokio::spawn(async move {
            // Nobody waits for it where the merge is over.
            let _ = sender.send(fetch.await);
        });
        let chunks = async move {
            let fetched = receiver
                .await
                .map_err(|_| refused("fetching was interrupted"))??;
            let columns = (0..join.columns()).map(move |column| Ok(join.chunks(column, &fetched)?));
            Ok::<_, Stopped>(stream::iter(columns))
        };
        let chunks = stream::once(chunks).flat_map(|begun| match begun {
            Ok(columns) => columns.left_stream(),
            Err(stopped) => stream::iter([Err(stopped)]).right_stream(),
        });
        Coming {
            chunks: chunks.boxed(),
            work,
        }
    }

    fn begin_on_all(
        &self,
        join: Arc<impl Join>,
        fetch: impl Future<Output = Result<Vec<Fetched>>> + Send + 'static,
    ) -> Coming {
        let places = (0..join.columns()).map(|_| oneshot::channel::<Chunks>());
        let (senders, receivers): (Vec<_>, Vec<_>) = places.unzip();
        let (free, turn) = (Arc::clone(&self.free), Arc::clone(&self.turn));
        let work = tokio::spawn(async move {
            let mut senders = senders.into_iter();
            let fetched = match fetch.await {
                // Nothing of it is live, and nobody asks for its columns.
                Ok(fetched) if fetched.is_empty() => return,
                Ok(fetched) => Arc::new(fetched),
                Err(failure) => {
                    if let Some(first) = senders.next() {
                        let _ = first.send(Err(failure.into()));
                    }
                    return;
                }
            };
            let _turn = turn.lock().await;
            if join.is_little(&fetched) {
                for (column, sender) in senders.enumerate() {
                    let chunks = join.chunks(column, &fetched);
                    let _ = sender.send(chunks.map_err(Stopped::from));
                }
                return;
            }
            for (column, sender) in senders.enumerate() {
                // It is never closed.
                let Ok(thread) = Arc::clone(&free).acquire_owned().await else {
                    return;
                };
                let (join, fetched) = (Arc::clone(&join), Arc::clone(&fetched));
                spawn_blocking(move || {
                    let chunks = join.chunks(column, &fetched);
                    drop((fetched, thread));
                    let _ = sender.send(chunks.map_err(Stopped::from));
                });
            }
        });
        let chunks = stream::iter(receivers).then(|place| async {
            place
                .await
                .unwrap_or_else(|_| Err(refused("joining a column was interrupted").into()))
        });
        Coming {
            chunks: chunks.boxed(),
            work,
        }
    }
}

/// A row group that was begun. Dropped, it ends.
pub(super) struct Coming {
    chunks: stream::BoxStream<'static, Chunks>,
    work: JoinHandle<()>,
}

impl Coming {
    /// Its columns, in order, leaf by leaf.
    pub(super) fn chunks(
        &mut self,
    ) -> impl Stream<Item = std::result::Result<MergedChunk, Stopped>> + Send + use<'_> {
        (&mut self.chunks).flat_map(|column| match column {
            Ok(leaves) => stream::iter(leaves).map(Ok).left_stream(),
            Err(stopped) => stream::iter([Err(stopped)]).right_stream(),
        })
    }
}

impl Drop for Coming {
    fn drop(&mut self) {
        self.work.abort();
    }
}
