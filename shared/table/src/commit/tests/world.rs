//! A table with a history, written with the `iceberg` crate's own writers, and read back with its own readers: what
//! the commit makes of it is never judged by the commit's own code.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use iceberg::{
    TableRequirement, TableUpdate,
    io::FileIO,
    spec::{
        DataContentType, DataFile, DataFileBuilder, DataFileFormat, Datum, FormatVersion, Literal,
        MAIN_BRANCH, Manifest, ManifestContentType, ManifestEntry, ManifestFile, ManifestList,
        ManifestListWriter, ManifestStatus, ManifestWriter, ManifestWriterBuilder, NestedField,
        Operation, PartitionSpec, PrimitiveType, Schema, Snapshot, SnapshotReference,
        SnapshotRetention, SortOrder, Struct, Summary, TableMetadata, TableMetadataBuilder,
        Transform, Type, UnboundPartitionSpec, deserialize_data_file_from_json,
        serialize_data_file_to_json,
    },
};
use icepress_catalog::{Catalog as _, CommitToken, LoadedTable, TableChange};
use icepress_model::{
    BaseState, Bytes, DeleteContent, DeleteFile, Group, GroupReason, GroupResult, InputFile,
    Inspection, MetadataLocation, ProcessId, RowId, Rows, SchemaId, SequenceNumber, SnapshotId,
    SpecId, TableId, Ways, ambient::Ambient,
};
use icepress_storage::Storage as _;
use parquet::{
    basic::{Repetition, Type as PhysicalType},
    data_type::{ByteArray, ByteArrayType, Int64Type},
    file::{properties::WriterProperties, writer::SerializedFileWriter},
    schema::types::Type as ParquetType,
};

use super::memory::{Fault, MemoryCatalog, MemoryStorage, TestClock, TestRandom};
use crate::commit::{
    CommitContext, CommitFailure, CommitOutcome, CommitPolicy, FinishedGroup, commit_groups,
};

const PATH_ID: i32 = 2_147_483_546;
const POS_ID: i32 = 2_147_483_545;

pub(crate) struct World {
    pub(crate) storage: Arc<MemoryStorage>,
    pub(crate) catalog: Arc<MemoryCatalog>,
    pub(crate) clock: Arc<TestClock>,
    pub(crate) context: CommitContext,
    pub(crate) table: TableId,
    pub(crate) process: ProcessId,
}

/// A live entry as an independent reader sees it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Seen {
    pub(crate) path: String,
    pub(crate) sequence_number: i64,
    pub(crate) file_sequence_number: i64,
    pub(crate) snapshot_id: i64,
    pub(crate) rows: u64,
}

/// What to put into the table, or take out of it, in one commit of another writer.
#[derive(Debug, Clone, Default)]
pub(crate) struct Foreign {
    pub(crate) data: Vec<DataFile>,
    pub(crate) deletes: Vec<DataFile>,
    pub(crate) removed: Vec<String>,
    /// The data sequence number of what is added, where it is set by hand.
    pub(crate) sequence_number: Option<i64>,
    /// Whether the snapshot says that it changes no row.
    pub(crate) is_replace: bool,
}

pub(crate) fn schema() -> Schema {
    Schema::builder()
        .with_fields(vec![
            NestedField::required(1, "id", Type::Primitive(PrimitiveType::Long)).into(),
            NestedField::optional(2, "name", Type::Primitive(PrimitiveType::String)).into(),
            NestedField::optional(3, "my region", Type::Primitive(PrimitiveType::String)).into(),
        ])
        .build()
        .unwrap()
}

impl World {
    /// A table partitioned by `region`.
    pub(crate) fn new(version: FormatVersion) -> Self {
        Self::with(version, HashMap::new())
    }

