//! One try: from a freshly loaded table to the change that its catalog is to swap in.
//!
//! Manifests that hold something replaced are written anew under their own schema and spec, small ones of a kind
//! together, each read once more while that is done; all others are carried over as they are.

use std::{
    collections::{BTreeMap, HashSet},
    sync::Arc,
};

use iceberg::spec::{Operation, Summary};
use icepress_catalog::LoadedTable;
use icepress_model::{BaseState, ProcessId, ambient::Ambient};
use icepress_storage::Storage;

use super::{
    accepted::Accepted,
    live::{EntryRef, LiveTable},
    snapshot::{Draft, Parts, Prepared},
    summary::Changes,
};
use crate::{
    TableError,
    manifests::{
        Carried, Content, FileContent, HeaderSchema, ManifestFile, ManifestPart, NewEntry, Specs,
    },
};

/// What a try is made of.
#[derive(Debug)]
pub(super) struct Ingredients<'a> {
    pub(super) storage: &'a Arc<dyn Storage>,
    pub(super) ambient: &'a Ambient,
    pub(super) loaded: &'a LoadedTable,
    pub(super) base: &'a BaseState,
    pub(super) process: &'a ProcessId,
    pub(super) attempt: u32,
    pub(super) live: &'a LiveTable,
    pub(super) accepted: &'a [Accepted],
    /// Delete entries that nothing needs any more.
    pub(super) unneeded: &'a HashSet<EntryRef>,
    /// What goes beside what the groups replace; none of a rewrite.
    pub(super) letting_go: Option<LettingGo<'a>>,
}

/// What of a commit is no rewrite: rows go.
#[derive(Debug, Clone, Copy)]
pub(super) struct LettingGo<'a> {
    /// Data files that go whole.
    pub(super) whole: &'a [EntryRef],
    /// Properties for the snapshot's summary.
    pub(super) more: &'a [(&'a str, String)],
}

