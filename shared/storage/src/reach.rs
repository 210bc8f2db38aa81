//! Where a storage may go: the kinds of storage, and the places in them, that its owner allows.
//!
//! [`StorageRouter`](crate::StorageRouter) asks before every request, reads and deletes included, so that nothing that a
//! table's metadata says leads elsewhere. Places are compared part by part: `s3://lake/sales` holds `s3://lake/sales/x`
//! and not `s3://lake/sales2`. `s3`, `s3a` and `s3n` mean the same; `..` is followed; and a location that would lie
//! somewhere else if its percent signs were decoded must lie within in both readings, since somebody behind us may
//! decode it.

use percent_encoding::percent_decode_str;

use crate::{StorageError, StorageErrorKind, location::Location};

/// Where a storage may go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reach {
    local: bool,
    s3: bool,
    /// `None`: anywhere in those kinds.
    within: Option<Vec<Folder>>,
}

/// A folder, or what begins with a bucket.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Folder {
    /// `None` on a local disk.
    bucket: Option<String>,
    /// The parts of the path as they stand.
    written: Vec<String>,
    /// The same with everything decoded that can be.
    decoded: Vec<String>,
}

impl Reach {
    /// S3, and no local disk.
    pub fn s3() -> Self {
        Self {
            local: false,
            s3: true,
            within: None,
        }
    }

    /// The local disk, and no S3.
    pub fn local() -> Self {
        Self {
            local: true,
            s3: false,
            within: None,
        }
    }

    /// Both.
    pub fn everywhere() -> Self {
        Self {
            local: true,
            s3: true,
            within: None,
        }
    }

    /// The same, in these places alone. Fails where one of them is no location.
    pub fn within<'a>(
        self,
        places: impl IntoIterator<Item = &'a str>,
    ) -> Result<Self, StorageError> {
        let places = places.into_iter().map(|place| Folder::of(place, "allow"));
        Ok(Self {
            within: Some(places.collect::<Result<_, _>>()?),
            ..self
        })
    }

    /// Whether `location` lies where this may go.
    pub fn holds(&self, location: &str) -> bool {
        self.check(location, "look at").is_ok()
    }

    /// Whether `location` lies where this may go; `action` only names what was tried in the error.
    pub(crate) fn check(&self, location: &str, action: &'static str) -> Result<(), StorageError> {
        let refused = |why: &str| {
            Err(StorageError {
                kind: StorageErrorKind::NotAllowed,
                action,
                location: location.to_owned(),
                source: Some(why.into()),
            })
        };
        match Location::parse(location, action)? {
            Location::Local { .. } if !self.local => {
                return refused("the catalog's files lie on S3, and this is a local disk");
            }
            Location::S3 { .. } if !self.s3 => {
                return refused("the catalog's files lie on a local disk, and this is S3");
            }
            _ => {}
        }
        let Some(within) = &self.within else {
            return Ok(());
        };
        let place = Folder::of(location, action)?;
        if within.iter().any(|allowed| allowed.holds(&place)) {
            Ok(())
        } else {
            refused("none of the catalog's allowed-locations holds it")
        }
    }
}

impl Folder {
    fn of(location: &str, action: &'static str) -> Result<Self, StorageError> {
        let (bucket, path) = match Location::parse(location, action)? {
            Location::Local { path, .. } => (None, path),
            Location::S3 { bucket, key, .. } => (Some(bucket.to_owned()), key),
        };
        // To a disk, two slashes are one. To S3 they have an empty name between them.
        let keeps_empty = bucket.is_some();
        Ok(Self {
            written: parts(path, keeps_empty),
            decoded: parts(&decoded(path), keeps_empty),
            bucket,
        })
    }

    fn holds(&self, other: &Self) -> bool {
        self.bucket == other.bucket
            && other.written.starts_with(&self.written)
            && other.decoded.starts_with(&self.decoded)
    }
}

/// The parts of a path, with `.` and `..` followed. What climbs above the root stays there.
pub(crate) fn parts(path: &str, keeps_empty: bool) -> Vec<String> {
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "." => {}
            ".." => {
                // Whoever follows `..` may well join slashes first.
                while parts.last().is_some_and(|last| last.is_empty()) {
                    parts.pop();
                }
                parts.pop();
            }
            "" if !keeps_empty => {}
            part => parts.push(part),
        }
    }
    // The slash at the end of a folder's name.
    while parts.last().is_some_and(|last| last.is_empty()) {
        parts.pop();
    }
    parts.into_iter().map(str::to_owned).collect()
}

/// The path with everything decoded that can be, also what was encoded twice.
pub(crate) fn decoded(path: &str) -> String {
    let mut now = path.to_owned();
    loop {
        let next = percent_decode_str(&now).decode_utf8_lossy().into_owned();
        if next == now {
            return now;
        }
        now = next;
    }
}

#[cfg(test)]
mod tests;
