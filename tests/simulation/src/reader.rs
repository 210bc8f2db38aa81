//! A small reader of tables, of its own: what is live, and which rows a query would see, by the letter of the
//! specification. Shares nothing with the code that is tried.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet},
    sync::{Arc, Mutex, PoisonError},
};

use iceberg::spec::{
    DataContentType, DataFile, DataFileFormat, FormatVersion, Manifest, ManifestContentType,
    ManifestList, ManifestStatus, SnapshotRef, SnapshotReference, TableMetadata,
};
use icepress_model::MetadataLocation;

use crate::{
    rows::{Lineage, Row, StoredRow, read_data_file, read_equality_deletes, read_position_deletes},
    storage::{Objects, one_scheme},
    vectors::read_vector,
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
    /// The id of its first row, where its rows have ids.
    pub first_row_id: Option<i64>,
}

/// What tells a live file from all others: its path, and of a vector where it begins.
pub type Identity = (String, Option<i64>);

impl LiveFile {
    /// What tells it from others.
    pub fn identity(&self) -> Identity {
        identity(&self.file)
    }

    /// Whether it is a deletion vector.
    pub fn is_vector(&self) -> bool {
        self.file.content_type() == DataContentType::PositionDeletes
            && self.file.file_format() == DataFileFormat::Puffin
    }

    fn is_data(&self) -> bool {
        self.file.content_type() == DataContentType::Data
    }
}

/// What tells a file from others.
pub fn identity(file: &DataFile) -> Identity {
    (file.file_path().to_owned(), file.content_offset())
}

/// A manifest list, whichever format version wrote it: a table may have been upgraded since.
pub fn parse_list(content: &[u8], version: FormatVersion) -> iceberg::Result<ManifestList> {
    let parsed = ManifestList::parse_with_version(content, version);
    match version {
        FormatVersion::V1 => parsed,
        _ => parsed.or_else(|error| {
            let first = ManifestList::parse_with_version(content, FormatVersion::V1);
            first.map_err(|_| error)
        }),
    }
}

/// A row that a query sees.
#[derive(Debug, Clone)]
pub struct LiveRow {
    /// Its position in its file.
    pub position: i64,
    /// Its values.
    pub row: Row,
    /// Its lineage, where rows have one.
    pub lineage: Option<Lineage>,
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
    rows: Kept<Vec<StoredRow>>,
    positions: Kept<Vec<(String, i64)>>,
    vectors: Kept<Vec<i64>>,
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
            vectors: Mutex::default(),
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

