//! Somebody who is asked right before each swap whether it may be made, and until when.

use std::{fmt::Debug, future::poll_fn, pin::pin, task::Poll, time::Duration};

use async_trait::async_trait;
use icepress_model::ambient::Clock;

/// Asked after everything is written and before the catalog is told.
#[async_trait]
pub trait Gatekeeper: Send + Sync + Debug {
    /// Why the swap may not be made now, in one line; `None` where it may. What was written for it is deleted then, and
    /// the commit fails with [`super::CommitFailure::HeldBack`].
    async fn objection(&self) -> Option<String>;

    /// Until when the swap may be sent for which there was no objection, on the monotonic clock: a catalog may have to
    /// write a file and wait for a lock before. `None` where there is no end.
    fn sent_until(&self) -> Option<Duration> {
        None
    }
}

/// Never objects.
#[derive(Debug, Clone, Copy)]
pub struct NoObjection;

#[async_trait]
impl Gatekeeper for NoObjection {
    async fn objection(&self) -> Option<String> {
        None
    }
}

/// Works on something as long as there is time, and drops it then. What it sends, it sends when it is polled; so nothing
/// is sent later, however long the work was kept waiting, or this process. It needs no timer: work that waits for ever
/// sends nothing.
pub async fn until<T>(
    end: Option<Duration>,
    clock: &dyn Clock,
    work: impl Future<Output = T>,
) -> Option<T> {
    let mut work = pin!(work);
    poll_fn(|context| {
        if end.is_some_and(|end| clock.monotonic() >= end) {
            return Poll::Ready(None);
        }
        work.as_mut().poll(context).map(Some)
    })
    .await
}
