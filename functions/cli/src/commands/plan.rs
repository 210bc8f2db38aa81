//! `icepress plan TABLE`: what a run would do, and nothing of it done.

use icepress_model::TableId;
use icepress_service::tables;

use crate::{
    failure::{Ending, Failure},
    render::{Output, plan as show},
    session::Session,
};

/// Prints the plan of a table.
pub(super) async fn plan(
    session: &Session,
    table: &TableId,
    output: Output,
) -> Result<Ending, Failure> {
    let plan = tables::plan(&session.context, table)
        .await
        .map_err(|error| super::failure_of_evaluation(&error))?;
    output.print(&plan, || show::of_plan(table, &plan))?;
    Ok(Ending::Well)
}
