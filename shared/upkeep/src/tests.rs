//! Upkeep on tables that live in memory. What is live and what is there is never asked of the code under test: lists and
//! manifests are read with the `iceberg` crate's own readers.

mod ages;
mod aging;
mod deaths;
mod distinct;
mod files;
mod histories;
mod inventory;
mod manifests;
mod orphans;
mod quarantine;
mod restore;
mod statistics;
mod storage;
mod tags;
mod world;
