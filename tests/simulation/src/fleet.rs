//! The machines of a simulated account: functions that a schedule and the queues start, that keep their clocks badly,
//! and that are gone when their time is over or when they crash.

mod operators;

use std::{
    collections::BTreeMap,
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use icepress_catalog::{
    Catalog,
    lock::{CommitLock, LockOptions},
};
use icepress_coordination::{
    DynamoStore, Errand, Errands, Received, SqsErrands, SqsQueue, StateStore, TaskMessage,
    TaskQueue, limits::Limits,
};
use icepress_model::{
    BucketId, WorkerId,
    ambient::{Ambient, Clock},
};
use icepress_service::{
    Catalogs, Context, Deadline, Event, Handled, Observer, OpenCatalog, Settings, handle,
    run_errand, tick,
};
use icepress_storage::Storage;
use serde_json::json;

use crate::{
    ambient::{MachineClock, machine},
    catalog::{MachineCatalog, Pointers},
    engine::{Engine, TaskId},
    java::JavaOptions,
    network::{Delivery, Network},
    sqs::Sqs,
    storage::{MachineStorage, Objects},
};

/// The name of the state table.
pub const STATE: &str = "state";
/// The name of the lock table.
pub const LOCKS: &str = "locks";
/// What precedes a bucket's number in a queue's name.
pub const QUEUES: &str = "tasks-";

/// The queue of what ticks hand out.
pub const ERRANDS: &str = "errands";

/// The queue of those who may delete.
pub const CLEANERS: &str = "cleaners";

/// Queues that there are, whatever the number of buckets.
pub const MOST_BUCKETS: u32 = 4;

/// What all machines share.
#[derive(Debug)]
pub struct Account {
    /// Chance and order.
    pub engine: Arc<Engine>,
    /// The network.
    pub network: Arc<Network>,
    /// The queues.
    pub sqs: Arc<Sqs>,
    /// The files.
    pub objects: Arc<Objects>,
    /// The catalog.
    pub pointers: Arc<Pointers>,
    /// A client of the state table.
    pub dynamodb: aws_sdk_dynamodb::Client,
    /// A client of the queues.
    pub queues: aws_sdk_sqs::Client,
    /// How every machine works, but for its name.
    pub settings: Settings,
    /// Limits of tables, as machines that start know them.
    pub limits: Mutex<Arc<Limits>>,
    /// How long ended processes are kept.
    pub retention: Duration,
    /// How wrong clocks may be, in milliseconds either way.
    pub skew: Mutex<u64>,
    /// Tables on a page of the catalog's listing.
    pub page: usize,
    /// How long the catalog takes over a page, beside the way there and back.
    pub page_takes: Duration,
    /// How the commit lock is taken, in a world that has one.
    pub lock: Option<LockOptions>,
    /// How Java's writers take it, in a world in which they write.
    pub java: Option<JavaOptions>,
    /// When nothing happens for days, in a world that is tended.
    pub night: Option<Night>,
}

/// A time in which no schedule, no queue and no writer begins anything.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Night {
    /// When it begins, since the start of the world.
    pub from: Duration,
    /// When it ends.
    pub until: Duration,
}

impl Night {
    /// For how long it goes on yet, at `now`.
    pub fn left(self, now: Duration) -> Option<Duration> {
        (self.from..self.until)
            .contains(&now)
            .then(|| self.until - now)
    }
}

/// A function that is warm: it may be invoked again.
pub struct Machine {
    name: String,
    clock: Arc<MachineClock>,
    context: Context,
}

impl fmt::Debug for Machine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Machine")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

