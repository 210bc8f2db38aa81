//! What wakes the scheduler: the queue of errands, or else a tick, whoever sends it.

use aws_lambda_events::sqs::{SqsBatchResponse, SqsEvent};
use icepress_coordination::Errand;
use icepress_service::{Context, Deadline, run_errand, tick};
use icepress_storage::RequestTotals;
use lambda_runtime::Error;
use serde_json::{Value, json};
use tracing::error;

/// Handles one event; the answer is what Lambda wants to see of it, or what a person does.
pub(crate) async fn handle(
    context: &Context,
    event: Value,
    deadline: Deadline,
) -> Result<Value, Error> {
    if event.get("Records").is_some() {
        let response = run_errands(context, serde_json::from_value(event)?, deadline).await?;
        return Ok(serde_json::to_value(response)?);
    }
    let report = tick(context, deadline).await?;
    Ok(json!({
        "swept": report.swept,
        "held_by_others": report.held_by_others,
        "unfinished": report.unfinished,
        "not_begun": report.not_begun,
        "failed": report.failed,
        "unwritten": report.unwritten,
        "handed_out": report.handed_out,
    }))
}

/// The answer, with what it took of AWS.
pub(crate) fn with_requests(mut answer: Value, requests: &RequestTotals) -> Value {
    if let Some(fields) = answer.as_object_mut() {
        fields.insert("requests".to_owned(), json!(requests));
    }
    answer
}

/// Does the errands of a batch, mostly one. Those that failed come back, and where all did, the run counts as failed: an
/// alarm watches that.
async fn run_errands(
    context: &Context,
    batch: SqsEvent,
    deadline: Deadline,
) -> Result<SqsBatchResponse, Error> {
    let mut response = SqsBatchResponse::default();
    let count = batch.records.len();
    let mut last_failure = None;
    for message in batch.records {
        let id = message.message_id.unwrap_or_default();
        let errand = match Errand::from_body(message.body.as_deref().unwrap_or_default()) {
            Ok(errand) => errand,
            // It would be no errand the next time either.
            Err(error) => {
                error!(id, %error, "a message is no errand; it is dropped");
                continue;
            }
        };
        if let Err(failure) = run_errand(context, &errand, deadline).await {
            error!(id, ?errand, error = %failure, "an errand failed");
            response.add_failure(id);
            last_failure = Some(failure);
        }
    }
    match last_failure {
        Some(failure) if response.batch_item_failures.len() == count => Err(failure.into()),
        _ => Ok(response),
    }
}
