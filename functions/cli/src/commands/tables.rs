//! `icepress tables`: what is in the catalog, and what is known of it.
//!
//! Nothing is loaded or planned for it: what is shown stands in the state. By name, tables are printed as they are read; in
//! another order only the first of them are kept.

use icepress_coordination::TableKey;
use icepress_service::tables::{KnownTables, Wanted};
use serde_json::json;

use crate::{
    arguments::TablesArguments,
    failure::{Ending, Failure},
    render::{
        Output, Sink, counted,
        known::{Known, SortBy, State},
        table,
    },
    session::Session,
};

/// Tables shown on a terminal, and in another order than by name, where nobody says how many.
const SHOWN: usize = 100;
/// Tables whose columns are made equally wide.
const TOGETHER: usize = 1_000;
/// Lines about failures below so many tables; more are counted.
const LINES: usize = 20;

const HEADER: [&str; 6] = ["table", "state", "health", "files", "bytes", "delete files"];

/// Lists tables of the chosen catalog.
pub(super) async fn tables(
    session: &Session,
    wanted: &TablesArguments,
    output: Output,
) -> Result<Ending, Failure> {
    let limit = match wanted.limit {
        Some(0) => None,
        Some(limit) => Some(limit),
        None if wanted.sort != SortBy::Name || output.is_for_a_terminal() => Some(SHOWN),
        None => None,
    };
    let mut found = Found::open(session, wanted, limit).await?;
    let mut page = Page::begin(output)?;
    match wanted.sort {
        SortBy::Name => {
            while page.shown < limit.unwrap_or(usize::MAX) {
                let Some((key, known)) = found.next().await? else {
                    break;
                };
                page.show(&known)?;
                page.last = Some(key);
            }
            // A table more is needed to know whether there is one.
            page.has_more = limit.is_some() && found.next().await?.is_some();
        }
        by => {
            let mut first = First::new(by, limit);
            while let Some((_, known)) = found.next().await? {
                first.add(known);
            }
            page.not_shown = first.left_out;
            for known in first.in_order() {
                page.show(&known)?;
            }
        }
    }
    let left_out = found.tables.left_out();
    // Nothing known and nothing to be had is no empty catalog. Without JSON the error says it all.
    let failed = left_out.filter(|_| page.shown == 0).map(str::to_owned);
    if failed.is_none() || output.is_json() {
        page.end(session, wanted, left_out)?;
    }
    failed.map_or(Ok(Ending::Well), |why| Err(Failure::Work(why)))
}

/// The tables asked for, by name.
struct Found<'a> {
    tables: KnownTables,
    states: &'a [State],
    now: icepress_model::TimestampMs,
}

impl<'a> Found<'a> {
    async fn open(
        session: &Session,
        wanted: &'a TablesArguments,
        limit: Option<usize>,
    ) -> Result<Self, Failure> {
        let after = wanted.after.as_deref().map(TableKey::parse).transpose();
        let after = after.map_err(|error| Failure::Use(format!("--after: {error}")))?;
        let is_whole = wanted.sort == SortBy::Name && wanted.states.is_empty();
        let of = Wanted {
            scope: session.scope(wanted.database.as_deref()),
            after,
            first: limit.filter(|_| is_whole).map(|limit| limit + 1),
            with_unseen: wanted.states.is_empty() || wanted.states.contains(&State::New),
        };
        let tables = KnownTables::open(&session.context, &of).await;
        Ok(Self {
            tables: tables.map_err(Failure::work)?,
            states: &wanted.states,
            now: session.context.ambient.now(),
        })
    }

    async fn next(&mut self) -> Result<Option<(TableKey, Known)>, Failure> {
        while let Some(found) = self.tables.next().await.map_err(Failure::work)? {
            let known = match found.row {
                None => Known::new(&found.table, None, None, self.now),
                Some(Ok(row)) => Known::new(&found.table, None, Some(&row), self.now),
                Some(Err(error)) => Known::unreadable(&found.table, &error.to_string()),
            };
            if self.states.is_empty() || self.states.contains(&known.state()) {
                return Ok(Some((found.key, known)));
            }
        }
        Ok(None)
    }
}

/// The first tables in an order, of however many.
struct First {
    by: SortBy,
    limit: usize,
    kept: Vec<Known>,
    left_out: u64,
}

impl First {
    fn new(by: SortBy, limit: Option<usize>) -> Self {
        Self {
            by,
            limit: limit.unwrap_or(usize::MAX),
            kept: Vec::new(),
            left_out: 0,
        }
    }

    fn add(&mut self, known: Known) {
        self.kept.push(known);
        // Sorted once in a while: that costs little, and twice the memory at most.
        if self.kept.len() >= self.limit.saturating_mul(2).saturating_add(TOGETHER) {
            self.shorten();
        }
    }

    fn shorten(&mut self) {
        let by = self.by;
        self.kept.sort_by(|a, b| a.compare(b, by));
        self.left_out += self.kept.len().saturating_sub(self.limit) as u64;
        self.kept.truncate(self.limit);
    }

