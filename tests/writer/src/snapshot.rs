//! Writes the manifests and the manifest list of a snapshot that adds files, and says what to commit.

use std::{collections::BTreeMap, sync::Arc};

use iceberg::{
    TableRequirement, TableUpdate,
    io::FileIO,
    spec::{
        DataContentType, FormatVersion, MAIN_BRANCH, ManifestContentType, ManifestFile,
        ManifestList, ManifestListWriter, ManifestWriterBuilder, Snapshot, SnapshotReference,
        SnapshotRetention,
    },
};
use icepress_catalog::{LoadedTable, TableChange};
use icepress_storage::{PutMode, WriteOptions};
use uuid::Uuid;

use super::{AddedFile, RemovedFile, summary};
use icepress_table::{CommitContext, TableError};

/// Where the crate's writers write to before the bytes go to storage.
pub(super) const SCRATCH: &str = "memory:/manifest.avro";

/// One call's worth of names, sizes and places.
pub(super) struct Producer<'a> {
    context: &'a CommitContext,
    pub(super) base: &'a LoadedTable,
    pub(super) uuid: Uuid,
    pub(super) snapshot_id: i64,
    sequence_number: i64,
}

/// Writes what the snapshot needs and returns the change that makes it the table's current one.
pub(super) async fn produce(
    context: &CommitContext,
    base: &LoadedTable,
    files: &[AddedFile],
    removed: &[RemovedFile],
) -> Result<TableChange, TableError> {
    let metadata = &base.metadata;
    let is_v1 = metadata.format_version() == FormatVersion::V1;
    let producer = Producer {
        context,
        base,
        uuid: context.ambient.uuid(),
        snapshot_id: context.ambient.snapshot_id(),
        sequence_number: if is_v1 {
            0
        } else {
            metadata.next_sequence_number()
        },
    };
    let mut manifests = producer.write_manifests(files).await?;
    let inherited = producer.inherited_manifests().await?;
    let (inherited, gone) = producer.without(inherited, removed).await?;
    manifests.extend(inherited);
    let (manifest_list, next_row_id) = producer.write_list(manifests).await?;

    let not_before = metadata.last_updated_ms();
    let builder = Snapshot::builder()
        .with_snapshot_id(producer.snapshot_id)
        .with_parent_snapshot_id(metadata.current_snapshot_id())
        .with_sequence_number(producer.sequence_number)
        .with_timestamp_ms(context.ambient.now().get().max(not_before))
        .with_manifest_list(manifest_list)
        .with_summary(summary::summarize(metadata, files, &gone))
        .with_schema_id(metadata.current_schema_id());
    let first = metadata.next_row_id();
    let snapshot = match next_row_id {
        Some(next) => builder.with_row_range(first, next - first).build(),
        None => builder.build(),
    };
    Ok(TableChange {
        requirements: vec![
            TableRequirement::UuidMatch {
                uuid: metadata.uuid(),
            },
            TableRequirement::RefSnapshotIdMatch {
                r#ref: MAIN_BRANCH.to_owned(),
                snapshot_id: metadata.current_snapshot_id(),
            },
        ],
        updates: vec![
            TableUpdate::AddSnapshot { snapshot },
            TableUpdate::SetSnapshotRef {
                ref_name: MAIN_BRANCH.to_owned(),
                reference: SnapshotReference::new(
                    producer.snapshot_id,
                    SnapshotRetention::branch(None, None, None),
                ),
            },
        ],
    })
}