    pub(crate) fn with(version: FormatVersion, properties: HashMap<String, String>) -> Self {
        let spec = UnboundPartitionSpec::builder()
            .add_partition_field(3, "region", Transform::Identity)
            .unwrap()
            .build();
        let metadata = TableMetadataBuilder::new(
            schema(),
            spec,
            SortOrder::unsorted_order(),
            "mem://warehouse/t".to_owned(),
            version,
            properties,
        )
        .unwrap()
        .build()
        .unwrap()
        .metadata;
        let table: TableId = "c.ns.t".parse().unwrap();
        let start = metadata.last_updated_ms();
        let loaded = LoadedTable {
            table: table.clone(),
            metadata_location: MetadataLocation::from("v0.json"),
            metadata: Arc::new(metadata.into()),
            token: CommitToken::default(),
        };
        Self::on(loaded, Arc::default(), start, Arc::default())
    }

    fn on(
        loaded: LoadedTable,
        storage: Arc<MemoryStorage>,
        now: i64,
        random: Arc<TestRandom>,
    ) -> Self {
        let table = loaded.table.clone();
        let catalog = Arc::new(MemoryCatalog::new(loaded));
        let clock = Arc::new(TestClock::default());
        *clock.now.lock().unwrap() = now;
        Self {
            context: CommitContext {
                catalog: Arc::clone(&catalog) as _,
                storage: Arc::clone(&storage) as _,
                ambient: Ambient {
                    clock: Arc::clone(&clock) as _,
                    random,
                },
                policy: CommitPolicy::default(),
            },
            storage,
            catalog,
            clock,
            table,
            process: ProcessId::from("p1"),
        }
    }

    pub(crate) fn loaded(&self) -> LoadedTable {
        self.catalog.get()
    }

    pub(crate) fn base(&self) -> BaseState {
        let loaded = self.loaded();
        let snapshot = loaded.metadata.current_snapshot().unwrap();
        BaseState {
            metadata_location: loaded.metadata_location.clone(),
            snapshot_id: SnapshotId(snapshot.snapshot_id()),
            starting_sequence_number: SequenceNumber(snapshot.sequence_number()),
            schema_id: SchemaId(loaded.metadata.current_schema_id()),
            format_version: loaded.metadata.format_version() as u8,
        }
    }

    /// The state that `foreign` would make of the table, without making it.
    pub(crate) async fn after(&self, foreign: Foreign) -> Box<LoadedTable> {
        // A stream of its own: names of snapshots and files must not repeat.
        let random = TestRandom::from(self.context.ambient.random.next_u64());
        let fork = Self::on(
            self.loaded(),
            Arc::clone(&self.storage),
            *self.clock.now.lock().unwrap(),
            Arc::new(random),
        );
        fork.commit(foreign).await;
        Box::new(fork.loaded())
    }

    /// Lets another writer in before our next swap.
    pub(crate) async fn rival(&self, foreign: Foreign) {
        self.rivals(vec![foreign]).await;
    }

    /// Lets another writer in before each of our next swaps, one after the other.
    pub(crate) async fn rivals(&self, foreign: Vec<Foreign>) {
        let start = self.loaded();
        let mut states = Vec::new();
        for foreign in foreign {
            let after = self.after(foreign).await;
            self.catalog.set(after.as_ref().clone());
            states.push(after);
        }
        self.catalog.set(start);
        for state in states {
            self.catalog.will(Fault::Rival(state));
        }
    }

    pub(crate) async fn append(&self, files: &[DataFile]) {
        self.commit(Foreign {
            data: files.to_vec(),
            ..Foreign::default()
        })
        .await;
    }

    pub(crate) async fn delete(&self, files: &[DataFile]) {
        self.commit(Foreign {
            deletes: files.to_vec(),
            ..Foreign::default()
        })
        .await;
    }

