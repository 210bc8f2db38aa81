//! One try: from a freshly loaded table to the change that its catalog is to swap in.
//!
//! Manifests that hold something replaced are written anew under their own schema and spec, small ones of a kind
//! together; all others are carried over as they are.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    sync::Arc,
};

use bytes::Bytes as Buffer;
use futures::{StreamExt as _, TryStreamExt as _, stream};
use iceberg::{
    TableRequirement, TableUpdate,
    spec::{
        MAIN_BRANCH, Operation, Snapshot, SnapshotReference, SnapshotRetention, Summary,
        TableMetadata,
    },
};
use icepress_catalog::{
    LoadedTable, TableChange,
    metadata::{metadata_folder, schema_to_json},
};
use icepress_model::{BaseState, ProcessId, SnapshotId, ambient::Ambient};
use icepress_storage::{PutMode, Storage, WriteOptions};

use serde::Deserialize as _;

use super::{
    live::{LiveTable, Place},
    summary::Changes,
    validate::Accepted,
};
use crate::{
    TableError,
    manifests::{
        AvroError, Compression, Content, FileContent, ManifestFile, ManifestHeader, ManifestPart,
        ManifestSettings, NewEntry, Version, assign_first_row_ids, write_manifest_list,
        write_manifests,
    },
};

/// `commit.manifest.target-size-bytes` where the table does not say.
const MANIFEST_BYTES: usize = 8 << 20;
/// How many manifests are written at a time.
const CONCURRENT_WRITES: usize = 16;

/// What a try has written, and what to swap in.
#[derive(Debug)]
pub(super) struct Prepared {
    pub(super) change: TableChange,
    pub(super) snapshot_id: SnapshotId,
    pub(super) removed_delete_files: u64,
    /// Manifests and manifest list: garbage, should the swap certainly fail.
    pub(super) written: Vec<String>,
}

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
    pub(super) unneeded: &'a HashSet<Place>,
}

