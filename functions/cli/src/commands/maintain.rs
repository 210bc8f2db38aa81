//! `icepress maintain TABLE`: upkeep beside rewrites, now. `icepress plan TABLE --only KIND` is its dry run.

use icepress_model::TableId;
use icepress_service::{maintain as service, orphans};
use icepress_upkeep::{ExpireRequest, Limits, OrphanRequest, OrphanScope, UpkeepError};
use serde::Serialize;

use crate::{
    arguments::{AgeArguments, MaintainArguments, UpkeepKind},
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

/// Does one kind of upkeep.
pub(super) async fn maintain(
    session: &Session,
    table: &TableId,
    wanted: &MaintainArguments,
    output: Output,
) -> Result<Ending, Failure> {
    let limits = Limits {
        files: wanted.max_files,
        bytes: wanted.max_bytes,
        time: wanted.max_time,
    };
    let what = format!("{} dead files", table.name_in_catalog());
    let bar = session.screen.bar(what);
    let progress = |done, all| bar.show(done, all);
    let (context, ages) = (&session.context, &wanted.ages);
    match wanted.only.unwrap_or(UpkeepKind::Expire) {
        UpkeepKind::Expire => {
            let request = expiry(ages, limits);
            let done = service::maintain(context, table, &request, &progress).await;
            bar.end();
            print(table, done, output, show::of_report)
        }
        UpkeepKind::Orphans => {
            let request = search(OrphanScope::All, ages, limits);
            let done = orphans::remove(context, table, &request, &progress).await;
            bar.end();
            print(table, done, output, show::of_orphans)
        }
        UpkeepKind::OldMetadata => {
            let request = search(OrphanScope::OldMetadata, ages, limits);
            let done = orphans::remove(context, table, &request, &progress).await;
            bar.end();
            print(table, done, output, show::of_orphans)
        }
    }
}

/// Prints what that would do.
pub(super) async fn plan(
    session: &Session,
    table: &TableId,
    kind: UpkeepKind,
    wanted: &AgeArguments,
    output: Output,
) -> Result<Ending, Failure> {
    let context = &session.context;
    let scope = match kind {
        UpkeepKind::Expire => {
            let request = expiry(wanted, Limits::default());
            let plan = service::plan(context, table, &request).await;
            return print(table, plan, output, show::of_plan);
        }
        UpkeepKind::Orphans => OrphanScope::All,
        UpkeepKind::OldMetadata => OrphanScope::OldMetadata,
    };
    let request = search(scope, wanted, Limits::default());
    let plan = orphans::plan(context, table, &request).await;
    print(table, plan, output, show::of_orphan_plan)
}

fn print<T: Serialize>(
    table: &TableId,
    done: Result<T, UpkeepError>,
    output: Output,
    show: fn(&TableId, &T) -> String,
) -> Result<Ending, Failure> {
    let result = done.map_err(|error| failure(&error))?;
    let document = Of {
        table: table.to_string(),
        result: &result,
    };
    output.print(&document, || show(table, &result))?;
    Ok(Ending::Well)
}

fn expiry(ages: &AgeArguments, limits: Limits) -> ExpireRequest {
    ExpireRequest {
        older_than: ages.older_than,
        floor: ages.keep_younger_than,
        limits,
    }
}

fn search(scope: OrphanScope, ages: &AgeArguments, limits: Limits) -> OrphanRequest {
    OrphanRequest {
        scope,
        older_than: ages.older_than,
        dropped: ages.dropped.clone(),
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
