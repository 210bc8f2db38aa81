//! A reader of its own: the `iceberg` crate's decoders for manifests, arrow-rs for files, and the rules for deletes by
//! the letter of the specification, each file against each. Slow, plain, and nothing of it shared with the engine.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    sync::Arc,
};

use iceberg::spec::{
    DataContentType, DataFile, DataFileFormat, FormatVersion, Manifest, ManifestFile, ManifestList,
    ManifestStatus, TableMetadata, Transform,
};
use icepress_storage::Storage;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

use super::{
    arrow::from_batch,
    model::key,
    values::{Columns, Value},
};

/// Field id of a position delete's file path.
pub(super) const PATH_ID: i32 = 2_147_483_546;
/// Field id of a position delete's position.
pub(super) const POSITION_ID: i32 = 2_147_483_545;
/// Field id of a row's id, where it is stored.
const ROW_ID: i32 = 2_147_483_540;
/// Field id of the sequence number of a row's last change, where it is stored.
const ROW_SEQUENCE: i32 = 2_147_483_539;

/// A live entry of a manifest, with what it inherits.
#[derive(Debug, Clone)]
pub(super) struct LiveFile {
    /// The entry.
    pub(super) file: DataFile,
    /// Its location, once more.
    pub(super) path: String,
    /// Its spec.
    pub(super) spec_id: i32,
    /// Its partition.
    pub(super) partition: Vec<Value>,
    /// Its data sequence number.
    pub(super) sequence: i64,
    /// Its file sequence number.
    pub(super) file_sequence: i64,
    /// The id of its first row, where it has one.
    pub(super) first_row_id: Option<i64>,
}

impl LiveFile {
    /// What tells it from others: vectors share files.
    pub(super) fn identity(&self) -> (&str, Option<i64>) {
        (&self.path, self.file.content_offset())
    }

    /// Whether it is a deletion vector.
    pub(super) fn is_vector(&self) -> bool {
        self.file.file_format() == DataFileFormat::Puffin
    }
}

/// A live row, and where it is.
#[derive(Debug, Clone)]
pub(super) struct LiveRow {
    /// Its data file.
    pub(super) path: String,
    /// Its place in there, from 0.
    pub(super) position: u64,
    /// Its columns as the file has them, with what follows from its partition.
    pub(super) columns: Columns,
    /// The spec of its file.
    pub(super) spec_id: i32,
    /// The partition of its file.
    pub(super) partition: Vec<Value>,
    /// In format version 3, its `_row_id`, where it has one yet, and `_last_updated_sequence_number`.
    pub(super) lineage: Option<(Option<i64>, i64)>,
}

/// A manifest of the current snapshot: its entry in the list, and its live files.
#[derive(Debug)]
pub(super) struct LiveManifest {
    /// As the list has it.
    pub(super) listed: ManifestFile,
    /// Its live files.
    pub(super) files: Vec<LiveFile>,
}

/// The current snapshot.
#[derive(Debug, Default)]
pub(super) struct Seen {
    /// Its manifests.
    pub(super) manifests: Vec<LiveManifest>,
    /// Its live rows.
    pub(super) rows: Vec<LiveRow>,
}

impl Seen {
    /// Live files of a kind: `None` is all.
    pub(super) fn files(
        &self,
        content: Option<DataContentType>,
    ) -> impl Iterator<Item = &LiveFile> {
        let all = self.manifests.iter().flat_map(|manifest| &manifest.files);
        all.filter(move |file| content.is_none_or(|content| file.file.content_type() == content))
    }

    /// Live data files.
    pub(super) fn data(&self) -> Vec<&LiveFile> {
        self.files(Some(DataContentType::Data)).collect()
    }

    /// The first row id of each live data file, by path.
    pub(super) fn first_row_ids(&self) -> HashMap<String, Option<i64>> {
        let data = self.data().into_iter();
        data.map(|file| (file.path.clone(), file.first_row_id))
            .collect()
    }

    /// Live delete files.
    pub(super) fn deletes(&self) -> Vec<&LiveFile> {
        let is_delete = |file: &&LiveFile| file.file.content_type() != DataContentType::Data;
        self.files(None).filter(is_delete).collect()
    }
}

