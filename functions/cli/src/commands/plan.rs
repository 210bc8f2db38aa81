//! `icepress plan TABLE`: what a run would do, and nothing of it done.

use icepress_model::TableId;
use icepress_service::tables;

use super::maintain;
use crate::{
    arguments::{PlanArguments, PlanKind, UpkeepKind},
    failure::{Ending, Failure},
    render::{Output, plan as show},
    session::Session,
};

/// Prints the plan of a table.
pub(super) async fn plan(
    session: &Session,
    table: &TableId,
    wanted: &PlanArguments,
    output: Output,
) -> Result<Ending, Failure> {
    match wanted.only {
        None | Some(PlanKind::Rewrite) => {}
        Some(other) => {
            let kind = match other {
                PlanKind::Rewrite | PlanKind::Expire => UpkeepKind::Expire,
                PlanKind::Tags => UpkeepKind::Tags,
                PlanKind::AgeOut => UpkeepKind::AgeOut,
                PlanKind::Orphans => UpkeepKind::Orphans,
                PlanKind::OldMetadata => UpkeepKind::OldMetadata,
                PlanKind::Manifests => UpkeepKind::Manifests,
                PlanKind::Statistics => UpkeepKind::Statistics,
            };
            return maintain::plan(session, table, kind, &wanted.ages, output).await;
        }
    }
    let plan = tables::plan(&session.context, table)
        .await
        .map_err(|error| super::failure_of_evaluation(&error))?;
    output.print(&plan, || show::of_plan(table, &plan))?;
    Ok(Ending::Well)
}
