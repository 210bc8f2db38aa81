//! What plans take of memory, by a counting allocator: it has to be less than schedulers reckon with before they read anything,
//! and not so much less that optimizers get what schedulers could do (case C57).
#![allow(missing_docs, clippy::unwrap_used)]

use std::{collections::HashMap, sync::Arc};

use async_trait::async_trait;
use aws_config::SdkConfig;
use iceberg::spec::{DataContentType, DataFileBuilder, DataFileFormat, Datum, Literal, Struct};
use icepress_catalog::{
    Catalog, CatalogError, CommitError, LoadedTable, Located, TableChange, TablePage,
};
use icepress_model::{Bytes, CatalogName, DatabaseId, Namespace, SpecId, TableId};
use icepress_service::{Catalogs, Context, Deadline, Event, OpenCatalog, Settings, tables, tick};
use icepress_storage::{
    AwsEnvironment, PutMode, Reach, S3Options, Storage, StorageRouter, WriteOptions,
};
use icepress_table::{CommitContext, CommitPolicy, list_snapshot};
use icepress_tests::{Lab, settings_for_tests};
use icepress_writer::{AddedFile, append_files};
use peak_alloc::PeakAlloc;
use serde_json::Value;

#[global_allocator]
static MEMORY: PeakAlloc = PeakAlloc;

/// Bytes that `work` takes at its peak beyond what there was before.
async fn peak_of<T>(work: impl Future<Output = T>) -> (T, Bytes) {
    let before = MEMORY.current_usage();
    MEMORY.reset_peak_usage();
    let done = work.await;
    (done, Bytes((MEMORY.peak_usage() - before) as u64))
}

/// A data file as manifests tell of it, with bounds of each column. Nobody opens it in order to plan.
fn file(lab: &Lab, number: i64) -> AddedFile {
    let of_all = |value: u64| HashMap::from([(1, value), (2, value), (3, value)]);
    let bounds = |id: i64| {
        let text = |what: &str| Datum::string(format!("{what} {id}"));
        HashMap::from([
            (1, Datum::long(id)),
            (2, Datum::string("eu")),
            (3, text("note")),
        ])
    };
    let path = format!(
        "{}/wide/data/00000-{number}-{}.parquet",
        lab.folder.path().display(),
        lab.ambient.uuid()
    );
    let file = DataFileBuilder::default()
        .content(DataContentType::Data)
        .file_path(path)
        .file_format(DataFileFormat::Parquet)
        .partition(Struct::from_iter([Some(Literal::string("eu"))]))
        .record_count(1_000 + number.unsigned_abs() % 977)
        .file_size_in_bytes(100_000 + number.unsigned_abs() * 31 % 50_000)
        .column_sizes(of_all(4_000 + number.unsigned_abs() % 911))
        .value_counts(of_all(1_000 + number.unsigned_abs() % 977))
        .null_value_counts(of_all(0))
        .lower_bounds(bounds(number * 1_000))
        .upper_bounds(bounds(number * 1_000 + 999))
        .partition_spec_id(0)
        .build()
        .unwrap();
    AddedFile {
        spec_id: SpecId(0),
        file,
    }
}

/// Why a scheduler with so much memory for plans hands the table over, if it does. Of a state of its own.
async fn handed_over(lab: &Lab, plan_memory: Bytes) -> Option<String> {
    let settings = Settings {
        plan_memory,
        hands_over: true,
        ..settings_for_tests("a")
    };
    let scheduler = lab.stranger(settings).await;
    lab.take_events();
    tick(&scheduler, Deadline::NONE).await.unwrap();
    lab.take_events().into_iter().find_map(|event| match event {
        Event::HandedOver { reason, .. } => Some(reason),
        _ => None,
    })
}

/// That the memory which was measured is what a scheduler reckons with: not less, and not four times as much.
async fn is_reckoned_with(lab: &Lab, measured: Bytes, what: &str) {
    let reason = handed_over(lab, measured).await;
    let reason = reason.unwrap_or_else(|| panic!("{what} of {measured} is thought to fit"));
    assert!(reason.contains("memory"), "{reason}");
    let wasted = handed_over(lab, Bytes(measured.get() * 4)).await;
    assert_eq!(wasted, None, "{what} would have fitted");
}

