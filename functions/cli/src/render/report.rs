//! What a run came to, in a table and a sentence.

use icepress_model::{Bytes, TableId, Ways};
use icepress_service::embedded::{RunReport, TableOutcome, TableReport};

use super::{change, count, counted, table};
use crate::failure::Failure;

/// A run: its tables, and the sum of it.
pub(crate) fn of_run(report: &RunReport) -> String {
    let mut text = String::new();
    if !report.tables.is_empty() {
        text.push_str(&of_tables(&report.tables));
        text.push('\n');
    }
    let of = |outcome| {
        report
            .tables
            .iter()
            .filter(|seen| seen.outcome == outcome)
            .count() as u64
    };
    let mut parts = vec![format!("{} compacted", counted(report.compacted, "table"))];
    for (number, what) in [
        (of(TableOutcome::DeletesRewritten), "with deletes rewritten"),
        (of(TableOutcome::Maintained), "tidied"),
        (of(TableOutcome::Observed), "observed"),
        (
            of(TableOutcome::Unchanged) + report.more_unchanged,
            "unchanged",
        ),
        (of(TableOutcome::Refused), "left alone"),
        (of(TableOutcome::Waiting), "waiting"),
        (report.failed, "failed"),
    ] {
        if number > 0 {
            parts.push(format!("{} {what}", count(number)));
        }
    }
    text.push_str(&parts.join(", "));
    text
}

/// Tables with what changed about them. Why one failed or was left alone was said on the standard error when it happened.
pub(crate) fn of_tables(tables: &[TableReport]) -> String {
    let header = [
        "table",
        "outcome",
        "files",
        "bytes",
        "delete files",
        "health",
    ];
    let rows = tables.iter().map(cells).collect();
    table(&header, &[2, 3, 4, 5], rows)
}

fn cells(seen: &TableReport) -> Vec<String> {
    vec![
        seen.table.to_string(),
        outcome(seen.outcome).to_owned(),
        change(seen.files_before, seen.files_after, count),
        change(seen.bytes_before, seen.bytes_after, |bytes| {
            bytes.to_string()
        }),
        change(seen.delete_files_before, seen.delete_files_after, count),
        // Rounded before they are compared: 99.6 → 100 is no change to a person.
        change(
            seen.health_before.map(f64::round),
            seen.health_after.map(f64::round),
            health,
        ),
    ]
}

/// A health score without its decimals.
pub(crate) fn health(score: f64) -> String {
    format!("{score:.0}")
}

fn outcome(outcome: TableOutcome) -> &'static str {
    match outcome {
        TableOutcome::Compacted => "compacted",
        TableOutcome::DeletesRewritten => "deletes rewritten",
        TableOutcome::Maintained => "tidied",
        TableOutcome::Observed => "observed",
        TableOutcome::Unchanged => "unchanged",
        TableOutcome::Refused => "left alone",
        TableOutcome::Waiting => "waiting",
        TableOutcome::Failed => "failed",
    }
}

/// The report of a table that could not even be looked at.
pub(crate) fn failed(table: &TableId, failure: &Failure) -> TableReport {
    TableReport {
        table: table.clone(),
        outcome: TableOutcome::Failed,
        reason: Some(failure.to_string()),
        maintained: Vec::new(),
        groups: 0,
        row_groups_in: 0,
        row_groups_out: 0,
        bytes_by_way: Ways::default(),
        files_before: None,
        files_after: None,
        bytes_before: None::<Bytes>,
        bytes_after: None,
        delete_files_before: None,
        delete_files_after: None,
        health_before: None,
        health_after: None,
    }
}
