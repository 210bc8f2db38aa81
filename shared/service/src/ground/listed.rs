//! Which databases this process of the program has listed to the end.
//!
//! Whoever dies at a listing leaves nothing but a process that is gone; its successor is a new one. So a new process notes
//! each listing before it asks for the first page, and an old one, which got to the end of it before, only one that takes
//! long: in peace functions stay warm for hours, and an idle census writes nothing.

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex, PoisonError},
};

use icepress_model::DatabaseId;

/// The databases. Clones are the same.
#[derive(Debug, Clone, Default)]
pub struct ListedHere(Arc<Mutex<BTreeSet<DatabaseId>>>);

impl ListedHere {
    /// Notes that a database was listed to the end.
    pub(crate) fn note(&self, database: &DatabaseId) {
        let mut listed = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        listed.insert(database.clone());
    }

    /// Whether a database was.
    pub(crate) fn has(&self, database: &DatabaseId) -> bool {
        let listed = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        listed.contains(database)
    }
}
