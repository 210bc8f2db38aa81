//! The pages of a listing, one after another, compared with what was seen last.

use futures::future::join_all;
use icepress_catalog::{Catalog, CatalogError, Located};
use icepress_coordination::{CensusNote, Digest, hash_of_name};
use icepress_model::{DatabaseId, MetadataLocation, TableId};

use super::{
    CensusError,
    digest::{Seen, SeenTables},
    tags::Tags,
};
use crate::{Context, Event};

/// Tables that are asked for at once where the listing does not carry their state.
const LOCATED_AT_ONCE: usize = 32;

/// A page of a listing.
pub(super) struct Page {
    /// Tables that are new or moved.
    pub(super) changed: Vec<(TableId, MetadataLocation)>,
    /// What the next page is asked for with; `None` after the last.
    pub(super) next: Option<String>,
}

/// What the pages have shown so far.
#[derive(Clone)]
pub(super) struct Survey {
    /// What the last census saw.
    pub(super) last: SeenTables,
    /// What this one has seen.
    pub(super) seen: SeenTables,
    /// What the catalog calls the states; read at the first table whose state the listing does not carry.
    tags: Option<Tags>,
}

impl Survey {
    /// Nothing was listed yet.
    pub(super) fn new(last: SeenTables) -> Self {
        Self::after(last, SeenTables::default())
    }

    /// So much was listed already.
    pub(super) fn after(last: SeenTables, seen: SeenTables) -> Self {
        Self {
            last,
            seen,
            tags: None,
        }
    }

    /// Reads the page at `from`.
    pub(super) async fn read_page(
        &mut self,
        context: &Context,
        database: &DatabaseId,
        from: Option<&str>,
    ) -> Result<Page, CensusError> {
        let catalog = &*context.catalogs.get(&database.catalog)?.catalog;
        let page = catalog.list_tables(database, from).await?;
        let mut changed = Vec::new();
        let mut unlocated = Vec::new();
        for listed in page.tables {
            match listed.metadata_location {
                Some(location) => {
                    let seen = Seen::new(&listed.table, &location);
                    self.note(context, seen, listed.table, Some(location), &mut changed);
                }
                None => unlocated.push(listed.table),
            }
        }
        if !unlocated.is_empty() {
            self.locate_all(context, catalog, database, unlocated, &mut changed)
                .await?;
        }
        Ok(Page {
            changed,
            next: page.next,
        })
    }

    /// Asks for each table. One that can't be asked for is reported and left out of this census alone: its old entry in
    /// the digest is lost, so that it counts as changed when it can be read again.
    async fn locate_all(
        &mut self,
        context: &Context,
        catalog: &dyn Catalog,
        database: &DatabaseId,
        unlocated: Vec<TableId>,
        changed: &mut Vec<(TableId, MetadataLocation)>,
    ) -> Result<(), CensusError> {
        let mut tags = match self.tags.take() {
            Some(tags) => tags,
            None => Tags::decode(
                &context
                    .store
                    .census_note(database, CensusNote::Tags)
                    .await?,
            ),
        };
        for some in unlocated.chunks(LOCATED_AT_ONCE) {
            let asked = some.iter().map(|table| {
                let tag = tags.of(hash_of_name(&table.name), &self.last);
                catalog.locate(table, tag)
            });
            for (table, located) in some.iter().zip(join_all(asked).await) {
                match located {
                    Ok(Located::AsSeen) => {
                        let seen = self.last.of_name(hash_of_name(&table.name));
                        // It was asked with the tag of the state that the digest has.
                        if let Some(seen) = seen {
                            self.note(context, seen, table.clone(), None, changed);
                        }
                    }
                    Ok(Located::At { location, tag }) => {
                        let seen = Seen::new(table, &location);
                        tags.put(seen, tag);
                        self.note(context, seen, table.clone(), Some(location), changed);
                    }
                    // Dropped since it was listed.
                    Err(CatalogError::NoSuchTable(_)) => {}
                    Err(error) => context.tell(Event::TableFailed {
                        table: table.clone(),
                        message: error.to_string(),
                    }),
                }
            }
        }
        self.tags = Some(tags);
        Ok(())
    }

    fn note(
        &mut self,
        context: &Context,
        seen: Seen,
        table: TableId,
        location: Option<MetadataLocation>,
        changed: &mut Vec<(TableId, MetadataLocation)>,
    ) {
        match location {
            Some(location) if !self.last.contains(&seen) => changed.push((table, location)),
            _ => context.tell(Event::TableUnchanged { table }),
        }
        self.seen.insert(seen);
    }

    /// What the catalog calls the states, where it is to be kept anew.
    pub(super) fn tags_to_keep(&self) -> Option<Digest> {
        self.tags.as_ref()?.to_keep(self.seen.len())
    }
}
