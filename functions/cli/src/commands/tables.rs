//! `icepress tables`: what is in the catalog, and what is known of it.

use icepress_service::tables::{self, KnownTable};
use serde_json::json;

use crate::{
    failure::{Ending, Failure},
    render::{Output, known::Known, table},
    session::Session,
};

/// Lists the tables of the chosen catalog.
pub(super) async fn tables(session: &Session, output: Output) -> Result<Ending, Failure> {
    let listed = tables::list(&session.context, &session.catalog)
        .await
        .map_err(|error| super::failure_of_table(&error))?;
    let now = session.context.ambient.now();
    let known: Vec<Known> = listed
        .iter()
        .map(
            |KnownTable {
                 table,
                 metadata_location,
                 row,
             }| { Known::new(table, metadata_location.as_ref(), row.as_ref(), now) },
        )
        .collect();
    output.print(&json!({ "tables": known }), || {
        if known.is_empty() {
            return format!("catalog {} has no tables", session.catalog);
        }
        let header = [
            "table",
            "state",
            "health",
            "files",
            "bytes",
            "delete files",
            "",
        ];
        let rows = known.iter().map(Known::cells).collect();
        table(&header, &[2, 3, 4, 5], rows)
    })?;
    Ok(Ending::Well)
}
