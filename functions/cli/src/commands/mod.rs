//! One module a command. Each does its work through `icepress_service`, prints its result, and says how it ended.

mod block;
mod buckets;
mod cancel;
mod compact;
mod completions;
mod doctor;
mod explain;
mod maintain;
mod plan;
mod processes;
mod redrive;
mod repair;
mod report;
mod restore;
mod run;
mod tables;
mod verify;
mod waste;

use icepress_catalog::CatalogError;
use icepress_model::TableId;
use icepress_service::{EvaluateError, Mode, tables::TableError};

use crate::{
    arguments::{Arguments, BucketsCommand, Command},
    demo,
    environment::Environment,
    failure::{Ending, Failure},
    progress::Screen,
    render::Output,
    session::Session,
};

/// Does what was asked for.
pub(crate) async fn dispatch(
    arguments: Arguments,
    environment: Environment,
    screen: Screen,
) -> Result<Ending, Failure> {
    let output = Output::new(arguments.global.json);
    let command = match arguments.command {
        Command::Completions(wanted) => return completions::print(&wanted),
        Command::Demo(wanted) => {
            return demo::demo(&wanted, &arguments.global, &environment, screen, output).await;
        }
        other => other,
    };
    let mut global = arguments.global;
    if let Command::Waste(wanted) = &command {
        global.catalog = wanted.name.clone().or(global.catalog);
    }
    let names: Vec<&str> = match &command {
        Command::Run(wanted) => wanted.tables.iter().map(String::as_str).collect(),
        Command::Explain(wanted) => vec![&wanted.table],
        Command::Plan(wanted) => vec![&wanted.table.table],
        Command::Maintain(wanted) => vec![&wanted.table.table],
        Command::Restore(wanted) => vec![&wanted.table.table],
        Command::Compact(wanted) => vec![&wanted.table.table],
        Command::Verify(wanted) => vec![&wanted.table.table],
        Command::Repair(wanted) => vec![&wanted.table.table],
        Command::Block(wanted) => wanted.scope.table.iter().map(String::as_str).collect(),
        Command::Unblock(wanted) => wanted.scope.table.iter().map(String::as_str).collect(),
        Command::Processes(wanted) => wanted.table.iter().map(String::as_str).collect(),
        _ => Vec::new(),
    };
    let looks_around = command.looks_around();
    let mut session = Session::open(&global, &environment, screen, &names, looks_around).await?;
    match command {
        Command::Run(wanted) => run::run(&mut session, &wanted, output).await,
        Command::Tables(wanted) => tables::tables(&session, &wanted, output).await,
        Command::Plan(wanted) => plan::plan(&session, session.table()?, &wanted, output).await,
        Command::Maintain(wanted) => {
            maintain::maintain(&session, session.table()?, &wanted, output).await
        }
        Command::Restore(wanted) => {
            restore::restore(&session, session.table()?, &wanted, output).await
        }
        Command::Compact(wanted) => {
            compact::compact(&session, session.table()?, wanted.all_files, output).await
        }
        Command::Report(wanted) => report::report(&session, &wanted, output).await,
        Command::Waste(wanted) => waste::waste(&session, &wanted, output).await,
        Command::Explain(_) => explain::explain(&session, session.table()?, output).await,
        Command::Verify(wanted) => {
            verify::verify(&session, session.table()?, &wanted, output).await
        }
        Command::Repair(wanted) => {
            repair::repair(&session, session.table()?, &wanted, output).await
        }
        Command::Block(wanted) => block::block(&session, &wanted, output).await,
        Command::Unblock(wanted) => block::unblock(&session, &wanted, output).await,
        Command::Blockers => block::blockers(&session, output).await,
        Command::Processes(wanted) => processes::processes(&session, &wanted, output).await,
        Command::Cancel(wanted) => cancel::cancel(&session, &wanted, output).await,
        Command::Doctor => doctor::doctor(&session, output).await,
        Command::Redrive => redrive::redrive(&session, output).await,
        Command::Buckets(wanted) => match wanted.command {
            None => buckets::show(&session, output).await,
            Some(BucketsCommand::Resize { number }) => {
                buckets::resize(&session, number, output).await
            }
        },
        Command::Completions(_) | Command::Demo(_) => Ok(Ending::Well),
    }
}

/// Says that a table is only observed of which a person wants something done: that is done all the same. What can't be found out
/// is told by the command itself.
async fn tell_if_observed(session: &Session, table: &TableId) {
    let ruling = icepress_service::tables::ruling(&session.context, table).await;
    if let Ok(ruling) = ruling
        && ruling.mode == Mode::Observe
    {
        session.screen.line(format!(
            "{table} is only observed ({}): nothing is begun for it by itself; this is done, since you ask for it",
            ruling.set_by
        ));
    }
}

/// A failure to look at the table that a person named. That there is no such table, or no such catalog, is their
/// mistake; the rest is not.
fn failure_of_catalog(error: &CatalogError) -> Failure {
    match error {
        CatalogError::NoSuchTable(_)
        | CatalogError::NotIceberg(_)
        | CatalogError::Configuration { .. } => Failure::Use(error.to_string()),
        _ => Failure::work(error),
    }
}

fn failure_of_evaluation(error: &EvaluateError) -> Failure {
    match error {
        EvaluateError::Catalog(error) => failure_of_catalog(error),
        _ => Failure::work(error),
    }
}

fn failure_of_table(error: &TableError) -> Failure {
    match error {
        TableError::Evaluate(error) => failure_of_evaluation(error),
        _ => Failure::work(error),
    }
}
