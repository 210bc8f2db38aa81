//! How results look: numbers, tables, and where JSON goes. Rendering knows nothing of how a result came about.

use std::io::{self, BufWriter, IsTerminal as _, Write as _};

use comfy_table::{CellAlignment, LineStyle, Table, TableStyle};
use serde::Serialize;

use crate::failure::Failure;

pub(crate) mod known;
pub(crate) mod manifests;
pub(crate) mod observed;
pub(crate) mod plan;
pub(crate) mod repairs;
pub(crate) mod report;
pub(crate) mod restore;
pub(crate) mod statistics;
pub(crate) mod upkeep;
pub(crate) mod waste;

#[cfg(test)]
mod tests;

/// Where results go: the standard output, as text or as JSON.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Output {
    json: bool,
}

impl Output {
    /// JSON where asked for, else text.
    pub(crate) fn new(json: bool) -> Self {
        Self { json }
    }

    /// Whether JSON was asked for.
    pub(crate) fn is_json(self) -> bool {
        self.json
    }

    /// Whether a person looks at it as it is printed.
    pub(crate) fn is_for_a_terminal(self) -> bool {
        !self.json && io::stdout().is_terminal()
    }

    /// Prints a result: `document` as JSON, or what `text` makes of it.
    pub(crate) fn print(
        self,
        document: &impl Serialize,
        text: impl FnOnce() -> String,
    ) -> Result<(), Failure> {
        let text = if self.json {
            serde_json::to_string(document).map_err(Failure::work)?
        } else {
            text()
        };
        let mut sink = Sink::standard_output();
        sink.put(text.trim_end())?;
        sink.put("\n")?;
        sink.end()
    }
}

/// The standard output, for what is printed bit by bit.
#[derive(Debug)]
pub(crate) struct Sink(BufWriter<io::Stdout>);

impl Sink {
    pub(crate) fn standard_output() -> Self {
        Self(BufWriter::new(io::stdout()))
    }

    /// Prints a bit of it.
    pub(crate) fn put(&mut self, text: &str) -> Result<(), Failure> {
        Self::unless_closed(self.0.write_all(text.as_bytes()))
    }

    /// Prints what is left.
    pub(crate) fn end(mut self) -> Result<(), Failure> {
        Self::unless_closed(self.0.flush())
    }

    fn unless_closed(written: io::Result<()>) -> Result<(), Failure> {
        match written {
            // Whoever reads has seen enough.
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
            written => written.map_err(|error| Failure::Work(format!("standard output: {error}"))),
        }
    }
}

/// `1234567` as `1,234,567`.
pub(crate) fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut grouped = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}

/// `1 file`, `2,000 files`.
pub(crate) fn counted(number: u64, what: &str) -> String {
    let plural = if number == 1 { "" } else { "s" };
    format!("{} {what}{plural}", count(number))
}

/// `before → after`; one where they are the same; nothing where neither is known.
pub(crate) fn change<T: PartialEq>(
    before: Option<T>,
    after: Option<T>,
    show: impl Fn(T) -> String,
) -> String {
    match (before, after) {
        (Some(before), Some(after)) if before == after => show(after),
        (Some(before), Some(after)) => format!("{} → {}", show(before), show(after)),
        (Some(only), None) | (None, Some(only)) => show(only),
        (None, None) => String::new(),
    }
}

/// One line, under the header.
const STYLE: TableStyle =
    TableStyle::new().header_separator(LineStyle::none().fill('─').junction('─'));

/// A table for people: a header, and rows whose numbers stand to the right.
pub(crate) fn table(header: &[&str], numbers: &[usize], rows: Vec<Vec<String>>) -> String {
    let mut table = Table::new();
    table.load_style(STYLE);
    table.set_header(header.iter().copied());
    table.add_rows(rows);
    for number in numbers {
        if let Some(column) = table.column_mut(*number) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    let lines = table.to_string();
    let lines: Vec<&str> = lines.lines().map(str::trim_end).collect();
    lines.join("\n")
}
