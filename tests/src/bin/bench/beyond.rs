//! `deletes-beyond`: equality deletes whose keys do not fit the memory, beside the same with memory for all: CPU-seconds and MB.
//!
//! 10 million keys in ten files against 100 million rows of one column, of which they delete one in ten, in the light tier, so
//! that what finds the rows is measured and not what writes the others. One side has 1 GiB, the other 8. `deletes-beyond
//! MILLIONS` takes as many million keys, and ten times as many rows.

use std::{
    fs::File,
    path::{Path, PathBuf},
    sync::Arc,
};

use anyhow::{Context as _, Result, bail, ensure};
use arrow_array::{ArrayRef, Int64Array, RecordBatch};
use arrow_schema::{DataType, Schema as ArrowSchema};
use iceberg::spec::{
    FormatVersion, NestedField, PrimitiveType, Schema, SortOrder, TableMetadataBuilder, Type,
    UnboundPartitionSpec,
};
use icepress_model::{
    Attempt, BaseState, Bytes, DeleteContent, DeleteFile, Group, GroupReason, GroupTask, InputFile,
    MergePages, MetadataLocation, ProcessId, Rows, SchemaId, SequenceNumber, SnapshotId, SpecId,
    Tier, ambient::Ambient,
};
use icepress_rewrite::{RewriteContext, rewrite_group};
use icepress_storage::LocalStorage;
use parquet::{
    arrow::ArrowWriter,
    basic::{Compression, ZstdLevel},
    file::properties::WriterProperties,
};

use crate::{
    events,
    rewriting::{Usage, measured, print_usage},
};

/// Millions of keys.
pub(crate) const MILLIONS: u64 = 10;
const FILES: u64 = 10;
const COLUMN: i32 = 1;
const BATCH: u64 = 1 << 20;

/// Makes the files, measures both sides, prints the line.
pub(crate) fn run(millions: u64) -> Result<()> {
    let folder = tempfile::tempdir()?;
    let folder = folder.path().to_str().context("a folder that is no text")?;
    let millions_text = millions.to_string();
    let side = |side: &str| measured(&["deletes-beyond", side, folder, &millions_text], None);
    side("make")?;
    let within: Usage = side("within")?;
    let beyond: Usage = side("beyond")?;
    println!(
        "deletes-beyond keys_millions={millions} ratio={:.2} cpu_s={:.1} within_cpu_s={:.1} peak_rss_mb={:.0} \
         within_peak_rss_mb={:.0}",
        beyond.cpu_seconds / within.cpu_seconds.max(0.01),
        beyond.cpu_seconds,
        within.cpu_seconds,
        beyond.peak_rss_mb,
        within.peak_rss_mb,
    );
    Ok(())
}

/// One side, in its own process.
pub(crate) fn run_side(side: &str, folder: &str, millions: u64) -> Result<()> {
    let folder = Path::new(folder);
    let keys = millions * 1_000_000;
    match side {
        "make" => make(folder, keys)?,
        // Memory in proportion, so that a smaller run says the same.
        "within" => find(folder, keys, Bytes::mebibytes(8_192))?,
        "beyond" => find(folder, keys, Bytes::mebibytes(1_024 * millions / MILLIONS))?,
        other => bail!("there is no side {other}"),
    }
    print_usage(0)
}

fn data_path(folder: &Path, number: u64) -> PathBuf {
    folder.join(format!("data-{number}.parquet"))
}

fn keys_path(folder: &Path, number: u64) -> PathBuf {
    folder.join(format!("keys-{number}.parquet"))
}

fn make(folder: &Path, keys: u64) -> Result<()> {
    let rows = keys * 10 / FILES;
    for number in 0..FILES {
        let first = number * rows;
        write(
            &data_path(folder, number),
            (first..first + rows).map(scattered),
        )?;
        // One row in ten, of all files.
        let own = (number..keys).step_by(FILES as usize);
        write(
            &keys_path(folder, number),
            own.map(|key| scattered(key * 10)),
        )?;
    }
    Ok(())
}

