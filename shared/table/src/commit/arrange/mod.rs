//! Manifests written anew in another order: those of a kind together, by partition, and of the size that the table wants. The
//! live files stay the same, each with its numbers and row ids; what was removed is not written down once more.
//!
//! Which manifests it pays for is the caller's decision, on what [`survey_manifests`] says of them. Memory does not grow with
//! the entries, but for a few bytes each: they are read as often as it takes to write them in order, a part at a time.
//!
//! What is written is kept when another writer commits first, as long as that one left the manifests alone which it
//! replaces; else it is decided and written anew, on the table as it is then. So does Iceberg's Java library
//! (`BaseRewriteManifests`), whose names the summary has.

mod layout;
mod passes;
mod survey;
mod witness;

use std::collections::HashSet;

use async_trait::async_trait;
use iceberg::spec::{Operation, Summary};
use icepress_catalog::LoadedTable;
use icepress_model::{ProcessId, TableId};
use serde::Serialize;

pub use self::layout::{Held, ListedManifest, ManifestContent, ManifestLayout, PartitionPlace};
use self::{passes::Arranging, survey::Survey};
use super::{
    CommitContext, CommitFailure, CommitOutcome, Gatekeeper,
    committer::{Committer, Proposal, Proposed},
    find::committed_before,
    snapshot::{Draft, discard},
    summary,
};
use crate::{
    TableError,
    manifests::{ManifestFile, Version, manifests_of},
};

/// Which manifests of a table are to be written anew, by their places in the layout; none where it does not pay.
pub type ChooseManifests<'a> = &'a (dyn Fn(&ManifestLayout) -> Vec<usize> + Send + Sync);

/// Manifests that were written anew.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct RewrittenManifests {
    /// New ones.
    pub created: u64,
    /// Those that they stand for.
    pub replaced: u64,
    /// Those that were left alone.
    pub kept: u64,
    /// Live entries in the new ones.
    pub entries: u64,
}

/// Reads the manifests of a table's current snapshot and says how its files lie in them. Writes nothing, and opens no data
/// file.
///
/// Fails where a manifest can't be read.
pub async fn survey_manifests(
    context: &CommitContext,
    loaded: &LoadedTable,
) -> Result<ManifestLayout, TableError> {
    Ok(Survey::of(&context.storage, loaded).await?.layout)
}

/// Writes those manifests anew that `choose` names, and commits them in one snapshot of operation `replace`. `choose` is asked
/// once more where other writers took away what it chose.
///
/// What was written is not told where an earlier call of the same process had committed it. Fails with `NothingLeft`
/// where `choose` names none.
pub async fn rewrite_manifests(
    gatekeeper: &dyn Gatekeeper,
    context: &CommitContext,
    table: &TableId,
    process: &ProcessId,
    choose: ChooseManifests<'_>,
) -> Result<(CommitOutcome, Option<RewrittenManifests>), CommitFailure> {
    let committer = Committer {
        context,
        gatekeeper,
        table,
    };
    let mut rewrite = Rewrite {
        context,
        table,
        process,
        choose,
        made: None,
        rewritten: None,
    };
    let outcome = committer.run(&mut rewrite).await?;
    Ok((outcome, rewrite.rewritten))
}

/// What is to be committed.
struct Rewrite<'a> {
    context: &'a CommitContext,
    table: &'a TableId,
    process: &'a ProcessId,
    choose: ChooseManifests<'a>,
    made: Option<NewManifests>,
    rewritten: Option<RewrittenManifests>,
}

/// New manifests, stored and in no snapshot yet.
#[derive(Debug)]
struct NewManifests {
    /// Of the snapshot that they are for: their entries in the list say so.
    snapshot_id: i64,
    version: Version,
    replaced: HashSet<Key>,
    created: Vec<ManifestFile>,
    locations: Vec<String>,
    entries: u64,
}

/// A manifest by its path, and by the row ids that its list gives it: the first commit after an upgrade to version 3 gives
/// some to manifests that are older.
type Key = (String, Option<i64>);

fn key_of(file: &ManifestFile) -> Key {
    (file.path.clone(), file.first_row_id)
}

