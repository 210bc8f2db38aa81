//! What a run came to, table by table.

use std::{
    collections::{BTreeMap, HashSet},
    sync::{Arc, Mutex, PoisonError},
};

use icepress_coordination::{CoordinationError, TableRow, hash_of_name};
use icepress_model::{Bytes, PlanTotals, ProcessOutcome, TableId, Ways};
use serde::Serialize;

use crate::{Context, Event, Observed, Observer, Waiting, scheduler::evaluate};

/// What became of a table in a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum TableOutcome {
    /// Data files were rewritten, or there are fewer delete files.
    Compacted,
    /// What delete files say was written anew, and that is all: there are no fewer of them, or it turned out how many rows
    /// they hide.
    DeletesRewritten,
    /// Nothing was rewritten, and upkeep beside it was done: snapshots expired, say.
    Maintained,
    /// There is something to do, and it is only observed.
    Observed,
    /// There was nothing to do.
    Unchanged,
    /// It is left alone for a reason that only a person can change.
    Refused,
    /// It is due, and waits: for the end of a blocker, for its maintenance window, or for a quota.
    Waiting,
    /// Something failed; what could be done was done.
    Failed,
}

/// One table in a run.
#[derive(Debug, Clone, Serialize)]
pub struct TableReport {
    /// The table.
    #[serde(serialize_with = "as_text")]
    pub table: TableId,
    /// What became of it.
    pub outcome: TableOutcome,
    /// Why it was refused, failed or waits, one line; of a compacted table, why the rest of it waits; of an observed one, what
    /// would be done.
    pub reason: Option<String>,
    /// What was done beside rewrites, a line each.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub maintained: Vec<String>,
    /// Groups rewritten and committed or not.
    pub groups: u64,
    /// Row groups read.
    pub row_groups_in: u64,
    /// Row groups written.
    pub row_groups_out: u64,
    /// Bytes of columns written, by how they came about.
    pub bytes_by_way: Ways,
    /// Live data files before.
    pub files_before: Option<u64>,
    /// Live data files after.
    pub files_after: Option<u64>,
    /// Bytes of live data files before.
    pub bytes_before: Option<Bytes>,
    /// Bytes of live data files after.
    pub bytes_after: Option<Bytes>,
    /// Live delete files before.
    pub delete_files_before: Option<u64>,
    /// Live delete files after.
    pub delete_files_after: Option<u64>,
    /// Health before, 0 to 100.
    pub health_before: Option<f64>,
    /// Health after, 0 to 100.
    pub health_after: Option<f64>,
}

fn as_text<S: serde::Serializer>(table: &TableId, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(table)
}

/// A run.
#[derive(Debug, Clone, Serialize)]
pub struct RunReport {
    /// Tables, by name: all about which there is something to say, and the first of the others.
    pub tables: Vec<TableReport>,
    /// Tables that are unchanged, beside those in the list.
    pub more_unchanged: u64,
    /// What failed without belonging to one table: a database that could not be listed, say.
    pub errors: Vec<String>,
    /// Tables compacted.
    pub compacted: u64,
    /// Tables failed, and other errors.
    pub failed: u64,
}

/// Tables about which there is nothing to say that are listed; more are counted.
const QUIET: usize = 1_000;

#[derive(Debug, Default)]
struct Seen {
    before: Option<(PlanTotals, f64)>,
    /// Whether there was something to do.
    has_plan: bool,
    groups: u64,
    row_groups_in: u64,
    row_groups_out: u64,
    ways: Ways,
    committed: bool,
    /// What was done beside rewrites, a line each.
    maintained: Vec<String>,
    /// Whether a data file was written.
    new_data_files: bool,
    refused: Option<String>,
    waits: Option<String>,
    /// What would be done, were it not only observed.
    observed: Option<String>,
    failed: Option<String>,
}

impl Seen {
    /// Whether nothing was done, and nothing is to be said.
    fn is_quiet(&self) -> bool {
        self.stands_open() && !self.has_plan && self.groups == 0 && self.waits.is_none()
    }

