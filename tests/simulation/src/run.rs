//! One seed: a world is drawn, lived in while everything goes wrong, and then left alone until it comes to rest.

mod rest;
mod trouble;

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, Mutex},
    time::Duration,
};

use aws_sdk_dynamodb::types::{
    AttributeDefinition, BillingMode, KeySchemaElement, KeyType, ScalarAttributeType,
};
use iceberg::spec::FormatVersion;
use icepress_catalog::lock::LockOptions;
use icepress_coordination::create_state_table;
use icepress_model::{BucketCount, ambient::Ambient};
use icepress_service::Settings;

use crate::{
    ambient::machine,
    catalog::{MachineCatalog, Pointers},
    connector::Aws,
    draw::{self, Outcast, Theme},
    dynamo::{Dynamo, LOCK_KEY},
    engine::{Driver, Engine, Step, TaskId},
    fleet::{
        Account, CLEANERS, ERRANDS, Fleet, LOCKS, MOST_BUCKETS, Night, QUEUES, STATE, true_clock,
    },
    foreign::{Tended, Writer, table_id},
    java::JavaLock,
    network::Network,
    oracle::{Oracle, Rules},
    sqs::Sqs,
    storage::{MachineStorage, Objects},
    trace::Trace,
};

/// How often a message is received before it dies, as `infra/` sets it.
const MAX_RECEIVES: u32 = 5;
/// More steps than any run should need: one that goes on is going round in circles.
const MOST_STEPS: u64 = 2_000_000;

/// One world of so many is long.
const LONG_OF: u64 = 8;
/// How much less happens in the others.
const BREVITY: u64 = 4;

/// What came of a seed.
#[derive(Debug, Clone)]
pub struct Outcome {
    /// The seed.
    pub seed: u64,
    /// What was found wrong; empty where all is well.
    pub violations: Vec<String>,
    /// What happened.
    pub trace: Trace,
    /// Commits of Icepress.
    pub rewrites: u64,
    /// Commits of foreign writers.
    pub foreign_commits: u64,
    /// How long the simulated world lived.
    pub lived: Duration,
}

/// Plays a seed. `keep_lines` keeps the trace's text.
pub fn run(seed: u64, keep_lines: bool) -> Outcome {
    let engine = Engine::new(seed, keep_lines);
    let mut outcome = Outcome {
        seed,
        violations: Vec::new(),
        trace: Trace::new(false),
        rewrites: 0,
        foreign_commits: 0,
        lived: Duration::ZERO,
    };
    let lived = catch_unwind(AssertUnwindSafe(|| {
        let mut world = World::new(&engine, seed);
        world.live();
        let commits = world.oracle.commits();
        world.end();
        commits
    }));
    outcome.violations = engine.violations();
    match lived {
        Ok((rewrites, foreign_commits)) => {
            outcome.rewrites = rewrites;
            outcome.foreign_commits = foreign_commits;
        }
        Err(panic) => {
            let text = panic
                .downcast_ref::<String>()
                .map(String::as_str)
                .or_else(|| panic.downcast_ref::<&str>().copied());
            outcome
                .violations
                .push(format!("it panicked: {}", text.unwrap_or("(no text)")));
        }
    }
    outcome.trace = engine.trace();
    outcome.lived = engine.now();
    engine.clear();
    outcome
}

async fn create_lock_table(client: &aws_sdk_dynamodb::Client) -> Result<(), String> {
    let key = KeySchemaElement::builder()
        .attribute_name(LOCK_KEY)
        .key_type(KeyType::Hash)
        .build();
    let attribute = AttributeDefinition::builder()
        .attribute_name(LOCK_KEY)
        .attribute_type(ScalarAttributeType::S)
        .build();
    client
        .create_table()
        .table_name(LOCKS)
        .billing_mode(BillingMode::PayPerRequest)
        .key_schema(key.map_err(|error| error.to_string())?)
        .attribute_definitions(attribute.map_err(|error| error.to_string())?)
        .send()
        .await
        .map_err(|error| format!("{error:?}"))?;
    Ok(())
}

