//! What every part of the service works with, put together once at start.

use std::sync::Arc;

use icepress_catalog::CatalogError;
use icepress_coordination::{CoordinationError, Errands, Layout, StateStore, TaskQueue, Watched};
use icepress_model::{ProcessKind, TableId, ambient::Ambient};
use icepress_storage::Storage;

use crate::{
    Catalogs, CommitGate, Event, ListedHere, Observer, OpenCatalog, PlacedHere, PlanRoom, Settings,
    TakenOut,
};

/// Ports, settings and an observer.
#[derive(Debug, Clone)]
pub struct Context {
    /// Clock, randomness, identifiers.
    pub ambient: Ambient,
    /// Leases, table state, processes, tasks.
    pub store: Arc<dyn StateStore>,
    /// Task queues.
    pub queue: Arc<dyn TaskQueue>,
    /// The queue of those who may delete; `None` where there is nobody.
    pub cleaners: Option<Arc<dyn TaskQueue>>,
    /// Who takes over what a tick has no time for; `None` where there is nobody.
    pub errands: Option<Arc<dyn Errands>>,
    /// The catalogs.
    pub catalogs: Catalogs,
    /// Where large plans and results go.
    pub payloads: Arc<dyn Storage>,
    /// How to work.
    pub settings: Arc<Settings>,
    /// Who wants to know.
    pub observer: Arc<dyn Observer>,
    /// What every commit goes through.
    pub commits: CommitGate,
    /// What every plan waits for before it reads manifests.
    pub plans: PlanRoom,
    /// What this process of the program has listed to the end.
    pub listed: ListedHere,
    /// How far it saw queues come.
    pub taken: TakenOut,
    /// Where it saw tables lie.
    pub placed: PlacedHere,
}

impl Context {
    /// The layout that stands. A store that was never laid out is, with the configured number of buckets.
    pub async fn layout(&self) -> Result<Layout, CoordinationError> {
        match self.store.layout().await? {
            Some(layout) => Ok(layout),
            None => self.store.found_layout(self.settings.buckets).await,
        }
    }

    /// The same for who only looks: writes nothing.
    pub async fn layout_seen(&self) -> Result<Layout, CoordinationError> {
        let layout = self.store.layout().await?;
        Ok(layout.unwrap_or_else(|| Layout::first(self.settings.buckets)))
    }

    /// Tables that somebody has to look at now or later, in all buckets that are looked after.
    pub(crate) async fn watched(&self) -> Result<Watched, CoordinationError> {
        let layout = self.layout_seen().await?;
        Ok(Watched::new(&self.store, layout.swept().all()))
    }

    /// The queue of those who may do tasks of a kind; `None` where there is nobody.
    pub(crate) fn queue_of(&self, kind: ProcessKind) -> Option<&Arc<dyn TaskQueue>> {
        match kind.deletes() {
            true => self.cleaners.as_ref(),
            false => Some(&self.queue),
        }
    }

    /// The catalog of a table, with the storage of its files.
    pub(crate) fn catalog_of(&self, table: &TableId) -> Result<&OpenCatalog, CatalogError> {
        self.catalogs.get(&table.catalog)
    }

    pub(crate) fn tell(&self, event: Event) {
        self.observer.observe(&event);
    }
}
