//! Commits that take longer than they may: a catalog that waits for its lock, a process that stood still.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use iceberg::spec::FormatVersion;
use icepress_catalog::{Catalog, CatalogError, CommitError, LoadedTable, TableChange, TablePage};
use icepress_model::{CatalogName, DatabaseId, Namespace, TableId, ambient::Clock as _};

use super::{
    memory::{MemoryCatalog, TestClock},
    world::{World, data},
};
use crate::commit::{CommitContext, CommitFailure, Gatekeeper, commit_groups_unless};

/// A catalog that gets to its swap after a wait.
#[derive(Debug)]
struct SlowCatalog {
    inner: Arc<MemoryCatalog>,
    clock: Arc<TestClock>,
    wait: Duration,
}

#[async_trait]
impl Catalog for SlowCatalog {
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
        self.inner.list_tables(database, next).await
    }
    async fn load(&self, table: &TableId) -> Result<LoadedTable, CatalogError> {
        self.inner.load(table).await
    }
    async fn commit(
        &self,
        base: &LoadedTable,
        change: TableChange,
    ) -> Result<LoadedTable, CommitError> {
        self.clock.sleep(self.wait).await;
        tokio::task::yield_now().await;
        self.inner.commit(base, change).await
    }
}

/// Lets a swap be sent for so long after it was asked.
#[derive(Debug)]
struct For(Arc<TestClock>, Duration);

#[async_trait]
impl Gatekeeper for For {
    async fn objection(&self) -> Option<String> {
        None
    }

    fn sent_until(&self) -> Option<Duration> {
        Some(self.0.monotonic() + self.1)
    }
}

#[tokio::test]
async fn nothing_is_swapped_after_the_time_that_a_commit_may_take() {
    for (wait, is_in) in [(9, true), (11, false)] {
        let world = World::new(FormatVersion::V2);
        world.append(&[data("a", "eu", 10)]).await;
        let base = world.base();
        let group = world.group(0, &["a"], &[data("o", "eu", 10)]).await;
        let context = CommitContext {
            catalog: Arc::new(SlowCatalog {
                inner: Arc::clone(&world.catalog),
                clock: Arc::clone(&world.clock),
                wait: Duration::from_secs(wait),
            }),
            ..world.context.clone()
        };
        let door = For(Arc::clone(&world.clock), Duration::from_secs(10));
        let groups = vec![group];
        let committed =
            commit_groups_unless(&door, &context, &world.table, &world.process, &base, groups);
        let committed = committed.await;
        let paths = world.data_paths().await;
        if is_in {
            committed.unwrap();
            assert_eq!(paths, ["o"]);
            continue;
        }
        // A catalog that was told something may act yet: nothing is deleted.
        assert!(
            matches!(committed, Err(CommitFailure::OutcomeUnknown { .. })),
            "{committed:?}"
        );
        assert_eq!(paths, ["a"]);
    }
}
