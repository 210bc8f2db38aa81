//! Errands within one process: what a tick hands out, tasks of the same process do.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, PoisonError},
};

use async_trait::async_trait;
use icepress_coordination::{CoordinationError, Errand, Errands};
use tokio::task::JoinSet;

use super::Stop;
use crate::{Context, Deadline, run_errand};

/// Errands that nobody has taken yet.
#[derive(Debug, Clone, Default)]
pub(super) struct OwnErrands(Arc<Mutex<VecDeque<Errand>>>);

impl OwnErrands {
    /// From now on, what a tick of this context has no time for is left here.
    pub(super) fn of(context: &mut Context) -> Self {
        let errands = Self::default();
        context.errands = Some(Arc::new(errands.clone()));
        errands
    }

    /// Does all of them, and those that come of them, so many at once.
    pub(super) async fn run_all(
        &self,
        context: &Context,
        at_once: usize,
        stop: &Stop,
    ) -> Result<(), CoordinationError> {
        let mut working = JoinSet::new();
        loop {
            while working.len() < at_once.max(1)
                && !stop.requested()
                && let Some(errand) = self.take()
            {
                let context = context.clone();
                working.spawn(async move { run_errand(&context, &errand, Deadline::NONE).await });
            }
            match working.join_next().await {
                None => return Ok(()),
                Some(Ok(result)) => result?,
                Some(Err(panicked)) => std::panic::resume_unwind(panicked.into_panic()),
            }
        }
    }

    fn take(&self) -> Option<Errand> {
        let mut errands = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        errands.pop_front()
    }
}

#[async_trait]
impl Errands for OwnErrands {
    async fn waiting(&self) -> Result<u64, CoordinationError> {
        let errands = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(errands.len() as u64)
    }

    async fn leave(&self, errands: &[Errand]) -> Result<u64, CoordinationError> {
        let mut waiting = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        waiting.extend(errands.iter().cloned());
        Ok(errands.len() as u64)
    }
}
