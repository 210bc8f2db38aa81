//! For tests: a model of the commit lock, looked at in full: our waiters and holders, by `rules`, beside a Java writer
//! whose update of the table compares with nothing, so that the lock alone keeps it from overwriting others.
//!
//! Time is counted in ticks up to an end. Two things are assumed, and stand in [`Race::may_tick`]: Java's writer does what
//! it began before its lease is over (it heartbeats, and its heartbeats arrive), and a request of ours that changes the
//! table acts, if ever, before our own lease is over. Everything else may take any time, and anybody may die at any step.

use std::time::Duration;

use stateright::{Checker, HasDiscoveries, Model, Property};

use super::{Condition, Holder, Move, Waiting, time_left};

/// Who takes part, and what is wrong on purpose.
#[derive(Debug, Clone, Copy)]
struct Race {
    ours: usize,
    javas: usize,
    crashes: u8,
    /// Ticks of everybody's lease.
    lease: u64,
    ends_at: u64,
    /// Whether somebody died with the lock before the start.
    begins_held: bool,
    mutation: Option<Mutation>,
}

/// A step that is wrong on purpose.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mutation {
    /// The lock is released before the swap.
    ReleasedBeforeSwap,
    /// A held lock is taken over at once.
    TakenOverAtOnce,
    /// A lock is taken over whatever its version is by then.
    VersionIgnored,
    /// The table is changed however long the lock was held.
    HeldTooLong,
    /// A lock is released whoever has it.
    ReleasedForOthers,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct World {
    now: u64,
    row: Option<Holder>,
    writes: u8,
    /// Commits that are in the table, one bit each: a state of the table is the set of what was committed.
    table: u8,
    /// Commits of which somebody was told that they are in.
    told: u8,
    workers: Vec<Worker>,
    crashes: u8,
}

/// Where a worker stands. Ours and Java's take the lock by the same rules; they differ in what they do under it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Worker {
    /// It has loaded the table, prepared its commit, and waits for the lock.
    Waiting { base: u8, waiting: Waiting },
    /// It has asked for the row.
    Asked {
        base: u8,
        waiting: Waiting,
        asked: u64,
    },
    /// Its write of the row is under way since `written`.
    Writing {
        base: u8,
        waiting: Waiting,
        condition: Condition,
        written: u64,
    },
    /// It holds the lock since then, as far as it knows.
    Held { base: u8, since: u64 },
    /// It has looked under the lock that the table is still in its base's state.
    Checked { base: u8, since: u64 },
    /// Ours: its swap is under way.
    Swapping { base: u8, since: u64 },
    /// It is about to release the lock.
    Releasing,
    /// It has ended, or died.
    Over,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Action {
    Tick,
    Ask(usize),
    /// The row is read, and comes.
    Answer(usize),
    Write(usize),
    Check(usize),
    Send(usize),
    Act(usize),
    Heartbeat(usize),
    Release(usize),
    Crash(usize),
}

fn ticks(count: u64) -> Duration {
    Duration::from_secs(count)
}

fn owner(who: usize) -> String {
    format!("commit-{who}")
}

impl Race {
    fn is_ours(&self, who: usize) -> bool {
        who < self.ours
    }

    fn is(&self, mutation: Mutation) -> bool {
        self.mutation == Some(mutation)
    }

    /// Whether time may pass: see above, what is assumed.
    fn may_tick(&self, world: &World) -> bool {
        world.now < self.ends_at
            && world
                .workers
                .iter()
                .enumerate()
                .all(|(who, worker)| match worker {
                    Worker::Held { since, .. } | Worker::Checked { since, .. } => {
                        self.is_ours(who) || world.now < since + self.lease - 1
                    }
                    Worker::Swapping { since, .. } => {
                        self.is(Mutation::HeldTooLong) || world.now < since + self.lease - 1
                    }
                    _ => true,
                })
    }

    fn admits(&self, world: &World, condition: &Condition) -> bool {
        match (condition, &world.row) {
            (Condition::Free, row) => row.is_none(),
            (Condition::Version(_), Some(_)) if self.is(Mutation::VersionIgnored) => true,
            (Condition::Version(version), Some(row)) => *version == row.version,
            (Condition::Version(_), None) => false,
        }
    }

    fn put_row(&self, world: &mut World, who: usize) {
        world.writes += 1;
        world.row = Some(Holder {
            owner: owner(who),
            version: format!("v{}", world.writes),
            lease: ticks(self.lease),
        });
    }

    fn time_left(&self, world: &World, since: u64) -> bool {
        self.is(Mutation::HeldTooLong)
            || !time_left(ticks(self.lease), ticks(world.now - since)).is_zero()
    }

