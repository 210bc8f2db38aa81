//! What stands between two looks: processes under way and tables that wait for their compaction, of which only the ages change.

use std::{collections::BTreeMap, time::Duration};

use icepress_model::{ProcessId, TableId, TimestampMs};
use icepress_service::Stage;

use crate::{
    catalogue::{Dimension, Metric},
    recorder::Values,
};

/// What was not seen for so long has ended where nobody here heard of it: whoever has a bucket looks after its processes every few
/// minutes.
const SEEN_FOR: Duration = Duration::from_secs(3600);

/// Tables that are remembered; of more, the youngest are forgotten.
const MOST_TABLES: usize = 1_000;

/// Tables that the log names.
const NAMED: usize = 5;

/// By table: each has one process at a time.
#[derive(Debug, Default)]
pub(crate) struct Standing(BTreeMap<TableId, Table>);

#[derive(Debug)]
struct Table {
    process: ProcessId,
    seen: TimestampMs,
    /// How far its process is, and when that was begun; `None` until somebody looked after it.
    stage: Option<(Stage, TimestampMs)>,
    /// When the oldest file was committed that it is to compact.
    oldest: Option<TimestampMs>,
}

impl Table {
    /// Since when it has waited.
    fn since(&self) -> TimestampMs {
        let begun = self.stage.map(|(_, begun)| begun);
        self.oldest.or(begun).unwrap_or(self.seen)
    }
}

impl Standing {
    /// A process was begun for the table.
    pub(crate) fn begun(
        &mut self,
        table: &TableId,
        process: &ProcessId,
        oldest: Option<TimestampMs>,
        now: TimestampMs,
    ) {
        let row = Table {
            process: process.clone(),
            seen: now,
            stage: None,
            oldest,
        };
        self.0.insert(table.clone(), row);
        self.forget_youngest();
    }

    /// It was looked after.
    pub(crate) fn looked_after(
        &mut self,
        table: &TableId,
        process: &ProcessId,
        stage: (Stage, TimestampMs),
        now: TimestampMs,
    ) {
        let known = self.0.get(table);
        let oldest = known
            .filter(|known| known.process == *process)
            .and_then(|known| known.oldest);
        let row = Table {
            process: process.clone(),
            seen: now,
            stage: Some(stage),
            oldest,
        };
        self.0.insert(table.clone(), row);
        self.forget_youngest();
    }

    /// The table's process ended, or it turned out that it has none.
    pub(crate) fn ended(&mut self, table: &TableId) {
        self.0.remove(table);
    }

    fn forget_youngest(&mut self) {
        if self.0.len() > MOST_TABLES {
            let youngest = self.0.iter().max_by_key(|(_, row)| row.since());
            if let Some(table) = youngest.map(|(table, _)| table.clone()) {
                self.0.remove(&table);
            }
        }
    }

    /// Records the ages.
    pub(crate) fn record(&mut self, values: &mut Values, now: TimestampMs) {
        self.0.retain(|_, row| now.since(row.seen) < SEEN_FOR);
        for (table, row) in &self.0 {
            if let Some((stage, begun)) = row.stage {
                let age = now.since(begun).as_secs_f64();
                let labels = [(Dimension::Stage, stage.name())];
                values.raise(Metric::OldestProcess, labels, age);
            }
            if let Some(oldest) = row.oldest {
                let lag = now.since(oldest).as_secs_f64();
                let labels = [(Dimension::Catalog, table.catalog.as_str())];
                values.raise(Metric::CompactionLag, labels, lag);
            }
        }
    }

    /// The tables whose files have waited longest, each with its wait, in one line; empty where none has.
    pub(crate) fn worst(&self, now: TimestampMs) -> String {
        let mut lagging: Vec<(&TableId, TimestampMs)> = self
            .0
            .iter()
            .filter_map(|(table, row)| Some((table, row.oldest?)))
            .collect();
        lagging.sort_by_key(|(_, oldest)| *oldest);
        let named = lagging.iter().take(NAMED);
        let named = named.map(|(table, oldest)| {
            let lag = now.since(*oldest).as_secs();
            format!("{table} {lag} s")
        });
        named.collect::<Vec<_>>().join(", ")
    }

    pub(crate) fn clear(&mut self) {
        self.0.clear();
    }
}