impl NewManifests {
    /// Whether it can stand for what it was made of in `loaded`, the manifests of which are `listed`.
    fn fits(&self, loaded: &LoadedTable, listed: &[ManifestFile]) -> bool {
        let found = listed.iter().filter(|file| self.replaces(file)).count();
        let is_known = |file: &ManifestFile| {
            let counts = [file.added, file.existing, file.deleted];
            let is_counted =
                |count: &crate::manifests::Count| count.files.is_some() && count.rows.is_some();
            file.length > 0 && counts.iter().all(is_counted)
        };
        let mut others = listed.iter().filter(|file| !self.replaces(file));
        let metadata = &loaded.metadata;
        found == self.replaced.len()
            && others.all(is_known)
            && self.version == Version::of(metadata)
            && metadata.snapshot_by_id(self.snapshot_id).is_none()
    }

    fn replaces(&self, file: &ManifestFile) -> bool {
        self.replaced.contains(&key_of(file))
    }
}

impl Rewrite<'_> {
    /// Chooses among the manifests of `draft`'s table and writes what was chosen anew; returns all that were listed.
    async fn make(&mut self, draft: &Draft<'_>) -> Result<Vec<ManifestFile>, CommitFailure> {
        let mut survey = Survey::of(draft.storage, draft.loaded).await?;
        let mut chosen = (self.choose)(&survey.layout);
        chosen.retain(|place| *place < survey.listed.len());
        chosen.sort_unstable();
        chosen.dedup();
        if chosen.is_empty() {
            return Err(CommitFailure::NothingLeft {
                table: self.table.clone(),
                dropped: Vec::new(),
                unused_files: Vec::new(),
            });
        }
        let settings = draft.settings(draft.fresh_snapshot_id());
        let mut arranging = Arranging::new(draft, settings, &mut survey);
        let written = arranging.write(&chosen).await;
        let (created, locations, entries) = arranging.into_made();
        if let Err(error) = written {
            discard(draft.storage.as_ref(), &locations).await;
            return Err(error.into());
        }
        let replaced = chosen.iter().map(|place| key_of(&survey.keys[*place]));
        self.made = Some(NewManifests {
            snapshot_id: settings.snapshot_id,
            version: settings.version,
            replaced: replaced.collect(),
            created,
            locations,
            entries,
        });
        Ok(survey.listed)
    }
}

#[async_trait]
impl Proposal for Rewrite<'_> {
    fn found_in(&self, loaded: &LoadedTable) -> Option<CommitOutcome> {
        committed_before(loaded, self.process, &[])
    }

    fn kept_for_later_tries(&self) -> &[String] {
        self.made.as_ref().map_or(&[], |made| &made.locations)
    }

    async fn prepare(
        &mut self,
        loaded: &LoadedTable,
        attempt: u32,
    ) -> Result<Proposed, CommitFailure> {
        let storage = &self.context.storage;
        let draft = Draft {
            storage,
            ambient: &self.context.ambient,
            loaded,
            attempt,
        };
        let metadata = &loaded.metadata;
        let mut listed = match metadata.current_snapshot() {
            Some(snapshot) => {
                manifests_of(storage.as_ref(), self.table, metadata, snapshot).await?
            }
            None => Vec::new(),
        };
        listed.retain(ManifestFile::may_have_live_files);
        if !self
            .made
            .as_ref()
            .is_some_and(|made| made.fits(loaded, &listed))
        {
            if let Some(stale) = self.made.take() {
                discard(storage.as_ref(), &stale.locations).await;
            }
            listed = self.make(&draft).await?;
        }
        let Some(made) = &self.made else {
            unreachable!("it was made right before, or the try has failed");
        };
        let settings = draft.settings(made.snapshot_id);
        let created = made.created.iter().map(|file| ManifestFile {
            sequence_number: settings.sequence_number,
            ..file.clone()
        });
        let untouched: Vec<ManifestFile> = listed
            .into_iter()
            .filter(|file| !made.replaces(file))
            .collect();
        let rewritten = RewrittenManifests {
            created: made.created.len() as u64,
            replaced: made.replaced.len() as u64,
            kept: untouched.len() as u64,
            entries: made.entries,
        };
        let before = metadata.current_snapshot();
        let before = before.map(|parent| &parent.summary().additional_properties);
        let summary = Summary {
            operation: Operation::Replace,
            additional_properties: summary::of_manifests(before, self.process, &rewritten),
        };
        let manifests = created.chain(untouched).collect();
        let prepared = match draft.prepare_list(&settings, manifests, summary).await {
            Ok(prepared) => prepared,
            Err(error) => {
                discard(storage.as_ref(), self.kept_for_later_tries()).await;
                return Err(error.into());
            }
        };
        self.rewritten = Some(rewritten);
        Ok(Proposed {
            prepared,
            committed: Vec::new(),
            dropped: Vec::new(),
            unused_files: Vec::new(),
            rebased: attempt > 0,
        })
    }
}
