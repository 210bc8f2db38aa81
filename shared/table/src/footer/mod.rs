//! The footer of a Parquet file, read in one place for everybody who needs one: the engine, the commit, `verify`, `repair`.
//!
//! A footer may have been written by anybody. Before Parquet's own decoder sees it, `survey` walks over its bytes: what
//! nests deeper than any table, or claims more than there is memory for, is refused with that reason, for the decoder
//! recurses and reserves memory by what the footer claims. What old writers got wrong, and every other reader makes
//! nothing of, is mended here, so that nobody else has to know.

mod mend;
mod page;
mod page_index;
mod survey;
#[cfg(test)]
mod tests;
mod thrift;

pub use page::{PageHeader, PageLayout, page_header};
pub use page_index::{PageBounds, PagePlace, page_bounds, page_places};
pub use thrift::Malformed;

use std::{
    any::Any,
    ops::Range,
    panic::{AssertUnwindSafe, catch_unwind},
};

use bytes::Bytes as Buffer;
use icepress_model::Bytes;
use icepress_storage::{Storage, StorageError, StorageErrorKind};
use parquet::{
    errors::ParquetError,
    file::metadata::{FooterTail, ParquetMetaData, ParquetMetaDataReader},
};
use thiserror::Error;

/// How much of a file's end is asked for first: nearly all footers lie in it, and small files are in it whole.
const TAIL: u64 = 64 << 10;
/// The end of the footer: its length, and the magic number.
const FOOTER_END: usize = 8;

/// What a footer may take once decoded where no memory cap says otherwise: some hundred thousand column chunks.
pub const FOOTER_MEMORY: Bytes = Bytes::mebibytes(128);

/// Why a footer can't be had.
#[derive(Debug, Error)]
pub enum FooterError {
    /// Storage did not give it.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// The file is sound as far as can be told, and its manifest has its size wrong.
    #[error("it has {found} bytes, and the manifest says {said}")]
    OtherSize {
        /// What the manifest says, in bytes.
        said: u64,
        /// What storage says, in bytes.
        found: u64,
    },
    /// It does not end as Parquet does.
    #[error("it does not end as a Parquet file does (truncated, or not Parquet at all)")]
    NotParquet,
    /// Its footer is encrypted.
    #[error("it is encrypted: encrypted files are not read")]
    Encrypted,
    /// Its footer would take more memory than there is for it.
    #[error("its footer takes {needed} once decoded, more than the {most} that there is for it")]
    TooLarge {
        /// What it would take, about.
        needed: Bytes,
        /// What there is.
        most: Bytes,
    },
    /// It uses a part of Parquet that is not supported.
    #[error("it uses a part of Parquet that is not supported: {0}")]
    Unsupported(String),
    /// Its footer is not what it should be.
    #[error("{0}")]
    Corrupt(String),
}

/// Reads the footer of the Parquet file at `path`, which has `size` bytes as its manifest says: one ranged read of its
/// last 64 KiB, a second one where the footer is longer. The footer may take `most` once decoded.
///
/// Where the file turns out to be none, storage is asked for its true size, so that a manifest that is wrong about it is
/// told from a file that is damaged.
pub async fn read_footer(
    storage: &dyn Storage,
    path: &str,
    size: u64,
    most: Bytes,
) -> Result<ParquetMetaData, FooterError> {
    match read_at(storage, path, size, most).await {
        Err(error) if error.may_be_the_size() => {
            Err(said_wrong(storage, path, size, most).await.unwrap_or(error))
        }
        read => read,
    }
}

impl From<Malformed> for FooterError {
    fn from(malformed: Malformed) -> Self {
        Self::Corrupt(format!("its footer can't be read: {malformed}"))
    }
}

impl FooterError {
    /// Whether a manifest that is wrong about the file's size would look like this.
    fn may_be_the_size(&self) -> bool {
        match self {
            Self::NotParquet => true,
            Self::Storage(error) => error.kind == StorageErrorKind::OutOfRange,
            _ => false,
        }
    }
}

async fn read_at(
    storage: &dyn Storage,
    path: &str,
    size: u64,
    most: Bytes,
) -> Result<ParquetMetaData, FooterError> {
    let tail = storage
        .read_range(path, size.saturating_sub(TAIL)..size)
        .await?;
    let footer = footer_range(&tail, size)?;
    let length = footer.end - footer.start;
    if length > most.get() {
        return Err(FooterError::TooLarge {
            needed: Bytes(length),
            most,
        });
    }
    let here = size - tail.len() as u64;
    let footer = match footer.start.checked_sub(here) {
        Some(start) => tail.slice(start as usize..tail.len() - FOOTER_END),
        None => storage.read_range(path, footer).await?,
    };
    decode(&footer, most)
}

