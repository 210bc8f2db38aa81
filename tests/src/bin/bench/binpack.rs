//! `binpack`: the whole rewrite of 64 files of event columns, about 12 MB each, into files of 512 MB, beside plain
//! decoding and encoding of the same files by arrow-rs with the same writer settings.

mod data;
mod plain;

use std::{
    fs,
    path::Path,
    process::{Command, Stdio},
    sync::Arc,
};

use anyhow::{Context as _, Result, anyhow, bail, ensure};
use icepress_model::{
    Attempt, BaseState, Bytes, Group, GroupReason, GroupTask, InputFile, MetadataLocation,
    ProcessId, Rows, SchemaId, SequenceNumber, SnapshotId, SpecId, ambient::Ambient,
};
use icepress_rewrite::{Progress, RewriteContext, rewrite_group};
use icepress_storage::LocalStorage;

use crate::measure::{cpu_seconds, peak_rss_mb};

const FILES: u64 = 64;
const TARGET: Bytes = Bytes::mebibytes(512);
/// What an optimizer function with 2 vCPUs might give a group.
const MEMORY_CAP: Bytes = Bytes::mebibytes(512);

/// Makes the files, measures both, prints the line.
pub(crate) fn run() -> Result<()> {
    let folder = tempfile::Builder::new()
        .prefix("icepress-binpack-")
        .tempdir()?;
    let root = folder
        .path()
        .to_str()
        .context("the folder's name is no text")?;
    let inputs = folder.path().join("in");
    fs::create_dir(&inputs)?;
    eprintln!("writing {FILES} files to {}", inputs.display());
    for file in 0..FILES {
        data::write(&inputs.join(format!("{file:02}.parquet")), file)?;
    }
    let megabytes = input_files(&inputs)?
        .iter()
        .map(|input| input.size.get() as f64)
        .sum::<f64>()
        / 1e6;
    // The files were just written: both sides find them in the page cache.
    let baseline = measured("plain", root)?;
    let ours = measured("ours", root)?;
    let rate = |usage: &Usage| megabytes / usage.cpu_seconds;
    let ratio = rate(&ours) / rate(&baseline);
    println!(
        "binpack ratio={ratio:.3} ours_mb_per_cpu_s={:.1} baseline_mb_per_cpu_s={:.1} peak_rss_mb={:.0}",
        rate(&ours),
        rate(&baseline),
        ours.peak_rss_mb,
    );
    Ok(())
}

/// What one side used, start of its process included.
struct Usage {
    cpu_seconds: f64,
    peak_rss_mb: f64,
}

fn measured(part: &str, folder: &str) -> Result<Usage> {
    let output = Command::new(std::env::current_exe()?)
        .args(["binpack", part, folder])
        .stderr(Stdio::inherit())
        .output()?;
    ensure!(output.status.success(), "{part} failed");
    let text = String::from_utf8(output.stdout)?;
    let numbers: Vec<f64> = text
        .split_whitespace()
        .map(str::parse)
        .collect::<Result<_, _>>()?;
    let [cpu_seconds, peak_rss_mb] = numbers[..] else {
        bail!("{part} printed '{text}'");
    };
    Ok(Usage {
        cpu_seconds,
        peak_rss_mb,
    })
}

/// One side, in its own process: prints CPU seconds and peak memory in MB.
pub(crate) fn run_part(part: &str, folder: &str) -> Result<()> {
    let folder = Path::new(folder);
    let inputs = input_files(&folder.join("in"))?;
    match part {
        "ours" => ours(folder, inputs)?,
        "plain" => plain::decode_and_encode(folder, &inputs, TARGET)?,
        other => bail!("there is no part {other}"),
    }
    let failed = |error: Box<dyn std::error::Error>| anyhow!("{error}");
    println!(
        "{} {}",
        cpu_seconds().map_err(failed)?,
        peak_rss_mb().map_err(failed)?
    );
    Ok(())
}

fn input_files(folder: &Path) -> Result<Vec<InputFile>> {
    let mut inputs = fs::read_dir(folder)?
        .map(|entry| {
            let path = entry?.path();
            Ok(InputFile {
                size: Bytes(path.metadata()?.len()),
                path: path
                    .to_str()
                    .context("a file's name is no text")?
                    .to_owned(),
                rows: Rows(data::ROWS),
                sequence_number: SequenceNumber(1),
                first_row_id: None,
                deletes: Vec::new(),
            })
        })
        .collect::<Result<Vec<_>>>()?;
    inputs.sort_by(|one, other| one.path.cmp(&other.path));
    Ok(inputs)
}

fn ours(folder: &Path, inputs: Vec<InputFile>) -> Result<()> {
    let metadata = data::table(folder)?;
    let task = GroupTask {
        table: "bench.shop.events".parse()?,
        process: ProcessId::from("bench"),
        index: 0,
        base: BaseState {
            metadata_location: MetadataLocation::from("none"),
            snapshot_id: SnapshotId(1),
            starting_sequence_number: SequenceNumber(1),
            schema_id: SchemaId(0),
            format_version: metadata.format_version() as u8,
        },
        group: Group {
            spec_id: SpecId(0),
            partition: serde_json::Value::Null,
            partition_name: String::new(),
            reason: GroupReason::EnoughFiles,
            tier: icepress_model::Tier::Full,
            inputs,
            deletes: Vec::new(),
            target_file_size: TARGET,
        },
    };
    let context = RewriteContext {
        storage: Arc::new(LocalStorage::new()),
        ambient: Ambient::system(),
        memory_cap: MEMORY_CAP,
        progress: Arc::new(Progress::default()),
    };
    let result = tokio::runtime::Runtime::new()?.block_on(rewrite_group(
        &context,
        &metadata,
        &task,
        Attempt(1),
    ))?;
    ensure!(
        result.rows_out.get() == FILES * data::ROWS,
        "rows were lost"
    );
    eprintln!(
        "ours: {} files, {} row groups, {}",
        result.data_files.len(),
        result.row_groups_out,
        result.bytes_out
    );
    Ok(())
}
