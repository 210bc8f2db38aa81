//! Reads how files lie in manifests: every manifest once, of each entry no more than its partition.

use std::{collections::BTreeMap, sync::Arc};

use bytes::Bytes as Buffer;
use futures::{FutureExt as _, Stream, StreamExt as _, TryStreamExt as _, stream};
use icepress_catalog::LoadedTable;
use icepress_model::{Bytes, TableId};
use icepress_storage::Storage;

use super::layout::ManifestLayout;
use crate::{
    TableError,
    manifests::{
        CONCURRENT_READS, ManifestFile, OpenManifest, PartitionTable, Specs, check_readable,
        defect, fetch, manifests_of, spec_of, unsupported,
    },
};

/// Bytes of manifests that are fetched ahead.
const AHEAD: u64 = 32 << 20;

/// What was read of a table's manifests.
#[derive(Debug)]
pub(super) struct Survey {
    pub(super) layout: ManifestLayout,
    /// The manifests of the layout, as the list of a later version may have them.
    pub(super) listed: Vec<ManifestFile>,
    /// The same, as the list has them that is there.
    pub(super) keys: Arc<[ManifestFile]>,
    pub(super) specs: Specs,
    pub(super) partitions: PartitionTable,
    /// The place in the layout of each partition of that table.
    pub(super) place_of: Vec<u32>,
    /// Bytes of each manifest's live entries before compression.
    pub(super) unpacked: Vec<u64>,
}

impl Survey {
    /// Of the current snapshot of `loaded`.
    pub(super) async fn of(
        storage: &Arc<dyn Storage>,
        loaded: &LoadedTable,
    ) -> Result<Self, TableError> {
        let (table, metadata) = (&loaded.table, &loaded.metadata);
        let mut listed = match metadata.current_snapshot() {
            Some(snapshot) => manifests_of(storage.as_ref(), table, metadata, snapshot).await?,
            None => Vec::new(),
        };
        listed.retain(ManifestFile::may_have_live_files);
        let specs =
            Specs::of(metadata, &listed).map_err(|error| unsupported(table, error.to_string()))?;
        let mut survey = Self {
            layout: ManifestLayout::of_table(metadata.properties()),
            listed: Vec::with_capacity(listed.len()),
            keys: Arc::default(),
            specs,
            partitions: PartitionTable::default(),
            place_of: Vec::new(),
            unpacked: Vec::with_capacity(listed.len()),
        };
        let places: Vec<usize> = (0..listed.len()).collect();
        let mut keys = Vec::with_capacity(listed.len());
        let mut contents = contents_of(storage, table, &listed, &places);
        while let Some((place, content)) = contents.try_next().await? {
            if survey.add(table, &listed[place], &content)? {
                keys.push(listed[place].clone());
            }
        }
        survey.keys = keys.into();
        survey.place_of = survey
            .layout
            .order_partitions(&survey.partitions.partitions);
        Ok(survey)
    }

    /// Reads a manifest; whether it has live files.
    fn add(
        &mut self,
        table: &TableId,
        file: &ManifestFile,
        content: &[u8],
    ) -> Result<bool, TableError> {
        let spec = spec_of(table, &self.specs, file)?;
        let mut held: BTreeMap<u32, u32> = BTreeMap::new();
        let mut unpacked = 0;
        let measured = OpenManifest::new(content, file, spec)
            .and_then(|manifest| {
                manifest.for_each(&mut self.partitions, |entry, _| {
                    *held.entry(entry.file.partition).or_default() += 1;
                    unpacked += entry.file.raw.len() as u64;
                    Ok(())
                })
            })
            .map_err(|error| defect(table, &file.path, error))?;
        let mut complete = file.clone();
        complete.complete(&measured);
        let [added, existing, removed] = measured.counted;
        let count = |files: Option<i64>| files.unwrap_or(0).unsigned_abs();
        if count(added.files) + count(existing.files) == 0 {
            return Ok(false);
        }
        let size = Bytes(content.len() as u64);
        self.layout.add(file, size, count(removed.files), held);
        self.listed.push(complete);
        self.unpacked.push(unpacked);
        Ok(true)
    }
}

/// Fetches the manifests at `places`, some ahead, and returns them one after the other.
pub(super) fn contents_of<'a>(
    storage: &'a Arc<dyn Storage>,
    table: &'a TableId,
    files: &'a [ManifestFile],
    places: &[usize],
) -> impl Stream<Item = Result<(usize, Buffer), TableError>> + Send + Unpin + 'a {
    let length = |place: &usize| files[*place].length.unsigned_abs();
    let largest = places.iter().map(length).max().unwrap_or(0).max(1);
    let ahead = usize::try_from(AHEAD / largest).unwrap_or(CONCURRENT_READS);
    // Boxed one by one: else the compiler can't tell that the whole may move between threads.
    let reads: Vec<_> = places
        .iter()
        .map(|place| {
            let place = *place;
            async move {
                let file = &files[place];
                check_readable(table, file)?;
                let content = fetch(storage.as_ref(), table, &file.path).await?;
                Ok((place, content))
            }
            .boxed()
        })
        .collect();
    stream::iter(reads).buffered(ahead.clamp(1, CONCURRENT_READS))
}