    fn answer(&self, world: &World, who: usize) -> Option<Worker> {
        let Worker::Asked {
            base,
            mut waiting,
            asked,
        } = world.workers[who].clone()
        else {
            return None;
        };
        let row = &world.row;
        let (asked, answered) = (ticks(asked), ticks(world.now));
        let mut step = waiting.next(row.as_ref(), &owner(who), asked, answered);
        if let (Move::Wait, Some(row), true) = (&step, row, self.is(Mutation::TakenOverAtOnce)) {
            step = Move::Write(Condition::Version(row.version.clone()));
        }
        Some(match step {
            Move::Held => Worker::Held {
                base,
                since: world.now,
            },
            Move::Wait => Worker::Waiting { base, waiting },
            Move::Write(condition) => Worker::Writing {
                base,
                waiting,
                condition,
                written: world.now,
            },
        })
    }

    /// Releases the lock in the row, if the row is the worker's.
    fn release(&self, world: &mut World, who: usize) {
        let is_own = world
            .row
            .as_ref()
            .is_some_and(|row| row.owner == owner(who));
        if is_own || self.is(Mutation::ReleasedForOthers) {
            world.row = None;
        }
    }

    /// What a commit makes of the table; `false` where it was compared and is not what it was prepared on.
    fn commit(&self, world: &mut World, who: usize, base: u8) {
        let compares = self.is_ours(who);
        if !compares || world.table == base {
            world.table = base | 1 << who;
            world.told |= 1 << who;
        }
    }
}

impl Model for Race {
    type State = World;
    type Action = Action;

    fn init_states(&self) -> Vec<World> {
        let worker = Worker::Waiting {
            base: 0,
            waiting: Waiting::default(),
        };
        vec![World {
            now: 0,
            row: self.begins_held.then(|| Holder {
                owner: "somebody dead".to_owned(),
                version: "v0".to_owned(),
                lease: ticks(self.lease),
            }),
            writes: 0,
            table: 0,
            told: 0,
            workers: vec![worker; self.ours + self.javas],
            crashes: self.crashes,
        }]
    }

    fn actions(&self, world: &World, actions: &mut Vec<Action>) {
        if self.may_tick(world) {
            actions.push(Action::Tick);
        }
        for (who, worker) in world.workers.iter().enumerate() {
            if world.crashes > 0 && *worker != Worker::Over {
                actions.push(Action::Crash(who));
            }
            match worker {
                Worker::Waiting { .. } => actions.push(Action::Ask(who)),
                Worker::Asked { .. } => actions.push(Action::Answer(who)),
                Worker::Writing { .. } => actions.push(Action::Write(who)),
                Worker::Held { .. } => actions.push(Action::Check(who)),
                Worker::Checked { .. } => actions.push(Action::Send(who)),
                Worker::Swapping { .. } => actions.push(Action::Act(who)),
                Worker::Releasing => actions.push(Action::Release(who)),
                Worker::Over => {}
            }
            let heartbeats = matches!(worker, Worker::Held { .. } | Worker::Checked { .. });
            if heartbeats && !self.is_ours(who) {
                actions.push(Action::Heartbeat(who));
            }
        }
    }

