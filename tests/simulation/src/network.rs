//! Between a machine and a service: requests that arrive late or never, answers that get lost, services that say no.
//!
//! An effect is one atomic step of a service. It happens when its request arrives, whether or not whoever sent it is
//! still alive to hear of it.

use std::{
    collections::BTreeMap,
    fmt,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use futures::channel::oneshot;

use crate::{draw::Outcast, engine::Engine};

/// A service of the simulated world.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Service {
    /// The state table.
    DynamoDb,
    /// The queues.
    Sqs,
    /// Object storage.
    S3,
    /// The catalog.
    Catalog,
}

/// How a request gets there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Delivery {
    /// As the weather has it.
    Usual,
    /// At once, if at all: whoever sends it under a lock counts on that.
    Prompt,
}

/// Why there is no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cut {
    /// The service asked for fewer requests; nothing was done.
    Throttled,
    /// The service failed. Something may have been done.
    ServerError,
    /// Nothing was heard. Something may have been done, or may be done yet.
    NoAnswer,
}

/// What may happen to a request, as chances in a million; and how slow the network is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Weather {
    /// Lost on the way there.
    pub lost_before: u64,
    /// Done, and the answer lost.
    pub lost_after: u64,
    /// Done only long after the sender gave up.
    pub late: u64,
    /// Refused because there are too many.
    pub throttled: u64,
    /// A 5xx, nothing done.
    pub error_before: u64,
    /// A 5xx although it was done.
    pub error_after: u64,
    /// The service is away for a time: every request fails.
    pub outage: u64,
    /// The longest outage.
    pub longest_outage: Duration,
    /// A request takes up to `slowest`.
    pub slow: u64,
    /// The longest that a slow request takes.
    pub slowest: Duration,
    /// A write is held where it is made: its sender stands still before it goes out, and knows nothing of it.
    pub held: u64,
    /// Which writes.
    pub which: Held,
    /// The least that it is held.
    pub shortest_hold: Duration,
    /// The most.
    pub longest_hold: Duration,
}

/// How long a request takes on a good day.
const USUAL: Duration = Duration::from_millis(15);
/// How long a client waits before it takes a request for lost.
const PATIENCE: Duration = Duration::from_secs(4);
/// How long after its sender gave up a request may still be done.
const LATEST: Duration = Duration::from_secs(90);

/// Which requests are held where they are made.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Held {
    /// Whatever writes to the state table, or swaps.
    #[default]
    Writes,
    /// What a planner writes under its lease.
    UnderLease,
    /// What an optimizer reports, and swaps.
    Reports,
    /// What comes between the look whether a commit may be made and the swap.
    Commits,
    /// The writing of a commit lock, once it is done: whoever took it stands still and does not know.
    Locked,
}

impl Held {
    /// Whether the sender stands still after the answer, not before the request.
    fn is_after(self) -> bool {
        self == Self::Locked
    }

    fn includes(self, what: &str) -> bool {
        let any = |starts: &[&str]| starts.iter().any(|start| what.starts_with(start));
        match self {
            Self::Writes => any(&[
                "TransactWriteItems",
                "UpdateItem",
                "PutItem",
                "DeleteItem",
                "swap",
            ]),
            // The lease is renewed beside the work: whoever stands still does not renew either.
            Self::UnderLease => any(&[
                "TransactWriteItems ConditionCheck buckets#",
                "PutItem buckets#",
            ]),
            Self::Reports => {
                let is_report =
                    any(&["TransactWriteItems Put process#"]) && what.contains(" task#");
                is_report || any(&["swap"])
            }
            Self::Locked => any(&["PutItem lock "]),
            Self::Commits => any(&["write "]) && what.ends_with(".metadata.json"),
        }
    }
}

enum Fate {
    Done,
    LostBefore,
    LostAfter,
    Late,
    Refused(Cut),
    DoneAndRefused,
}

/// The network of the whole simulated world.
pub struct Network {
    engine: Option<Arc<Engine>>,
    weather: Mutex<Weather>,
    outages: Mutex<BTreeMap<Service, Duration>>,
    outcast: Mutex<Option<Outcast>>,
    besieged: AtomicBool,
}

impl fmt::Debug for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Network").finish_non_exhaustive()
    }
}

