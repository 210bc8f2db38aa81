//! The engine as a whole, on real Parquet files in a temporary folder, compared row by row with plain models.

mod defaults;
mod deletes;
mod evolution;
mod failures;
mod identity;
mod light;
mod lineage;
pub(crate) mod noting;
mod odd;
mod output;
mod shapes;
pub(crate) mod support;
