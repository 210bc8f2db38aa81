//! Where a location points to: a local path, or a bucket and key.
//!
//! Nothing is decoded or cleaned up: `%20`, `#`, `?` and double slashes are part of the name, because that is how
//! Iceberg's Java and Python clients name the files that they write. (RFC 8089 would decode a `file:` URI; Hadoop's
//! `Path`, which Java's local file I/O goes through, does not.)

use std::path::PathBuf;

use crate::{StorageError, StorageErrorKind};

/// A location, taken apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Location<'a> {
    /// A file of this machine.
    Local {
        /// What precedes the path: empty, `file:` or `file://`.
        prefix: &'a str,
        /// The absolute path.
        path: &'a str,
    },
    /// An object on S3.
    S3 {
        /// `s3://`, `s3a://` or `s3n://`.
        scheme: &'a str,
        /// The bucket.
        bucket: &'a str,
        /// The key; may be empty for a prefix.
        key: &'a str,
    },
}

impl<'a> Location<'a> {
    /// Takes `location` apart; `action` only names what was tried in the error.
    pub(crate) fn parse(location: &'a str, action: &'static str) -> Result<Self, StorageError> {
        for scheme in ["s3://", "s3a://", "s3n://"] {
            if let Some(rest) = strip_scheme(location, scheme) {
                let (bucket, key) = rest.split_once('/').unwrap_or((rest, ""));
                if bucket.is_empty() {
                    return Err(invalid(location, action, "it names no bucket"));
                }
                return Ok(Self::S3 {
                    scheme: &location[..scheme.len()],
                    bucket,
                    key,
                });
            }
        }
        for prefix in ["file://localhost/", "file:///", "file:/", "/"] {
            if strip_scheme(location, prefix).is_some() {
                if prefix == "file:/" && location.as_bytes().get(6) == Some(&b'/') {
                    // `file://host/path`
                    return Err(invalid(
                        location,
                        action,
                        "a file location names a path of this machine, as in file:///path",
                    ));
                }
                let (prefix, path) = location.split_at(prefix.len() - 1);
                return Ok(Self::Local { prefix, path });
            }
        }
        Err(invalid(
            location,
            action,
            "known are s3://bucket/key (s3a, s3n), file:///path and absolute paths",
        ))
    }

    /// The local path, or an error.
    pub(crate) fn local(location: &'a str, action: &'static str) -> Result<PathBuf, StorageError> {
        match Self::parse(location, action)? {
            Self::Local { path, .. } => Ok(PathBuf::from(path)),
            Self::S3 { .. } => Err(invalid(location, action, "it is not a local file")),
        }
    }

    /// The bucket and key, or an error.
    pub(crate) fn s3(
        location: &'a str,
        action: &'static str,
    ) -> Result<(&'a str, &'a str), StorageError> {
        match Self::parse(location, action)? {
            Self::S3 { bucket, key, .. } => Ok((bucket, key)),
            Self::Local { .. } => Err(invalid(location, action, "it does not lie on S3")),
        }
    }
}

/// `location` without `scheme`, which is compared without regard to case.
fn strip_scheme<'a>(location: &'a str, scheme: &str) -> Option<&'a str> {
    let head = location.get(..scheme.len())?;
    head.eq_ignore_ascii_case(scheme)
        .then(|| &location[scheme.len()..])
}

pub(crate) fn invalid(
    location: &str,
    action: &'static str,
    why: impl Into<String>,
) -> StorageError {
    StorageError {
        kind: StorageErrorKind::InvalidLocation,
        action,
        location: location.to_owned(),
        source: Some(why.into().into()),
    }
}

#[cfg(test)]
mod tests;
