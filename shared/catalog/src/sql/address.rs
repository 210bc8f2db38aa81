//! Where a SQL catalog's database is, from the addresses that PyIceberg (SQLAlchemy) and Java (JDBC) write.

use std::{fmt, path::PathBuf};

use icepress_model::without_login;
use sqlx::{ConnectOptions as _, postgres::PgConnectOptions};
use url::Url;

/// A database.
#[derive(Clone)]
pub(super) enum Address {
    /// A file of this machine; relative ones are relative to the working directory.
    Sqlite(PathBuf),
    /// A server.
    Postgres(Box<PgConnectOptions>),
}

/// A user's name and password that stand beside the address (Java's `jdbc.user`, `jdbc.password`).
#[derive(Clone, Copy, Default)]
pub(super) struct Login<'a> {
    pub(super) user: Option<&'a str>,
    pub(super) password: Option<&'a str>,
}

impl fmt::Debug for Address {
    /// Without the password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sqlite(file) => f.debug_tuple("Sqlite").field(file).finish(),
            Self::Postgres(options) => f
                .debug_tuple("Postgres")
                .field(&options.get_host())
                .finish(),
        }
    }
}

const EXPECTED: &str = "it should look like sqlite:////folder/catalog.db, jdbc:sqlite:/folder/catalog.db, \
                        postgresql://user@host:5432/database or jdbc:postgresql://host:5432/database";

impl Address {
    /// Takes `uri` apart. The error is a message for people, without what may be secret.
    pub(super) fn parse(uri: &str, login: Login<'_>) -> Result<Self, String> {
        if let Some(rest) = uri.strip_prefix("jdbc:sqlite:") {
            return sqlite_of_java(rest).map(Self::Sqlite);
        }
        if uri.starts_with("sqlite:") || uri.starts_with("sqlite+") {
            return sqlite_of_python(uri).map(Self::Sqlite);
        }
        let (scheme, rest) = uri.split_once("://").unwrap_or((uri, ""));
        let is_java = scheme == "jdbc:postgresql";
        // SQLAlchemy names its driver behind a plus.
        let dialect = scheme.split('+').next().unwrap_or_default();
        if is_java || matches!(dialect, "postgresql" | "postgres") {
            return postgres(rest, is_java, login).map(|options| Self::Postgres(Box::new(options)));
        }
        // No more of it: what follows may name a password.
        let java = if uri.starts_with("jdbc:") {
            "jdbc:"
        } else {
            ""
        };
        let rest = uri.strip_prefix(java).unwrap_or(uri);
        let scheme = rest.split(':').next().unwrap_or_default();
        Err(format!(
            "a SQL catalog at '{java}{scheme}:…' is not supported, only SQLite and PostgreSQL are: {EXPECTED}"
        ))
    }
}

fn sqlite_of_java(rest: &str) -> Result<PathBuf, String> {
    let file = match rest.strip_prefix("file:") {
        // SQLite itself reads these, and decodes them.
        Some(rest) => {
            let path = rest.split(['?', '#']).next().unwrap_or_default();
            percent_decoded(path.strip_prefix("//").unwrap_or(path))
        }
        None => rest.split('?').next().unwrap_or_default().to_owned(),
    };
    a_file(file, &format!("jdbc:sqlite:{rest}"))
}

fn sqlite_of_python(uri: &str) -> Result<PathBuf, String> {
    // Three slashes, then the path: four where it is absolute. SQLAlchemy decodes nothing in it.
    let (_, rest) = uri.split_once(':').unwrap_or_default();
    let path = rest.strip_prefix("///").unwrap_or_default();
    a_file(path.split('?').next().unwrap_or_default().to_owned(), uri)
}

fn a_file(file: String, uri: &str) -> Result<PathBuf, String> {
    if file.is_empty() || file.starts_with(":memory:") {
        let uri = without_login(uri);
        return Err(format!("uri '{uri}' names no file: {EXPECTED}"));
    }
    Ok(PathBuf::from(file))
}

/// What follows the scheme: libpq's parameters as SQLAlchemy passes them on, or those of Java's driver. What the
/// address leaves out comes from PostgreSQL's own variables (`PGHOST`, `PGPASSWORD`, …) and its password file.
fn postgres(rest: &str, is_java: bool, login: Login<'_>) -> Result<PgConnectOptions, String> {
    let wrong = |what: &str| format!("the uri of the PostgreSQL database {what}: {EXPECTED}");
    let mut url = Url::parse(&format!("postgresql://{rest}"))
        .map_err(|error| wrong(&format!("can't be read ({error})")))?;
    let given: Vec<(String, String)> = url.query_pairs().into_owned().collect();
    url.set_query(None);
    let mut schema = None;
    {
        let mut kept = url.query_pairs_mut();
        for (key, value) in &given {
            match key.as_str() {
                "sslmode" | "sslrootcert" | "sslcert" | "sslkey" | "host" | "hostaddr" | "port"
                | "dbname" | "user" | "password" | "application_name" | "options" => {
                    kept.append_pair(key, value);
                }
                "ApplicationName" if is_java => {
                    kept.append_pair("application_name", value);
                }
                "ssl" if is_java && value != "false" => {
                    kept.append_pair("sslmode", "verify-full");
                }
                "currentSchema" if is_java => schema = Some(value.clone()),
                // Time-outs and the like of one driver or the other.
                _ => {}
            }
        }
    }
    let has_user = !url.username().is_empty() || given.iter().any(|(key, _)| key == "user");
    let has_password = url.password().is_some() || given.iter().any(|(key, _)| key == "password");
    let mut options = PgConnectOptions::from_url(&url)
        .map_err(|error| wrong(&format!("is not right ({error})")))?;
    if let Some(schema) = schema {
        options = options.options([("search_path", schema.as_str())]);
    }
    if let (Some(user), false) = (login.user, has_user) {
        options = options.username(user);
    }
    if let (Some(password), false) = (login.password, has_password) {
        options = options.password(password);
    }
    // Statements that the server keeps by name are lost between transactions behind a pooler.
    Ok(options.statement_cache_capacity(0))
}

fn percent_decoded(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut decoded = Vec::with_capacity(bytes.len());
    let mut index = 0;
    while index < bytes.len() {
        let code = text
            .get(index + 1..index + 3)
            .filter(|_| bytes[index] == b'%')
            .and_then(|digits| u8::from_str_radix(digits, 16).ok());
        match code {
            Some(byte) => {
                decoded.push(byte);
                index += 3;
            }
            None => {
                decoded.push(bytes[index]);
                index += 1;
            }
        }
    }
    String::from_utf8_lossy(&decoded).into_owned()
}

#[cfg(test)]
mod tests;
