//! A snapshot in the making: manifests and a manifest list written for a freshly loaded table, and the change that its catalog is
//! to swap in. What is in them, and why, is the caller's.

use std::{collections::HashMap, sync::Arc};

use bytes::Bytes as Buffer;
use futures::{FutureExt as _, StreamExt as _, TryStreamExt as _, stream::FuturesOrdered};
use iceberg::{
    TableRequirement, TableUpdate,
    spec::{
        MAIN_BRANCH, Schema, Snapshot, SnapshotReference, SnapshotRetention, Summary, TableMetadata,
    },
};
use icepress_catalog::{
    LoadedTable, TableChange,
    metadata::{metadata_folder, schema_to_json},
};
use icepress_model::{Bytes, SnapshotId, ambient::Ambient};
use icepress_storage::{PutMode, Room, Storage, WriteOptions};
use serde::Deserialize as _;

use crate::{
    TableError,
    manifests::{
        Compression, Content, HeaderSchema, ManifestFile, ManifestHeader, ManifestPart,
        ManifestSettings, Spec, Specs, Version, WrittenManifest, assign_first_row_ids,
        write_manifest_list,
    },
};

mod making;

use making::Making;

/// `commit.manifest.target-size-bytes` where the table does not say.
const MANIFEST_BYTES: usize = 8 << 20;
/// How many manifests are stored at a time. Each is in memory, of the size that the table's properties ask for.
const CONCURRENT_WRITES: usize = 4;
/// Bytes of manifests that are in memory at a time to be carried over.
const CARRYING: Bytes = Bytes::mebibytes(32);

/// The size of manifests that a table with these properties wants.
pub(super) fn manifest_target(properties: &HashMap<String, String>) -> usize {
    let target = properties.get("commit.manifest.target-size-bytes");
    target
        .and_then(|bytes| bytes.parse().ok())
        .unwrap_or(MANIFEST_BYTES)
}

/// What a try has written, and what to swap in.
#[derive(Debug)]
pub(super) struct Prepared {
    pub(super) change: TableChange,
    pub(super) snapshot_id: SnapshotId,
    pub(super) removed_delete_files: u64,
    /// All manifests of the snapshot, as its list has them.
    pub(super) manifests: Vec<ManifestFile>,
    /// New manifests and the manifest list: garbage, should the swap certainly fail.
    pub(super) written: Vec<String>,
}

/// Where a snapshot is written, and for which state of its table.
#[derive(Debug)]
pub(super) struct Draft<'a> {
    pub(super) storage: &'a Arc<dyn Storage>,
    pub(super) ambient: &'a Ambient,
    pub(super) loaded: &'a LoadedTable,
    pub(super) attempt: u32,
}

