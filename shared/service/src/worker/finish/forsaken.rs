//! The end of a process whose committers are all gone: somebody died at it, again and again, or a person has had enough.
//!
//! Whoever ends it holds its claim, so that nobody else commits it any more; and looks first whether one of the dead has
//! committed it, since what an end says has to be true.

use icepress_coordination::{CommitClaim, CoordinationError};
use icepress_model::{MetadataLocation, ProcessOutcome, SnapshotId, TimestampMs};
use icepress_table::find_commit;

use super::ending::write_end;
use crate::{Context, Event, scheduler::evaluate};

/// Ends a process under its claim: as committed if it is, else with `otherwise`. Says how it ended.
///
/// Where the table can't be asked, nobody knows: it ends as if it were not committed, and its files stay.
pub(crate) async fn end_forsaken(
    context: &Context,
    claim: &CommitClaim,
    otherwise: impl FnOnce(String) -> ProcessOutcome,
    next_due_at: Option<TimestampMs>,
    failures: u32,
) -> Result<ProcessOutcome, CoordinationError> {
    let found = committed(context, claim).await;
    let (outcome, location) = match found {
        Ok(Some((location, snapshot_id))) => (
            ProcessOutcome::Committed {
                location: location.clone(),
                snapshot_id,
                lessons: icepress_model::Lessons::default(),
            },
            Some(location),
        ),
        Ok(None) => (otherwise(String::new()), None),
        Err(unknown) => (otherwise(unknown), None),
    };
    let now = context.ambient.now();
    // What others wrote since was not looked at.
    let next_due_at = match location {
        Some(_) => Some(now),
        None => next_due_at,
    };
    let outcome = outcome.bounded();
    write_end(
        context,
        claim,
        &outcome,
        location.as_ref(),
        next_due_at,
        failures,
    )
    .await?;
    context.tell(Event::ProcessEnded {
        table: claim.process.table.clone(),
        process: claim.process.process.clone(),
        kind: claim.process.kind,
        outcome: outcome.clone(),
        removed_delete_files: 0,
    });
    Ok(outcome)
}

/// What the process made of its table; or, where nobody can tell, that in words.
async fn committed(
    context: &Context,
    claim: &CommitClaim,
) -> Result<Option<(MetadataLocation, SnapshotId)>, String> {
    let loaded = evaluate::load(context, &claim.process.table).await;
    match loaded {
        Ok(loaded) => Ok(find_commit(&loaded, &claim.process.process)),
        Err(error) => Err(format!(" (whether it was committed is not known: {error})")),
    }
}
