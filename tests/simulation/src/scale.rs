//! Many tables: how many periods of the schedule it takes until each that changed was looked at, and what is asked of AWS
//! for it, with functions started as a schedule and the queue of errands start them.
//!
//! All tables are known already, as the digests have them, and at rest. Those that change get a state in which there is
//! nothing to rewrite: it is schedulers that are measured, not optimizers. Glue takes about a quarter of a second over a page
//! of a hundred tables.

use std::{collections::BTreeMap, num::NonZeroU32, sync::Arc, sync::Mutex, time::Duration};

use iceberg::{
    TableCreation,
    spec::{NestedField, PrimitiveType, Schema, Type},
};
use icepress_catalog::metadata::stage_new_table;
use icepress_coordination::{
    Digest, DigestStore as _, DynamoStore, LayoutStore as _, LeaseStore as _, TableStore as _,
    create_state_table, hash_of_name,
};
use icepress_model::{
    BucketCount, CatalogName, DatabaseId, MetadataLocation, Namespace, TableId, WorkerId,
    ambient::Ambient,
};
use icepress_service::Settings;
use icepress_storage::{RequestLedger, RequestTotals};

use crate::{
    ambient::machine,
    catalog::Pointers,
    connector::Aws,
    dynamo::Dynamo,
    engine::{Driver, Engine, Step},
    fleet::{Account, ERRANDS, Fleet, MOST_BUCKETS, QUEUES, Rhythm, STATE, true_clock},
    network::Network,
    sqs::Sqs,
    storage::{MachineStorage, Objects},
};

pub use crate::fleet::Runs;

/// Between two ticks of the schedule.
pub const PERIOD: Duration = Duration::from_secs(300);
/// How long Glue takes over a page.
pub const PAGE_TAKES: Duration = Duration::from_millis(250);
/// Tables on a page.
const PAGE: usize = 100;
/// Between two looks whether all was seen.
const LOOK: Duration = Duration::from_secs(15);
/// When to give up.
const MOST_PERIODS: u32 = 6;

/// A world of many tables.
#[derive(Debug, Clone, Copy)]
pub struct Scale {
    /// Tables in all.
    pub tables: usize,
    /// Databases that they are spread over.
    pub databases: usize,
    /// Buckets.
    pub buckets: u32,
    /// Tables that change before the first tick.
    pub changed: usize,
    /// Schedulers that do errands at once.
    pub schedulers: usize,
    /// How long the catalog takes over a page of a listing.
    pub page_takes: Duration,
}

/// What it took.
#[derive(Debug, Clone)]
pub struct Seen {
    /// Ticks that had begun when all tables that changed had been looked at.
    pub ticks: u64,
    /// How long after the first tick that was.
    pub took: Duration,
    /// Pages of listings that had been read by then.
    pub pages: u64,
    /// Runs of schedulers.
    pub runs: Runs,
    /// Requests to AWS.
    pub requests: RequestTotals,
    /// The same in a period in which nothing changes any more.
    pub idle: RequestTotals,
    /// Runs of schedulers in that period.
    pub idle_runs: Runs,
}

struct World {
    engine: Arc<Engine>,
    driver: Driver,
    account: Arc<Account>,
    fleet: Arc<Fleet>,
    ledger: RequestLedger,
    /// A client of the state table for who looks from outside.
    uncounted: aws_sdk_dynamodb::Client,
}

/// Lives in such a world until every table that changed was looked at; the error says which were not in time.
pub fn run(scale: Scale) -> Result<Seen, String> {
    let mut world = World::new(scale);
    let changed = world.prepare(scale)?;
    let before = world.requests();
    let fleet = Arc::clone(&world.fleet);
    world
        .engine
        .start("schedule", false, Arc::clone(&fleet).schedule());
    let errands = Arc::clone(&fleet).send_on_errands();
    world.engine.start("errands", false, errands);

    let begin = world.engine.now() + PERIOD;
    let mut unseen = changed.len();
    while unseen > 0 {
        world.live(LOOK)?;
        if world.engine.now() > begin + PERIOD * MOST_PERIODS {
            return Err(format!(
                "{unseen} of {} tables were never looked at",
                changed.len()
            ));
        }
        unseen = world.unseen(&changed)?;
    }
    let (took, runs) = (world.engine.now() - begin, fleet.runs());
    let ticks = took.as_secs() / PERIOD.as_secs() + 1;
    let pages = world.account.pointers.pages();
    // What is under way comes to its end; then a whole period in which nothing changes.
    world.live(PERIOD)?;
    let requests = since(&world.requests(), &before);
    let (before_idle, runs_before) = (world.requests(), fleet.runs());
    world.live(PERIOD)?;
    let after = fleet.runs();
    Ok(Seen {
        ticks,
        took,
        pages,
        runs,
        requests,
        idle: since(&world.requests(), &before_idle),
        idle_runs: Runs {
            count: after.count - runs_before.count,
            ticks: after.ticks - runs_before.ticks,
            took: after.took.saturating_sub(runs_before.took),
        },
    })
}

