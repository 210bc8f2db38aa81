//! The tables that rewrites are measured on: files as parquet-mr writes them, made once from fixed seeds and kept under
//! `target/bench-data`.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result};
use icepress_files::{MrSettings, write_like_parquet_mr};
use icepress_model::{Bytes, InputFile, RowId, Rows, SequenceNumber};

use crate::events::{self, Columns};

/// Changes when the files would: others are made then.
const EDITION: u32 = 1;
/// What is there when all files are.
const COMPLETE: &str = "complete";

/// A table's files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Shape {
    pub(crate) name: &'static str,
    /// How many.
    pub(crate) files: u64,
    /// Rows of each.
    pub(crate) rows: u64,
    pub(crate) columns: Columns,
    /// Bytes at which its row groups end, before compression.
    pub(crate) row_group_bytes: usize,
}

/// 64 files of 12 MB.
pub(crate) const BIG: Shape = Shape {
    name: "big",
    files: 64,
    rows: 240_000,
    columns: Columns::Events,
    row_group_bytes: 128 << 20,
};
/// 640 files of 1.4 MB.
pub(crate) const MID: Shape = Shape {
    name: "mid",
    files: 640,
    rows: 27_000,
    ..BIG
};
/// 2,000 files of 142 KB.
pub(crate) const SMALL: Shape = Shape {
    name: "small",
    files: 2_000,
    rows: 2_700,
    ..BIG
};
/// Four files, of a row group of about 128 MB each.
pub(crate) const FULL: Shape = Shape {
    name: "full",
    files: 4,
    rows: 2_640_000,
    row_group_bytes: 1 << 30,
    ..BIG
};
/// Forty columns of texts of 50 to 500 bytes, in row groups of about 8 MB.
pub(crate) const WIDE: Shape = Shape {
    name: "wide",
    files: 8,
    rows: 8_000,
    columns: Columns::Wide,
    row_group_bytes: 10_500_000,
};

/// Where everything that benches leave lies.
pub(crate) fn root() -> Result<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/bench-data");
    fs::create_dir_all(&root)?;
    Ok(root.canonicalize()?)
}

impl Shape {
    /// All rows.
    pub(crate) fn all_rows(&self) -> u64 {
        self.files * self.rows
    }

    fn folder(&self) -> Result<PathBuf> {
        Ok(root()?.join(format!("{}-{EDITION}", self.name)))
    }

    /// Makes the files that are not there yet.
    pub(crate) fn make(&self) -> Result<()> {
        let folder = self.folder()?;
        if folder.join(COMPLETE).exists() {
            return Ok(());
        }
        eprintln!("writing {} files to {}", self.files, folder.display());
        fs::create_dir_all(&folder)?;
        for number in 0..self.files {
            let path = folder.join(format!("{number:04}.parquet"));
            fs::write(path, self.file(number)?)?;
        }
        fs::write(folder.join(COMPLETE), [])?;
        Ok(())
    }

    /// The file with a number.
    pub(crate) fn file(&self, number: u64) -> Result<Vec<u8>> {
        let settings = MrSettings {
            row_group_bytes: self.row_group_bytes,
            iceberg_schema: Some(events::schema_json(self.columns).to_string()),
        };
        write_like_parquet_mr(events::batches(self, number), &settings)
    }

    /// The files as a group's inputs, in their order, to each of which `deletes(number)` apply.
    pub(crate) fn inputs(&self, deletes: impl Fn(u32) -> Vec<u32>) -> Result<Vec<InputFile>> {
        let folder = self.folder()?;
        (0..self.files)
            .map(|number| {
                let path = folder.join(format!("{number:04}.parquet"));
                Ok(InputFile {
                    size: Bytes(path.metadata()?.len()),
                    path: path
                        .into_os_string()
                        .into_string()
                        .ok()
                        .context("a file's name is no text")?,
                    rows: Rows(self.rows),
                    sequence_number: SequenceNumber(1),
                    first_row_id: Some(RowId((number * self.rows) as i64)),
                    deletes: deletes(number as u32),
                })
            })
            .collect()
    }
}
