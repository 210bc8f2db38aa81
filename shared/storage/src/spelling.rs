//! One spelling for all ways to write where something lies.

use crate::{
    location::Location,
    reach::{decoded, parts},
};

/// One text for every way in which engines write the location of one object: `s3`, `s3a` and `s3n`, `file:` with any number
/// of slashes and without, doubled slashes, `.` and `..`, and what is percent-encoded.
///
/// To S3 some of these are several objects, and nobody can ask for one by this text. It is for those who must not miss that
/// two locations may be the same: two that are the same object always have one text.
pub fn one_spelling(location: &str) -> String {
    let (place, path) = match Location::parse(location, "compare") {
        Ok(Location::S3 { bucket, key, .. }) => (bucket, key),
        Ok(Location::Local { path, .. }) => ("", path),
        // Not ours to serve, and the same only to itself.
        Err(_) => return location.to_owned(),
    };
    let is_plain = !path.contains('%')
        && !path.contains("//")
        && !path.contains("/.")
        && !path.starts_with('.')
        && !path.ends_with('/');
    if is_plain {
        return format!("{place}/{}", path.trim_start_matches('/'));
    }
    format!("{place}/{}", parts(&decoded(path), false).join("/"))
}

/// Whether `location` is the folder `place` or lies in it, in any of the ways to write either. For those who must not miss
/// that it may.
pub fn lies_within(location: &str, place: &str) -> bool {
    let (location, place) = (one_spelling(location), one_spelling(place));
    let place = place.trim_end_matches('/');
    location
        .strip_prefix(place)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

#[cfg(test)]
mod tests;