fn since(now: &RequestTotals, before: &RequestTotals) -> RequestTotals {
    now.iter()
        .map(|(kind, count)| (kind.clone(), count - before.get(kind).copied().unwrap_or(0)))
        .filter(|(_, count)| *count > 0)
        .collect()
}

impl World {
    fn new(scale: Scale) -> Self {
        let engine = Engine::new(7, false);
        let clock = true_clock(&engine);
        let network = Network::new(Arc::clone(&engine));
        let dynamo = Dynamo::new(Arc::clone(&clock), Arc::clone(&network));
        let sqs = Sqs::new(Arc::clone(&clock), Arc::clone(&network));
        for bucket in 0..MOST_BUCKETS.max(scale.buckets) {
            sqs.create(&format!("{QUEUES}{bucket}"), 5);
        }
        sqs.create(ERRANDS, 0);
        let aws = Aws::new(&dynamo, &sqs, &network, "aws");
        let ledger = RequestLedger::default();
        let uncounted = aws.dynamodb_client(&clock);
        let dynamodb = uncounted.config().to_builder();
        let dynamodb = dynamodb.interceptor(ledger.clone()).build();
        let queues = aws.sqs_client(&clock).config().to_builder();
        let queues = queues.interceptor(ledger.clone()).build();
        let buckets = NonZeroU32::new(scale.buckets).expect("at least one bucket");
        let account = Arc::new(Account {
            engine: Arc::clone(&engine),
            network,
            sqs,
            objects: Objects::new(clock),
            pointers: Pointers::new(),
            dynamodb: aws_sdk_dynamodb::Client::from_conf(dynamodb),
            queues: aws_sdk_sqs::Client::from_conf(queues),
            settings: Settings::cloud(
                WorkerId::from("nobody"),
                BucketCount(buckets),
                "s3://payloads/icepress".to_owned(),
            ),
            limits: Mutex::default(),
            retention: Duration::from_secs(30 * 24 * 3600),
            skew: Mutex::new(0),
            page: PAGE,
            page_takes: scale.page_takes,
            lock: None,
            java: None,
            night: None,
        });
        let rhythm = Rhythm {
            tick: PERIOD,
            scheduler_limit: Duration::from_secs(300),
            optimizer_limit: Duration::from_secs(900),
            poll: Duration::from_secs(1),
            optimizers: 0,
            schedulers: 1,
            errands: scale.schedulers,
            undeleted: 0,
            visibility: Duration::from_secs(1800),
        };
        Self {
            driver: Driver::new(Arc::clone(&engine)),
            fleet: Fleet::new(&account, rhythm),
            engine,
            account,
            ledger,
            uncounted,
        }
    }

    /// All requests so far, the catalog's pages among them.
    fn requests(&self) -> RequestTotals {
        let mut totals = self.ledger.totals();
        totals.insert("Glue.GetTables".to_owned(), self.account.pointers.pages());
        totals
    }

    fn step(&mut self) -> Result<(), String> {
        let went = self.driver.step();
        for (task, _) in self.driver.take_ended() {
            self.fleet.ended(task);
        }
        let violations = self.engine.violations();
        if let Some(violation) = violations.first() {
            return Err(violation.clone());
        }
        match went {
            Step::Went => Ok(()),
            _ => Err("nothing goes on any more".to_owned()),
        }
    }

    fn live(&mut self, long: Duration) -> Result<(), String> {
        let until = self.engine.now() + long;
        let later = Arc::clone(&self.engine);
        let engine = Arc::clone(&self.engine);
        let sleep = async move { later.sleep(long).await };
        engine.start("time", false, sleep);
        while self.engine.now() < until {
            self.step()?;
        }
        Ok(())
    }

