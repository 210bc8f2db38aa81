//! `icepress compact TABLE`: one table, now.

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
    let report = tables::compact(
        &session.context,
        table,
        all_files,
        session.threads,
        &session.stop,
    )
    .await
    .map_err(|error| super::failure_of_table(&error))?;
    output.print(&report, || report::of_tables(std::slice::from_ref(&report)))?;
    Ok(match report.outcome {
        TableOutcome::Failed => Ending::SomeFailed,
        TableOutcome::Compacted | TableOutcome::Unchanged | TableOutcome::Refused => Ending::Well,
    })
}