impl Ingredients<'_> {
    /// Writes manifests and manifest list. On failure what was written is deleted again, as far as that is allowed.
    pub(super) async fn prepare(&self) -> Result<Prepared, TableError> {
        let mut written = Vec::new();
        let prepared = self.write(&mut written).await;
        if prepared.is_err() {
            discard(self.storage.as_ref(), &written).await;
        }
        prepared
    }

    async fn write(&self, written: &mut Vec<String>) -> Result<Prepared, TableError> {
        let metadata = &self.loaded.metadata;
        let properties = metadata.properties();
        let mut snapshot_id = self.ambient.snapshot_id();
        while snapshot_id == 0 || metadata.snapshot_by_id(snapshot_id).is_some() {
            snapshot_id = self.ambient.snapshot_id();
        }
        let version = Version::of(metadata);
        let target = properties.get("commit.manifest.target-size-bytes");
        let settings = ManifestSettings {
            version,
            compression: Compression::from_property(properties.get("write.avro.compression-codec")),
            target_bytes: target
                .and_then(|bytes| bytes.parse().ok())
                .unwrap_or(MANIFEST_BYTES),
            snapshot_id,
            sequence_number: match version {
                Version::V1 => 0,
                Version::V2 | Version::V3 => metadata.next_sequence_number(),
            },
        };
        let folder = metadata_folder(metadata);
        let id = self.ambient.uuid();
        let delete_headers = self.delete_headers();
        let (parts, untouched) = self.parts(&delete_headers)?;
        let mut manifests = Vec::new();
        let mut contents = Vec::new();
        for part in &parts {
            let encoded = write_manifests(part, &settings, || self.ambient.uuid().into_bytes())
                .map_err(|error| self.unwritable(error))?;
            for manifest in encoded {
                let location = format!("{folder}/{id}-m{}.avro", contents.len());
                manifests.push(ManifestFile {
                    path: location.clone(),
                    ..manifest.file
                });
                contents.push((location, manifest.bytes));
            }
        }
        manifests.extend(untouched.into_iter().cloned());
        let row_range = self.assign_row_ids(version, &mut manifests)?;
        let list = format!("{folder}/snap-{snapshot_id}-{}-{id}.avro", self.attempt);
        let parent = metadata.current_snapshot();
        let parent_id = parent.map(|parent| parent.snapshot_id());
        let sync = self.ambient.uuid().into_bytes();
        let encoded = write_manifest_list(&manifests, parent_id, &settings, sync)
            .map_err(|error| self.unwritable(error))?;
        contents.push((list.clone(), encoded));
        self.store(contents, written).await?;
        let changes = self.changes();
        let committed: Vec<u32> = self.accepted.iter().map(|group| group.index).collect();
        let told = parent.map(|parent| &parent.summary().additional_properties);
        let totals = self.live.totals();
        let summary = Summary {
            operation: self.operation(),
            additional_properties: changes.properties(totals, told, self.process, &committed),
        };
        let builder = Snapshot::builder()
            .with_snapshot_id(snapshot_id)
            .with_parent_snapshot_id(parent_id)
            .with_sequence_number(settings.sequence_number)
            .with_timestamp_ms(self.timestamp())
            .with_manifest_list(list)
            .with_summary(summary)
            .with_schema_id(metadata.current_schema_id());
        let snapshot = match row_range {
            Some((first, added)) => builder.with_row_range(first, added).build(),
            None => builder.build(),
        };
        Ok(Prepared {
            change: self.change(snapshot)?,
            snapshot_id: SnapshotId(snapshot_id),
            removed_delete_files: changes.removed_delete_files(),
            written: std::mem::take(written),
        })
    }

    /// `replace`, which changes no row; but `overwrite` where equality deletes became position deletes or vectors.
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
                conversion.told.iter().flatten().any(|delete| {
                    self.live.entry(*delete).file.content == FileContent::EqualityDeletes
                })
            })
        };
        if self.accepted.iter().any(converts) {
            Operation::Overwrite
        } else {
            Operation::Replace
        }
    }

    /// Gives first row ids to data manifests without (format version 3). Returns the snapshot's range: the table's next
    /// row id, and how many were given out.
    fn assign_row_ids(
        &self,
        version: Version,
        manifests: &mut [ManifestFile],
    ) -> Result<Option<(u64, u64)>, TableError> {
        if version < Version::V3 {
            return Ok(None);
        }
        let first = self.loaded.metadata.next_row_id();
        let used_up = |_| self.unwritable(AvroError("its next row id is too large".to_owned()));
        let next = i64::try_from(first).map_err(used_up)?;
        let after =
            assign_first_row_ids(manifests, next).map_err(|error| self.unwritable(error))?;
        Ok(Some((first, (after - next).unsigned_abs())))
    }

    /// Now, but after all that the table has seen: clocks differ between writers, and a time of its own lets the
    /// metadata file of this commit be found in the log later.
    fn timestamp(&self) -> i64 {
        let metadata = &self.loaded.metadata;
        let snapshots = metadata.snapshots().map(|snapshot| snapshot.timestamp_ms());
        let log = metadata.history().iter().map(|entry| entry.timestamp_ms);
        snapshots
            .chain(log)
            .chain([metadata.last_updated_ms()])
            .max()
            .map_or(0, |last| last.saturating_add(1))
            .max(self.ambient.now().get())
    }

    fn change(&self, snapshot: Snapshot) -> Result<TableChange, TableError> {
        let metadata = &self.loaded.metadata;
        let requirements = vec![
            TableRequirement::UuidMatch {
                uuid: metadata.uuid(),
            },
            TableRequirement::RefSnapshotIdMatch {
                r#ref: MAIN_BRANCH.to_owned(),
                snapshot_id: metadata.current_snapshot_id(),
            },
        ];
        let retention = main_retention(metadata).map_err(|error| TableError::Corrupt {
            table: self.loaded.table.clone(),
            file: self.loaded.metadata_location.to_string(),
            message: format!("its main branch can't be read ({error})"),
        })?;
        let reference = SnapshotReference::new(snapshot.snapshot_id(), retention);
        Ok(TableChange {
            requirements,
            updates: vec![
                TableUpdate::AddSnapshot { snapshot },
                TableUpdate::SetSnapshotRef {
                    ref_name: MAIN_BRANCH.to_owned(),
                    reference,
                },
            ],
        })
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
        for place in self.unneeded {
            changes.remove(&self.live.entry(*place).file);
        }
        changes
    }

    /// For each accepted group that has new delete files, the header of their manifest: that of its data files' one, for
    /// deletes.
    fn delete_headers(&self) -> Vec<(&Accepted, ManifestHeader)> {
        let groups = self.accepted.iter();
        let with_deletes = groups.filter(|group| !group.new_deletes().is_empty());
        with_deletes
            .filter_map(|group| {
                let first = group.inputs.first()?;
                let header = ManifestHeader {
                    content: Content::Deletes,
                    ..self.live.manifest(first.manifest).header.clone()
                };
                Some((group, header))
            })
            .collect()
    }

    /// What to write, and what to carry over.
    fn parts<'b>(
        &'b self,
        delete_headers: &'b [(&Accepted, ManifestHeader)],
    ) -> Result<(Vec<ManifestPart<'b>>, Vec<&'b ManifestFile>), TableError> {
        let mut parts = Parts::default();
        let own_schema = self.output_schema()?;
        for (group, header) in delete_headers {
            let part = parts.of(header, None, true);
            part.extend(group.new_deletes().iter().map(|delete| NewEntry::Added {
                file: &delete.file,
                partition: &group.partition_bytes,
                sequence_number: delete.sequence_number,
            }));
        }
        for group in self.accepted.iter().filter(|group| group.light.is_none()) {
            if let Some(first) = group.inputs.first() {
                let header = &self.live.manifest(first.manifest).header;
                let schema = own_schema
                    .clone()
                    .filter(|_| self.binds_to_output_schema(header.spec_id));
                let part = parts.of(header, schema, true);
                part.extend(group.outputs.iter().map(|file| NewEntry::Added {
                    file,
                    partition: &group.partition_bytes,
                    sequence_number: self.base.starting_sequence_number.get(),
                }));
            }
        }
        let replaced = self.accepted.iter().flat_map(Accepted::replaced);
        let mut gone: BTreeMap<usize, HashSet<usize>> = BTreeMap::new();
        for place in replaced.chain(self.unneeded) {
            gone.entry(place.manifest).or_default().insert(place.entry);
        }
        for (manifest, entries) in &gone {
            let manifest = self.live.manifest(*manifest);
            let from = &manifest.header;
            let part = parts.of(from, None, false);
            for (index, entry) in manifest.entries.iter().enumerate() {
                part.push(if entries.contains(&index) {
                    NewEntry::Deleted { entry, from }
                } else {
                    NewEntry::Existing { entry, from }
                });
            }
        }
        let manifests = self.live.manifests.iter().enumerate();
        let untouched = manifests.filter(|(place, _)| !gone.contains_key(place));
        Ok((
            parts.parts,
            untouched.map(|(_, manifest)| &manifest.file).collect(),
        ))
    }

    /// The schema that the outputs were written in, as a manifest's header has it.
    fn output_schema(&self) -> Result<Option<(Vec<u8>, i32)>, TableError> {
        let id = self.base.schema_id.get();
        let Some(schema) = self.loaded.metadata.schema_by_id(id) else {
            return Ok(None);
        };
        let json = schema_to_json(schema)
            .and_then(|json| serde_json::to_vec(&json))
            .map_err(|error| self.unwritable(AvroError(error.to_string())))?;
        Ok(Some((json, id)))
    }

    /// Whether the outputs' schema has every column that the spec partitions by. It lacks one where a column was dropped
    /// after the spec was left behind; then the header says what the inputs' manifest said.
    fn binds_to_output_schema(&self, spec_id: i32) -> bool {
        let metadata = &self.loaded.metadata;
        let schema = metadata.schema_by_id(self.base.schema_id.get());
        let spec = metadata.partition_spec_by_id(spec_id);
        schema.zip(spec).is_some_and(|(schema, spec)| {
            let mut fields = spec.fields().iter();
            fields.all(|field| schema.field_by_id(field.source_id).is_some())
        })
    }

    async fn store(
        &self,
        contents: Vec<(String, Vec<u8>)>,
        written: &mut Vec<String>,
    ) -> Result<(), TableError> {
        // Also what fails may be there: a write whose answer is lost.
        written.extend(contents.iter().map(|(location, _)| location.clone()));
        let options = WriteOptions {
            storage_class: self
                .loaded
                .metadata
                .properties()
                .get("s3.write.storage-class")
                .cloned(),
        };
        let options = &options;
        stream::iter(contents.into_iter().map(|(location, bytes)| async move {
            self.storage
                .put(&location, Buffer::from(bytes), PutMode::Overwrite, options)
                .await
        }))
        .buffer_unordered(CONCURRENT_WRITES)
        .try_collect::<()>()
        .await
        .map_err(|source| TableError::of_storage(&self.loaded.table, source))
    }

    fn unwritable(&self, error: AvroError) -> TableError {
        TableError::Corrupt {
            table: self.loaded.table.clone(),
            file: self.loaded.metadata_location.to_string(),
            message: format!("a manifest of it can't be written anew ({error})"),
        }
    }
}