impl Account {
    /// A machine that was just started.
    pub fn machine(self: &Arc<Self>, name: &str) -> Machine {
        let (ambient, clock) = machine(&self.engine, self.random_skew());
        // In a tended world those who plan and rewrite have a role that may not delete.
        let may_delete = self.night.is_none()
            || !(name.starts_with("scheduler") || name.starts_with("optimizer"));
        let storage = MachineStorage::new(&self.objects, &self.network, name);
        let storage: Arc<dyn Storage> = Arc::new(storage.that_deletes(may_delete));
        let cleaners = self.night.map(|_| {
            let queue = SqsQueue::one_for_all(self.queues.clone(), Sqs::url(CLEANERS));
            Arc::new(queue) as Arc<dyn TaskQueue>
        });
        let catalog = MachineCatalog::new(
            &self.pointers,
            Arc::clone(&storage),
            ambient.clone(),
            &self.network,
            name,
            self.page,
        )
        .with_page_takes(self.page_takes)
        .with_lock(self.lock(&ambient))
        .with_swaps(match self.java {
            Some(_) => Delivery::Prompt,
            None => Delivery::Usual,
        });
        let store = DynamoStore::new(self.dynamodb.clone(), STATE, ambient.clone())
            .with_retention(self.retention);
        let queue = SqsQueue::new(self.queues.clone(), Sqs::url_template(QUEUES));
        let errands = SqsErrands::new(self.queues.clone(), Sqs::url(ERRANDS));
        let context = Context {
            ambient,
            errands: Some(Arc::new(errands) as Arc<dyn Errands>),
            store: Arc::new(store) as Arc<dyn StateStore>,
            queue: Arc::new(queue) as Arc<dyn TaskQueue>,
            cleaners,
            catalogs: Catalogs::new([OpenCatalog {
                catalog: Arc::new(catalog) as Arc<dyn Catalog>,
                storage: Arc::clone(&storage),
            }]),
            payloads: storage,
            settings: Arc::new(Settings {
                worker: WorkerId(name.to_owned()),
                limits: self.limits(),
                may_delete: match self.night {
                    Some(_) => may_delete,
                    None => self.settings.may_delete,
                },
                ..self.settings.clone()
            }),
            observer: Arc::new(Notes {
                engine: Arc::clone(&self.engine),
                machine: name.to_owned(),
            }),
            commits: Default::default(),
            plans: Default::default(),
            listed: Default::default(),
            taken: Default::default(),
            placed: Default::default(),
        };
        Machine {
            name: name.to_owned(),
            clock,
            context,
        }
    }

    /// Waits until the night is over, if it is one.
    pub async fn sleep_through_the_night(&self) {
        let left = self.night.and_then(|night| night.left(self.engine.now()));
        if let Some(left) = left {
            self.engine.sleep(left).await;
        }
    }

    /// Limits of tables as they stand now.
    pub fn limits(&self) -> Arc<Limits> {
        Arc::clone(&lock(&self.limits))
    }

    /// The commit lock as a machine reaches it.
    pub fn lock(&self, ambient: &Ambient) -> Option<CommitLock> {
        let options = self.lock.clone()?;
        let client = self.dynamodb.clone();
        Some(CommitLock::with_client(client, options, ambient.clone()))
    }

    fn random_skew(&self) -> i64 {
        let most = *lock(&self.skew);
        let skew = self.engine.below(2 * most + 1);
        i64::try_from(skew).unwrap_or(0) - i64::try_from(most).unwrap_or(0)
    }
}

impl Machine {
    /// What the machine works with.
    pub fn context(&self) -> &Context {
        &self.context
    }
}

/// What a machine says, as lines of the trace.
#[derive(Debug)]
struct Notes {
    engine: Arc<Engine>,
    machine: String,
}

impl Observer for Notes {
    fn observe(&self, event: &Event) {
        let machine = &self.machine;
        let note =
            |line: fmt::Arguments<'_>| self.engine.note(format_args!("{machine} says: {line}"));
        match event {
            Event::Planned {
                table,
                plan,
                process,
                ..
            } => {
                note(format_args!(
                    "{table} planned: {} groups, {process:?}",
                    plan.groups.len()
                ));
            }
            Event::ProcessEnded {
                table,
                process,
                outcome,
                ..
            } => {
                note(format_args!(
                    "{table}: process {process} ended: {outcome:?}"
                ));
            }
            Event::GroupFinished {
                process,
                index,
                result,
                ..
            } => {
                let result = result
                    .as_ref()
                    .map(|result| (result.rows_in, result.rows_out));
                note(format_args!("group {index} of {process}: {result:?}"));
            }
            Event::TableFailed { table, message } => {
                note(format_args!("{table} failed: {message}"))
            }
            Event::ListingFailed { database, message } => {
                note(format_args!("{database}: {message}"))
            }
            Event::Waiting { table, reason, .. } => note(format_args!("{table} waits: {reason}")),
            Event::Refused { table, reason } => note(format_args!("{table} refused: {reason}")),
            Event::Notice { message, .. } => note(format_args!("{message}")),
            _ => {}
        }
    }
}

