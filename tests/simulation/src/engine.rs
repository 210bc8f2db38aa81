//! The order of everything that happens, out of one seed: tasks that can go on, moments that come, and chance.
//!
//! One thread polls the tasks. Virtual time stands still while any of them can go on, and then jumps to the next
//! moment that somebody waits for. Which of several tasks goes on first is drawn; so is everything else.

use std::{
    collections::BTreeMap,
    fmt::{self, Write as _},
    future::Future,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Wake, Waker},
    time::Duration,
};

use futures::future::BoxFuture;
use icepress_model::ambient::{Randomness, SeededRandomness};
use tokio::runtime::{Builder, Runtime};

use crate::trace::Trace;

/// The number of a task of the simulation.
pub type TaskId = u64;

/// Something to be done at a moment.
type Act = Box<dyn FnOnce() + Send>;

enum Moment {
    Wake(Waker),
    Act(Act),
}

/// A task as it was started.
struct Started {
    id: TaskId,
    name: String,
    future: BoxFuture<'static, ()>,
    mortal: bool,
}

struct Inner {
    now: Duration,
    order: u64,
    moments: BTreeMap<(Duration, u64), Moment>,
    ready: Vec<TaskId>,
    started: Vec<Started>,
    next_task: TaskId,
    trace: Trace,
    violations: Vec<String>,
    perils: Perils,
    doomed: Vec<(TaskId, &'static str)>,
}

/// What may happen to a mortal task at each of its awaits, as chances in a million.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Perils {
    /// It dies: its future is dropped.
    pub crash: u64,
    /// It stands still for a time, as a process does that is stopped, or a machine that is short of memory.
    pub stall: u64,
    /// The longest that it stands still.
    pub longest_stall: Duration,
}

/// Time, chance, tasks and what was seen of them.
pub struct Engine {
    random: SeededRandomness,
    inner: Mutex<Inner>,
}

impl fmt::Debug for Engine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Engine").finish_non_exhaustive()
    }
}