/// Reads tables, and remembers files: they never change.
#[derive(Debug)]
pub(super) struct Reader {
    storage: Arc<dyn Storage>,
    parquet: HashMap<String, Arc<Vec<Columns>>>,
    manifests: HashMap<String, Arc<Manifest>>,
}

impl Reader {
    /// A reader that has seen nothing.
    pub(super) fn new(storage: Arc<dyn Storage>) -> Self {
        Self {
            storage,
            parquet: HashMap::new(),
            manifests: HashMap::new(),
        }
    }

    /// The current snapshot of a table.
    pub(super) async fn read(&mut self, metadata: &TableMetadata) -> Seen {
        let mut seen = Seen::default();
        let Some(snapshot) = metadata.current_snapshot() else {
            return seen;
        };
        let list = self.storage.read(snapshot.manifest_list()).await.unwrap();
        // The list is written in the version that the table had then.
        let list = parse_list(&list, metadata.format_version());
        for listed in list.entries() {
            let files = self.live_files(listed).await;
            seen.manifests.push(LiveManifest {
                listed: listed.clone(),
                files,
            });
        }
        seen.rows = self.live_rows(metadata, &seen).await;
        seen
    }

    async fn manifest(&mut self, listed: &ManifestFile) -> Arc<Manifest> {
        if let Some(known) = self.manifests.get(&listed.manifest_path) {
            return Arc::clone(known);
        }
        let bytes = self.storage.read(&listed.manifest_path).await.unwrap();
        assert_eq!(
            bytes.len() as i64,
            listed.manifest_length,
            "manifest_length"
        );
        let manifest = Arc::new(Manifest::parse_avro(&bytes).unwrap());
        let path = listed.manifest_path.clone();
        self.manifests.insert(path, Arc::clone(&manifest));
        manifest
    }

    async fn live_files(&mut self, listed: &ManifestFile) -> Vec<LiveFile> {
        let manifest = self.manifest(listed).await;
        let mut next_row_id = listed.first_row_id.map(|id| i64::try_from(id).unwrap());
        let mut files = Vec::new();
        for entry in manifest.entries() {
            let is_added = entry.status() == ManifestStatus::Added;
            let inherit = |own: Option<i64>| match own {
                Some(own) => own,
                None => {
                    assert!(
                        is_added || listed.sequence_number == 0,
                        "{}: an old entry without a number",
                        entry.file_path()
                    );
                    listed.sequence_number
                }
            };
            if !entry.is_alive() {
                continue;
            }
            let file = entry.data_file().clone();
            let mut first_row_id = file.first_row_id();
            if file.content_type() == DataContentType::Data && first_row_id.is_none() {
                // Specification, First Row ID Inheritance: only entries without one take from the manifest's.
                first_row_id = next_row_id;
                next_row_id = next_row_id.map(|id| id + file.record_count() as i64);
            }
            let partition = file.partition().fields().iter();
            files.push(LiveFile {
                path: file.file_path().to_owned(),
                spec_id: listed.partition_spec_id,
                partition: partition
                    .map(|value| value.as_ref().map_or(Value::Null, Value::of_literal))
                    .collect(),
                sequence: inherit(entry.sequence_number()),
                file_sequence: inherit(entry.file_sequence_number),
                first_row_id,
                file,
            });
        }
        files
    }

    async fn content(&mut self, path: &str) -> Arc<Vec<Columns>> {
        if let Some(known) = self.parquet.get(path) {
            return Arc::clone(known);
        }
        let bytes = self.storage.read(path).await.unwrap();
        let reader = ParquetRecordBatchReaderBuilder::try_new(bytes).unwrap();
        let rows: Vec<Columns> = reader
            .build()
            .unwrap()
            .flat_map(|batch| from_batch(&batch.unwrap()))
            .collect();
        let rows = Arc::new(rows);
        self.parquet.insert(path.to_owned(), Arc::clone(&rows));
        rows
    }

