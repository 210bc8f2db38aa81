//! Where it is known from what lies in the table's folders.

use icepress_model::TimestampMs;
use icepress_storage::{ListedObject, StorageError};
use serde::Serialize;

use super::{inventory::Inventory, listing::Listing};

/// The inventory that a search went by.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct InventorySeen {
    /// Its manifest.
    pub manifest: String,
    /// When S3 began to make it: what was written later is not in it.
    pub made_at: TimestampMs,
}

/// Tells what is there.
pub(super) enum Source<'a> {
    Listing(Listing<'a>),
    Inventory(Box<Inventory<'a>>),
}

impl Source<'_> {
    /// Some more objects, in no order; `None` once all were told. After an error what was told is not the whole.
    pub(super) async fn next(&mut self) -> Result<Option<Vec<ListedObject>>, StorageError> {
        match self {
            Self::Listing(listing) => listing.next().await,
            Self::Inventory(inventory) => inventory.next().await,
        }
    }

    /// Requests so far.
    pub(super) fn requests(&self) -> u64 {
        match self {
            Self::Listing(listing) => listing.requests(),
            Self::Inventory(inventory) => inventory.requests(),
        }
    }

    /// The inventory, where it is one.
    pub(super) fn inventory(&self) -> Option<InventorySeen> {
        match self {
            Self::Listing(_) => None,
            Self::Inventory(inventory) => {
                let (manifest, made_at) = inventory.manifest();
                Some(InventorySeen {
                    manifest: manifest.to_owned(),
                    made_at,
                })
            }
        }
    }
}
