//! Reads how files lie in manifests: every manifest once, of each entry no more than its partition.

use std::{
    cmp::Ordering,
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use bytes::Bytes as Buffer;
use futures::{FutureExt as _, Stream, StreamExt as _, TryStreamExt as _, stream};
use icepress_catalog::LoadedTable;
use icepress_model::{Bytes, SpecId, TableId};
use icepress_storage::Storage;

use super::layout::{Held, ListedManifest, ManifestContent, ManifestLayout, PartitionPlace};
use crate::{
    TableError,
    commit::snapshot::manifest_target,
    manifests::{
        CONCURRENT_READS, Content, ManifestFile, OpenManifest, PartitionKey, PartitionTable, Specs,
        check_readable, compare_values, defect, fetch, manifests_of, spec_of, unsupported,
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
            layout: ManifestLayout {
                target: Bytes(manifest_target(metadata.properties()) as u64),
                ..ManifestLayout::default()
            },
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
        survey.order_partitions();
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
        let live = count(added.files) + count(existing.files);
        if live == 0 {
            return Ok(false);
        }
        let held = held.into_iter();
        self.layout.manifests.push(ListedManifest {
            path: file.path.clone(),
            content: match file.content {
                Content::Data => ManifestContent::Data,
                Content::Deletes => ManifestContent::Deletes,
            },
            spec_id: SpecId(file.spec_id),
            size: Bytes(content.len() as u64),
            sequence_number: file.sequence_number,
            live,
            removed: count(removed.files),
            held: held
                .map(|(partition, files)| Held { partition, files })
                .collect(),
        });
        self.listed.push(complete);
        self.unpacked.push(unpacked);
        Ok(true)
    }

    /// Puts the partitions in order, and says of each which it is by its fields.
    fn order_partitions(&mut self) {
        let partitions = &self.partitions.partitions;
        let mut of_spec: BTreeMap<i32, Vec<usize>> = BTreeMap::new();
        for (number, partition) in partitions.iter().enumerate() {
            of_spec.entry(partition.spec_id).or_default().push(number);
        }
        let mut places: Vec<(PartitionPlace, usize)> = Vec::with_capacity(partitions.len());
        for (spec_id, numbers) in of_spec {
            let fields = numbers
                .first()
                .map_or(0, |number| partitions[*number].value.fields().len());
            let ranks: Vec<HashMap<usize, u32>> = (0..fields)
                .map(|field| ranks_of(partitions, &numbers, field))
                .collect();
            places.extend(numbers.into_iter().map(|number| {
                let fields = ranks.iter().map(|ranks| ranks[&number]).collect();
                let spec_id = SpecId(spec_id);
                (PartitionPlace { spec_id, fields }, number)
            }));
        }
        places.sort();
        self.place_of = vec![0; places.len()];
        for (place, (_, number)) in places.iter().enumerate() {
            self.place_of[*number] = place as u32;
        }
        self.layout.partitions = places.into_iter().map(|(place, _)| place).collect();
        for manifest in &mut self.layout.manifests {
            for held in &mut manifest.held {
                held.partition = self.place_of[held.partition as usize];
            }
            manifest.held.sort_unstable_by_key(|held| held.partition);
        }
    }
}

/// The number of each partition's value of a field, counted from the least.
fn ranks_of(partitions: &[PartitionKey], numbers: &[usize], field: usize) -> HashMap<usize, u32> {
    let compare = |a: &usize, b: &usize| {
        let [a, b] = [a, b].map(|number| partitions[*number].value.fields()[field].as_ref());
        compare_values(a, b)
    };
    let mut sorted = numbers.to_vec();
    sorted.sort_by(compare);
    let mut rank = 0;
    let mut ranks = HashMap::with_capacity(sorted.len());
    for (index, number) in sorted.iter().enumerate() {
        if index > 0 && compare(&sorted[index - 1], number) != Ordering::Equal {
            rank += 1;
        }
        ranks.insert(*number, rank);
    }
    ranks
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
