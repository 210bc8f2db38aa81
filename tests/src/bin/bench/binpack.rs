//! `binpack`: the whole rewrite of 64 files of event columns, about 12 MB each, into files of 512 MB, beside plain
//! decoding and encoding of the same files by arrow-rs with the same writer settings.

mod plain;

use std::path::Path;

use anyhow::{Result, bail, ensure};
use icepress_model::InputFile;

use crate::{
    events,
    rewriting::{TARGET, Usage, input_files, measured, megabytes, print_usage, rewrite},
};

/// Makes the files, measures both, prints the line.
pub(crate) fn run() -> Result<()> {
    let folder = tempfile::Builder::new()
        .prefix("icepress-binpack-")
        .tempdir()?;
    let inputs = folder.path().join("in");
    events::write_all(&inputs)?;
    let megabytes = megabytes(&input_files(&inputs, 0)?);
    // The files were just written: both sides find them in the page cache.
    let baseline = measured("binpack", "plain", folder.path())?;
    let ours = measured("binpack", "ours", folder.path())?;
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

/// One side, in its own process: prints CPU seconds and peak memory in MB.
pub(crate) fn run_part(part: &str, folder: &str) -> Result<()> {
    let folder = Path::new(folder);
    let inputs = input_files(&folder.join("in"), 0)?;
    match part {
        "ours" => ours(folder, inputs)?,
        "plain" => plain::decode_and_encode(folder, &inputs, TARGET)?,
        other => bail!("there is no part {other}"),
    }
    print_usage()
}

fn ours(folder: &Path, inputs: Vec<InputFile>) -> Result<()> {
    let metadata = events::table(folder, 2)?;
    let result = rewrite(&metadata, inputs, Vec::new())?;
    ensure!(
        result.rows_out.get() == events::FILES * events::ROWS,
        "rows were lost"
    );
    Ok(())
}
