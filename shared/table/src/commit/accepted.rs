//! Groups that passed validation so far, why others did not, and what is taken by them: what the rules of full and of light
//! groups share.

use std::collections::HashSet;

use icepress_model::{DeleteContent, DeleteFile};

use super::{DropCause, DroppedGroup, FinishedGroup, live::EntryRef};
use crate::manifests::{OutputFile, PartitionKey};

/// A group that may be committed.
#[derive(Debug)]
pub(super) struct Accepted {
    pub(super) index: u32,
    pub(super) outputs: Vec<OutputFile>,
    /// The entries to be replaced.
    pub(super) inputs: Vec<EntryRef>,
    pub(super) partition: PartitionKey,
    /// What a light group does: its inputs stay.
    pub(super) light: Option<Conversion>,
}

impl Accepted {
    /// The data entries that go.
    pub(super) fn replaced(&self) -> &[EntryRef] {
        match self.light {
            None => &self.inputs,
            Some(_) => &[],
        }
    }

    /// New delete files.
    pub(super) fn new_deletes(&self) -> &[NewDelete] {
        self.light.as_ref().map_or(&[], |light| &light.deletes)
    }

    /// All new files.
    pub(super) fn new_files(&self) -> impl Iterator<Item = &OutputFile> {
        let deletes = self.new_deletes().iter().map(|delete| &delete.file);
        self.outputs.iter().chain(deletes)
    }
}

/// A new delete file, or vector, of a light group.
#[derive(Debug)]
pub(super) struct NewDelete {
    pub(super) file: OutputFile,
    /// The greatest data sequence number of what it speaks for (case C09). All of that applied to its data file, so this
    /// does too; and no data file that comes later can be meant, since it names those that it is about.
    pub(super) sequence_number: i64,
}

/// What a light group does.
#[derive(Debug, Default)]
pub(super) struct Conversion {
    pub(super) deletes: Vec<NewDelete>,
    /// For each input the delete entries whose rows the new delete files hide. Of a group that has no inputs, the delete
    /// entries that are to go.
    pub(super) rewritten: Vec<HashSet<EntryRef>>,
    /// Inputs that have a vector now, by index: position delete files mean nothing to them any more.
    pub(super) with_vector: HashSet<usize>,
}

/// Why a group may not be committed.
#[derive(Debug, Clone)]
pub(super) struct Refusal {
    cause: DropCause,
    reason: String,
}

impl Refusal {
    pub(super) fn gate(reason: String) -> Self {
        Self {
            cause: DropCause::Gate,
            reason,
        }
    }

    pub(super) fn of(self, finished: &FinishedGroup) -> DroppedGroup {
        let files = finished.result.file_paths().len();
        let evidence = match self.cause {
            DropCause::Gate if files > 0 => {
                format!(
                    "; its {files} new files are kept: {}",
                    sample(&finished.result.file_paths())
                )
            }
            _ => String::new(),
        };
        DroppedGroup {
            index: finished.index,
            cause: self.cause,
            reason: format!("{}: {}{evidence}", finished.name(), self.reason),
        }
    }
}

/// The first of many paths.
fn sample(paths: &[String]) -> String {
    const SHOWN: usize = 3;
    let more = if paths.len() > SHOWN { ", …" } else { "" };
    format!("{}{more}", paths[..paths.len().min(SHOWN)].join(", "))
}

/// Another writer's doing, unless it is said otherwise.
impl From<String> for Refusal {
    fn from(reason: String) -> Self {
        Self {
            cause: DropCause::Conflict,
            reason,
        }
    }
}

impl From<&str> for Refusal {
    fn from(reason: &str) -> Self {
        reason.to_owned().into()
    }
}

/// What tells a delete file from others: path, and offset for vectors.
pub(super) fn identity(delete: &DeleteFile) -> (&str, Option<u64>) {
    let offset = match delete.content {
        DeleteContent::Vector { offset, .. } => Some(offset),
        _ => None,
    };
    (&delete.path, offset)
}

/// Paths that groups accepted so far remove and add.
#[derive(Debug, Default)]
pub(super) struct Taken {
    pub(super) inputs: HashSet<String>,
    pub(super) outputs: HashSet<String>,
}
