//! `icepress repair TABLE`: what its manifests say wrongly of sound files, and with `--apply` the commit that says it rightly.

use icepress_model::{SnapshotId, TableId};
use icepress_service::repair::{self, RepairError};
use icepress_table::{CommitFailure, Repairs};
use serde_json::json;

use crate::{
    arguments::RepairArguments,
    failure::{Ending, Failure},
    render::{Output, counted, repairs},
    session::Session,
};

/// Examines the table, repairs it where asked to, and ends with a failure where something stays wrong.
pub(super) async fn repair(
    session: &Session,
    table: &TableId,
    wanted: &RepairArguments,
    output: Output,
) -> Result<Ending, Failure> {
    let context = &session.context;
    let bar = session
        .screen
        .bar(format!("{} files", table.name_in_catalog()));
    let examined = repair::examine(context, table, &|done, all| bar.show(done, all)).await;
    bar.end();
    let examination = examined.map_err(|error| failure(&error))?;
    let found = &examination.repairs;
    let mends = found.can_mend(wanted.drop_duplicates);
    if !wanted.apply || !mends {
        return end(wanted, table, found, None, output);
    }
    let repaired = repair::repair(context, table, &examination, wanted.drop_duplicates)
        .await
        .map_err(|error| failure(&error))?;
    end(
        wanted,
        table,
        &repaired.repairs,
        Some(repaired.snapshot_id),
        output,
    )
}

/// Prints what was found or mended, and says how it ended. `committed` has the snapshot of a repair; `None` in it where somebody else
/// was first.
fn end(
    wanted: &RepairArguments,
    table: &TableId,
    found: &Repairs,
    committed: Option<Option<SnapshotId>>,
    output: Output,
) -> Result<Ending, Failure> {
    let applied = committed.is_some();
    let duplicates_stay = !found.duplicates.is_empty() && !wanted.drop_duplicates;
    let stays_wrong = !found.left.is_empty() || duplicates_stay || !applied && !found.is_sound();
    let document = json!({
        "table": table.to_string(),
        "applied": applied,
        "snapshot_id": committed.flatten(),
        "checked_files": found.checked_files,
        "files": found.files,
        "manifests": found.manifests,
        "duplicates": found.duplicates,
        "left": found.left,
        "sound": !stays_wrong,
    });
    output.print(&document, || {
        let mut text = repairs::of_repairs(found, applied, wanted.drop_duplicates);
        text.push_str(&match committed {
            Some(Some(snapshot)) => format!("{table}: repaired by snapshot {snapshot}"),
            Some(None) => format!("{table}: nothing is left to repair: somebody else was first"),
            None if found.is_sound() => format!(
                "{table}: {} looked at, and the manifests say what is so",
                counted(found.checked_files, "file")
            ),
            None if found.can_mend(wanted.drop_duplicates) => {
                format!("{table}: nothing was changed; --apply commits what can be repaired")
            }
            None => format!("{table}: nothing was changed"),
        });
        text
    })?;
    Ok(if stays_wrong {
        Ending::SomeFailed
    } else {
        Ending::Well
    })
}

fn failure(error: &RepairError) -> Failure {
    match error {
        RepairError::Table(CommitFailure::Catalog(error)) => super::failure_of_catalog(error),
        RepairError::Table(CommitFailure::TableGone(_)) => Failure::Use(error.to_string()),
        _ => Failure::work(error),
    }
}
