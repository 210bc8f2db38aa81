//! `scan`: CPU-seconds of other readers over what a rewrite left, beside the same over the re-encoded files: everything,
//! and a selective look that statistics, page index and dictionaries can help. A line for each reader that is there.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, ensure};

use crate::duel;

/// Whose outputs are read.
const OF: &str = "binpack-mid";
const ROUNDS: usize = 3;
const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/src/bin/bench/scan.py");
const PYTHON: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../target/venv/bin/python");

/// Rewrites, reads, prints the lines.
pub(crate) fn run() -> Result<()> {
    let duel = duel::find(OF).context("the rewrite to look at")?;
    duel.fight()?;
    let (ours, plain) = (
        files(&duel.folder("ours")?)?,
        files(&duel.folder("plain")?)?,
    );
    for reader in ["pyarrow", "duckdb", "chdb"] {
        let probe = Command::new(PYTHON)
            .args(["-c", &format!("import {reader}")])
            .output()
            .context("there is no Python environment: run tests/venv")?;
        if !probe.status.success() {
            println!("scan-{reader} not_there");
            continue;
        }
        let ratio = |look: &str| -> Result<(f64, f64)> {
            let (mut own, mut other) = (Vec::new(), Vec::new());
            for _ in 0..ROUNDS {
                own.push(seconds(reader, look, &ours)?);
                other.push(seconds(reader, look, &plain)?);
            }
            let (own, other) = (median(own), median(other));
            Ok((own / other.max(0.001), own))
        };
        let (full, full_seconds) = ratio("full")?;
        let (selective, selective_seconds) = ratio("selective")?;
        println!(
            "scan-{reader} full_ratio={full:.3} full_cpu_s={full_seconds:.2} selective_ratio={selective:.3} \
             selective_cpu_s={selective_seconds:.2}"
        );
    }
    for side in ["ours", "plain"] {
        fs::remove_dir_all(duel.folder(side)?)?;
    }
    Ok(())
}

/// The Parquet files below a folder.
fn files(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            found.extend(files(&path)?);
        } else if path.extension().is_some_and(|ending| ending == "parquet") {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}

fn seconds(reader: &str, look: &str, files: &[PathBuf]) -> Result<f64> {
    let output = Command::new(PYTHON)
        .args([SCRIPT, reader, look])
        .args(files)
        .output()?;
    let error = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{reader} failed: {error}");
    Ok(String::from_utf8(output.stdout)?.trim().parse()?)
}

fn median(mut of: Vec<f64>) -> f64 {
    of.sort_by(f64::total_cmp);
    of[of.len() / 2]
}
