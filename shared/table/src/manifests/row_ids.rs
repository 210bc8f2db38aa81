//! Row ids: which data file begins with which (specification, *First Row ID Inheritance* and *Assignment*).

use super::{Content, ManifestFile};

/// Gives out first row ids to the data files of one manifest, in the order of its live entries.
#[derive(Debug)]
pub(super) struct Inheritance {
    /// What the next file without an id of its own gets. `None` where the list gives the manifest none: then its files
    /// have none either, whatever their entries say, as Iceberg's Java reader has it.
    next: Option<i64>,
}

impl Inheritance {
    pub(super) fn new(manifest: &ManifestFile) -> Self {
        Self {
            next: manifest.first_row_id,
        }
    }

    /// The first row id of the next live data file, whose entry says `own`. The error says what is wrong with the file.
    pub(super) fn first_of(&mut self, own: Option<i64>, rows: u64) -> Result<Option<i64>, String> {
        let Some(next) = self.next else {
            return Ok(None);
        };
        let first = own.unwrap_or(next);
        let after = i64::try_from(rows)
            .ok()
            .and_then(|rows| first.checked_add(rows));
        let Some(after) = after.filter(|_| first >= 0) else {
            return Err(format!(
                "has {rows} rows from the id {first} on, which is no row id"
            ));
        };
        if own.is_none() {
            self.next = Some(after);
        }
        Ok(Some(first))
    }
}

/// Gives each data manifest that has none its first row id, from `next` on; returns the next free one.
///
/// As much is set aside as the manifest has live rows, also for files that have ids already: so does Iceberg's Java
/// writer, and a gap costs nothing.
pub(crate) fn assign_first_row_ids(
    manifests: &mut [ManifestFile],
    mut next: i64,
) -> Result<i64, String> {
    for manifest in manifests {
        if manifest.content == Content::Deletes || manifest.first_row_id.is_some() {
            continue;
        }
        let (Some(added), Some(existing)) = (manifest.added.rows, manifest.existing.rows) else {
            return Err(format!("{} has no row counts", manifest.path));
        };
        manifest.first_row_id = Some(next);
        next = next
            .checked_add(added)
            .and_then(|next| next.checked_add(existing))
            .filter(|next| *next >= 0)
            .ok_or_else(|| "the table has used up its row ids".to_owned())?;
    }
    Ok(next)
}