    fn in_order(mut self) -> Vec<Known> {
        self.shorten();
        self.kept
    }
}

/// What is printed, and what was left out.
struct Page {
    output: Output,
    sink: Sink,
    shown: usize,
    /// Rows whose columns are not printed yet.
    rows: Vec<Vec<String>>,
    /// What is to be said below them.
    lines: Vec<String>,
    more_lines: u64,
    unseen: u64,
    observed: u64,
    rewritten: u64,
    last: Option<TableKey>,
    has_more: bool,
    not_shown: u64,
}

impl Page {
    fn begin(output: Output) -> Result<Self, Failure> {
        let mut sink = Sink::standard_output();
        if output.is_json() {
            sink.put("{\"tables\":[")?;
        }
        Ok(Self {
            output,
            sink,
            shown: 0,
            rows: Vec::new(),
            lines: Vec::new(),
            more_lines: 0,
            unseen: 0,
            observed: 0,
            rewritten: 0,
            last: None,
            has_more: false,
            not_shown: 0,
        })
    }

    fn show(&mut self, known: &Known) -> Result<(), Failure> {
        self.shown += 1;
        if self.output.is_json() {
            let separator = if self.shown > 1 { "," } else { "" };
            let text = serde_json::to_string(known).map_err(Failure::work)?;
            return self.sink.put(&format!("{separator}{text}"));
        }
        self.unseen += u64::from(known.state() == State::New);
        self.observed += u64::from(known.state() == State::Observed);
        self.rewritten += u64::from(known.was_rewritten_since());
        self.rows.push(known.cells());
        match known.failure_line() {
            Some(_) if self.lines.len() >= LINES => self.more_lines += 1,
            line => self.lines.extend(line),
        }
        if self.rows.len() >= TOGETHER {
            self.print_rows()?;
        }
        Ok(())
    }

    fn print_rows(&mut self) -> Result<(), Failure> {
        let rows = std::mem::take(&mut self.rows);
        if rows.is_empty() {
            return Ok(());
        }
        self.sink.put(&table(&HEADER, &[2, 3, 4, 5], rows))?;
        self.sink.put("\n")
    }

    fn end(
        mut self,
        session: &Session,
        wanted: &TablesArguments,
        left_out: Option<&str>,
    ) -> Result<(), Failure> {
        let next = self.last.take().filter(|_| self.has_more);
        if self.output.is_json() {
            let next = json!(next.as_ref().map(TableKey::as_str));
            let end = format!("],\"next\":{next},\"left_out\":{}}}\n", json!(left_out));
            self.sink.put(&end)?;
            return self.sink.end();
        }
        self.print_rows()?;
        for line in self.closing_lines(session, wanted, left_out, next.as_ref()) {
            self.sink.put(&format!("{line}\n"))?;
        }
        self.sink.end()
    }

    fn closing_lines(
        &mut self,
        session: &Session,
        wanted: &TablesArguments,
        left_out: Option<&str>,
        next: Option<&TableKey>,
    ) -> Vec<String> {
        let mut lines = std::mem::take(&mut self.lines);
        if self.more_lines > 0 {
            lines.push(format!(
                "{} more fail, wait or are left alone: `icepress explain TABLE` says why",
                self.more_lines
            ));
        }
        if self.rewritten > 0 {
            lines.push(format!(
                "* rewritten since Icepress last looked ({}): health and sizes are from before; \
                 `icepress explain TABLE` looks now",
                counted(self.rewritten, "table")
            ));
        }
        if self.observed > 0 {
            lines.push(format!(
                "observed: nothing is begun for {}; `icepress report` says what would be done",
                counted(self.observed, "table")
            ));
        }
        if self.unseen > 0 {
            lines.push(format!(
                "new: Icepress never looked at {}; `icepress run` looks at all, `icepress plan TABLE` at one",
                counted(self.unseen, "table")
            ));
        }
        if let Some(left_out) = left_out {
            lines.push(format!(
                "tables that Icepress never looked at may be missing here: {left_out}"
            ));
        }
        if let Some(next) = next {
            lines.push(format!(
                "there are more: go on with --after '{}', or pick some with --database, --state, --sort, --limit",
                next.as_str()
            ));
        }
        if self.not_shown > 0 {
            lines.push(format!(
                "{} more: --limit shows more, or all with 0",
                counted(self.not_shown, "table")
            ));
        }
        if self.shown == 0 {
            lines.insert(0, nothing(session, wanted));
        }
        lines
    }
}

fn nothing(session: &Session, wanted: &TablesArguments) -> String {
    let place = match &wanted.database {
        Some(database) => format!("database {}.{database}", session.catalog),
        None => format!("catalog {}", session.catalog),
    };
    if wanted.states.is_empty() && wanted.after.is_none() {
        format!("{place} has no tables")
    } else {
        format!("{place} has no such tables")
    }
}

#[cfg(test)]
mod tests;
