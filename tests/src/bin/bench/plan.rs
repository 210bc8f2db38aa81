//! `plan`: reading the manifests of a table of 100,000 data files and planning it, beside the iceberg crate's decoding
//! of the same manifests.
//!
//! The table has 1,000 partitions, 20 columns with statistics, and a position delete file for every hundredth data
//! file. Each side runs in a process of its own, so that the peak memory is its own; the files' bytes come from the
//! page cache. MB are those of the manifests as they lie on disk.

use std::{collections::HashMap, error::Error, path::Path, process::Command, sync::Arc};

use iceberg::{
    io::FileIO,
    spec::{
        DataContentType, DataFile, DataFileBuilder, DataFileFormat, Datum, FormatVersion, Literal,
        Manifest, ManifestFile, ManifestList, ManifestListWriter, ManifestWriter,
        ManifestWriterBuilder, NestedField, Operation, PrimitiveType, Schema, Snapshot, SortOrder,
        Struct, Summary, TableMetadata, TableMetadataBuilder, Transform, Type,
        UnboundPartitionSpec,
    },
};
use icepress_model::{MetadataLocation, TableId};
use icepress_planner::{PlanOptions, plan_table};
use icepress_storage::LocalStorage;
use icepress_table::scan::open_snapshot;

use crate::measure::{cpu_seconds, peak_rss_mb};

const DATA_FILES: u32 = 100_000;
const PARTITIONS: u32 = 1_000;
const DELETES_EVERY: u32 = 100;
/// Iceberg's writers begin another manifest at 8 MB: about so many entries of 20 columns.
pub(crate) const ENTRIES_A_MANIFEST: usize = 5_000;
const COLUMNS: i32 = 20;
/// Enough for ticks of 10 ms not to matter.
const LEAST_CPU_SECONDS: f64 = 2.0;

type Outcome<T> = Result<T, Box<dyn Error>>;

/// Makes the table, measures both sides, prints the line.
pub(crate) fn run() -> Outcome<()> {
    let folder = tempfile::tempdir()?;
    let runtime = tokio::runtime::Runtime::new()?;
    runtime.block_on(write_table(folder.path()))?;
    let ours = measured("ours", folder.path())?;
    let baseline = measured("baseline", folder.path())?;
    println!(
        "plan ratio={:.2} ours_entries_per_s={:.0} baseline_entries_per_s={:.0} ours_mb_per_cpu_s={:.1} \
         baseline_mb_per_cpu_s={:.1} peak_rss_mb={:.1} baseline_peak_rss_mb={:.1}",
        ours.entries_per_s / baseline.entries_per_s,
        ours.entries_per_s,
        baseline.entries_per_s,
        ours.mb_per_s,
        baseline.mb_per_s,
        ours.peak_rss_mb,
        baseline.peak_rss_mb,
    );
    Ok(())
}

/// What one side printed: per CPU-second.
struct Figures {
    entries_per_s: f64,
    mb_per_s: f64,
    peak_rss_mb: f64,
}

fn measured(role: &str, folder: &Path) -> Outcome<Figures> {
    let output = Command::new(std::env::current_exe()?)
        .args(["plan", role])
        .arg(folder)
        .output()?;
    if !output.status.success() {
        let message = String::from_utf8_lossy(&output.stderr);
        return Err(format!("plan {role}: {message}").into());
    }
    let text = String::from_utf8(output.stdout)?;
    let numbers: Result<Vec<f64>, _> = text.split_whitespace().map(str::parse).collect();
    match numbers?.as_slice() {
        [entries_per_s, mb_per_s, peak_rss_mb] => Ok(Figures {
            entries_per_s: *entries_per_s,
            mb_per_s: *mb_per_s,
            peak_rss_mb: *peak_rss_mb,
        }),
        _ => Err(format!("plan {role} printed '{text}'").into()),
    }
}