/// What keeps the functions going.
#[derive(Debug)]
pub struct Fleet {
    account: Arc<Account>,
    warm: Mutex<BTreeMap<&'static str, Vec<Machine>>>,
    started: Mutex<u64>,
    busy: Mutex<BTreeMap<TaskId, &'static str>>,
    runs: Mutex<Runs>,
    /// How a schedule and the queues start functions.
    pub rhythm: Mutex<Rhythm>,
}

/// Runs of schedulers: ticks and errands.
#[derive(Debug, Clone, Copy, Default)]
pub struct Runs {
    /// Of both.
    pub count: u64,
    /// Of these, ticks.
    pub ticks: u64,
    /// How long they took together.
    pub took: Duration,
}

/// How often functions are started, and how long they may take.
#[derive(Debug, Clone)]
pub struct Rhythm {
    /// Between two ticks of the schedule.
    pub tick: Duration,
    /// The longest that a scheduler may take.
    pub scheduler_limit: Duration,
    /// The longest that an optimizer may take.
    pub optimizer_limit: Duration,
    /// Between two looks at the queues.
    pub poll: Duration,
    /// The most optimizers at once.
    pub optimizers: usize,
    /// The most schedulers at once that the schedule starts.
    pub schedulers: usize,
    /// The most schedulers at once that do errands.
    pub errands: usize,
    /// The chance, in a million, that a message is not deleted although it was done.
    pub undeleted: u64,
    /// How long a message that was received stays out of sight. Whatever a queue was told, at least once is all that it
    /// promises: a message may come back while somebody works on it.
    pub visibility: Duration,
}

impl Fleet {
    /// A fleet without machines.
    pub fn new(account: &Arc<Account>, rhythm: Rhythm) -> Arc<Self> {
        Arc::new(Self {
            account: Arc::clone(account),
            warm: Mutex::default(),
            started: Mutex::default(),
            busy: Mutex::default(),
            runs: Mutex::default(),
            rhythm: Mutex::new(rhythm),
        })
    }

    /// A task ended.
    pub fn ended(&self, task: TaskId) {
        lock(&self.busy).remove(&task);
    }

    /// Functions at work.
    pub fn busy(&self) -> usize {
        lock(&self.busy).len()
    }

    /// Sets right the clocks of all warm machines.
    pub fn set_clocks_right(&self) {
        for machine in lock(&self.warm).values().flatten() {
            machine.clock.set_skew(0);
        }
    }

    /// Lets go of all warm machines: those that start from now on are configured anew.
    pub fn replace_warm(&self) {
        lock(&self.warm).clear();
    }

    fn machine(&self, kind: &'static str) -> Machine {
        let warm = lock(&self.warm).get_mut(kind).and_then(Vec::pop);
        // A platform takes machines away as it likes.
        if let Some(machine) = warm.filter(|_| self.account.engine.below(5) > 0) {
            if self.account.engine.below(10) == 0 {
                machine.clock.set_skew(self.account.random_skew());
            }
            return machine;
        }
        let number = {
            let mut started = lock(&self.started);
            *started += 1;
            *started
        };
        self.account.machine(&format!("{kind}-{number}"))
    }

    fn keep_warm(&self, kind: &'static str, machine: Machine) {
        lock(&self.warm).entry(kind).or_default().push(machine);
    }

    fn count(&self, kind: &str) -> usize {
        lock(&self.busy).values().filter(|of| **of == kind).count()
    }

    fn rhythm(&self) -> Rhythm {
        lock(&self.rhythm).clone()
    }

