//! `icepress compact TABLE`: one table, now.

use std::sync::Arc;

use icepress_model::TableId;
use icepress_service::{embedded::TableOutcome, tables};

use crate::{
    failure::{Ending, Failure},
    render::{Output, report},
    session::Session,
};

/// Compacts the table, whether it is due or not.
pub(super) async fn compact(
    session: &Session,
    table: &TableId,
    all_files: bool,
    output: Output,
) -> Result<Ending, Failure> {
    super::tell_if_observed(session, table).await;
    let mut context = session.context.clone();
    // Who asks for one table by name means now; only a blocker is stronger.
    Arc::make_mut(&mut context.settings).by_hand = true;
    let report = tables::compact(&context, table, all_files, session.threads, &session.stop)
        .await
        .map_err(|error| super::failure_of_table(&error))?;
    output.print(&report, || report::of_tables(std::slice::from_ref(&report)))?;
    Ok(match report.outcome {
        TableOutcome::Failed => Ending::SomeFailed,
        TableOutcome::Compacted
        | TableOutcome::DeletesRewritten
        | TableOutcome::Maintained
        | TableOutcome::Observed
        | TableOutcome::Unchanged
        | TableOutcome::Refused
        | TableOutcome::Waiting => Ending::Well,
    })
}
