//! Files that nothing refers to: found by listing and by nothing else, so due by the clock.

use std::time::Duration;

use icepress_catalog::LoadedTable;
use icepress_model::{Bytes, NanoDollars};
use icepress_upkeep::OrphanPolicy;

use super::{Prospect, Read, Worth, cost_of};
use crate::Settings;

/// Keys of one answer to a listing.
const KEYS: u64 = 1_000;

/// What a run would come to.
pub(super) fn prospect(
    settings: &Settings,
    loaded: &LoadedTable,
    read: &Read<'_>,
) -> Result<Prospect, String> {
    let (metadata, scan) = (&loaded.metadata, read.scan);
    OrphanPolicy::of(metadata.properties())?;
    let every = settings
        .maintain
        .orphans_every(&loaded.table, metadata.properties());
    let every = every.map_err(|error| error.to_string())?;
    let files = scan.data_files().len() + scan.delete_files().len();
    let snapshots = metadata.snapshots().len() as u64;
    // Lists and manifests of all snapshots are read to know what is needed: most manifests are of several. Listings cost as
    // much as writes; a folder has what is live, and some that is not.
    let reads = read.manifests + 2 * snapshots + 20;
    let lists = 2 * files as u64 / KEYS + 8;
    Ok(every_so_often(every, cost_of(settings, reads, lists)))
}

pub(in crate::scheduler::upkeep) fn every_so_often(
    every: Duration,
    costs: NanoDollars,
) -> Prospect {
    let worth = Worth {
        reason: format!(
            "the table's folders are listed every {} hours for files that nothing refers to",
            every.as_secs() / 3600
        ),
        // Nobody knows before.
        saves_a_month: None,
        costs,
        frees: Bytes::ZERO,
    };
    Prospect::Work {
        now: Some(worth),
        next: None,
        next_after_commit: None,
        as_of: None,
        rest: Some(every),
    }
}
