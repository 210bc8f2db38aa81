//! What was seen last of each table: the ETag of the answer and the state that it named. The next question is then
//! answered by "304, as you have it", without the server reading or sending the table's metadata.
//!
//! It lives as long as the process. A scheduler's function is kept warm by its schedule, so that its censuses find it
//! filled; a cold start pays one small load (`snapshots=refs`) a table.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
};

use icepress_model::{MetadataLocation, TableId};

/// Tables that are remembered; about 300 bytes each.
const MOST: usize = 200_000;

/// ETags and states by table.
#[derive(Debug, Default)]
pub(crate) struct SeenTables {
    by_table: Mutex<HashMap<TableId, Seen>>,
}

/// One table's.
#[derive(Debug, Clone)]
pub(crate) struct Seen {
    pub(crate) etag: String,
    pub(crate) location: MetadataLocation,
}

impl SeenTables {
    pub(crate) fn get(&self, table: &TableId) -> Option<Seen> {
        let by_table = self.by_table.lock().unwrap_or_else(PoisonError::into_inner);
        by_table.get(table).cloned()
    }

    /// Remembers it; `None` where the server gave no ETag.
    pub(crate) fn put(&self, table: &TableId, etag: Option<String>, location: &MetadataLocation) {
        let mut by_table = self.by_table.lock().unwrap_or_else(PoisonError::into_inner);
        match etag {
            Some(etag) => {
                if by_table.len() >= MOST && !by_table.contains_key(table) {
                    by_table.clear();
                }
                let location = location.clone();
                by_table.insert(table.clone(), Seen { etag, location });
            }
            None => {
                by_table.remove(table);
            }
        }
    }
}
