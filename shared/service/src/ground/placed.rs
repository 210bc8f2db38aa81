//! Where tables lay when this process of the program asked them last.
//!
//! A search for files that nothing refers to asks every table where it lies. A metadata file never changes: as long as a catalog
//! names the one that was read before, what that said holds, and nothing is read anew. So the second search of a process costs
//! listings, and of tables no more than what moved.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use icepress_model::MetadataLocation;

/// What metadata files said. Clones are the same.
#[derive(Debug, Clone, Default)]
pub struct PlacedHere(Arc<Mutex<HashMap<MetadataLocation, Placed>>>);

/// What one said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Placed {
    /// The table's identity.
    pub(crate) uuid: String,
    /// Its folders.
    pub(crate) folders: Vec<String>,
}

impl PlacedHere {
    /// What a metadata file said, where it was read.
    pub(crate) fn get(&self, location: &MetadataLocation) -> Option<Placed> {
        let placed = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        placed.get(location).cloned()
    }

    /// Remembers what all that are named now say, and nothing else: so it never grows beyond the tables that there are.
    pub(crate) fn remember(&self, all: HashMap<MetadataLocation, Placed>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = all;
    }
}
