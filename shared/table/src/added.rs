//! Which data files a snapshot added, by the manifests that it wrote: for whoever goes on from what was known of the one before.

use std::sync::Arc;

use futures::{FutureExt as _, StreamExt as _, stream};
use iceberg::spec::Snapshot;
use icepress_catalog::LoadedTable;
use icepress_model::{Bytes, RowId, Rows, SequenceNumber, SpecId};
use icepress_storage::Storage;

use crate::{
    TableError,
    avro::AvroError,
    manifests::{
        CONCURRENT_READS, Content, FileContent, FileFormat, OpenManifest, PartitionTable, Specs,
        Standing, check_readable, defect, fetch, manifests_of, spec_of, unsupported,
    },
};

/// A data file as the manifest has it that added it. It may have been removed since.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AddedDataFile {
    /// Where it lies.
    pub path: String,
    /// Its format.
    pub format: FileFormat,
    /// Whether it is encrypted.
    pub encrypted: bool,
    /// Its size.
    pub size: Bytes,
    /// Its rows.
    pub rows: Rows,
    /// Its data sequence number.
    pub sequence_number: SequenceNumber,
    /// The id of its first row, inherited where its entry has none; `None` before format version 3.
    pub first_row_id: Option<RowId>,
    /// Its partition spec.
    pub spec_id: SpecId,
    /// Its partition, as [`crate::partition_to_json`] has it.
    pub partition: serde_json::Value,
}

/// The data files that `snapshot` added. Files that it only moved from one manifest to another are not among them.
pub async fn added_data_files(
    storage: &Arc<dyn Storage>,
    loaded: &LoadedTable,
    snapshot: &Snapshot,
) -> Result<Vec<AddedDataFile>, TableError> {
    let (table, metadata, id) = (&loaded.table, &loaded.metadata, snapshot.snapshot_id());
    let mut listed = manifests_of(storage.as_ref(), table, metadata, snapshot).await?;
    listed.retain(|file| file.content == Content::Data && file.added_snapshot_id == id);
    for file in &listed {
        check_readable(table, file)?;
    }
    let specs =
        Specs::of(metadata, &listed).map_err(|error| unsupported(table, error.to_string()))?;
    // Boxed one by one: else the compiler can't tell that the whole may move between threads.
    let requests: Vec<_> = listed
        .iter()
        .map(|file| {
            let path = file.path.clone();
            async move { fetch(storage.as_ref(), table, &path).await }.boxed()
        })
        .collect();
    let mut contents = stream::iter(requests).buffered(CONCURRENT_READS);
    let mut partitions = PartitionTable::default();
    let mut added = Vec::new();
    for manifest in &listed {
        let Some(content) = contents.next().await else {
            break;
        };
        let content = content?;
        let spec = spec_of(table, &specs, manifest)?;
        OpenManifest::new(&content, manifest, spec)
            .and_then(|open| {
                open.for_each_change(&mut partitions, |standing, entry, partition| {
                    let file = &entry.file;
                    let is_added = standing == Standing::Added && entry.snapshot_id == id;
                    if !is_added || file.content != FileContent::Data {
                        return Ok(());
                    }
                    let partition = serde_json::from_str(partition.text()).map_err(|error| {
                        AvroError::corrupt(format!("a partition can't be read: {error}"))
                    })?;
                    added.push(AddedDataFile {
                        path: file.path.to_owned(),
                        format: file.format,
                        encrypted: file.encrypted,
                        size: Bytes(file.size),
                        rows: Rows(file.rows),
                        sequence_number: SequenceNumber(entry.sequence_number),
                        first_row_id: file.first_row_id.map(RowId),
                        spec_id: SpecId(manifest.spec_id),
                        partition,
                    });
                    Ok(())
                })
            })
            .map_err(|error| defect(table, &manifest.path, error))?;
    }
    Ok(added)
}
