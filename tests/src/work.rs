//! What tests do with a worker, step by step.

use std::time::Duration;

use icepress_coordination::TaskMessage;
use icepress_model::{BucketId, ProcessOutcome};
use icepress_service::{Context, Deadline, Event, tick};

/// Ticks once, and returns the messages that lie in the queues, without taking them away.
pub async fn planned(context: &Context) -> Vec<TaskMessage> {
    tick(context, Deadline::NONE).await.unwrap();
    let mut messages = Vec::new();
    for bucket in context.settings.buckets.all() {
        messages.extend(peek(context, bucket).await);
    }
    messages
}

/// The messages of one queue, without taking them away.
pub async fn peek(context: &Context, bucket: BucketId) -> Vec<TaskMessage> {
    let received = context
        .queue
        .receive(bucket, 100, Duration::ZERO, Duration::from_secs(60))
        .await
        .unwrap();
    for message in &received {
        context
            .queue
            .change_visibility(message, Duration::ZERO)
            .await
            .unwrap();
    }
    received
        .into_iter()
        .map(|received| received.message)
        .collect()
}

/// How the processes among the events ended.
pub fn ended(events: &[Event]) -> Vec<ProcessOutcome> {
    events
        .iter()
        .filter_map(|event| match event {
            Event::ProcessEnded { outcome, .. } => Some(outcome.clone()),
            _ => None,
        })
        .collect()
}
