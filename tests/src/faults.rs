//! A catalog that fails on demand, as networks do.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex},
    time::Duration,
};

use async_trait::async_trait;
use icepress_catalog::{Catalog, CatalogError, CommitError, LoadedTable, TableChange, TablePage};
use icepress_model::{CatalogName, DatabaseId, Namespace, TableId};

/// What happens to one commit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CatalogFault {
    /// The request is lost before it takes effect, and nobody knows.
    LostBefore,
    /// The answer is lost after the request took effect.
    LostAfter,
    /// Another writer is said to have been first.
    Conflict,
}

/// Passes everything on to a real catalog, but for the faults that were ordered.
#[derive(Debug)]
pub struct FaultyCatalog {
    inner: Arc<dyn Catalog>,
    faults: Mutex<VecDeque<CatalogFault>>,
    listings_fail: Mutex<bool>,
    loads_throttled: Mutex<bool>,
    listings_kill: Mutex<bool>,
    loaded: Mutex<Vec<TableId>>,
}

impl FaultyCatalog {
    /// Around `inner`, without faults.
    pub fn around(inner: Arc<dyn Catalog>) -> Arc<Self> {
        Arc::new(Self {
            inner,
            faults: Mutex::default(),
            listings_fail: Mutex::default(),
            loads_throttled: Mutex::default(),
            listings_kill: Mutex::default(),
            loaded: Mutex::default(),
        })
    }

    /// Orders a fault for the next commit that has none yet.
    pub fn order(&self, fault: CatalogFault) {
        self.faults.lock().unwrap().push_back(fault);
    }

    /// The tables that were loaded since the last time that this was asked.
    pub fn take_loaded(&self) -> Vec<TableId> {
        std::mem::take(&mut *self.loaded.lock().unwrap())
    }

    /// Makes every listing of tables fail after its first table, or stop failing.
    pub fn fail_listings(&self, fail: bool) {
        *self.listings_fail.lock().unwrap() = fail;
    }

    /// From now on, whoever lists tables dies of it, at once and without a word.
    pub fn die_at_listings(&self) {
        *self.listings_kill.lock().unwrap() = true;
    }

    /// Makes the catalog ask for fewer requests whenever a table is loaded, or stop doing so.
    pub fn throttle_loads(&self, throttle: bool) {
        *self.loads_throttled.lock().unwrap() = throttle;
    }
}

#[async_trait]
impl Catalog for FaultyCatalog {
    fn name(&self) -> &CatalogName {
        self.inner.name()
    }

    async fn list_namespaces(&self) -> Result<Vec<Namespace>, CatalogError> {
        self.inner.list_namespaces().await
    }

    async fn list_tables(
        &self,
        database: &DatabaseId,
        next: Option<&str>,
    ) -> Result<TablePage, CatalogError> {
        let kills = *self.listings_kill.lock().unwrap();
        if kills {
            // Whoever notes what takes long has the time for it. A process of its own dies here, in real time.
            #[allow(clippy::disallowed_methods)]
            tokio::time::sleep(Duration::from_millis(100)).await;
            std::process::abort();
        }
        let mut page = self.inner.list_tables(database, next).await?;
        if *self.listings_fail.lock().unwrap() {
            if next.is_some() {
                return Err(CatalogError::Unavailable {
                    catalog: self.name().to_string(),
                    message: "the listing broke off".to_owned(),
                    source: None,
                });
            }
            page.tables.truncate(1);
            page.next = Some("more".to_owned());
        }
        Ok(page)
    }

    async fn load(&self, table: &TableId) -> Result<LoadedTable, CatalogError> {
        if *self.loads_throttled.lock().unwrap() {
            return Err(CatalogError::Throttled {
                catalog: self.name().to_string(),
                message: "too many requests".to_owned(),
            });
        }
        self.loaded.lock().unwrap().push(table.clone());
        self.inner.load(table).await
    }

    async fn commit(
        &self,
        base: &LoadedTable,
        change: TableChange,
    ) -> Result<LoadedTable, CommitError> {
        let fault = self.faults.lock().unwrap().pop_front();
        let unknown = || CommitError::OutcomeUnknown {
            table: base.table.clone(),
            message: "the connection broke".to_owned(),
        };
        match fault {
            None => self.inner.commit(base, change).await,
            Some(CatalogFault::Conflict) => Err(CommitError::Conflict(base.table.clone())),
            Some(CatalogFault::LostBefore) => Err(unknown()),
            Some(CatalogFault::LostAfter) => {
                self.inner.commit(base, change).await?;
                Err(unknown())
            }
        }
    }
}