    /// Commits as another engine would.
    pub(crate) async fn commit(&self, foreign: Foreign) {
        for file in &foreign.data {
            let size = file.file_size_in_bytes() as usize;
            self.storage.insert(file.file_path(), vec![0; size]);
        }
        let base = self.loaded();
        let metadata = &base.metadata;
        let io = FileIO::new_with_memory();
        let snapshot_id = self.context.ambient.snapshot_id();
        let id = self.context.ambient.uuid();
        let number = metadata.next_sequence_number();
        let mut manifests = Vec::new();
        let mut count = 0;
        let mut location = || {
            count += 1;
            format!("mem://warehouse/t/metadata/foreign-{id}-{count}.avro")
        };
        let mut kinds: BTreeMap<(bool, i32), Vec<DataFile>> = BTreeMap::new();
        for file in foreign.data.iter().chain(&foreign.deletes) {
            let is_data = file.content_type() == DataContentType::Data;
            // The crate has no getter for a file's spec: the partition tells.
            let spec_id = if file.partition().fields().is_empty() {
                1
            } else {
                0
            };
            kinds
                .entry((is_data, spec_id))
                .or_default()
                .push(file.clone());
        }
        for ((is_data, spec_id), files) in kinds {
            let at = location();
            let spec = metadata.partition_spec_by_id(spec_id).unwrap();
            let builder = builder(&io, &at, snapshot_id, metadata.current_schema(), spec);
            let content = match is_data {
                true => ManifestContentType::Data,
                false => ManifestContentType::Deletes,
            };
            let mut writer = build(builder, metadata.format_version(), content);
            for file in files {
                writer
                    .add_file(file, foreign.sequence_number.unwrap_or(-1))
                    .unwrap();
            }
            manifests.push(writer.write_manifest_file().await.unwrap());
            self.copy(&io, &at).await;
        }
        let (mut row_ids, mut whole) = (BTreeMap::new(), Vec::new());
        if foreign.removed.is_empty() {
            manifests.extend(self.list_of(&base).await);
        } else {
            row_ids = self.row_ids().await;
            whole = self.manifests_of(&base).await;
        }
        for (manifest, entries) in whole {
            let is_hit = entries
                .iter()
                .any(|entry| foreign.removed.iter().any(|path| path == entry.file_path()));
            if !is_hit {
                manifests.push(manifest);
                continue;
            }
            let at = location();
            let spec = metadata
                .partition_spec_by_id(manifest.partition_spec_id)
                .unwrap();
            let builder = builder(&io, &at, snapshot_id, metadata.current_schema(), spec);
            let mut writer = build(builder, metadata.format_version(), manifest.content);
            for entry in entries {
                let row_id = row_ids.get(entry.file_path()).copied().flatten();
                let file = with_row_id(entry.data_file(), row_id, spec, metadata);
                let number = entry.sequence_number().unwrap();
                if foreign.removed.iter().any(|path| path == file.file_path()) {
                    writer
                        .add_delete_file(file, number, entry.file_sequence_number)
                        .unwrap();
                } else {
                    let id = entry.snapshot_id().unwrap();
                    writer
                        .add_existing_file(file, id, number, entry.file_sequence_number)
                        .unwrap();
                }
            }
            manifests.push(writer.write_manifest_file().await.unwrap());
            self.copy(&io, &at).await;
        }
        let list = format!("mem://warehouse/t/metadata/foreign-snap-{snapshot_id}.avro");
        let output = io.new_output(&list).unwrap().writer().await.unwrap();
        let parent = metadata.current_snapshot_id();
        let mut writer = match metadata.format_version() {
            FormatVersion::V1 => ManifestListWriter::v1(output, snapshot_id, parent),
            FormatVersion::V2 => ManifestListWriter::v2(output, snapshot_id, parent, number),
            FormatVersion::V3 => {
                let next = Some(metadata.next_row_id());
                ManifestListWriter::v3(output, snapshot_id, parent, number, next)
            }
        };
        writer.add_manifests(manifests.into_iter()).unwrap();
        let given = writer.next_row_id();
        writer.close().await.unwrap();
        self.copy(&io, &list).await;
        let builder = Snapshot::builder()
            .with_snapshot_id(snapshot_id)
            .with_parent_snapshot_id(parent)
            .with_sequence_number(number)
            .with_timestamp_ms(metadata.last_updated_ms() + 1)
            .with_manifest_list(list)
            .with_summary(Summary {
                operation: if foreign.is_replace {
                    Operation::Replace
                } else {
                    Operation::Overwrite
                },
                additional_properties: HashMap::new(),
            })
            .with_schema_id(metadata.current_schema_id());
        let first = metadata.next_row_id();
        let snapshot = match given {
            Some(next) => builder.with_row_range(first, next - first).build(),
            None => builder.build(),
        };
        let updates = vec![TableUpdate::AddSnapshot { snapshot }, set_main(snapshot_id)];
        self.change(updates).await;
    }

