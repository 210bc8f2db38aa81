//! What functions that queues feed have in common: a batch of messages, each answered for itself. Only what was not done
//! comes back.
#![cfg_attr(test, allow(clippy::unwrap_used))]

use std::{sync::Arc, time::Duration};

use aws_lambda_events::sqs::{SqsBatchResponse, SqsEvent, SqsMessage};
use icepress_coordination::{Received, TaskMessage, TaskQueue};
use icepress_service::{Context, Deadline, Handled, Settings, handle as handle_task};

/// Handles the batch's messages, which came from `queue`, one after another.
pub async fn handle(
    context: &Context,
    queue: &dyn TaskQueue,
    event: SqsEvent,
    deadline: Deadline,
) -> SqsBatchResponse {
    let context = with_invocation_limit(context, deadline);
    let mut response = SqsBatchResponse::default();
    for message in event.records {
        if !is_done(&context, queue, &message, deadline).await {
            response.add_failure(message.message_id.unwrap_or_default());
        }
    }
    response
}

/// What the invocation has at its begin is what any invocation has: a group that needs more never fits.
fn with_invocation_limit(context: &Context, deadline: Deadline) -> Context {
    let settings = Settings {
        invocation_limit: deadline.left(&context.ambient),
        ..(*context.settings).clone()
    };
    Context {
        settings: Arc::new(settings),
        ..context.clone()
    }
}

async fn is_done(
    context: &Context,
    queue: &dyn TaskQueue,
    message: &SqsMessage,
    deadline: Deadline,
) -> bool {
    let id = message.message_id.as_deref().unwrap_or("without an id");
    let body = message.body.as_deref().unwrap_or_default();
    let task = match TaskMessage::from_body(body) {
        Ok(task) => task,
        Err(error) => {
            tracing::error!(id, %error, "a message is no task; it goes to the dead-letter queue");
            return false;
        }
    };
    match handle_task(context, &task, deadline).await {
        Ok(Handled::Done) => true,
        Ok(Handled::Again(rest)) => {
            tracing::info!(id, task = %task.task, ?rest, "not now");
            come_back_after(queue, message, task, rest).await;
            false
        }
        Err(error) => {
            let rest = rest_after_error(received_so_often(message));
            tracing::error!(id, task = %task.task, %error, ?rest, "not done");
            come_back_after(queue, message, task, rest).await;
            false
        }
    }
}

/// How often the message was received, this time included.
fn received_so_often(message: &SqsMessage) -> u32 {
    let count = message.attributes.get("ApproximateReceiveCount");
    count.and_then(|count| count.parse().ok()).unwrap_or(1)
}

/// How long a message rests that could not be answered, since the state or the queues failed: four times as long each
/// time, so that its receives outlast an outage of over an hour.
fn rest_after_error(received: u32) -> Duration {
    const FIRST: Duration = Duration::from_secs(60);
    FIRST.saturating_mul(4_u32.saturating_pow(received.saturating_sub(1).min(3)))
}

/// Brings a message back after `rest`. Without this it would rest for the queue's whole visibility timeout, which is
/// several times as long as a function may work.
async fn come_back_after(
    queue: &dyn TaskQueue,
    message: &SqsMessage,
    task: TaskMessage,
    rest: Duration,
) {
    // The queue it came from, which need not be that of the table's bucket any more.
    let source = message.event_source_arn.as_deref().unwrap_or_default();
    let Some(bucket) = queue.bucket_of(source) else {
        tracing::warn!(
            source,
            "no queue of ours: a message rests for its queue's whole visibility timeout"
        );
        return;
    };
    let received = Received {
        bucket,
        message: task,
        receipt: message.receipt_handle.clone().unwrap_or_default(),
        receive_count: received_so_often(message),
    };
    if let Err(error) = queue.change_visibility(&received, rest).await {
        tracing::warn!(%error, "a message rests for its queue's whole visibility timeout");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_could_not_be_answered_outlasts_an_hour_within_its_receives() {
        let mut message = SqsMessage::default();
        assert_eq!(received_so_often(&message), 1, "where nobody says");
        let mut waited = Duration::ZERO;
        for received in 1..=5_u32 {
            let count = received.to_string();
            let name = "ApproximateReceiveCount".to_owned();
            message.attributes.insert(name, count);
            assert_eq!(received_so_often(&message), received);
            waited += rest_after_error(received);
        }
        assert!(waited > Duration::from_secs(3600), "{waited:?}");
        assert_eq!(rest_after_error(1), Duration::from_secs(60));
        assert_eq!(rest_after_error(u32::MAX), rest_after_error(4));
    }
}
