//! Row lineage (specification, *Row Lineage*): every row of a table of format version 3 has an id of its own, which it
//! keeps, and says in which snapshot it last changed.

use std::collections::{BTreeMap, BTreeSet};

use iceberg::spec::{FormatVersion, TableMetadata};

use crate::{reader::LiveRow, rows::Lineage};

/// Holds the rows of a table's current snapshot against what was known of them, by `id`; `written` are those that its
/// snapshot wrote or changed. Returns what is known now.
pub(super) fn judge(
    metadata: &TableMetadata,
    known: &BTreeMap<i64, Lineage>,
    rows: &[LiveRow],
    written: &BTreeSet<i64>,
) -> Result<BTreeMap<i64, Lineage>, String> {
    let mut found = BTreeMap::new();
    let Some(snapshot) = metadata.current_snapshot() else {
        return Ok(found);
    };
    if metadata.format_version() < FormatVersion::V3 {
        return Ok(found);
    }
    let number = snapshot.sequence_number();
    let mut row_ids = BTreeSet::new();
    for live in rows {
        let id = live.row.id;
        let Some(lineage) = live.lineage else {
            // The snapshots of before an upgrade know no lineage; the first one after it gives ids to all rows.
            if snapshot.row_range().is_some() || known.contains_key(&id) {
                return Err(format!("row {id} has no row id"));
            }
            continue;
        };
        if !row_ids.insert(lineage.row_id) {
            return Err(format!("two rows have the row id {}", lineage.row_id));
        }
        if lineage.row_id < 0 || lineage.row_id as u64 >= metadata.next_row_id() {
            return Err(format!(
                "row {id} has the row id {}, and the next is {}",
                lineage.row_id,
                metadata.next_row_id()
            ));
        }
        let is_right = match known.get(&id) {
            _ if written.contains(&id) => lineage.updated == number,
            Some(before) => lineage == *before,
            None => lineage.updated <= number,
        };
        if !is_right {
            return Err(format!(
                "row {id} has {lineage:?} in snapshot number {number}, and had {:?}",
                known.get(&id)
            ));
        }
        found.insert(id, lineage);
    }
    Ok(found)
}
