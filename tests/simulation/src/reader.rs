//! A small reader of tables, of its own: what is live, and which rows a query would see, by the letter of the
//! specification. Shares nothing with the code that is tried.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet},
    sync::{Arc, Mutex, PoisonError},
};

use iceberg::spec::{
    DataContentType, DataFile, Manifest, ManifestList, ManifestStatus, SnapshotRef, TableMetadata,
};
use icepress_model::MetadataLocation;

use crate::{
    rows::{Row, read_data_file, read_equality_deletes, read_position_deletes},
    storage::Objects,
};

type Result<T> = std::result::Result<T, String>;
/// What was read of files, by location.
type Kept<T> = Mutex<HashMap<String, Arc<T>>>;

/// A live file of a snapshot.
#[derive(Debug, Clone)]
pub struct LiveFile {
    /// Its entry.
    pub file: DataFile,
    /// Its data sequence number.
    pub sequence_number: i64,
    /// The partition spec it belongs to.
    pub spec_id: i32,
}

/// An entry as its manifest has it.
#[derive(Debug, Clone)]
struct Entry {
    status: ManifestStatus,
    sequence_number: Option<i64>,
    file: DataFile,
}

/// What a manifest list leads to.
#[derive(Debug)]
struct Listed {
    /// The list and its manifests.
    paths: Vec<String>,
    live: Vec<LiveFile>,
}

/// Reads tables past the network. What never changes is kept.
#[derive(Debug)]
pub struct Reader {
    objects: Arc<Objects>,
    snapshots: Kept<Listed>,
    manifests: Kept<Vec<Entry>>,
    rows: Kept<Vec<Row>>,
    positions: Kept<Vec<(String, i64)>>,
    ids: Kept<Vec<i64>>,
}

fn kept<T>(cache: &Kept<T>, key: &str, make: impl FnOnce() -> Result<T>) -> Result<Arc<T>> {
    let mut cache = cache.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(found) = cache.get(key) {
        return Ok(Arc::clone(found));
    }
    let made = Arc::new(make()?);
    cache.insert(key.to_owned(), Arc::clone(&made));
    Ok(made)
}

impl Reader {
    /// A reader of what lies in `objects`.
    pub fn new(objects: &Arc<Objects>) -> Self {
        Self {
            objects: Arc::clone(objects),
            snapshots: Mutex::default(),
            manifests: Mutex::default(),
            rows: Mutex::default(),
            positions: Mutex::default(),
            ids: Mutex::default(),
        }
    }

    fn content(&self, location: &str) -> Result<bytes::Bytes> {
        self.objects
            .content(location)
            .ok_or_else(|| format!("{location} is missing"))
    }

    /// A metadata file.
    pub fn metadata(&self, location: &MetadataLocation) -> Result<TableMetadata> {
        let content = self.content(location.as_str())?;
        serde_json::from_slice(&content).map_err(|error| format!("{location}: {error}"))
    }

    /// The manifests of a snapshot and its live files.
    fn snapshot(&self, metadata: &TableMetadata, snapshot: &SnapshotRef) -> Result<Arc<Listed>> {
        let list = snapshot.manifest_list();
        let listed = kept(&self.snapshots, list, || self.list(metadata, list))?;
        for path in &listed.paths {
            if !self.objects.has(path) {
                return Err(format!("{path} is missing"));
            }
        }
        Ok(listed)
    }

    fn list(&self, metadata: &TableMetadata, list: &str) -> Result<Listed> {
        let parsed =
            ManifestList::parse_with_version(&self.content(list)?, metadata.format_version())
                .map_err(|error| format!("{list}: {error}"))?;
        let mut paths = vec![list.to_owned()];
        let mut live = Vec::new();
        for manifest in parsed.entries() {
            let path = &manifest.manifest_path;
            let entries = kept(&self.manifests, path, || {
                self.entries(path, manifest.manifest_length)
            })?;
            paths.push(path.clone());
            for entry in entries
                .iter()
                .filter(|entry| entry.status != ManifestStatus::Deleted)
            {
                let inherited =
                    (entry.status == ManifestStatus::Added).then_some(manifest.sequence_number);
                let number = entry.sequence_number.or(inherited);
                live.push(LiveFile {
                    file: entry.file.clone(),
                    sequence_number: number.ok_or_else(|| {
                        format!("{path}: {} has no sequence number", entry.file.file_path())
                    })?,
                    spec_id: manifest.partition_spec_id,
                });
            }
        }
        Ok(Listed { paths, live })
    }

    fn entries(&self, path: &str, length: i64) -> Result<Vec<Entry>> {
        let content = self.content(path)?;
        if content.len() as i64 != length {
            return Err(format!("{path} has {} bytes, not {length}", content.len()));
        }
        let parsed = Manifest::parse_avro(&content).map_err(|error| format!("{path}: {error}"))?;
        let entries = parsed.entries().iter().map(|entry| Entry {
            status: entry.status(),
            sequence_number: entry.sequence_number(),
            file: entry.data_file().clone(),
        });
        Ok(entries.collect())
    }

