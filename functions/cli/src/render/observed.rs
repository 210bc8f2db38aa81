//! What would be done for tables that are only observed, for people.

use std::collections::BTreeMap;

use icepress_model::{Bytes, CatalogName, NanoDollars};
use icepress_service::{Mode, Observed};
use serde::Serialize;

use super::{
    count, counted,
    known::{Known, State, word},
    report::health,
    table,
};

#[cfg(test)]
mod tests;

/// Databases that are listed; more are in the JSON.
const DATABASES: usize = 50;

/// Tables that are kept beyond those that are shown, before the list is shortened.
const TOGETHER: usize = 1_000;

/// What many tables come to.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub(crate) struct Sum {
    pub(crate) tables: u64,
    /// Tables that were looked at.
    pub(crate) evaluated: u64,
    pub(crate) states: BTreeMap<State, u64>,
    pub(crate) modes: BTreeMap<Mode, u64>,
    /// Tables for which anything would be done.
    pub(crate) with_work: u64,
    pub(crate) groups: u64,
    pub(crate) files: u64,
    pub(crate) bytes: Bytes,
    pub(crate) delete_files: u64,
    pub(crate) dollars: f64,
    pub(crate) frees: Bytes,
    pub(crate) later_files: u64,
    pub(crate) later_bytes: Bytes,
}

impl Sum {
    fn add(&mut self, known: &Known, mode: Mode) {
        self.tables += 1;
        self.evaluated += u64::from(known.was_evaluated());
        *self.states.entry(known.state()).or_default() += 1;
        *self.modes.entry(mode).or_default() += 1;
        let Some(would) = known.observed() else {
            return;
        };
        self.with_work += u64::from(would.has_work());
        self.groups += would.groups;
        self.files += would.files;
        self.bytes += would.bytes;
        self.delete_files += would.delete_files;
        self.dollars += would.whole_price().dollars();
        self.frees += would.all_freed();
        self.later_files += would.later_files;
        self.later_bytes += would.later_bytes;
    }

    /// What it would cost.
    pub(crate) fn price(&self) -> NanoDollars {
        NanoDollars::from_dollars(self.dollars)
    }
}

/// A table for which something would be done.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Worth {
    pub(crate) table: String,
    pub(crate) mode: Mode,
    pub(crate) state: State,
    pub(crate) health: Option<f64>,
    pub(crate) dollars: f64,
    pub(crate) would: Observed,
}

/// The whole.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Report {
    pub(crate) catalog: String,
    pub(crate) sum: Sum,
    pub(crate) databases: BTreeMap<String, Sum>,
    /// Those with most to rewrite first.
    pub(crate) tables: Vec<Worth>,
    pub(crate) more_tables: u64,
    /// Why tables that nobody looked at may be missing.
    pub(crate) left_out: Option<String>,
}

impl Report {
    /// Of a catalog of which no table was added yet.
    pub(crate) fn of(catalog: &CatalogName) -> Self {
        Self {
            catalog: catalog.to_string(),
            ..Self::default()
        }
    }

    /// Adds a table, of which no more than about `limit` are kept.
    pub(crate) fn add(&mut self, database: String, known: &Known, mode: Mode, limit: usize) {
        self.sum.add(known, mode);
        self.databases.entry(database).or_default().add(known, mode);
        let Some(would) = known.observed().filter(|would| would.has_work()) else {
            return;
        };
        self.tables.push(Worth {
            table: known.name().to_owned(),
            mode,
            state: known.state(),
            health: known.health(),
            dollars: would.whole_price().dollars(),
            would: would.clone(),
        });
        if self.tables.len() >= limit.saturating_mul(2).saturating_add(TOGETHER) {
            self.shorten(limit);
        }
    }

    /// Keeps those with most to rewrite.
    pub(crate) fn shorten(&mut self, limit: usize) {
        self.tables.sort_by(|a, b| {
            let most = (b.would.bytes, b.would.all_freed());
            let order = most.cmp(&(a.would.bytes, a.would.all_freed()));
            order.then_with(|| a.table.cmp(&b.table))
        });
        self.more_tables += self.tables.len().saturating_sub(limit) as u64;
        self.tables.truncate(limit);
    }
}

