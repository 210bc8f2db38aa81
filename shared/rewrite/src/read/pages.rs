//! What decoding a piece of a file will hold in memory, from the headers of its pages, before any of them is decoded.
//!
//! A column's dictionary and the page that it is at are held decompressed, and what is asked for them is what their
//! headers say: a page of some kilobytes may claim gigabytes. The footer does not tell: it has sums, and those of old
//! writers are without the values that a dictionary holds once.

use bytes::Bytes as Buffer;
use icepress_table::footer::{PageHeader, page_header};
use parquet::{basic::Compression, file::metadata::ColumnChunkMetaData};

use super::{content::FileBytes, open::OpenFile};
use crate::{
    failure::{Result, corrupt},
    memory::COLUMN,
};

/// What the pages of a piece take.
#[derive(Debug, Clone, Default)]
pub(super) struct Pages {
    /// Bytes held at a time at most, over all columns that are read.
    pub(super) held: u64,
    /// Bytes of the largest dictionary.
    pub(super) dictionary: u64,
    /// The column that holds most.
    pub(super) widest: Option<Widest>,
}

/// A column whose pages take more than those of others.
#[derive(Debug, Clone)]
pub(super) struct Widest {
    pub(super) column: String,
    /// Bytes of its dictionary and its largest page.
    pub(super) bytes: u64,
    /// The bytes of one value, where that is all that one of the two holds.
    value: Option<u64>,
}

impl Widest {
    /// What takes so much.
    pub(super) fn what(&self) -> String {
        match self.value {
            Some(value) => format!("a value of {} bytes in column {}", value, self.column),
            None => format!("pages of column {}", self.column),
        }
    }
}

/// The largest page of a kind.
#[derive(Debug, Clone, Copy, Default)]
struct Largest {
    bytes: u64,
    values: u64,
}

impl Largest {
    fn see(&mut self, header: &PageHeader) {
        if header.uncompressed > self.bytes {
            self.bytes = header.uncompressed;
            self.values = header.values;
        }
    }

    /// Its bytes, where they are those of one value.
    fn value(self) -> Option<u64> {
        (self.values == 1).then_some(self.bytes)
    }
}

impl Pages {
    /// Looks at the pages of the columns to read in `row_groups`, which are in `bytes`.
    pub(super) fn of(opened: &OpenFile, row_groups: &[usize], bytes: &FileBytes) -> Result<Self> {
        let mut pages = Self::default();
        for group in row_groups {
            let mut held = opened.projection.leaves.len() as u64 * COLUMN;
            for leaf in &opened.projection.leaves {
                let chunk = opened.metadata().row_group(*group).column(*leaf);
                let (dictionary, page) = chunk_pages(&opened.path, chunk, bytes)?;
                // A page that is not compressed is decoded where it lies.
                let bytes = match chunk.compression() {
                    Compression::UNCOMPRESSED => 0,
                    _ => dictionary.bytes.saturating_add(page.bytes),
                };
                held = held.saturating_add(bytes);
                pages.dictionary = pages.dictionary.max(dictionary.bytes);
                let widest = pages.widest.as_ref().map(|widest| widest.bytes);
                if widest.is_none_or(|most| bytes > most) {
                    pages.widest = Some(Widest {
                        column: chunk.column_path().string(),
                        bytes,
                        value: dictionary.value().max(page.value()),
                    });
                }
            }
            pages.held = pages.held.max(held);
        }
        Ok(pages)
    }
}

/// The first of the columns to read that has a page whose checksum is wrong.
pub(super) fn damaged_column(
    opened: &OpenFile,
    row_groups: &[usize],
    bytes: &FileBytes,
) -> Option<String> {
    let mut chunks = row_groups.iter().flat_map(|group| {
        let group = opened.metadata().row_group(*group);
        opened
            .projection
            .leaves
            .iter()
            .map(|leaf| group.column(*leaf))
    });
    let damaged = chunks.find(|chunk| {
        let mut damaged = false;
        let walked = each_page(&opened.path, chunk, bytes, |header, page| {
            damaged |= !header.matches(page);
        });
        walked.is_ok() && damaged
    });
    damaged.map(|chunk| chunk.column_path().string())
}

/// A chunk's dictionary and its largest data page, decompressed.
fn chunk_pages(
    path: &str,
    chunk: &ColumnChunkMetaData,
    bytes: &FileBytes,
) -> Result<(Largest, Largest)> {
    let (mut dictionary, mut page) = (Largest::default(), Largest::default());
    each_page(path, chunk, bytes, |header, _| {
        let most = if header.is_dictionary {
            &mut dictionary
        } else {
            &mut page
        };
        most.see(header);
    })?;
    Ok((dictionary, page))
}

/// Looks at the pages of a chunk: their headers, and their bytes as they lie in the file.
fn each_page(
    path: &str,
    chunk: &ColumnChunkMetaData,
    bytes: &FileBytes,
    mut look: impl FnMut(&PageHeader, &[u8]),
) -> Result<()> {
    let wrong = |what: &dyn std::fmt::Display| {
        let column = chunk.column_path().string();
        corrupt(path, format_args!("column {column}: {what}"))
    };
    let (start, length) = chunk.byte_range();
    let (mut at, end) = (start, start.saturating_add(length));
    let (all, mut values) = (chunk.num_values().unsigned_abs(), 0u64);
    // What follows the last value is no page: old writers had the length wrong.
    while at < end && values < all {
        let content: Buffer = bytes.from(at).map_err(|error| wrong(&error))?;
        let here = &content[..content.len().min((end - at) as usize)];
        let (header, head) = page_header(here).map_err(|error| wrong(&error))?;
        let length = usize::try_from(header.compressed).unwrap_or(usize::MAX);
        let page = here[head..]
            .get(..length)
            .ok_or_else(|| wrong(&"a page reaches over the column's end"))?;
        look(&header, page);
        at += (head + length) as u64;
        if !header.is_dictionary {
            values = values.saturating_add(header.values);
        }
    }
    Ok(())
}
