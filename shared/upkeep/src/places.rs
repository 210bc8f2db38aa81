//! Where a table's own files lie, and who else has files there.

use std::fmt::Debug;

use async_trait::async_trait;
use icepress_catalog::{LoadedTable, metadata::Metadata};
use icepress_model::TableId;
use icepress_storage::{Reach, lies_within};
use serde::Serialize;

use crate::UpkeepError;

/// Folders that a table may have beside its location.
const PLACES: [&str; 4] = [
    "write.data.path",
    "write.metadata.path",
    "write.object-storage.path",
    "write.folder-storage.path",
];

/// The folders that are a table's own: its location and those that its properties name, none in another of them, without a
/// slash at their end.
pub fn folders_of(metadata: &Metadata) -> Vec<String> {
    let properties = metadata.properties();
    let set = PLACES.iter().filter_map(|key| properties.get(*key));
    let mut folders: Vec<String> = Vec::new();
    for folder in [metadata.location()]
        .into_iter()
        .chain(set.map(String::as_str))
    {
        let folder = folder.trim_end_matches('/');
        if folders.iter().any(|other| lies_within(folder, other)) {
            continue;
        }
        folders.retain(|other| !lies_within(other, folder));
        folders.push(folder.to_owned());
    }
    folders
}

/// The same as what may be deleted in. Files that the table only took in, from a folder of somebody else's, are not ours to
/// delete.
pub(crate) fn places_of(table: &TableId, metadata: &Metadata) -> Result<Reach, UpkeepError> {
    let folders = folders_of(metadata);
    Reach::everywhere()
        .within(folders.iter().map(String::as_str))
        .map_err(|error| UpkeepError::refused(table, format!("its location: {error}")))
}

/// Another table whose files lie, or may lie, where a table's own do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Overlap {
    /// The other table.
    pub table: TableId,
    /// Its folder.
    pub theirs: String,
    /// The folder that is the same, contains it or lies in it.
    pub ours: String,
}

/// The first of `ours` that is one of `theirs`, contains one or lies in one.
pub fn overlap_of(ours: &[String], table: &TableId, theirs: &[String]) -> Option<Overlap> {
    let pairs = ours
        .iter()
        .flat_map(|ours| theirs.iter().map(move |theirs| (ours, theirs)));
    pairs
        .filter(|(ours, theirs)| lies_within(ours, theirs) || lies_within(theirs, ours))
        .map(|(ours, theirs)| Overlap {
            table: table.clone(),
            theirs: theirs.clone(),
            ours: ours.clone(),
        })
        .next()
}

/// Who lives around a table.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Surroundings {
    /// Tables that share its folders.
    pub overlapping: Vec<Overlap>,
    /// Tables that were asked.
    pub asked: u64,
    /// Catalogs, databases and tables that could not be asked, and why, a line each.
    pub unasked: Vec<String>,
    /// Of these, those of whom it is not even known where their tables lie.
    pub unplaced: Vec<String>,
}

/// Who knows where all other tables lie.
#[async_trait]
pub trait Neighbours: Send + Sync + Debug {
    /// Asks all other tables that are known whether they have anything in `folders`, those of `table`. The same table under
    /// another name, with the same UUID and the same metadata file, is no other.
    async fn around(&self, table: &LoadedTable, folders: &[String]) -> Surroundings;
}

/// There is no other table.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoNeighbours;

#[async_trait]
impl Neighbours for NoNeighbours {
    async fn around(&self, _table: &LoadedTable, _folders: &[String]) -> Surroundings {
        Surroundings::default()
    }
}
