//! What failed requests mean.
//!
//! The specification tells the statuses of a commit apart: 409 is a lost race; 500, 502 and 504 leave it unknown. About
//! 503 it says "wait and retry", but gateways answer it as well when the connection to the server behind them breaks
//! after the request went through (and Iceberg's Java client counts it as unknown for that), so for a commit it is
//! tried again, and unknown if it stays.

use std::time::Duration;

use icepress_catalog::CatalogError;
use icepress_model::{Bytes, CatalogName, TableId, with_causes, without_login};

use crate::types::{ErrorBody, ErrorModel};

/// The longest that a server may make us wait before a retry.
const LONGEST_RETRY_AFTER: Duration = Duration::from_secs(30);
/// How much of an answer that is no error of the protocol is shown.
const SHOWN: usize = 200;

/// A request that failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Failure {
    pub(crate) kind: FailureKind,
    /// For people, with the server's own words.
    pub(crate) message: String,
    /// How long the server asks to wait.
    pub(crate) retry_after: Option<Duration>,
}

/// What is known of a request that failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FailureKind {
    /// Never sent: our own mistake, or no connection could be made.
    NotSent,
    /// 401, or credentials that can't be had: not carried out.
    NotAuthenticated,
    /// 403: not carried out.
    Denied,
    /// 404 in the protocol's own words: no such table or namespace.
    NotFound,
    /// 409: not carried out.
    Conflict,
    /// 429: not carried out.
    Busy,
    /// Any other 4xx, and answers that are none: not carried out.
    Invalid,
    /// An answer that is longer than may be read: carried out, if it was a read.
    TooLarge(Bytes),
    /// 503: perhaps not carried out.
    Unready,
    /// 5xx, a time-out, a lost answer: nobody knows.
    Unknown,
}

impl Failure {
    pub(crate) fn new(kind: FailureKind, message: impl Into<String>) -> Self {
        Self {
            kind,
            message: message.into(),
            retry_after: None,
        }
    }

    /// Of an answer with this status.
    pub(crate) fn of_answer(
        status: u16,
        retry_after: Option<&str>,
        body: &[u8],
        url: &str,
    ) -> Self {
        let model = serde_json::from_slice::<ErrorBody>(body)
            .ok()
            .map(|body| body.error);
        let kind = match (status, &model) {
            (401 | 419, _) => FailureKind::NotAuthenticated,
            (403, _) => FailureKind::Denied,
            (404, Some(_)) => FailureKind::NotFound,
            (409, _) => FailureKind::Conflict,
            (429, _) => FailureKind::Busy,
            (503, _) => FailureKind::Unready,
            (500.., _) => FailureKind::Unknown,
            // Among them a 404 that is not the protocol's: some other server's "no such page" drops no table.
            _ => FailureKind::Invalid,
        };
        let said = match model {
            Some(ErrorModel { message, kind }) => [kind, message]
                .into_iter()
                .filter(|part| !part.is_empty())
                .collect::<Vec<_>>()
                .join(": "),
            None if (300..400).contains(&status) => {
                "it redirects, which is not followed".to_owned()
            }
            None => String::from_utf8_lossy(body).chars().take(SHOWN).collect(),
        };
        let hint = match (status, kind) {
            (404, FailureKind::Invalid) => {
                ": there is no Iceberg REST catalog at this address; check uri"
            }
            _ => "",
        };
        let said = if said.is_empty() {
            said
        } else {
            format!(": {said}")
        };
        Self {
            kind,
            message: format!("{} answered {status}{said}{hint}", without_login(url)),
            retry_after: retry_after
                .and_then(|text| text.trim().parse().ok())
                .map(|seconds| Duration::from_secs(seconds).min(LONGEST_RETRY_AFTER)),
        }
    }

    /// Of a request without an answer.
    pub(crate) fn of_error(error: &reqwest::Error) -> Self {
        let kind = if error.is_builder() || error.is_connect() {
            FailureKind::NotSent
        } else {
            FailureKind::Unknown
        };
        Self::new(kind, with_causes(error))
    }

    /// The same with the address in front, where the message does not have it.
    pub(crate) fn about(mut self, url: &str) -> Self {
        if !self.message.contains(url) {
            self.message = format!("{url}: {}", self.message);
        }
        self
    }

    /// The same, of what had to be done first: the request itself was not sent, whatever became of that.
    pub(crate) fn before_sending(mut self) -> Self {
        if self.leaves_doubt() {
            self.kind = FailureKind::NotSent;
        }
        self
    }

    /// Whether the same read may succeed a moment later.
    pub(crate) fn is_passing(&self) -> bool {
        matches!(
            self.kind,
            FailureKind::NotSent | FailureKind::Busy | FailureKind::Unready | FailureKind::Unknown
        )
    }

    /// Whether what was asked for may have been done.
    pub(crate) fn leaves_doubt(&self) -> bool {
        matches!(self.kind, FailureKind::Unready | FailureKind::Unknown)
    }

    pub(crate) fn into_catalog_error(self, catalog: &CatalogName) -> CatalogError {
        let catalog = catalog.to_string();
        match self.kind {
            FailureKind::NotAuthenticated | FailureKind::Denied => CatalogError::PermissionDenied {
                catalog,
                message: self.message,
            },
            // A read that is answered so is to be asked again later. Commits are sorted before they come here.
            FailureKind::Busy | FailureKind::Unready => CatalogError::Throttled {
                catalog,
                message: self.message,
            },
            _ => CatalogError::Unavailable {
                catalog,
                message: self.message,
                source: None,
            },
        }
    }

    /// The same, about one table.
    pub(crate) fn into_table_error(self, table: &TableId) -> CatalogError {
        match self.kind {
            FailureKind::NotFound => CatalogError::NoSuchTable(table.clone()),
            FailureKind::TooLarge(most) => CatalogError::TooLarge {
                table: table.clone(),
                most,
            },
            _ => self.into_catalog_error(&table.catalog),
        }
    }
}

#[cfg(test)]
mod tests;