    /// Whether what an earlier run found may be the last word.
    fn stands_open(&self) -> bool {
        !self.committed
            && self.maintained.is_empty()
            && self.failed.is_none()
            && self.refused.is_none()
    }
}

/// The tables of a run: those about which there is something to say, and some of the others. There may be many more of
/// these than fit into memory.
#[derive(Debug, Default)]
struct TableOutcomes {
    listed: BTreeMap<TableId, Seen>,
    /// Hashes of the names of those that are counted only.
    counted: HashSet<u64>,
    /// How long the list may become before it is shortened.
    shorten_at: usize,
}

impl TableOutcomes {
    /// Changes what is known of a table.
    fn note(&mut self, table: &TableId, change: impl FnOnce(&mut Seen)) {
        self.counted.remove(&hash_of(table));
        change(self.listed.entry(table.clone()).or_default());
        self.shorten();
    }

    /// Notes that a table was seen, and nothing else.
    fn note_unchanged(&mut self, table: &TableId) {
        if self.listed.contains_key(table) || self.counted.contains(&hash_of(table)) {
            return;
        }
        self.listed.insert(table.clone(), Seen::default());
        self.shorten();
    }

    /// Counts quiet tables beyond the first: whenever the list has doubled, which costs little, and twice the memory at most.
    fn shorten(&mut self) {
        if self.listed.len() < self.shorten_at.max(2 * QUIET) {
            return;
        }
        let mut kept = 0;
        let counted = &mut self.counted;
        self.listed.retain(|table, seen| {
            if !seen.is_quiet() {
                return true;
            }
            kept += 1;
            kept <= QUIET || !counted.insert(hash_of(table))
        });
        self.shorten_at = 2 * self.listed.len();
    }
}

fn hash_of(table: &TableId) -> u64 {
    hash_of_name(&table.to_string())
}

/// Gathers a run's events into a report, passing each on.
#[derive(Debug)]
pub(crate) struct Collector {
    next: Arc<dyn Observer>,
    tables: Mutex<TableOutcomes>,
    errors: Mutex<Vec<String>>,
}

impl Collector {
    /// A context whose events go to its own observer and to the collector returned.
    pub(crate) fn beside(context: &Context) -> (Context, Arc<Self>) {
        let collector = Arc::new(Self {
            next: Arc::clone(&context.observer),
            tables: Mutex::default(),
            errors: Mutex::default(),
        });
        let context = Context {
            observer: Arc::clone(&collector) as Arc<dyn Observer>,
            ..context.clone()
        };
        (context, collector)
    }

    /// The report: tables that changed are looked at once more, for how they are now.
    pub(crate) async fn report(&self, context: &Context) -> RunReport {
        let mut seen =
            std::mem::take(&mut *self.tables.lock().unwrap_or_else(PoisonError::into_inner));
        let mut errors =
            std::mem::take(&mut *self.errors.lock().unwrap_or_else(PoisonError::into_inner));
        if let Err(error) = add_what_stands(context, &mut seen).await {
            errors.push(format!("what stands about tables is not known: {error}"));
        }
        let mut tables = Vec::with_capacity(seen.listed.len());
        for (table, seen) in seen.listed {
            tables.push(report_of(context, table, seen).await);
        }
        let count = |outcome| {
            tables
                .iter()
                .filter(|table| table.outcome == outcome)
                .count() as u64
        };
        RunReport {
            compacted: count(TableOutcome::Compacted),
            failed: count(TableOutcome::Failed) + errors.len() as u64,
            tables,
            more_unchanged: seen.counted.len() as u64,
            errors,
        }
    }

    fn note(&self, table: &TableId, change: impl FnOnce(&mut Seen)) {
        let mut tables = self.tables.lock().unwrap_or_else(PoisonError::into_inner);
        tables.note(table, change);
    }
}