    async fn live_rows(&mut self, metadata: &TableMetadata, seen: &Seen) -> Vec<LiveRow> {
        let deletes = self.read_deletes(seen).await;
        let mut live = Vec::new();
        for file in seen.data() {
            let constants = constants(metadata, file);
            let hit = Hit::new(metadata, file, &deletes);
            let content = self.content(&file.path).await;
            assert_eq!(
                content.len() as u64,
                file.file.record_count(),
                "{}",
                file.path
            );
            for (row, position) in content.iter().zip(0u64..) {
                let mut columns: Columns = row
                    .iter()
                    .filter(|(id, _)| *id < ROW_SEQUENCE)
                    .cloned()
                    .collect();
                for (id, value) in &constants {
                    if columns.iter().all(|(own, _)| own != id) {
                        columns.push((*id, value.clone()));
                    }
                }
                if hit.deletes(metadata, position, &columns) {
                    continue;
                }
                let stored = |id| {
                    row.iter()
                        .find(|(own, _)| *own == id)
                        .map(|(_, value)| value)
                };
                let number = |id| match stored(id) {
                    Some(Value::Integer(number)) => Some(*number),
                    _ => None,
                };
                let row_id = number(ROW_ID)
                    .or_else(|| file.first_row_id.map(|first| first + position as i64));
                let lineage = (metadata.format_version() == FormatVersion::V3)
                    .then(|| (row_id, number(ROW_SEQUENCE).unwrap_or(file.sequence)));
                live.push(LiveRow {
                    path: file.path.clone(),
                    position,
                    columns,
                    spec_id: file.spec_id,
                    partition: file.partition.clone(),
                    lineage,
                });
            }
        }
        live
    }

    async fn read_deletes(&mut self, seen: &Seen) -> Vec<Delete> {
        let mut deletes = Vec::new();
        for file in seen.deletes() {
            let what = match file.file.content_type() {
                DataContentType::EqualityDeletes => What::Equal {
                    ids: file.file.equality_ids().unwrap(),
                    rows: self.content(&file.path).await,
                },
                _ if file.is_vector() => What::Vector(self.vector(file).await),
                _ => {
                    let mut positions: BTreeMap<String, HashSet<u64>> = BTreeMap::new();
                    for row in self.content(&file.path).await.iter() {
                        let (path, position) = path_and_position(row);
                        positions.entry(path).or_default().insert(position);
                    }
                    What::Positions(positions)
                }
            };
            deletes.push(Delete {
                file: file.clone(),
                what,
            });
        }
        deletes
    }

    async fn vector(&self, file: &LiveFile) -> HashSet<u64> {
        let start = u64::try_from(file.file.content_offset().unwrap()).unwrap();
        let length = u64::try_from(file.file.content_size_in_bytes().unwrap()).unwrap();
        let range = start..start + length;
        let blob = self.storage.read_range(&file.path, range).await.unwrap();
        // Length and magic before the bitmap, a checksum behind it.
        let bitmap = &blob[8..blob.len() - 4];
        let bitmap = roaring::RoaringTreemap::deserialize_from(bitmap).unwrap();
        assert_eq!(bitmap.len(), file.file.record_count(), "{}", file.path);
        bitmap.into_iter().collect()
    }

    /// The positions in a data file that the live vector says are deleted, or else the live position deletes.
    pub(super) async fn positions_in(&mut self, seen: &Seen, path: &str) -> HashSet<u64> {
        let data = seen.data();
        let Some(file) = data.into_iter().find(|file| file.path == path) else {
            return HashSet::new();
        };
        let (mut by_vector, mut by_files) = (None, HashSet::new());
        for delete in self.read_deletes(seen).await {
            if delete.file.sequence < file.sequence {
                continue;
            }
            match delete.what {
                What::Equal { .. } => {}
                What::Vector(positions) => {
                    if delete.file.file.referenced_data_file().as_deref() == Some(path) {
                        by_vector = Some(positions);
                    }
                }
                What::Positions(mut positions) => {
                    by_files.extend(positions.remove(path).unwrap_or_default());
                }
            }
        }
        by_vector.unwrap_or(by_files)
    }

