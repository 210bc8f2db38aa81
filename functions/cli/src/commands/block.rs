//! `icepress block`, `unblock` and `blockers`: keeping Icepress from tables for a time.

use std::time::Duration;

use icepress_coordination::limits::Blocker;
use icepress_model::{DatabaseId, Namespace, Scope};
use icepress_service::block::{self, CommitUnderWay};
use serde_json::{Value, json};

use crate::{
    arguments::{BlockArguments, ScopeArguments, UnblockArguments},
    failure::{Ending, Failure},
    render::{Output, known::moment, table},
    session::Session,
};

/// Blocks, and says whether a commit is under way; waits for its end where that is wanted.
pub(super) async fn block(
    session: &Session,
    wanted: &BlockArguments,
    output: Output,
) -> Result<Ending, Failure> {
    let scope = scope(session, &wanted.scope)?;
    let context = &session.context;
    let reason = wanted.reason.as_str();
    let blocked = block::block(context, scope.clone(), &wanted.owner, reason, wanted.time).await;
    let blocked = blocked.map_err(Failure::work)?;
    let mut under_way = blocked.under_way;
    while wanted.wait && !under_way.is_empty() && !session.stop.requested() {
        session.rest(Duration::from_millis(300)).await;
        under_way = block::commits_under_way(context, &scope)
            .await
            .map_err(Failure::work)?;
    }
    let document = json!({
        "blocker": object(&blocked.blocker),
        "commits_under_way": under_way.iter().map(commit_object).collect::<Vec<_>>(),
    });
    let now = context.ambient.now();
    output.print(&document, || {
        let until = moment(blocked.blocker.expires_at, now);
        let mut text = format!("{scope} is blocked for {} until {until}", wanted.owner);
        for commit in &under_way {
            text.push_str(&format!(
                "\na commit of {} was under way before: process {} of {}, until {} at the latest",
                commit.table,
                commit.process,
                commit.worker,
                moment(commit.until, now)
            ));
        }
        text
    })?;
    Ok(Ending::Well)
}

/// Takes a blocker away.
pub(super) async fn unblock(
    session: &Session,
    wanted: &UnblockArguments,
    output: Output,
) -> Result<Ending, Failure> {
    let scope = scope(session, &wanted.scope)?;
    let owner = wanted.owner.as_str();
    let was_there = block::unblock(&session.context, &scope, owner)
        .await
        .map_err(Failure::work)?;
    if !was_there {
        return Err(Failure::Use(format!(
            "{owner} does not block {scope}: `icepress blockers` lists who blocks what"
        )));
    }
    let document = json!({ "scope": scope.to_string(), "owner": owner, "unblocked": true });
    output.print(&document, || {
        format!("{scope} is not blocked by {owner} any more")
    })?;
    Ok(Ending::Well)
}

/// Lists the blockers of the chosen catalog.
pub(super) async fn blockers(session: &Session, output: Output) -> Result<Ending, Failure> {
    let blockers = block::blockers(&session.context)
        .await
        .map_err(Failure::work)?;
    let document: Vec<Value> = blockers.iter().map(object).collect();
    let now = session.context.ambient.now();
    output.print(&json!({ "blockers": document }), || {
        if blockers.is_empty() {
            return format!("nothing in catalog {} is blocked", session.catalog);
        }
        let cells = |blocker: &Blocker| {
            vec![
                blocker.scope.to_string(),
                blocker.owner.clone(),
                moment(blocker.expires_at, now),
                blocker.reason.clone(),
            ]
        };
        let header = ["blocked", "owner", "until", "reason"];
        table(&header, &[], blockers.iter().map(cells).collect())
    })?;
    Ok(Ending::Well)
}

fn object(blocker: &Blocker) -> Value {
    let kind = match &blocker.scope {
        Scope::Catalog(_) => "catalog",
        Scope::Database(_) => "database",
        Scope::Table(_) => "table",
    };
    let scope = blocker.scope.to_string();
    json!({
        "kind": kind,
        "name": scope.strip_prefix(kind).unwrap_or(&scope).trim_start(),
        "owner": blocker.owner,
        "reason": blocker.reason,
        "created_at": blocker.created_at.get(),
        "expires_at": blocker.expires_at.get(),
    })
}

fn commit_object(commit: &CommitUnderWay) -> Value {
    json!({
        "table": commit.table.to_string(),
        "process": commit.process.as_str(),
        "worker": commit.worker.as_str(),
        "until": commit.until.get(),
    })
}

/// What a person wants to block: a table, or a database or all of the chosen catalog.
fn scope(session: &Session, wanted: &ScopeArguments) -> Result<Scope, Failure> {
    if let Some(database) = &wanted.database {
        if database.split('.').any(str::is_empty) {
            return Err(Failure::Use(format!(
                "'{database}' is no database: write it as its namespace in the chosen catalog"
            )));
        }
        return Ok(Scope::Database(DatabaseId {
            catalog: session.catalog.clone(),
            namespace: Namespace::from_dotted(database),
        }));
    }
    if wanted.whole_catalog {
        return Ok(Scope::Catalog(session.catalog.clone()));
    }
    Ok(Scope::Table(session.table()?.clone()))
}