/// Why nothing is done about a table that did not change.
#[derive(Debug)]
enum Standing {
    /// It failed before and waits until it is tried again: all is not well.
    Waits(String),
    /// It is left alone until a person changes something.
    Refused(String),
    /// A blocker, its window or a quota keeps it.
    Held(String),
    /// It is only observed, and there is something to do.
    Observed(String),
}

impl Standing {
    /// What an earlier run found.
    fn of(row: &TableRow) -> Option<Self> {
        if let Some(waiting) = Waiting::of(row) {
            return Some(Self::Held(waiting.reason));
        }
        let conclusion = row.conclusion.as_deref();
        if row.failures == 0 {
            let reason = conclusion.and_then(evaluate::refusal_of_conclusion);
            let observed = Observed::of(row).filter(Observed::has_work);
            let observed = observed.map(|observed| Self::Observed(observed.to_string()));
            return reason.map(Self::Refused).or(observed);
        }
        let failure = conclusion
            .and_then(evaluate::failure_of_conclusion)
            .unwrap_or_else(|| "see explain".to_owned());
        Some(Self::Waits(format!(
            "it failed {} times in a row and waits before it is tried again: {failure}",
            row.failures
        )))
    }

    fn note(self, seen: &mut Seen) {
        match self {
            Self::Waits(reason) => seen.failed = Some(reason),
            Self::Refused(reason) => seen.refused = Some(reason),
            Self::Held(reason) => seen.waits = Some(reason),
            Self::Observed(reason) => seen.observed = Some(reason),
        }
    }
}

/// Adds why nothing is done about tables for a reason that an earlier run found. Of those that are counted only, the ones
/// that fail or wait are found where they are watched, and listed; of the listed ones the rows are read.
async fn add_what_stands(
    context: &Context,
    tables: &mut TableOutcomes,
) -> Result<(), CoordinationError> {
    if !tables.counted.is_empty() {
        let mut rows = context.watched().await?;
        while let Some(row) = rows.next().await? {
            let Ok(row) = row else { continue };
            if tables.counted.contains(&hash_of(&row.table))
                && let Some(standing) = Standing::of(&row)
            {
                tables.note(&row.table, |seen| standing.note(seen));
            }
        }
    }
    for (table, seen) in &mut tables.listed {
        if !seen.stands_open() {
            continue;
        }
        // One that can't be read was told when it was looked at.
        let row = context.store.table(table).await.ok().flatten();
        if let Some(standing) = row.as_ref().and_then(Standing::of) {
            standing.note(seen);
        }
    }
    Ok(())
}

async fn report_of(context: &Context, table: TableId, seen: Seen) -> TableReport {
    let after = if seen.committed {
        evaluate::evaluate(context, &table)
            .await
            .ok()
            .map(|(_, plan)| (plan.totals, plan.health.score))
    } else {
        seen.before
    };
    let (outcome, reason) = match (seen.failed.clone(), seen.refused.clone()) {
        (Some(failed), _) => (TableOutcome::Failed, Some(failed)),
        (None, Some(refused)) => (TableOutcome::Refused, Some(refused)),
        (None, None) if seen.committed => (done(&seen, after), seen.waits.clone()),
        (None, None) if !seen.maintained.is_empty() => {
            (TableOutcome::Maintained, seen.waits.clone())
        }
        (None, None) if seen.waits.is_some() => (TableOutcome::Waiting, seen.waits.clone()),
        (None, None) if seen.observed.is_some() => (TableOutcome::Observed, seen.observed.clone()),
        (None, None) => (TableOutcome::Unchanged, None),
    };
    TableReport {
        table,
        outcome,
        reason,
        maintained: seen.maintained,
        groups: seen.groups,
        row_groups_in: seen.row_groups_in,
        row_groups_out: seen.row_groups_out,
        bytes_by_way: seen.ways,
        files_before: seen.before.map(|(totals, _)| totals.data_files),
        files_after: after.map(|(totals, _)| totals.data_files),
        bytes_before: seen.before.map(|(totals, _)| totals.data_bytes),
        bytes_after: after.map(|(totals, _)| totals.data_bytes),
        delete_files_before: seen.before.map(|(totals, _)| totals.delete_files),
        delete_files_after: after.map(|(totals, _)| totals.delete_files),
        health_before: seen.before.map(|(_, health)| health),
        health_after: after.map(|(_, health)| health),
    }
}

