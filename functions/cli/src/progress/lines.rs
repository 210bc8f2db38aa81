//! Events in words.

use icepress_model::{Bytes, ProcessOutcome, TablePlan};
use icepress_service::Event;

use crate::render::{count, counted};

/// The line for an event, where it is worth one at this verbosity.
pub(super) fn line(event: &Event, verbosity: u8) -> Option<String> {
    match event {
        Event::DatabaseListed {
            database,
            tables,
            changed,
        } => (verbosity > 0).then(|| {
            format!(
                "{database}: {} listed, {} new or changed",
                counted(*tables, "table"),
                count(*changed)
            )
        }),
        Event::TableUnchanged { table } => (verbosity > 1).then(|| format!("{table}: unchanged")),
        Event::ListingFailed { database, message } => Some(format!("error: {database}: {message}")),
        Event::Planned { table, plan, .. } => (verbosity > 0 || !plan.groups.is_empty())
            .then(|| format!("{table}: {}", of_plan(plan))),
        Event::Refused { table, reason } => Some(format!("{table}: left alone: {reason}")),
        Event::TableFailed { table, message } => Some(error_about(&table.to_string(), message)),
        Event::GroupStarted { .. } => None,
        Event::GroupFinished {
            table,
            index,
            result: Ok(result),
            ..
        } => (verbosity > 0).then(|| {
            format!(
                "{table}: group {index}: {} into {}, {}",
                counted(result.rows_in.get(), "row"),
                counted(result.data_files.len() as u64, "file"),
                result.bytes_out
            )
        }),
        Event::GroupFinished {
            table,
            index,
            result: Err(message),
            ..
        } => Some(error_about(&format!("{table}: group {index}"), message)),
        Event::ProcessEnded { table, outcome, .. } => Some(of_outcome(&table.to_string(), outcome)),
        Event::Notice { message } => (verbosity > 0).then(|| format!("notice: {message}")),
    }
}

/// Messages of lower layers often name the table already; it is not said twice.
fn error_about(what: &str, message: &str) -> String {
    let message = message.strip_prefix("table ").unwrap_or(message);
    if message.starts_with(what) {
        format!("error: table {message}")
    } else {
        format!("error: table {what}: {message}")
    }
}

fn of_plan(plan: &TablePlan) -> String {
    if plan.groups.is_empty() {
        return format!("nothing to do, health {:.0}", plan.health.score);
    }
    let files: usize = plan.groups.iter().map(|group| group.inputs.len()).sum();
    let bytes: Bytes = plan.groups.iter().map(|group| group.input_bytes()).sum();
    format!(
        "{} of {}, {bytes}, to rewrite; health {:.0}",
        counted(plan.groups.len() as u64, "group"),
        counted(files as u64, "file"),
        plan.health.score
    )
}

fn of_outcome(table: &str, outcome: &ProcessOutcome) -> String {
    match outcome {
        ProcessOutcome::Committed { snapshot_id, .. } => {
            format!("{table}: committed as snapshot {snapshot_id}")
        }
        ProcessOutcome::PartlyCommitted {
            snapshot_id,
            failures,
            ..
        } => format!(
            "error: table {table}: committed as snapshot {snapshot_id} without {}: {}",
            counted(failures.len() as u64, "group"),
            failures.join("; ")
        ),
        ProcessOutcome::Failed { failures } => error_about(table, &failures.join("; ")),
        ProcessOutcome::Abandoned { reason } => format!("{table}: given up: {reason}"),
    }
}
