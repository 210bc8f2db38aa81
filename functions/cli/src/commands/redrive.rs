//! `icepress redrive`: tasks that were received too often go back to their queues.

use icepress_model::BucketId;
use serde_json::json;

use crate::{
    failure::{Ending, Failure},
    render::{Output, counted},
    session::Session,
};

/// Empties the dead-letter queues of all buckets, and the cleaner's, into their queues.
pub(super) async fn redrive(session: &Session, output: Output) -> Result<Ending, Failure> {
    let context = &session.context;
    let mut brought_back = 0;
    let layout = context.layout_seen().await.map_err(Failure::work)?;
    for bucket in layout.swept().all() {
        brought_back += context.queue.redrive(bucket).await.map_err(Failure::work)?;
    }
    // One queue for all buckets, where those who may delete have their own.
    if let Some(cleaners) = &context.cleaners {
        brought_back += cleaners.redrive(BucketId(0)).await.map_err(Failure::work)?;
    }
    output.print(&json!({ "brought_back": brought_back }), || {
        format!("{} brought back", counted(brought_back, "task"))
    })?;
    Ok(Ending::Well)
}
