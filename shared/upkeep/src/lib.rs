//! What keeps a table tidy beside rewrites: expiring snapshots, with the files that nobody needs then; and taking away what
//! nothing refers to, found by listing; tags as recovery points, and the way back to one; rows that are too old; manifests
//! written anew ([`manifests`]); statistics of partitions and columns ([`statistics`]).
//!
//! Works on a catalog and a storage, and knows nothing of leases, queues and processes: who is at work on a table's older
//! snapshots is asked of [`Pins`], what became of processes that write files of [`Attempts`], where other tables lie of
//! [`Neighbours`], and whether a commit is welcome of the table's `Gatekeeper`.
//!
//! Files are deleted under three rules, whatever the kind of upkeep:
//!
//! * **The table first.** A file is dead once no state of the table that anybody can load refers to it. So the commit that
//!   lets go of snapshots comes first, and what is dead is looked for on the table as it is afterwards.
//! * **Written down before** (`ledger`): first what is about to be let go, since the table forgets it with the commit;
//!   then every file, before the first is deleted. Whoever is killed at any point leaves something that the next run goes
//!   on from.
//! * **In doubt it lives.** What can't be read stops everything. Paths are compared in one spelling for all ways to write
//!   them (`icepress_storage::one_spelling`), and by hash: either can only take a dead file for a live one.
#![cfg_attr(test, allow(clippy::unwrap_used))]

pub mod ages;
mod attempts;
mod dates;
mod dead;
mod delete;
mod error;
mod expire;
mod ledger;
mod limits;
pub mod manifests;
mod orphans;
mod past;
mod pins;
mod places;
mod policy;
mod quarantine;
pub mod restore;
mod retain;
pub mod statistics;
mod swap;
pub mod tags;

pub use attempts::{Attempts, Fate, NoAttempts};
pub use dead::{DeadFile, FileKind};
pub use error::UpkeepError;
pub use expire::{
    Committed, Counted, Counts, ExpireOutlook, ExpirePlan, ExpireReport, ExpireRequest, Progress,
    expire, expire_outlook, plan_expire,
};
pub use limits::Limits;
pub use orphans::{
    InventorySeen, OrphanPlan, OrphanReport, OrphanRequest, OrphanScope, OrphanSurvey, Others,
    plan_orphans, remove_orphans, weigh_folder,
};
pub use pins::{NoPins, Pin, Pins};
pub use places::{Neighbours, NoNeighbours, Overlap, Surroundings, folders_of, overlap_of};
pub use policy::{ExpirePolicy, FLOOR, NO_INVENTORY, ORPHAN_FLOOR, OrphanPolicy, duration_of};
pub use retain::{Expiring, Spared};

#[cfg(test)]
mod tests;
