//! What happens, told to whoever wants to know: a progress bar, a log, a report.

use std::{fmt::Debug, sync::Arc};

use icepress_model::{
    BucketId, Bytes, GroupResult, ProcessId, ProcessKind, ProcessOutcome, Rows, TableId, TablePlan,
    TaskId, TimestampMs,
};
use icepress_rewrite::Progress;

use crate::Observed;

/// Something that happened.
#[derive(Debug, Clone)]
pub enum Event {
    /// A census listed a database.
    DatabaseListed {
        /// `catalog.namespace`.
        database: String,
        /// Tables in it.
        tables: u64,
        /// Of those, new or moved since the last census.
        changed: u64,
    },
    /// A census saw a table, and nothing about it changed.
    TableUnchanged {
        /// The table.
        table: TableId,
    },
    /// A database could not be listed, or one of its tables not be told about. The others go on.
    ListingFailed {
        /// What was listed.
        database: String,
        /// One line.
        message: String,
    },
    /// A bucket was given up in the midst of its turn; the others go on.
    BucketFailed {
        /// The bucket.
        bucket: BucketId,
        /// One line.
        message: String,
    },
    /// A table was looked at, and a plan made: an empty one where there is nothing to do.
    Planned {
        /// The table.
        table: TableId,
        /// The plan.
        plan: Arc<TablePlan>,
        /// The process that carries it out; `None` for an empty plan.
        process: Option<ProcessId>,
    },
    /// A table that is only observed was looked at.
    Observed {
        /// The table.
        table: TableId,
        /// The plan that is not carried out.
        plan: Arc<TablePlan>,
        /// What it comes to.
        observed: Observed,
    },
    /// A process of upkeep was begun.
    UpkeepBegun {
        /// The table.
        table: TableId,
        /// The process.
        process: ProcessId,
        /// Its kind.
        kind: ProcessKind,
        /// Why, one line.
        reason: String,
    },
    /// A table is left alone for a reason that only a person can change.
    Refused {
        /// The table.
        table: TableId,
        /// One line.
        reason: String,
    },
    /// A table is due, and waits.
    Waiting {
        /// The table.
        table: TableId,
        /// For what, one line.
        reason: String,
        /// Until when, as far as is known.
        until: Option<TimestampMs>,
    },
    /// A plan would do again what the last process did. That is an error of Icepress; such groups are left alone.
    Repeats {
        /// The table.
        table: TableId,
        /// One line.
        message: String,
    },
    /// A table is more than whoever looks at tables gets to the end of: an optimizer looks at it.
    HandedOver {
        /// The table.
        table: TableId,
        /// The process that looks at it.
        process: ProcessId,
        /// Why, one line.
        reason: String,
    },
    /// Something about a table failed; it is tried again later.
    TableFailed {
        /// The table.
        table: TableId,
        /// One line.
        message: String,
    },
    /// The rewrite of a group began.
    GroupStarted {
        /// The table.
        table: TableId,
        /// The process.
        process: ProcessId,
        /// Which group of its plan.
        index: u32,
        /// Rows to read.
        rows: Rows,
        /// Bytes to read.
        bytes: Bytes,
        /// How far it is; grows while it works.
        progress: Arc<Progress>,
    },
    /// The rewrite of a group ended: with its result, or with the reason it failed.
    GroupFinished {
        /// The table.
        table: TableId,
        /// The process.
        process: ProcessId,
        /// Which group of its plan.
        index: u32,
        /// What came of it.
        result: Result<GroupResult, String>,
    },
    /// A task failed for good: its process goes on without that group, and the table is planned anew.
    TaskFailed {
        /// The table.
        table: TableId,
        /// The task.
        task: TaskId,
        /// Why, one line.
        reason: String,
    },
    /// A process ended.
    ProcessEnded {
        /// The table.
        table: TableId,
        /// The process.
        process: ProcessId,
        /// How.
        outcome: ProcessOutcome,
        /// Delete files that the commit removed.
        removed_delete_files: u64,
    },
    /// Something unexpected about coordination that costs nobody a row: a lease lost, an unreadable row.
    Notice {
        /// One line.
        message: String,
    },
}

/// Somebody who wants to know.
pub trait Observer: Send + Sync + Debug {
    /// Called for each event, in the order of things for each table. Must not block.
    fn observe(&self, event: &Event);
}

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
            } => tracing::info!(
                %table,
                process = process.as_ref().map(ProcessId::as_str),
                groups = plan.groups.len(),
                data_files = plan.totals.data_files,
                delete_files = plan.totals.delete_files,
                health = plan.health.score,
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
                reason,
                until,
            } => tracing::info!(%table, %reason, until = until.map(TimestampMs::get), "waits"),
            // infra/ counts these lines by their message too.
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
                tracing::info!(%table, %process, index, %rows, bytes = bytes.get(), "group started");
            }
            Event::GroupFinished {
                table,
                process,
                index,
                result,
            } => match result {
                Ok(result) => tracing::info!(
                    %table, %process, index,
                    rows_in = result.rows_in.get(),
                    rows_deleted = result.rows_deleted.get(),
                    files_out = result.file_paths().len(),
                    bytes_out = result.bytes_out.get(),
                    "group finished"
                ),
                Err(message) => tracing::error!(%table, %process, index, %message, "group failed"),
            },
            // infra/ counts these lines by their message, and raises an alarm.
            Event::TaskFailed {
                table,
                task,
                reason,
            } => tracing::error!(%table, %task, %reason, "task failed for good"),
            Event::ProcessEnded {
                table,
                process,
                outcome,
                removed_delete_files,
            } => {
                tracing::info!(%table, %process, ?outcome, removed_delete_files, "process ended");
            }
            Event::Notice { message } => tracing::warn!(%message, "notice"),
        }
    }
}