    /// Runs one task to its end.
    fn finish<T: Send + 'static>(
        &mut self,
        work: impl Future<Output = T> + Send + 'static,
    ) -> Result<T, String> {
        let result = Arc::new(Mutex::new(None));
        let put = Arc::clone(&result);
        let task = self.engine.start("setup", false, async move {
            *put.lock().unwrap() = Some(work.await);
        });
        self.step()?;
        while self.driver.is_alive(task) {
            self.step()?;
        }
        let result = result.lock().unwrap().take();
        result.ok_or_else(|| "it did not end".to_owned())
    }

    /// The tables, as the catalog and the digests have them; then some change. These are returned, with their new state.
    fn prepare(&mut self, scale: Scale) -> Result<Vec<(TableId, MetadataLocation)>, String> {
        let pointers = &self.account.pointers;
        let mut entries: BTreeMap<DatabaseId, BTreeMap<u64, u64>> = BTreeMap::new();
        for number in 0..scale.tables {
            let (table, at) = (table(scale, number), first_location(number));
            let entry = (hash_of_name(&table.name), hash_of_name(at.as_str()).max(1));
            entries.entry(table.database()).or_default().extend([entry]);
            pointers.swap("setup", &table, None, Some(&at), Duration::ZERO);
        }
        let (client, buckets) = (self.account.dynamodb.clone(), self.account.settings.buckets);
        let (ambient, _) = machine(&self.engine, 0);
        self.finish(async move { put_digests(client, ambient, buckets, entries).await })??;

        let storage = MachineStorage::new(&self.account.objects, &self.account.network, "setup");
        let (ambient, _) = machine(&self.engine, 0);
        let pointers = Arc::clone(&self.account.pointers);
        self.finish(async move {
            let mut changed = Vec::new();
            for number in (0..scale.tables).step_by((scale.tables / scale.changed.max(1)).max(1)) {
                let table = table(scale, number);
                let staged = stage_new_table(&storage, &ambient, &table, empty_table(&table))
                    .await
                    .map_err(|error| error.to_string())?;
                let before = first_location(number);
                let at = staged.location;
                pointers.swap("setup", &table, Some(&before), Some(&at), Duration::ZERO);
                changed.push((table, at));
            }
            Ok(changed)
        })?
    }

    /// Tables whose new state was not looked at yet. Whoever looks from outside is not counted.
    fn unseen(&mut self, changed: &[(TableId, MetadataLocation)]) -> Result<usize, String> {
        let (client, changed) = (self.uncounted.clone(), changed.to_vec());
        let (ambient, _) = machine(&self.engine, 0);
        self.finish(async move {
            let store = DynamoStore::new(client, STATE, ambient);
            let mut unseen = 0;
            for (table, at) in &changed {
                let row = store
                    .table(table)
                    .await
                    .map_err(|error| error.to_string())?;
                let seen = row.and_then(|row| row.evaluated_location);
                unseen += usize::from(seen.as_ref() != Some(at));
            }
            Ok::<usize, String>(unseen)
        })?
    }
}

async fn put_digests(
    client: aws_sdk_dynamodb::Client,
    ambient: Ambient,
    buckets: BucketCount,
    entries: BTreeMap<DatabaseId, BTreeMap<u64, u64>>,
) -> Result<(), String> {
    let said = |error: icepress_coordination::CoordinationError| error.to_string();
    create_state_table(&client, STATE, &ambient)
        .await
        .map_err(said)?;
    let store = DynamoStore::new(client, STATE, ambient.clone());
    let layout = store.found_layout(buckets).await.map_err(said)?;
    let (worker, second) = (WorkerId::from("setup"), Duration::from_secs(60));
    for (database, entries) in entries {
        let bytes = entries
            .iter()
            .flat_map(|(name, at)| [name.to_le_bytes(), at.to_le_bytes()].concat());
        let digest = Digest(bytes.collect());
        let bucket = layout.bucket_of_database(&database);
        let lease = store
            .take_lease(bucket, &worker, ambient.now(), second, second)
            .await
            .map_err(said)?
            .ok_or("a bucket is held")?;
        store
            .put_digest(&lease, layout.generation, &database, &digest)
            .await
            .map_err(said)?;
        store
            .release_lease(&lease, Some(ambient.now()))
            .await
            .map_err(said)?;
    }
    Ok(())
}

fn table(scale: Scale, number: usize) -> TableId {
    TableId {
        catalog: CatalogName::from("lake"),
        namespace: Namespace(vec![format!("db{:04}", number % scale.databases.max(1))]),
        name: format!("t{number:06}"),
    }
}

fn first_location(number: usize) -> MetadataLocation {
    MetadataLocation(format!(
        "s3://lake/t{number:06}/metadata/00000.metadata.json"
    ))
}

fn empty_table(table: &TableId) -> TableCreation {
    let id = NestedField::required(1, "id", Type::Primitive(PrimitiveType::Long));
    let schema = Schema::builder().with_fields([id.into()]).build();
    TableCreation::builder()
        .name(table.name.clone())
        .location(format!("s3://lake/{}/{}", table.namespace, table.name))
        .schema(schema.expect("one field is a schema"))
        .build()
}