    /// The branches and tags of a metadata file, as it has them itself.
    pub fn refs(&self, location: &MetadataLocation) -> Result<BTreeMap<String, SnapshotReference>> {
        let content = self.content(location.as_str())?;
        let mut parsed: serde_json::Value =
            serde_json::from_slice(&content).map_err(|error| format!("{location}: {error}"))?;
        match parsed.get_mut("refs").map(serde_json::Value::take) {
            Some(refs) => serde_json::from_value(refs).map_err(|error| error.to_string()),
            None => Ok(BTreeMap::new()),
        }
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
        let parsed = parse_list(&self.content(list)?, metadata.format_version())
            .map_err(|error| format!("{list}: {error}"))?;
        let mut paths = vec![list.to_owned()];
        let mut live = Vec::new();
        for manifest in parsed.entries() {
            let path = &manifest.manifest_path;
            let entries = kept(&self.manifests, path, || {
                self.entries(path, manifest.manifest_length)
            })?;
            paths.push(path.clone());
            let is_data = manifest.content == ManifestContentType::Data;
            let mut next_row_id = manifest
                .first_row_id
                .filter(|_| is_data)
                .map(|id| id as i64);
            for entry in entries
                .iter()
                .filter(|entry| entry.status != ManifestStatus::Deleted)
            {
                let inherited =
                    (entry.status == ManifestStatus::Added).then_some(manifest.sequence_number);
                let number = entry.sequence_number.or(inherited);
                // A file without an id of its own takes the next of its manifest.
                let first_row_id =
                    next_row_id.map(|next| entry.file.first_row_id().unwrap_or(next));
                if entry.file.first_row_id().is_none() {
                    next_row_id = next_row_id.map(|next| next + entry.file.record_count() as i64);
                }
                live.push(LiveFile {
                    file: entry.file.clone(),
                    sequence_number: number.ok_or_else(|| {
                        format!("{path}: {} has no sequence number", entry.file.file_path())
                    })?,
                    spec_id: manifest.partition_spec_id,
                    first_row_id,
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

    /// The live files of one of a table's snapshots; none where it is gone.
    pub fn live_in(&self, metadata: &TableMetadata, snapshot: i64) -> Result<Vec<LiveFile>> {
        match metadata.snapshot_by_id(snapshot) {
            Some(snapshot) => Ok(self.snapshot(metadata, snapshot)?.live.clone()),
            None => Ok(Vec::new()),
        }
    }

    /// Every file that any snapshot of a table needs, whatever branch, tag or nobody refers to it: manifest lists, manifests,
    /// data and delete files; and statistics, and the metadata files of its log.
    pub fn needed(&self, metadata: &TableMetadata) -> Result<BTreeSet<String>> {
        let mut needed = BTreeSet::new();
        for snapshot in metadata.snapshots() {
            needed.extend(self.files_of(metadata, snapshot)?);
        }
        let of_tables = metadata.statistics_iter();
        let of_partitions = metadata.partition_statistics_iter();
        let log = metadata.metadata_log().iter();
        let others = of_tables
            .map(|file| &file.statistics_path)
            .chain(of_partitions.map(|file| &file.statistics_path))
            .chain(log.map(|entry| &entry.metadata_file));
        needed.extend(others.map(|path| one_scheme(path).into_owned()));
        Ok(needed)
    }

    /// What one snapshot needs of it.
    pub fn files_of(
        &self,
        metadata: &TableMetadata,
        snapshot: &SnapshotRef,
    ) -> Result<BTreeSet<String>> {
        let listed = self.snapshot(metadata, snapshot)?;
        let files = listed.live.iter().map(|live| live.file.file_path());
        let paths = listed.paths.iter().map(String::as_str);
        Ok(paths
            .chain(files)
            .map(|path| one_scheme(path).into_owned())
            .collect())
    }

    /// All rows of a data file, whatever hides some of them; nothing where it is not there, or says itself which rows its rows are.
    pub fn stored(&self, path: &str) -> Option<Vec<Row>> {
        let rows = read_data_file(self.objects.content(path)?).ok()?;
        let rows = rows
            .into_iter()
            .map(|stored| stored.row_id.is_none().then_some(stored.row));
        rows.collect()
    }

    /// The rows that a query sees, in order, doubled ones included.
    pub fn rows(&self, metadata: &TableMetadata) -> Result<Vec<LiveRow>> {
        self.rows_at(metadata, &self.live(metadata)?)
    }

    /// The same of one snapshot.
    pub fn rows_in(&self, metadata: &TableMetadata, snapshot: i64) -> Result<Vec<LiveRow>> {
        self.rows_at(metadata, &self.live_in(metadata, snapshot)?)
    }

    fn rows_at(&self, metadata: &TableMetadata, live: &[LiveFile]) -> Result<Vec<LiveRow>> {
        let mut identities = HashSet::new();
        for file in live {
            let identity = file.identity();
            if !identities.insert(identity.clone()) {
                return Err(format!("{identity:?} is live twice"));
            }
        }
        let mut rows = Vec::new();
        for data in live.iter().filter(|live| live.is_data()) {
            rows.extend(self.rows_of(metadata, data, live)?);
        }
        rows.sort_by(|a, b| a.row.cmp(&b.row));
        Ok(rows)
    }

    /// The rows of each data file that no delete file hides.
    pub fn positioned(&self, metadata: &TableMetadata) -> Result<BTreeMap<String, Vec<LiveRow>>> {
        let live = self.live(metadata)?;
        let mut found = BTreeMap::new();
        for data in live.iter().filter(|live| live.is_data()) {
            let rows = self.rows_of(metadata, data, &live)?;
            found.insert(data.file.file_path().to_owned(), rows);
        }
        Ok(found)
    }

    /// The positions of each data file that vectors or position delete files hide.
    pub fn hidden(&self, metadata: &TableMetadata) -> Result<BTreeMap<String, BTreeSet<i64>>> {
        let live = self.live(metadata)?;
        let mut found = BTreeMap::new();
        for data in live.iter().filter(|live| live.is_data()) {
            let hidden = self.hidden_positions(data, &live)?;
            found.insert(data.file.file_path().to_owned(), hidden);
        }
        Ok(found)
    }

    /// Whether a delete by value applies to any data file among `live`.
    pub fn applies_to_any(
        &self,
        metadata: &TableMetadata,
        delete: &LiveFile,
        live: &[LiveFile],
    ) -> bool {
        let spec = metadata.partition_spec_by_id(delete.spec_id);
        let is_global = spec.is_some_and(|spec| spec.fields().is_empty());
        live.iter().filter(|live| live.is_data()).any(|data| {
            delete.sequence_number > data.sequence_number
                && (is_global || is_same_partition(delete, data))
        })
    }

    fn there(&self, path: &str) -> Result<()> {
        if self.objects.has(path) {
            return Ok(());
        }
        Err(format!("{path} is missing"))
    }

    /// What a data file's vector hides; where it has none, what position delete files do.
    fn hidden_positions(&self, data: &LiveFile, live: &[LiveFile]) -> Result<BTreeSet<i64>> {
        let path = data.file.file_path();
        let mut vectors = live.iter().filter(|live| {
            live.is_vector() && live.file.referenced_data_file().as_deref() == Some(path)
        });
        if let Some(vector) = vectors.next() {
            if vectors.next().is_some() {
                return Err(format!("{path} has two vectors"));
            }
            if vector.sequence_number >= data.sequence_number {
                return self.vector(vector);
            }
        }
        let mut positions = BTreeSet::new();
        for delete in live.iter().filter(|live| !live.is_vector()) {
            let is_named = delete.file.content_type() == DataContentType::PositionDeletes;
            if !is_named
                || delete.sequence_number < data.sequence_number
                || !is_same_partition(delete, data)
            {
                continue;
            }
            let place = delete.file.file_path();
            let named = kept(&self.positions, place, || {
                read_position_deletes(self.content(place)?)
            })?;
            let named = named.iter().filter(|(file, _)| file == path);
            positions.extend(named.map(|(_, position)| *position));
        }
        Ok(positions)
    }

    fn vector(&self, vector: &LiveFile) -> Result<BTreeSet<i64>> {
        let (path, file) = (vector.file.file_path(), &vector.file);
        let place = file.content_offset().zip(file.content_size_in_bytes());
        let (offset, length) = place.ok_or_else(|| format!("{path}: where is the vector?"))?;
        let positions = kept(&self.vectors, &format!("{path}#{offset}"), || {
            read_vector(&self.content(path)?, offset, length)
                .map_err(|error| format!("{path}: {error}"))
        })?;
        if positions.len() as u64 != file.record_count() {
            return Err(format!(
                "{path}: a vector hides other than {} rows",
                file.record_count()
            ));
        }
        Ok(positions.iter().copied().collect())
    }

    fn rows_of(
        &self,
        metadata: &TableMetadata,
        data: &LiveFile,
        live: &[LiveFile],
    ) -> Result<Vec<LiveRow>> {
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
        self.there(path)?;
        for delete in live.iter().filter(|live| !live.is_data()) {
            self.there(delete.file.file_path())?;
        }
        let positions = self.hidden_positions(data, live)?;
        let mut ids = HashSet::new();
        let by_value = DataContentType::EqualityDeletes;
        for delete in live
            .iter()
            .filter(|live| live.file.content_type() == by_value)
        {
            let place = delete.file.file_path();
            let spec = metadata
                .partition_spec_by_id(delete.spec_id)
                .ok_or_else(|| format!("{place} is of an unknown partition spec"))?;
            let applies = spec.fields().is_empty() || is_same_partition(delete, data);
            if delete.sequence_number <= data.sequence_number || !applies {
                continue;
            }
            let named = kept(&self.ids, place, || {
                read_equality_deletes(self.content(place)?)
            })?;
            ids.extend(named.iter().copied());
        }
        let numbered = (0i64..).zip(rows.iter());
        Ok(numbered
            .filter(|(position, stored)| {
                !positions.contains(position) && !ids.contains(&stored.row.id)
            })
            .map(|(position, stored)| LiveRow {
                position,
                row: stored.row.clone(),
                lineage: data.first_row_id.map(|first| Lineage {
                    row_id: stored.row_id.unwrap_or(first + position),
                    updated: stored.updated.unwrap_or(data.sequence_number),
                }),
            })
            .collect())
    }
}

fn is_same_partition(delete: &LiveFile, data: &LiveFile) -> bool {
    delete.spec_id == data.spec_id && delete.file.partition() == data.file.partition()
}
