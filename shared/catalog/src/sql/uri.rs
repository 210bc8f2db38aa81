//! Where a SQL catalog's database lies, from the addresses that PyIceberg (SQLAlchemy) and Java (JDBC) write.

use std::path::PathBuf;

/// The SQLite file of `uri`; relative ones are relative to the working directory. The error is a message for people.
pub(crate) fn sqlite_file(uri: &str) -> Result<PathBuf, String> {
    let expected =
        "it should look like sqlite:////folder/catalog.db or jdbc:sqlite:/folder/catalog.db";
    let file = if let Some(rest) = uri.strip_prefix("jdbc:sqlite:") {
        match rest.strip_prefix("file:") {
            // SQLite itself reads these, and decodes them.
            Some(rest) => {
                let path = rest.split(['?', '#']).next().unwrap_or_default();
                percent_decoded(path.strip_prefix("//").unwrap_or(path))
            }
            None => rest.split('?').next().unwrap_or_default().to_owned(),
        }
    } else if uri.starts_with("sqlite:") || uri.starts_with("sqlite+") {
        // Three slashes, then the path: four where it is absolute. SQLAlchemy decodes nothing in it.
        let (_, rest) = uri.split_once(':').unwrap_or_default();
        let Some(path) = rest.strip_prefix("///") else {
            return Err(format!("uri '{uri}' names no file: {expected}"));
        };
        path.split('?').next().unwrap_or_default().to_owned()
    } else {
        let scheme = uri.split("//").next().unwrap_or_default();
        return Err(format!(
            "a SQL catalog at '{scheme}…' is not supported yet, only SQLite is: {expected}"
        ));
    };
    if file.is_empty() || file.starts_with(":memory:") {
        return Err(format!("uri '{uri}' names no file: {expected}"));
    }
    Ok(PathBuf::from(file))
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
