//! The search through the whole state space, and the question whether rest can be reached from everywhere.
//!
//! stateright looks at every state and checks the invariants. Its `eventually` is not sound where runs have no end (it
//! forgets a run that closes a circle), and ours have none. So every step is noted on the way, and afterwards a pass of
//! our own goes backwards from the states at rest, along the steps that are nobody's mishap. A state from which no such
//! way leads to rest is one where something is lost for good: a moved table that nobody will look at, a process that
//! nobody will end. As the states are finitely many, a way to rest from everywhere is the same as coming to rest once
//! mishaps stop and everybody's turn comes.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Mutex, PoisonError},
};

use stateright::{Checker, HasDiscoveries, Model, Property};

use super::{
    actions::{self, Action},
    mutations::Mutation,
    scheduler::groups_to_rewrite,
    world::{Outcome, ProcessState, Row, Seen, Size, World},
};

const INVARIANTS: &str = "every invariant holds";

/// What a search found.
#[derive(Debug)]
pub(super) struct Explored {
    pub(super) states: usize,
    pub(super) steps: usize,
    pub(super) depth: usize,
    /// What is wrong, and the steps that lead there.
    pub(super) counterexample: Option<String>,
    /// What never happened.
    pub(super) never: Vec<Happening>,
}

/// Something that a world should be seen to do: one that does too little proves little.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Happening {
    /// A process commits all its groups.
    Commit,
    /// A process commits some of its groups.
    PartCommit,
    /// A process fails.
    Failure,
    /// A process is abandoned.
    Abandonment,
    /// A lease is taken from somebody who holds it.
    Takeover,
    /// An optimizer looks at a table for a scheduler.
    Evaluation,
}

impl Happening {
    const ALL: [Self; 6] = [
        Self::Commit,
        Self::PartCommit,
        Self::Failure,
        Self::Abandonment,
        Self::Takeover,
        Self::Evaluation,
    ];

    fn name(self) -> &'static str {
        match self {
            Self::Commit => "a process commits all its groups",
            Self::PartCommit => "a process commits some of its groups",
            Self::Failure => "a process fails",
            Self::Abandonment => "a process is abandoned",
            Self::Takeover => "a lease is taken over",
            Self::Evaluation => "an optimizer looks at a table",
        }
    }

    /// Whether a world of this size can do it.
    pub(super) fn is_possible_in(self, size: &Size) -> bool {
        let commits = size.optimizers > 0;
        match self {
            Self::Commit => commits,
            Self::PartCommit => commits && size.groups > 1 && size.removals > 0,
            Self::Failure => commits && (size.failures > 0 || size.removals >= size.groups),
            Self::Abandonment => commits && size.drops + size.cancels > 0,
            Self::Takeover => size.leases_end_early,
            Self::Evaluation => commits && size.elsewhere,
        }
    }

    fn has_happened(self, world: &World) -> bool {
        match self {
            Self::Commit => world.has_ended(|outcome| matches!(outcome, Outcome::Committed(_))),
            Self::PartCommit => world.has_ended(|outcome| matches!(outcome, Outcome::Partly(_))),
            Self::Failure => world.has_ended(|outcome| matches!(outcome, Outcome::Failed)),
            Self::Abandonment => world.has_ended(|outcome| matches!(outcome, Outcome::Abandoned)),
            Self::Evaluation => world.has_ended(|outcome| matches!(outcome, Outcome::Evaluated)),
            Self::Takeover => world.schedulers.iter().any(|scheduler| {
                scheduler
                    .lease
                    .is_some_and(|(bucket, epoch)| world.buckets[usize::from(bucket)].epoch > epoch)
            }),
        }
    }
}

/// A step of somebody, from one state to another.
#[derive(Debug, Clone, Copy)]
struct Edge {
    from: u64,
    to: u64,
    action: Action,
}

#[derive(Debug, Default)]
struct Noted {
    edges: Vec<Edge>,
    at_rest: Vec<u64>,
}

#[derive(Debug)]
struct Coordination {
    size: Size,
    mutation: Option<Mutation>,
    noted: Mutex<Noted>,
}

