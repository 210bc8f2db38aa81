//! What the databases' errors mean for the catalog.

use std::fmt;

use sqlx::{postgres::PgDatabaseError, sqlite::SqliteError};

use crate::CatalogError;

/// An error of the database, sorted.
#[derive(Debug)]
pub(super) struct Failure {
    source: sqlx::Error,
    meaning: Meaning,
}

/// What is known of a statement that failed. All but the last: it changed nothing, and won't any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Meaning {
    /// Another process held SQLite's lock for too long.
    Locked,
    /// PostgreSQL gave the statement up in favour of another transaction.
    Overtaken,
    /// Access was refused.
    Denied,
    /// There is no such database, or the file is none.
    NoDatabase,
    /// The file can't be opened.
    CannotOpen,
    /// The disk is full.
    Full,
    /// Refused for another reason.
    Refused,
    /// A lost connection, an I/O error, a server that is going down: it may have been carried out.
    Unknown,
}

impl Failure {
    pub(super) fn new(source: sqlx::Error) -> Self {
        let meaning = match source.as_database_error() {
            None => Meaning::Unknown,
            Some(error) => {
                let code = error.code().unwrap_or_default();
                if error.try_downcast_ref::<SqliteError>().is_some() {
                    of_sqlite(&code)
                } else if error.try_downcast_ref::<PgDatabaseError>().is_some() {
                    of_postgres(&code)
                } else {
                    Meaning::Unknown
                }
            }
        };
        Self { source, meaning }
    }

    /// Whether others were faster, or in the way.
    pub(super) fn is_lost_race(&self) -> bool {
        matches!(self.meaning, Meaning::Locked | Meaning::Overtaken)
    }

    /// Whether the database says that the statement changed nothing, and won't any more.
    pub(super) fn is_certain(&self) -> bool {
        self.meaning != Meaning::Unknown
    }

    pub(super) fn into_catalog_error(self, catalog: &str) -> CatalogError {
        let catalog = catalog.to_owned();
        match self.meaning {
            Meaning::Denied => CatalogError::PermissionDenied {
                catalog,
                message: format!("the database can't be used so ({})", self.source),
            },
            Meaning::NoDatabase => CatalogError::Configuration {
                catalog,
                message: format!(
                    "there is no such database, or the file is damaged or none ({})",
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

/// By the primary result codes of <https://sqlite.org/rescode.html>. After an I/O error a journal may still have to be
/// played back, so it stays unknown.
fn of_sqlite(code: &str) -> Meaning {
    // Extended codes carry the primary one in their low byte.
    match code.parse::<i64>().map(|code| code & 0xff) {
        Ok(5 | 6) => Meaning::Locked,
        Ok(3 | 8 | 23) => Meaning::Denied,
        Ok(11 | 26) => Meaning::NoDatabase,
        Ok(13) => Meaning::Full,
        Ok(14) => Meaning::CannotOpen,
        Ok(19) => Meaning::Refused,
        _ => Meaning::Unknown,
    }
}

/// By the codes of PostgreSQL's appendix A. An error that the server reports has undone the statement, unless it says
/// that it does not know, or that it is going down, or that something inside it broke.
fn of_postgres(code: &str) -> Meaning {
    match code {
        // Serialization failure, deadlock, a lock that was not to be had in time.
        "40001" | "40P01" | "55P03" => Meaning::Overtaken,
        "42501" | "25006" => Meaning::Denied,
        "3D000" => Meaning::NoDatabase,
        "53100" => Meaning::Full,
        "40003" => Meaning::Unknown,
        code => match code.get(..2) {
            Some("28") => Meaning::Denied,
            Some("08" | "58" | "XX") | None => Meaning::Unknown,
            // Operator intervention, save for a statement that was cancelled.
            Some("57") if code != "57014" => Meaning::Unknown,
            Some(_) => Meaning::Refused,
        },
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let source = &self.source;
        match self.meaning {
            Meaning::Locked => write!(
                f,
                "the database stayed locked by another process ({source})"
            ),
            Meaning::CannotOpen => write!(f, "the database file can't be opened ({source})"),
            Meaning::Full => write!(f, "the disk is full ({source})"),
            _ => write!(f, "the database failed: {source}"),
        }
    }
}
