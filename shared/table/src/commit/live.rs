//! What is live in the table now: every delete entry, every input, and of all other data files only what decides whether a
//! delete file is still needed; of manifests that nobody asks about, no more than what their list says. Manifests are looked through one by one, and what a commit does not look at again is not
//! kept: a table of millions of files takes some ten bytes for each.

use std::{
    collections::{HashMap, HashSet},
    hash::{Hash, Hasher},
    sync::Arc,
};

use icepress_catalog::LoadedTable;
use icepress_storage::Storage;
use xxhash_rust::xxh3::{Xxh3, xxh3_64};

use super::interest::Interest;
use crate::{
    TableError,
    avro::AvroError,
    delete_index::DataFiles,
    manifests::{
        Content, Entry, FileContent, ManifestFile, ManifestHeader, Measured, PartitionKey,
        PartitionTable, Spec, Specs, TrackedFile, check_readable, manifests_of, read_entries,
        read_manifests, unsupported,
    },
};

/// A hash that stands for a path. Two paths with one hash can only keep a delete file alive, never remove one.
pub(super) fn path_hash(path: &str) -> u64 {
    xxh3_64(path.as_bytes())
}

/// A hash that stands for a partition, in the same way.
fn partition_hash(partition: &PartitionKey) -> u64 {
    let mut hasher = Xxh3::new();
    partition.hash(&mut hasher);
    hasher.finish()
}

/// What remains in memory of a manifest: the entries that a commit looks at, and little of all others.
#[derive(Debug)]
struct Remains {
    kept: Option<Kept>,
    /// Hashes of the paths of data files that are not kept.
    paths: Vec<u64>,
    /// The least data sequence number of those in each of their partitions, by hash.
    least: Vec<(u64, i64)>,
    /// Sums over all data files, position deletes (with vectors) and equality deletes.
    totals: [Totals; 3],
    measured: Measured,
}

/// The entries of a manifest that a commit looks at: inputs, and all that are delete files.
#[derive(Debug)]
struct Kept {
    header: ManifestHeader,
    /// Each with its place among the manifest's live entries, in order.
    entries: Vec<(usize, Entry)>,
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
        self.count(file.rows, file.own_bytes());
    }

    fn count(&mut self, rows: u64, bytes: u64) {
        self.files += 1;
        self.rows += rows;
        self.bytes += bytes;
    }
}

/// A manifest of the current snapshot that has live entries.
#[derive(Debug)]
pub(super) struct LiveManifest {
    pub(super) file: ManifestFile,
    /// `None` where it was passed over.
    remains: Option<Arc<Remains>>,
}

/// Where an entry stands: the place of its manifest in [`LiveTable::manifests`], and its own among those that were kept of it.
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
    /// The data files that are no inputs.
    others: Others,
}

/// Data files, as far as delete files care.
#[derive(Debug, Default)]
struct Others {
    /// Hashes of their paths, sorted.
    paths: Vec<u64>,
    /// The least data sequence number in each partition, by hash.
    least: HashMap<u64, i64>,
}

/// Reads live tables, and remembers manifests from one attempt to the next: they never change.
#[derive(Debug)]
pub(super) struct Reader {
    storage: Arc<dyn Storage>,
    interest: Interest,
    /// By path and first row id, which a manifest has from its list: the first commit after an upgrade to format version
    /// 3 gives one to manifests that are older.
    seen: HashMap<(String, Option<i64>), Arc<Remains>>,
}

