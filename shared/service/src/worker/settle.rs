//! What a task comes to: its result is kept and reported, its failure reported, or the task given back.

use std::{sync::Arc, time::Duration};

use icepress_coordination::{CoordinationError, GivenBack, Payload, ReportOutcome, TaskRow};
use icepress_model::{Attempt, RewriteFailure, RewriteFailureKind, TableId, TaskId};
use serde::Serialize;

use super::{patience::Patience, payload};
use crate::{About, Context, Deadline, Event, WaitsFor};

/// What became of a message.
pub(super) enum Worked {
    Reported(ReportOutcome),
    GivenBack(Duration),
    /// Somebody asked for fewer requests: another message is sent for it later.
    Waits,
}

/// A task that this worker has claimed.
#[derive(Debug, Clone)]
pub(super) struct Claimed<'a> {
    pub(super) context: &'a Context,
    pub(super) table: &'a TableId,
    pub(super) row: &'a TaskRow,
    /// For how long it waits for whoever asks for fewer requests.
    pub(super) patience: Arc<Patience>,
}

impl Claimed<'_> {
    /// Keeps a result, under `name` where it is too large for the row.
    pub(super) async fn keep<T: Serialize>(
        &self,
        name: &str,
        result: &T,
    ) -> Result<Result<Payload, RewriteFailure>, CoordinationError> {
        let kept = self.while_claimed(async {
            let keep = || payload::keep(self.context, name, result);
            Ok(self.patience.ask(keep).await)
        });
        let kept = kept.await?;
        Ok(kept.map_err(|error| self.transient(&error, "what it came to can't be kept")))
    }

    /// A failure to keep or read a payload.
    pub(super) fn transient(&self, error: &payload::PayloadError, what: &str) -> RewriteFailure {
        RewriteFailure {
            kind: match error.is_throttling() {
                true => RewriteFailureKind::Throttled,
                false => RewriteFailureKind::Transient,
            },
            message: format!(
                "table {}, task {}: {what}: {error}",
                self.table, self.row.task
            ),
        }
    }

    /// Reports what the task came to.
    pub(super) async fn report(
        &self,
        result: Result<Payload, RewriteFailure>,
    ) -> Result<ReportOutcome, CoordinationError> {
        let (store, row) = (&self.context.store, self.row);
        let report = || store.report_task(&row.task, row.attempt, result.clone());
        self.while_claimed(self.patience.ask(report)).await
    }

    /// Does something that may have to wait for longer than the claim lasts.
    async fn while_claimed<T>(
        &self,
        work: impl Future<Output = Result<T, CoordinationError>>,
    ) -> Result<T, CoordinationError> {
        tokio::pin!(work);
        let fenced = keep_claim(self.context, &self.row.task, self.row.attempt);
        tokio::pin!(fenced);
        tokio::select! {
            biased;
            done = &mut work => done,
            error = &mut fenced => Err(error),
        }
    }

    /// Settles a failure: one that is nobody's waits, a passing one gives the task back while tries are left, and any other
    /// ends it.
    pub(super) async fn fail(&self, failure: RewriteFailure) -> Result<Worked, CoordinationError> {
        match failure.kind {
            RewriteFailureKind::Throttled => self.wait(failure.message).await,
            RewriteFailureKind::Transient
                if self.row.tries() < self.context.settings.task_attempts =>
            {
                self.give_back(GivenBack::Tried).await?;
                let rest = self
                    .context
                    .ambient
                    .jitter(super::optimize::REST_AFTER_FAILURE);
                Ok(Worked::GivenBack(rest))
            }
            _ => self.end_as_failed(failure).await,
        }
    }

    /// Gives the task back, to be tried by whoever is sent it.
    pub(super) async fn give_back(
        &self,
        why: GivenBack,
    ) -> Result<ReportOutcome, CoordinationError> {
        let (store, row) = (&self.context.store, self.row);
        let give_back = || store.return_task(&row.task, row.attempt, why);
        self.patience.ask(give_back).await
    }

    /// Leaves the task until whoever looks after the process sends it again. Neither the task's tries nor the queue's receives
    /// are used up for it, however often it happens.
    async fn wait(&self, reason: String) -> Result<Worked, CoordinationError> {
        self.give_back(GivenBack::Waits).await?;
        let settings = &self.context.settings;
        self.context.tell(Event::Waiting {
            table: self.table.clone(),
            task: Some(self.row.task.clone()),
            waits_for: WaitsFor::Requests,
            reason,
            until: Some(self.context.ambient.now() + settings.check_interval),
        });
        Ok(Worked::Waits)
    }

    /// Reports a failure that no further try can change, and lets people know.
    pub(super) async fn end_as_failed(
        &self,
        failure: RewriteFailure,
    ) -> Result<Worked, CoordinationError> {
        let reason = failure.message.clone();
        let outcome = self.report(Err(failure)).await?;
        if let ReportOutcome::Accepted { .. } = outcome {
            self.context.tell(Event::TaskFailed {
                table: self.table.clone(),
                task: self.row.task.clone(),
                kind: self.row.kind,
                reason,
            });
        }
        Ok(Worked::Reported(outcome))
    }
}

/// Prolongs the claim at a third of its length; returns only when it is lost.
pub(super) async fn keep_claim(
    context: &Context,
    task: &TaskId,
    attempt: Attempt,
) -> CoordinationError {
    let ttl = context.settings.claim_ttl;
    loop {
        context.ambient.clock.sleep(ttl / 3).await;
        let until = context.ambient.now() + ttl;
        match context.store.extend_claim(task, attempt, until).await {
            Ok(()) => {}
            Err(error @ CoordinationError::Fenced(_)) => return error,
            // A store that does not answer now may answer before the claim ends; if not, another attempt takes over
            // and our report is refused.
            Err(error) => context.tell(Event::Notice {
                about: About::task(task),
                message: format!("the claim on task {task} could not be prolonged: {error}"),
            }),
        }
    }
}

/// Whether the time until then is nearly all that any invocation has.
pub(super) fn has_all_time(context: &Context, work_until: Deadline) -> bool {
    let settings = &context.settings;
    let left = work_until.left(&context.ambient);
    let all = settings.invocation_limit;
    left.zip(all).is_some_and(|(left, all)| {
        left >= all.saturating_sub(settings.deadline_margin).mul_f64(0.8)
    })
}
