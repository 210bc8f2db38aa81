use std::{collections::BTreeSet, ops::Range as Bytes, sync::Mutex};

use async_trait::async_trait;
use bytes::Bytes as Buffer;
use icepress_model::TimestampMs;
use icepress_storage::{DeleteOutcome, ObjectInfo, ObjectWriter, PutMode, WriteOptions};
use proptest::prelude::*;

use super::*;

/// Names alone, in pages of any size.
#[derive(Debug)]
struct Names {
    names: BTreeSet<String>,
    page: usize,
    requests: Mutex<u64>,
    fails_at: Option<u64>,
    ignores_after: bool,
}

impl Names {
    fn new(names: impl IntoIterator<Item = String>, page: usize) -> Self {
        Self {
            names: names.into_iter().collect(),
            page,
            requests: Mutex::new(0),
            fails_at: None,
            ignores_after: false,
        }
    }

    async fn listed(&self, folders: &[&str]) -> Result<Vec<String>, StorageError> {
        let folders: Vec<String> = folders.iter().map(|it| (*it).to_owned()).collect();
        let mut listing = Listing::of(self, &folders);
        let mut found = Vec::new();
        while let Some(objects) = listing.next().await? {
            found.extend(objects.into_iter().map(|it| it.location));
        }
        Ok(found)
    }
}

fn never<T>() -> Result<T, StorageError> {
    unreachable!("a listing only lists")
}

#[async_trait]
impl Storage for Names {
    async fn info(&self, _: &str) -> Result<ObjectInfo, StorageError> {
        never()
    }
    async fn read(&self, _: &str) -> Result<Buffer, StorageError> {
        never()
    }
    async fn read_range(&self, _: &str, _: Bytes<u64>) -> Result<Buffer, StorageError> {
        never()
    }
    async fn read_ranges(&self, _: &str, _: &[Bytes<u64>]) -> Result<Vec<Buffer>, StorageError> {
        never()
    }
    async fn put(
        &self,
        _: &str,
        _: Buffer,
        _: PutMode,
        _: &WriteOptions,
    ) -> Result<(), StorageError> {
        never()
    }
    async fn writer(
        &self,
        _: &str,
        _: &WriteOptions,
    ) -> Result<Box<dyn ObjectWriter>, StorageError> {
        never()
    }
    async fn list(&self, _: &str, _: Option<&str>) -> Result<ListPage, StorageError> {
        never()
    }
    async fn delete(&self, _: &[String]) -> Vec<DeleteOutcome> {
        Vec::new()
    }
    async fn list_after(
        &self,
        prefix: &str,
        after: Option<&str>,
    ) -> Result<ListPage, StorageError> {
        let number = {
            let mut requests = self.requests.lock().unwrap();
            *requests += 1;
            *requests
        };
        if self.fails_at == Some(number) {
            return Err(StorageError {
                kind: StorageErrorKind::Throttled,
                action: "list",
                location: prefix.to_owned(),
                source: None,
            });
        }
        let after = after.filter(|_| !self.ignores_after).unwrap_or("");
        let behind = self
            .names
            .range::<str, _>((std::ops::Bound::Excluded(after), std::ops::Bound::Unbounded));
        let mut objects: Vec<ListedObject> = behind
            .filter(|name| name.starts_with(prefix))
            .take(self.page + 1)
            .map(|name| ListedObject {
                location: name.clone(),
                size: icepress_model::Bytes(1),
                modified: TimestampMs(0),
            })
            .collect();
        let is_cut = objects.len() > self.page;
        objects.truncate(self.page);
        let next = objects
            .last()
            .filter(|_| is_cut)
            .map(|it| it.location.clone());
        Ok(ListPage { objects, next })
    }
}

#[tokio::test]
async fn a_flat_folder_is_listed_by_many_and_whole() {
    let names = (0..20_000).map(|i| format!("s3://b/t/data/{:05}-7-0a1b.parquet", i));
    let store = Names::new(names, 100);
    let mut found = store.listed(&["s3://b/t"]).await.unwrap();
    found.sort();
    assert!(found.iter().eq(store.names.iter()), "each once");
    // As many as pages, and what the cuts into nothing took.
    let requests = *store.requests.lock().unwrap();
    assert!(requests < 600, "{requests} requests");
}

#[tokio::test]
async fn a_small_folder_takes_one_request() {
    let store = Names::new((0..99).map(|i| format!("s3://b/t/{i}")), 100);
    assert_eq!(store.listed(&["s3://b/t"]).await.unwrap().len(), 99);
    assert_eq!(*store.requests.lock().unwrap(), 1);
}

#[tokio::test]
async fn c29_a_listing_that_breaks_off_is_no_listing() {
    for fails_at in 1..12 {
        let mut store = Names::new((0..1000).map(|i| format!("s3://b/t/{i:04}")), 100);
        store.fails_at = Some(fails_at);
        assert!(
            store.listed(&["s3://b/t"]).await.is_err(),
            "request {fails_at}"
        );
    }
}

#[tokio::test]
async fn c29_a_store_that_begins_anew_each_time_is_not_believed() {
    let mut store = Names::new((0..1000).map(|i| format!("s3://b/t/{i:04}")), 100);
    store.ignores_after = true;
    assert!(store.listed(&["s3://b/t"]).await.is_err());
}

proptest! {
    #[test]
    fn every_name_is_told_once(
        names in proptest::collection::btree_set("[ -~é\u{10000}\u{1}]{0,12}(/[0-3]{1,6})?", 0..300),
        page in 1usize..9,
    ) {
        let all = names.iter().map(|name| format!("s3://b/t/{name}"));
        let store = Names::new(all.chain(["s3://b/t2/x".to_owned()]), page);
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let mut found = runtime.block_on(store.listed(&["s3://b/t"])).unwrap();
        found.sort();
        let expected: Vec<String> = store.names.iter().filter(|it| it.starts_with("s3://b/t/")).cloned().collect();
        prop_assert_eq!(found, expected);
    }
}