fn fingerprint(world: &World) -> u64 {
    ahash::RandomState::with_seeds(1, 2, 3, 4).hash_one(world)
}

impl World {
    /// Whether nothing is left to do, and everything that moved was looked at.
    fn is_at_rest(&self, size: &Size) -> bool {
        (0..).zip(&self.catalog).all(|(table, entry): (u8, _)| {
            let row = &self.rows[usize::from(table)];
            let seen = self.digest[usize::from(table)];
            if !entry.exists {
                // A mark that came late may leave a row that says "dropped"; it stays, and harms nobody.
                let is_quiet = |row: &Row| row.active.is_none() && !row.due;
                return seen == Seen::Never && row.as_ref().is_none_or(is_quiet);
            }
            let Some(row) = row else { return false };
            let now = Some(entry.location);
            let was_looked_at = row.evaluated == now || row.committed == now;
            was_looked_at
                && seen == Seen::At(entry.location)
                && row.active.is_none()
                && !row.due
                // Who cancels says that the table is well enough until it changes.
                && (size.cancels > 0 || groups_to_rewrite(size.groups, &entry.files).is_empty())
        })
    }

    fn has_ended(&self, how: fn(&Outcome) -> bool) -> bool {
        self.processes
            .iter()
            .any(|process| matches!(&process.state, ProcessState::Ended(outcome) if how(outcome)))
    }
}

impl Model for Coordination {
    type State = World;
    type Action = Action;

    fn init_states(&self) -> Vec<World> {
        let mut world = World::new(&self.size);
        world.make_canonical(&self.size);
        vec![world]
    }

    fn actions(&self, world: &World, actions: &mut Vec<Action>) {
        world.actions(&self.size, actions);
    }

    fn next_state(&self, before: &World, action: Action) -> Option<World> {
        let after = actions::step(&self.size, self.mutation, before, action);
        if after == *before {
            return None;
        }
        let edge = Edge {
            from: fingerprint(before),
            to: fingerprint(&after),
            action,
        };
        let at_rest = after.is_at_rest(&self.size);
        let mut noted = self.noted.lock().unwrap_or_else(PoisonError::into_inner);
        noted.edges.push(edge);
        if at_rest {
            noted.at_rest.push(edge.to);
        }
        Some(after)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        let happens = |happening: Happening, condition: fn(&Self, &World) -> bool| {
            Property::sometimes(happening.name(), condition)
        };
        vec![
            Property::always(INVARIANTS, |_, world: &World| world.broken.is_none()),
            happens(Happening::Commit, |_, world| {
                Happening::Commit.has_happened(world)
            }),
            happens(Happening::PartCommit, |_, world| {
                Happening::PartCommit.has_happened(world)
            }),
            happens(Happening::Failure, |_, world| {
                Happening::Failure.has_happened(world)
            }),
            happens(Happening::Abandonment, |_, world| {
                Happening::Abandonment.has_happened(world)
            }),
            happens(Happening::Takeover, |_, world| {
                Happening::Takeover.has_happened(world)
            }),
            happens(Happening::Evaluation, |_, world| {
                Happening::Evaluation.has_happened(world)
            }),
        ]
    }
}

/// Looks at every state that can come about, the nearest to the start first. One thread: the tests are many.
pub(super) fn explore(size: &Size, mutation: Option<Mutation>) -> Explored {
    let model = Coordination {
        size: size.clone(),
        mutation,
        noted: Mutex::default(),
    };
    let checker = model
        .checker()
        .finish_when(HasDiscoveries::AnyFailures)
        .spawn_bfs()
        .join();
    let broken = checker.discovery(INVARIANTS).map(|path| {
        let last = path.last_state();
        let steps: Vec<Action> = path.clone().into_actions();
        describe(last.broken.as_deref().unwrap_or(INVARIANTS), &steps, last)
    });
    let noted = std::mem::take(
        &mut *checker
            .model()
            .noted
            .lock()
            .unwrap_or_else(PoisonError::into_inner),
    );
    let never = Happening::ALL
        .into_iter()
        .filter(|happening| checker.discovery(happening.name()).is_none())
        .collect();
    let counterexample = broken.or_else(|| no_way_to_rest(checker.model(), &noted));
    Explored {
        states: checker.unique_state_count(),
        steps: noted.edges.len(),
        depth: checker.max_depth(),
        counterexample,
        never,
    }
}

