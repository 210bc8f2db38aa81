//! `icepress restore TABLE --to …`: what that would undo, a question, and the commit that does it.

use std::io::{self, BufRead as _, IsTerminal as _, Write as _};

use icepress_model::TableId;
use icepress_service::maintain::{self as service, RestoreError};
use icepress_upkeep::restore::{RestorePlan, RestoreRequest};
use serde::Serialize;

use super::maintain::failure;
use crate::{
    arguments::RestoreArguments,
    failure::{Ending, Failure},
    render::{Output, restore as show},
    session::Session,
};

#[derive(Debug, Serialize)]
struct Document<'a> {
    table: String,
    restored: bool,
    #[serde(flatten)]
    plan: &'a RestorePlan,
}

/// Shows, asks unless told not to, and restores.
pub(super) async fn restore(
    session: &Session,
    table: &TableId,
    wanted: &RestoreArguments,
    output: Output,
) -> Result<Ending, Failure> {
    let request = RestoreRequest {
        to: wanted.to.clone(),
        branch: wanted.branch.clone(),
        keep: wanted.keep,
        schema: wanted.schema,
    };
    let context = &session.context;
    let what = format!("{} files", table.name_in_catalog());
    let mut seen = None;
    if !wanted.yes {
        let bar = session.screen.bar(what.clone());
        let progress = |done, all| bar.show(done, all);
        let plan = service::plan_restore(context, table, &request, &progress).await;
        bar.end();
        let plan = plan.map_err(|error| failure(&error))?;
        let document = document(table, &plan, false);
        if output.is_json() || plan.is_empty() || plan.missing.files > 0 {
            output.print(&document, || show::of_restore(table, &plan, false))?;
            return match plan.missing.files {
                0 => Ok(Ending::Well),
                _ => Err(Failure::Use(format!(
                    "{table} can't be set back to snapshot {}: files are missing",
                    plan.to.snapshot_id
                ))),
            };
        }
        output.print(&document, || show::of_restore(table, &plan, false))?;
        if !confirmed(&format!("Set {} of {table} back?", plan.branch))? {
            return Err(Failure::Use(
                "nothing was changed: answer 'yes', or give --yes".to_owned(),
            ));
        }
        seen = Some(plan.from.snapshot_id);
    }
    let bar = session.screen.bar(what);
    let progress = |done, all| bar.show(done, all);
    let done = service::restore(context, table, &request, seen, &progress).await;
    bar.end();
    let done = done.map_err(|error| match error {
        RestoreError::Upkeep(error) => failure(&error),
        error @ RestoreError::Coordination(_) => Failure::work(error),
    })?;
    let document = document(table, &done, !done.is_empty());
    let is_shown = seen.is_some();
    output.print(&document, || match is_shown {
        true => show::of_undoing(table, &done),
        false => show::of_restore(table, &done, true),
    })?;
    Ok(Ending::Well)
}

fn document<'a>(table: &TableId, plan: &'a RestorePlan, restored: bool) -> Document<'a> {
    Document {
        table: table.to_string(),
        restored,
        plan,
    }
}

/// Asks a person, or whatever the standard input is.
fn confirmed(question: &str) -> Result<bool, Failure> {
    let mut screen = io::stderr();
    write!(screen, "{question} [yes/no] ").map_err(Failure::work)?;
    screen.flush().map_err(Failure::work)?;
    let mut answer = String::new();
    io::stdin()
        .lock()
        .read_line(&mut answer)
        .map_err(Failure::work)?;
    if !io::stdin().is_terminal() {
        writeln!(screen).map_err(Failure::work)?;
    }
    let answer = answer.trim();
    Ok(["y", "yes"]
        .iter()
        .any(|yes| answer.eq_ignore_ascii_case(yes)))
}
