//! Statistics that were or would be written, for people.

use std::fmt::Write as _;

use icepress_model::TableId;
use icepress_upkeep::statistics::{StatisticsPlan, StatisticsReport};

use super::counted;

/// What was done.
pub(crate) fn of_report(table: &TableId, report: &StatisticsReport) -> String {
    let mut text = match &report.written {
        Some(written) => format!(
            "{table}: statistics of {} written ({}){}\n  {}\n",
            counted(written.partitions, "partition"),
            written.bytes,
            match written.incremental {
                true => ", counted from earlier ones on",
                false => "",
            },
            written.path
        ),
        None => format!(
            "{table}: no statistics of partitions are written: {}\n",
            report.plan.reason
        ),
    };
    match (&report.sketches, &report.plan.ndv) {
        (Some(written), _) => {
            let _ = writeln!(
                text,
                "{table}: sketches of distinct values of {} written ({}), {} of them counted from earlier ones on\n  {}",
                counted(written.columns, "column"),
                written.bytes,
                written.incremental,
                written.path
            );
            for (column, ndv) in &written.ndv {
                let _ = writeln!(text, "  {column}: about {ndv}");
            }
        }
        (None, Some(ndv)) => {
            let _ = writeln!(
                text,
                "{table}: no sketches of distinct values are written: {}",
                ndv.reason
            );
        }
        (None, None) => {}
    }
    text
}

/// What would be done.
pub(crate) fn of_plan(table: &TableId, plan: &StatisticsPlan) -> String {
    let mut text = match plan.write {
        true => format!(
            "{table}: statistics of partitions would be written: {}\n",
            plan.reason
        ),
        false => format!(
            "{table}: no statistics of partitions would be written: {}\n",
            plan.reason
        ),
    };
    match &plan.ndv {
        Some(ndv) if ndv.write => {
            let _ = writeln!(
                text,
                "{table}: distinct values of {} would be counted: {}; about {} to read, of {} in all columns",
                counted(ndv.columns.len() as u64, "column"),
                ndv.reason,
                counted(ndv.files, "data file"),
                ndv.bytes
            );
        }
        Some(ndv) => {
            let _ = writeln!(
                text,
                "{table}: no distinct values would be counted: {}",
                ndv.reason
            );
        }
        None => {}
    }
    text
}
