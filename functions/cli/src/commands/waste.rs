//! `icepress waste`: what a catalog costs a month for nothing.

use icepress_service::waste::{self as service, CatalogWaste, WasteRequest};
use serde::Serialize;

use crate::{
    arguments::WasteArguments,
    failure::{Ending, Failure},
    render::{Output, waste as show},
    session::Session,
};

#[derive(Debug, Serialize)]
struct Of<'a> {
    catalog: &'a str,
    #[serde(flatten)]
    found: &'a CatalogWaste,
}

/// Prints it. What could not be read makes the sum too small, so that is no good ending either.
pub(super) async fn waste(
    session: &Session,
    wanted: &WasteArguments,
    output: Output,
) -> Result<Ending, Failure> {
    let request = WasteRequest {
        listings: !wanted.no_listing,
    };
    let (context, catalog) = (&session.context, &session.catalog);
    let bar = session.screen.bar(format!("waste of {catalog}"));
    let progress = |done, all| bar.show(done, all);
    let found = service::look(context, catalog, request, &progress).await;
    bar.end();
    let found = found.map_err(|error| super::failure_of_catalog(&error))?;
    let document = Of {
        catalog: catalog.as_str(),
        found: &found,
    };
    output.print(&document, || show::of_catalog(catalog, &found))?;
    let is_too_much = wanted
        .fail_over
        .is_some_and(|most| found.dollars_a_month > most);
    Ok(match is_too_much || !found.unread.is_empty() {
        true => Ending::SomeFailed,
        false => Ending::Well,
    })
}
