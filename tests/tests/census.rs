//! Censuses of a catalog whose listing carries no state, and of databases too long for one turn.
#![allow(missing_docs, clippy::unwrap_used)]

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use icepress_catalog::{
    Catalog, CatalogError, CommitError, ListedTable, LoadedTable, Located, TableChange, TablePage,
};
use icepress_coordination::{CensusNote, CoordinationError, Errand, Errands, StateStore};
use icepress_model::{BucketCount, CatalogName, DatabaseId, Namespace, TableId};
use icepress_service::{
    Catalogs, Context, Deadline, OpenCatalog, Settings, buckets,
    embedded::{Stop, run_once},
    run_errand, tick,
};
use icepress_tests::{DyingStore, Lab, settings_for_tests};

/// A REST catalog of a kind: it lists names alone, one a page, and calls a state by a tag.
#[derive(Debug)]
struct Tagged {
    inner: Arc<dyn Catalog>,
    told_in_full: AtomicU64,
    told_as_seen: AtomicU64,
    /// Whether it knows its own page tokens no more.
    refuses_tokens: AtomicBool,
    /// A table that its listing lacks.
    hides: Mutex<Option<TableId>>,
}

impl Tagged {
    fn around(lab: &Lab) -> Arc<Self> {
        Arc::new(Self {
            inner: Arc::clone(&lab.catalog) as Arc<dyn Catalog>,
            told_in_full: AtomicU64::new(0),
            told_as_seen: AtomicU64::new(0),
            refuses_tokens: AtomicBool::new(false),
            hides: Mutex::default(),
        })
    }

    /// How often it told a state in full, and how often it said "as you saw it", since the last call.
    fn told(&self) -> (u64, u64) {
        let of = |counter: &AtomicU64| counter.swap(0, Ordering::Relaxed);
        (of(&self.told_in_full), of(&self.told_as_seen))
    }
}

#[async_trait]
impl Catalog for Tagged {
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
        if next.is_some() && self.refuses_tokens.load(Ordering::Relaxed) {
            return Err(CatalogError::Unavailable {
                catalog: self.name().to_string(),
                message: "there is no such page".to_owned(),
                source: None,
            });
        }
        let mut names = Vec::new();
        let mut from = None;
        loop {
            let page = self.inner.list_tables(database, from.as_deref()).await?;
            names.extend(page.tables.into_iter().map(|listed| listed.table));
            from = page.next;
            if from.is_none() {
                break;
            }
        }
        names.sort();
        let hidden = self.hides.lock().unwrap().clone();
        names.retain(|table| Some(table) != hidden.as_ref());
        let mut left = names
            .into_iter()
            .filter(|table| next.is_none_or(|next| table.name.as_str() > next));
        let table = left.next();
        let next = table.as_ref().map(|table| table.name.clone());
        let listed = table.map(|table| ListedTable {
            table,
            metadata_location: None,
        });
        Ok(TablePage {
            tables: listed.into_iter().collect(),
            next: next.filter(|_| left.next().is_some()),
        })
    }

    async fn load(&self, table: &TableId) -> Result<LoadedTable, CatalogError> {
        self.inner.load(table).await
    }

    async fn locate(&self, table: &TableId, seen: Option<&str>) -> Result<Located, CatalogError> {
        let location = self.inner.load(table).await?.metadata_location;
        let tag = format!("\"{}\"", location.as_str());
        if seen == Some(tag.as_str()) {
            self.told_as_seen.fetch_add(1, Ordering::Relaxed);
            return Ok(Located::AsSeen);
        }
        self.told_in_full.fetch_add(1, Ordering::Relaxed);
        Ok(Located::At {
            location,
            tag: Some(tag),
        })
    }

    async fn commit(
        &self,
        base: &LoadedTable,
        change: TableChange,
    ) -> Result<LoadedTable, CommitError> {
        self.inner.commit(base, change).await
    }
}

/// Keeps what is handed out, for the test to do.
#[derive(Debug, Default)]
struct Kept(Mutex<Vec<Errand>>);

impl Kept {
    fn take(&self) -> Vec<Errand> {
        std::mem::take(&mut *self.0.lock().unwrap())
    }
}

#[async_trait]
impl Errands for Kept {
    async fn waiting(&self) -> Result<u64, CoordinationError> {
        Ok(self.0.lock().unwrap().len() as u64)
    }

    async fn leave(&self, errands: &[Errand]) -> Result<u64, CoordinationError> {
        self.0.lock().unwrap().extend(errands.iter().cloned());
        Ok(errands.len() as u64)
    }
}

