//! `icepress maintain TABLE`: upkeep beside rewrites, now. `icepress plan TABLE --only KIND` is its dry run.

use icepress_model::TableId;
use icepress_service::{maintain as service, orphans};
use icepress_upkeep::{ExpireRequest, Limits, OrphanRequest, OrphanScope, UpkeepError};
use serde::Serialize;
use serde_json::{Map, Value};

use crate::{
    arguments::{AgeArguments, MaintainArguments, UpkeepKind},
    failure::{Ending, Failure},
    render::{Output, manifests as show_manifests, statistics as show_statistics, upkeep as show},
    session::Session,
};

/// What is done where no kind is named, in this order: what keeps snapshots comes before what lets go of them.
const ALL: [UpkeepKind; 3] = [UpkeepKind::Tags, UpkeepKind::AgeOut, UpkeepKind::Expire];

/// What the kinds came to, in one document: tags and ages under their names, anything else at its top.
#[derive(Debug)]
struct Results {
    document: Map<String, Value>,
    text: String,
}

impl Results {
    fn of(table: &TableId) -> Self {
        let name = ("table".to_owned(), table.to_string().into());
        Self {
            document: Map::from_iter([name]),
            text: String::new(),
        }
    }

    fn add_under<T: Serialize>(
        &mut self,
        kind: &str,
        done: Result<T, UpkeepError>,
        text: impl FnOnce(&T) -> String,
    ) -> Result<(), Failure> {
        let result = done.map_err(|error| failure(&error))?;
        let value = serde_json::to_value(&result).map_err(Failure::work)?;
        self.document.insert(kind.to_owned(), value);
        self.text.push_str(&text(&result));
        Ok(())
    }

    fn add<T: Serialize>(
        &mut self,
        done: Result<T, UpkeepError>,
        text: impl FnOnce(&T) -> String,
    ) -> Result<(), Failure> {
        let result = done.map_err(|error| failure(&error))?;
        if let Value::Object(fields) = serde_json::to_value(&result).map_err(Failure::work)? {
            self.document.extend(fields);
        }
        self.text.push_str(&text(&result));
        Ok(())
    }
}

/// Does what is asked for. What was done before something failed is told all the same.
pub(super) async fn maintain(
    session: &Session,
    table: &TableId,
    wanted: &MaintainArguments,
    output: Output,
) -> Result<Ending, Failure> {
    super::tell_if_observed(session, table).await;
    let kinds = wanted.only.map_or(ALL.to_vec(), |kind| vec![kind]);
    let mut results = Results::of(table);
    let mut ended = Ok(Ending::Well);
    for kind in kinds {
        if let Err(failure) = work(session, table, kind, wanted, &mut results).await {
            ended = Err(failure);
            break;
        }
    }
    if !results.text.is_empty() {
        output.print(&results.document, || results.text.clone())?;
    }
    ended
}

async fn work(
    session: &Session,
    table: &TableId,
    kind: UpkeepKind,
    wanted: &MaintainArguments,
    results: &mut Results,
) -> Result<(), Failure> {
    let limits = Limits {
        files: wanted.max_files,
        bytes: wanted.max_bytes,
        time: wanted.max_time,
    };
    let (context, ages) = (&session.context, &wanted.ages);
    let scope = match kind {
        UpkeepKind::Tags => {
            let done = service::tag(context, table).await;
            return results.add_under("tags", done, |done| show::of_tags(table, &done.plan, true));
        }
        UpkeepKind::AgeOut => {
            let done = service::age_out(context, table).await;
            return results.add_under("age-out", done, |done| show::of_ages(table, done, true));
        }
        UpkeepKind::Manifests => {
            let done = service::maintain_manifests(context, table).await;
            return results.add(done, |done| show_manifests::of_report(table, done));
        }
        UpkeepKind::Statistics => {
            let done = service::maintain_statistics(context, table).await;
            return results.add(done, |done| show_statistics::of_report(table, done));
        }
        UpkeepKind::Expire => None,
        UpkeepKind::Orphans => Some(OrphanScope::All),
        UpkeepKind::OldMetadata => Some(OrphanScope::OldMetadata),
    };
    let what = format!("{} dead files", table.name_in_catalog());
    let bar = session.screen.bar(what);
    let progress = |done, all| bar.show(done, all);
    match scope {
        None => {
            let request = expiry(ages, limits);
            let done = service::maintain(context, table, &request, &progress).await;
            bar.end();
            results.add(done, |done| show::of_report(table, done))
        }
        Some(scope) => {
            let request = search(scope, ages, limits);
            let done = orphans::remove(context, table, &request, &progress).await;
            bar.end();
            results.add(done, |done| show::of_orphans(table, done))
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
    let mut results = Results::of(table);
    let limits = Limits::default();
    match kind {
        UpkeepKind::Tags => {
            let plan = service::plan_tags(context, table).await;
            results.add_under("tags", plan, |plan| show::of_tags(table, plan, false))?;
        }
        UpkeepKind::AgeOut => {
            let plan = service::plan_age_out(context, table).await;
            results.add_under("age-out", plan, |plan| show::of_ages(table, plan, false))?;
        }
        UpkeepKind::Expire => {
            let plan = service::plan(context, table, &expiry(wanted, limits)).await;
            results.add(plan, |plan| show::of_plan(table, plan))?;
        }
        UpkeepKind::Manifests => {
            let plan = service::plan_manifests(context, table).await;
            results.add(plan, |plan| show_manifests::of_plan(table, plan))?;
        }
        UpkeepKind::Statistics => {
            let plan = service::plan_statistics(context, table).await;
            results.add(plan, |plan| show_statistics::of_plan(table, plan))?;
        }
        UpkeepKind::Orphans | UpkeepKind::OldMetadata => {
            let scope = match kind {
                UpkeepKind::OldMetadata => OrphanScope::OldMetadata,
                _ => OrphanScope::All,
            };
            let plan = orphans::plan(context, table, &search(scope, wanted, limits)).await;
            results.add(plan, |plan| show::of_orphan_plan(table, plan))?;
        }
    }
    output.print(&results.document, || results.text.clone())?;
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
        unattended: false,
        ..OrphanRequest::default()
    }
}

pub(super) fn failure(error: &UpkeepError) -> Failure {
    match error {
        UpkeepError::Catalog(error) => super::failure_of_catalog(error),
        UpkeepError::Refused { .. } => Failure::Use(error.to_string()),
        _ => Failure::work(error),
    }
}
