//! What is kept for nothing, for people.

use icepress_model::{CatalogName, NanoDollars};
use icepress_service::waste::{CatalogWaste, TableWaste, Waste, WasteKind};

use super::{counted, table};

/// Tables and folders that are named; more are counted.
const NAMED: usize = 50;

/// The dearest tables first.
pub(crate) fn of_catalog(catalog: &CatalogName, found: &CatalogWaste) -> String {
    let mut text = format!(
        "{catalog}: {} a month for nothing, in {}\n",
        dollars(found.dollars_a_month),
        counted(found.tables.len() as u64, "table")
    );
    for (process, waste) in &found.freed_by {
        text.push_str(&format!("  {process} would free {}\n", of_waste(waste)));
    }
    let mut tables: Vec<(&String, &TableWaste)> = found.tables.iter().collect();
    tables.retain(|(_, waste)| !waste.kinds.is_empty());
    tables.sort_by(|left, right| right.1.dollars_a_month.total_cmp(&left.1.dollars_a_month));
    let header = [
        "table",
        "a month",
        "dead snapshots",
        "orphans",
        "small files",
        "delete files",
        "cold small",
    ];
    let rows: Vec<Vec<String>> = tables
        .iter()
        .take(NAMED)
        .map(|(name, waste)| {
            let cell = |kind| match waste.kinds.get(&kind) {
                None => "-".to_owned(),
                Some(waste) => dollars(waste.dollars_a_month),
            };
            let first = [(*name).clone(), dollars(waste.dollars_a_month)];
            first.into_iter().chain(WasteKind::ALL.map(cell)).collect()
        })
        .collect();
    if !rows.is_empty() {
        text.push('\n');
        text.push_str(&table(&header, &[1, 2, 3, 4, 5, 6], rows));
        text.push('\n');
    }
    if tables.len() > NAMED {
        let more = counted((tables.len() - NAMED) as u64, "table");
        text.push_str(&format!("{more} more (--json has all)\n"));
    }
    for unowned in found.unowned.iter().take(NAMED) {
        let (folder, waste) = (&unowned.folder, of_waste(&unowned.waste));
        text.push_str(&format!(
            "of no table, and not counted: {folder}: {waste}\n"
        ));
    }
    for (name, waste) in &found.tables {
        for untold in &waste.untold {
            text.push_str(&format!("{name}: not told: {untold}\n"));
        }
    }
    for unread in &found.unread {
        text.push_str(&format!("not read: {unread}\n"));
    }
    text
}

fn of_waste(waste: &Waste) -> String {
    format!(
        "{} a month: {} ({})",
        dollars(waste.dollars_a_month),
        counted(waste.files, "file"),
        waste.bytes
    )
}

fn dollars(dollars: f64) -> String {
    NanoDollars::from_dollars(dollars).to_string()
}
