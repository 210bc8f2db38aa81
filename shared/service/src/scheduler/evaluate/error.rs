//! Why a table could not be looked at.

use icepress_catalog::CatalogError;
use icepress_coordination::limits::InvalidLimit;
use icepress_model::Bytes;
use icepress_planner::PlanError;
use icepress_table::TableError;
use thiserror::Error;

/// A table that could not be looked at.
#[derive(Debug, Error)]
pub enum EvaluateError {
    /// Its catalog failed, or has no such table.
    #[error(transparent)]
    Catalog(#[from] CatalogError),
    /// Its manifests can't be read, or we don't maintain such tables.
    #[error(transparent)]
    Table(#[from] TableError),
    /// No plan could be made: a property has a wrong value, say.
    #[error(transparent)]
    Plan(#[from] PlanError),
    /// One of its limits makes no sense.
    #[error(transparent)]
    Limit(#[from] InvalidLimit),
    /// Its metadata file or manifests are more than the memory takes that there is for plans.
    #[error(
        "its metadata file has {metadata} and its manifests {manifests}, as far as was looked: more than the {memory} of memory \
         take that there are for plans: expire snapshots, rewrite manifests, or give the scheduler more memory"
    )]
    TooLarge {
        /// Bytes of the metadata file, without compression.
        metadata: Bytes,
        /// Bytes of manifests; 0 where the metadata file is too much already.
        manifests: Bytes,
        /// The memory.
        memory: Bytes,
    },
    /// There is no room for it beside the plans of others now. Whoever is told so gives back what room he has, and waits for as much as
    /// this takes.
    #[error("there is no room for its plan beside others now")]
    Crowded {
        /// Bytes of the metadata file, without compression, as far as they are known.
        metadata: Bytes,
        /// Bytes of manifests, as far as they are known.
        manifests: Bytes,
    },
    /// A plan could be made, but not be kept.
    #[error("the plan can't be kept: {message}")]
    NotKept {
        /// Why.
        message: String,
        /// Whether storage asked for fewer requests.
        is_throttling: bool,
    },
}

impl EvaluateError {
    /// Whether somebody asked for fewer requests: the table is looked at again later, and did not fail.
    pub(crate) fn is_throttling(&self) -> bool {
        match self {
            Self::Catalog(error) => error.is_throttling(),
            Self::Table(error) => error.is_throttling(),
            Self::NotKept { is_throttling, .. } => *is_throttling,
            Self::Plan(_) | Self::Limit(_) | Self::TooLarge { .. } | Self::Crowded { .. } => false,
        }
    }
}
