//! How the foreign writer makes a snapshot: manifests and manifest list by the `iceberg` crate, entries carried over by
//! hand, a swap compared with exactly what was loaded.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use iceberg::{
    TableRequirement, TableUpdate,
    io::FileIO,
    spec::{
        DataContentType, DataFile, FormatVersion, MAIN_BRANCH, Manifest, ManifestContentType,
        ManifestFile, ManifestListWriter, ManifestStatus, ManifestWriter, ManifestWriterBuilder,
        Operation, Snapshot, SnapshotReference, SnapshotRetention, Summary,
        deserialize_data_file_from_json, serialize_data_file_to_json,
    },
};
use icepress_catalog::{Catalog as _, LoadedTable, TableChange};
use icepress_storage::{PutMode, Storage as _, WriteOptions};
use uuid::Uuid;

use super::{Done, GaveUp, Work, Writer};
use crate::reader::{identity, parse_list};

/// Where the crate's writers write to before the bytes go to storage.
const SCRATCH: &str = "memory:/scratch.avro";

/// Where a snapshot goes.
#[derive(Debug, Clone)]
pub(super) enum Onto {
    /// On top of the main branch.
    Main,
    /// On top of another branch.
    Branch(String, SnapshotReference),
    /// Nowhere yet: on top of the current snapshot, to be published by somebody (write, audit, publish).
    Staged,
}

/// One snapshot in the making.
struct Making<'a> {
    writer: &'a Writer,
    base: &'a LoadedTable,
    parent: Option<i64>,
    snapshot_id: i64,
    uuid: Uuid,
    count: u32,
}

impl Writer {
    pub(super) async fn change(
        &self,
        base: &LoadedTable,
        updates: Vec<TableUpdate>,
    ) -> Result<LoadedTable, GaveUp> {
        let change = TableChange {
            requirements: vec![TableRequirement::UuidMatch {
                uuid: base.metadata.uuid(),
            }],
            updates,
        };
        Ok(self.catalog.commit(base, change).await?)
    }

    pub(super) async fn commit(
        &self,
        base: &LoadedTable,
        work: Work,
        operation: Operation,
    ) -> Done {
        self.commit_onto(base, work, operation, Onto::Main).await
    }

    pub(super) async fn commit_onto(
        &self,
        base: &LoadedTable,
        work: Work,
        operation: Operation,
        onto: Onto,
    ) -> Done {
        let metadata = &base.metadata;
        let parent = match &onto {
            Onto::Main | Onto::Staged => metadata.current_snapshot_id(),
            Onto::Branch(_, head) => Some(head.snapshot_id),
        };
        let mut making = Making {
            writer: self,
            base,
            parent,
            snapshot_id: self.ambient.snapshot_id(),
            uuid: self.ambient.uuid(),
            count: 0,
        };
        let mut manifests = making.new_manifests(&work.added).await?;
        manifests.extend(making.old_manifests(&work).await?);
        let snapshot_id = making.snapshot_id;
        let now = self.ambient.now().get();
        let latest = metadata
            .snapshots()
            .map(|snapshot| snapshot.timestamp_ms())
            .max();
        let rows: u64 = manifests
            .iter()
            .filter(|manifest| manifest.content == ManifestContentType::Data)
            .filter(|manifest| manifest.first_row_id.is_none())
            .map(|manifest| {
                manifest.added_rows_count.unwrap_or(0) + manifest.existing_rows_count.unwrap_or(0)
            })
            .sum();
        let list = making.list(manifests).await?;
        let snapshot = Snapshot::builder()
            .with_snapshot_id(snapshot_id)
            .with_parent_snapshot_id(parent)
            .with_sequence_number(metadata.next_sequence_number())
            .with_timestamp_ms(now.max(metadata.last_updated_ms()).max(latest.unwrap_or(0)))
            .with_manifest_list(list)
            .with_summary(Summary {
                operation,
                additional_properties: match onto {
                    Onto::Staged => HashMap::from([("wap.id".to_owned(), snapshot_id.to_string())]),
                    _ => HashMap::new(),
                },
            })
            .with_schema_id(metadata.current_schema_id());
        let snapshot = match metadata.format_version() {
            FormatVersion::V3 => snapshot
                .with_row_range(metadata.next_row_id(), rows)
                .build(),
            _ => snapshot.build(),
        };
        let set = |ref_name: String, retention| TableUpdate::SetSnapshotRef {
            ref_name,
            reference: SnapshotReference::new(snapshot_id, retention),
        };
        let moved = match onto {
            Onto::Main => {
                let retention = SnapshotRetention::branch(None, None, None);
                Some(set(MAIN_BRANCH.to_owned(), retention))
            }
            Onto::Branch(name, head) => Some(set(name, head.retention)),
            Onto::Staged => None,
        };
        self.oracle.expect(snapshot_id, work.change);
        let mut updates = vec![TableUpdate::AddSnapshot { snapshot }];
        updates.extend(moved);
        self.change(base, updates).await?;
        Ok(())
    }
}

