//! The data files of light groups, which stay, and what each still needs of deletes.

use std::collections::{HashMap, HashSet};

use super::{
    accepted::Accepted,
    live::{EntryRef, LiveTable},
};
use crate::manifests::Entry;

/// The data files of light groups.
#[derive(Debug, Default)]
pub(super) struct Converted<'a> {
    files: Vec<ConvertedFile<'a>>,
    by_path: HashMap<&'a str, usize>,
}

#[derive(Debug)]
struct ConvertedFile<'a> {
    entry: &'a Entry,
    /// The delete entries whose rows its new delete file hides.
    rewritten: &'a HashSet<EntryRef>,
    has_vector: bool,
}

impl<'a> Converted<'a> {
    pub(super) fn new(live: &'a LiveTable, accepted: &'a [Accepted]) -> Self {
        let mut converted = Self::default();
        for group in accepted {
            let Some(light) = &group.light else {
                continue;
            };
            for (index, place) in group.inputs.iter().enumerate() {
                let entry = live.entry(*place);
                let number = converted.files.len();
                converted.by_path.insert(&entry.file.path, number);
                converted.files.push(ConvertedFile {
                    entry,
                    rewritten: &light.rewritten[index],
                    has_vector: light.with_vector.contains(&index),
                });
            }
        }
        converted
    }

    /// Whether the data file at `path` is one of these, and still needs the delete entry at `place`, which names it.
    pub(super) fn path_needs(&self, path: &str, place: EntryRef, delete: &Entry) -> bool {
        let file = self.by_path.get(path).map(|number| &self.files[*number]);
        file.is_some_and(|file| file.is_left_with(place, delete))
    }

    /// Whether any of these still needs the delete entry at `place`, or could, as far as manifests tell.
    pub(super) fn any_needs(&self, place: EntryRef, delete: &Entry) -> bool {
        let named = delete
            .file
            .scope
            .as_ref()
            .filter(|_| !delete.file.is_unsure());
        if let Some(path) = named.and_then(|scope| scope.path()) {
            return self.path_needs(path, place, delete);
        }
        let mut files = self.files.iter();
        files.any(|file| delete.may_apply_to(file.entry) && file.is_left_with(place, delete))
    }
}

impl ConvertedFile<'_> {
    /// Whether a delete entry that is about the file has a say, and was not rewritten.
    fn is_left_with(&self, place: EntryRef, delete: &Entry) -> bool {
        let (data, number) = (self.entry.sequence_number, delete.sequence_number);
        let has_a_say = match delete
            .file
            .scope
            .as_ref()
            .is_some_and(|scope| scope.is_equality())
        {
            true => data < number,
            // Beside a vector readers don't look at position delete files.
            false => data <= number && (delete.file.is_vector() || !self.has_vector),
        };
        has_a_say && !self.rewritten.contains(&place)
    }
}