    fn begin(
        &self,
        kind: &'static str,
        name: String,
        limit: Duration,
        work: impl Future<Output = ()> + Send + 'static,
    ) {
        let engine = &self.account.engine;
        let task = engine.start(name, true, work);
        lock(&self.busy).insert(task, kind);
        let later = Arc::clone(engine);
        engine.after(limit, move || later.request_kill(task, "its time is over"));
    }

    /// Wakes schedulers, for ever.
    pub async fn schedule(self: Arc<Self>) {
        loop {
            let rhythm = self.rhythm();
            self.account.engine.sleep(rhythm.tick).await;
            self.account.sleep_through_the_night().await;
            if self.count("scheduler") >= rhythm.schedulers {
                continue;
            }
            let machine = self.machine("scheduler");
            let fleet = Arc::clone(&self);
            let name = machine.name.clone();
            let limit = rhythm.scheduler_limit;
            self.begin("scheduler", name, limit, async move {
                let context = machine.context();
                let deadline = Deadline::after(&context.ambient, limit);
                let engine = &fleet.account.engine;
                let began = engine.now();
                let ticked = tick(context, deadline).await;
                fleet.note_run(engine.now() - began);
                lock(&fleet.runs).ticks += 1;
                match ticked {
                    Ok(report) => engine.note(format_args!("{}: {report:?}", machine.name)),
                    Err(error) => engine.note(format_args!("{}: {error}", machine.name)),
                }
                fleet.keep_warm("scheduler", machine);
            });
        }
    }

    /// Hands errands to schedulers, for ever.
    pub async fn send_on_errands(self: Arc<Self>) {
        loop {
            let rhythm = self.rhythm();
            self.account.engine.sleep(rhythm.poll).await;
            self.account.sleep_through_the_night().await;
            while self.count("errand") < rhythm.errands {
                let Some(taken) = self.receive_errand(&rhythm) else {
                    break;
                };
                self.run_errand(taken, &rhythm);
            }
        }
    }

    /// An errand, and its receipt.
    fn receive_errand(&self, rhythm: &Rhythm) -> Option<(Errand, String)> {
        let sqs = &self.account.sqs;
        if sqs.count(ERRANDS) == 0 {
            return None;
        }
        let visibility = rhythm.visibility.as_secs();
        let body = json!({ "QueueUrl": Sqs::url(ERRANDS), "MaxNumberOfMessages": 1, "VisibilityTimeout": visibility });
        let answer = sqs.answer("ReceiveMessage", &body).ok()?;
        let message = answer["Messages"].as_array()?.first()?.clone();
        let errand = Errand::from_body(message["Body"].as_str()?).ok()?;
        Some((errand, message["ReceiptHandle"].as_str()?.to_owned()))
    }

    /// One errand, done as the scheduler function does.
    fn run_errand(self: &Arc<Self>, (errand, receipt): (Errand, String), rhythm: &Rhythm) {
        let machine = self.machine("scheduler");
        let fleet = Arc::clone(self);
        let name = machine.name.clone();
        let (limit, undeleted) = (rhythm.scheduler_limit, rhythm.undeleted);
        self.begin("errand", name, limit, async move {
            let context = machine.context();
            let engine = &fleet.account.engine;
            let began = engine.now();
            let deadline = Deadline::after(&context.ambient, limit);
            let done = run_errand(context, &errand, deadline).await;
            fleet.note_run(engine.now() - began);
            match done {
                Ok(()) if !engine.happens(undeleted) => {
                    let body = json!({ "QueueUrl": Sqs::url(ERRANDS), "ReceiptHandle": receipt });
                    // Deleting what is gone is no error.
                    let _ = fleet.account.sqs.answer("DeleteMessage", &body);
                }
                Ok(()) => {}
                Err(error) => engine.note(format_args!("{}: {errand:?}: {error}", machine.name)),
            }
            fleet.keep_warm("scheduler", machine);
        });
    }

    fn note_run(&self, took: Duration) {
        let mut runs = lock(&self.runs);
        runs.count += 1;
        runs.took += took;
    }

