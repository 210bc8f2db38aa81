//! What is live in the table now: every delete entry, every data entry of the manifests that hold inputs, and of all
//! other data files only what decides whether a delete file is still needed.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use icepress_catalog::LoadedTable;
use icepress_storage::Storage;
use xxhash_rust::xxh3::xxh3_64;

use crate::{
    TableError,
    delete_index::DataFiles,
    manifests::{
        Content, Entry, Manifest, ManifestFile, Measured, PartitionKey, Specs, TrackedFile,
        manifests_of, read_manifests, unsupported,
    },
};

/// A hash that stands for a path. Two paths with one hash can only keep a delete file alive, never remove one.
pub(super) fn path_hash(path: &str) -> u64 {
    xxh3_64(path.as_bytes())
}

/// What remains in memory of a data manifest without inputs: some 8 bytes a file.
#[derive(Debug)]
pub(super) struct Digest {
    paths: Vec<u64>,
    least: HashMap<PartitionKey, i64>,
    totals: Totals,
    measured: Measured,
}

/// Sums over live files.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Totals {
    pub(super) files: u64,
    pub(super) rows: u64,
    pub(super) bytes: u64,
}

impl Totals {
    pub(super) fn add(&mut self, file: &TrackedFile) {
        self.files += 1;
        self.rows += file.rows;
        self.bytes += file.own_bytes();
    }
}

#[derive(Debug, Clone)]
pub(super) enum Kept {
    Whole(Arc<Manifest>),
    Digest(Arc<Digest>),
}

/// A manifest of the current snapshot that has live entries.
#[derive(Debug)]
pub(super) struct LiveManifest {
    pub(super) file: ManifestFile,
    pub(super) kept: Kept,
}

/// Where an entry stands: the place of its manifest in [`LiveTable::manifests`], and its own in there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct EntryRef {
    pub(super) manifest: usize,
    pub(super) entry: usize,
}

/// The live part of a table.
#[derive(Debug)]
pub(super) struct LiveTable {
    pub(super) manifests: Vec<LiveManifest>,
    /// All live delete entries.
    pub(super) deletes: Vec<EntryRef>,
    /// Where each input is live. More than one place is a table that lists a file twice.
    pub(super) inputs: HashMap<String, Vec<EntryRef>>,
}

/// Reads live tables, and remembers manifests from one attempt to the next: they never change.
#[derive(Debug)]
pub(super) struct Reader {
    storage: Arc<dyn Storage>,
    inputs: HashSet<String>,
    /// By path and first row id, which a manifest has from its list: the first commit after an upgrade to format version
    /// 3 gives one to manifests that are older.
    seen: HashMap<(String, Option<i64>), Kept>,
}

impl Reader {
    /// A reader that keeps the manifests which hold any of `inputs`.
    pub(super) fn new(storage: Arc<dyn Storage>, inputs: HashSet<String>) -> Self {
        Self {
            storage,
            inputs,
            seen: HashMap::new(),
        }
    }

    /// Reads what is live in the current snapshot of `loaded`; nothing where there is none.
    pub(super) async fn read(&mut self, loaded: &LoadedTable) -> Result<LiveTable, TableError> {
        let mut listed = Vec::new();
        let (storage, metadata) = (self.storage.as_ref(), &loaded.metadata);
        if let Some(snapshot) = metadata.current_snapshot() {
            listed = manifests_of(storage, &loaded.table, metadata, snapshot).await?;
        }
        let specs = Specs::of(metadata, &listed)
            .map_err(|error| unsupported(&loaded.table, error.to_string()))?;
        listed.retain(ManifestFile::may_have_live_files);
        let unseen: Vec<ManifestFile> = listed
            .iter()
            .filter(|file| !self.seen.contains_key(&cache_key(file)))
            .cloned()
            .collect();
        let inputs = &self.inputs;
        let read = read_manifests(
            &self.storage,
            &loaded.table,
            &unseen,
            &specs,
            |_, manifest| keep(manifest, inputs),
        )
        .await?;
        for (file, kept) in unseen.into_iter().zip(read) {
            self.seen.insert(cache_key(&file), kept);
        }
        let mut live = LiveTable {
            manifests: Vec::with_capacity(listed.len()),
            deletes: Vec::new(),
            inputs: HashMap::new(),
        };
        for mut file in listed {
            let Some(kept) = self.seen.get(&cache_key(&file)).cloned() else {
                continue;
            };
            file.complete(kept.measured());
            if !file.may_have_live_files() {
                continue;
            }
            live.add(file, kept, &self.inputs);
        }
        Ok(live)
    }
}

fn cache_key(file: &ManifestFile) -> (String, Option<i64>) {
    (file.path.clone(), file.first_row_id)
}

