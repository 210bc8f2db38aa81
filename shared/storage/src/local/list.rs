//! Listing of local files in the order that S3 has: by the bytes of the whole path, page by page.

use std::{cmp::Ordering, fs, io, path::Path};

use icepress_model::Bytes;

use super::modified;
use crate::{ListPage, ListedObject};

/// A folder or a file that is still to be visited.
struct Entry {
    /// The whole path; of a folder with a slash at its end, which is how it sorts among its siblings.
    path: String,
    is_folder: bool,
}

/// The names of the folders in a folder; links to folders are folders.
pub(super) fn folders(folder: &Path) -> io::Result<Vec<String>> {
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error)
            if matches!(
                error.kind(),
                io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
            ) =>
        {
            return Ok(Vec::new());
        }
        Err(error) => return Err(error),
    };
    let mut names = Vec::new();
    for entry in entries {
        let entry = entry?;
        let is_folder = fs::metadata(entry.path()).is_ok_and(|metadata| metadata.is_dir());
        if let (true, Ok(name)) = (is_folder, entry.file_name().into_string()) {
            names.push(name);
        }
    }
    names.sort_unstable();
    Ok(names)
}

/// Up to `size` files whose path begins with `path_prefix`, after `after`. Their locations begin with `scheme`.
///
/// Names that are not UTF-8 can't be said in a table's metadata, and are left out.
pub(super) fn page(
    scheme: &str,
    path_prefix: &str,
    after: Option<&str>,
    size: usize,
) -> io::Result<ListPage> {
    let folder = match path_prefix.rfind('/') {
        Some(slash) => &path_prefix[..=slash],
        None => "/",
    };
    let mut objects = Vec::new();
    // What is to be visited, the next one last.
    let mut open = entries(folder, |path| path.starts_with(path_prefix))?;
    while let Some(entry) = open.pop() {
        if after.is_some_and(|after| is_before(&entry, after)) {
            continue;
        }
        if entry.is_folder {
            open.append(&mut entries(&entry.path, |_| true)?);
            continue;
        }
        if objects.len() == size {
            let next = objects
                .last()
                .map(|last: &ListedObject| last.location[scheme.len()..].to_owned());
            return Ok(ListPage { objects, next });
        }
        match fs::metadata(&entry.path) {
            Ok(metadata) => objects.push(ListedObject {
                location: format!("{scheme}{}", entry.path),
                size: Bytes(metadata.len()),
                modified: modified(&metadata),
            }),
            // Deleted meanwhile, or a link to nowhere.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    Ok(ListPage {
        objects,
        next: None,
    })
}

/// Whether nothing of `entry` comes after the path `after`.
fn is_before(entry: &Entry, after: &str) -> bool {
    if entry.is_folder && after.starts_with(&entry.path) {
        return false;
    }
    entry.path.as_str().cmp(after) != Ordering::Greater
}

/// What is in `folder` (which ends with a slash), in falling order. A folder that is not there is empty, as a prefix
/// without objects is.
fn entries(folder: &str, wanted: impl Fn(&str) -> bool) -> io::Result<Vec<Entry>> {
    let read = match fs::read_dir(Path::new(folder)) {
        Ok(read) => read,
        Err(error)
            if matches!(
                error.kind(),
                io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
            ) =>
        {
            return Ok(Vec::new());
        }
        Err(error) => return Err(error),
    };
    let mut entries = Vec::new();
    for entry in read {
        let entry = entry?;
        let Ok(name) = entry.file_name().into_string() else {
            continue;
        };
        let file_type = entry.file_type()?;
        // A link to a folder is not followed (it could lead in a circle), one to a file is a file.
        let is_link_to_folder = file_type.is_symlink() && entry.path().is_dir();
        if is_link_to_folder {
            continue;
        }
        let slash = if file_type.is_dir() { "/" } else { "" };
        let path = format!("{folder}{name}{slash}");
        // A folder can also lie above what is wanted only where the prefix ends in its name.
        if wanted(&path) {
            entries.push(Entry {
                path,
                is_folder: file_type.is_dir(),
            });
        }
    }
    entries.sort_unstable_by(|left, right| right.path.cmp(&left.path));
    Ok(entries)
}
