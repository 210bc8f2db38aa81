//! Statistics of partitions that were or would be written, for people.

use icepress_model::TableId;
use icepress_upkeep::statistics::{StatisticsPlan, StatisticsReport};

use super::counted;

/// What was done.
pub(crate) fn of_report(table: &TableId, report: &StatisticsReport) -> String {
    match &report.written {
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
            "{table}: no statistics are written: {}\n",
            report.plan.reason
        ),
    }
}

/// What would be done.
pub(crate) fn of_plan(table: &TableId, plan: &StatisticsPlan) -> String {
    match plan.write {
        true => format!("{table}: statistics would be written: {}\n", plan.reason),
        false => format!("{table}: no statistics would be written: {}\n", plan.reason),
    }
}