fn keep(manifest: Manifest, inputs: &HashSet<String>) -> Kept {
    let holds_input = |entry: &Entry| inputs.contains(&entry.file.path);
    if manifest.header.content == Content::Deletes || manifest.entries.iter().any(holds_input) {
        return Kept::Whole(Arc::new(manifest));
    }
    let mut digest = Digest {
        paths: Vec::with_capacity(manifest.entries.len()),
        least: HashMap::new(),
        totals: Totals::default(),
        measured: manifest.measured,
    };
    for entry in &manifest.entries {
        digest.paths.push(path_hash(&entry.file.path));
        digest.totals.add(&entry.file);
        match digest.least.get_mut(&entry.file.partition) {
            Some(least) => *least = entry.sequence_number.min(*least),
            None => {
                let partition = entry.file.partition.clone();
                digest.least.insert(partition, entry.sequence_number);
            }
        }
    }
    Kept::Digest(Arc::new(digest))
}

impl Kept {
    fn measured(&self) -> &Measured {
        match self {
            Self::Whole(manifest) => &manifest.measured,
            Self::Digest(digest) => &digest.measured,
        }
    }
}

impl LiveTable {
    fn add(&mut self, file: ManifestFile, kept: Kept, inputs: &HashSet<String>) {
        let place = self.manifests.len();
        if let Kept::Whole(manifest) = &kept {
            for (index, entry) in manifest.entries.iter().enumerate() {
                let place = EntryRef {
                    manifest: place,
                    entry: index,
                };
                if manifest.header.content == Content::Deletes {
                    self.deletes.push(place);
                } else if inputs.contains(&entry.file.path) {
                    let path = entry.file.path.clone();
                    self.inputs.entry(path).or_default().push(place);
                }
            }
        }
        self.manifests.push(LiveManifest { file, kept });
    }

    /// The manifest at `place`, which must be one that was kept whole: all places that this module gives out are.
    pub(super) fn manifest(&self, place: usize) -> &Arc<Manifest> {
        match &self.manifests[place].kept {
            Kept::Whole(manifest) => manifest,
            Kept::Digest(_) => unreachable!("places are only given out for whole manifests"),
        }
    }

    pub(super) fn entry(&self, place: EntryRef) -> &Entry {
        &self.manifest(place.manifest).entries[place.entry]
    }

    /// Sums over data files, position deletes (with vectors) and equality deletes.
    pub(super) fn totals(&self) -> [Totals; 3] {
        let mut totals = [Totals::default(); 3];
        for manifest in &self.manifests {
            match &manifest.kept {
                Kept::Digest(digest) => {
                    totals[0].files += digest.totals.files;
                    totals[0].rows += digest.totals.rows;
                    totals[0].bytes += digest.totals.bytes;
                }
                Kept::Whole(manifest) => {
                    for entry in &manifest.entries {
                        totals[entry.file.content as usize].add(&entry.file);
                    }
                }
            }
        }
        totals
    }

    /// The data files that are live once `replaced` are gone.
    pub(super) fn survivors(&self, replaced: &HashSet<EntryRef>) -> Survivors {
        let mut survivors = Survivors::default();
        for (place, manifest) in self.manifests.iter().enumerate() {
            match &manifest.kept {
                Kept::Digest(digest) => {
                    survivors.paths.extend(&digest.paths);
                    for (partition, least) in &digest.least {
                        survivors.lower(partition, *least);
                    }
                }
                Kept::Whole(whole) if whole.header.content == Content::Data => {
                    for (index, entry) in whole.entries.iter().enumerate() {
                        let place = EntryRef {
                            manifest: place,
                            entry: index,
                        };
                        if !replaced.contains(&place) {
                            let file = &entry.file;
                            survivors.add(&file.path, &file.partition, entry.sequence_number);
                        }
                    }
                }
                Kept::Whole(_) => {}
            }
        }
        survivors
    }
}

/// What the table's data files look like after a commit, as far as delete files care.
#[derive(Debug, Default)]
pub(super) struct Survivors {
    paths: HashSet<u64>,
    least: HashMap<PartitionKey, i64>,
    least_of_all: Option<i64>,
}

impl Survivors {
    pub(super) fn add(&mut self, path: &str, partition: &PartitionKey, sequence_number: i64) {
        self.paths.insert(path_hash(path));
        self.lower(partition, sequence_number);
    }

    fn lower(&mut self, partition: &PartitionKey, sequence_number: i64) {
        match self.least.get_mut(partition) {
            Some(least) => *least = sequence_number.min(*least),
            None => {
                self.least.insert(partition.clone(), sequence_number);
            }
        }
        let least = self.least_of_all.get_or_insert(sequence_number);
        *least = sequence_number.min(*least);
    }
}

impl DataFiles<PartitionKey> for Survivors {
    fn least_in(&self, partition: &PartitionKey) -> Option<i64> {
        self.least.get(partition).copied()
    }

    fn least_of_all(&self) -> Option<i64> {
        self.least_of_all
    }

    fn has_path(&self, path: &str) -> bool {
        self.paths.contains(&path_hash(path))
    }
}