/// The error that says so, where storage has another size for the file than its manifest: which of the two is wrong
/// shows in whether the file ends as it should.
async fn said_wrong(
    storage: &dyn Storage,
    path: &str,
    said: u64,
    most: Bytes,
) -> Option<FooterError> {
    let found = storage.info(path).await.ok()?.size.get();
    if found == said {
        return None;
    }
    Some(match read_at(storage, path, found, most).await {
        Ok(_) => FooterError::OtherSize { said, found },
        Err(error) => cut_off(error, said, found),
    })
}

/// A file of another size than its manifest says that does not end as Parquet was cut off, or never was any.
fn cut_off(error: FooterError, said: u64, found: u64) -> FooterError {
    match error {
        FooterError::NotParquet => FooterError::Corrupt(format!(
            "it has {found} bytes, and the manifest says {said}, and it does not end as a Parquet file does"
        )),
        other => other,
    }
}

/// The footer of a Parquet file whose whole content is at hand, of `size` bytes as its manifest says; `most` as for
/// [`read_footer`].
pub fn footer_of(content: &Buffer, size: u64, most: Bytes) -> Result<ParquetMetaData, FooterError> {
    let (said, found) = (size, content.len() as u64);
    let footer = footer_range(content, found)
        .and_then(|footer| decode(&content[footer.start as usize..footer.end as usize], most));
    match footer {
        Err(error) if said != found => Err(cut_off(error, said, found)),
        Ok(_) if said != found => Err(FooterError::OtherSize { said, found }),
        footer => footer,
    }
}

/// Where the footer lies in a file of `size` bytes that ends with `tail`.
fn footer_range(tail: &[u8], size: u64) -> Result<Range<u64>, FooterError> {
    let end = tail
        .last_chunk::<FOOTER_END>()
        .ok_or(FooterError::NotParquet)?;
    let decoded = FooterTail::try_new(end).map_err(|_| FooterError::NotParquet)?;
    if decoded.is_encrypted_footer() {
        return Err(FooterError::Encrypted);
    }
    let end = size - FOOTER_END as u64;
    let start = end
        .checked_sub(decoded.metadata_length() as u64)
        .ok_or_else(|| {
            FooterError::Corrupt("its footer claims to be larger than the file".to_owned())
        })?;
    Ok(start..end)
}

fn decode(footer: &[u8], most: Bytes) -> Result<ParquetMetaData, FooterError> {
    let surveyed = survey::survey(footer, most)?;
    let footer = surveyed.corrected.as_deref().unwrap_or(footer);
    // The decoder is written for footers that make sense: a panic of it is one that does not.
    catch_unwind(AssertUnwindSafe(|| {
        let decoded = ParquetMetaDataReader::decode_metadata(footer).map_err(undecodable)?;
        mend::mended(decoded)
    }))
    .unwrap_or_else(|panic| {
        let panic = said(panic.as_ref());
        Err(FooterError::Corrupt(format!(
            "decoding its footer failed: {panic}"
        )))
    })
}

fn undecodable(error: ParquetError) -> FooterError {
    match error {
        ParquetError::NYI(what) => FooterError::Unsupported(what),
        other => FooterError::Corrupt(format!("its footer can't be read: {other}")),
    }
}

fn said(panic: &(dyn Any + Send)) -> &str {
    panic
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("the decoder gave up")
}

/// The rows of a file: the sum over its row groups, which is what readers give.
pub fn row_count(footer: &ParquetMetaData) -> u64 {
    footer
        .row_groups()
        .iter()
        .map(|group| group.num_rows().unsigned_abs())
        .sum()
}

/// Where each row group with rows begins: at its first column's dictionary, or at its first page (`split_offsets` of a
/// manifest entry).
pub fn split_offsets(footer: &ParquetMetaData) -> Vec<i64> {
    footer
        .row_groups()
        .iter()
        .filter(|group| group.num_columns() > 0 && group.num_rows() > 0)
        .map(|group| i64::try_from(group.column(0).byte_range().0).unwrap_or(i64::MAX))
        .collect()
}