    /// Applies updates to the metadata, as a user of another engine would.
    pub(crate) async fn change(&self, updates: Vec<TableUpdate>) {
        let base = self.loaded();
        let change = TableChange {
            requirements: vec![TableRequirement::UuidMatch {
                uuid: base.metadata.uuid(),
            }],
            updates,
        };
        let held = std::mem::take(&mut *self.catalog.faults.lock().unwrap());
        self.catalog.commit(&base, change).await.unwrap();
        *self.catalog.faults.lock().unwrap() = held;
    }

    async fn copy(&self, io: &FileIO, location: &str) {
        let content = io.new_input(location).unwrap().read().await.unwrap();
        self.storage.insert(location, content);
    }

    /// The manifest list of a state.
    pub(crate) async fn list_of(&self, loaded: &LoadedTable) -> Vec<ManifestFile> {
        let Some(snapshot) = loaded.metadata.current_snapshot() else {
            return Vec::new();
        };
        let bytes = self.storage.read(snapshot.manifest_list()).await.unwrap();
        let version = loaded.metadata.format_version();
        let list = ManifestList::parse_with_version(&bytes, version).unwrap();
        list.entries().to_vec()
    }

    /// Manifests with their live entries, numbers inherited here by the letter of the specification.
    pub(crate) async fn manifests_of(
        &self,
        loaded: &LoadedTable,
    ) -> Vec<(ManifestFile, Vec<ManifestEntry>)> {
        let mut manifests = Vec::new();
        for file in self.list_of(loaded).await {
            let bytes = self.storage.read(&file.manifest_path).await.unwrap();
            assert_eq!(
                bytes.len() as i64,
                file.manifest_length,
                "{}",
                file.manifest_path
            );
            let (entries, metadata) = Manifest::parse_avro(&bytes).unwrap().into_parts();
            assert_eq!(metadata.partition_spec.spec_id(), file.partition_spec_id);
            let mut live = Vec::new();
            for entry in entries {
                let mut entry = entry.as_ref().clone();
                entry.snapshot_id = entry.snapshot_id.or(Some(file.added_snapshot_id));
                if entry.status == ManifestStatus::Added {
                    entry.sequence_number = entry.sequence_number.or(Some(file.sequence_number));
                    let own = entry.file_sequence_number.or(Some(file.sequence_number));
                    entry.file_sequence_number = own;
                }
                assert!(entry.sequence_number.is_some(), "{}", entry.file_path());
                if entry.is_alive() {
                    live.push(entry);
                }
            }
            manifests.push((file, live));
        }
        manifests
    }

    /// The id of each live data file's first row, inherited here by the letter of the specification.
    pub(crate) async fn row_ids(&self) -> BTreeMap<String, Option<i64>> {
        let mut ids = BTreeMap::new();
        for (file, entries) in self.manifests_of(&self.loaded()).await {
            let mut next = file.first_row_id.map(|id| id as i64);
            for entry in entries {
                if file.content == ManifestContentType::Deletes {
                    continue;
                }
                let own = entry.data_file().first_row_id().filter(|_| next.is_some());
                ids.insert(entry.file_path().to_owned(), own.or(next));
                if own.is_none() {
                    next = next.map(|next| next + entry.record_count() as i64);
                }
            }
        }
        ids
    }

    /// Status, path and first row id of all entries of a manifest, as they stand there.
    pub(crate) async fn entries_of(
        &self,
        file: &ManifestFile,
    ) -> Vec<(ManifestStatus, String, Option<i64>)> {
        let bytes = self.storage.read(&file.manifest_path).await.unwrap();
        let (entries, _) = Manifest::parse_avro(&bytes).unwrap().into_parts();
        let entries = entries.iter().map(|entry| {
            let file = entry.data_file();
            (
                entry.status(),
                entry.file_path().to_owned(),
                file.first_row_id(),
            )
        });
        entries.collect()
    }

