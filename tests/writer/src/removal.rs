//! Taking files out of a table: the manifests that hold them are written anew, with tombstones for what goes.

use std::{collections::HashSet, sync::Arc};

use iceberg::{
    io::FileIO,
    spec::{
        DataFile, FormatVersion, Manifest, ManifestContentType, ManifestEntry, ManifestFile,
        ManifestStatus, ManifestWriterBuilder,
    },
};
use icepress_model::SpecId;

use super::{
    AddedFile, RemovedFile,
    snapshot::{Producer, SCRATCH},
};
use icepress_table::TableError;

/// The parent's manifests once files are gone, and the files' entries.
pub(super) type Remaining = (Vec<ManifestFile>, Vec<AddedFile>);

impl Producer<'_> {
    /// `manifests` without `removed`. A file that is not live is an error: the caller saw it in this very snapshot.
    pub(super) async fn without(
        &self,
        manifests: Vec<ManifestFile>,
        removed: &[RemovedFile],
    ) -> Result<Remaining, TableError> {
        let mut wanted: HashSet<&RemovedFile> = removed.iter().collect();
        let mut kept = Vec::with_capacity(manifests.len());
        let mut gone = Vec::new();
        for listed in manifests {
            if wanted.is_empty() {
                kept.push(listed);
                continue;
            }
            let content = self.read(&listed.manifest_path).await?;
            let manifest = Manifest::parse_avro(&content)
                .map_err(|error| self.corrupt(&listed.manifest_path, &error))?;
            let is_hit = |entry: &ManifestEntry| {
                entry.is_alive() && wanted.contains(&RemovedFile::of(entry.data_file()))
            };
            if !manifest.entries().iter().any(|entry| is_hit(entry)) {
                kept.push(listed);
                continue;
            }
            let number = kept.len();
            let location = self.location(&format!("{}-r{number}.avro", self.uuid));
            let (written, taken) = self
                .rewrite_without(&listed, manifest, &wanted, location)
                .await?;
            for file in &taken {
                wanted.remove(&RemovedFile::of(&file.file));
            }
            kept.push(written);
            gone.extend(taken);
        }
        match wanted.iter().next() {
            None => Ok((kept, gone)),
            Some(missing) => Err(self.corrupt_because(
                &missing.path,
                "it is to be removed, and is not in the table".to_owned(),
            )),
        }
    }

    async fn rewrite_without(
        &self,
        listed: &ManifestFile,
        manifest: Manifest,
        removed: &HashSet<&RemovedFile>,
        location: String,
    ) -> Result<(ManifestFile, Vec<AddedFile>), TableError> {
        let corrupt = |error: iceberg::Error| self.corrupt(&location, &error);
        let (entries, header) = manifest.into_parts();
        let scratch = FileIO::new_with_memory();
        // The schema that the manifest was written under, which its partitions and bounds are of.
        let builder = ManifestWriterBuilder::new(
            scratch.new_output(SCRATCH).map_err(corrupt)?,
            Some(self.snapshot_id),
            Arc::clone(&header.schema),
            header.partition_spec.with_spec_id(listed.partition_spec_id),
        );
        let mut writer = match (self.base.metadata.format_version(), listed.content) {
            (FormatVersion::V1, _) => builder.build_v1(),
            (FormatVersion::V2, ManifestContentType::Data) => builder.build_v2_data(),
            (FormatVersion::V2, ManifestContentType::Deletes) => builder.build_v2_deletes(),
            (FormatVersion::V3, ManifestContentType::Data) => builder.build_v3_data(),
            (FormatVersion::V3, ManifestContentType::Deletes) => builder.build_v3_deletes(),
        };
        let mut gone = Vec::new();
        let mut row_ids = RowIds::of(listed);
        for entry in entries {
            if !entry.is_alive() {
                continue;
            }
            // Java and the specification agree: only what was added inherits, and all of version 1 does.
            let inherits = entry.status() == ManifestStatus::Added || listed.sequence_number == 0;
            let inherit = |own: Option<i64>| own.or(inherits.then_some(listed.sequence_number));
            let numbers = (
                inherit(entry.sequence_number()),
                inherit(entry.file_sequence_number),
            );
            let (Some(number), Some(file_number)) = numbers else {
                return Err(self.corrupt_because(
                    &listed.manifest_path,
                    format!("{} has no sequence number", entry.file_path()),
                ));
            };
            let file = row_ids.materialised(entry.data_file());
            if removed.contains(&RemovedFile::of(&file)) {
                gone.push(AddedFile {
                    spec_id: SpecId(listed.partition_spec_id),
                    file: file.clone(),
                });
                writer.add_delete_file(file, number, Some(file_number))
            } else {
                let snapshot = entry.snapshot_id().unwrap_or(listed.added_snapshot_id);
                writer.add_existing_file(file, snapshot, number, Some(file_number))
            }
            .map_err(corrupt)?;
        }
        let mut written = writer.write_manifest_file().await.map_err(corrupt)?;
        self.put(&scratch, &location).await?;
        written.manifest_path = location;
        // All its files have their ids: it has none to give.
        written.first_row_id = listed.first_row_id;
        Ok((written, gone))
    }
}

/// The ids that a manifest's data files inherit (specification, *First Row ID Inheritance*).
struct RowIds(Option<i64>);

impl RowIds {
    fn of(listed: &ManifestFile) -> Self {
        Self(listed.first_row_id.and_then(|id| i64::try_from(id).ok()))
    }

    /// The file with the id that it has inherited, which would be lost in another manifest.
    fn materialised(&mut self, file: &DataFile) -> DataFile {
        let (Some(next), None) = (self.0, file.first_row_id()) else {
            return file.clone();
        };
        self.0 = Some(next.saturating_add_unsigned(file.record_count()));
        with_first_row_id(file, next)
    }
}

/// The crate has no setter: the file is built anew.
fn with_first_row_id(file: &DataFile, first: i64) -> DataFile {
    let mut builder = iceberg::spec::DataFileBuilder::default();
    builder
        .content(file.content_type())
        .file_path(file.file_path().to_owned())
        .file_format(file.file_format())
        .partition(file.partition().clone())
        .record_count(file.record_count())
        .file_size_in_bytes(file.file_size_in_bytes())
        .column_sizes(file.column_sizes().clone())
        .value_counts(file.value_counts().clone())
        .null_value_counts(file.null_value_counts().clone())
        .nan_value_counts(file.nan_value_counts().clone())
        .lower_bounds(file.lower_bounds().clone())
        .upper_bounds(file.upper_bounds().clone())
        .key_metadata(file.key_metadata().map(<[u8]>::to_vec))
        .split_offsets(file.split_offsets().map(<[i64]>::to_vec))
        .equality_ids(file.equality_ids())
        .referenced_data_file(file.referenced_data_file())
        .content_offset(file.content_offset())
        .content_size_in_bytes(file.content_size_in_bytes())
        .first_row_id(Some(first));
    if let Some(order) = file.sort_order_id() {
        builder.sort_order_id(order);
    }
    // Every field without a default is set above.
    builder.build().unwrap_or_else(|_| file.clone())
}