/// How long the main branch keeps its snapshots, which is the owner's wish and stays. The crate hands references out in
/// JSON only. (Its builder would keep them too, but binds the default spec anew, which not every real spec stands.)
fn main_retention(metadata: &TableMetadata) -> serde_json::Result<SnapshotRetention> {
    let json = serde_json::to_value(metadata)?;
    match json.get("refs").and_then(|refs| refs.get(MAIN_BRANCH)) {
        Some(main) => SnapshotReference::deserialize(main).map(|main| main.retention),
        None => Ok(SnapshotRetention::branch(None, None, None)),
    }
}

/// Manifests to be written, one kind each.
#[derive(Debug, Default)]
struct Parts<'a> {
    parts: Vec<ManifestPart<'a>>,
    by_kind: HashMap<Kind, usize>,
}

/// What entries must share to stand in one manifest.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Kind {
    /// New files stand apart from tombstones, so that the manifest lives longer.
    is_new: bool,
    content: Content,
    spec_id: i32,
    schema: Vec<u8>,
    schema_id: Option<Vec<u8>>,
    partition_spec: Vec<u8>,
    partition: String,
}

impl<'a> Parts<'a> {
    fn of(
        &mut self,
        header: &'a ManifestHeader,
        schema: Option<(Vec<u8>, i32)>,
        is_new: bool,
    ) -> &mut Vec<NewEntry<'a>> {
        let (text, id) = match &schema {
            Some((text, id)) => (text, Some(id.to_string().into_bytes())),
            None => (&header.schema, header.schema_id.clone()),
        };
        let kind = Kind {
            is_new,
            content: header.content,
            spec_id: header.spec_id,
            schema: text.clone(),
            schema_id: id,
            partition_spec: header.partition_spec.clone(),
            partition: header.partition_json.to_string(),
        };
        let place = *self.by_kind.entry(kind).or_insert_with(|| {
            self.parts.push(ManifestPart {
                header,
                schema,
                entries: Vec::new(),
            });
            self.parts.len() - 1
        });
        &mut self.parts[place].entries
    }
}

/// Deletes manifests that certainly nothing refers to. Not being allowed to is no failure: they are found later, as
/// orphans.
pub(super) async fn discard(storage: &dyn Storage, written: &[String]) {
    if written.is_empty() {
        return;
    }
    for outcome in storage.delete(written).await {
        if let Err(error) = outcome.result {
            tracing::warn!(location = %outcome.location, %error, "an unused manifest is left behind");
        }
    }
}
