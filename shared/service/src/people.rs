//! What people ask, or have done: tables, processes, blockers, buckets, and whether everything is as it should be.

pub mod block;
pub mod buckets;
pub mod doctor;
pub mod maintain;
pub(crate) mod neighbours;
pub mod orphans;
pub mod processes;
pub mod repair;
pub mod tables;
pub mod waste;