impl Network {
    /// A network without distance: every request is done at once. For tests of the services themselves.
    pub fn direct() -> Arc<Self> {
        Arc::new(Self {
            engine: None,
            weather: Mutex::default(),
            outages: Mutex::default(),
            outcast: Mutex::default(),
            besieged: AtomicBool::new(false),
        })
    }

    /// The network of a simulated world, in good weather.
    pub fn new(engine: Arc<Engine>) -> Arc<Self> {
        Arc::new(Self {
            engine: Some(engine),
            weather: Mutex::default(),
            outages: Mutex::default(),
            outcast: Mutex::default(),
            besieged: AtomicBool::new(false),
        })
    }

    /// Changes the weather.
    pub fn set_weather(&self, weather: Weather) {
        *lock(&self.weather) = weather;
        lock(&self.outages).clear();
    }

    /// From now on, for ever, one table is nobody's.
    pub(crate) fn set_outcast(&self, outcast: Outcast) {
        *lock(&self.outcast) = Some(outcast);
    }

    /// Makes S3 refuse every request but those of foreign writers, or stop doing so.
    pub(crate) fn set_siege(&self, besieged: bool) {
        self.besieged.store(besieged, Ordering::SeqCst);
    }

    fn is_besieged(&self, service: Service, sender: &str) -> bool {
        service == Service::S3
            && self.besieged.load(Ordering::SeqCst)
            && !sender.starts_with("writer")
    }

    /// Whether a request is one of those that an outcast's state table refuses for ever.
    fn is_refused(&self, service: Service, what: &str) -> bool {
        let outcast = lock(&self.outcast);
        let Some(Outcast::Refused(name)) = &*outcast else {
            return false;
        };
        let is_write = ["PutItem", "UpdateItem", "TransactWriteItems"]
            .iter()
            .any(|start| what.starts_with(start));
        service == Service::DynamoDb && is_write && what.contains(&format!("/tests/{name}"))
    }

    /// Whether whoever reads a file hears nothing, for ever.
    pub(crate) fn is_silent(&self, machine: &str, location: &str) -> bool {
        let outcast = lock(&self.outcast);
        let Some(Outcast::Silent(name)) = &*outcast else {
            return false;
        };
        machine.starts_with("scheduler") && location.contains(&format!("/{name}/"))
    }

    /// Whether whoever reads a file is asked for fewer requests, for ever.
    pub(crate) fn is_throttled(&self, machine: &str, location: &str) -> bool {
        let outcast = lock(&self.outcast);
        let Some(Outcast::Throttled(name)) = &*outcast else {
            return false;
        };
        machine.starts_with("scheduler") && location.contains(&format!("/{name}/"))
    }

    /// Whether something happens at a service whose chance is so many in a million; never without an engine.
    pub fn happens(&self, in_a_million: u64) -> bool {
        self.engine
            .as_ref()
            .is_some_and(|engine| engine.happens(in_a_million))
    }

    /// The engine, where there is one.
    pub fn engine(&self) -> Option<&Arc<Engine>> {
        self.engine.as_ref()
    }

    /// Sends a request and waits for its answer.
    pub async fn call<T: Send + 'static>(
        &self,
        service: Service,
        sender: &str,
        what: impl fmt::Display + Send,
        delivery: Delivery,
        effect: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Cut> {
        let Some(engine) = &self.engine else {
            return Ok(effect());
        };
        if self.is_besieged(service, sender) {
            engine.note(format_args!("{sender}: {what}: is refused"));
            engine.sleep(USUAL).await;
            return Err(Cut::Throttled);
        }
        if self.is_refused(service, &what.to_string()) {
            engine.sleep(USUAL).await;
            return Err(Cut::ServerError);
        }
        let hold = match delivery {
            Delivery::Usual => self.hold(engine, sender, &what.to_string()),
            Delivery::Prompt => None,
        };
        let Some((hold, is_after)) = hold else {
            return self.send(service, sender, what, delivery, effect).await;
        };
        engine.note(format_args!("{sender}: {what}: is held for {hold:?}"));
        if is_after {
            let answer = self.send(service, sender, what, delivery, effect).await;
            engine.sleep(hold).await;
            answer
        } else {
            engine.sleep(hold).await;
            self.send(service, sender, what, delivery, effect).await
        }
    }