struct World {
    engine: Arc<Engine>,
    driver: Driver,
    network: Arc<Network>,
    dynamo: Arc<Dynamo>,
    sqs: Arc<Sqs>,
    objects: Arc<Objects>,
    pointers: Arc<Pointers>,
    oracle: Arc<Oracle>,
    account: Arc<Account>,
    fleet: Arc<Fleet>,
    writers: Vec<TaskId>,
    theme: Theme,
    outcast: Option<Outcast>,
    siege: Option<Duration>,
    tables: u64,
    /// How much less happens than in a long world, in as much less time.
    brevity: u64,
    trouble: Duration,
    steps: u64,
}

impl World {
    fn new(engine: &Arc<Engine>, seed: u64) -> Self {
        let clock = true_clock(engine);
        let network = Network::new(Arc::clone(engine));
        let dynamo = Dynamo::new(Arc::clone(&clock), Arc::clone(&network));
        let sqs = Sqs::new(Arc::clone(&clock), Arc::clone(&network));
        let objects = Objects::new(Arc::clone(&clock));
        let pointers = Pointers::new();
        let aws = Aws::new(&dynamo, &sqs, &network, "aws");

        if draw::is_tended(seed) {
            objects.set_page(7);
        }
        let theme = Theme::drawn(engine, seed);
        // Most of what goes wrong needs little to go before it: many brief worlds meet more of it than few long ones.
        let brevity = if engine.below(LONG_OF) == 0 {
            1
        } else {
            BREVITY
        };
        let buckets = match theme {
            // Census and sweep in different hands.
            Theme::LateThoughts => 2 + engine.below(3),
            _ => 1 + engine.below(3),
        };
        let buckets = BucketCount(u32::try_from(buckets).unwrap().try_into().unwrap());
        for bucket in 0..MOST_BUCKETS {
            sqs.create(&format!("{QUEUES}{bucket}"), MAX_RECEIVES);
        }
        // Errands never die: what is not done in time is handed out anew.
        sqs.create(ERRANDS, 0);
        sqs.create(CLEANERS, MAX_RECEIVES);
        let oracle = Oracle::new(engine, &objects);
        let tables = match theme {
            Theme::Listings => 3,
            _ => 1 + engine.below(2),
        };
        let outcast = draw::outcast(seed, tables);
        let lock = (engine.below(3) == 0 || theme == Theme::Locks).then(|| LockOptions {
            table: LOCKS.to_owned(),
            acquire_interval: Duration::from_secs(1),
            acquire_timeout: Duration::from_secs(5 + engine.below(60)),
            lease: Duration::from_millis(3_000 + engine.below(2_000)),
        });
        let java = lock.as_ref().and_then(|_| draw::java(engine, theme));
        let settings = draw::settings(engine, buckets, theme);
        let (page, page_takes) = draw::pages(engine, theme);
        let dynamodb = aws.dynamodb_client(&clock);
        let queues = aws.sqs_client(&clock);
        let limits = draw::limits(engine, tables, theme);
        let rhythm = draw::rhythm(engine, theme);
        let trouble = Duration::from_secs((300 + engine.below(900)) / brevity);
        let night = draw::is_tended(seed).then(|| Night {
            from: trouble / 2,
            until: trouble / 2 + draw::NIGHT,
        });
        let account = Arc::new(Account {
            engine: Arc::clone(engine),
            network: Arc::clone(&network),
            sqs: Arc::clone(&sqs),
            objects: Arc::clone(&objects),
            pointers: Arc::clone(&pointers),
            dynamodb,
            queues,
            settings: Settings {
                plan_memory: draw::plan_memory(seed, settings.plan_memory),
                ..draw::with_upkeep(seed, settings)
            },
            limits: Mutex::new(Arc::new(limits)),
            retention: Duration::from_secs(30 * 24 * 3600),
            skew: Mutex::new(0),
            page,
            page_takes,
            lock,
            java,
            night,
        });
        let fleet = Fleet::new(&account, rhythm);
        let mut world = Self {
            engine: Arc::clone(engine),
            driver: Driver::new(Arc::clone(engine)),
            network,
            dynamo,
            sqs,
            objects,
            pointers,
            oracle,
            account,
            fleet,
            writers: Vec::new(),
            theme,
            outcast,
            siege: draw::siege(seed),
            tables,
            brevity,
            trouble,
            steps: 0,
        };
        world.create_state_table(&clock);
        world.dynamo.set_watch(Some(Arc::clone(&world.oracle) as _));
        world
            .objects
            .set_watch(Some(Arc::clone(&world.oracle) as _));
        world
            .pointers
            .set_watch(Some(Arc::clone(&world.oracle) as _));
        world
    }

