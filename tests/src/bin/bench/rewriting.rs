//! What the benches of rewrites share: the files of a folder as a group's inputs, the rewrite of that group, and what one
//! side of a comparison uses, each side in a process of its own.

use std::{
    fs,
    path::Path,
    process::{Command, Stdio},
    sync::Arc,
};

use anyhow::{Context as _, Result, anyhow, bail, ensure};
use icepress_catalog::metadata::Metadata;
use icepress_model::{
    Attempt, BaseState, Bytes, DeleteFile, Group, GroupReason, GroupResult, GroupTask, InputFile,
    MetadataLocation, ProcessId, RowId, Rows, SchemaId, SequenceNumber, SnapshotId, SpecId,
    ambient::Ambient,
};
use icepress_rewrite::{Progress, RewriteContext, rewrite_group};
use icepress_storage::LocalStorage;

use crate::{
    events,
    measure::{cpu_seconds, peak_rss_mb},
};

/// What rewritten files should grow to.
pub(crate) const TARGET: Bytes = Bytes::mebibytes(512);
/// What an optimizer function with 2 vCPUs might give a group.
const MEMORY_CAP: Bytes = Bytes::mebibytes(512);

/// What one side used, start of its process included.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Usage {
    pub(crate) cpu_seconds: f64,
    pub(crate) peak_rss_mb: f64,
}

/// Runs `bench BENCH PART FOLDER`, which is to end with [`print_usage`].
pub(crate) fn measured(bench: &str, part: &str, folder: &Path) -> Result<Usage> {
    let output = Command::new(std::env::current_exe()?)
        .args([bench, part])
        .arg(folder)
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

/// Prints what this process has used so far, for [`measured`].
pub(crate) fn print_usage() -> Result<()> {
    let failed = |error: Box<dyn std::error::Error>| anyhow!("{error}");
    println!(
        "{} {}",
        cpu_seconds().map_err(failed)?,
        peak_rss_mb().map_err(failed)?
    );
    Ok(())
}

/// The files of a folder in the order of their names, to each of which all `deletes` may apply.
pub(crate) fn input_files(folder: &Path, deletes: u32) -> Result<Vec<InputFile>> {
    let mut inputs = fs::read_dir(folder)?
        .map(|entry| {
            let path = entry?.path();
            Ok(InputFile {
                size: Bytes(path.metadata()?.len()),
                path: path
                    .to_str()
                    .context("a file's name is no text")?
                    .to_owned(),
                rows: Rows(events::ROWS),
                sequence_number: SequenceNumber(1),
                first_row_id: None,
                deletes: (0..deletes).collect(),
            })
        })
        .collect::<Result<Vec<_>>>()?;
    inputs.sort_by(|one, other| one.path.cmp(&other.path));
    for (input, first) in inputs.iter_mut().zip((0..).step_by(events::ROWS as usize)) {
        input.first_row_id = Some(RowId(first));
    }
    Ok(inputs)
}

/// All bytes of the inputs, in MB (10^6).
pub(crate) fn megabytes(inputs: &[InputFile]) -> f64 {
    let bytes: u64 = inputs.iter().map(|input| input.size.get()).sum();
    bytes as f64 / 1e6
}

/// Rewrites one group.
pub(crate) fn rewrite(
    metadata: &Metadata,
    inputs: Vec<InputFile>,
    deletes: Vec<DeleteFile>,
) -> Result<GroupResult> {
    let task = GroupTask {
        table: "bench.shop.events".parse()?,
        process: ProcessId::from("bench"),
        index: 0,
        base: BaseState {
            metadata_location: MetadataLocation::from("none"),
            snapshot_id: SnapshotId(1),
            starting_sequence_number: SequenceNumber(2),
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
            deletes,
            target_file_size: TARGET,
            shares_deletes: false,
        },
        pace: None,
    };
    let context = RewriteContext {
        storage: Arc::new(LocalStorage::new()),
        ambient: Ambient::system(),
        memory_cap: MEMORY_CAP,
        progress: Arc::new(Progress::default()),
    };
    let runtime = tokio::runtime::Runtime::new()?;
    let result = runtime.block_on(rewrite_group(&context, metadata, &task, Attempt(1)))?;
    eprintln!(
        "{} files, {} row groups, {}",
        result.data_files.len(),
        result.row_groups_out,
        result.bytes_out
    );
    Ok(result)
}