impl Draft<'_> {
    /// Writes manifests of `parts` and a manifest list of these and `untouched`. On failure what was written is deleted again,
    /// as far as that is allowed.
    pub(super) async fn prepare(
        &self,
        parts: &[ManifestPart<'_>],
        untouched: Vec<ManifestFile>,
        summary: Summary,
    ) -> Result<Prepared, TableError> {
        let mut written = Vec::new();
        let prepared = self.write(parts, untouched, summary, &mut written).await;
        if prepared.is_err() {
            discard(self.storage.as_ref(), &written).await;
        }
        prepared
    }

    async fn write(
        &self,
        parts: &[ManifestPart<'_>],
        untouched: Vec<ManifestFile>,
        summary: Summary,
        written: &mut Vec<String>,
    ) -> Result<Prepared, TableError> {
        let settings = self.settings(self.fresh_snapshot_id());
        let name = self.manifest_name();
        let mut manifests = self
            .write_manifests(parts, &settings, &name, written)
            .await?;
        manifests.extend(untouched);
        self.list(&settings, manifests, summary, written).await
    }

    /// Writes a manifest list of manifests that are stored already. On failure it is deleted again, as far as that is allowed.
    pub(super) async fn prepare_list(
        &self,
        settings: &ManifestSettings,
        manifests: Vec<ManifestFile>,
        summary: Summary,
    ) -> Result<Prepared, TableError> {
        let mut written = Vec::new();
        let prepared = self.list(settings, manifests, summary, &mut written).await;
        if prepared.is_err() {
            discard(self.storage.as_ref(), &written).await;
        }
        prepared
    }

    /// A snapshot id that the table does not have.
    pub(super) fn fresh_snapshot_id(&self) -> i64 {
        let metadata = &self.loaded.metadata;
        let mut snapshot_id = self.ambient.snapshot_id();
        while snapshot_id == 0 || metadata.snapshot_by_id(snapshot_id).is_some() {
            snapshot_id = self.ambient.snapshot_id();
        }
        snapshot_id
    }

    /// How the table wants its manifests, those of the snapshot with this id.
    pub(super) fn settings(&self, snapshot_id: i64) -> ManifestSettings {
        let metadata = &self.loaded.metadata;
        let properties = metadata.properties();
        let version = Version::of(metadata);
        ManifestSettings {
            version,
            compression: Compression::from_property(properties.get("write.avro.compression-codec")),
            target_bytes: manifest_target(properties),
            snapshot_id,
            sequence_number: match version {
                Version::V1 => 0,
                Version::V2 | Version::V3 => metadata.next_sequence_number(),
            },
        }
    }

    /// What the names of one try's manifests begin with.
    pub(super) fn manifest_name(&self) -> String {
        let folder = metadata_folder(&self.loaded.metadata);
        format!("{folder}/{}", self.ambient.uuid())
    }

    /// Manifests of this content and spec, of which no entry is known yet, whatever the manifests say that the entries come
    /// from: under the table's current schema, where it has all that the spec partitions by.
    pub(super) fn part<'s>(
        &self,
        content: Content,
        spec_id: i32,
        spec: &'s Spec,
    ) -> Result<ManifestPart<'s>, TableError> {
        Ok(ManifestPart {
            content,
            spec_id,
            schema: self.schema_for(spec_id)?,
            partition_spec: self.spec_json(spec_id)?,
            partition_type: &spec.partition_type,
            entries: Vec::new(),
            carried: Vec::new(),
        })
    }

    /// Stores a list of `manifests`, and makes the change of them.
    async fn list(
        &self,
        settings: &ManifestSettings,
        mut manifests: Vec<ManifestFile>,
        summary: Summary,
        written: &mut Vec<String>,
    ) -> Result<Prepared, TableError> {
        let metadata = &self.loaded.metadata;
        let snapshot_id = settings.snapshot_id;
        let folder = metadata_folder(metadata);
        let id = self.ambient.uuid();
        let row_range = self.assign_row_ids(settings.version, &mut manifests)?;
        let list = format!("{folder}/snap-{snapshot_id}-{}-{id}.avro", self.attempt);
        let parent_id = metadata.current_snapshot_id();
        let sync = self.ambient.uuid().into_bytes();
        let encoded = write_manifest_list(&manifests, parent_id, settings, sync)
            .map_err(|error| self.unwritable(error))?;
        written.push(list.clone());
        self.store(&list, encoded).await?;
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
            removed_delete_files: 0,
            manifests,
            written: std::mem::take(written),
        })
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
        let used_up = |_| self.unwritable("its next row id is too large");
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

    /// The schema for a manifest of a spec, where the one that its entries come from has none: the current one, or an
    /// older one that has all columns which the spec partitions by.
    fn schema_for(&self, spec_id: i32) -> Result<HeaderSchema, TableError> {
        let metadata = &self.loaded.metadata;
        let older = metadata.schemas_iter().map(|schema| schema.schema_id());
        let mut older: Vec<i32> = older.collect();
        older.sort_unstable();
        let current = metadata.current_schema_id();
        let mut ids = std::iter::once(current).chain(older.into_iter().rev());
        let bound = ids.find(|id| self.binds(*id, spec_id)).unwrap_or(current);
        let schema = metadata.schema_by_id(bound);
        self.header_schema(schema.unwrap_or_else(|| metadata.current_schema()))
    }

    pub(super) fn header_schema(&self, schema: &Schema) -> Result<HeaderSchema, TableError> {
        let json = schema_to_json(schema)
            .and_then(|json| serde_json::to_vec(&json))
            .map_err(|error| self.unwritable(error))?;
        Ok(HeaderSchema {
            json,
            id: Some(schema.schema_id().to_string().into_bytes()),
        })
    }

    /// The fields of a spec, as a manifest's header has them.
    fn spec_json(&self, spec_id: i32) -> Result<Vec<u8>, TableError> {
        let spec = self.loaded.metadata.partition_spec_by_id(spec_id);
        let fields = spec.map(|spec| spec.fields()).unwrap_or_default();
        serde_json::to_vec(fields).map_err(|error| self.unwritable(error))
    }

    /// Whether a schema has every column that a spec partitions by. It lacks one where a column was dropped after the
    /// spec was left behind; then the header says what the inputs' manifest said.
    pub(super) fn binds(&self, schema_id: i32, spec_id: i32) -> bool {
        let metadata = &self.loaded.metadata;
        let schema = metadata.schema_by_id(schema_id);
        let spec = metadata.partition_spec_by_id(spec_id);
        schema.zip(spec).is_some_and(|(schema, spec)| {
            let mut fields = spec.fields().iter();
            fields.all(|field| schema.field_by_id(field.source_id).is_some())
        })
    }

    /// Writes the manifests of `parts`, under names that begin with `name`, and returns them in order. They are stored while
    /// others are made, so that few of them are in memory at a time. All that may be in storage afterwards is in `written`,
    /// whatever comes of it.
    async fn write_manifests(
        &self,
        parts: &[ManifestPart<'_>],
        settings: &ManifestSettings,
        name: &str,
        written: &mut Vec<String>,
    ) -> Result<Vec<ManifestFile>, TableError> {
        let room = Room::new(CARRYING);
        let mut making = Making::new(self, parts, settings, &room);
        let mut manifests = Vec::new();
        let mut storing = FuturesOrdered::new();
        while let Some(WrittenManifest { bytes, mut file }) = making.next().await? {
            file.path = format!("{name}-m{}.avro", written.len());
            // Also what fails may be there: a write whose answer is lost.
            written.push(file.path.clone());
            storing.push_back(self.store_manifest(file, bytes).boxed());
            // Asked once, requests are sent.
            while let Some(Some(stored)) = storing.next().now_or_never() {
                manifests.push(stored?);
            }
            while storing.len() >= CONCURRENT_WRITES {
                manifests.extend(storing.try_next().await?);
            }
        }
        while let Some(stored) = storing.try_next().await? {
            manifests.push(stored);
        }
        Ok(manifests)
    }

    async fn store_manifest(
        &self,
        file: ManifestFile,
        content: Vec<u8>,
    ) -> Result<ManifestFile, TableError> {
        self.store(&file.path, content).await?;
        Ok(file)
    }

    pub(super) async fn store(&self, location: &str, content: Vec<u8>) -> Result<(), TableError> {
        let properties = self.loaded.metadata.properties();
        let options = WriteOptions {
            storage_class: properties.get("s3.write.storage-class").cloned(),
            ..WriteOptions::default()
        };
        self.storage
            .put(
                location,
                Buffer::from(content),
                PutMode::Overwrite,
                &options,
            )
            .await
            .map_err(|source| TableError::of_storage(&self.loaded.table, source))
    }

    pub(super) fn unwritable(&self, error: impl std::fmt::Display) -> TableError {
        TableError::Unsupported {
            table: self.loaded.table.clone(),
            message: format!("its manifests can't be written anew: {error}"),
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
#[derive(Debug)]
pub(super) struct Parts<'a> {
    draft: &'a Draft<'a>,
    specs: &'a Specs,
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
    schema: HeaderSchema,
    partition_spec: Vec<u8>,
}

impl<'a> Parts<'a> {
    pub(super) fn new(draft: &'a Draft<'a>, specs: &'a Specs) -> Self {
        Self {
            draft,
            specs,
            parts: Vec::new(),
            by_kind: HashMap::new(),
        }
    }

    pub(super) fn into_parts(self) -> Vec<ManifestPart<'a>> {
        self.parts
    }

    /// The manifests for files of `content`, which go with those of the manifest that has the header `like`:
    /// under its spec and its schema, unless `schema` is given. What that header lacks the table's metadata has.
    pub(super) fn of(
        &mut self,
        like: &ManifestHeader,
        content: Content,
        schema: Option<HeaderSchema>,
        is_new: bool,
    ) -> Result<&mut ManifestPart<'a>, TableError> {
        let spec_id = like.spec_id;
        let schema = match schema.or_else(|| like.schema.clone()) {
            Some(schema) => schema,
            None => self.draft.schema_for(spec_id)?,
        };
        let partition_spec = match &like.partition_spec {
            Some(spec) => spec.clone(),
            None => self.draft.spec_json(spec_id)?,
        };
        let kind = Kind {
            is_new,
            content,
            spec_id,
            schema: schema.clone(),
            partition_spec: partition_spec.clone(),
        };
        let known = self.by_kind.get(&kind).copied();
        let place = match known {
            Some(place) => place,
            None => {
                let spec: &Spec = self
                    .specs
                    .get(spec_id)
                    .map_err(|error| self.draft.unwritable(error))?;
                self.parts.push(ManifestPart {
                    content,
                    spec_id,
                    schema,
                    partition_spec,
                    partition_type: &spec.partition_type,
                    entries: Vec::new(),
                    carried: Vec::new(),
                });
                self.by_kind.insert(kind, self.parts.len() - 1);
                self.parts.len() - 1
            }
        };
        Ok(&mut self.parts[place])
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