    /// Runs of schedulers that came to their end.
    pub fn runs(&self) -> Runs {
        *lock(&self.runs)
    }

    /// Hands messages to optimizers, for ever: what an event source mapping does, with batches of one.
    pub async fn feed(self: Arc<Self>) {
        let buckets: Vec<BucketId> = (0..MOST_BUCKETS).map(BucketId).collect();
        loop {
            let rhythm = self.rhythm();
            self.account.engine.sleep(rhythm.poll).await;
            self.account.sleep_through_the_night().await;
            for bucket in &buckets {
                if self.count("optimizer") >= rhythm.optimizers {
                    break;
                }
                let queue = format!("{QUEUES}{bucket}");
                if let Some(received) = self.receive(&queue, *bucket, &rhythm) {
                    self.hand_over("optimizer", queue, received, &rhythm);
                }
            }
            if self.account.night.is_some() && self.count("cleaner") < rhythm.optimizers {
                // One queue is all buckets'.
                let received = self.receive(CLEANERS, BucketId(0), &rhythm);
                if let Some(received) = received {
                    self.hand_over("cleaner", CLEANERS.to_owned(), received, &rhythm);
                }
            }
        }
    }

    fn receive(&self, queue: &str, bucket: BucketId, rhythm: &Rhythm) -> Option<Received> {
        if self.account.sqs.count(queue) == 0 {
            return None;
        }
        let visibility = rhythm.visibility.as_secs();
        let answer = self
            .account
            .sqs
            .answer(
                "ReceiveMessage",
                &json!({ "QueueUrl": Sqs::url(queue), "MaxNumberOfMessages": 1, "VisibilityTimeout": visibility }),
            )
            .ok()?;
        let message = answer["Messages"].as_array()?.first()?.clone();
        Some(Received {
            message: TaskMessage::from_body(message["Body"].as_str()?).ok()?,
            bucket,
            receipt: message["ReceiptHandle"].as_str()?.to_owned(),
            receive_count: 1,
        })
    }

    /// One message, handled as the optimizer function does, or the cleaner.
    fn hand_over(
        self: &Arc<Self>,
        kind: &'static str,
        queue: String,
        received: Received,
        rhythm: &Rhythm,
    ) {
        let machine = self.machine(kind);
        let fleet = Arc::clone(self);
        let name = machine.name.clone();
        let (limit, undeleted) = (rhythm.optimizer_limit, rhythm.undeleted);
        self.begin(kind, name, limit, async move {
            let mut context = machine.context().clone();
            context.settings = Arc::new(Settings {
                invocation_limit: Some(limit),
                ..(*context.settings).clone()
            });
            let engine = &fleet.account.engine;
            let deadline = Deadline::after(&context.ambient, limit);
            let task = &received.message.task;
            match handle(&context, &received.message, deadline).await {
                Ok(Handled::Done) => {
                    engine.note(format_args!("{}: task {task} is done", machine.name));
                    if !engine.happens(undeleted) {
                        fleet.delete(&queue, &received);
                    }
                }
                Ok(Handled::Again(rest)) => {
                    engine.note(format_args!(
                        "{}: task {task} again after {rest:?}",
                        machine.name
                    ));
                    let from = match (kind, &context.cleaners) {
                        ("cleaner", Some(cleaners)) => cleaners,
                        _ => &context.queue,
                    };
                    if let Err(error) = from.change_visibility(&received, rest).await {
                        engine.note(format_args!("{}: {error}", machine.name));
                    }
                }
                Err(error) => engine.note(format_args!("{}: task {task}: {error}", machine.name)),
            }
            fleet.keep_warm(kind, machine);
        });
    }

    fn delete(&self, queue: &str, received: &Received) {
        let body = json!({ "QueueUrl": Sqs::url(queue), "ReceiptHandle": received.receipt });
        // Deleting what is gone is no error.
        let _ = self.account.sqs.answer("DeleteMessage", &body);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The true time.
pub fn true_clock(engine: &Arc<Engine>) -> Arc<dyn Clock> {
    MachineClock::new(Arc::clone(engine), 0)
}
