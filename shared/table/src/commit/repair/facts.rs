//! What is so of a table's files, whatever manifests say: asked of storage and of the files' own ends.

use std::collections::HashMap;

use futures::{FutureExt as _, StreamExt as _, stream};
use icepress_storage::{Storage, StorageError, StorageErrorKind};

use super::{Unrepairable, WholeManifest};
use crate::{
    footer::{FOOTER_MEMORY, FooterError, read_footer, row_count, split_offsets},
    manifests::{FileFormat, TrackedFile},
    vectors::decode_vector,
};

/// How many files are asked for at a time.
const ASKED_AT_ONCE: usize = 32;

/// What tells one file from another: its path, and the offset where vectors share one.
pub(super) type Identity = (String, Option<u64>);

pub(super) fn identity(file: &TrackedFile) -> Identity {
    let (path, offset) = file.identity();
    (path.to_owned(), offset)
}

/// What asking for a file came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Found {
    /// It is sound.
    Sound(FileFacts),
    /// It is not, or that can't be told.
    Unclear(Unrepairable),
}

/// What is so of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct FileFacts {
    pub(super) size: u64,
    pub(super) rows: u64,
    /// Where its row groups begin; `None` where it has none.
    pub(super) row_groups: Option<Vec<i64>>,
}

/// Asks for every live file once.
pub(super) async fn ask_for_all(
    storage: &dyn Storage,
    whole: &[WholeManifest],
    progress: &(dyn Fn(u64, u64) + Sync),
) -> HashMap<Identity, Found> {
    let mut files: HashMap<Identity, &TrackedFile> = HashMap::new();
    for entry in whole.iter().flat_map(|whole| &whole.manifest.entries) {
        files.entry(identity(&entry.file)).or_insert(&entry.file);
    }
    let all = files.len() as u64;
    progress(0, all);
    let mut facts = HashMap::with_capacity(files.len());
    // Boxed one by one: else the compiler can't tell that the whole may move between threads.
    let mut asked = Vec::with_capacity(files.len());
    for (identity, file) in files {
        asked.push(async move { (identity, ask_for(storage, file).await) }.boxed());
    }
    let mut asked = stream::iter(asked).buffer_unordered(ASKED_AT_ONCE);
    while let Some((identity, found)) = asked.next().await {
        facts.insert(identity, found);
        progress(facts.len() as u64, all);
    }
    facts
}

async fn ask_for(storage: &dyn Storage, file: &TrackedFile) -> Found {
    let unclear = |what: String, advice: &str| {
        Found::Unclear(Unrepairable {
            file: file.path.clone(),
            what,
            advice: advice.to_owned(),
        })
    };
    let size = match storage.info(&file.path).await {
        Ok(info) => info.size.get(),
        Err(error) => {
            let (what, advice) = of_storage(&error);
            return unclear(what, advice);
        }
    };
    match file.format {
        FileFormat::Parquet => match read_footer(storage, &file.path, size, FOOTER_MEMORY).await {
            Ok(footer) => Found::Sound(FileFacts {
                size,
                rows: row_count(&footer),
                row_groups: Some(split_offsets(&footer)),
            }),
            Err(error) => {
                let (what, advice) = of_footer_error(&error, file.size, size);
                unclear(what, advice)
            }
        },
        FileFormat::Puffin => match rows_of_vector(storage, file).await {
            Ok(rows) => Found::Sound(FileFacts {
                size,
                rows,
                row_groups: None,
            }),
            Err(what) => unclear(what, DAMAGED),
        },
        // Nothing in reach says how many rows they have.
        FileFormat::Avro | FileFormat::Orc if size == file.size => Found::Sound(FileFacts {
            size,
            rows: file.rows,
            row_groups: None,
        }),
        FileFormat::Avro | FileFormat::Orc => unclear(
            format!(
                "it has {size} bytes and its manifest says {}; whether it is whole can't be told of {} files",
                file.size,
                file.format.name()
            ),
            "read it with its writer; if it is whole, rewrite it there",
        ),
    }
}

const DAMAGED: &str = "restore the file from a backup or from an older version of the object; until then its rows can't be read";
const MISSING: &str = "restore the file from a backup, or undelete the object where its bucket keeps versions; it stays in the table until then";

fn of_storage(error: &StorageError) -> (String, &'static str) {
    match error.kind {
        StorageErrorKind::NotFound => ("it is not there".to_owned(), MISSING),
        StorageErrorKind::PermissionDenied => (
            error.to_string(),
            "give whoever repairs the right to read it, then ask again",
        ),
        StorageErrorKind::Archived => (
            error.to_string(),
            "restore it from its archive tier, then ask again",
        ),
        _ => (error.to_string(), "ask again"),
    }
}

fn of_footer_error(error: &FooterError, said: u64, size: u64) -> (String, &'static str) {
    match error {
        FooterError::Storage(error) => of_storage(error),
        FooterError::NotParquet if size < said => (
            format!("it is cut short: {size} bytes are there of the {said} that its manifest says"),
            DAMAGED,
        ),
        FooterError::Encrypted | FooterError::TooLarge { .. } | FooterError::Unsupported(_) => (
            error.to_string(),
            "what its manifest says of it can't be held against it",
        ),
        FooterError::NotParquet | FooterError::OtherSize { .. } | FooterError::Corrupt(_) => {
            (error.to_string(), DAMAGED)
        }
    }
}

async fn rows_of_vector(storage: &dyn Storage, file: &TrackedFile) -> Result<u64, String> {
    let (offset, length) = file.blob.ok_or("it does not say where its vector lies")?;
    let end = offset
        .checked_add(length)
        .ok_or("its vector lies beyond the end of any file")?;
    let blob = storage
        .read_range(&file.path, offset..end)
        .await
        .map_err(|error| error.to_string())?;
    Ok(decode_vector(&blob)?.len())
}