    /// Live data files, and live delete files, sorted.
    pub(crate) async fn live(&self) -> (Vec<Seen>, Vec<Seen>) {
        let mut data = Vec::new();
        let mut deletes = Vec::new();
        for (file, entries) in self.manifests_of(&self.loaded()).await {
            for entry in entries {
                let seen = Seen {
                    path: entry.file_path().to_owned(),
                    sequence_number: entry.sequence_number.unwrap(),
                    file_sequence_number: entry.file_sequence_number.unwrap(),
                    snapshot_id: entry.snapshot_id.unwrap(),
                    rows: entry.record_count(),
                };
                match file.content {
                    ManifestContentType::Data => data.push(seen),
                    ManifestContentType::Deletes => deletes.push(seen),
                }
            }
        }
        data.sort();
        deletes.sort();
        (data, deletes)
    }

    pub(crate) async fn data_paths(&self) -> Vec<String> {
        self.live()
            .await
            .0
            .into_iter()
            .map(|seen| seen.path)
            .collect()
    }

    pub(crate) async fn delete_paths(&self) -> Vec<String> {
        self.live()
            .await
            .1
            .into_iter()
            .map(|seen| seen.path)
            .collect()
    }

    /// A group as a plan and a rewrite would leave it: `inputs` as the table has them now, with every delete file of
    /// their partition, replaced by `outputs`, which are written to storage.
    pub(crate) async fn group(
        &self,
        index: u32,
        inputs: &[&str],
        outputs: &[DataFile],
    ) -> FinishedGroup {
        let loaded = self.loaded();
        let manifests = self.manifests_of(&loaded).await;
        let row_ids = self.row_ids().await;
        let live = || {
            manifests
                .iter()
                .flat_map(|(file, entries)| entries.iter().map(move |e| (file, e)))
        };
        let mut group = Group {
            spec_id: SpecId(0),
            partition: serde_json::Value::Null,
            partition_name: String::new(),
            reason: GroupReason::EnoughFiles,
            tier: icepress_model::Tier::Full,
            inputs: Vec::new(),
            deletes: Vec::new(),
            target_file_size: Bytes(1 << 20),
            shares_deletes: false,
            without: None,
        };
        let deletes: Vec<_> = live()
            .filter(|(file, _)| file.content == ManifestContentType::Deletes)
            .map(|(_, entry)| entry)
            .collect();
        for delete in &deletes {
            let file = delete.data_file();
            group.deletes.push(DeleteFile {
                content: match file.content_type() {
                    DataContentType::EqualityDeletes => {
                        DeleteContent::Equality { field_ids: vec![1] }
                    }
                    _ if file.content_offset().is_some() => DeleteContent::Vector {
                        offset: file.content_offset().unwrap() as u64,
                        length: file.content_size_in_bytes().unwrap() as u64,
                    },
                    _ => DeleteContent::Position,
                },
                path: file.file_path().to_owned(),
                size: Bytes(file.file_size_in_bytes()),
                rows: Rows(file.record_count()),
                sequence_number: SequenceNumber(delete.sequence_number.unwrap()),
                referenced_data_file: file.referenced_data_file(),
            });
        }
        let mut rows_in = 0;
        for path in inputs {
            let (manifest, entry) = live()
                .find(|(_, entry)| entry.file_path() == *path)
                .unwrap_or_else(|| panic!("{path} is not live"));
            group.spec_id = SpecId(manifest.partition_spec_id);
            rows_in += entry.record_count();
            let spec = loaded
                .metadata
                .partition_spec_by_id(group.spec_id.get())
                .unwrap();
            let types = spec
                .partition_type(loaded.metadata.current_schema())
                .unwrap();
            group.partition =
                crate::partition_to_json(entry.data_file().partition(), &types).unwrap();
            group.inputs.push(InputFile {
                path: (*path).to_owned(),
                size: Bytes(entry.file_size_in_bytes()),
                rows: Rows(entry.record_count()),
                sequence_number: SequenceNumber(entry.sequence_number.unwrap()),
                first_row_id: row_ids[*path].map(RowId),
                deletes: (0..group.deletes.len() as u32).collect(),
            });
        }
        let rows_out: u64 = outputs.iter().map(DataFile::record_count).sum();
        for output in outputs {
            let size = output.file_size_in_bytes() as usize;
            self.storage.insert(output.file_path(), vec![1; size]);
        }
        let metadata = &loaded.metadata;
        let spec = metadata.partition_spec_by_id(group.spec_id.get()).unwrap();
        let partition = spec.partition_type(metadata.current_schema()).unwrap();
        let data_files = outputs.iter().map(|output| {
            let version = metadata.format_version();
            let json = serialize_data_file_to_json(output.clone(), &partition, version).unwrap();
            serde_json::from_str(&json).unwrap()
        });
        FinishedGroup {
            index,
            result: GroupResult {
                data_files: data_files.collect(),
                delete_files: Vec::new(),
                rows_in: Rows(rows_in),
                rows_deleted: Rows(rows_in - rows_out),
                rows_out: Rows(rows_out),
                bytes_out: Bytes(0),
                row_groups_in: 0,
                row_groups_out: 0,
                ways: Ways::default(),
                seen: Inspection::default(),
            },
            group,
        }
    }