/// A worker that was just started: it has seen nothing itself.
fn cold(lab: &Lab, catalog: &Arc<Tagged>, settings: Settings) -> Context {
    Context {
        catalogs: Catalogs::new([OpenCatalog {
            catalog: Arc::clone(catalog) as Arc<dyn Catalog>,
            storage: Arc::clone(&lab.storage),
        }]),
        ..lab.worker(settings)
    }
}

async fn lab_of_tables(seed: u64, tables: usize) -> (Lab, Vec<TableId>) {
    let lab = Lab::new(seed).await;
    let mut made = Vec::new();
    for number in 0..tables {
        made.push(lab.create_table(&format!("t{number}"), &[]).await);
    }
    (lab, made)
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_catalog_calls_the_states_survives_a_cold_start() {
    let (lab, tables) = lab_of_tables(71, 5).await;
    let catalog = Tagged::around(&lab);
    let worker = |name: &str| cold(&lab, &catalog, settings_for_tests(name));
    tick(&worker("a"), Deadline::NONE).await.unwrap();
    assert_eq!(catalog.told().0, 5, "nobody had seen them");

    tick(&worker("b"), Deadline::NONE).await.unwrap();
    assert_eq!(catalog.told(), (0, 5));

    lab.append_numbered(&tables[3], &["eu"], 1, 1, 0).await;
    tick(&worker("c"), Deadline::NONE).await.unwrap();
    let (in_full, as_seen) = catalog.told();
    assert!(in_full >= 1 && as_seen >= 4, "{in_full} {as_seen}");
    let row = worker("d").store.table(&tables[3]).await.unwrap().unwrap();
    let stands = lab.load(&tables[3]).await.metadata_location;
    assert_eq!(row.evaluated_location, Some(stands), "it was not missed");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_long_database_is_listed_in_runs_of_its_own_and_none_of_them_alone_removes_anything() {
    let (lab, tables) = lab_of_tables(72, 6).await;
    let catalog = Tagged::around(&lab);
    let errands = Arc::new(Kept::default());
    let worker = |name: &str| Context {
        errands: Some(Arc::clone(&errands) as Arc<dyn Errands>),
        ..cold(
            &lab,
            &catalog,
            Settings {
                long_listing: 2,
                ..settings_for_tests(name)
            },
        )
    };
    let database = tables[0].database();
    let listing = Errand::Listing {
        database: database.clone(),
    };
    let report = tick(&worker("a"), Deadline::NONE).await.unwrap();
    assert_eq!(report.handed_out, 1, "{report:?}");
    assert_eq!(errands.take(), vec![listing.clone()]);
    let store = worker("look").store;
    assert!(store.digest(&database).await.unwrap().0.is_empty());

    // A run whose time is up at once reads nothing, and leaves it to the next.
    let none = Deadline::after(&lab.ambient, Duration::ZERO);
    run_errand(&worker("b"), &listing, none).await.unwrap();
    assert_eq!(errands.take(), vec![listing.clone()]);
    assert!(store.digest(&database).await.unwrap().0.is_empty());

    run_errand(&worker("c"), &listing, Deadline::NONE)
        .await
        .unwrap();
    assert_eq!(errands.take(), vec![]);
    assert_eq!(store.digest(&database).await.unwrap().0.len(), 6 * 16);
    for table in &tables {
        assert!(
            store.table(table).await.unwrap().is_some(),
            "{table} is marked"
        );
    }
    // The same errand once more finds nothing new; one that is gone is missed twice before anybody says so.
    lab.drop_table(&tables[5]).await;
    for _ in 0..2 {
        run_errand(&worker("d"), &listing, Deadline::NONE)
            .await
            .unwrap();
    }
    tick(&worker("e"), Deadline::NONE).await.unwrap();
    assert!(store.table(&tables[5]).await.unwrap().is_none());
    assert!(store.table(&tables[4]).await.unwrap().is_some());
}

#[tokio::test(flavor = "multi_thread")]
async fn b05_a_table_that_was_missed_and_came_back_is_forgotten_once_it_is_dropped() {
    let (lab, tables) = lab_of_tables(78, 2).await;
    let catalog = Tagged::around(&lab);
    let worker = || cold(&lab, &catalog, settings_for_tests("w"));
    let is_remembered = async || worker().store.table(&tables[1]).await.unwrap().is_some();
    let known = async || {
        let digest = worker().store.digest(&tables[1].database()).await;
        digest.unwrap().0.len() / 16
    };
    tick(&worker(), Deadline::NONE).await.unwrap();

    // Two listings lack it, and whoever looks finds it there: dropped, and made anew under the same name.
    *catalog.hides.lock().unwrap() = Some(tables[1].clone());
    for _ in 0..3 {
        tick(&worker(), Deadline::NONE).await.unwrap();
    }
    assert!(is_remembered().await, "it is there");

    // Before any listing has it, it is dropped for good.
    lab.drop_table(&tables[1]).await;
    for _ in 0..2 {
        tick(&worker(), Deadline::NONE).await.unwrap();
    }
    assert_eq!((is_remembered().await, known().await), (false, 1));
}

/// What becomes of a long listing whose run has died.
#[derive(Debug, Clone, Copy)]
enum Afterwards {
    /// Another goes on where it stopped.
    GoesOn,
    /// So much later that its place is worth nothing.
    Stale,
    /// The tables were spread anew over other buckets.
    Resized,
    /// The catalog knows its page no more.
    Refused,
    /// The database has become short.
    Short,
}

#[tokio::test(flavor = "multi_thread")]
async fn b05_whatever_becomes_of_a_long_listing_no_row_outlives_its_table() {
    use Afterwards::{GoesOn, Refused, Resized, Short, Stale};
    for afterwards in [GoesOn, Stale, Resized, Refused, Short] {
        let mut deaths = 0;
        while dies_and_is_dropped(afterwards, deaths).await {
            deaths += 1;
        }
        assert!(deaths >= 8, "{afterwards:?}: it wrote {deaths} times");
    }
}

/// A first listing dies after so many writes; what it marked is looked at and at rest when all tables are dropped. Says
/// whether it had so much to write.
async fn dies_and_is_dropped(afterwards: Afterwards, writes: u32) -> bool {
    let (lab, tables) = lab_of_tables(76, 3).await;
    let catalog = Tagged::around(&lab);
    let errands = Arc::new(Kept::default());
    let worker = |long_listing| Context {
        errands: Some(Arc::clone(&errands) as Arc<dyn Errands>),
        ..cold(
            &lab,
            &catalog,
            Settings {
                long_listing,
                ..settings_for_tests("w")
            },
        )
    };
    let listing = Errand::Listing {
        database: tables[0].database(),
    };
    worker(1).layout().await.unwrap();
    let lister = worker(1);
    let store = DyingStore::around(Arc::clone(&lister.store), writes, true);
    let lister = Context {
        store: Arc::clone(&store) as Arc<dyn StateStore>,
        ..lister
    };
    let listed = run_errand(&lister, &listing, Deadline::NONE).await;
    assert_eq!(listed.is_err(), store.was_reached(), "{listed:?}");
    if listed.is_ok() {
        return false;
    }
    // Its lease is over, and what is due is looked at, while nobody lists anything.
    lab.clock.advance(Duration::from_secs(600));
    tick(&worker(0), Deadline::NONE).await.unwrap();
    errands.take();
    for table in &tables {
        lab.drop_table(table).await;
    }
    let mut long_listing = 1;
    match afterwards {
        Afterwards::GoesOn => {}
        Afterwards::Stale => lab.clock.advance(Duration::from_secs(7200)),
        Afterwards::Resized => {
            let three = BucketCount(3.try_into().unwrap());
            buckets::resize(&worker(1), three).await.unwrap();
        }
        Afterwards::Refused => {
            catalog.refuses_tokens.store(true, Ordering::Relaxed);
            run_errand(&worker(1), &listing, Deadline::NONE)
                .await
                .unwrap();
            catalog.refuses_tokens.store(false, Ordering::Relaxed);
        }
        Afterwards::Short => long_listing = 100,
    }
    for _ in 0..6 {
        tick(&worker(long_listing), Deadline::NONE).await.unwrap();
        for errand in errands.take() {
            run_errand(&worker(long_listing), &errand, Deadline::NONE)
                .await
                .unwrap();
        }
        lab.clock.advance(Duration::from_secs(60));
    }
    let store = worker(1).store;
    for table in &tables {
        let row = store.table(table).await.unwrap();
        assert!(row.is_none(), "{afterwards:?}, {writes} writes: {row:?}");
    }
    // Nothing is kept of it either.
    let database = tables[0].database();
    for note in [CensusNote::Listing, CensusNote::Begun] {
        let kept = store.census_note(&database, note).await.unwrap();
        assert_eq!(
            kept.0,
            Vec::<u8>::new(),
            "{afterwards:?}, {writes}: {note:?}"
        );
    }
    true
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tick_hands_out_what_it_has_no_time_for_and_each_bucket_is_done_once() {
    let (lab, _) = lab_of_tables(73, 3).await;
    let errands = Arc::new(Kept::default());
    let worker = |name: &str| Context {
        errands: Some(Arc::clone(&errands) as Arc<dyn Errands>),
        ..lab.worker(Settings {
            own_share: Duration::ZERO,
            ..settings_for_tests(name)
        })
    };
    // Its time is up before the first bucket.
    lab.clock.advance(Duration::from_millis(1));
    let report = tick(&worker("a"), Deadline::NONE).await.unwrap();
    let buckets = worker("a").settings.buckets.0.get();
    assert_eq!(report.not_begun, 0, "{report:?}");
    assert!(report.handed_out + report.swept >= buckets, "{report:?}");
    // While they wait, nobody hands out more than there is room for.
    let again = tick(&worker("b"), Deadline::NONE).await.unwrap();
    assert!(again.handed_out <= report.swept + 1, "{again:?}");

    let handed = errands.take();
    for errand in &handed {
        run_errand(&worker("c"), errand, Deadline::NONE)
            .await
            .unwrap();
    }
    let leases = leases_so_far(&worker("look")).await;
    // All of them once more: they came twice.
    for errand in &handed {
        run_errand(&worker("d"), errand, Deadline::NONE)
            .await
            .unwrap();
    }
    assert_eq!(leases_so_far(&worker("look")).await, leases);
}

async fn leases_so_far(context: &Context) -> u64 {
    let buckets = context.store.buckets(context.settings.buckets).await;
    let rows = buckets.unwrap().rows;
    rows.iter().map(|row| row.epoch.get()).sum()
}

#[tokio::test(flavor = "multi_thread")]
async fn one_process_does_its_own_errands() {
    let lab = Lab::new(74).await;
    let table = lab.create_table("events", &[]).await;
    lab.append_numbered(&table, &["eu"], 8, 10, 0).await;
    let settings = Settings {
        own_share: Duration::ZERO,
        long_listing: 0,
        ..settings_for_tests("w")
    };
    let report = run_once(&lab.worker(settings), 2, &Stop::default())
        .await
        .unwrap();
    assert_eq!(report.failed, 0, "{report:?}");
    assert_eq!(lab.rows(&table).await.1.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn b05_a_resize_in_the_midst_of_a_long_listing_is_not_refused_and_loses_no_table() {
    let mut was_met = 0;
    for writes in 0..14 {
        let (lab, tables) = lab_of_tables(75, 3).await;
        let catalog = Tagged::around(&lab);
        let settings = |name: &str| Settings {
            long_listing: 1,
            ..settings_for_tests(name)
        };
        let worker = cold(&lab, &catalog, settings("other"));
        worker.layout().await.unwrap();
        let resizing = worker.clone();
        let deed = move || {
            let worker = resizing.clone();
            async move {
                let three = BucketCount(3.try_into().unwrap());
                let resized = buckets::resize(&worker, three).await.unwrap();
                assert!(resized.moves.is_settled, "{resized:?}");
            }
        };
        let lister = cold(&lab, &catalog, settings("lister"));
        let store = DyingStore::interrupted(Arc::clone(&lister.store), writes, deed);
        let lister = Context {
            store: Arc::clone(&store) as Arc<dyn StateStore>,
            ..lister
        };
        let database = tables[0].database();
        let listing = Errand::Listing {
            database: database.clone(),
        };
        run_errand(&lister, &listing, Deadline::NONE).await.unwrap();
        was_met += u32::from(store.was_reached());
        // The next one ends it, by the layout that stands.
        run_errand(&worker, &listing, Deadline::NONE).await.unwrap();
        tick(&worker, Deadline::NONE).await.unwrap();
        let layout = worker.layout().await.unwrap();
        assert!(!layout.is_moving(), "{writes}: {layout:?}");
        assert_eq!(
            worker.store.digest(&database).await.unwrap().0.len(),
            3 * 16
        );
        for table in &tables {
            let row = worker.store.table(table).await.unwrap().unwrap();
            assert_eq!(row.home(), layout.home_of(table), "{writes}: {table}");
        }
    }
    assert!(was_met >= 6, "it was interrupted at {was_met} writes");
}
