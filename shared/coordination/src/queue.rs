//! The port for task queues: at least once, in no order.

use std::{
    fmt::{Debug, Display},
    time::Duration,
};

use async_trait::async_trait;
use icepress_model::{BucketId, Epoch, TableId, TaskId};
use serde::{Deserialize, Serialize};

use crate::{CoordinationError, Finding};

type Result<T> = std::result::Result<T, CoordinationError>;

/// What a message carries. The work itself lies in the task's row.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TaskMessage {
    /// The task.
    pub task: TaskId,
    /// Its table: messages of one table form a group, so that one table does not starve the others of its bucket.
    pub table: TableId,
    /// The epoch that it was planned under.
    pub epoch: Epoch,
}

impl TaskMessage {
    /// The message as it stands in a queue: JSON.
    pub fn to_body(&self) -> String {
        serde_json::to_string(self).expect("ids and numbers always have a JSON form")
    }

    /// Reads what [`TaskMessage::to_body`] wrote: also the `body` of a record of a Lambda function's SQS event.
    pub fn from_body(body: &str) -> Result<Self> {
        serde_json::from_str(body).map_err(|error| CoordinationError::UnreadableRow {
            row: format!("message {body:.200}"),
            message: format!("it is no task message: {error}"),
        })
    }
}

/// A message taken from a queue, invisible to others for a time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Received {
    /// The message.
    pub message: TaskMessage,
    /// The queue.
    pub bucket: BucketId,
    /// What the queue wants to see again.
    pub receipt: String,
    /// How often it was received, this time included.
    pub receive_count: u32,
}

/// What lies in a bucket's queue, as far as the queue can tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct QueueDepth {
    /// Messages that wait, that are delayed, or that are out of sight because somebody has them.
    pub messages: u64,
    /// Messages that were received too often. Not counted where there are no others: then they decide nothing.
    pub dead: u64,
    /// How long a message is kept; `None` for as long as nobody takes it away.
    pub retention: Option<Duration>,
    /// How long it takes at the least until a message that nobody answers is among the dead; `None` where each receive
    /// says by itself how long it hides one.
    pub dies_after: Option<Duration>,
}

impl QueueDepth {
    /// Whether a message that was sent so long ago, and whose task nobody has begun, is certainly not on its way: the queue
    /// is empty, or has let go of whatever is as old.
    pub fn has_lost_what_is(&self, old: Duration) -> bool {
        let is_past = |age: Option<Duration>| age.is_some_and(|age| old >= age);
        self.messages == 0 || is_past(self.retention) || (self.dead > 0 && is_past(self.dies_after))
    }
}

/// Queues of tasks, one for each bucket, each with a dead-letter queue.
#[async_trait]
pub trait TaskQueue: Send + Sync + Debug {
    /// The bucket of a queue by its name, as events of functions say it. `None` for queues of others, and where queues
    /// have no names.
    fn bucket_of(&self, _queue: &str) -> Option<BucketId> {
        None
    }

    /// Puts messages into the bucket's queue. Returns one result a message, in order.
    async fn send(&self, bucket: BucketId, messages: &[TaskMessage]) -> Result<Vec<Result<()>>>;

    /// Takes up to `most` messages, waiting up to `wait` for the first; others don't see them for `visibility`.
    /// After too many receives a message goes to the dead-letter queue instead.
    async fn receive(
        &self,
        bucket: BucketId,
        most: usize,
        wait: Duration,
        visibility: Duration,
    ) -> Result<Vec<Received>>;

    /// Acknowledges a message. One that was received by somebody else since, or died, is left alone.
    async fn delete(&self, received: &Received) -> Result<()>;

    /// Lets others see a message after `visibility` from now: zero gives it back at once. One that was received by
    /// somebody else since, or died, is left alone.
    async fn change_visibility(&self, received: &Received, visibility: Duration) -> Result<()>;

    /// What lies in the bucket's queue. Takes nothing.
    async fn depth(&self, bucket: BucketId) -> Result<QueueDepth>;

    /// How many messages wait in the dead-letter queue of a bucket.
    async fn dead_letters(&self, bucket: BucketId) -> Result<u64>;

    /// Moves all dead letters of a bucket back into its queue, to be received as often again; returns how many, as
    /// far as the queue can tell. May go on after it returns.
    ///
    /// What comes back is handled like any message: a task that is open is tried anew, one that has failed or been done
    /// meanwhile is acknowledged. A table whose process failed is planned anew by itself, when its wait is over.
    async fn redrive(&self, bucket: BucketId) -> Result<u64>;

    /// Looks whether the bucket's queues are as they should be, with what lies in them. `claim` is how long a worker
    /// keeps a message out of others' sight without renewal. Takes and writes nothing.
    async fn examine(&self, bucket: BucketId, claim: Duration) -> Vec<Finding>;
}

/// What a finding about a bucket's queue is about.
pub(crate) fn subject(bucket: BucketId) -> String {
    format!("queue of bucket {bucket}")
}

/// That so many messages wait or are worked on.
pub(crate) fn lies_in_it(count: impl Display) -> String {
    format!("{count} messages wait or are worked on")
}

/// A finding where there are dead letters, or nobody can tell.
pub(crate) fn finding_of_dead(subject: &str, dead: Result<u64>) -> Option<Finding> {
    match dead {
        Ok(0) => None,
        Ok(dead) => Some(Finding::doubt(
            subject,
            format!("{dead} messages were received again and again, and never answered"),
            "see the optimizer's log for why it died or could not answer, then `icepress redrive`",
        )),
        Err(error) => Some(Finding::wrong(
            subject,
            error.to_string(),
            "its dead-letter queue is made by infra/",
        )),
    }
}
