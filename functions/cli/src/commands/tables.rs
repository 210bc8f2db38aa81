//! `icepress tables`: what is in the catalog, and what is known of it.

use futures::StreamExt as _;
use icepress_service::tables;
use serde_json::json;

use crate::{
    failure::{Ending, Failure},
    render::{Output, known::Known, table},
    session::Session,
};

/// How many tables are looked at at the same time.
const LOOKS_AT_ONCE: usize = 8;

/// Lists the tables of the chosen catalog.
///
/// What is known of a table is from before its last rewrite, where nobody looked since: those are looked at now.
pub(super) async fn tables(session: &Session, output: Output) -> Result<Ending, Failure> {
    let context = &session.context;
    let listed = tables::list(context, &session.catalog)
        .await
        .map_err(|error| super::failure_of_table(&error))?;
    let now = context.ambient.now();
    let known: Vec<Known> = futures::stream::iter(&listed)
        .map(async |listed| {
            let location = listed.metadata_location.as_ref();
            let mut known = Known::new(&listed.table, location, listed.row.as_ref(), now);
            let rewritten_since = listed.row.as_ref().is_some_and(|row| {
                row.committed_location.is_some()
                    && row.committed_location.as_ref() == location
                    && row.evaluated_location.as_ref() != location
            });
            if rewritten_since && let Ok(plan) = tables::plan(context, &listed.table).await {
                known.refresh(&plan);
            }
            known
        })
        .buffered(LOOKS_AT_ONCE)
        .collect()
        .await;
    output.print(&json!({ "tables": known }), || {
        if known.is_empty() {
            return format!("catalog {} has no tables", session.catalog);
        }
        let header = ["table", "state", "health", "files", "bytes", "delete files"];
        let rows = known.iter().map(Known::cells).collect();
        let failures = known.iter().filter_map(Known::failure_line);
        let lines: Vec<String> = [table(&header, &[2, 3, 4, 5], rows)]
            .into_iter()
            .chain(failures)
            .collect();
        lines.join("\n")
    })?;
    Ok(Ending::Well)
}