impl Making<'_> {
    fn next_location(&mut self, name: &str) -> String {
        self.count += 1;
        let folder = self.base.metadata.location();
        let location = format!("{folder}/metadata/{name}-{}-{}.avro", self.uuid, self.count);
        self.writer.oracle.foreign_file(&location);
        location
    }

    fn manifest_writer(
        &self,
        scratch: &FileIO,
        spec_id: i32,
        content: ManifestContentType,
    ) -> Result<ManifestWriter, GaveUp> {
        let metadata = &self.base.metadata;
        let spec = metadata
            .partition_spec_by_id(spec_id)
            .ok_or_else(|| GaveUp(format!("no partition spec {spec_id}")))?;
        let builder = ManifestWriterBuilder::new(
            scratch.new_output(SCRATCH)?,
            Some(self.snapshot_id),
            Arc::clone(metadata.current_schema()),
            spec.as_ref().clone(),
        );
        Ok(match (metadata.format_version(), content) {
            (FormatVersion::V1, _) => builder.build_v1(),
            (FormatVersion::V2, ManifestContentType::Data) => builder.build_v2_data(),
            (FormatVersion::V2, ManifestContentType::Deletes) => builder.build_v2_deletes(),
            (FormatVersion::V3, ManifestContentType::Data) => builder.build_v3_data(),
            (FormatVersion::V3, ManifestContentType::Deletes) => builder.build_v3_deletes(),
        })
    }

    async fn keep(&mut self, scratch: &FileIO, name: &str) -> Result<String, GaveUp> {
        let location = self.next_location(name);
        let content = scratch.new_input(SCRATCH)?.read().await?;
        let options = WriteOptions::default();
        self.writer
            .storage
            .put(&location, content, PutMode::CreateOnly, &options)
            .await?;
        Ok(location)
    }

    async fn new_manifests(&mut self, added: &[DataFile]) -> Result<Vec<ManifestFile>, GaveUp> {
        let mut kinds: BTreeMap<bool, Vec<&DataFile>> = BTreeMap::new();
        for file in added {
            let deletes = file.content_type() != DataContentType::Data;
            kinds.entry(deletes).or_default().push(file);
        }
        let mut manifests = Vec::new();
        for (deletes, files) in kinds {
            let content = if deletes {
                ManifestContentType::Deletes
            } else {
                ManifestContentType::Data
            };
            let scratch = FileIO::new_with_memory();
            let mut writer = self.manifest_writer(&scratch, 0, content)?;
            for file in files {
                // A sequence number below zero leaves it to be inherited.
                writer.add_file(file.clone(), -1)?;
            }
            let mut manifest = writer.write_manifest_file().await?;
            manifest.manifest_path = self.keep(&scratch, "manifest").await?;
            manifests.push(manifest);
        }
        Ok(manifests)
    }

    async fn old_manifests(&mut self, work: &Work) -> Result<Vec<ManifestFile>, GaveUp> {
        let metadata = &self.base.metadata;
        let parent = self.parent.and_then(|id| metadata.snapshot_by_id(id));
        let Some(parent) = parent else {
            return Ok(Vec::new());
        };
        let content = self.writer.storage.read(parent.manifest_list()).await?;
        let list = parse_list(&content, metadata.format_version())?;
        let mut manifests = Vec::new();
        for manifest in list.entries() {
            manifests.push(self.old_manifest(manifest, work).await?);
        }
        Ok(manifests)
    }

    /// The manifest as it is, or written anew where files of it go.
    async fn old_manifest(
        &mut self,
        manifest: &ManifestFile,
        work: &Work,
    ) -> Result<ManifestFile, GaveUp> {
        if work.removed.is_empty() {
            return Ok(manifest.clone());
        }
        let content = self.writer.storage.read(&manifest.manifest_path).await?;
        let (entries, _) = Manifest::parse_avro(&content)?.into_parts();
        if !entries
            .iter()
            .any(|entry| entry.is_alive() && work.removed.contains(&identity(entry.data_file())))
        {
            return Ok(manifest.clone());
        }
        let scratch = FileIO::new_with_memory();
        let mut writer =
            self.manifest_writer(&scratch, manifest.partition_spec_id, manifest.content)?;
        let is_data = manifest.content == ManifestContentType::Data;
        let mut next_row_id = manifest
            .first_row_id
            .filter(|_| is_data)
            .map(|id| id as i64);
        for entry in entries.iter().filter(|entry| entry.is_alive()) {
            let added = entry.status() == ManifestStatus::Added;
            let inherited = added.then_some(manifest.sequence_number);
            let number = entry
                .sequence_number()
                .or(inherited)
                .ok_or_else(|| GaveUp("an entry has no sequence number".to_owned()))?;
            let own = entry.file_sequence_number.or(inherited);
            let file = match next_row_id {
                Some(next) if entry.data_file().first_row_id().is_none() => {
                    next_row_id = Some(next + entry.data_file().record_count() as i64);
                    self.with_first_row_id(entry.data_file(), manifest.partition_spec_id, next)?
                }
                _ => entry.data_file().clone(),
            };
            if work.removed.contains(&identity(&file)) {
                writer.add_delete_file(file, number, own)?;
            } else {
                let id = entry.snapshot_id().unwrap_or(manifest.added_snapshot_id);
                writer.add_existing_file(file, id, number, own)?;
            }
        }
        let mut written = writer.write_manifest_file().await?;
        written.manifest_path = self.keep(&scratch, "manifest").await?;
        Ok(written)
    }

    /// A file whose rows keep their ids in another manifest.
    fn with_first_row_id(
        &self,
        file: &DataFile,
        spec_id: i32,
        first_row_id: i64,
    ) -> Result<DataFile, GaveUp> {
        let metadata = &self.base.metadata;
        let (schema, version) = (metadata.current_schema(), metadata.format_version());
        let spec = metadata
            .partition_spec_by_id(spec_id)
            .ok_or_else(|| GaveUp(format!("no partition spec {spec_id}")))?;
        let partition = spec.partition_type(schema)?;
        let text = serialize_data_file_to_json(file.clone(), &partition, version)?;
        let mut json: serde_json::Value = serde_json::from_str(&text)?;
        json["first_row_id"] = first_row_id.into();
        let text = json.to_string();
        Ok(deserialize_data_file_from_json(
            &text, spec_id, &partition, schema,
        )?)
    }

    async fn list(&mut self, manifests: Vec<ManifestFile>) -> Result<String, GaveUp> {
        let metadata = &self.base.metadata;
        let scratch = FileIO::new_with_memory();
        let output = scratch.new_output(SCRATCH)?.writer().await?;
        let (snapshot, parent) = (self.snapshot_id, self.parent);
        let number = metadata.next_sequence_number();
        let mut writer = match metadata.format_version() {
            FormatVersion::V1 => ManifestListWriter::v1(output, snapshot, parent),
            FormatVersion::V2 => ManifestListWriter::v2(output, snapshot, parent, number),
            FormatVersion::V3 => {
                let first = Some(metadata.next_row_id());
                ManifestListWriter::v3(output, snapshot, parent, number, first)
            }
        };
        writer.add_manifests(manifests.into_iter())?;
        writer.close().await?;
        self.keep(&scratch, "list").await
    }
}
