//! Events in words.

use icepress_model::{Bytes, LeftAloneReason, ProcessOutcome, TableId, TablePlan};
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
        Event::BucketFailed { bucket, message } => {
            Some(format!("error: bucket {bucket}: {message}"))
        }
        Event::Planned { table, plan, .. } => {
            let kept_out = kept_out(plan);
            let is_told = verbosity > 0 || !plan.groups.is_empty() || kept_out.is_some();
            is_told.then(|| {
                let why = kept_out.map_or_else(String::new, |why| format!("; left alone: {why}"));
                format!("{table}: {}{why}", of_plan(plan))
            })
        }
        Event::Observed {
            table, observed, ..
        } => (verbosity > 0 || observed.has_work()).then(|| format!("{table}: {observed}")),
        Event::Refused { table, reason } => Some(format!("{table}: left alone: {reason}")),
        Event::Waiting { table, reason, .. } => Some(format!("{table}: waits: {reason}")),
        Event::UpkeepBegun {
            table,
            kind,
            reason,
            ..
        } => Some(format!("{table}: {kind}: {reason}")),
        Event::HandedOver { table, reason, .. } => {
            Some(format!("{table}: handed over to an optimizer: {reason}"))
        }
        Event::Repeats { table, message } | Event::TableFailed { table, message } => {
            Some(error_about(table, message))
        }
        // Of a task that failed, its group tells before, and its process after.
        Event::GroupStarted { .. }
        | Event::TaskFailed { .. }
        | Event::UnderWay { .. }
        | Event::BucketLookedAfter { .. }
        | Event::TickEnded { .. } => None,
        Event::GroupFinished {
            table,
            index,
            result: Ok(result),
            ..
        } => (verbosity > 0).then(|| {
            format!(
                "{table}: group {index}: {} into {}, {}",
                counted(result.rows_in.get(), "row"),
                counted(result.file_paths().len() as u64, "file"),
                result.bytes_out
            )
        }),
        Event::GroupFinished {
            table,
            index,
            result: Err(message),
            ..
        } => (verbosity > 0).then(|| {
            let message = without_name(table, message);
            format!("{table}: group {index} failed: {message}")
        }),
        Event::ProcessEnded { table, outcome, .. } => Some(of_outcome(table, outcome)),
        Event::Notice { message, .. } => (verbosity > 0).then(|| format!("notice: {message}")),
    }
}

fn error_about(table: &TableId, message: &str) -> String {
    format!("error: table {table}: {}", without_name(table, message))
}

/// Messages of lower layers often begin with the table's name; it is not said twice.
fn without_name<'a>(table: &TableId, message: &'a str) -> &'a str {
    let name = table.to_string();
    let rest = message.strip_prefix("table ").unwrap_or(message);
    rest.strip_prefix(name.as_str())
        .map(|rest| rest.trim_start_matches([':', ' ']))
        .filter(|rest| !rest.is_empty())
        .unwrap_or(message)
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

/// What keeps files from ever being rewritten, whatever becomes of their table: nobody would wait for their turn who knew.
fn kept_out(plan: &TablePlan) -> Option<&LeftAloneReason> {
    let reasons = plan.left_alone.iter().map(|left| &left.reason);
    let is_for_good = |reason: &&LeftAloneReason| {
        matches!(
            reason,
            LeftAloneReason::UnsupportedFormat { .. } | LeftAloneReason::Encrypted
        )
    };
    reasons
        .filter(is_for_good)
        .min_by_key(|reason| reason.to_string())
}

fn of_outcome(table: &TableId, outcome: &ProcessOutcome) -> String {
    let all = |failures: &[String]| {
        let failures: Vec<&str> = failures
            .iter()
            .map(|failure| without_name(table, failure))
            .collect();
        failures.join("; ")
    };
    match outcome {
        ProcessOutcome::Committed { snapshot_id, .. } => {
            format!("{table}: committed as snapshot {snapshot_id}")
        }
        ProcessOutcome::PartlyCommitted {
            snapshot_id,
            failures,
            ..
        } => format!(
            "error: table {table}: {} (committed as snapshot {snapshot_id} without {})",
            all(failures),
            counted(failures.len() as u64, "group"),
        ),
        ProcessOutcome::Failed { failures, .. } => error_about(table, &all(failures)),
        ProcessOutcome::Maintained { did, .. } => format!("{table}: {did}"),
        ProcessOutcome::Evaluated => format!("{table}: looked at"),
        ProcessOutcome::Abandoned { reason } => format!("{table}: given up: {reason}"),
    }
}
