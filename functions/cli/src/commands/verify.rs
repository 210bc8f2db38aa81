//! `icepress verify TABLE`: are the rows of two snapshots the same?

use icepress_model::{Rows, SnapshotId, TableId};
use icepress_rewrite::Opinion;
use icepress_service::tables::{self, VerifyError};
use serde::Serialize;
use serde_json::json;

use crate::{
    arguments::VerifyArguments,
    failure::{Ending, Failure},
    render::{Output, count, table},
    session::Session,
};

/// Compares, and ends with a failure where the rows differ.
pub(super) async fn verify(
    session: &Session,
    name: &TableId,
    wanted: &VerifyArguments,
    output: Output,
) -> Result<Ending, Failure> {
    let verified = tables::verify(&session.context, name, wanted.snapshot, wanted.against)
        .await
        .map_err(|error| match &error {
            VerifyError::Evaluate(error) => super::failure_of_evaluation(error),
            VerifyError::NoRewrite(_) | VerifyError::NoSuchSnapshot { .. } => {
                Failure::Use(error.to_string())
            }
            VerifyError::Unreadable(_) => Failure::work(&error),
        })?;
    let (later, earlier) = (&verified.snapshot, &verified.against);
    let later = Shown::new(later.snapshot, later.rows, later.hash);
    let earlier = Shown::new(earlier.snapshot, earlier.rows, earlier.hash);
    let document = json!({
        "table": name.to_string(),
        "same": verified.same(),
        "same_values": verified.same_values(),
        "snapshot": later,
        "against": earlier,
        "columns": {
            "compared": verified.opinion.compared,
            "faults": verified.opinion.faults,
        },
    });
    output.print(&document, || {
        let header = ["", "snapshot", "rows", "hash of the rows"];
        let rows = vec![later.cells("checked"), earlier.cells("against")];
        let verdict = match (verified.same(), verified.same_values()) {
            (true, _) => "the rows are the same",
            (false, true) => "THE ROWS HAVE OTHER IDS OR SEQUENCE NUMBERS (row lineage)",
            (false, false) => "THE ROWS DIFFER",
        };
        let columns = columns(&verified.opinion);
        format!(
            "{}\n{columns}{name}: {verdict}",
            table(&header, &[1, 2], rows)
        )
    })?;
    Ok(if verified.same() {
        Ending::Well
    } else {
        Ending::SomeFailed
    })
}

/// What came of counting each column by what the files themselves say.
fn columns(opinion: &Opinion) -> String {
    if opinion.faults.is_empty() {
        let compared = count(opinion.compared as u64);
        return format!(
            "columns counted a second time, apart from rows: {compared}, all the same\n"
        );
    }
    let faults = opinion.faults.iter();
    faults.map(|fault| format!("{fault}\n")).collect()
}

/// The rows of one snapshot, as they are shown.
#[derive(Debug, Serialize)]
struct Shown {
    id: SnapshotId,
    rows: Rows,
    hash: String,
}

impl Shown {
    fn new(id: SnapshotId, rows: Rows, hash: u128) -> Self {
        let hash = format!("{hash:032x}");
        Self { id, rows, hash }
    }

    fn cells(&self, what: &str) -> Vec<String> {
        vec![
            what.to_owned(),
            self.id.to_string(),
            count(self.rows.get()),
            self.hash.clone(),
        ]
    }
}
