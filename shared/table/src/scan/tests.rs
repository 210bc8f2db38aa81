//! A scan finds what the iceberg crate's own reader finds, and refuses what can't be a table.

mod damage;
mod same;
mod world;
