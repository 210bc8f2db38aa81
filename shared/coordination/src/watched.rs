//! Tables that somebody has to look at now or later, of many buckets: however many tables there are at rest, none of their
//! rows is read, and no more than a page of a few buckets is in memory.

use std::{collections::VecDeque, fmt, sync::Arc};

use futures::{
    StreamExt as _, future,
    stream::{self, BoxStream},
};
use icepress_model::BucketId;

use crate::{CoordinationError, StateStore, TableRow};

type Result<T> = std::result::Result<T, CoordinationError>;

/// Buckets that are read at the same time.
const BUCKETS_AT_ONCE: usize = 16;

/// The tables, in no order.
pub struct Watched {
    pages: BoxStream<'static, Result<Vec<Result<TableRow>>>>,
    /// Of the page that was read last.
    rows: VecDeque<Result<TableRow>>,
}

impl Watched {
    /// The watched tables of these buckets; nothing is read yet.
    pub fn new(
        store: &Arc<dyn StateStore>,
        buckets: impl Iterator<Item = BucketId> + Send + 'static,
    ) -> Self {
        let store = Arc::clone(store);
        let of_bucket = move |bucket| pages(Arc::clone(&store), bucket).boxed();
        Self {
            pages: stream::iter(buckets)
                .map(of_bucket)
                .flatten_unordered(BUCKETS_AT_ONCE)
                .boxed(),
            rows: VecDeque::new(),
        }
    }

    /// The next table, or why its row can't be had; `None` after the last.
    pub async fn next(&mut self) -> Result<Option<Result<TableRow>>> {
        loop {
            if let Some(row) = self.rows.pop_front() {
                return Ok(Some(row));
            }
            match self.pages.next().await {
                Some(page) => self.rows = page?.into(),
                None => return Ok(None),
            }
        }
    }
}

impl fmt::Debug for Watched {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Watched")
            .field("rows", &self.rows)
            .finish_non_exhaustive()
    }
}

/// The pages of one bucket, one after another.
fn pages(
    store: Arc<dyn StateStore>,
    bucket: BucketId,
) -> impl stream::Stream<Item = Result<Vec<Result<TableRow>>>> + Send {
    // The begin of the first page is nowhere; after the last there is none.
    let first = Some(None::<String>);
    stream::unfold(first, move |from| {
        let store = Arc::clone(&store);
        async move {
            let from = from?;
            match store.watched_page(bucket, from.as_deref()).await {
                Ok(page) => Some((Ok(page.rows), page.next.map(Some))),
                Err(error) => Some((Err(error), None)),
            }
        }
    })
    .filter(|page| future::ready(page.as_ref().is_ok_and(|rows| !rows.is_empty()) || page.is_err()))
}
