//! What the demo shows in the end.

use std::path::{Path, PathBuf};

use icepress_model::CatalogName;
use icepress_service::embedded::{TableOutcome, TableReport};
use serde::Serialize;

use super::WrittenTable;
use crate::render::{change, count, counted, report::health, table};

/// The demo without a run: what there is now.
#[derive(Debug, Serialize)]
pub(super) struct WrittenOnly {
    tables: Vec<MadeTable>,
    warehouse: PathBuf,
}

#[derive(Debug, Serialize)]
struct MadeTable {
    table: String,
    story: &'static str,
    rows: u64,
}

impl WrittenOnly {
    pub(super) fn new(made: &[WrittenTable], warehouse: &Path) -> Self {
        let tables = made.iter().map(|made| MadeTable {
            table: made.table.to_string(),
            story: made.story,
            rows: made.rows,
        });
        Self {
            tables: tables.collect(),
            warehouse: warehouse.to_path_buf(),
        }
    }

    /// For people.
    pub(super) fn to_text(&self) -> String {
        let folder = self.warehouse.display();
        let header = ["table", "rows", ""];
        let rows = self
            .tables
            .iter()
            .map(|made| vec![made.table.clone(), count(made.rows), made.story.to_owned()]);
        format!(
            "{}\nTo compact them:\n  PYICEBERG_HOME={folder} icepress run --once",
            table(&header, &[1], rows.collect())
        )
    }
}

/// The demo's outcome.
#[derive(Debug, Serialize)]
pub(super) struct DemoResult {
    pub(super) tables: Vec<DemoTable>,
    /// Where the tables are, if they stay.
    pub(super) warehouse: Option<PathBuf>,
}

/// One table before and after.
#[derive(Debug, Serialize)]
pub(super) struct DemoTable {
    #[serde(flatten)]
    pub(super) report: TableReport,
    pub(super) story: &'static str,
    pub(super) rows: u64,
    pub(super) rows_before: u64,
    pub(super) rows_after: u64,
    pub(super) same_rows: bool,
    pub(super) row_groups_before: u64,
    pub(super) row_groups_after: u64,
    pub(super) groups_left: u64,
}

impl DemoTable {
    fn is_well(&self) -> bool {
        self.report.outcome == TableOutcome::Compacted && self.same_rows && self.groups_left == 0
    }

    fn cells(&self) -> Vec<String> {
        let seen = &self.report;
        let bytes = |bytes: icepress_model::Bytes| bytes.to_string();
        let rounded = |score: Option<f64>| score.map(f64::round);
        vec![
            seen.table.name_in_catalog(),
            change(seen.files_before, seen.files_after, count),
            change(seen.bytes_before, seen.bytes_after, bytes),
            change(
                Some(self.row_groups_before),
                Some(self.row_groups_after),
                count,
            ),
            change(seen.delete_files_before, seen.delete_files_after, count),
            change(
                rounded(seen.health_before),
                rounded(seen.health_after),
                health,
            ),
            change(Some(self.rows_before), Some(self.rows_after), count),
            if self.same_rows {
                "the same"
            } else {
                "DIFFERENT"
            }
            .to_owned(),
        ]
    }
}

impl DemoResult {
    /// Whether every table was compacted, has the rows it had, and needs nothing more.
    pub(super) fn is_well(&self) -> bool {
        self.tables.iter().all(DemoTable::is_well)
    }

    /// For people.
    pub(super) fn to_text(&self, catalog: &CatalogName) -> String {
        let header = [
            "table",
            "files",
            "bytes",
            "row groups",
            "delete files",
            "health",
            "rows",
            "the rows are",
        ];
        let rows = self.tables.iter().map(DemoTable::cells).collect();
        let mut text = table(&header, &[1, 2, 3, 4, 5, 6], rows);
        text.push('\n');
        for table in &self.tables {
            if let Some(reason) = &table.report.reason {
                text.push_str(&format!("{}: {reason}\n", table.report.table));
            }
            if table.rows_after != table.rows {
                text.push_str(&format!(
                    "{}: its writer counted {}, a reader sees {}\n",
                    table.report.table,
                    counted(table.rows, "row"),
                    count(table.rows_after)
                ));
            }
            if table.groups_left > 0 {
                text.push_str(&format!(
                    "{}: the next run would rewrite {} more\n",
                    table.report.table,
                    counted(table.groups_left, "group")
                ));
            }
        }
        if self.is_well() {
            text.push_str("A second run would find nothing to do.\n");
        }
        if let Some(folder) = &self.warehouse {
            let folder = folder.display();
            text.push_str(&format!(
                "The tables are in {folder}. To look at them with PyIceberg:\n  \
                 PYICEBERG_HOME={folder} python3 -c \"from pyiceberg.catalog import load_catalog; \
                 print(load_catalog('{catalog}').load_table('shop.orders').scan().to_arrow())\"\n"
            ));
        }
        text
    }
}