    fn create_state_table(&mut self, clock: &Arc<dyn icepress_model::ambient::Clock>) {
        let client = self.account.dynamodb.clone();
        let (ambient, _) = machine(&self.engine, 0);
        let ambient = Ambient {
            clock: Arc::clone(clock),
            ..ambient
        };
        let engine = Arc::clone(&self.engine);
        self.finish("terraform", async move {
            if let Err(error) = create_state_table(&client, STATE, &ambient).await {
                engine.violated(format!("no state table: {error}"));
            }
            if let Err(error) = create_lock_table(&client).await {
                engine.violated(format!("no lock table: {error}"));
            }
        });
    }

    /// Runs one task to its end, with everything else that goes on beside it.
    fn finish(&mut self, name: &str, task: impl Future<Output = ()> + Send + 'static) {
        let task = self.engine.start(name, false, task);
        self.step();
        while self.driver.is_alive(task) && self.step() {}
    }

    /// Goes on; says whether there is a reason to.
    fn step(&mut self) -> bool {
        self.steps += 1;
        if self.steps > MOST_STEPS {
            self.engine
                .violated(format!("it goes on after {MOST_STEPS} steps"));
        }
        let went = self.driver.step();
        for (task, _) in self.driver.take_ended() {
            self.fleet.ended(task);
        }
        went == Step::Went && !self.engine.has_violations()
    }

    fn live(&mut self) {
        self.start_trouble();
        self.oracle.set_rules(self.rules());
        for number in 0..self.tables {
            self.start_writer(&format!("t{number}"));
        }
        self.engine
            .start("schedule", false, Arc::clone(&self.fleet).schedule());
        self.engine
            .start("mapping", false, Arc::clone(&self.fleet).feed());
        let errands = Arc::clone(&self.fleet).send_on_errands();
        self.engine.start("errands", false, errands);
        if self.engine.below(2) == 0 {
            let times = self.fewer(1 + self.engine.below(4));
            let resizes = Arc::clone(&self.fleet).resize(times, self.trouble);
            self.engine.start("operator", false, resizes);
        }
        if self.engine.below(5) < 2 || self.theme == Theme::Limits {
            let times = match self.theme {
                Theme::Limits => 15 + self.engine.below(15),
                _ => 2 + self.engine.below(6),
            };
            let blocks = Arc::clone(&self.fleet).block(
                self.fewer(times),
                self.trouble,
                self.tables,
                Arc::clone(&self.oracle),
            );
            self.engine.start("blocker", false, blocks);
        }
        if self.account.night.is_some() {
            let fleet = Arc::clone(&self.fleet);
            let tidying = fleet.tidy(self.fewer(12), self.trouble, self.tables);
            self.engine.start("people", false, tidying);
            let fleet = Arc::clone(&self.fleet);
            let restoring = fleet.restore(self.fewer(30), self.trouble, self.tables);
            self.engine.start("restorers", false, restoring);
        }
        if let Some(outcast) = self.outcast.clone() {
            // It is known by then, and may have a process under way.
            let network = Arc::clone(&self.network);
            self.engine
                .note(format_args!("there will be an {outcast:?}"));
            let later = self.trouble / 3;
            self.engine
                .after(later, move || network.set_outcast(outcast));
        }
        let end = match self.account.night {
            Some(night) => night.until + (self.trouble - night.from),
            None => self.trouble,
        };
        while self.engine.now() < end {
            if !self.step() {
                return;
            }
        }
        self.end_trouble();
        self.come_to_rest();
        if !self.engine.has_violations() {
            self.judge_end();
        }
        if self.account.night.is_some() && !self.engine.has_violations() {
            self.tidy_up();
        }
    }