    fn next_state(&self, before: &World, action: Action) -> Option<World> {
        let mut world = before.clone();
        match action {
            Action::Tick => world.now += 1,
            Action::Ask(who) => {
                if let Worker::Waiting { base, waiting } = world.workers[who].clone() {
                    let asked = world.now;
                    world.workers[who] = Worker::Asked {
                        base,
                        waiting,
                        asked,
                    };
                }
            }
            Action::Answer(who) => world.workers[who] = self.answer(&world, who)?,
            Action::Write(who) => {
                if let Worker::Writing {
                    base,
                    waiting,
                    condition,
                    written,
                } = world.workers[who].clone()
                {
                    let admitted = self.admits(&world, &condition);
                    if admitted {
                        self.put_row(&mut world, who);
                    }
                    world.workers[who] = if admitted {
                        Worker::Held {
                            base,
                            since: written,
                        }
                    } else {
                        Worker::Waiting { base, waiting }
                    };
                }
            }
            Action::Check(who) => {
                if let Worker::Held { base, since } = world.workers[who] {
                    let stands = world.table == base;
                    if self.is(Mutation::ReleasedBeforeSwap) && self.is_ours(who) {
                        self.release(&mut world, who);
                    }
                    world.workers[who] = if stands {
                        Worker::Checked { base, since }
                    } else {
                        Worker::Releasing
                    };
                }
            }
            Action::Send(who) => {
                if let Worker::Checked { base, since } = world.workers[who] {
                    if !self.is_ours(who) {
                        self.commit(&mut world, who, base);
                        world.workers[who] = Worker::Releasing;
                    } else if self.time_left(&world, since) {
                        world.workers[who] = Worker::Swapping { base, since };
                    } else {
                        world.workers[who] = Worker::Releasing;
                    }
                }
            }
            Action::Act(who) => {
                if let Worker::Swapping { base, .. } = world.workers[who] {
                    self.commit(&mut world, who, base);
                    world.workers[who] = Worker::Releasing;
                }
            }
            Action::Heartbeat(who) => {
                let is_own = world
                    .row
                    .as_ref()
                    .is_some_and(|row| row.owner == owner(who));
                if is_own {
                    self.put_row(&mut world, who);
                }
                let now = world.now;
                if let Worker::Held { since, .. } | Worker::Checked { since, .. } =
                    &mut world.workers[who]
                {
                    if *since == now {
                        return None;
                    }
                    *since = now;
                }
            }
            Action::Release(who) => {
                self.release(&mut world, who);
                world.workers[who] = Worker::Over;
            }
            Action::Crash(who) => {
                world.crashes -= 1;
                // A request that was sent may still act: then the crash comes after it.
                world.workers[who] = Worker::Over;
            }
        }
        Some(world)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always(KEPT, |_, world: &World| world.told & !world.table == 0),
            Property::sometimes(
                "everybody commits in turn or is told that it lost",
                |_, world: &World| {
                    world.workers.iter().all(|worker| *worker == Worker::Over)
                        && world.row.is_none()
                },
            ),
            Property::sometimes(
                "a commit follows on one that died",
                |race: &Self, world: &World| {
                    let died_in_it = race.crashes > world.crashes && world.writes > 1;
                    (race.begins_held || died_in_it) && world.told != 0
                },
            ),
            Property::sometimes("a Java writer commits", |race: &Self, world: &World| {
                (race.ours..race.ours + race.javas).any(|who| world.told & 1 << who != 0)
            }),
            Property::sometimes("one of ours commits", |race: &Self, world: &World| {
                (0..race.ours).any(|who| world.told & 1 << who != 0)
            }),
        ]
    }
}

const KEPT: &str = "what somebody was told is committed stays committed";

/// One of ours, a Java writer, and one death.
const PAIR: Race = Race {
    ours: 1,
    javas: 1,
    crashes: 1,
    lease: 4,
    ends_at: 9,
    begins_held: false,
    mutation: None,
};

fn holds(race: Race) {
    let checker = race.checker().spawn_bfs().join();
    println!(
        "{} states, {} deep: {race:?}",
        checker.unique_state_count(),
        checker.max_depth()
    );
    checker.assert_properties();
}

/// The model tells the mutation from the right step.
fn is_found(mutation: Mutation, race: Race) {
    let race = Race {
        mutation: Some(mutation),
        ..race
    };
    let checker = race
        .checker()
        .finish_when(HasDiscoveries::AnyFailures)
        .spawn_bfs()
        .join();
    let path = checker
        .discovery(KEPT)
        .expect("a commit is lost without this guard");
    println!(
        "{} states: {:?}",
        checker.unique_state_count(),
        path.into_actions()
    );
}

#[test]
fn no_commit_is_lost_between_one_of_ours_and_a_java_writer() {
    holds(PAIR);
}

#[test]
fn no_commit_is_lost_between_two_of_ours_and_a_java_writer() {
    holds(Race {
        ours: 2,
        crashes: 0,
        lease: 2,
        ends_at: 4,
        begins_held: true,
        ..PAIR
    });
}

#[test]
fn a_lock_released_before_the_swap_is_found() {
    is_found(Mutation::ReleasedBeforeSwap, PAIR);
}

#[test]
fn a_lock_taken_over_at_once_is_found() {
    is_found(Mutation::TakenOverAtOnce, PAIR);
}

#[test]
fn a_lock_taken_over_by_an_old_version_is_found() {
    is_found(
        Mutation::VersionIgnored,
        Race {
            crashes: 0,
            begins_held: true,
            ..PAIR
        },
    );
}

#[test]
fn a_swap_after_half_the_lease_is_found() {
    is_found(Mutation::HeldTooLong, Race { crashes: 0, ..PAIR });
}

#[test]
fn a_lock_released_for_others_is_found() {
    is_found(
        Mutation::ReleasedForOthers,
        Race {
            ours: 2,
            crashes: 0,
            lease: 2,
            ends_at: 4,
            ..PAIR
        },
    );
}