impl Ingredients<'_> {
    /// Data files that go whole.
    fn whole(&self) -> &[EntryRef] {
        self.letting_go.map_or(&[], |letting_go| letting_go.whole)
    }

    /// Writes manifests and manifest list. On failure what was written is deleted again, as far as that is allowed.
    pub(super) async fn prepare(&self) -> Result<Prepared, TableError> {
        let draft = Draft {
            storage: self.storage,
            ambient: self.ambient,
            loaded: self.loaded,
            attempt: self.attempt,
        };
        let metadata = &self.loaded.metadata;
        let specs = Specs::of(metadata, self.live.manifests.iter().map(|live| &live.file))
            .map_err(|error| draft.unwritable(error))?;
        let (parts, untouched) = self.parts(&draft, &specs)?;
        let changes = self.changes();
        let committed: Vec<u32> = self.accepted.iter().map(|group| group.index).collect();
        let parent = metadata.current_snapshot();
        let before = parent.map(|parent| &parent.summary().additional_properties);
        let totals = self.live.totals();
        let mut properties = changes.properties(totals, before, self.process, &committed);
        let more = self.letting_go.iter().flat_map(|it| it.more);
        properties.extend(more.map(|(key, value)| ((*key).to_owned(), value.clone())));
        let summary = Summary {
            operation: self.operation(),
            additional_properties: properties,
        };
        let untouched = untouched.into_iter().cloned().collect();
        Ok(Prepared {
            removed_delete_files: changes.removed_delete_files(),
            ..draft.prepare(&parts, untouched, summary).await?
        })
    }

    /// `replace`, which changes no row; but `overwrite` where rows go, and where equality deletes became position deletes or vectors.
    ///
    /// Another compactor that began before such an equality delete came writes its files at the number it began with, and
    /// counts on the equality delete to apply to them. Once it is gone the compactor must fail, and Java's validation asks
    /// only snapshots of operation `overwrite` and `delete` for deletes that it did not see (`MergingSnapshotProducer`,
    /// `VALIDATE_ADDED_DELETE_FILES_OPERATIONS`). Tables with equality deletes have such snapshots all the time.
    fn operation(&self) -> Operation {
        let converts = |accepted: &Accepted| {
            let conversion = accepted
                .light
                .as_ref()
                .filter(|_| !accepted.inputs.is_empty());
            conversion.is_some_and(|conversion| {
                conversion.rewritten.iter().flatten().any(|delete| {
                    self.live.entry(*delete).file.content == FileContent::EqualityDeletes
                })
            })
        };
        if self.letting_go.is_some() || self.accepted.iter().any(converts) {
            Operation::Overwrite
        } else {
            Operation::Replace
        }
    }

    fn changes(&self) -> Changes {
        let mut changes = Changes::default();
        for group in self.accepted {
            for output in &group.outputs {
                changes.add(output, &group.partition);
            }
            for delete in group.new_deletes() {
                changes.add_delete(&delete.file, &group.partition);
            }
            for place in group.replaced() {
                changes.remove(&self.live.entry(*place).file);
            }
        }
        for place in self.whole().iter().chain(self.unneeded) {
            changes.remove(&self.live.entry(*place).file);
        }
        changes
    }

    /// What to write, and what to carry over.
    fn parts<'b>(
        &'b self,
        draft: &'b Draft<'b>,
        specs: &'b Specs,
    ) -> Result<(Vec<ManifestPart<'b>>, Vec<&'b ManifestFile>), TableError> {
        let mut parts = Parts::new(draft, specs);
        let own_schema = self.output_schema(draft)?;
        for group in self.accepted {
            let Some(first) = group.inputs.first() else {
                continue;
            };
            let header = self.live.header(*first);
            if !group.new_deletes().is_empty() {
                let part = parts.of(header, Content::Deletes, None, true)?;
                let deletes = group.new_deletes().iter();
                part.entries.extend(deletes.map(|delete| NewEntry::Added {
                    file: &delete.file,
                    partition: &group.partition.value,
                    sequence_number: delete.sequence_number,
                }));
            }
            if group.light.is_none() {
                let schema = own_schema
                    .clone()
                    .filter(|_| draft.binds(self.base.schema_id.get(), header.spec_id));
                let part = parts.of(header, Content::Data, schema, true)?;
                part.entries
                    .extend(group.outputs.iter().map(|file| NewEntry::Added {
                        file,
                        partition: &group.partition.value,
                        sequence_number: self.base.starting_sequence_number.get(),
                    }));
            }
        }
        let replaced = self.accepted.iter().flat_map(Accepted::replaced);
        let gone = replaced.chain(self.whole()).chain(self.unneeded);
        let untouched = take_out(&mut parts, draft, specs, self.live, gone)?;
        Ok((parts.into_parts(), untouched))
    }

    /// The schema that the outputs were written in, as a manifest's header has it.
    fn output_schema(&self, draft: &Draft<'_>) -> Result<Option<HeaderSchema>, TableError> {
        let schema = self.loaded.metadata.schema_by_id(self.base.schema_id.get());
        schema.map(|schema| draft.header_schema(schema)).transpose()
    }
}

/// Writes the manifests that hold any of `gone` anew, with these marked as removed. Returns all others, to be carried over.
pub(super) fn take_out<'a>(
    parts: &mut Parts<'a>,
    draft: &Draft<'_>,
    specs: &'a Specs,
    live: &'a LiveTable,
    gone: impl Iterator<Item = &'a EntryRef>,
) -> Result<Vec<&'a ManifestFile>, TableError> {
    let mut by_manifest: BTreeMap<usize, Vec<EntryRef>> = BTreeMap::new();
    for place in gone {
        by_manifest.entry(place.manifest).or_default().push(*place);
    }
    for (manifest, places) in &by_manifest {
        let from = live.header(places[0]);
        let in_manifest = places.iter().map(|place| live.place_in_manifest(*place));
        let carried = Carried {
            file: &live.manifests[*manifest].file,
            spec: specs
                .get(from.spec_id)
                .map_err(|error| draft.unwritable(error))?,
            from,
            gone: in_manifest.collect(),
        };
        let part = parts.of(from, from.content, None, false)?;
        part.carried.push(carried);
    }
    let manifests = live.manifests.iter().enumerate();
    let untouched = manifests.filter(|(place, _)| !by_manifest.contains_key(place));
    Ok(untouched.map(|(_, manifest)| &manifest.file).collect())
}