/// What to call what was committed. A table whose delete files alone were rewritten is compacted if that left fewer of them
/// and did it no harm; so is one whose groups another run rewrote, of which this one only saw the commit.
fn done(seen: &Seen, after: Option<(PlanTotals, f64)>) -> TableOutcome {
    let is_better = match (seen.before, after) {
        (Some((before, health)), Some((after, health_after))) => {
            after.delete_files < before.delete_files && health_after >= health
        }
        _ => true,
    };
    if seen.new_data_files || seen.groups == 0 || is_better {
        TableOutcome::Compacted
    } else {
        TableOutcome::DeletesRewritten
    }
}

impl Observer for Collector {
    fn observe(&self, event: &Event) {
        match event {
            Event::TableUnchanged { table } => {
                let mut tables = self.tables.lock().unwrap_or_else(PoisonError::into_inner);
                tables.note_unchanged(table);
            }
            Event::Planned { table, plan, .. } => self.note(table, |seen| {
                seen.waits = None;
                seen.has_plan |= !plan.groups.is_empty();
                seen.before.get_or_insert((plan.totals, plan.health.score));
            }),
            Event::Observed {
                table,
                plan,
                observed,
            } => self.note(table, |seen| {
                seen.waits = None;
                seen.has_plan |= observed.has_work();
                seen.observed = observed.has_work().then(|| observed.to_string());
                seen.before.get_or_insert((plan.totals, plan.health.score));
            }),
            Event::Refused { table, reason } => {
                self.note(table, |seen| seen.refused = Some(reason.clone()));
            }
            Event::Waiting { table, reason, .. } => {
                self.note(table, |seen| seen.waits = Some(reason.clone()));
            }
            Event::Repeats { table, message } | Event::TableFailed { table, message } => {
                self.note(table, |seen| seen.failed = Some(message.clone()));
            }
            Event::GroupFinished {
                table,
                result: Ok(result),
                ..
            } => self.note(table, |seen| {
                seen.groups += 1;
                seen.new_data_files |= !result.data_files.is_empty();
                seen.row_groups_in += result.row_groups_in;
                seen.row_groups_out += result.row_groups_out;
                seen.ways.add(result.ways);
            }),
            Event::ProcessEnded { table, outcome, .. } => {
                self.note(table, |seen| note_end(seen, outcome));
            }
            Event::ListingFailed { database, message } => self
                .errors
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .push(format!("{database}: {message}")),
            Event::BucketFailed { bucket, message } => self
                .errors
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .push(format!("bucket {bucket}: {message}")),
            Event::GroupFinished { result: Err(_), .. }
            | Event::HandedOver { .. }
            | Event::UpkeepBegun { .. }
            | Event::DatabaseListed { .. }
            | Event::GroupStarted { .. }
            | Event::TaskFailed { .. }
            | Event::UnderWay { .. }
            | Event::BucketLookedAfter { .. }
            | Event::TickEnded { .. }
            | Event::Notice { .. } => {}
        }
        self.next.observe(event);
    }
}

fn note_end(seen: &mut Seen, outcome: &ProcessOutcome) {
    match outcome {
        ProcessOutcome::Committed { .. } => seen.committed = true,
        ProcessOutcome::PartlyCommitted { failures, .. } => {
            seen.committed = true;
            seen.failed = failures.first().cloned();
        }
        ProcessOutcome::Failed { failures, .. } => seen.failed = failures.first().cloned(),
        // What it concluded is told when something is made of it.
        ProcessOutcome::Evaluated => {}
        ProcessOutcome::Maintained { did, .. } => seen.maintained.push(did.clone()),
        ProcessOutcome::Abandoned { reason } => seen.failed = Some(reason.clone()),
    }
}