/// The sum, its databases, and the tables with most to rewrite.
pub(crate) fn of_report(report: &Report) -> String {
    let sum = &report.sum;
    let mut text = format!("{}: {}\n", report.catalog, of_sum(sum));
    if sum.later_files > 0 {
        text.push_str(&format!(
            "  {} in {} come after that: plans were full\n",
            sum.later_bytes,
            counted(sum.later_files, "file")
        ));
    }
    text.push_str(&format!("  {}\n", of_tables(sum)));
    text.push_str(&format!("  mode: {}\n", of_modes(sum)));
    if report.databases.len() > 1 {
        text.push('\n');
        text.push_str(&databases(report));
        text.push('\n');
    }
    if !report.tables.is_empty() {
        text.push('\n');
        text.push_str(&tables(report));
        text.push('\n');
    }
    if report.more_tables > 0 {
        let more = counted(report.more_tables, "table");
        text.push_str(&format!(
            "{more} more would be worked on: --limit shows more, or all with 0\n"
        ));
    }
    if let Some(left_out) = &report.left_out {
        text.push_str(&format!(
            "tables that Icepress never looked at may be missing here: {left_out}\n"
        ));
    }
    if sum.with_work > 0 {
        text.push_str("to have it done: mode = \"maintain\", for all tables or by name; or `icepress compact TABLE` for one\n");
    }
    text
}

fn of_sum(sum: &Sum) -> String {
    if sum.with_work == 0 {
        return "nothing would be done for tables that are only observed".to_owned();
    }
    format!(
        "would rewrite {} in {} for {}, and free {}, in {}",
        sum.bytes,
        counted(sum.files, "file"),
        sum.price(),
        sum.frees,
        counted(sum.with_work, "table")
    )
}

fn of_tables(sum: &Sum) -> String {
    let mut parts = vec![format!("{} evaluated", count(sum.evaluated))];
    for (state, number) in &sum.states {
        parts.push(format!("{} {}", count(*number), word(*state)));
    }
    format!("{}: {}", counted(sum.tables, "table"), parts.join(", "))
}

fn of_modes(sum: &Sum) -> String {
    let modes = sum.modes.iter();
    let modes: Vec<String> = modes
        .map(|(mode, number)| format!("{mode} {}", counted(*number, "table")))
        .collect();
    match modes.is_empty() {
        true => "no table".to_owned(),
        false => modes.join(", "),
    }
}

fn databases(report: &Report) -> String {
    let header = [
        "database",
        "tables",
        "evaluated",
        "waiting",
        "refused",
        "failing",
        "observe",
        "bytes",
        "files",
        "price",
        "frees",
    ];
    let of_state = |sum: &Sum, state| count(sum.states.get(&state).copied().unwrap_or(0));
    let rows = report.databases.iter().take(DATABASES).map(|(name, sum)| {
        vec![
            name.clone(),
            count(sum.tables),
            count(sum.evaluated),
            of_state(sum, State::Waiting),
            of_state(sum, State::Refused),
            of_state(sum, State::Failing),
            count(sum.modes.get(&Mode::Observe).copied().unwrap_or(0)),
            sum.bytes.to_string(),
            count(sum.files),
            sum.price().to_string(),
            sum.frees.to_string(),
        ]
    });
    let mut text = table(&header, &[1, 2, 3, 4, 5, 6, 7, 8, 9, 10], rows.collect());
    if report.databases.len() > DATABASES {
        let more = counted((report.databases.len() - DATABASES) as u64, "database");
        text.push_str(&format!("\n{more} more (--json has all)"));
    }
    text
}

fn tables(report: &Report) -> String {
    let header = [
        "table",
        "mode",
        "state",
        "health",
        "bytes",
        "files",
        "delete files",
        "price",
        "frees",
        "upkeep",
    ];
    let rows = report.tables.iter().map(|worth| {
        let would = &worth.would;
        vec![
            worth.table.clone(),
            worth.mode.to_string(),
            word(worth.state).to_owned(),
            worth.health.map(health).unwrap_or_default(),
            would.bytes.to_string(),
            count(would.files),
            count(would.delete_files),
            would.whole_price().to_string(),
            would.all_freed().to_string(),
            would.kinds(),
        ]
    });
    table(&header, &[3, 4, 5, 6, 7, 8], rows.collect())
}