async fn manifests_take_what_is_reckoned() {
    const FILES: i64 = 20_000;
    let lab = Lab::new(95).await;
    let table = lab.create_table("wide", &[]).await;
    let files: Vec<AddedFile> = (0..FILES).map(|number| file(&lab, number)).collect();
    let commit = CommitContext {
        catalog: Arc::clone(&lab.catalog) as _,
        storage: Arc::clone(&lab.storage),
        ambient: lab.ambient.clone(),
        policy: CommitPolicy::default(),
    };
    append_files(&commit, &table, &files).await.unwrap();
    drop(files);
    let loaded = lab.load(&table).await;
    let listed = list_snapshot(&*lab.storage, &table, &loaded.metadata).await;
    let manifests = listed.unwrap().manifest_bytes();
    drop(loaded);

    let worker = lab.worker(settings_for_tests("w"));
    let (plan, measured) = peak_of(tables::plan(&worker, &table)).await;
    assert!(!plan.unwrap().groups.is_empty());
    let times = measured.get() as f64 / manifests.get() as f64;
    println!("plan files={FILES} manifests={manifests} peak={measured} times={times:.2}");
    is_reckoned_with(&lab, measured, "a plan").await;
}

/// Gives a table's metadata file so many snapshots, as a table has them that nobody expires.
async fn never_expire(lab: &Lab, table: &TableId, snapshots: i64) -> u64 {
    let location = lab.load(table).await.metadata_location;
    let content = lab.storage.read(location.as_str()).await.unwrap();
    let mut json: Value = serde_json::from_slice(&content).unwrap();
    let known = json["snapshots"][0].clone();
    let moment = json["last-updated-ms"].as_i64().unwrap();
    let more = (1..snapshots).map(|number| {
        let mut one = known.clone();
        one["snapshot-id"] = (number + 1_000).into();
        one["timestamp-ms"] = (moment - snapshots + number - 1_000).into();
        one
    });
    let more: Vec<Value> = more.collect();
    json["snapshots"].as_array_mut().unwrap().extend(more);
    let content = serde_json::to_vec(&json).unwrap();
    let size = content.len() as u64;
    let options = WriteOptions::default();
    let written = lab.storage.put(
        location.as_str(),
        content.into(),
        PutMode::Overwrite,
        &options,
    );
    written.await.unwrap();
    size
}

async fn a_metadata_file_takes_what_is_reckoned() {
    const SNAPSHOTS: i64 = 20_000;
    let lab = Lab::new(96).await;
    let table = lab.create_table("old", &[]).await;
    lab.append_numbered(&table, &["eu"], 1, 1, 0).await;
    let size = never_expire(&lab, &table, SNAPSHOTS).await;

    let (loaded, measured) = peak_of(lab.catalog.load(&table)).await;
    assert_eq!(
        loaded.unwrap().metadata.snapshots().len(),
        SNAPSHOTS as usize
    );
    let times = measured.get() as f64 / size as f64;
    println!(
        "load snapshots={SNAPSHOTS} metadata={} peak={measured} times={times:.2}",
        Bytes(size)
    );
    // It is not even read then: the time of a scheduler that dies of it is over before it has it.
    lab.disk.reset();
    let reason = handed_over(&lab, measured)
        .await
        .expect("a metadata file is thought to fit");
    assert!(reason.contains("its metadata file has"), "{reason}");
    assert_eq!(
        lab.disk.metadata_reads(),
        0,
        "it was read before it was weighed"
    );
    is_reckoned_with(&lab, measured, "a metadata file").await;
}

/// A catalog that hands out what reaches its tables' files, and sends their metadata itself: of no more than is asked for.
#[derive(Debug)]
struct Sending {
    inner: Arc<dyn Catalog>,
    storage: Arc<dyn Storage>,
}

#[async_trait]
impl Catalog for Sending {
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
        panic!("{table} was loaded without a word of how large it may be");
    }

    async fn load_up_to(&self, table: &TableId, most: Bytes) -> Result<LoadedTable, CatalogError> {
        let location = self.inner.locate(table, None).await?;
        let Located::At { location, .. } = location else {
            panic!("nothing was seen before");
        };
        let info = self.storage.info(location.as_str()).await.unwrap();
        if info.size > most {
            let table = table.clone();
            return Err(CatalogError::TooLarge { table, most });
        }
        self.inner.load(table).await
    }

    async fn table_storage(&self, _: &TableId) -> Result<Option<Arc<dyn Storage>>, CatalogError> {
        Ok(Some(Arc::clone(&self.storage)))
    }

    async fn commit(&self, _: &LoadedTable, _: TableChange) -> Result<LoadedTable, CommitError> {
        panic!("nothing is committed here");
    }
}