    async fn send<T: Send + 'static>(
        &self,
        service: Service,
        sender: &str,
        what: impl fmt::Display + Send,
        delivery: Delivery,
        effect: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Cut> {
        let Some(engine) = &self.engine else {
            return Ok(effect());
        };
        let (fate, there) = match self.fate(engine, service) {
            (Fate::Late, there) if delivery == Delivery::Prompt => (Fate::LostBefore, there),
            other => other,
        };
        let there = match delivery {
            Delivery::Usual => there,
            Delivery::Prompt => there.min(USUAL),
        };
        let back = engine.duration_up_to(USUAL / 3);
        let patience = PATIENCE + engine.duration_up_to(PATIENCE);
        match fate {
            Fate::Done => {
                let (answer, answered) = oneshot::channel();
                let later = Arc::clone(engine);
                engine.after(there, move || {
                    let value = effect();
                    later.after(back, move || {
                        // Whoever asked may be dead.
                        let _ = answer.send(value);
                    });
                });
                answered.await.map_err(|_| Cut::NoAnswer)
            }
            Fate::LostBefore => {
                engine.note(format_args!("{sender}: {what}: is lost"));
                engine.sleep(patience).await;
                Err(Cut::NoAnswer)
            }
            Fate::LostAfter => {
                engine.note(format_args!("{sender}: {what}: its answer will be lost"));
                engine.after(there, move || drop(effect()));
                engine.sleep(patience.max(there)).await;
                Err(Cut::NoAnswer)
            }
            Fate::Late => {
                let delay = patience + engine.duration_up_to(LATEST);
                engine.note(format_args!(
                    "{sender}: {what}: will be done after {delay:?}"
                ));
                engine.after(delay, move || drop(effect()));
                engine.sleep(patience).await;
                Err(Cut::NoAnswer)
            }
            Fate::Refused(cut) => {
                engine.note(format_args!("{sender}: {what}: {cut:?}"));
                engine.sleep(there + back).await;
                Err(cut)
            }
            Fate::DoneAndRefused => {
                engine.note(format_args!("{sender}: {what}: done, and a 5xx"));
                engine.after(there, move || drop(effect()));
                engine.sleep(there + back).await;
                Err(Cut::ServerError)
            }
        }
    }

    /// How long the sender of a request stands still, if it does, and whether after its answer.
    fn hold(&self, engine: &Arc<Engine>, sender: &str, what: &str) -> Option<(Duration, bool)> {
        let (held, which, shortest, longest) = {
            let weather = lock(&self.weather);
            let (shortest, longest) = (weather.shortest_hold, weather.longest_hold);
            (weather.held, weather.which, shortest, longest)
        };
        if held == 0 || !which.includes(what) || sender.starts_with("writer") {
            return None;
        }
        let hold = engine
            .happens(held)
            .then(|| shortest + engine.duration_up_to(longest.saturating_sub(shortest)))?;
        Some((hold, which.is_after()))
    }

    fn fate(&self, engine: &Engine, service: Service) -> (Fate, Duration) {
        let weather = lock(&self.weather);
        let now = engine.now();
        let mut outages = lock(&self.outages);
        if engine.happens(weather.outage) {
            let length = engine.duration_up_to(weather.longest_outage);
            engine.note(format_args!("{service:?} is away for {length:?}"));
            outages.insert(service, now + length);
        }
        let usual = engine.duration_up_to(USUAL);
        if outages.get(&service).is_some_and(|until| now < *until) {
            let cut = match engine.below(3) {
                0 => Fate::Refused(Cut::Throttled),
                1 => Fate::Refused(Cut::ServerError),
                _ => Fate::LostBefore,
            };
            return (cut, usual);
        }
        let there = if engine.happens(weather.slow) {
            engine.duration_up_to(weather.slowest)
        } else {
            usual
        };
        let fate = if engine.happens(weather.lost_before) {
            Fate::LostBefore
        } else if engine.happens(weather.lost_after) {
            Fate::LostAfter
        } else if engine.happens(weather.late) {
            Fate::Late
        } else if engine.happens(weather.throttled) {
            Fate::Refused(Cut::Throttled)
        } else if engine.happens(weather.error_before) {
            Fate::Refused(Cut::ServerError)
        } else if engine.happens(weather.error_after) {
            Fate::DoneAndRefused
        } else {
            Fate::Done
        };
        (fate, there)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex
        .lock()
        .unwrap_or_else(std::sync::PoisonError::into_inner)
}