/// Numbers whose order says nothing: keys as they come, not one after the other.
fn scattered(number: u64) -> i64 {
    number.wrapping_mul(0x9e37_79b9_7f4a_7c15) as i64
}

fn write(path: &Path, mut values: impl Iterator<Item = i64>) -> Result<()> {
    let schema = Arc::new(ArrowSchema::new(vec![events::field(
        COLUMN,
        "id",
        DataType::Int64,
    )]));
    let properties = WriterProperties::builder()
        .set_compression(Compression::ZSTD(ZstdLevel::try_new(1)?))
        .set_dictionary_enabled(false)
        .build();
    let mut writer =
        ArrowWriter::try_new(File::create(path)?, Arc::clone(&schema), Some(properties))?;
    loop {
        let some: Vec<i64> = values.by_ref().take(BATCH as usize).collect();
        if some.is_empty() {
            break;
        }
        let column: ArrayRef = Arc::new(Int64Array::from(some));
        writer.write(&RecordBatch::try_new(Arc::clone(&schema), vec![column])?)?;
    }
    writer.close()?;
    Ok(())
}

fn find(folder: &Path, keys: u64, memory_cap: Bytes) -> Result<()> {
    let text = |path: &Path| {
        path.to_str()
            .map(str::to_owned)
            .context("a name that is no text")
    };
    let size = |path: &Path| -> Result<Bytes> { Ok(Bytes(path.metadata()?.len())) };
    let mut inputs = Vec::new();
    let mut deletes = Vec::new();
    for number in 0..FILES {
        let path = data_path(folder, number);
        inputs.push(InputFile {
            path: text(&path)?,
            size: size(&path)?,
            rows: Rows(keys * 10 / FILES),
            sequence_number: SequenceNumber(1),
            first_row_id: Some(icepress_model::RowId(0)),
            deletes: (0..FILES as u32).collect(),
        });
        let path = keys_path(folder, number);
        deletes.push(DeleteFile {
            content: DeleteContent::Equality {
                field_ids: vec![COLUMN],
            },
            path: text(&path)?,
            size: size(&path)?,
            rows: Rows(keys / FILES),
            sequence_number: SequenceNumber(2),
            referenced_data_file: None,
        });
    }
    let column = NestedField::optional(COLUMN, "id", Type::Primitive(PrimitiveType::Long));
    let metadata = TableMetadataBuilder::new(
        Schema::builder().with_fields([column.into()]).build()?,
        UnboundPartitionSpec::default(),
        SortOrder::unsorted_order(),
        text(&folder.join("table"))?,
        FormatVersion::V3,
        Default::default(),
    )?
    .build()?
    .metadata;
    let task = GroupTask {
        table: "bench.shop.events".parse()?,
        process: ProcessId::from("bench"),
        index: 0,
        base: BaseState {
            metadata_location: MetadataLocation::from("none"),
            snapshot_id: SnapshotId(1),
            starting_sequence_number: SequenceNumber(2),
            schema_id: SchemaId(metadata.current_schema_id()),
            format_version: 3,
        },
        group: Group {
            spec_id: SpecId(metadata.default_partition_spec_id()),
            partition: serde_json::Value::Null,
            partition_name: String::new(),
            reason: GroupReason::EnoughFiles,
            tier: Tier::Light,
            inputs,
            deletes,
            target_file_size: Bytes::mebibytes(512),
            shares_deletes: false,
            without: None,
        },
        pace: None,
    };
    let context = RewriteContext {
        storage: Arc::new(LocalStorage::new()),
        ambient: Ambient::system(),
        memory_cap,
        merge_pages: MergePages::default(),
        progress: Arc::default(),
    };
    let runtime = tokio::runtime::Runtime::new()?;
    let metadata = metadata.into();
    let rewritten = rewrite_group(&context, &metadata, &task, Attempt(1));
    let result = runtime.block_on(rewritten)?;
    ensure!(
        result.rows_deleted.get() == keys,
        "{} rows were found",
        result.rows_deleted
    );
    Ok(())
}