/// A laboratory whose tables have as many snapshots as this says, and the bytes of a metadata file of each.
async fn of_old_tables(seed: u64, tables: usize, snapshots: i64) -> (Lab, u64) {
    let lab = Lab::new(seed).await;
    let mut size = 0;
    for number in 0..tables {
        let table = lab.create_table(&format!("old_{number}"), &[]).await;
        lab.append_numbered(&table, &["eu"], 1, 1, 0).await;
        size = never_expire(&lab, &table, snapshots).await;
    }
    (lab, size)
}

/// What schedulers reckon with for a byte of metadata, and a little for the manifests of one file.
const RECKONED: u64 = 10;

async fn metadata_files_take_turns() {
    let (lab, size) = of_old_tables(97, 4, 20_000).await;
    let room = Bytes(size * RECKONED);
    let settings = Settings {
        plan_memory: room,
        hands_over: true,
        evaluations_at_once: 4,
        ..settings_for_tests("a")
    };
    let scheduler = lab.stranger(settings).await;
    lab.take_events();
    lab.disk.reset();
    let (ticked, measured) = peak_of(tick(&scheduler, Deadline::NONE)).await;
    ticked.unwrap();
    println!(
        "tick tables=4 metadata={} room={room} peak={measured}",
        Bytes(size)
    );
    let events = lab.take_events();
    let elsewhere = |event: &&Event| matches!(event, Event::HandedOver { .. });
    let handed_over = events.iter().find(elsewhere);
    assert!(handed_over.is_none(), "each of them fits: {handed_over:?}");
    assert!(lab.disk.metadata_reads() >= 4, "all were looked at");
    assert!(measured <= room, "{measured} were taken of {room}");
}

/// Whether a scheduler with so much memory for plans hands over a table of which it can't ask how large it is.
async fn of_unknown_size(lab: &Lab, plan_memory: Bytes) -> Option<String> {
    let settings = Settings {
        plan_memory,
        hands_over: true,
        evaluations_at_once: 4,
        ..settings_for_tests("a")
    };
    let known = lab.stranger(settings).await;
    let ambient = lab.ambient.clone();
    let aws = AwsEnvironment::from_config(SdkConfig::builder().build());
    let nowhere = StorageRouter::new(aws, S3Options::default(), Reach::s3(), ambient);
    let catalog = Sending {
        inner: Arc::clone(&lab.catalog) as _,
        storage: Arc::clone(&lab.storage),
    };
    let scheduler = Context {
        catalogs: Catalogs::new([OpenCatalog {
            catalog: Arc::new(catalog),
            storage: Arc::new(nowhere),
        }]),
        ..known
    };
    lab.take_events();
    tick(&scheduler, Deadline::NONE).await.unwrap();
    let events = lab.take_events();
    let failed = |event: &&Event| matches!(event, Event::TableFailed { .. });
    let failed = events.iter().find(failed);
    assert!(failed.is_none(), "{failed:?}");
    events.into_iter().find_map(|event| match event {
        Event::HandedOver { reason, .. } => Some(reason),
        _ => None,
    })
}

async fn a_catalog_that_sends_metadata_sends_no_more_than_there_is_memory_for() {
    let (lab, size) = of_old_tables(98, 1, 2_000).await;
    let reason = of_unknown_size(&lab, Bytes(size * 5)).await;
    let reason = reason.expect("twice as much is wanted as there is");
    assert!(reason.contains("more than"), "{reason}");
    // More than the share of one of those that are looked at side by side, and less than all.
    assert_eq!(of_unknown_size(&lab, Bytes(size * 20)).await, None);
}

/// One after the other, since there is one allocator.
#[tokio::test(flavor = "multi_thread")]
async fn c57_plans_take_no_more_memory_than_schedulers_reckon_with() {
    manifests_take_what_is_reckoned().await;
    a_metadata_file_takes_what_is_reckoned().await;
    metadata_files_take_turns().await;
    a_catalog_that_sends_metadata_sends_no_more_than_there_is_memory_for().await;
}
