//! Manifests written anew, where planning pays for it: by partition, of the size that the table wants, without what was removed.

mod decide;
mod lookups;
mod policy;
#[cfg(test)]
mod tests;

use icepress_catalog::{CatalogError, metadata::Metadata};
use icepress_model::{ProcessId, SnapshotId, TableId};
use icepress_table::{
    CommitContext, CommitFailure, Gatekeeper, ManifestLayout, RewrittenManifests,
    rewrite_manifests, survey_manifests,
};
use serde::Serialize;

pub use self::decide::{KindPlan, ManifestPlan, Shape};
use self::{decide::decide, policy::ManifestPolicy};
use crate::{Committed, UpkeepError};

/// What was done.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct ManifestReport {
    /// What was decided, on the table as it was at last.
    #[serde(flatten)]
    pub plan: ManifestPlan,
    /// The snapshot that was added; `None` where it did not pay.
    pub snapshot_id: Option<SnapshotId>,
    /// What it wrote; `None` where it did not pay, or where an earlier run of the same process had written it.
    pub rewritten: Option<RewrittenManifests>,
    /// The commit; `None` where it did not pay, or others committed since the table was looked at first.
    #[serde(skip)]
    pub committed: Option<Committed>,
}

/// Says what [`rewrite`] would do. Reads every manifest of the current snapshot once and writes nothing.
pub async fn plan(context: &CommitContext, table: &TableId) -> Result<ManifestPlan, UpkeepError> {
    let loaded = context.catalog.load(table).await?;
    let policy = ManifestPolicy::of(loaded.metadata.properties())
        .map_err(|message| UpkeepError::refused(table, message))?;
    let layout = survey_manifests(context, &loaded).await?;
    Ok(decide(&layout, &policy))
}

/// The same, by whoever has read the manifests for a plan. The error is a message for people: what the table says of them can't
/// be read.
pub fn outlook(metadata: &Metadata, layout: &ManifestLayout) -> Result<ManifestPlan, String> {
    let policy = ManifestPolicy::of(metadata.properties())?;
    Ok(decide(layout, &policy))
}

/// Writes manifests anew where it pays, in one commit. What others commit meanwhile is carried over; where they take away what
/// was written anew it is decided once more.
///
/// Safe to call again for the same process after any failure or crash.
pub async fn rewrite(
    context: &CommitContext,
    table: &TableId,
    process: &ProcessId,
    gatekeeper: &dyn Gatekeeper,
) -> Result<ManifestReport, UpkeepError> {
    let loaded = context.catalog.load(table).await?;
    let policy = ManifestPolicy::of(loaded.metadata.properties())
        .map_err(|message| UpkeepError::refused(table, message))?;
    let base = loaded.metadata_location;
    let decided = std::sync::Mutex::new(ManifestPlan::default());
    let choose = |layout: &ManifestLayout| {
        let plan = decide(layout, &policy);
        let chosen = plan.chosen.clone();
        // Poisoned only by a panic above, which ends the process.
        if let Ok(mut decided) = decided.lock() {
            *decided = plan;
        }
        chosen
    };
    let outcome = rewrite_manifests(gatekeeper, context, table, process, &choose).await;
    let decided = decided.into_inner().unwrap_or_default();
    match outcome {
        Ok((outcome, rewritten)) => Ok(ManifestReport {
            plan: decided,
            snapshot_id: Some(outcome.snapshot_id),
            rewritten,
            committed: (!outcome.rebased).then_some(Committed {
                base,
                location: outcome.location,
            }),
        }),
        Err(CommitFailure::NothingLeft { .. }) => Ok(ManifestReport {
            plan: decided,
            snapshot_id: None,
            rewritten: None,
            committed: None,
        }),
        Err(failure) => Err(failure.into()),
    }
}

impl From<CommitFailure> for UpkeepError {
    fn from(failure: CommitFailure) -> Self {
        match failure {
            CommitFailure::HeldBack { table, reason } => Self::HeldBack { table, reason },
            CommitFailure::RaceLost {
                table, attempts, ..
            } => Self::RaceLost { table, attempts },
            CommitFailure::OutcomeUnknown { table, message } => {
                Self::OutcomeUnknown { table, message }
            }
            CommitFailure::TableGone(table) => CatalogError::NoSuchTable(table).into(),
            CommitFailure::Catalog(error) => error.into(),
            CommitFailure::Table(error) => error.into(),
            failure @ CommitFailure::NothingLeft { .. } => {
                let message = failure.to_string();
                let CommitFailure::NothingLeft { table, .. } = failure else {
                    unreachable!("it was matched right before");
                };
                Self::Refused { table, message }
            }
        }
    }
}