impl Reader {
    /// A reader that keeps the entries of the inputs of `interest`.
    pub(super) fn new(storage: Arc<dyn Storage>, interest: Interest) -> Self {
        Self {
            storage,
            interest,
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
        for file in &listed {
            check_readable(&loaded.table, file)?;
        }
        if let Some(passed_over) = self.interest.passed_over(metadata, &listed) {
            let live = self
                .read_some(loaded, &specs, &listed, &passed_over)
                .await?;
            let mut inputs = self.interest.inputs.iter();
            if inputs.all(|path| live.inputs.contains_key(path)) {
                return Ok(live);
            }
        }
        let none = vec![false; listed.len()];
        self.read_some(loaded, &specs, &listed, &none).await
    }

    async fn read_some(
        &mut self,
        loaded: &LoadedTable,
        specs: &Specs,
        listed: &[ManifestFile],
        passed_over: &[bool],
    ) -> Result<LiveTable, TableError> {
        let unseen: Vec<ManifestFile> = listed
            .iter()
            .zip(passed_over)
            .filter(|(file, passed_over)| {
                !**passed_over && !self.seen.contains_key(&cache_key(file))
            })
            .map(|(file, _)| file.clone())
            .collect();
        let inputs = &self.interest.inputs;
        let look = |content: &[u8], file: &ManifestFile, spec: &Spec| {
            look_through(content, file, spec, inputs)
        };
        let read = read_manifests(&self.storage, &loaded.table, &unseen, specs, look).await?;
        for (file, remains) in unseen.into_iter().zip(read) {
            self.seen.insert(cache_key(&file), Arc::new(remains));
        }
        let mut live = LiveTable {
            manifests: Vec::with_capacity(listed.len()),
            deletes: Vec::new(),
            inputs: HashMap::new(),
            others: Others::default(),
        };
        for file in listed {
            let mut file = file.clone();
            let remains = self.seen.get(&cache_key(&file)).cloned();
            if let Some(remains) = &remains {
                file.complete(&remains.measured);
                if !file.may_have_live_files() {
                    continue;
                }
            }
            live.add(file, remains);
        }
        live.others.paths.sort_unstable();
        Ok(live)
    }
}

fn cache_key(file: &ManifestFile) -> (String, Option<i64>) {
    (file.path.clone(), file.first_row_id)
}

/// Looks through a manifest, and keeps the entries of `inputs` and of delete files.
fn look_through(
    content: &[u8],
    file: &ManifestFile,
    spec: &Spec,
    inputs: &HashSet<String>,
) -> Result<Remains, AvroError> {
    let mut partitions = PartitionTable::default();
    let (mut place, mut entries, mut paths) = (0, Vec::new(), Vec::new());
    let mut least: HashMap<u32, (u64, i64)> = HashMap::new();
    let mut totals = [Totals::default(); 3];
    let read = read_entries(content, file, spec, &mut partitions, |entry, partition| {
        let file = &entry.file;
        let bytes = file.blob.map_or(file.size, |(_, length)| length);
        totals[file.content as usize].count(file.rows, bytes);
        if file.content != FileContent::Data || inputs.contains(file.path) {
            entries.push((place, Entry::of(entry, partition, spec)));
        } else {
            paths.push(path_hash(file.path));
            let number = entry.sequence_number;
            let (_, least) = least
                .entry(file.partition)
                .or_insert_with(|| (partition_hash(partition), number));
            *least = number.min(*least);
        }
        place += 1;
        Ok(())
    })?;
    paths.shrink_to_fit();
    Ok(Remains {
        kept: (!entries.is_empty()).then_some(Kept {
            header: read.header,
            entries,
        }),
        paths,
        least: least.into_values().collect(),
        totals,
        measured: read.measured,
    })
}

impl LiveTable {
    fn add(&mut self, file: ManifestFile, remains: Option<Arc<Remains>>) {
        let manifest = self.manifests.len();
        let Some(remains) = remains else {
            self.manifests.push(LiveManifest { file, remains });
            return;
        };
        for (entry, (_, kept)) in remains.entries().iter().enumerate() {
            let place = EntryRef { manifest, entry };
            if file.content == Content::Deletes {
                self.deletes.push(place);
            } else {
                let path = kept.file.path.clone();
                self.inputs.entry(path).or_default().push(place);
            }
        }
        self.others.paths.extend(&remains.paths);
        for (partition, least) in &remains.least {
            lower(&mut self.others.least, *partition, *least);
        }
        let remains = Some(remains);
        self.manifests.push(LiveManifest { file, remains });
    }