fn describe(what: &str, steps: &[Action], last: &World) -> String {
    let steps: Vec<String> = steps.iter().map(|action| format!("  {action:?}")).collect();
    format!("{what}\nafter\n{}\nin\n{last:#?}", steps.join("\n"))
}

/// A state that is as near to the start as any from which nothing leads to rest, with the way there.
fn no_way_to_rest(model: &Coordination, noted: &Noted) -> Option<String> {
    let mut numbers: HashMap<u64, u32> = HashMap::new();
    let mut number = |state: u64| {
        let next = u32::try_from(numbers.len()).expect("fewer than four thousand million states");
        *numbers.entry(state).or_insert(next)
    };
    let start = model.init_states().remove(0);
    let first = number(fingerprint(&start));
    let edges: Vec<(u32, u32, Action)> = noted
        .edges
        .iter()
        .map(|edge| (number(edge.from), number(edge.to), edge.action))
        .collect();
    let mut leads_to_rest = vec![false; numbers.len()];
    let mut pending: Vec<u32> = Vec::new();
    let at_rest = noted.at_rest.iter().map(|state| numbers[state]);
    for state in at_rest.chain(start.is_at_rest(&model.size).then_some(first)) {
        if !std::mem::replace(&mut leads_to_rest[state as usize], true) {
            pending.push(state);
        }
    }
    let honest = edges.iter().filter(|(_, _, action)| !action.is_mishap());
    let backwards = Adjacent::new(numbers.len(), honest.map(|(from, to, _)| (*to, *from)));
    while let Some(state) = pending.pop() {
        for before in backwards.of(state) {
            if !std::mem::replace(&mut leads_to_rest[*before as usize], true) {
                pending.push(*before);
            }
        }
    }
    if leads_to_rest.iter().all(|leads| *leads) {
        return None;
    }

    // The nearest such state, and how one gets there.
    let forwards = Adjacent::new(
        numbers.len(),
        (0..)
            .zip(&edges)
            .map(|(number, (from, _, _))| (*from, number)),
    );
    let mut came_by: Vec<Option<u32>> = vec![None; numbers.len()];
    let mut pending = VecDeque::from([first]);
    while let Some(state) = pending.pop_front() {
        if !leads_to_rest[state as usize] {
            let mut steps = Vec::new();
            let mut at = state;
            while at != first {
                let (from, _, action) = edges[came_by[at as usize]? as usize];
                steps.push(action);
                at = from;
            }
            steps.reverse();
            let mut world = start;
            for action in &steps {
                world = actions::step(&model.size, model.mutation, &world, *action);
            }
            return Some(describe("nothing leads to rest any more", &steps, &world));
        }
        for edge in forwards.of(state) {
            let (_, to, _) = edges[*edge as usize];
            if to != first && came_by[to as usize].is_none() {
                came_by[to as usize] = Some(*edge);
                pending.push_back(to);
            }
        }
    }
    Some("nothing leads to rest from a state that nothing leads to".to_owned())
}

/// For each state, what belongs to it.
struct Adjacent {
    starts: Vec<u32>,
    items: Vec<u32>,
}

impl Adjacent {
    fn new(states: usize, pairs: impl Iterator<Item = (u32, u32)> + Clone) -> Self {
        let mut starts = vec![0u32; states + 1];
        for (state, _) in pairs.clone() {
            starts[state as usize + 1] += 1;
        }
        for state in 0..states {
            starts[state + 1] += starts[state];
        }
        let mut next = starts.clone();
        let mut items = vec![0; starts[states] as usize];
        for (state, item) in pairs {
            items[next[state as usize] as usize] = item;
            next[state as usize] += 1;
        }
        Self { starts, items }
    }

    fn of(&self, state: u32) -> &[u32] {
        let state = state as usize;
        &self.items[self.starts[state] as usize..self.starts[state + 1] as usize]
    }
}