/// One side, in its own process: prints entries a CPU-second, MB a CPU-second, peak memory in MB.
pub(crate) fn run_role(role: &str, folder: &str) -> Outcome<()> {
    let folder = Path::new(folder);
    let metadata: TableMetadata =
        serde_json::from_slice(&std::fs::read(folder.join("metadata.json"))?)?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let (mut entries, mut bytes) = (0u64, 0u64);
    let begun = cpu_seconds()?;
    let mut spent = 0.0;
    while spent < LEAST_CPU_SECONDS {
        let (more_entries, more_bytes) = match role {
            "ours" => runtime.block_on(ours(&metadata))?,
            "baseline" => baseline(&metadata)?,
            other => return Err(format!("no side {other}").into()),
        };
        entries += more_entries;
        bytes += more_bytes;
        spent = cpu_seconds()? - begun;
    }
    println!(
        "{} {} {}",
        entries as f64 / spent,
        bytes as f64 / 1e6 / spent,
        peak_rss_mb()?
    );
    Ok(())
}

async fn ours(metadata: &TableMetadata) -> Outcome<(u64, u64)> {
    let table: TableId = "bench.ns.table".parse()?;
    let scan = open_snapshot(&LocalStorage::new(), &table, &metadata.clone().into()).await?;
    let location = MetadataLocation::from("metadata.json");
    let plan = plan_table(&scan, metadata, &location, &PlanOptions::default())?;
    if plan.totals.data_files != u64::from(DATA_FILES) || plan.groups.is_empty() {
        return Err("the plan is not of the table that was written".into());
    }
    let entries = plan.totals.data_files + plan.totals.delete_files;
    Ok((entries, manifest_bytes(&read_list(metadata)?)))
}

fn baseline(metadata: &TableMetadata) -> Outcome<(u64, u64)> {
    let list = read_list(metadata)?;
    // Whoever plans needs all of them at a time.
    let mut manifests = Vec::new();
    for file in list.entries() {
        let bytes = std::fs::read(&file.manifest_path)?;
        manifests.push(Manifest::parse_avro(&bytes)?);
    }
    let entries = manifests.iter().map(|manifest| manifest.entries().len());
    Ok((entries.sum::<usize>() as u64, manifest_bytes(&list)))
}

fn read_list(metadata: &TableMetadata) -> Outcome<ManifestList> {
    let snapshot = metadata.current_snapshot().ok_or("no snapshot")?;
    let bytes = std::fs::read(snapshot.manifest_list())?;
    Ok(ManifestList::parse_with_version(
        &bytes,
        metadata.format_version(),
    )?)
}

fn manifest_bytes(list: &ManifestList) -> u64 {
    let lengths = list.entries().iter().map(|file| file.manifest_length);
    lengths.sum::<i64>().unsigned_abs()
}

async fn write_table(folder: &Path) -> Outcome<()> {
    let metadata = empty_table(folder)?;
    let mut manifests = Vec::new();
    let data: Vec<u32> = (0..DATA_FILES).collect();
    for (files, number) in data.chunks(ENTRIES_A_MANIFEST).zip(0..) {
        let files = files.iter().map(|file| data_file(&metadata, *file));
        let name = format!("data-{number}.avro");
        manifests.push(write_manifest(folder, &metadata, &name, false, files).await?);
    }
    let hit: Vec<u32> = (0..DATA_FILES).step_by(DELETES_EVERY as usize).collect();
    let deletes = hit.iter().map(|file| delete_file(&metadata, *file));
    manifests.push(write_manifest(folder, &metadata, "deletes.avro", true, deletes).await?);

    let list = path(folder, "list.avro")?;
    let output = FileIO::new_with_fs().new_output(&list)?.writer().await?;
    let mut writer = ManifestListWriter::v2(output, 1, None, 1);
    writer.add_manifests(manifests.into_iter())?;
    writer.close().await?;
    let snapshot = Snapshot::builder()
        .with_snapshot_id(1)
        .with_sequence_number(1)
        .with_timestamp_ms(metadata.last_updated_ms() + 1)
        .with_manifest_list(list)
        .with_schema_id(metadata.current_schema_id())
        .with_summary(Summary {
            operation: Operation::Append,
            additional_properties: HashMap::new(),
        })
        .build();
    let metadata = metadata
        .into_builder(None)
        .set_branch_snapshot(snapshot, "main")?
        .build()?
        .metadata;
    std::fs::write(folder.join("metadata.json"), serde_json::to_vec(&metadata)?)?;
    Ok(())
}