    fn kept(&self, manifest: usize) -> &Kept {
        let remains = self.manifests[manifest].remains.as_ref();
        let kept = remains.and_then(|remains| remains.kept.as_ref());
        kept.expect("places are only given out for entries that are kept")
    }

    /// The header of the manifest at a place that this table gave out.
    pub(super) fn header(&self, place: EntryRef) -> &ManifestHeader {
        &self.kept(place.manifest).header
    }

    /// The entry at a place that this table gave out.
    pub(super) fn entry(&self, place: EntryRef) -> &Entry {
        &self.kept(place.manifest).entries[place.entry].1
    }

    /// Which of its manifest's live entries it is.
    pub(super) fn place_in_manifest(&self, place: EntryRef) -> usize {
        self.kept(place.manifest).entries[place.entry].0
    }

    /// Sums over data files, position deletes (with vectors) and equality deletes; `None` where a manifest was passed over.
    pub(super) fn totals(&self) -> Option<[Totals; 3]> {
        let mut totals = [Totals::default(); 3];
        for manifest in &self.manifests {
            let remains = manifest.remains.as_ref()?;
            for (total, own) in totals.iter_mut().zip(remains.totals) {
                total.files += own.files;
                total.rows += own.rows;
                total.bytes += own.bytes;
            }
        }
        Some(totals)
    }

    /// The data files that are live once `replaced` are gone.
    pub(super) fn survivors(&self, replaced: &HashSet<EntryRef>) -> Survivors<'_> {
        let mut survivors = Survivors {
            others: &self.others,
            least_of_others: self.others.least.values().min().copied(),
            paths: HashSet::new(),
            least: HashMap::new(),
        };
        for place in self.inputs.values().flatten() {
            if !replaced.contains(place) {
                let entry = self.entry(*place);
                let file = &entry.file;
                survivors.add(&file.path, &file.partition, entry.sequence_number);
            }
        }
        survivors
    }
}

impl Remains {
    fn entries(&self) -> &[(usize, Entry)] {
        self.kept.as_ref().map_or(&[], |kept| &kept.entries)
    }
}

fn lower(least: &mut HashMap<u64, i64>, partition: u64, sequence_number: i64) {
    let least = least.entry(partition).or_insert(sequence_number);
    *least = sequence_number.min(*least);
}

/// What the table's data files look like after a commit, as far as delete files care.
#[derive(Debug)]
pub(super) struct Survivors<'a> {
    others: &'a Others,
    least_of_others: Option<i64>,
    /// Of inputs that stay and of new files: hashes of their paths, and the least number in each of their partitions.
    paths: HashSet<u64>,
    least: HashMap<u64, i64>,
}

impl Survivors<'_> {
    pub(super) fn add(&mut self, path: &str, partition: &PartitionKey, sequence_number: i64) {
        self.paths.insert(path_hash(path));
        lower(&mut self.least, partition_hash(partition), sequence_number);
    }
}

/// The lesser of two numbers that may not be there.
fn least_of(one: Option<i64>, other: Option<i64>) -> Option<i64> {
    one.into_iter().chain(other).min()
}

impl DataFiles<PartitionKey> for Survivors<'_> {
    fn least_in(&self, partition: &PartitionKey) -> Option<i64> {
        let partition = partition_hash(partition);
        let least = |of: &HashMap<u64, i64>| of.get(&partition).copied();
        least_of(least(&self.others.least), least(&self.least))
    }

    fn least_of_all(&self) -> Option<i64> {
        least_of(self.least_of_others, self.least.values().min().copied())
    }

    fn has_path(&self, path: &str) -> bool {
        let path = path_hash(path);
        self.others.paths.binary_search(&path).is_ok() || self.paths.contains(&path)
    }
}
