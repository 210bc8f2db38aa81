//! One visit to a table: what it is made with, and how it ends where nothing is done.

use icepress_coordination::{Conclusion, CoordinationError, Lease, QueueDepth, TableRow};
use icepress_model::{BucketId, ProcessKind, TimestampMs};
use tokio::sync::OnceCell;

use super::{
    limits::Blockers,
    waiting::{Obstacle, no_longer_waiting},
};
use crate::{About, Context, Deadline, Event};

/// What is the same for all tables that are visited together.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Visit<'a> {
    /// Under which they are.
    pub(crate) lease: &'a Lease,
    /// Of all of their catalogs.
    pub(crate) blockers: &'a Blockers,
    /// What lies in the queues.
    pub(crate) depth: &'a Depth,
    /// When it has to end.
    pub(crate) deadline: Deadline,
    /// Whether there is one table only.
    pub(crate) alone: bool,
}

/// What is known of the bucket's queue while a page of tables is visited.
#[derive(Debug, Default)]
pub(crate) struct Depth {
    /// Of whose queue.
    kind: ProcessKind,
    /// What lies in it: asked once, and only where that decides anything.
    asked: OnceCell<Option<QueueDepth>>,
}

impl Depth {
    pub(super) fn of_kind(kind: ProcessKind) -> Self {
        Self {
            kind,
            ..Self::default()
        }
    }

    /// `None` where the queue does not say: then nothing counts as lost by it.
    pub(super) async fn of(&self, context: &Context, bucket: BucketId) -> Option<QueueDepth> {
        let asked = self.asked.get_or_init(|| async {
            match context.queue_of(self.kind)?.depth(bucket).await {
                Ok(depth) => Some(depth),
                Err(error) => {
                    context.tell(Event::Notice {
                        about: About::NONE,
                        message: format!(
                            "whether tasks of bucket {bucket} are lost can't be told: {error}"
                        ),
                    });
                    None
                }
            }
        });
        *asked.await
    }
}

/// What came of a visit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Visited {
    /// The table was seen to.
    Done,
    /// It has to be seen to by itself, once the others are served.
    Doubtful,
}

/// Leaves a table as it is for a time, and says why.
pub(super) async fn wait(
    context: &Context,
    lease: &Lease,
    row: &TableRow,
    obstacle: &Obstacle,
) -> Result<(), CoordinationError> {
    context.tell(Event::Waiting {
        table: row.table.clone(),
        task: None,
        waits_for: obstacle.waits_for,
        reason: obstacle.reason.clone(),
        until: obstacle.until,
    });
    let conclusion = obstacle.conclusion(context, row);
    context.store.conclude(lease, row, &conclusion).await
}

pub(super) async fn look_again_later(
    context: &Context,
    lease: &Lease,
    row: &TableRow,
) -> Result<(), CoordinationError> {
    let next_look = context.ambient.now() + context.settings.check_interval;
    look_again_at(context, lease, row, next_look).await
}

pub(super) async fn look_again_at(
    context: &Context,
    lease: &Lease,
    row: &TableRow,
    next_look: TimestampMs,
) -> Result<(), CoordinationError> {
    let conclusion = Conclusion {
        evaluated_location: None,
        text: no_longer_waiting(row),
        next_due_at: Some(next_look),
        failures: row.failures,
    };
    context.store.conclude(lease, row, &conclusion).await
}
