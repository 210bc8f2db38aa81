//! `icepress cancel PROCESS`: gives up a process under way.

use icepress_coordination::CancelOutcome;
use icepress_model::ProcessId;
use icepress_service::processes;
use serde_json::json;

use crate::{
    arguments::CancelArguments,
    failure::{Ending, Failure},
    render::{Output, known::ending},
    session::Session,
};

/// Ends the process as abandoned, unless its commit can't be stopped any more.
pub(super) async fn cancel(
    session: &Session,
    wanted: &CancelArguments,
    output: Output,
) -> Result<Ending, Failure> {
    let process = ProcessId(wanted.process.clone());
    let outcome = processes::cancel(&session.context, &process, &wanted.reason)
        .await
        .map_err(Failure::work)?;
    match outcome {
        CancelOutcome::Cancelled => {
            output.print(
                &json!({ "process": process.as_str(), "cancelled": true }),
                || format!("process {process} is cancelled, and its table is free"),
            )?;
            Ok(Ending::Well)
        }
        CancelOutcome::EndedBefore(outcome) => Err(Failure::Work(format!(
            "process {process} had ended before: {}",
            ending(&outcome)
        ))),
        CancelOutcome::Committing { worker, .. } => Err(Failure::Work(format!(
            "process {process} is being committed by {worker}: it can't be stopped any more"
        ))),
        CancelOutcome::Unknown => Err(Failure::Use(format!(
            "there is no process {process}: `icepress processes` lists those under way"
        ))),
    }
}