    /// Which rows of which data files the live position deletes and vectors name, with the deletes' sequence numbers:
    /// what a commit has to look at.
    pub(super) async fn named_positions(&mut self, seen: &Seen) -> Vec<(String, i64)> {
        let mut named = Vec::new();
        for delete in self.read_deletes(seen).await {
            match &delete.what {
                What::Equal { .. } => {}
                What::Positions(positions) => {
                    named.extend(
                        positions
                            .keys()
                            .map(|path| (path.clone(), delete.file.sequence)),
                    );
                }
                What::Vector(_) => {
                    let path = delete.file.file.referenced_data_file().unwrap();
                    named.push((path, delete.file.sequence));
                }
            }
        }
        named
    }
}

fn parse_list(bytes: &[u8], version: FormatVersion) -> ManifestList {
    let older = [FormatVersion::V2, FormatVersion::V1];
    let mut tried = ManifestList::parse_with_version(bytes, version);
    for version in older {
        if tried.is_err() {
            tried = ManifestList::parse_with_version(bytes, version);
        }
    }
    tried.unwrap()
}

fn path_and_position(row: &Columns) -> (String, u64) {
    let value = |id| {
        row.iter()
            .find(|(own, _)| *own == id)
            .map(|(_, value)| value)
    };
    match (value(PATH_ID), value(POSITION_ID)) {
        (Some(Value::Text(path)), Some(Value::Integer(position))) => {
            (path.clone(), u64::try_from(*position).unwrap())
        }
        other => panic!("a position delete is {other:?}"),
    }
}

/// What follows from the partition: fields that the file may lack because their values are all the same.
fn constants(metadata: &TableMetadata, file: &LiveFile) -> Columns {
    let spec = metadata.partition_spec_by_id(file.spec_id).unwrap();
    let fields = spec.fields().iter().zip(&file.partition);
    fields
        .filter(|(field, _)| field.transform == Transform::Identity)
        .map(|(field, value)| (field.source_id, value.clone()))
        .collect()
}

struct Delete {
    file: LiveFile,
    what: What,
}

enum What {
    Equal {
        ids: Vec<i32>,
        rows: Arc<Vec<Columns>>,
    },
    Positions(BTreeMap<String, HashSet<u64>>),
    Vector(HashSet<u64>),
}

/// What deletes rows of one data file.
#[derive(Default)]
struct Hit {
    positions: HashSet<u64>,
    keys: Vec<(Vec<i32>, HashSet<Vec<Value>>)>,
}

impl Hit {
    fn new(metadata: &TableMetadata, file: &LiveFile, deletes: &[Delete]) -> Self {
        let mut hit = Self::default();
        let named = |delete: &Delete| delete.file.file.referenced_data_file();
        let vectors: Vec<&Delete> = deletes
            .iter()
            .filter(|delete| matches!(delete.what, What::Vector(_)))
            .filter(|delete| named(delete).as_deref() == Some(&file.path))
            .collect();
        assert!(vectors.len() <= 1, "{} has two vectors", file.path);
        for delete in deletes {
            let same_partition =
                delete.file.spec_id == file.spec_id && delete.file.partition == file.partition;
            match &delete.what {
                What::Equal { ids, rows } => {
                    let spec = metadata.partition_spec_by_id(delete.file.spec_id).unwrap();
                    let in_scope = spec.is_unpartitioned() || same_partition;
                    if in_scope && delete.file.sequence > file.sequence {
                        let keys = rows.iter().map(|row| key(metadata, row, ids)).collect();
                        hit.keys.push((ids.clone(), keys));
                    }
                }
                What::Positions(positions) => {
                    if same_partition
                        && vectors.is_empty()
                        && delete.file.sequence >= file.sequence
                        && let Some(positions) = positions.get(&file.path)
                    {
                        hit.positions.extend(positions);
                    }
                }
                What::Vector(positions) => {
                    if named(delete).as_deref() == Some(&file.path)
                        && delete.file.sequence >= file.sequence
                    {
                        hit.positions.extend(positions);
                    }
                }
            }
        }
        hit
    }

    fn deletes(&self, metadata: &TableMetadata, position: u64, columns: &Columns) -> bool {
        self.positions.contains(&position)
            || self
                .keys
                .iter()
                .any(|(ids, keys)| keys.contains(&key(metadata, columns, ids)))
    }
}
