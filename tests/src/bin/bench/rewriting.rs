//! What the benches of rewrites share: the rewrite of a group, and what one side of a comparison uses, each side in a process
//! of its own.

use std::{
    process::{Command, Stdio},
    sync::Arc,
};

use anyhow::{Result, anyhow, bail, ensure};
use icepress_catalog::metadata::Metadata;
use icepress_model::{
    Attempt, BaseState, Bytes, DeleteFile, Group, GroupReason, GroupResult, GroupTask, InputFile,
    MergePages, MetadataLocation, ProcessId, SchemaId, SequenceNumber, SnapshotId, SpecId, Tier,
    ambient::Ambient,
};
use icepress_rewrite::{Progress, RewriteContext, rewrite_group};
use icepress_storage::LocalStorage;

use crate::measure::{cpu_seconds, peak_rss_mb, wall_seconds};

/// What rewritten files should grow to.
pub(crate) const TARGET: Bytes = Bytes::mebibytes(512);
/// What an optimizer function with 2 vCPUs might give a group.
const MEMORY_CAP: Bytes = Bytes::mebibytes(512);

/// What one side used, start of its process included, and what it wrote.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Usage {
    pub(crate) cpu_seconds: f64,
    pub(crate) wall_seconds: f64,
    pub(crate) peak_rss_mb: f64,
    pub(crate) bytes: u64,
}

/// Runs `bench` with `words`, which is to end with [`print_usage`], on so many processors (all without a number).
pub(crate) fn measured(words: &[&str], cores: Option<usize>) -> Result<Usage> {
    let program = std::env::current_exe()?;
    let mut command = match cores {
        None => Command::new(program),
        Some(cores) => {
            let mut bound = Command::new("taskset");
            bound.args(["--cpu-list", &format!("0-{}", cores.max(1) - 1)]);
            bound.arg(program);
            bound
        }
    };
    let output = command.args(words).stderr(Stdio::inherit()).output()?;
    ensure!(output.status.success(), "{} failed", words.join(" "));
    let text = String::from_utf8(output.stdout)?;
    let numbers: Vec<f64> = text
        .split_whitespace()
        .map(str::parse)
        .collect::<Result<_, _>>()?;
    let [cpu_seconds, wall_seconds, peak_rss_mb, bytes] = numbers[..] else {
        bail!("{} printed '{text}'", words.join(" "));
    };
    Ok(Usage {
        cpu_seconds,
        wall_seconds,
        peak_rss_mb,
        bytes: bytes as u64,
    })
}

/// Prints what this process has used so far and what it wrote, for [`measured`].
pub(crate) fn print_usage(bytes: u64) -> Result<()> {
    let failed = |error: Box<dyn std::error::Error>| anyhow!("{error}");
    println!(
        "{} {} {} {bytes}",
        cpu_seconds().map_err(failed)?,
        wall_seconds().map_err(failed)?,
        peak_rss_mb().map_err(failed)?
    );
    Ok(())
}

/// A group to rewrite.
#[derive(Debug)]
pub(crate) struct Rewriting {
    pub(crate) metadata: Metadata,
    pub(crate) inputs: Vec<InputFile>,
    pub(crate) deletes: Vec<DeleteFile>,
}

/// Says whether pages are merged: `never`, `always`, or `where-it-pays`; without it as icepress does it by itself.
pub(crate) const PAGES: &str = "PAGES";

#[expect(
    clippy::disallowed_methods,
    reason = "the bench is asked once, and has no configuration"
)]
fn merge_pages() -> Result<MergePages> {
    match std::env::var(PAGES) {
        Err(_) => Ok(MergePages::default()),
        Ok(word) => word
            .parse()
            .map_err(|shape| anyhow!("{PAGES} is '{word}': {shape}")),
    }
}

/// Rewrites one group.
pub(crate) fn rewrite(group: &Rewriting) -> Result<GroupResult> {
    let metadata = &group.metadata;
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
            tier: Tier::Full,
            inputs: group.inputs.clone(),
            deletes: group.deletes.clone(),
            target_file_size: TARGET,
            shares_deletes: false,
            without: None,
        },
        pace: None,
    };
    let context = RewriteContext {
        storage: Arc::new(LocalStorage::new()),
        ambient: Ambient::system(),
        memory_cap: MEMORY_CAP,
        merge_pages: merge_pages()?,
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