    pub(crate) async fn run(
        &self,
        base: &BaseState,
        groups: Vec<FinishedGroup>,
    ) -> Result<CommitOutcome, CommitFailure> {
        commit_groups(&self.context, &self.table, &self.process, base, groups).await
    }

    /// A file of position deletes in `region`, really written: each path with its positions.
    pub(crate) fn position_deletes(
        &self,
        path: &str,
        region: &str,
        named: &[(&str, i64)],
    ) -> DataFileBuilder {
        let content = position_delete_file(named);
        let mut builder = file(path, region, named.len() as u64);
        let low = named.iter().map(|(path, _)| *path).min().unwrap();
        let high = named.iter().map(|(path, _)| *path).max().unwrap();
        builder
            .content(DataContentType::PositionDeletes)
            .file_size_in_bytes(content.len() as u64)
            .lower_bounds(HashMap::from([(PATH_ID, Datum::string(low))]))
            .upper_bounds(HashMap::from([(PATH_ID, Datum::string(high))]));
        self.storage.insert(path, content);
        builder
    }
}

pub(crate) fn set_main(snapshot_id: i64) -> TableUpdate {
    TableUpdate::SetSnapshotRef {
        ref_name: MAIN_BRANCH.to_owned(),
        reference: SnapshotReference::new(
            snapshot_id,
            SnapshotRetention::branch(Some(7), None, None),
        ),
    }
}

fn builder(
    io: &FileIO,
    at: &str,
    snapshot_id: i64,
    schema: &Arc<Schema>,
    spec: &PartitionSpec,
) -> ManifestWriterBuilder {
    let output = io.new_output(at).unwrap();
    ManifestWriterBuilder::new(output, Some(snapshot_id), Arc::clone(schema), spec.clone())
}

fn build(
    builder: ManifestWriterBuilder,
    version: FormatVersion,
    content: ManifestContentType,
) -> ManifestWriter {
    match (version, content) {
        (FormatVersion::V1, _) => builder.build_v1(),
        (FormatVersion::V2, ManifestContentType::Data) => builder.build_v2_data(),
        (FormatVersion::V2, ManifestContentType::Deletes) => builder.build_v2_deletes(),
        (FormatVersion::V3, ManifestContentType::Data) => builder.build_v3_data(),
        (FormatVersion::V3, ManifestContentType::Deletes) => builder.build_v3_deletes(),
    }
}

