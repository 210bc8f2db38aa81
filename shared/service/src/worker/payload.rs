//! Plans and results: small ones lie in their row, large ones in object storage.

use bytes::Bytes as Buffer;
use icepress_coordination::Payload;
use icepress_storage::{PutMode, StorageError, StorageErrorKind, WriteOptions};
use serde::{Serialize, de::DeserializeOwned};
use thiserror::Error;

use crate::Context;

/// A payload that can't be kept or read.
#[derive(Debug, Error)]
pub(crate) enum PayloadError {
    /// Object storage failed.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// The text is not what it should be: written by another version, or damaged.
    #[error("a plan or result can't be understood (was it written by another version?): {0}")]
    Format(#[from] serde_json::Error),
}

impl PayloadError {
    /// Whether storage asked for fewer requests.
    pub(crate) fn is_throttling(&self) -> bool {
        match self {
            Self::Storage(error) => error.kind == StorageErrorKind::Throttled,
            Self::Format(_) => false,
        }
    }
}

/// Keeps a value: in the row where it is small enough, else in object storage under `name`.
pub(crate) async fn keep<T: Serialize>(
    context: &Context,
    name: &str,
    value: &T,
) -> Result<Payload, PayloadError> {
    let text = serde_json::to_string(value)?;
    let fits = text.len() as u64 <= context.settings.payload_limit.get();
    match &context.settings.payload_location {
        Some(folder) if !fits => {
            let location = format!("{}/{name}.json", folder.trim_end_matches('/'));
            // Read within minutes and gone within weeks: the default class for such is plain STANDARD.
            let options = WriteOptions {
                storage_class: Some("STANDARD".to_owned()),
                ..WriteOptions::default()
            };
            context
                .payloads
                .put(&location, Buffer::from(text), PutMode::Overwrite, &options)
                .await?;
            Ok(Payload::Stored(location))
        }
        _ => Ok(Payload::Inline(text)),
    }
}

/// Reads a value back.
pub(crate) async fn fetch<T: DeserializeOwned>(
    context: &Context,
    payload: &Payload,
) -> Result<T, PayloadError> {
    match payload {
        Payload::Inline(text) => Ok(serde_json::from_str(text)?),
        Payload::Stored(location) => {
            let content = context.payloads.read(location).await?;
            Ok(serde_json::from_slice(&content)?)
        }
    }
}
