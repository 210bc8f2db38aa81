//! The table as a plain list of rows, and what each commit does to it. Knows nothing of files.

use std::collections::{BTreeMap, HashSet};

use iceberg::spec::TableMetadata;

use super::{
    shape::{key_of, project},
    values::{Columns, Value},
};

/// A row, as it was inserted.
#[derive(Debug, Clone)]
pub(super) struct ModelRow {
    /// Its columns by the ids of then; schema changes never touch them.
    pub(super) columns: Columns,
    /// The partition spec that its file was written under.
    pub(super) spec_id: i32,
    /// Its partition under that spec.
    pub(super) partition: Vec<Value>,
    /// In format version 3, `_row_id` and `_last_updated_sequence_number`, as they were when they were first seen.
    pub(super) lineage: Option<(i64, i64)>,
}

/// Where an equality delete applies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Scope {
    /// In one partition of one spec.
    Partition(i32, Vec<Value>),
    /// In the whole table.
    Everywhere,
}

/// All live rows, by the value of the column `id`, which never repeats and never changes.
#[derive(Debug, Clone, Default)]
pub(super) struct Model {
    rows: BTreeMap<i64, ModelRow>,
}

impl Model {
    /// Inserts a row.
    pub(super) fn insert(&mut self, id: i64, row: ModelRow) {
        assert!(self.rows.insert(id, row).is_none(), "row {id} is new");
    }

    /// Deletes a row, if it is there.
    pub(super) fn delete(&mut self, id: i64) {
        self.rows.remove(&id);
    }

    /// Deletes what is there now and equals one of `keys` in the fields `ids`, NULL being equal to NULL alone. Rows that
    /// the same commit inserts are inserted afterwards: an equality delete never hides those.
    pub(super) fn delete_equal(
        &mut self,
        metadata: &TableMetadata,
        scope: &Scope,
        ids: &[i32],
        keys: &HashSet<Vec<Value>>,
    ) {
        self.rows.retain(|_, row| {
            let is_in = match scope {
                Scope::Everywhere => true,
                Scope::Partition(spec_id, partition) => {
                    row.spec_id == *spec_id && row.partition == *partition
                }
            };
            !(is_in && keys.contains(&self::key(metadata, &row.columns, ids)))
        });
    }

    /// The rows by id, as a reader of the table's current schema sees them.
    pub(super) fn visible(&self, metadata: &TableMetadata) -> BTreeMap<i64, Columns> {
        let fields = metadata.current_schema().as_struct().fields();
        self.rows
            .iter()
            .map(|(id, row)| (*id, project(fields, &row.columns)))
            .collect()
    }

    /// One row, to note its lineage.
    pub(super) fn row_mut(&mut self, id: i64) -> Option<&mut ModelRow> {
        self.rows.get_mut(&id)
    }

    /// The ids of all rows, in order.
    pub(super) fn ids(&self) -> Vec<i64> {
        self.rows.keys().copied().collect()
    }
}

/// A row's values in some fields.
pub(super) fn key(metadata: &TableMetadata, columns: &Columns, ids: &[i32]) -> Vec<Value> {
    ids.iter()
        .map(|id| key_of(metadata, columns, *id))
        .collect()
}
