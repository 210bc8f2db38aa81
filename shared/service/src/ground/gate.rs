//! The gate that commits go through: whoever wants to end the process closes it, and knows that no commit is in the
//! middle any more. Everything else that is in hand may be dropped: claims run out, and others take it up.

use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::Notify;

/// The commits of one process. Clones are the same gate.
#[derive(Debug, Clone, Default)]
pub struct CommitGate(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    left: Notify,
}

#[derive(Debug, Default)]
struct State {
    is_closed: bool,
    inside: usize,
}

/// A commit that is in the middle, until this is dropped.
#[derive(Debug)]
pub(crate) struct Inside<'a>(&'a Shared);

impl CommitGate {
    /// Begins a commit. Where the gate is closed, this waits for the process's end.
    pub(crate) async fn enter(&self) -> Inside<'_> {
        let is_closed = self.0.with(|state| {
            if !state.is_closed {
                state.inside += 1;
            }
            state.is_closed
        });
        if is_closed {
            std::future::pending::<()>().await;
        }
        Inside(&self.0)
    }

    /// Lets no commit begin any more, and waits for those that are in the middle.
    pub async fn close(&self) {
        self.0.with(|state| state.is_closed = true);
        loop {
            // Asked for before the look, so that whoever leaves in between is noticed.
            let left = self.0.left.notified();
            if self.0.with(|state| state.inside) == 0 {
                return;
            }
            left.await;
        }
    }
}

impl Shared {
    fn with<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        change(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Drop for Inside<'_> {
    fn drop(&mut self) {
        self.0.with(|state| state.inside -= 1);
        self.0.left.notify_waiters();
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt as _;

    use super::*;

    #[tokio::test]
    async fn a_closed_gate_waits_for_who_is_inside_and_lets_nobody_in() {
        let gate = CommitGate::default();
        let (first, second) = (gate.enter().await, gate.enter().await);
        let closing = gate.clone();
        let mut closed = tokio::spawn(async move { closing.close().await });
        drop(first);
        tokio::task::yield_now().await;
        assert!((&mut closed).now_or_never().is_none(), "one is inside yet");
        assert!(gate.enter().now_or_never().is_none());
        drop(second);
        closed.await.unwrap();
        assert!(gate.enter().now_or_never().is_none());
    }
}
