//! `icepress maintain TABLE`: upkeep beside rewrites, now. `icepress plan TABLE --only expire` is its dry run.

use icepress_model::TableId;
use icepress_service::maintain as service;
use icepress_upkeep::{ExpireRequest, Limits, UpkeepError};
use serde::Serialize;

use crate::{
    arguments::{ExpiryArguments, MaintainArguments, UpkeepKind},
    failure::{Ending, Failure},
    render::{Output, upkeep as show},
    session::Session,
};

/// A result with the table that it is about.
#[derive(Debug, Serialize)]
struct Of<'a, T> {
    table: String,
    #[serde(flatten)]
    result: &'a T,
}

/// Expires the table's snapshots, and deletes what nobody needs then.
pub(super) async fn maintain(
    session: &Session,
    table: &TableId,
    wanted: &MaintainArguments,
    output: Output,
) -> Result<Ending, Failure> {
    match wanted.only {
        None | Some(UpkeepKind::Expire) => {}
    }
    let limits = Limits {
        files: wanted.max_files,
        bytes: wanted.max_bytes,
        time: wanted.max_time,
    };
    let request = request(&wanted.expiry, limits);
    let what = format!("{} dead files", table.name_in_catalog());
    let bar = session.screen.bar(what);
    let progress = |done, all| bar.show(done, all);
    let done = service::maintain(&session.context, table, &request, &progress).await;
    bar.end();
    let report = done.map_err(|error| failure(&error))?;
    let document = Of {
        table: table.to_string(),
        result: &report,
    };
    output.print(&document, || show::of_report(table, &report))?;
    Ok(Ending::Well)
}

/// Prints what that would do.
pub(super) async fn plan(
    session: &Session,
    table: &TableId,
    wanted: &ExpiryArguments,
    output: Output,
) -> Result<Ending, Failure> {
    let request = request(wanted, Limits::default());
    let plan = service::plan(&session.context, table, &request).await;
    let plan = plan.map_err(|error| failure(&error))?;
    let document = Of {
        table: table.to_string(),
        result: &plan,
    };
    output.print(&document, || show::of_plan(table, &plan))?;
    Ok(Ending::Well)
}

fn request(wanted: &ExpiryArguments, limits: Limits) -> ExpireRequest {
    ExpireRequest {
        older_than: wanted.older_than,
        floor: wanted.keep_younger_than,
        limits,
    }
}

fn failure(error: &UpkeepError) -> Failure {
    match error {
        UpkeepError::Catalog(error) => super::failure_of_catalog(error),
        UpkeepError::Refused { .. } => Failure::Use(error.to_string()),
        _ => Failure::work(error),
    }
}
