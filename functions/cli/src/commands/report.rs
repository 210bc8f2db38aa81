//! `icepress report`: what would be done for tables that are only observed, by what stands in the state.
//!
//! Nothing is loaded or planned for it. Of however many tables there are, sums are in memory and those that are shown.

use icepress_service::{
    Mode, mode_of_row,
    tables::{KnownTable, KnownTables, Wanted},
};

use crate::{
    arguments::ReportArguments,
    failure::{Ending, Failure},
    render::{
        Output,
        known::Known,
        observed::{self as show, Report},
    },
    session::Session,
};

/// Prints it for the chosen catalog, or one of its databases.
pub(super) async fn report(
    session: &Session,
    wanted: &ReportArguments,
    output: Output,
) -> Result<Ending, Failure> {
    let of = Wanted {
        scope: session.scope(wanted.database.as_deref()),
        after: None,
        first: None,
        with_unseen: true,
    };
    let context = &session.context;
    let mut tables = KnownTables::open(context, &of)
        .await
        .map_err(Failure::work)?;
    let limit = match wanted.limit {
        0 => usize::MAX,
        limit => limit,
    };
    let mut report = Report::of(&session.catalog);
    while let Some(found) = tables.next().await.map_err(Failure::work)? {
        let (known, mode) = look(session, &found);
        report.add(found.table.database().to_string(), &known, mode, limit);
    }
    report.shorten(limit);
    report.left_out = tables.left_out().map(str::to_owned);
    output.print(&report, || show::of_report(&report))?;
    // Nothing known and nothing to be had is no empty catalog.
    match report.left_out {
        Some(why) if report.sum.tables == 0 => Err(Failure::Work(why)),
        _ => Ok(Ending::Well),
    }
}

/// What is known of a table, and its mode.
fn look(session: &Session, found: &KnownTable) -> (Known, Mode) {
    let context = &session.context;
    let (table, now) = (&found.table, context.ambient.now());
    let named = || context.settings.modes.of_name(table).mode;
    match &found.row {
        None => (Known::new(table, None, None, now), named()),
        Some(Ok(row)) => {
            let known = Known::new(table, None, Some(row), now);
            (known, mode_of_row(&context.settings, row))
        }
        Some(Err(error)) => (Known::unreadable(table, &error.to_string()), named()),
    }
}
