//! Events as lines of the log, with table, process and task as fields wherever they are known.

use icepress_model::{ProcessId, TaskId, TimestampMs};

use super::{Event, Observer};

/// Writes events to the log, as functions do.
#[derive(Debug, Default)]
pub struct LogObserver;

impl Observer for LogObserver {
    fn observe(&self, event: &Event) {
        match event {
            Event::DatabaseListed {
                database,
                tables,
                changed,
            } => {
                tracing::info!(%database, tables, changed, "database listed");
            }
            Event::TableUnchanged { table } => tracing::debug!(%table, "unchanged"),
            Event::ListingFailed { database, message } => {
                tracing::error!(%database, %message, "listing failed");
            }
            Event::BucketFailed { bucket, message } => {
                tracing::error!(%bucket, %message, "bucket failed");
            }
            Event::Planned {
                table,
                plan,
                process,
                price,
                oldest,
            } => tracing::info!(
                %table,
                process = process.as_ref().map(ProcessId::as_str),
                groups = plan.groups.len(),
                data_files = plan.totals.data_files,
                delete_files = plan.totals.delete_files,
                health = plan.health.score,
                dollars = price.dollars(),
                oldest = oldest.map(TimestampMs::get),
                "planned"
            ),
            Event::Observed {
                table,
                plan,
                observed,
            } => tracing::info!(
                %table,
                groups = observed.groups,
                files = observed.files,
                bytes = observed.bytes.get(),
                dollars = observed.whole_price().dollars(),
                frees = observed.all_freed().get(),
                health = plan.health.score,
                "observed"
            ),
            Event::UpkeepBegun {
                table,
                process,
                kind,
                reason,
            } => tracing::info!(%table, %process, %kind, %reason, "upkeep begun"),
            Event::Refused { table, reason } => tracing::warn!(%table, %reason, "left alone"),
            Event::Waiting {
                table,
                task,
                waits_for,
                reason,
                until,
            } => tracing::info!(
                %table,
                process = task.as_ref().map(|task| task.process.as_str()),
                task = task.as_ref().map(tracing::field::display),
                waits_for = waits_for.name(),
                %reason,
                until = until.map(TimestampMs::get),
                "waits"
            ),
            Event::Repeats { table, message } => {
                tracing::error!(%table, %message, "repeats itself");
            }
            Event::HandedOver {
                table,
                process,
                reason,
            } => tracing::warn!(%table, %process, %reason, "handed over"),
            Event::TableFailed { table, message } => tracing::error!(%table, %message, "failed"),
            Event::GroupStarted {
                table,
                process,
                index,
                rows,
                bytes,
                ..
            } => {
                let task = task(process, *index);
                tracing::info!(%table, %process, %task, %rows, bytes = bytes.get(), "group started");
            }
            Event::GroupFinished {
                table,
                process,
                index,
                read,
                result,
            } => match result {
                Ok(result) => tracing::info!(
                    %table, %process, task = %task(process, *index),
                    files_in = read.files,
                    bytes_in = read.bytes.get(),
                    dollars = read.price.dollars(),
                    rows_in = result.rows_in.get(),
                    rows_deleted = result.rows_deleted.get(),
                    files_out = result.file_paths().len(),
                    bytes_out = result.bytes_out.get(),
                    "group finished"
                ),
                Err(message) => {
                    let task = task(process, *index);
                    tracing::error!(%table, %process, %task, %message, "group failed");
                }
            },
            Event::TaskFailed {
                table,
                task,
                kind,
                reason,
            } => {
                let process = &task.process;
                tracing::error!(%table, %process, %task, %kind, %reason, "task failed for good");
            }
            Event::ProcessEnded {
                table,
                process,
                kind,
                outcome,
                removed_delete_files,
            } => match outcome.reason() {
                None => {
                    tracing::info!(%table, %process, %kind, ?outcome, removed_delete_files, "process ended");
                }
                Some(reason) => {
                    tracing::warn!(%table, %process, %kind, %reason, ?outcome, removed_delete_files, "process failed");
                }
            },
            Event::UnderWay {
                table,
                process,
                stage,
                since,
            } => {
                tracing::debug!(%table, %process, stage = stage.name(), since = since.get(), "under way");
            }
            Event::BucketLookedAfter {
                bucket,
                turn,
                oldest_due,
            } => {
                let oldest_due = oldest_due.map(TimestampMs::get);
                tracing::debug!(%bucket, ?turn, oldest_due, "bucket looked after");
            }
            Event::TickEnded {
                report,
                took,
                limit,
                longest_rest,
            } => tracing::debug!(?report, ?took, ?limit, ?longest_rest, "tick ended"),
            Event::Notice { about, message } => tracing::warn!(
                table = about.table.as_ref().map(tracing::field::display),
                process = about.process.as_ref().map(ProcessId::as_str),
                task = about.task.as_ref().map(tracing::field::display),
                %message,
                "notice"
            ),
        }
    }
}

/// The name of a group's task.
fn task(process: &ProcessId, index: u32) -> TaskId {
    TaskId {
        process: process.clone(),
        index,
    }
}

#[cfg(test)]
mod tests;