impl Producer<'_> {
    /// One manifest for each spec and kind of content, data before deletes.
    async fn write_manifests(&self, files: &[AddedFile]) -> Result<Vec<ManifestFile>, TableError> {
        let mut by_manifest: BTreeMap<(bool, i32), Vec<&AddedFile>> = BTreeMap::new();
        for added in files {
            let is_delete = added.file.content_type() != DataContentType::Data;
            by_manifest
                .entry((is_delete, added.spec_id.get()))
                .or_default()
                .push(added);
        }
        let mut manifests = Vec::with_capacity(by_manifest.len());
        for (number, ((is_delete, spec_id), members)) in by_manifest.into_iter().enumerate() {
            let content = if is_delete {
                ManifestContentType::Deletes
            } else {
                ManifestContentType::Data
            };
            let location = self.location(&format!("{}-m{number}.avro", self.uuid));
            manifests.push(
                self.write_manifest(location, content, spec_id, members)
                    .await?,
            );
        }
        Ok(manifests)
    }

    async fn write_manifest(
        &self,
        location: String,
        content: ManifestContentType,
        spec_id: i32,
        files: Vec<&AddedFile>,
    ) -> Result<ManifestFile, TableError> {
        let metadata = &self.base.metadata;
        let corrupt = |error: iceberg::Error| self.corrupt(&location, &error);
        let spec = metadata.partition_spec_by_id(spec_id).ok_or_else(|| {
            self.corrupt_because(&location, format!("there is no partition spec {spec_id}"))
        })?;
        let scratch = FileIO::new_with_memory();
        let builder = ManifestWriterBuilder::new(
            scratch.new_output(SCRATCH).map_err(corrupt)?,
            Some(self.snapshot_id),
            Arc::clone(metadata.current_schema()),
            spec.as_ref().clone(),
        );
        let mut writer = match (metadata.format_version(), content) {
            (FormatVersion::V1, _) => builder.build_v1(),
            (FormatVersion::V2, ManifestContentType::Data) => builder.build_v2_data(),
            (FormatVersion::V2, ManifestContentType::Deletes) => builder.build_v2_deletes(),
            (FormatVersion::V3, ManifestContentType::Data) => builder.build_v3_data(),
            (FormatVersion::V3, ManifestContentType::Deletes) => builder.build_v3_deletes(),
        };
        for added in files {
            // A sequence number below zero leaves it to the reader to inherit it from the manifest list.
            writer.add_file(added.file.clone(), -1).map_err(corrupt)?;
        }
        let mut manifest = writer.write_manifest_file().await.map_err(corrupt)?;
        self.put(&scratch, &location).await?;
        manifest.manifest_path = location;
        Ok(manifest)
    }

    async fn inherited_manifests(&self) -> Result<Vec<ManifestFile>, TableError> {
        let Some(parent) = self.base.metadata.current_snapshot() else {
            return Ok(Vec::new());
        };
        let location = parent.manifest_list();
        let content = self.read(location).await?;
        let list = ManifestList::parse_with_version(&content, self.base.metadata.format_version())
            .map_err(|error| self.corrupt(location, &error))?;
        Ok(list.consume_entries().into_iter().collect())
    }

    pub(super) async fn read(&self, location: &str) -> Result<bytes::Bytes, TableError> {
        let content = self.context.storage.read(location).await;
        content.map_err(|source| self.storage(source))
    }

    /// Writes the list; returns its location and, from format version 3 on, the next free row id.
    async fn write_list(
        &self,
        manifests: Vec<ManifestFile>,
    ) -> Result<(String, Option<u64>), TableError> {
        let location = self.location(&format!("snap-{}-1-{}.avro", self.snapshot_id, self.uuid));
        let corrupt = |error: iceberg::Error| self.corrupt(&location, &error);
        let scratch = FileIO::new_with_memory();
        let output = scratch
            .new_output(SCRATCH)
            .map_err(corrupt)?
            .writer()
            .await
            .map_err(corrupt)?;
        let parent = self.base.metadata.current_snapshot_id();
        let (id, number) = (self.snapshot_id, self.sequence_number);
        let mut writer = match self.base.metadata.format_version() {
            FormatVersion::V1 => ManifestListWriter::v1(output, id, parent),
            FormatVersion::V2 => ManifestListWriter::v2(output, id, parent, number),
            FormatVersion::V3 => {
                // Gives ids to the rows of manifests that have none: the new ones, and all of them after an upgrade.
                let next = Some(self.base.metadata.next_row_id());
                ManifestListWriter::v3(output, id, parent, number, next)
            }
        };
        writer
            .add_manifests(manifests.into_iter())
            .map_err(corrupt)?;
        let next_row_id = writer.next_row_id();
        writer.close().await.map_err(corrupt)?;
        self.put(&scratch, &location).await?;
        Ok((location, next_row_id))
    }

    pub(super) async fn put(&self, scratch: &FileIO, location: &str) -> Result<(), TableError> {
        let corrupt = |error: iceberg::Error| self.corrupt(location, &error);
        let content = scratch
            .new_input(SCRATCH)
            .map_err(corrupt)?
            .read()
            .await
            .map_err(corrupt)?;
        self.context
            .storage
            .put(
                location,
                content,
                PutMode::CreateOnly,
                &WriteOptions::default(),
            )
            .await
            .map_err(|source| self.storage(source))
    }

    pub(super) fn location(&self, name: &str) -> String {
        let metadata = &self.base.metadata;
        match metadata.properties().get("write.metadata.path") {
            Some(folder) => format!("{}/{name}", folder.trim_end_matches('/')),
            None => format!(
                "{}/metadata/{name}",
                metadata.location().trim_end_matches('/')
            ),
        }
    }

    fn storage(&self, source: icepress_storage::StorageError) -> TableError {
        TableError::Storage {
            table: self.base.table.clone(),
            source,
        }
    }

    pub(super) fn corrupt(&self, file: &str, error: &iceberg::Error) -> TableError {
        self.corrupt_because(file, error.to_string())
    }

    pub(super) fn corrupt_because(&self, file: &str, message: String) -> TableError {
        TableError::Corrupt {
            table: self.base.table.clone(),
            file: file.to_owned(),
            message,
        }
    }
}