impl Engine {
    /// An engine whose every choice follows from `seed`. `keep_lines` keeps the trace's text beside its hash.
    pub fn new(seed: u64, keep_lines: bool) -> Arc<Self> {
        Arc::new(Self {
            random: SeededRandomness::new(seed),
            inner: Mutex::new(Inner {
                now: Duration::ZERO,
                order: 0,
                moments: BTreeMap::new(),
                ready: Vec::new(),
                started: Vec::new(),
                next_task: 0,
                trace: Trace::new(keep_lines),
                violations: Vec::new(),
                perils: Perils::default(),
                doomed: Vec::new(),
            }),
        })
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        // A poisoned lock means that a check panicked: the run is over, and what was seen still counts.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    // --- chance ---

    /// 64 random bits.
    pub fn random(&self) -> u64 {
        self.random.next_u64()
    }

    /// A number from 0 up to, and without, `end`; 0 where `end` is 0.
    pub fn below(&self, end: u64) -> u64 {
        if end <= 1 { 0 } else { self.random() % end }
    }

    /// Whether something happens whose chance is so many in a million.
    pub fn happens(&self, in_a_million: u64) -> bool {
        in_a_million > 0 && self.below(1_000_000) < in_a_million
    }

    /// A duration from nothing up to `most`, in milliseconds.
    pub fn duration_up_to(&self, most: Duration) -> Duration {
        let millis = u64::try_from(most.as_millis()).unwrap_or(u64::MAX - 1);
        Duration::from_millis(self.below(millis + 1))
    }

    // --- time ---

    /// Time since the start.
    pub fn now(&self) -> Duration {
        self.inner().now
    }

    /// Does something after `delay`, whoever is alive then.
    pub fn after(&self, delay: Duration, act: impl FnOnce() + Send + 'static) {
        self.inner().schedule(delay, Moment::Act(Box::new(act)));
    }

    /// Returns once `delay` has passed.
    pub fn sleep(self: &Arc<Self>, delay: Duration) -> Sleep {
        Sleep {
            engine: Arc::clone(self),
            until: self.now() + delay,
            wakes: None,
        }
    }

    // --- tasks ---

    /// Starts a task. A mortal one is subject to the perils.
    pub fn start(
        &self,
        name: impl Into<String>,
        mortal: bool,
        future: impl Future<Output = ()> + Send + 'static,
    ) -> TaskId {
        let mut inner = self.inner();
        let id = inner.next_task;
        inner.next_task += 1;
        inner.started.push(Started {
            id,
            name: name.into(),
            future: Box::pin(future),
            mortal,
        });
        inner.ready.push(id);
        id
    }

    /// Sets what may happen to mortal tasks from now on.
    pub fn set_perils(&self, perils: Perils) {
        self.inner().perils = perils;
    }

    // --- what was seen ---

    /// Adds a line to the trace.
    pub fn note(&self, line: fmt::Arguments<'_>) {
        let mut inner = self.inner();
        let now = inner.now;
        inner.trace.line(now, line);
    }

    /// Notes that an invariant is broken: the run ends.
    pub fn violated(&self, what: impl Into<String>) {
        let what = what.into();
        self.note(format_args!("VIOLATED {what}"));
        self.inner().violations.push(what);
    }

    /// Asks for the end of a task, which comes before anything else happens.
    pub fn request_kill(&self, task: TaskId, why: &'static str) {
        self.inner().doomed.push((task, why));
    }

    /// Whether anything was found broken.
    pub fn has_violations(&self) -> bool {
        !self.inner().violations.is_empty()
    }

    /// What was found broken so far.
    pub fn violations(&self) -> Vec<String> {
        self.inner().violations.clone()
    }

    /// The trace so far: its hash, and its lines where they are kept.
    pub fn trace(&self) -> Trace {
        self.inner().trace.clone()
    }

    /// Forgets all tasks and moments, so that nothing keeps the engine alive.
    pub fn clear(&self) {
        let (moments, started) = {
            let mut inner = self.inner();
            (
                std::mem::take(&mut inner.moments),
                std::mem::take(&mut inner.started),
            )
        };
        drop((moments, started));
    }
}

impl Inner {
    fn schedule(&mut self, delay: Duration, moment: Moment) {
        let at = self.now + delay;
        self.order += 1;
        self.moments.insert((at, self.order), moment);
    }
}

/// See [`Engine::sleep`].
#[derive(Debug)]
pub struct Sleep {
    engine: Arc<Engine>,
    until: Duration,
    /// Who is woken at its end. Whoever polls often, as one does who waits for many things, is woken by each once, not by each as
    /// often as it polled: those wakings would beget others without end.
    wakes: Option<Waker>,
}

impl Future for Sleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let until = self.until;
        let engine = Arc::clone(&self.engine);
        let mut inner = engine.inner();
        // Even a sleep of no time is a point where others may go on.
        if self.wakes.is_some() && inner.now >= until {
            return Poll::Ready(());
        }
        let is_told = |waker: &Waker| waker.will_wake(context.waker());
        if !self.wakes.as_ref().is_some_and(is_told) {
            let delay = until.saturating_sub(inner.now);
            inner.schedule(delay, Moment::Wake(context.waker().clone()));
            self.wakes = Some(context.waker().clone());
        }
        Poll::Pending
    }
}

struct TaskWaker {
    engine: Arc<Engine>,
    task: TaskId,
}

impl Wake for TaskWaker {
    fn wake(self: Arc<Self>) {
        let mut inner = self.engine.inner();
        if !inner.ready.contains(&self.task) {
            inner.ready.push(self.task);
        }
    }
}

struct Task {
    name: String,
    future: BoxFuture<'static, ()>,
    mortal: bool,
    waker: Waker,
    stalled_until: Duration,
}

/// Polls the tasks of an engine.
pub struct Driver {
    engine: Arc<Engine>,
    /// For what the tasks themselves start beside them: it has no clock and no thread of its own, and its tasks go on,
    /// in the order in which they can, before time does.
    beside: Runtime,
    tasks: BTreeMap<TaskId, Task>,
    ended: Vec<(TaskId, TaskEnd)>,
}

/// How a task ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TaskEnd {
    /// Its future was done.
    Returned,
    /// It was dropped.
    Crashed,
}

/// What a step came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Something happened.
    Went,
    /// Nothing can happen any more.
    Idle,
}

impl fmt::Debug for Driver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Driver")
            .field("tasks", &self.tasks.len())
            .finish_non_exhaustive()
    }
}