/// The file with a first row id: the crate's builder has no setter.
fn with_row_id(
    file: &DataFile,
    row_id: Option<i64>,
    spec: &PartitionSpec,
    metadata: &TableMetadata,
) -> DataFile {
    let schema = metadata.current_schema();
    let partition = spec.partition_type(schema).unwrap();
    let json = serialize_data_file_to_json(file.clone(), &partition, FormatVersion::V3).unwrap();
    let mut json: serde_json::Value = serde_json::from_str(&json).unwrap();
    json["first_row_id"] = serde_json::json!(row_id);
    let spec_id = spec.spec_id();
    deserialize_data_file_from_json(&json.to_string(), spec_id, &partition, schema).unwrap()
}

/// A deletion vector of `path`: a part of a Puffin file.
pub(crate) fn vector(puffin: &str, region: &str, path: &str, offset: i64) -> DataFile {
    file(puffin, region, 1)
        .content(DataContentType::PositionDeletes)
        .file_format(DataFileFormat::Puffin)
        .referenced_data_file(Some(path.to_owned()))
        .content_offset(Some(offset))
        .content_size_in_bytes(Some(40))
        .build()
        .unwrap()
}

/// A data file of `rows` rows in `region`, with a tenth of its names null.
pub(crate) fn file(path: &str, region: &str, rows: u64) -> DataFileBuilder {
    let mut builder = DataFileBuilder::default();
    builder
        .content(DataContentType::Data)
        .file_path(path.to_owned())
        .file_format(DataFileFormat::Parquet)
        .partition(Struct::from_iter([Some(Literal::string(region))]))
        .partition_spec_id(0)
        .record_count(rows)
        .file_size_in_bytes(rows * 10 + 1)
        .value_counts(HashMap::from([(1, rows), (2, rows), (3, rows)]))
        .null_value_counts(HashMap::from([(1, 0), (2, rows / 10), (3, 0)]))
        .lower_bounds(HashMap::from([
            (1, Datum::long(0)),
            (2, Datum::string("a")),
            (3, Datum::string(region)),
        ]))
        .upper_bounds(HashMap::from([
            (1, Datum::long(rows as i64)),
            (2, Datum::string("z")),
            (3, Datum::string(region)),
        ]))
        .split_offsets(Some(vec![4]));
    builder
}

pub(crate) fn data(path: &str, region: &str, rows: u64) -> DataFile {
    file(path, region, rows).build().unwrap()
}

pub(crate) fn equality_deletes(path: &str, region: &str, rows: u64) -> DataFile {
    file(path, region, rows)
        .content(DataContentType::EqualityDeletes)
        .equality_ids(Some(vec![1]))
        .build()
        .unwrap()
}

fn position_delete_file(named: &[(&str, i64)]) -> Vec<u8> {
    let column = |name: &str, physical, id| {
        ParquetType::primitive_type_builder(name, physical)
            .with_repetition(Repetition::REQUIRED)
            .with_id(Some(id))
            .build()
            .unwrap()
    };
    let schema = ParquetType::group_type_builder("table")
        .with_fields(vec![
            Arc::new(column("file_path", PhysicalType::BYTE_ARRAY, PATH_ID)),
            Arc::new(column("pos", PhysicalType::INT64, POS_ID)),
        ])
        .build()
        .unwrap();
    let mut content = Vec::new();
    let properties = Arc::new(WriterProperties::builder().build());
    let mut writer = SerializedFileWriter::new(&mut content, Arc::new(schema), properties).unwrap();
    let mut group = writer.next_row_group().unwrap();
    let paths: Vec<ByteArray> = named.iter().map(|(path, _)| (*path).into()).collect();
    let positions: Vec<i64> = named.iter().map(|(_, position)| *position).collect();
    let mut column = group.next_column().unwrap().unwrap();
    column
        .typed::<ByteArrayType>()
        .write_batch(&paths, None, None)
        .unwrap();
    column.close().unwrap();
    let mut column = group.next_column().unwrap().unwrap();
    column
        .typed::<Int64Type>()
        .write_batch(&positions, None, None)
        .unwrap();
    column.close().unwrap();
    group.close().unwrap();
    writer.close().unwrap();
    content
}
