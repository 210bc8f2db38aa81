//! The last look before the swap: what was written is read back, and must list what was listed.

use std::collections::BTreeMap;

use icepress_catalog::LoadedTable;
use icepress_storage::Storage;

use super::{
    WholeManifest,
    diagnosis::{Diagnosis, Fate},
};
use crate::{
    TableError,
    manifests::{Amendment, Entry, FileContent, ManifestFile, Specs, read_manifest, unsupported},
};

/// What must not change of a live file, but for what was amended.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Witness {
    path: String,
    offset: Option<u64>,
    content: u8,
    spec_id: i32,
    sequence_number: i64,
    rows: u64,
    size: u64,
    /// `None` where the commit is the first to give its rows ids.
    first_row_id: Option<i64>,
}

impl Witness {
    fn new(entry: &Entry, amendment: &Amendment) -> Self {
        let file = &entry.file;
        Self {
            path: file.path.clone(),
            offset: file.blob.map(|(offset, _)| offset),
            content: file.content as u8,
            spec_id: file.partition.spec_id,
            sequence_number: entry.sequence_number,
            rows: amendment.rows.unwrap_or(file.rows),
            size: amendment.size.unwrap_or(file.size),
            first_row_id: file.first_row_id,
        }
    }
}

/// How often each must be listed.
pub(super) type Listed = BTreeMap<Witness, u32>;

/// What the new snapshot must list.
pub(super) fn expected(whole: &[WholeManifest], diagnosis: &Diagnosis) -> Listed {
    let mut listed = Listed::new();
    let none = Amendment::default();
    for (whole, fates) in whole.iter().zip(&diagnosis.manifests) {
        for (index, entry) in whole.manifest.entries.iter().enumerate() {
            let amendment = match fates.as_ref().and_then(|fates| fates.get(index)) {
                Some(Fate::Dropped) => continue,
                Some(Fate::Amended(amendment)) => amendment,
                Some(Fate::Stays) | None => &none,
            };
            *listed.entry(Witness::new(entry, amendment)).or_default() += 1;
        }
    }
    listed
}

/// Reads the manifests of the new list, and fails where they list anything else.
pub(super) async fn check(
    storage: &dyn Storage,
    loaded: &LoadedTable,
    specs: &Specs,
    manifests: &[ManifestFile],
    mut expected: Listed,
) -> Result<(), TableError> {
    let wrong = |what: String| {
        let message =
            format!("what was written is not what was to be, and nothing was committed: {what}");
        Err(unsupported(&loaded.table, message))
    };
    let none = Amendment::default();
    for file in manifests {
        let manifest = read_manifest(storage, &loaded.table, file, specs).await?;
        for entry in &manifest.entries {
            let found = Witness::new(entry, &none);
            // Rows that had no ids may have been given some.
            let without_ids = Witness {
                first_row_id: None,
                ..found.clone()
            };
            let is_data = entry.file.content == FileContent::Data;
            let key = [Some(found), is_data.then_some(without_ids)]
                .into_iter()
                .flatten()
                .find(|witness| expected.contains_key(witness));
            let Some(key) = key else {
                return wrong(format!("{} is listed otherwise", entry.file.path));
            };
            if let Some(times) = expected.get_mut(&key) {
                *times -= 1;
                if *times == 0 {
                    expected.remove(&key);
                }
            }
        }
    }
    match expected.first_key_value() {
        None => Ok(()),
        Some((lost, _)) => wrong(format!("{} is not listed any more", lost.path)),
    }
}
