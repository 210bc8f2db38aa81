//! Rewrites beside plain decoding and encoding of the same files by arrow-rs with the same settings, each side in a process
//! of its own: MB of data files (10^6) a CPU-second, all threads, start of the process included.
//!
//! Both write zstd at level 3 with dictionaries of [`DICTIONARY`] and row groups of the size that the line names; the baseline
//! looks at no field ids, deletes nothing and keeps no lineage. The rewrite is measured once on all processors, and its
//! wall time once more on one.

use std::{fs, path::PathBuf};

use anyhow::{Context as _, Result, bail, ensure};
use icepress_model::Bytes;

use crate::{
    events, plain,
    removed::{self, Removal},
    rewriting::{Rewriting, Usage, measured, print_usage, rewrite},
    tables::{self, BIG, FULL, MID, SMALL, Shape, WIDE},
};

/// The word before one side's arguments.
pub(crate) const SIDE: &str = "side";
/// Bytes of a dictionary at most, on both sides: what page merge gains most by.
pub(crate) const DICTIONARY: u64 = 8 << 20;
/// Iceberg's default.
const ROW_GROUP_MB: u64 = 128;
const WIDE_ROW_GROUP_MB: u64 = 8;

/// A comparison.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Duel {
    name: &'static str,
    shape: Shape,
    format_version: u8,
    removal: Option<Removal>,
    row_group_mb: u64,
}

const fn duel(name: &'static str, shape: Shape) -> Duel {
    Duel {
        name,
        shape,
        format_version: 2,
        removal: None,
        row_group_mb: ROW_GROUP_MB,
    }
}

const fn without(name: &'static str, removal: Removal) -> Duel {
    Duel {
        removal: Some(removal),
        ..duel(name, BIG)
    }
}

const DUELS: [Duel; 10] = [
    duel("binpack-big", BIG),
    duel("binpack-mid", MID),
    duel("binpack-small", SMALL),
    without("deletes-random", Removal::Random),
    without("deletes-blocks", Removal::Blocks),
    without("deletes-equality", Removal::Keys),
    Duel {
        format_version: 3,
        ..without("deletes-vectors", Removal::Vectors)
    },
    Duel {
        format_version: 3,
        ..duel("lineage", BIG)
    },
    Duel {
        row_group_mb: WIDE_ROW_GROUP_MB,
        ..duel("wide-strings", WIDE)
    },
    duel("splice", FULL),
];

/// The comparison of a name.
pub(crate) fn find(name: &str) -> Option<&'static Duel> {
    DUELS.iter().find(|duel| duel.name == name)
}

/// All names.
pub(crate) fn names() -> String {
    DUELS.map(|duel| duel.name).join(", ")
}

impl Duel {
    /// Where a side writes; nothing is there before it begins.
    pub(crate) fn folder(&self, side: &str) -> Result<PathBuf> {
        Ok(tables::root()?.join("out").join(self.name).join(side))
    }

    fn measured(&self, side: &str, cores: Option<usize>) -> Result<Usage> {
        let folder = self.folder(side)?;
        if folder.exists() {
            fs::remove_dir_all(&folder)?;
        }
        fs::create_dir_all(&folder)?;
        let row_group_mb = self.row_group_mb.to_string();
        measured(&[SIDE, self.name, side, &row_group_mb], cores)
    }

    /// Measures both sides; leaves their files.
    pub(crate) fn fight(&self) -> Result<(Usage, Usage)> {
        self.shape.make()?;
        // The first to read would have to fetch the files from the disk for both.
        for input in self.shape.inputs(|_| Vec::new())? {
            fs::read(&input.path)?;
        }
        Ok((self.measured("plain", None)?, self.measured("ours", None)?))
    }
}

/// Measures both sides, and prints the line; `row_group_mb` where row groups are to have another size.
pub(crate) fn run(name: &str, row_group_mb: Option<&str>) -> Result<()> {
    let mut duel = *find(name).with_context(|| format!("there is no bench {name}"))?;
    if let Some(typed) = row_group_mb {
        duel.row_group_mb = typed.parse().context("how many MB has a row group?")?;
        ensure!(duel.row_group_mb > 0, "a row group has one MB at least");
    }
    let (baseline, ours) = duel.fight()?;
    // Wall time of one processor, where there is the tool that says so and more than one.
    let alone = match std::thread::available_parallelism()?.get() {
        1 => None,
        _ => duel.measured("ours", Some(1)).ok(),
    };
    let inputs = duel.shape.inputs(|_| Vec::new())?;
    let bytes: u64 = inputs.iter().map(|input| input.size.get()).sum();
    let rate = |usage: &Usage| bytes as f64 / 1e6 / usage.cpu_seconds.max(0.01);
    println!(
        "{} ratio={:.3} ours_mb_per_cpu_s={:.1} baseline_mb_per_cpu_s={:.1} peak_rss_mb={:.0} output_ratio={:.3} row_group_mb={}{}",
        duel.name,
        rate(&ours) / rate(&baseline),
        rate(&ours),
        rate(&baseline),
        ours.peak_rss_mb,
        ours.bytes as f64 / baseline.bytes as f64,
        duel.row_group_mb,
        alone.map_or_else(String::new, |alone| format!(
            " wall_to_one_core={:.2}",
            ours.wall_seconds / alone.wall_seconds.max(0.001)
        )),
    );
    fs::remove_dir_all(tables::root()?.join("out").join(duel.name))?;
    Ok(())
}

/// One side, in its own process: prints what it used.
pub(crate) fn run_side(name: &str, side: &str, row_group_mb: &str) -> Result<()> {
    let duel = find(name).with_context(|| format!("there is no bench {name}"))?;
    let row_group = Bytes::mebibytes(row_group_mb.parse().context("MB of a row group")?);
    let shape = &duel.shape;
    let folder = duel.folder(side)?;
    let bytes = match side {
        "plain" => plain::decode_and_encode(&folder, shape, row_group)?,
        "ours" => {
            let (inputs, deletes) = match duel.removal {
                Some(removal) => removed::remove(removal, shape, &folder)?,
                None => (shape.inputs(|_| Vec::new())?, Vec::new()),
            };
            let deleted = duel
                .removal
                .map_or(0, |_| shape.files * removed::of_a_file(shape));
            let result = rewrite(&Rewriting {
                metadata: events::table(shape, &folder, duel.format_version, row_group)?,
                inputs,
                deletes,
            })?;
            ensure!(
                result.rows_deleted.get() == deleted
                    && result.rows_out.get() == shape.all_rows() - deleted,
                "{} rows were deleted, and {} written",
                result.rows_deleted,
                result.rows_out
            );
            result.bytes_out.get()
        }
        other => bail!("there is no side {other}"),
    };
    print_usage(bytes)
}
