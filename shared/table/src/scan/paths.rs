//! Paths, kept close together: one copy of each folder, and the names behind it.

use std::collections::HashMap;

use xxhash_rust::xxh3::xxh3_64;

/// A path in a [`Paths`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct PathRef {
    name_at: u64,
    name_length: u32,
    folder: u32,
}

/// Many paths, of few folders. A table's paths repeat its location and its partitions' folders in each of them; here
/// a path takes 16 bytes and its own name.
#[derive(Debug, Default)]
pub(crate) struct Paths {
    names: Vec<u8>,
    folders: Vec<Box<str>>,
    folder_by_hash: HashMap<u64, u32>,
    /// Files of a folder come one after the other: most look-ups end here.
    last_folder: u32,
}

impl Paths {
    pub(crate) fn add(&mut self, path: &str) -> PathRef {
        let (folder, name) = path.split_at(path.rfind('/').map_or(0, |slash| slash + 1));
        let name_at = self.names.len() as u64;
        self.names.extend_from_slice(name.as_bytes());
        PathRef {
            name_at,
            name_length: u32::try_from(name.len()).unwrap_or(u32::MAX),
            folder: self.folder(folder),
        }
    }

    fn folder(&mut self, folder: &str) -> u32 {
        let is = |folders: &[Box<str>], index: u32| {
            folders
                .get(index as usize)
                .is_some_and(|known| &**known == folder)
        };
        if is(&self.folders, self.last_folder) {
            return self.last_folder;
        }
        let hash = xxh3_64(folder.as_bytes());
        let known = self.folder_by_hash.get(&hash).copied();
        self.last_folder = match known.filter(|index| is(&self.folders, *index)) {
            Some(index) => index,
            None => {
                // Two folders of one hash are both kept; the later one is then not found again, which only costs.
                let index = self.folders.len() as u32;
                self.folders.push(folder.into());
                self.folder_by_hash.insert(hash, index);
                index
            }
        };
        self.last_folder
    }

    /// The whole path.
    pub(crate) fn get(&self, path: PathRef) -> String {
        let (folder, name) = self.parts(path);
        let mut whole = String::with_capacity(folder.len() + name.len());
        whole.push_str(folder);
        whole.push_str(name);
        whole
    }

    /// Writes the whole path into `buffer`, in place of what it held.
    pub(crate) fn get_into(&self, path: PathRef, buffer: &mut String) {
        let (folder, name) = self.parts(path);
        buffer.clear();
        buffer.push_str(folder);
        buffer.push_str(name);
    }

    fn parts(&self, path: PathRef) -> (&str, &str) {
        let start = path.name_at as usize;
        let name = &self.names[start..start + path.name_length as usize];
        // The bytes were a &str when they came in, cut at an ASCII character.
        let name = std::str::from_utf8(name).unwrap_or_default();
        (&self.folders[path.folder as usize], name)
    }

    /// Bytes of memory that all this takes.
    pub(crate) fn memory(&self) -> usize {
        let folders = self.folders.iter().map(|folder| folder.len() + 48);
        self.names.capacity() + folders.sum::<usize>()
    }
}
