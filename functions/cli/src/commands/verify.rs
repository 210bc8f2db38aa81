//! `icepress verify TABLE`: are the rows of two snapshots the same?

use icepress_model::TableId;
use icepress_service::tables::{self, SnapshotRows, VerifyError};
use serde_json::{Value, json};

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
    let document = json!({
        "table": name.to_string(),
        "same": verified.same(),
        "snapshot": document_of(&verified.snapshot),
        "against": document_of(&verified.against),
    });
    output.print(&document, || {
        let header = ["", "snapshot", "rows", "hash of the rows"];
        let rows = vec![
            row_of("checked", &verified.snapshot),
            row_of("against", &verified.against),
        ];
        let verdict = if verified.same() {
            "the rows are the same"
        } else {
            "THE ROWS DIFFER"
        };
        format!("{}\n{name}: {verdict}", table(&header, &[1, 2], rows))
    })?;
    Ok(if verified.same() {
        Ending::Well
    } else {
        Ending::SomeFailed
    })
}

fn document_of(rows: &SnapshotRows) -> Value {
    json!({
        "id": rows.snapshot,
        "rows": rows.rows,
        "hash": format!("{:032x}", rows.hash),
    })
}

fn row_of(what: &str, rows: &SnapshotRows) -> Vec<String> {
    vec![
        what.to_owned(),
        rows.snapshot.to_string(),
        count(rows.rows.get()),
        format!("{:032x}", rows.hash),
    ]
}
