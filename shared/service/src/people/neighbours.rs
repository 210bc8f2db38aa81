//! Where all tables of all catalogs at hand lie.

use std::{collections::HashMap, sync::Arc};

use async_trait::async_trait;
use futures::{StreamExt as _, stream};
use icepress_catalog::{CatalogError, ListedTable, LoadedTable};
use icepress_model::{DatabaseId, MetadataLocation, TableId};
use icepress_upkeep::{Neighbours, Surroundings, folders_of, overlap_of};

use crate::{Context, OpenCatalog, PlacedHere, ground::placed::Placed};

/// Tables that are loaded at a time.
const LOADS_AT_A_TIME: usize = 16;

/// All tables of all catalogs that are at hand. Catalogs are listed anew each time; of tables those are asked that are not where they
/// were.
#[derive(Debug)]
pub(crate) struct AllTables<'a> {
    pub(crate) context: &'a Context,
}

#[async_trait]
impl Neighbours for AllTables<'_> {
    async fn around(&self, table: &LoadedTable, folders: &[String]) -> Surroundings {
        TableMap::of(self.context)
            .await
            .around(table, folders)
            .await
    }
}

/// Where tables lay when they were asked.
#[derive(Debug, Default)]
pub(crate) struct TableMap {
    pub(crate) tables: Vec<Mapped>,
    /// Catalogs, databases and tables that could not be asked, and why.
    pub(crate) unasked: Vec<String>,
    /// Of these, those of whom it is not known where their tables lie.
    unplaced: Vec<String>,
}

/// A table on the map.
#[derive(Debug)]
pub(crate) struct Mapped {
    pub(crate) table: TableId,
    /// Its folders; of one that can't be read the one in which its metadata lies, where the catalog says so.
    pub(crate) folders: Vec<String>,
    /// What tells it from others, and its state; `None` of one that can't be read.
    state: Option<(String, MetadataLocation)>,
}

impl TableMap {
    /// Asks all of them.
    pub(crate) async fn of(context: &Context) -> Self {
        let mut map = Self::default();
        for (name, why) in context.catalogs.unopened() {
            map.is_dark(format!("catalog {name}: {why}"));
        }
        for open in context.catalogs.iter() {
            map.ask_catalog(open, &context.placed).await;
        }
        let states = map.tables.iter().filter_map(|it| {
            let (uuid, location) = it.state.clone()?;
            let folders = it.folders.clone();
            Some((location, Placed { uuid, folders }))
        });
        context.placed.remember(states.collect::<HashMap<_, _>>());
        map
    }

    /// Somebody could not be asked at all.
    fn is_dark(&mut self, why: String) {
        self.unplaced.push(why.clone());
        self.unasked.push(why);
    }

    async fn ask_catalog(&mut self, open: &OpenCatalog, placed: &PlacedHere) {
        let name = open.catalog.name();
        let namespaces = match open.catalog.list_namespaces().await {
            Ok(namespaces) => namespaces,
            Err(error) => return self.is_dark(format!("catalog {name}: {error}")),
        };
        for namespace in namespaces {
            let database = DatabaseId {
                catalog: name.clone(),
                namespace,
            };
            if let Err(error) = self.ask_database(open, &database, placed).await {
                self.is_dark(format!("database {database}: {error}"));
            }
        }
    }

    async fn ask_database(
        &mut self,
        open: &OpenCatalog,
        database: &DatabaseId,
        placed: &PlacedHere,
    ) -> Result<(), CatalogError> {
        let mut next: Option<String> = None;
        loop {
            let page = open.catalog.list_tables(database, next.as_deref()).await?;
            let catalog = Arc::clone(&open.catalog);
            let mut moved = Vec::new();
            for listed in page.tables {
                let location = listed.metadata_location.as_ref();
                let known = location.and_then(|at| Some((at.clone(), placed.get(at)?)));
                match known {
                    Some((location, Placed { uuid, folders })) => self.tables.push(Mapped {
                        table: listed.table,
                        folders,
                        state: Some((uuid, location)),
                    }),
                    None => moved.push(listed),
                }
            }
            let mut answers = stream::iter(moved)
                .map(|listed| {
                    let catalog = Arc::clone(&catalog);
                    async move {
                        let loaded = catalog.load(&listed.table).await;
                        (listed, loaded)
                    }
                })
                .buffered(LOADS_AT_A_TIME);
            while let Some((listed, loaded)) = answers.next().await {
                self.note(listed, loaded);
            }
            drop(answers);
            next = page.next;
            if next.is_none() {
                return Ok(());
            }
        }
    }

    fn note(&mut self, listed: ListedTable, loaded: Result<LoadedTable, CatalogError>) {
        match loaded {
            Ok(loaded) => self.tables.push(Mapped {
                folders: folders_of(&loaded.metadata),
                state: Some((loaded.metadata.uuid().to_string(), loaded.metadata_location)),
                table: listed.table,
            }),
            Err(CatalogError::NoSuchTable(_) | CatalogError::NotIceberg(_)) => {}
            Err(error) => {
                let why = format!("table {}: {error}", listed.table);
                // Where its metadata lies, its files probably do.
                let location = listed.metadata_location.as_ref();
                let folder = location.and_then(|it| it.as_str().rsplit_once("/metadata/"));
                match folder {
                    Some(_) => self.unasked.push(why),
                    None => self.is_dark(why),
                }
                self.tables.extend(folder.map(|(folder, _)| Mapped {
                    folders: vec![folder.to_owned()],
                    state: None,
                    table: listed.table.clone(),
                }));
            }
        }
    }
}

#[async_trait]
impl Neighbours for TableMap {
    async fn around(&self, table: &LoadedTable, folders: &[String]) -> Surroundings {
        let own = (table.metadata.uuid().to_string(), &table.metadata_location);
        // The same table may have another name in another catalog.
        let is_same = |it: &Mapped| {
            let state = it.state.as_ref();
            it.table == table.table || state.is_some_and(|(uuid, at)| (uuid, at) == (&own.0, own.1))
        };
        let others = self.tables.iter().filter(|it| !is_same(it));
        let overlaps = others.clone();
        Surroundings {
            overlapping: overlaps
                .filter_map(|it| overlap_of(folders, &it.table, &it.folders))
                .collect(),
            asked: others.filter(|it| it.state.is_some()).count() as u64,
            unasked: self.unasked.clone(),
            unplaced: self.unplaced.clone(),
        }
    }
}
