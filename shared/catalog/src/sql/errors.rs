//! What SQLite's errors mean for the catalog.

use std::fmt;

use crate::CatalogError;

/// An error of the database, sorted.
#[derive(Debug)]
pub(super) struct Failure {
    source: sqlx::Error,
    /// SQLite's primary result code, where the error is SQLite's own.
    code: Option<i64>,
}

// The primary result codes of https://sqlite.org/rescode.html that are told apart here.
const PERM: i64 = 3;
const BUSY: i64 = 5;
const LOCKED: i64 = 6;
const READONLY: i64 = 8;
const CORRUPT: i64 = 11;
const FULL: i64 = 13;
const CANTOPEN: i64 = 14;
const CONSTRAINT: i64 = 19;
const AUTH: i64 = 23;
const NOTADB: i64 = 26;

impl Failure {
    pub(super) fn new(source: sqlx::Error) -> Self {
        let code = source
            .as_database_error()
            .and_then(|error| error.code())
            // Extended codes carry the primary one in their low byte.
            .and_then(|code| code.parse::<i64>().ok())
            .map(|code| code & 0xff);
        Self { source, code }
    }

    /// Whether another process held its lock for too long.
    pub(super) fn is_lock(&self) -> bool {
        matches!(self.code, Some(BUSY | LOCKED))
    }

    /// Whether SQLite says that the statement changed nothing, and won't any more. After an I/O error a journal may
    /// still have to be played back.
    pub(super) fn is_certain(&self) -> bool {
        matches!(
            self.code,
            Some(
                PERM | BUSY
                    | LOCKED
                    | READONLY
                    | CORRUPT
                    | FULL
                    | CANTOPEN
                    | CONSTRAINT
                    | AUTH
                    | NOTADB
            )
        )
    }

    pub(super) fn into_catalog_error(self, catalog: &str) -> CatalogError {
        let catalog = catalog.to_owned();
        match self.code {
            Some(PERM | READONLY | AUTH) => CatalogError::PermissionDenied {
                catalog,
                message: format!("the database file can't be written ({})", self.source),
            },
            Some(CORRUPT | NOTADB) => CatalogError::Configuration {
                catalog,
                message: format!(
                    "the file is damaged or no SQLite database ({})",
                    self.source
                ),
            },
            _ => CatalogError::Unavailable {
                catalog,
                message: self.to_string(),
                source: Some(Box::new(self.source)),
            },
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.code {
            Some(BUSY | LOCKED) => write!(
                f,
                "the database stayed locked by another process ({})",
                self.source
            ),
            Some(CANTOPEN) => write!(f, "the database file can't be opened ({})", self.source),
            Some(FULL) => write!(f, "the disk is full ({})", self.source),
            _ => write!(f, "the database failed: {}", self.source),
        }
    }
}
