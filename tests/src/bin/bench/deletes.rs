//! `deletes`: the whole rewrite of 64 files of event columns, about 12 MB each, of whose rows one in a hundred is deleted,
//! beside the same rewrite of the same files without deletes; MB of data files a CPU-second, either side.
//!
//! * positions: a position delete file for each data file, rows at random;
//! * equality: ten delete files by the event's id, rows at random;
//! * vectors: a deletion vector for each data file in one Puffin file, rows at random, beside a rewrite of version 3, which
//!   writes each row's lineage too.
//!
//! All sides take turns, several times over, each time in a process of its own; the medians count.

mod files;

use std::{fs, path::Path};

use anyhow::{Context as _, Result, ensure};
use icepress_model::{DeleteFile, InputFile};

use crate::{
    events,
    rewriting::{Usage, input_files, measured, megabytes, print_usage, rewrite},
};

/// How often the sides take turns.
pub(crate) const ROUNDS: u32 = 3;

/// One side of the comparisons.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part {
    Plain,
    Positions,
    Equality,
    PlainOfVersion3,
    Vectors,
}

impl Part {
    const ALL: [Self; 5] = [
        Self::Plain,
        Self::Positions,
        Self::Equality,
        Self::PlainOfVersion3,
        Self::Vectors,
    ];
    /// Each with deletes, and the same without.
    const COMPARED: [(Self, Self); 3] = [
        (Self::Positions, Self::Plain),
        (Self::Equality, Self::Plain),
        (Self::Vectors, Self::PlainOfVersion3),
    ];

    fn name(self) -> &'static str {
        match self {
            Self::Plain => "plain",
            Self::Positions => "positions",
            Self::Equality => "equality",
            Self::PlainOfVersion3 => "plain-v3",
            Self::Vectors => "vectors",
        }
    }

    fn format_version(self) -> u8 {
        match self {
            Self::Plain | Self::Positions | Self::Equality => 2,
            Self::PlainOfVersion3 | Self::Vectors => 3,
        }
    }
}

/// The same with another number of rounds, as it was typed: `bench deletes 1`.
pub(crate) fn run_rounds(rounds: &str) -> Result<()> {
    run(rounds.parse().context("how many rounds?")?)
}

/// Makes the files, measures all sides, prints a line for each kind of delete.
pub(crate) fn run(rounds: u32) -> Result<()> {
    ensure!(rounds > 0, "no rounds, no figures");
    let folder = tempfile::Builder::new()
        .prefix("icepress-deletes-")
        .tempdir()?;
    let inputs = folder.path().join("in");
    events::write_all(&inputs)?;
    let inputs = input_files(&inputs, 0)?;
    files::write_positions(folder.path(), &inputs)?;
    files::write_keys(folder.path())?;
    files::write_vectors(folder.path(), &inputs)?;
    let megabytes = megabytes(&inputs);
    let mut used: Vec<(Part, Usage)> = Vec::new();
    for _ in 0..rounds {
        for part in Part::ALL {
            used.push((part, measured("deletes", part.name(), folder.path())?));
            // What was written is of no more use, and would fill the disk.
            fs::remove_dir_all(events::table_location(folder.path()))?;
        }
    }
    for (part, baseline) in Part::COMPARED {
        let rate = |part| Ok::<_, anyhow::Error>(megabytes / median_cpu(&used, part)?);
        let (ours, without) = (rate(part)?, rate(baseline)?);
        let peak = used.iter().filter(|(of, _)| *of == part);
        let peak = peak.map(|(_, usage)| usage.peak_rss_mb).fold(0.0, f64::max);
        println!(
            "deletes-{} ratio={:.3} ours_mb_per_cpu_s={ours:.1} baseline_mb_per_cpu_s={without:.1} peak_rss_mb={peak:.0}",
            part.name(),
            ours / without,
        );
    }
    Ok(())
}

fn median_cpu(used: &[(Part, Usage)], part: Part) -> Result<f64> {
    let mut seconds: Vec<f64> = used
        .iter()
        .filter(|(of, _)| *of == part)
        .map(|(_, usage)| usage.cpu_seconds)
        .collect();
    seconds.sort_by(f64::total_cmp);
    let middle = seconds.get(seconds.len() / 2).copied();
    middle.context("a side was not measured")
}

/// One side, in its own process: prints CPU seconds and peak memory in MB.
pub(crate) fn run_part(part: &str, folder: &str) -> Result<()> {
    let part = Part::ALL
        .into_iter()
        .find(|known| known.name() == part)
        .with_context(|| format!("there is no part {part}"))?;
    let folder = Path::new(folder);
    let (inputs, deletes) = with_deletes(part, folder)?;
    let metadata = events::table(folder, part.format_version())?;
    let deleted = match deletes.is_empty() {
        true => 0,
        false => events::FILES * files::DELETED_OF_A_FILE,
    };
    let result = rewrite(&metadata, inputs, deletes)?;
    ensure!(
        result.rows_deleted.get() == deleted
            && result.rows_out.get() == events::FILES * events::ROWS - deleted,
        "{} rows were deleted, and {} written",
        result.rows_deleted,
        result.rows_out
    );
    print_usage()
}

/// The inputs of a side, each with what may delete its rows.
fn with_deletes(part: Part, folder: &Path) -> Result<(Vec<InputFile>, Vec<DeleteFile>)> {
    let data = folder.join("in");
    let one_each = |deletes: Vec<DeleteFile>| {
        let mut inputs = input_files(&data, 0)?;
        for (index, input) in (0..).zip(&mut inputs) {
            input.deletes = vec![index];
        }
        Ok((inputs, deletes))
    };
    match part {
        Part::Plain | Part::PlainOfVersion3 => Ok((input_files(&data, 0)?, Vec::new())),
        Part::Positions => one_each(files::positions(folder, &input_files(&data, 0)?)?),
        Part::Vectors => one_each(files::vectors(folder)?),
        Part::Equality => {
            let deletes = files::keys(folder)?;
            Ok((input_files(&data, deletes.len() as u32)?, deletes))
        }
    }
}
