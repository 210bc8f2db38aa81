//! Failures of the engine: from whatever went wrong to a kind and one clear line.
//!
//! Inside the engine a failure names the file; the table's name is put before it once, at the entry points.

use std::any::Any;

use icepress_model::{RewriteFailure, RewriteFailureKind};
use icepress_storage::{StorageError, StorageErrorKind};
use icepress_table::footer::FooterError;
use parquet::errors::ParquetError;

/// What the engine's own functions return.
pub(crate) type Result<T> = std::result::Result<T, RewriteFailure>;

/// A failure of a kind.
pub(crate) fn failure(kind: RewriteFailureKind, message: String) -> RewriteFailure {
    RewriteFailure { kind, message }
}

/// A file whose content is not what it should be.
pub(crate) fn corrupt(path: &str, what: impl std::fmt::Display) -> RewriteFailure {
    failure(
        RewriteFailureKind::CorruptFile,
        format!(
            "{path} is corrupt: {what}; the table is left as it is until the file is restored from a copy"
        ),
    )
}

/// A file that its manifest describes wrongly, and that is sound as far as can be told.
pub(crate) fn differs(path: &str, what: impl std::fmt::Display) -> RewriteFailure {
    failure(
        RewriteFailureKind::CorruptFile,
        format!(
            "{path} is not what its manifest says: {what}; the file itself can be read: `icepress repair` writes \
             manifests that agree with their files"
        ),
    )
}

/// Something that is not rewritten.
pub(crate) fn unsupported(what: impl std::fmt::Display) -> RewriteFailure {
    failure(RewriteFailureKind::Unsupported, what.to_string())
}

/// More memory than the cap allows.
pub(crate) fn over_memory(what: impl std::fmt::Display) -> RewriteFailure {
    failure(RewriteFailureKind::OverMemory, what.to_string())
}

/// A read that failed.
pub(crate) fn from_read(error: &StorageError, path: &str) -> RewriteFailure {
    let kind = match error.kind {
        StorageErrorKind::NotFound => RewriteFailureKind::FileVanished,
        StorageErrorKind::PermissionDenied => RewriteFailureKind::PermissionDenied,
        StorageErrorKind::Archived => RewriteFailureKind::Archived,
        StorageErrorKind::OutOfRange => {
            return corrupt(path, "it is shorter than the manifest says");
        }
        StorageErrorKind::InvalidLocation | StorageErrorKind::NotAllowed => {
            RewriteFailureKind::Unsupported
        }
        StorageErrorKind::Throttled => RewriteFailureKind::Throttled,
        StorageErrorKind::AlreadyExists | StorageErrorKind::Other => RewriteFailureKind::Transient,
    };
    failure(kind, error.to_string())
}

/// A footer that can't be had.
pub(crate) fn from_footer(error: &FooterError, path: &str) -> RewriteFailure {
    match error {
        FooterError::Storage(error) => from_read(error, path),
        FooterError::OtherSize { .. } => differs(path, error),
        FooterError::NotParquet => match other_format(path) {
            Some(format) => unsupported(format!("{path} is {format}: only Parquet is read")),
            None => corrupt(path, error),
        },
        FooterError::Encrypted | FooterError::Unsupported(_) => {
            unsupported(format!("{path} is not rewritten: {error}"))
        }
        FooterError::TooLarge { .. } => over_memory(format!(
            "{path} can't be opened: {error}: give the optimizer more memory"
        )),
        FooterError::Corrupt(_) => corrupt(path, error),
    }
}

/// What a file is by its name, if that is something else than Parquet.
fn other_format(path: &str) -> Option<&'static str> {
    [(".avro", "Avro"), (".orc", "ORC")]
        .into_iter()
        .find_map(|(ending, format)| path.ends_with(ending).then_some(format))
}

/// A write that failed. A missing bucket is no vanished input: only a refused permission is told apart.
pub(crate) fn from_write(error: &StorageError) -> RewriteFailure {
    let kind = match error.kind {
        StorageErrorKind::PermissionDenied => RewriteFailureKind::PermissionDenied,
        StorageErrorKind::InvalidLocation | StorageErrorKind::NotAllowed => {
            RewriteFailureKind::Unsupported
        }
        StorageErrorKind::Throttled => RewriteFailureKind::Throttled,
        _ => RewriteFailureKind::Transient,
    };
    failure(kind, error.to_string())
}

/// Parquet that can't be decoded.
pub(crate) fn from_decode(error: &ParquetError, path: &str) -> RewriteFailure {
    match error {
        ParquetError::NYI(what) => unsupported(format!(
            "{path} uses a part of Parquet that is not supported: {what}"
        )),
        other => corrupt(path, other),
    }
}

/// Runs a decoder over bytes that anybody may have written: a panic of the decoder is a corrupt file, not a crash.
pub(crate) fn guarded<T>(path: &str, decode: impl FnOnce() -> Result<T>) -> Result<T> {
    std::panic::catch_unwind(std::panic::AssertUnwindSafe(decode)).unwrap_or_else(|panic| {
        Err(corrupt(
            path,
            format_args!("decoding it failed: {}", said(panic.as_ref())),
        ))
    })
}

fn said(panic: &(dyn Any + Send)) -> &str {
    panic
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("the decoder gave up")
}
