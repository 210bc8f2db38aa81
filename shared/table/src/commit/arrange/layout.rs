//! How a table's files lie in its manifests, as far as it decides which manifests readers open.

use std::{
    cmp::Ordering,
    collections::{BTreeMap, HashMap},
};

use icepress_model::{Bytes, SpecId};
use serde::Serialize;

use crate::{
    commit::snapshot::manifest_target,
    manifests::{Content, ManifestFile, PartitionKey, compare_values},
};

/// What a manifest tracks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum ManifestContent {
    /// Data files.
    Data,
    /// Delete files and vectors.
    Deletes,
}

/// The live files of one partition in one manifest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Held {
    /// The partition's place in [`ManifestLayout::partitions`].
    pub partition: u32,
    /// How many files.
    pub files: u32,
}

/// A manifest with live files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListedManifest {
    /// Where it is.
    pub path: String,
    /// What it tracks.
    pub content: ManifestContent,
    /// The partition spec of its files.
    pub spec_id: SpecId,
    /// Its size in storage, tombstones and all.
    pub size: Bytes,
    /// The sequence number of the commit that added it; 0 in version 1.
    pub sequence_number: i64,
    /// Entries of live files.
    pub live: u64,
    /// Entries of files that were removed.
    pub removed: u64,
    /// Its live files by partition, in the partitions' order.
    pub held: Vec<Held>,
}

impl ListedManifest {
    /// What its live entries take of its size.
    pub fn live_size(&self) -> Bytes {
        let all = u128::from(self.live + self.removed).max(1);
        let size = u128::from(self.size.get()) * u128::from(self.live) / all;
        Bytes(u64::try_from(size).unwrap_or(u64::MAX))
    }
}

/// A partition among the others of its spec.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct PartitionPlace {
    /// Its spec.
    pub spec_id: SpecId,
    /// For each partition field which value it has, counted from the least, with NULL first: two partitions have the same number
    /// where they have the same value. Ranges of these numbers are what readers compare bounds by.
    pub fields: Box<[u32]>,
}

/// The manifests of a snapshot that have live files, and where these are.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ManifestLayout {
    /// In the order of the manifest list.
    pub manifests: Vec<ListedManifest>,
    /// Partitions of live files, by spec and values.
    pub partitions: Vec<PartitionPlace>,
    /// The size that the table wants its manifests to have (`commit.manifest.target-size-bytes`).
    pub target: Bytes,
}

impl ManifestLayout {
    /// Of a table with these properties, of which nothing has been read yet.
    pub(crate) fn of_table(properties: &HashMap<String, String>) -> Self {
        Self {
            target: Bytes(manifest_target(properties) as u64),
            ..Self::default()
        }
    }

    /// Adds a manifest that has live files: `held` says how many in each partition, by numbers that
    /// [`Self::order_partitions`] takes.
    pub(crate) fn add(
        &mut self,
        file: &ManifestFile,
        size: Bytes,
        removed: u64,
        held: BTreeMap<u32, u32>,
    ) {
        self.manifests.push(ListedManifest {
            path: file.path.clone(),
            content: match file.content {
                Content::Data => ManifestContent::Data,
                Content::Deletes => ManifestContent::Deletes,
            },
            spec_id: SpecId(file.spec_id),
            size,
            sequence_number: file.sequence_number,
            live: held.values().map(|files| u64::from(*files)).sum(),
            removed,
            held: held
                .into_iter()
                .map(|(partition, files)| Held { partition, files })
                .collect(),
        });
    }

    /// Puts the partitions in order, and says of each, by its number until now, which it is then.
    pub(crate) fn order_partitions(&mut self, partitions: &[PartitionKey]) -> Vec<u32> {
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
        let mut place_of = vec![0; places.len()];
        for (place, (_, number)) in places.iter().enumerate() {
            place_of[*number] = place as u32;
        }
        self.partitions = places.into_iter().map(|(place, _)| place).collect();
        for manifest in &mut self.manifests {
            for held in &mut manifest.held {
                held.partition = place_of[held.partition as usize];
            }
            manifest.held.sort_unstable_by_key(|held| held.partition);
        }
        place_of
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
