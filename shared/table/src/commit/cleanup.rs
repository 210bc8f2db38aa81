//! Which delete files nothing needs any more, once a commit is through: by the readers' own predicate (specification,
//! *Scan Planning*), and where a partition alone does not tell, by what the delete file itself names.

use std::{collections::HashSet, sync::Arc};

use futures::{FutureExt as _, StreamExt as _, stream};
use icepress_storage::Storage;

use super::{
    accepted::Accepted,
    converted::Converted,
    live::{EntryRef, LiveTable, Survivors},
    named_paths::named_paths,
};
use crate::delete_index::{DataFiles as _, DeleteScope, Need};

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

/// The delete entries that no surviving data file can match, but for those whose deletes were rewritten. `survivors`
/// leaves out the data files of light groups.
pub(super) async fn unneeded_deletes(
    storage: &Arc<dyn Storage>,
    live: &LiveTable,
    accepted: &[Accepted],
    survivors: &Survivors<'_>,
) -> HashSet<EntryRef> {
    let converted = Converted::new(live, accepted);
    let mut unneeded = HashSet::new();
    let mut to_read = Vec::new();
    for place in &live.deletes {
        let verdict = verdict(live, accepted, survivors, *place);
        match with_converted(verdict, live, &converted, *place) {
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
    live: &LiveTable,
    converted: &Converted<'_>,
    place: EntryRef,
) -> Verdict {
    let delete = live.entry(place);
    if verdict != Verdict::Unneeded || !converted.any_needs(place, delete) {
        return verdict;
    }
    match delete.file.scope {
        Some(DeleteScope::PositionInPartition(..)) => Verdict::Read,
        _ => Verdict::Needed,
    }
}

fn verdict(
    live: &LiveTable,
    accepted: &[Accepted],
    survivors: &Survivors<'_>,
    place: EntryRef,
) -> Verdict {
    let delete = live.entry(place);
    let Some(scope) = &delete.file.scope else {
        // Not a delete file: nothing that we may take out.
        return Verdict::Needed;
    };
    let hits_replaced = || {
        let replaced = accepted.iter().flat_map(|group| &group.inputs);
        let mut replaced = replaced.map(|input| live.entry(*input));
        replaced.any(|input| delete.applies_to(input))
    };
    match scope.need(delete.sequence_number, survivors) {
        Need::No => Verdict::Unneeded,
        Need::Yes => Verdict::Needed,
        // Bounds may be cut short: a path that is one of the replaced is sure, any other must be read.
        Need::Unsure => match (scope, hits_replaced()) {
            (DeleteScope::PositionWithinBounds(_), true) => Verdict::Unneeded,
            (DeleteScope::PositionWithinBounds(_), false) | (_, true) => Verdict::Read,
            (_, false) => Verdict::Needed,
        },
    }
}