async fn write_manifest(
    folder: &Path,
    metadata: &TableMetadata,
    name: &str,
    deletes: bool,
    files: impl Iterator<Item = Outcome<DataFile>>,
) -> Outcome<ManifestFile> {
    let builder = ManifestWriterBuilder::new(
        FileIO::new_with_fs().new_output(path(folder, name)?)?,
        Some(1),
        Arc::clone(metadata.current_schema()),
        metadata.default_partition_spec().as_ref().clone(),
    );
    let mut writer: ManifestWriter = if deletes {
        builder.build_v2_deletes()
    } else {
        builder.build_v2_data()
    };
    for file in files {
        writer.add_file(file?, -1)?;
    }
    Ok(writer.write_manifest_file().await?)
}

fn path(folder: &Path, name: &str) -> Outcome<String> {
    let path = folder.join(name);
    Ok(path
        .to_str()
        .ok_or("a folder that is not UTF-8")?
        .to_owned())
}

/// A table of [`COLUMNS`] columns, partitioned by the first.
pub(crate) fn empty_table(folder: &Path) -> Outcome<TableMetadata> {
    let fields = (1..=COLUMNS).map(|id| {
        let primitive = match id {
            1 => PrimitiveType::Date,
            id if id % 2 == 0 => PrimitiveType::Long,
            _ => PrimitiveType::String,
        };
        NestedField::optional(id, format!("column_{id}"), Type::Primitive(primitive)).into()
    });
    let spec = UnboundPartitionSpec::builder()
        .add_partition_field(1, "day", Transform::Identity)?
        .build();
    let built = TableMetadataBuilder::new(
        Schema::builder().with_fields(fields).build()?,
        spec,
        SortOrder::unsorted_order(),
        path(folder, "table")?,
        FormatVersion::V2,
        HashMap::new(),
    )?
    .build()?;
    Ok(built.metadata)
}

fn data_path(file: u32) -> String {
    let day = file / (DATA_FILES / PARTITIONS);
    format!(
        "s3://bench-bucket/warehouse/database.db/table/data/day={day}/\
         00000-{file}-0a1b2c3d-4e5f-6071-8293-a4b5c6d7e8f9-00001.parquet"
    )
}

fn builder(metadata: &TableMetadata, file: u32) -> DataFileBuilder {
    let day = i32::try_from(file / (DATA_FILES / PARTITIONS)).unwrap_or(i32::MAX);
    let mut builder = DataFileBuilder::default();
    builder
        .file_format(DataFileFormat::Parquet)
        .partition(Struct::from_iter([Some(Literal::date(day))]))
        .partition_spec_id(metadata.default_partition_spec_id());
    builder
}

/// The entry of the data file with this number: a hundred are in a partition.
pub(crate) fn data_file(metadata: &TableMetadata, file: u32) -> Outcome<DataFile> {
    let counts = |value: u64| -> HashMap<i32, u64> {
        (1..=COLUMNS)
            .map(|id| (id, value + id.unsigned_abs() as u64))
            .collect()
    };
    let bounds = |salt: u32| -> HashMap<i32, Datum> {
        let bound = |id: i32| match id {
            1 => Datum::date(20_000),
            id if id % 2 == 0 => Datum::long(i64::from(file) * 1000 + i64::from(salt)),
            _ => Datum::string(format!("bound-{salt}-{file}")),
        };
        (1..=COLUMNS).map(|id| (id, bound(id))).collect()
    };
    let file = builder(metadata, file)
        .content(DataContentType::Data)
        .file_path(data_path(file))
        .record_count(100_000)
        .file_size_in_bytes(10_000_000 + u64::from(file))
        .column_sizes(counts(500_000))
        .value_counts(counts(100_000))
        .null_value_counts(counts(0))
        .lower_bounds(bounds(1))
        .upper_bounds(bounds(2))
        .split_offsets(Some(vec![4, 5_000_000]))
        .build()?;
    Ok(file)
}

/// The entry of a file of position deletes of the data file with this number.
pub(crate) fn delete_file(metadata: &TableMetadata, file: u32) -> Outcome<DataFile> {
    let delete = builder(metadata, file)
        .content(DataContentType::PositionDeletes)
        .file_path(data_path(file).replace(".parquet", "-deletes.parquet"))
        .record_count(100)
        .file_size_in_bytes(2_000)
        .referenced_data_file(Some(data_path(file)))
        .build()?;
    Ok(delete)
}
