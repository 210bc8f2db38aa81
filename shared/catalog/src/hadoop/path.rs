//! Locations as Hadoop's `Path` writes them, which is what Java's lock rows are named by.

/// `location` as `Path.toString()` has it: no empty authority (`file:/x`), single slashes, none at the end. The scheme
/// stays as it was given, so writers that say `s3` and `s3a` don't exclude each other; neither do Java's.
pub(super) fn hadoop_path(location: &str) -> String {
    let (scheme, rest) = match location.split_once(':') {
        Some((scheme, rest)) if !scheme.contains('/') => (Some(scheme), rest),
        _ => (None, location),
    };
    let (authority, path) = match rest.strip_prefix("//") {
        Some(rest) => rest.split_at(rest.find('/').unwrap_or(rest.len())),
        None => ("", rest),
    };
    let mut text = String::with_capacity(location.len());
    if let Some(scheme) = scheme {
        text.push_str(scheme);
        text.push(':');
    }
    if !authority.is_empty() {
        text.push_str("//");
        text.push_str(authority);
    }
    for part in path.split('/').filter(|part| !part.is_empty()) {
        text.push('/');
        text.push_str(part);
    }
    text
}
