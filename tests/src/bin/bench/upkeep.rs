//! `expire` and `orphans`: upkeep of tables whose size is in their metadata, on a local disk.
//!
//! * `expire [SNAPSHOTS FILES]`: a table of 1,000,000 files and 10,000 snapshots, each of which had one file that no other
//!   has: all but the last go, with their files, manifests and lists. Each summary is as long as Spark's: 100,000 snapshots are
//!   110 MB of metadata.
//! * `orphans [KEYS]`: a listing of 10,000,000 keys against a table of as many files; each hundredth key is of no file. What the
//!   listing itself takes is the store's affair: keys come out of thin air, a thousand a page.
//!
//! The upkeep runs in a process of its own, so that the peak memory is its own.

use std::{
    collections::HashMap,
    error::Error,
    ops::Range,
    path::Path,
    process::Command,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use bytes::Bytes as Buffer;
use iceberg::{
    io::FileIO,
    spec::{
        DataContentType, DataFileBuilder, DataFileFormat, FormatVersion, ManifestFile,
        ManifestListWriter, ManifestWriterBuilder, NestedField, PrimitiveType, Schema, SortOrder,
        Struct, TableMetadata, TableMetadataBuilder, Type, UnboundPartitionSpec,
    },
};
use icepress_catalog::{
    Catalog, CatalogError, CommitError, CommitToken, LoadedTable, TableChange, TablePage,
    metadata::{load_at, stage_metadata},
};
use icepress_model::{
    Bytes, CatalogName, DatabaseId, MetadataLocation, Namespace, TableId, TimestampMs,
    ambient::Ambient,
};
use icepress_storage::{
    DeleteOutcome, ListPage, ListedObject, LocalStorage, ObjectInfo, ObjectWriter, PutMode,
    Storage, StorageError, WriteOptions,
};
use icepress_table::{CommitContext, CommitPolicy, NoObjection};
use icepress_upkeep::{
    ExpireRequest, NoAttempts, NoNeighbours, NoPins, OrphanRequest, Others, expire, plan_orphans,
};
use serde_json::{Value, json};

use crate::measure::{cpu_seconds, peak_rss_mb, wall_seconds};

const FILES_A_MANIFEST: u64 = 50_000;
const DAY_MS: i64 = 24 * 3_600_000;
const PAGE: u64 = 1000;

type Outcome<T> = Result<T, Box<dyn Error>>;

/// The role of a process that does the upkeep.
pub(crate) const SIDE: &str = "upkeep-side";

/// Makes the table, has its snapshots expired, prints the line.
pub(crate) fn run_expire(snapshots: u64, files: u64) -> Outcome<()> {
    let folder = tempfile::tempdir()?;
    runtime()?.block_on(write_table(folder.path(), snapshots, files))?;
    run_side("expire", folder.path(), snapshots)
}

/// Makes the table, has its folders looked through, prints the line.
pub(crate) fn run_orphans(keys: u64) -> Outcome<()> {
    let folder = tempfile::tempdir()?;
    runtime()?.block_on(write_table(folder.path(), 1, keys))?;
    run_side("orphans", folder.path(), keys)
}

fn run_side(name: &str, folder: &Path, amount: u64) -> Outcome<()> {
    let status = Command::new(std::env::current_exe()?)
        .args([SIDE, name])
        .arg(folder)
        .arg(amount.to_string())
        .status()?;
    match status.success() {
        true => Ok(()),
        false => Err(format!("{name} failed").into()),
    }
}

/// The upkeep itself, in its own process.
pub(crate) fn run_role(name: &str, folder: &str, amount: &str) -> Outcome<()> {
    let (folder, amount) = (Path::new(folder), amount.parse()?);
    let runtime = runtime()?;
    match name {
        "expire" => runtime.block_on(expire_side(folder, amount)),
        "orphans" => runtime.block_on(orphans_side(folder, amount)),
        other => Err(format!("no upkeep {other}").into()),
    }
}

fn runtime() -> Outcome<tokio::runtime::Runtime> {
    Ok(tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?)
}

async fn expire_side(folder: &Path, snapshots: u64) -> Outcome<()> {
    let metadata = std::fs::metadata(folder.join("first.metadata.json"))?.len();
    let (context, store) = context(folder, 0)?;
    let table = table()?;
    let began = (cpu_seconds()?, wall_seconds()?);
    let request = ExpireRequest {
        older_than: Some(Duration::from_secs(24 * 3600)),
        ..ExpireRequest::default()
    };
    let report = expire(
        &context,
        &table,
        &NoPins,
        &NoObjection,
        &request,
        &|_, _| {},
    )
    .await?;
    let files: u64 = report.files.values().map(|counts| counts.files).sum();
    // The file, manifest and list of every snapshot but the last.
    if files != 3 * (snapshots - 1) {
        return Err(format!("{files} files went of {snapshots} snapshots").into());
    }
    println!(
        "expire snapshots={snapshots} metadata_mb={:.1} files_deleted={files} s={:.1} cpu_s={:.1} peak_rss_mb={:.0} {}",
        metadata as f64 / 1e6,
        wall_seconds()? - began.1,
        cpu_seconds()? - began.0,
        peak_rss_mb()?,
        store.requests(),
    );
    Ok(())
}

async fn orphans_side(folder: &Path, keys: u64) -> Outcome<()> {
    let table = table()?;
    let others = Others {
        neighbours: &NoNeighbours,
        attempts: &NoAttempts,
    };
    let mut spent = Vec::new();
    let mut found = 0;
    let mut requests = String::new();
    // With nothing to list first: what it takes to know what is needed.
    for listed in [0, keys] {
        let (context, store) = context(folder, listed)?;
        let began = cpu_seconds()?;
        let plan = plan_orphans(&context, &table, others, &OrphanRequest::default()).await?;
        spent.push(cpu_seconds()? - began);
        found = plan
            .survey
            .unreferenced
            .values()
            .map(|counts| counts.files)
            .sum();
        requests = store.requests();
        if plan.survey.listed.files != listed || plan.survey.needed < keys {
            return Err("what was looked through is not what was written".into());
        }
    }
    if found != keys / 100 {
        return Err(format!("{found} keys were found that nothing refers to").into());
    }
    let [live, whole] = spent.as_slice() else {
        return Err("two looks were meant".into());
    };
    println!(
        "orphans keys={keys} found={found} keys_per_cpu_s={:.0} cpu_s_for_what_is_needed={live:.1} peak_rss_mb={:.0} {requests}",
        keys as f64 / (whole - live).max(0.01),
        peak_rss_mb()?,
    );
    Ok(())
}

fn table() -> Outcome<TableId> {
    Ok("bench.ns.table".parse()?)
}

fn context(folder: &Path, listed: u64) -> Outcome<(CommitContext, Arc<Store>)> {
    let ambient = Ambient::system();
    let store = Arc::new(Store {
        disk: LocalStorage::new(),
        data: format!("{}/data/", location(folder)?),
        listed,
        reads: AtomicU64::new(0),
        writes: AtomicU64::new(0),
        lists: AtomicU64::new(0),
        deletes: AtomicU64::new(0),
    });
    let first = format!("{}/first.metadata.json", text(folder)?);
    let catalog = OneTable {
        name: CatalogName::from("bench"),
        storage: Arc::clone(&store) as _,
        ambient: ambient.clone(),
        pointer: Mutex::new(MetadataLocation::from(first)),
    };
    let context = CommitContext {
        catalog: Arc::new(catalog),
        storage: Arc::clone(&store) as _,
        ambient,
        policy: CommitPolicy::default(),
    };
    Ok((context, store))
}

fn text(path: &Path) -> Outcome<&str> {
    Ok(path.to_str().ok_or("a folder that is not UTF-8")?)
}

fn location(folder: &Path) -> Outcome<String> {
    Ok(format!("{}/table", text(folder)?))
}

fn data_path(location: &str, number: u64) -> String {
    format!("{location}/data/{number:010}-0a1b2c3d-4e5f-6071-8293-a4b5c6d7e8f9-00001.parquet")
}

/// `files` files that all snapshots have, and one that each has alone.
async fn write_table(folder: &Path, snapshots: u64, files: u64) -> Outcome<()> {
    let location = location(folder)?;
    std::fs::create_dir_all(format!("{location}/metadata"))?;
    let empty = empty_table(&location)?;
    let mut common = Vec::new();
    let numbers: Vec<u64> = (0..files).collect();
    for (part, chunk) in numbers
        .chunks(usize::try_from(FILES_A_MANIFEST)?)
        .enumerate()
    {
        let name = format!("{location}/metadata/common-m{part}.avro");
        common.push(write_manifest(&empty, name, 1, chunk).await?);
    }
    let mut listed = Vec::new();
    let first_time = empty.last_updated_ms() - 30 * DAY_MS;
    for number in 1..=snapshots {
        let id = i64::try_from(number)?;
        let own = format!("{location}/metadata/own-{number}-m0.avro");
        let own = write_manifest(&empty, own, id, &[10_000_000_000 - number]).await?;
        let list = format!("{location}/metadata/snap-{number}.avro");
        let output = FileIO::new_with_fs().new_output(&list)?.writer().await?;
        let mut writer = ManifestListWriter::v2(output, id, None, id);
        // The first snapshot's manifests have its number, whoever lists them.
        let mut all = common.clone();
        for manifest in &mut all {
            manifest.sequence_number = 1;
            manifest.min_sequence_number = 1;
            manifest.added_snapshot_id = 1;
        }
        writer.add_manifests(all.into_iter().chain([own]))?;
        writer.close().await?;
        listed.push(json!({
            "snapshot-id": id, "parent-snapshot-id": (id > 1).then_some(id - 1), "sequence-number": id,
            "timestamp-ms": first_time + id, "manifest-list": list, "schema-id": 0, "summary": summary(number),
        }));
    }
    let mut json: Value = serde_json::to_value(&empty)?;
    json["last-sequence-number"] = snapshots.into();
    json["current-snapshot-id"] = snapshots.into();
    json["last-updated-ms"] = (first_time + i64::try_from(snapshots)?).into();
    json["refs"] = json!({"main": {"snapshot-id": snapshots, "type": "branch"}});
    let log = listed
        .iter()
        .map(|it| json!({"snapshot-id": it["snapshot-id"], "timestamp-ms": it["timestamp-ms"]}));
    json["snapshot-log"] = log.collect::<Vec<_>>().into();
    json["snapshots"] = listed.into();
    std::fs::write(
        folder.join("first.metadata.json"),
        serde_json::to_vec(&json)?,
    )?;
    Ok(())
}

/// As Spark writes it.
fn summary(number: u64) -> Value {
    let mut summary = json!({
        "operation": "append", "spark.app.id": "application_1764374400000_0042",
        "engine-name": "spark", "engine-version": "3.5.7",
        "app-id": "application_1764374400000_0042",
        "iceberg-version": "Apache Iceberg 1.10.0 (commit 2114bf631e49af532d66e2ce148ee49dd1dd1f1f)",
    });
    for count in [
        "added-data-files",
        "added-records",
        "added-files-size",
        "changed-partition-count",
        "total-records",
        "total-files-size",
        "total-data-files",
        "total-delete-files",
        "total-position-deletes",
        "total-equality-deletes",
    ] {
        summary[count] = (1_000_000 + number).to_string().into();
    }
    summary["partitions.day=2026-11-29"] =
        "added-data-files=1,added-records=100000,added-files-size=10485760".into();
    summary
}

async fn write_manifest(
    metadata: &TableMetadata,
    name: String,
    snapshot: i64,
    numbers: &[u64],
) -> Outcome<ManifestFile> {
    let builder = ManifestWriterBuilder::new(
        FileIO::new_with_fs().new_output(name)?,
        Some(snapshot),
        Arc::clone(metadata.current_schema()),
        metadata.default_partition_spec().as_ref().clone(),
    );
    let mut writer = builder.build_v2_data();
    for number in numbers {
        let file = DataFileBuilder::default()
            .content(DataContentType::Data)
            .file_path(data_path(metadata.location(), *number))
            .file_format(DataFileFormat::Parquet)
            .partition(Struct::empty())
            .partition_spec_id(0)
            .record_count(1000)
            .file_size_in_bytes(1_000_000)
            .build()?;
        writer.add_file(file, snapshot)?;
    }
    Ok(writer.write_manifest_file().await?)
}

fn empty_table(location: &str) -> Outcome<TableMetadata> {
    let id = NestedField::required(1, "id", Type::Primitive(PrimitiveType::Long));
    let schema = Schema::builder().with_fields([id.into()]).build()?;
    let built = TableMetadataBuilder::new(
        schema,
        UnboundPartitionSpec::builder().build(),
        SortOrder::unsorted_order(),
        location.to_owned(),
        FormatVersion::V2,
        HashMap::new(),
    )?;
    Ok(built.build()?.metadata)
}

/// A pointer in memory.
#[derive(Debug)]
struct OneTable {
    name: CatalogName,
    storage: Arc<dyn Storage>,
    ambient: Ambient,
    pointer: Mutex<MetadataLocation>,
}

impl OneTable {
    fn pointer(&self) -> std::sync::MutexGuard<'_, MetadataLocation> {
        self.pointer
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

#[async_trait]
impl Catalog for OneTable {
    fn name(&self) -> &CatalogName {
        &self.name
    }
    async fn list_namespaces(&self) -> Result<Vec<Namespace>, CatalogError> {
        Ok(Vec::new())
    }
    async fn list_tables(
        &self,
        _: &DatabaseId,
        _: Option<&str>,
    ) -> Result<TablePage, CatalogError> {
        Ok(TablePage::default())
    }
    async fn load(&self, table: &TableId) -> Result<LoadedTable, CatalogError> {
        let location = self.pointer().clone();
        load_at(self.storage.as_ref(), table, location).await
    }
    async fn commit(
        &self,
        base: &LoadedTable,
        change: TableChange,
    ) -> Result<LoadedTable, CommitError> {
        let staged = stage_metadata(self.storage.as_ref(), &self.ambient, base, change).await?;
        self.pointer().clone_from(&staged.location);
        Ok(LoadedTable {
            table: base.table.clone(),
            metadata_location: staged.location,
            metadata: staged.metadata,
            token: CommitToken::default(),
        })
    }
}

/// The disk, with its requests counted, and a data folder that is only listed.
#[derive(Debug)]
struct Store {
    disk: LocalStorage,
    data: String,
    listed: u64,
    reads: AtomicU64,
    writes: AtomicU64,
    lists: AtomicU64,
    deletes: AtomicU64,
}

impl Store {
    fn requests(&self) -> String {
        let [reads, writes, lists, deletes] =
            [&self.reads, &self.writes, &self.lists, &self.deletes]
                .map(|it| it.load(Ordering::Relaxed));
        format!("reads={reads} writes={writes} lists={lists} deletes={deletes}")
    }

    fn count(counter: &AtomicU64) {
        counter.fetch_add(1, Ordering::Relaxed);
    }
}

#[async_trait]
impl Storage for Store {
    fn may_delete(&self) -> bool {
        true
    }
    async fn info(&self, location: &str) -> Result<ObjectInfo, StorageError> {
        self.disk.info(location).await
    }
    async fn read(&self, location: &str) -> Result<Buffer, StorageError> {
        Self::count(&self.reads);
        self.disk.read(location).await
    }
    async fn read_range(&self, location: &str, range: Range<u64>) -> Result<Buffer, StorageError> {
        Self::count(&self.reads);
        self.disk.read_range(location, range).await
    }
    async fn read_ranges(
        &self,
        location: &str,
        ranges: &[Range<u64>],
    ) -> Result<Vec<Buffer>, StorageError> {
        Self::count(&self.reads);
        self.disk.read_ranges(location, ranges).await
    }
    async fn put(
        &self,
        location: &str,
        content: Buffer,
        mode: PutMode,
        options: &WriteOptions,
    ) -> Result<(), StorageError> {
        Self::count(&self.writes);
        self.disk.put(location, content, mode, options).await
    }
    async fn writer(
        &self,
        location: &str,
        options: &WriteOptions,
    ) -> Result<Box<dyn ObjectWriter>, StorageError> {
        Self::count(&self.writes);
        self.disk.writer(location, options).await
    }
    async fn list(&self, prefix: &str, next: Option<&str>) -> Result<ListPage, StorageError> {
        Self::count(&self.lists);
        self.disk.list(prefix, next).await
    }
    /// Numbers that begin a hundredth behind those of the files and end as much behind them.
    async fn list_after(&self, _: &str, after: Option<&str>) -> Result<ListPage, StorageError> {
        Self::count(&self.lists);
        let begin = self.listed / 100;
        // The first number of ten digits that sorts behind `after`.
        let digits = after.and_then(|after| after.strip_prefix(self.data.as_str()));
        let from = match (after, digits) {
            (Some(after), None) if after > self.data.as_str() => u64::MAX,
            (_, digits) => digits.map_or(begin, |digits| first_behind(digits).max(begin)),
        };
        let end = begin + self.listed;
        let to = from.saturating_add(PAGE).min(end);
        let location = self.data.trim_end_matches("/data/");
        let objects: Vec<ListedObject> = (from..to)
            .map(|number| ListedObject {
                location: data_path(location, number),
                size: Bytes(1_000_000),
                modified: TimestampMs(1),
            })
            .collect();
        let next = objects
            .last()
            .filter(|_| to < end)
            .map(|it| it.location.clone());
        Ok(ListPage { objects, next })
    }
    async fn delete(&self, locations: &[String]) -> Vec<DeleteOutcome> {
        Self::count(&self.deletes);
        self.disk.delete(locations).await
    }
}

/// The first number whose name of ten digits, and what follows them, sorts behind `name`.
fn first_behind(name: &str) -> u64 {
    let mut number = 0;
    for place in 0..10 {
        match name.as_bytes().get(place) {
            Some(byte) if byte.is_ascii_digit() => number = number * 10 + u64::from(byte - b'0'),
            // Shorter, or what sorts before all digits: all that begin so.
            None | Some(..=b'/') => return number * 10_u64.pow(10 - place as u32),
            // Behind all digits: none of those that begin so.
            Some(_) => return (number + 1) * 10_u64.pow(10 - place as u32),
        }
    }
    // Its own name, or one before that.
    match name.len() > 10 {
        true => number + 1,
        false => number,
    }
}