    /// So much of what a long world would have, and not nothing.
    fn fewer(&self, times: u64) -> u64 {
        (times / self.brevity).max(1)
    }

    /// What the oracle holds limits and locks against.
    fn rules(&self) -> Rules {
        let rhythm = self.fleet.rhythm.lock().unwrap();
        Rules {
            limits: (*self.account.limits()).clone(),
            guard: self.account.settings.lease_guard,
            skew: Duration::from_millis(*self.account.skew.lock().unwrap()),
            scheduler_limit: rhythm.scheduler_limit,
            blind: self.account.java.is_some(),
            is_tended: self.account.night.is_some(),
        }
    }

    fn start_writer(&mut self, name: &str) {
        let engine = Arc::clone(&self.engine);
        let skew = engine.below(20_000) as i64 - 10_000;
        let (ambient, _) = machine(&engine, skew);
        let machine = format!("writer-{name}");
        let storage = MachineStorage::new(&self.objects, &self.network, &machine);
        let catalog = MachineCatalog::new(
            &self.pointers,
            Arc::new(storage.clone()),
            ambient.clone(),
            &self.network,
            &machine,
            2,
        )
        .with_lock(self.account.lock(&ambient))
        .with_java(self.account.java.clone().map(|options| JavaLock {
            engine: Arc::clone(&engine),
            client: self.account.dynamodb.clone(),
            ambient: ambient.clone(),
            options,
        }));
        let writer = Writer {
            name: machine.clone(),
            table: table_id(name),
            engine: Arc::clone(&engine),
            ambient,
            storage,
            catalog,
            oracle: Arc::clone(&self.oracle),
            regions: 1 + engine.below(3) as usize,
            partitioned: engine.below(2) == 0,
            rows_per_file: 1 + engine.below(8),
            next_id: 0,
            graveyard: Vec::new(),
            generation: 0,
            version: match engine.below(6) {
                _ if self.theme == Theme::Vectors => FormatVersion::V3,
                0 => FormatVersion::V1,
                1 | 2 => FormatVersion::V3,
                _ => FormatVersion::V2,
            },
            upgrades: engine.below(4) == 0,
            light: engine.below(2) == 0,
            drops_more: match self.theme {
                // Some before their first listing came to its end.
                Theme::Listings => 25,
                _ => 0,
            },
            tended: self.account.night.map(|night| Tended {
                properties: draw::upkeep_properties(&engine, night.until),
                other_scheme: engine.below(3) == 0,
                night,
                taken_out: Vec::new(),
            }),
        };
        let things = match self.theme {
            // So many that some come while somebody thinks about the last.
            Theme::LateThoughts | Theme::Vectors => 20 + engine.below(20),
            Theme::Limits => 10 + engine.below(20),
            // The lock is asked for all the time.
            Theme::Locks => 40 + engine.below(30),
            Theme::Listings => 30 + engine.below(30),
            _ => 3 + engine.below(14),
        };
        let things = self.fewer(things).max(2);
        let pause = self.trouble * 2 / u32::try_from(things).unwrap();
        let task = engine.start(machine, false, writer.work(things, pause));
        self.writers.push(task);
    }

    /// The name of the table that nobody can see to, if there is one.
    fn outcast(&self) -> Option<&str> {
        self.outcast.as_ref().and_then(Outcast::forsaken)
    }

    fn end(self) {
        self.dynamo.set_watch(None);
        self.objects.set_watch(None);
        self.pointers.set_watch(None);
        drop(self.driver);
    }
}
