//! `icepress run`: whatever is due, for ever or until nothing is.

use icepress_coordination::Component;
use icepress_metrics::MetricsObserver;
use icepress_model::TableId;
use icepress_service::{
    SignOfLife,
    embedded::{self, RunReport, TableOutcome, TableReport},
    tables,
};

use crate::{
    arguments::RunArguments,
    failure::{Ending, Failure},
    metrics,
    render::{Output, report},
    session::Session,
};

/// Runs one round, or round after round until a signal asks for the end.
pub(super) async fn run(
    session: &mut Session,
    wanted: &RunArguments,
    output: Output,
) -> Result<Ending, Failure> {
    let metrics = match wanted.metrics {
        Some(address) => Some(metrics::tell(&mut session.context, address).await?),
        None => None,
    };
    let session = &*session;
    let sign = SignOfLife::new(Component::Run);
    sign.give(&session.context).await;
    if wanted.once {
        let report = round(session).await?;
        name_worst_tables(metrics.as_deref());
        output.print(&report, || report::of_run(&report))?;
        return Ok(ending(&report));
    }
    let mut worst = Ending::Well;
    while !session.stop.requested() {
        sign.give(&session.context).await;
        match round(session).await {
            Ok(report) => {
                let did_something = report.compacted + report.failed > 0;
                if did_something || session.json {
                    output.print(&report, || report::of_run(&report))?;
                }
                worst = ending(&report);
            }
            Err(failure) => {
                session.screen.line(format!(
                    "error: this round failed, the next begins in {} s: {failure}",
                    wanted.interval.as_secs()
                ));
                worst = Ending::SomeFailed;
            }
        }
        name_worst_tables(metrics.as_deref());
        session.rest(wanted.interval).await;
    }
    Ok(worst)
}

fn name_worst_tables(metrics: Option<&MetricsObserver>) {
    if let Some(metrics) = metrics {
        metrics.name_worst_tables();
    }
}

async fn round(session: &Session) -> Result<RunReport, Failure> {
    if session.tables.is_empty() {
        return embedded::run_once(&session.context, session.threads, &session.stop)
            .await
            .map_err(Failure::work);
    }
    let mut reports = Vec::with_capacity(session.tables.len());
    for table in &session.tables {
        if session.stop.requested() {
            break;
        }
        reports.push(one(session, table).await?);
    }
    let count = |outcome| {
        reports
            .iter()
            .filter(|seen| seen.outcome == outcome)
            .count() as u64
    };
    Ok(RunReport {
        compacted: count(TableOutcome::Compacted),
        failed: count(TableOutcome::Failed),
        tables: reports,
        more_unchanged: 0,
        errors: Vec::new(),
    })
}

/// Compacts one table of several: a table that fails does not keep the others.
async fn one(session: &Session, table: &TableId) -> Result<TableReport, Failure> {
    let compacted = tables::compact(
        &session.context,
        table,
        false,
        session.threads,
        &session.stop,
    )
    .await;
    match compacted {
        Ok(report) => Ok(report),
        Err(error) => match super::failure_of_table(&error) {
            wrong_use @ Failure::Use(_) => Err(wrong_use),
            failure @ Failure::Work(_) => {
                session.screen.line(format!("error: {failure}"));
                Ok(report::failed(table, &failure))
            }
        },
    }
}

fn ending(report: &RunReport) -> Ending {
    if report.failed > 0 {
        Ending::SomeFailed
    } else {
        Ending::Well
    }
}
