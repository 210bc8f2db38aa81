//! `icepress redrive`: tasks that were received too often go back to their queues.

use serde_json::json;

use crate::{
    failure::{Ending, Failure},
    render::{Output, counted},
    session::Session,
};

/// Empties the dead-letter queues of all buckets into their queues.
pub(super) async fn redrive(session: &Session, output: Output) -> Result<Ending, Failure> {
    let context = &session.context;
    let mut brought_back = 0;
    let layout = context.layout_seen().await.map_err(Failure::work)?;
    for bucket in layout.swept().all() {
        brought_back += context.queue.redrive(bucket).await.map_err(Failure::work)?;
    }
    output.print(&json!({ "brought_back": brought_back }), || {
        format!("{} brought back", counted(brought_back, "task"))
    })?;
    Ok(Ending::Well)
}
