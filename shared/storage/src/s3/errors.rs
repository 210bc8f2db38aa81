//! What S3's errors mean for callers.

use std::error::Error;

use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use icepress_model::with_causes;

use crate::{StorageError, StorageErrorKind};

/// Who failed, for messages.
#[derive(Debug, Clone, Copy)]
pub(super) struct Request<'a> {
    pub(super) action: &'static str,
    pub(super) location: &'a str,
    /// The region that the client uses.
    pub(super) region: Option<&'a str>,
}

impl Request<'_> {
    pub(super) fn error(&self, kind: StorageErrorKind, message: impl Into<String>) -> StorageError {
        StorageError {
            kind,
            action: self.action,
            location: self.location.to_owned(),
            source: Some(message.into().into()),
        }
    }

    /// What became of a request that failed.
    pub(super) fn failed<E>(&self, error: &SdkError<E, HttpResponse>) -> StorageError
    where
        E: ProvideErrorMetadata + Error + 'static,
    {
        let Some(response) = error.raw_response() else {
            return self.error(StorageErrorKind::Other, with_causes(error));
        };
        let status = response.status().as_u16();
        let code = error
            .as_service_error()
            .and_then(ProvideErrorMetadata::code);
        let message = error
            .as_service_error()
            .and_then(ProvideErrorMetadata::message);
        let their_region = response.headers().get("x-amz-bucket-region");
        if is_wrong_region(status, code)
            && let Some(message) = self.explain_region(their_region, message)
        {
            return self.error(StorageErrorKind::Other, message);
        }
        let mut text = match (code, message) {
            (None, None) => format!("HTTP status {status}"),
            (code, message) => [code, message]
                .into_iter()
                .flatten()
                .collect::<Vec<_>>()
                .join(": "),
        };
        if error.as_service_error().is_none() {
            text = format!("{text}: {}", with_causes(error));
        }
        self.error(kind_of(status, code), text)
    }

    fn explain_region(&self, header: Option<&str>, message: Option<&str>) -> Option<String> {
        // "The authorization header is malformed; the region 'a' is wrong; expecting 'b'"
        let in_message = || message?.split("expecting '").nth(1)?.split('\'').next();
        let theirs = header.or_else(in_message)?;
        let ours = self.region?;
        (ours != theirs).then(|| {
            format!(
                "the bucket lies in region {theirs}, but {ours} was asked: set client.region (or AWS_REGION) to {theirs}"
            )
        })
    }
}

fn is_wrong_region(status: u16, code: Option<&str>) -> bool {
    matches!(status, 301 | 307 | 400)
        && matches!(
            code,
            None | Some(
                "PermanentRedirect"
                    | "TemporaryRedirect"
                    | "AuthorizationHeaderMalformed"
                    | "MovedPermanently"
                    | "BadRequest"
            )
        )
}

/// The kind by S3's code, which says more, else by the HTTP status: answers to HEAD have nothing else.
pub(super) fn kind_of(status: u16, code: Option<&str>) -> StorageErrorKind {
    match code.unwrap_or_default() {
        "NoSuchKey" | "NoSuchBucket" | "NotFound" => StorageErrorKind::NotFound,
        "InvalidObjectState" | "ObjectNotInActiveTierError" => StorageErrorKind::Archived,
        "AccessDenied"
        | "AllAccessDisabled"
        | "InvalidAccessKeyId"
        | "SignatureDoesNotMatch"
        | "ExpiredToken"
        | "InvalidToken"
        | "AccountProblem" => StorageErrorKind::PermissionDenied,
        "SlowDown"
        | "ServiceUnavailable"
        | "Throttling"
        | "ThrottlingException"
        | "RequestLimitExceeded"
        | "TooManyRequests"
        | "Busy" => StorageErrorKind::Throttled,
        "PreconditionFailed" => StorageErrorKind::AlreadyExists,
        "InvalidRange" => StorageErrorKind::OutOfRange,
        "InvalidBucketName" | "KeyTooLongError" => StorageErrorKind::InvalidLocation,
        _ => match status {
            403 => StorageErrorKind::PermissionDenied,
            404 => StorageErrorKind::NotFound,
            412 => StorageErrorKind::AlreadyExists,
            416 => StorageErrorKind::OutOfRange,
            429 | 503 => StorageErrorKind::Throttled,
            _ => StorageErrorKind::Other,
        },
    }
}

#[cfg(test)]
mod tests;
