//! Mending what manifests say of sound files: counts, sizes, where row groups begin, a file listed twice, headers that say little or
//! the wrong thing.
//!
//! First every live file is asked for, by its footer; then manifests that are wrong are written anew, as a commit of its own by
//! the same loop as all others. The live files stay the same, each with its sequence number, row ids and deletes. What only a person can mend is
//! told, with what would help.

mod diagnosis;
mod facts;
mod gate;

use std::collections::HashMap;

use async_trait::async_trait;
use futures::{FutureExt as _, StreamExt as _, TryStreamExt as _, stream};
use iceberg::spec::{Operation, Summary};
use icepress_catalog::{CatalogError, LoadedTable};
use icepress_model::{ProcessId, TableId};
use serde::Serialize;

use self::{
    diagnosis::{Diagnosis, Fate, diagnose},
    facts::{FileFacts, Found, Identity},
};
use super::{
    CommitContext, CommitFailure, CommitOutcome, Gatekeeper,
    committer::{Committer, Proposal, Proposed},
    find::committed_before,
    snapshot::{Draft, Parts, discard},
    summary,
};
use crate::{
    TableError,
    manifests::{
        CONCURRENT_READS, Manifest, ManifestFile, ManifestPart, NewEntry, Specs, examine_manifest,
        manifests_of, unsupported,
    },
};

/// A value that a manifest has wrong.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Correction {
    /// Which, by the specification's name.
    pub what: &'static str,
    /// What the manifest says.
    pub before: String,
    /// What is so.
    pub after: String,
}

/// A live file of which its manifest says something wrong.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct FileRepair {
    /// The file.
    pub path: String,
    /// `data`, `position-deletes`, `equality-deletes` or `vector`.
    pub kind: &'static str,
    /// What is wrong.
    pub corrections: Vec<Correction>,
}

/// A manifest that says something wrong of itself, or of which its list does.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ManifestRepair {
    /// The manifest.
    pub path: String,
    /// What is wrong, a line each.
    pub faults: Vec<String>,
}

/// A file that is listed more than once. Readers read its rows as often.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Duplicate {
    /// The file.
    pub path: String,
    /// As in [`FileRepair::kind`].
    pub kind: &'static str,
    /// The data sequence number of the listing that stays: the greatest, to which the fewest deletes apply.
    pub kept_sequence_number: i64,
    /// Those of the listings that go.
    pub dropped_sequence_numbers: Vec<i64>,
    /// Its rows.
    pub rows: u64,
}

impl Duplicate {
    /// Whether readers see fewer rows without it.
    pub fn changes_rows(&self) -> bool {
        self.kind == diagnosis::DATA && self.rows > 0
    }
}

/// What can't be mended from footers.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Unrepairable {
    /// The file.
    pub file: String,
    /// What is wrong with it.
    pub what: String,
    /// What would help.
    pub advice: String,
}

/// Everything that is wrong with a table's manifests.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Repairs {
    /// Live files that were asked for.
    pub checked_files: u64,
    /// Files whose entries are wrong.
    pub files: Vec<FileRepair>,
    /// Files that are listed more than once.
    pub duplicates: Vec<Duplicate>,
    /// Manifests that are wrong.
    pub manifests: Vec<ManifestRepair>,
    /// What is left for a person.
    pub left: Vec<Unrepairable>,
}

impl Repairs {
    /// Whether a commit would mend something; `with_duplicates` if files that are listed twice are to be listed once.
    pub fn can_mend(&self, with_duplicates: bool) -> bool {
        let mends_duplicates = with_duplicates && !self.duplicates.is_empty();
        !self.files.is_empty() || !self.manifests.is_empty() || mends_duplicates
    }

    /// Whether nothing is wrong at all.
    pub fn is_sound(&self) -> bool {
        !self.can_mend(true) && self.left.is_empty()
    }
}

/// A table whose files were all asked for.
#[derive(Debug)]
pub struct Examination {
    facts: HashMap<Identity, Found>,
    /// What is wrong.
    pub repairs: Repairs,
}

/// Reads all manifests of the current snapshot and asks for each live file; `progress` is told how many of how many were
/// asked for. Writes nothing.
pub async fn examine_manifests(
    context: &CommitContext,
    table: &TableId,
    progress: &(dyn Fn(u64, u64) + Sync),
) -> Result<Examination, CommitFailure> {
    let loaded = context.catalog.load(table).await;
    let loaded = loaded.map_err(|error| match error {
        CatalogError::NoSuchTable(table) => CommitFailure::TableGone(table),
        error => CommitFailure::Catalog(error),
    })?;
    let whole = read_all(context, &loaded).await?;
    let facts = facts::ask_for_all(context.storage.as_ref(), &whole, progress).await;
    let repairs = diagnose(&loaded, &whole, &facts, true).repairs;
    Ok(Examination { facts, repairs })
}

/// Commits what can be mended of what `examination` found, on the table as it is by then: what came since is left as it is.
/// With `drop_duplicates` files that are listed more than once are listed once. Returns the commit, and what it mended.
pub async fn repair_manifests(
    gatekeeper: &dyn Gatekeeper,
    context: &CommitContext,
    table: &TableId,
    process: &ProcessId,
    examination: &Examination,
    drop_duplicates: bool,
) -> Result<(CommitOutcome, Repairs), CommitFailure> {
    let committer = Committer {
        context,
        gatekeeper,
        table,
    };
    let mut repair = Repair {
        context,
        table,
        process,
        facts: &examination.facts,
        drop_duplicates,
        mended: Repairs::default(),
    };
    let outcome = committer.run(&mut repair).await?;
    Ok((outcome, repair.mended))
}

