//! What light groups would change: delete files that go, and delete files that come in their place.
//!
//! Light work is judged by this and by nothing else. That a data file has many delete files says that there is something
//! to gain, not that this tier gains it: where many large files share two delete files, one of their own for each would be
//! more files than before; and where bounds are cut short, a shared one seems to be about files that it does not name, however
//! often it is written anew.

use std::collections::HashSet;

use icepress_model::Tier;
use icepress_table::scan::DeleteKind;

use crate::partition::{Context, PartitionView};

/// From so many delete files a data file on it is worth having more delete files, each about one data file.
const MANY_FOR_EACH: u64 = 8;

/// How the position deletes of light groups are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Writing {
    /// A file, or vector, for each data file.
    Separate,
    /// A file for each group.
    Shared,
}

/// Light groups that must be done together, or not at all.
#[derive(Debug, Default)]
pub(crate) struct Exchange {
    /// Delete files that apply to any of their data files: all of them can go.
    found: HashSet<u32>,
    /// Whether any of those is by value.
    by_value: bool,
    /// Pairs of a data file and a delete file that applies to it.
    pairs: u64,
    data_files: u64,
    groups: u64,
    /// Whether any of the delete files also applies to data files that the plan replaces. Left as it is, it would seem to
    /// hide all of its rows in the files that stay, and the next plan might think them worth a rewrite.
    concentrates: bool,
}

impl Exchange {
    /// Takes the light groups of a partition in.
    pub(crate) fn add(&mut self, context: &Context<'_>, view: &PartitionView) {
        let scan = context.scan;
        let mut path = String::new();
        for group in view.light_groups() {
            self.groups += 1;
            self.data_files += group.files.len() as u64;
            for file in &group.files {
                let entry = &scan.data_files()[*file as usize];
                scan.path_into(entry, &mut path);
                let matches = context
                    .index
                    .for_file(&path, view.number, entry.sequence_number);
                self.pairs += matches.len() as u64;
                for number in matches.numbers() {
                    if self.found.insert(number) {
                        let kind = &scan.delete_files()[number as usize].kind;
                        self.by_value |= matches!(kind, DeleteKind::Equality { .. });
                    }
                }
            }
        }
        let replaced = view.groups.iter().filter(|group| group.tier == Tier::Full);
        for file in replaced.flat_map(|group| &group.files) {
            if self.concentrates || self.found.is_empty() {
                return;
            }
            let entry = &scan.data_files()[*file as usize];
            scan.path_into(entry, &mut path);
            let matches = context
                .index
                .for_file(&path, view.number, entry.sequence_number);
            self.concentrates = matches.numbers().any(|number| self.found.contains(&number));
        }
    }

    /// How to write what the groups say of deletes, where a table allows `may_share` or wants it (`must_share`); `None`
    /// where it would be no gain.
    ///
    /// Delete files of one data file each say exactly that in the manifest: none is found to be too many again. Of shared
    /// ones only their number is certain: it must fall, or it must be something else that is settled with as many.
    pub(crate) fn writing(&self, may_share: bool, must_share: bool) -> Option<Writing> {
        let found = self.found.len() as u64;
        let relief = self.pairs >= MANY_FOR_EACH.saturating_mul(self.data_files);
        let settles = self.by_value || self.concentrates;
        let gains = self.pairs > self.data_files || settles;
        if !must_share && gains && self.data_files <= found {
            return Some(Writing::Separate);
        }
        if may_share && (self.groups < found || self.groups == found && settles) {
            return Some(Writing::Shared);
        }
        (!must_share && relief).then_some(Writing::Separate)
    }
}
