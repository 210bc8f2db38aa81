//! Which delete files nothing needs any more, once a commit is through: by the readers' own predicate (specification,
//! *Scan Planning*), and where a partition alone does not tell, by what the delete file itself names.

use std::{collections::HashSet, sync::Arc};

use futures::{FutureExt as _, StreamExt as _, stream};
use iceberg::spec::TableMetadata;
use icepress_catalog::LoadedTable;
use icepress_storage::Storage;

use super::{
    light::{Converted, reaches_everywhere},
    live::{LiveTable, Place, Survivors},
    named_paths::named_paths,
    validate::{Accepted, is_global},
};
use crate::{
    manifests::{FileContent, bounds},
    reserved_ids::DELETE_FILE_PATH,
};

/// How many delete files are read at a time.
const CONCURRENT_READS: usize = 16;

/// What must be known of a delete file before it goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verdict {
    Needed,
    Unneeded,
    /// It names files by path, and only reading it tells which.
    Read,
}

/// The delete entries that no surviving data file can match, but for those that were told what they say. `survivors`
/// leaves out the data files of light groups.
pub(super) async fn unneeded_deletes(
    storage: &Arc<dyn Storage>,
    loaded: &LoadedTable,
    live: &LiveTable,
    accepted: &[Accepted],
    survivors: &Survivors,
) -> HashSet<Place> {
    let converted = Converted::new(live, accepted);
    let mut unneeded = HashSet::new();
    let mut to_read = Vec::new();
    for place in &live.deletes {
        let verdict = verdict(&loaded.metadata, live, accepted, survivors, *place);
        match with_converted(verdict, loaded, live, &converted, *place) {
            Verdict::Needed => {}
            Verdict::Unneeded => {
                unneeded.insert(*place);
            }
            Verdict::Read => to_read.push(*place),
        }
    }
    // Boxed one by one: else the compiler can't tell that the whole may move between threads.
    let mut requests = Vec::with_capacity(to_read.len());
    for place in to_read {
        let read = named_paths(storage.as_ref(), &live.entry(place).file);
        requests.push(read.map(move |paths| (place, paths)).boxed());
    }
    let mut reads = stream::iter(requests).buffered(CONCURRENT_READS);
    while let Some((place, paths)) = reads.next().await {
        match paths {
            Ok(paths) => {
                let delete = live.entry(place);
                let is_needed = |path: &String| {
                    survivors.has_path(path) || converted.path_needs(path, place, delete)
                };
                if !paths.iter().any(is_needed) {
                    unneeded.insert(place);
                }
            }
            Err(error) => {
                let path = &live.entry(place).file.path;
                tracing::warn!(%path, %error, "a delete file is kept because it can't be read");
            }
        }
    }
    unneeded
}

/// The verdict once the data files of light groups are asked, too.
fn with_converted(
    verdict: Verdict,
    loaded: &LoadedTable,
    live: &LiveTable,
    converted: &Converted<'_>,
    place: Place,
) -> Verdict {
    if verdict != Verdict::Unneeded {
        return verdict;
    }
    let delete = live.entry(place);
    let file = &delete.file;
    let is_equality = file.content == FileContent::EqualityDeletes;
    if let Some(path) = file.referenced_data_file.as_ref().filter(|_| !is_equality) {
        return match converted.path_needs(path, place, delete) {
            true => Verdict::Needed,
            false => Verdict::Unneeded,
        };
    }
    match converted.any_needs(reaches_everywhere(loaded, delete), place, delete) {
        true if is_equality => Verdict::Needed,
        true => Verdict::Read,
        false => Verdict::Unneeded,
    }
}

fn verdict(
    metadata: &TableMetadata,
    live: &LiveTable,
    accepted: &[Accepted],
    survivors: &Survivors,
    place: Place,
) -> Verdict {
    let delete = live.entry(place);
    let file = &delete.file;
    let number = delete.sequence_number;
    if file.content == FileContent::EqualityDeletes {
        let least = if is_global(metadata, file.partition.spec_id) {
            survivors.least_of_all()
        } else {
            survivors.least_in(&file.partition)
        };
        // Strictly older data only.
        return match least {
            Some(least) if least < number => Verdict::Needed,
            _ => Verdict::Unneeded,
        };
    }
    if let Some(path) = &file.referenced_data_file {
        return if survivors.has_path(path) {
            Verdict::Needed
        } else {
            Verdict::Unneeded
        };
    }
    if file.is_vector() {
        // A vector must say which file it is about. One that does not is not ours to judge.
        return Verdict::Needed;
    }
    let shape = &live.manifest(place.manifest).header.file_shape;
    let named_alone = match bounds(shape, file, DELETE_FILE_PATH) {
        Ok(Some((lower, upper))) if lower == upper => String::from_utf8(lower).ok(),
        _ => None,
    };
    let hits_replaced = accepted
        .iter()
        .filter(|group| group.partition == file.partition || named_alone.is_some())
        .flat_map(|group| &group.inputs)
        .map(|input| live.entry(*input))
        .any(|input| {
            input.sequence_number <= number
                && named_alone
                    .as_ref()
                    .is_none_or(|path| *path == input.file.path)
        });
    match (&named_alone, survivors.least_in(&file.partition)) {
        // Bounds may be cut short: a path that is one of the replaced is sure, any other must be read.
        (Some(path), _) if survivors.has_path(path) => Verdict::Needed,
        (Some(_), _) if hits_replaced => Verdict::Unneeded,
        // Readers that go by path do so in every partition, so the partition's emptiness alone proves nothing here.
        (Some(_), _) => Verdict::Read,
        (None, Some(least)) if least <= number => {
            if hits_replaced {
                Verdict::Read
            } else {
                Verdict::Needed
            }
        }
        (None, _) => Verdict::Unneeded,
    }
}