/// A manifest with all that is known of it.
#[derive(Debug)]
struct WholeManifest {
    listed: ManifestFile,
    manifest: Manifest,
    /// What its header lacks or says wrongly.
    labels: Vec<String>,
}

/// All manifests of the current snapshot, also those that have no live files as their list says.
async fn read_all(
    context: &CommitContext,
    loaded: &LoadedTable,
) -> Result<Vec<WholeManifest>, TableError> {
    let (storage, metadata) = (context.storage.as_ref(), &loaded.metadata);
    let Some(snapshot) = metadata.current_snapshot() else {
        return Ok(Vec::new());
    };
    let listed = manifests_of(storage, &loaded.table, metadata, snapshot).await?;
    let specs = Specs::of(metadata, &listed)
        .map_err(|error| unsupported(&loaded.table, error.to_string()))?;
    // Boxed one by one: else the compiler can't tell that the whole may move between threads.
    let mut reads = Vec::with_capacity(listed.len());
    for file in listed {
        let specs = &specs;
        let read = async move {
            let (manifest, labels) = examine_manifest(storage, &loaded.table, &file, specs).await?;
            Ok(WholeManifest {
                listed: file,
                manifest,
                labels,
            })
        };
        reads.push(read.boxed());
    }
    stream::iter(reads)
        .buffered(CONCURRENT_READS)
        .try_collect()
        .await
}

/// What is to be committed.
#[derive(Debug)]
struct Repair<'a> {
    context: &'a CommitContext,
    table: &'a TableId,
    process: &'a ProcessId,
    facts: &'a HashMap<Identity, Found>,
    drop_duplicates: bool,
    /// What the last try mended.
    mended: Repairs,
}

#[async_trait]
impl Proposal for Repair<'_> {
    fn found_in(&self, loaded: &LoadedTable) -> Option<CommitOutcome> {
        committed_before(loaded, self.process, &[])
    }

    async fn prepare(
        &mut self,
        loaded: &LoadedTable,
        attempt: u32,
    ) -> Result<Proposed, CommitFailure> {
        let whole = read_all(self.context, loaded).await?;
        let diagnosis = diagnose(loaded, &whole, self.facts, self.drop_duplicates);
        if !diagnosis.repairs.can_mend(self.drop_duplicates) {
            return Err(CommitFailure::NothingLeft {
                table: self.table.clone(),
                dropped: Vec::new(),
                unused_files: Vec::new(),
            });
        }
        let storage = &self.context.storage;
        let draft = Draft {
            storage,
            ambient: &self.context.ambient,
            loaded,
            attempt,
        };
        let specs = Specs::of(&loaded.metadata, whole.iter().map(|whole| &whole.listed))
            .map_err(|error| draft.unwritable(error))?;
        let (parts, untouched) = parts_of(&draft, &specs, &whole, &diagnosis)?;
        let summary = self.summary(&diagnosis, parts.len(), untouched.len());
        let prepared = draft.prepare(&parts, untouched, summary).await?;
        let expected = gate::expected(&whole, &diagnosis);
        let checked = gate::check(
            storage.as_ref(),
            loaded,
            &specs,
            &prepared.manifests,
            expected,
        )
        .await;
        if let Err(error) = checked {
            discard(storage.as_ref(), &prepared.written).await;
            return Err(error.into());
        }
        self.mended = diagnosis.repairs;
        Ok(Proposed {
            prepared,
            committed: Vec::new(),
            dropped: Vec::new(),
            unused_files: Vec::new(),
            rebased: false,
        })
    }
}

impl Repair<'_> {
    /// `replace`, for the table's files stay the same. Where a data file is listed once instead of twice readers see fewer rows,
    /// and whoever follows the table's changes must be told: `delete`.
    fn summary(&self, diagnosis: &Diagnosis, created: usize, kept: usize) -> Summary {
        let duplicates = &diagnosis.repairs.duplicates;
        let fewer_rows = self.drop_duplicates && duplicates.iter().any(Duplicate::changes_rows);
        Summary {
            operation: if fewer_rows {
                Operation::Delete
            } else {
                Operation::Replace
            },
            additional_properties: summary::of_repair(
                diagnosis.totals,
                self.process,
                [created, kept, diagnosis.rewritten()],
                diagnosis.entries,
            ),
        }
    }
}

/// Manifests to be written, and those that stay, as the list is to have them.
fn parts_of<'a>(
    draft: &'a Draft<'a>,
    specs: &'a Specs,
    whole: &'a [WholeManifest],
    diagnosis: &'a Diagnosis,
) -> Result<(Vec<ManifestPart<'a>>, Vec<ManifestFile>), TableError> {
    let mut parts = Parts::new(draft, specs);
    let mut untouched = Vec::new();
    for (whole, fates) in whole.iter().zip(&diagnosis.manifests) {
        let Some(fates) = fates else {
            untouched.extend(diagnosis::as_measured(whole));
            continue;
        };
        let from = &whole.manifest.header;
        let part = parts.of(from, from.content, None, false)?;
        let entries = whole.manifest.entries.iter().zip(fates);
        part.entries
            .extend(entries.filter_map(|(entry, fate)| match fate {
                Fate::Stays => Some(NewEntry::Existing { entry, from }),
                Fate::Amended(amendment) => Some(NewEntry::Amended {
                    entry,
                    from,
                    amendment,
                }),
                // No tombstone: the file lives on by its other listing, and an expiry of this snapshot's would remove it.
                Fate::Dropped => None,
            }));
    }
    let mut parts = parts.into_parts();
    parts.retain(|part| !part.entries.is_empty());
    Ok((parts, untouched))
}