impl Driver {
    /// A driver of the engine's tasks.
    pub fn new(engine: Arc<Engine>) -> Self {
        let beside = Builder::new_current_thread()
            .build()
            .expect("a runtime without drivers needs nothing of the system");
        Self {
            engine,
            beside,
            tasks: BTreeMap::new(),
            ended: Vec::new(),
        }
    }

    /// Tasks that ended since the last call.
    pub fn take_ended(&mut self) -> Vec<(TaskId, TaskEnd)> {
        std::mem::take(&mut self.ended)
    }

    /// Whether a task is alive.
    pub fn is_alive(&self, task: TaskId) -> bool {
        self.tasks.contains_key(&task)
    }

    /// Drops a task, as a platform does whose time limit has come.
    pub fn kill(&mut self, task: TaskId, why: &str) {
        if let Some(killed) = self.tasks.remove(&task) {
            self.engine
                .note(format_args!("{} is killed: {why}", killed.name));
            self.ended.push((task, TaskEnd::Crashed));
        }
    }

    /// Lets one task go on, or the next moment come.
    pub fn step(&mut self) -> Step {
        self.adopt();
        let doomed = std::mem::take(&mut self.engine.inner().doomed);
        for (task, why) in doomed {
            self.kill(task, why);
        }
        let ready = {
            let mut inner = self.engine.inner();
            let count = inner.ready.len() as u64;
            if count == 0 {
                None
            } else {
                let index = self.engine.below(count);
                let index = usize::try_from(index).unwrap_or(0);
                Some(inner.ready.swap_remove(index))
            }
        };
        match ready {
            Some(task) => {
                self.poll(task);
                Step::Went
            }
            None => {
                if self.beside.metrics().num_alive_tasks() > 0 {
                    self.beside.block_on(tokio::task::yield_now());
                    if !self.engine.inner().ready.is_empty() {
                        return Step::Went;
                    }
                }
                self.next_moment()
            }
        }
    }

    fn adopt(&mut self) {
        let started = std::mem::take(&mut self.engine.inner().started);
        for task in started {
            let waker = Waker::from(Arc::new(TaskWaker {
                engine: Arc::clone(&self.engine),
                task: task.id,
            }));
            self.tasks.insert(
                task.id,
                Task {
                    name: task.name,
                    future: task.future,
                    mortal: task.mortal,
                    waker,
                    stalled_until: Duration::ZERO,
                },
            );
        }
    }

    fn poll(&mut self, id: TaskId) {
        let Some(task) = self.tasks.get_mut(&id) else {
            return;
        };
        let (now, perils) = {
            let inner = self.engine.inner();
            (inner.now, inner.perils)
        };
        if task.stalled_until > now {
            let wait = task.stalled_until - now;
            let waker = task.waker.clone();
            self.engine.inner().schedule(wait, Moment::Wake(waker));
            return;
        }
        if task.mortal && self.engine.happens(perils.stall) {
            let stall = self.engine.duration_up_to(perils.longest_stall);
            task.stalled_until = now + stall;
            self.engine
                .note(format_args!("{} stands still for {stall:?}", task.name));
            let waker = task.waker.clone();
            self.engine.inner().schedule(stall, Moment::Wake(waker));
            return;
        }
        let mut context = Context::from_waker(&task.waker);
        let _inside = self.beside.enter();
        match task.future.as_mut().poll(&mut context) {
            Poll::Ready(()) => {
                self.tasks.remove(&id);
                self.ended.push((id, TaskEnd::Returned));
            }
            Poll::Pending => {
                if task.mortal && self.engine.happens(perils.crash) {
                    self.kill(id, "it crashed");
                }
            }
        }
    }

    fn next_moment(&mut self) -> Step {
        let moment = {
            let mut inner = self.engine.inner();
            let Some(((at, _), moment)) = inner.moments.pop_first() else {
                return Step::Idle;
            };
            inner.now = at;
            moment
        };
        match moment {
            Moment::Wake(waker) => waker.wake(),
            Moment::Act(act) => act(),
        }
        Step::Went
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        self.tasks.clear();
        self.engine.clear();
    }
}

/// A short text of bytes, for the trace.
pub(crate) fn short(bytes: &[u8]) -> String {
    let mut text = String::new();
    // Writing to a string can't fail.
    let _ = write!(text, "{:08x}", crate::trace::hash(bytes) as u32);
    text
}