    /// The live files of a table's current snapshot.
    pub fn live(&self, metadata: &TableMetadata) -> Result<Vec<LiveFile>> {
        match metadata.current_snapshot() {
            Some(snapshot) => Ok(self.snapshot(metadata, snapshot)?.live.clone()),
            None => Ok(Vec::new()),
        }
    }

    /// Every file that any snapshot of a table needs: manifest lists, manifests, data and delete files.
    pub fn needed(&self, metadata: &TableMetadata) -> Result<BTreeSet<String>> {
        let mut needed = BTreeSet::new();
        for snapshot in metadata.snapshots() {
            let listed = self.snapshot(metadata, snapshot)?;
            needed.extend(listed.paths.iter().cloned());
            needed.extend(
                listed
                    .live
                    .iter()
                    .map(|live| live.file.file_path().to_owned()),
            );
        }
        Ok(needed)
    }

    /// The rows that a query sees, in order, doubled ones included.
    pub fn rows(&self, metadata: &TableMetadata) -> Result<Vec<Row>> {
        let live = self.live(metadata)?;
        let mut paths = HashSet::new();
        for file in &live {
            if !paths.insert(file.file.file_path()) {
                return Err(format!("{} is live twice", file.file.file_path()));
            }
        }
        let deletes: Vec<&LiveFile> = live
            .iter()
            .filter(|live| live.file.content_type() != DataContentType::Data)
            .collect();
        let mut rows = Vec::new();
        for data in live
            .iter()
            .filter(|live| live.file.content_type() == DataContentType::Data)
        {
            rows.extend(self.rows_of(metadata, data, &deletes)?);
        }
        rows.sort();
        Ok(rows)
    }

    /// The rows of one data file that no delete file hides, each with its position.
    pub fn positioned(
        &self,
        metadata: &TableMetadata,
    ) -> Result<BTreeMap<String, Vec<(i64, Row)>>> {
        let live = self.live(metadata)?;
        let deletes: Vec<&LiveFile> = live
            .iter()
            .filter(|live| live.file.content_type() != DataContentType::Data)
            .collect();
        let mut found = BTreeMap::new();
        for data in live
            .iter()
            .filter(|live| live.file.content_type() == DataContentType::Data)
        {
            let rows = self.rows_with_positions(metadata, data, &deletes)?;
            found.insert(data.file.file_path().to_owned(), rows);
        }
        Ok(found)
    }

    fn rows_of(
        &self,
        metadata: &TableMetadata,
        data: &LiveFile,
        deletes: &[&LiveFile],
    ) -> Result<Vec<Row>> {
        let rows = self.rows_with_positions(metadata, data, deletes)?;
        Ok(rows.into_iter().map(|(_, row)| row).collect())
    }

    fn rows_with_positions(
        &self,
        metadata: &TableMetadata,
        data: &LiveFile,
        deletes: &[&LiveFile],
    ) -> Result<Vec<(i64, Row)>> {
        let path = data.file.file_path();
        let rows = kept(&self.rows, path, || {
            let rows =
                read_data_file(self.content(path)?).map_err(|error| format!("{path}: {error}"))?;
            if rows.len() as u64 != data.file.record_count() {
                return Err(format!(
                    "{path} has {} rows, not {}",
                    rows.len(),
                    data.file.record_count()
                ));
            }
            Ok(rows)
        })?;
        if !self.objects.has(path) {
            return Err(format!("{path} is missing"));
        }
        let mut positions = HashSet::new();
        let mut ids = HashSet::new();
        for delete in deletes {
            let place = delete.file.file_path();
            if !self.objects.has(place) {
                return Err(format!("{place} is missing"));
            }
            let same_partition =
                delete.spec_id == data.spec_id && delete.file.partition() == data.file.partition();
            match delete.file.content_type() {
                DataContentType::PositionDeletes => {
                    if delete.sequence_number < data.sequence_number || !same_partition {
                        continue;
                    }
                    let named = kept(&self.positions, place, || {
                        read_position_deletes(self.content(place)?)
                    })?;
                    positions.extend(
                        named
                            .iter()
                            .filter(|(file, _)| file == path)
                            .map(|(_, position)| *position),
                    );
                }
                DataContentType::EqualityDeletes => {
                    let spec = metadata
                        .partition_spec_by_id(delete.spec_id)
                        .ok_or_else(|| format!("{place} is of an unknown partition spec"))?;
                    let global = spec.fields().is_empty();
                    if delete.sequence_number <= data.sequence_number || !(global || same_partition)
                    {
                        continue;
                    }
                    let named = kept(&self.ids, place, || {
                        read_equality_deletes(self.content(place)?)
                    })?;
                    ids.extend(named.iter().copied());
                }
                DataContentType::Data => {}
            }
        }
        let numbered = (0i64..).zip(rows.iter());
        Ok(numbered
            .filter(|(position, row)| !positions.contains(position) && !ids.contains(&row.id))
            .map(|(position, row)| (position, row.clone()))
            .collect())
    }
}
