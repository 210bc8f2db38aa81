//! A model of expiry beside everything that may happen to a table meanwhile: a rewrite of ours, a person who expires by hand,
//! two attempts at one task, deaths, and another writer who appends, removes, tags, rolls back, brings files back and expires.
//!
//! It is about the order of the steps that `upkeep` and `service` take (protocols.md, section 6): load, decide with the pins as
//! they are then, write down what goes, swap, look at the table anew, write down what is dead, delete. That a table has one
//! process at a time, and that old claims write nothing, the larger model shows. Time is left out: every snapshot may expire
//! that no branch, no tag and no pin keeps, so that floors of age protect nobody here.

use stateright::{Model, Property};

mod cleaner;
mod tests;

/// A set of files.
type Files = u16;

/// A snapshot: its number, and its files.
type Snapshot = (u8, Files);

/// What may happen how often.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
struct Left {
    rewrites: u8,
    expiries: u8,
    by_hand: u8,
    crashes: u8,
    appends: u8,
    removals: u8,
    tags: u8,
    rollbacks: u8,
    returns: u8,
    foreign_expiries: u8,
}

/// One guard taken out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mutation {
    /// Files go before the commit.
    DeleteBeforeCommit,
    /// Nobody asks who works on a snapshot.
    PinsIgnored,
    /// What is dead is told by the main branch alone.
    MainAlone,
    /// Nothing is written down before the commit.
    NotWrittenDown,
    /// The swap is not compared with what was loaded.
    SwapUncompared,
    /// What somebody wrote down is held against the table as it was before.
    LookedAtBefore,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct World {
    /// The table, as its catalog has it.
    version: u8,
    snapshots: Vec<Snapshot>,
    main: u8,
    tag: Option<u8>,
    /// Files that are there.
    stored: Files,
    next_snapshot: u8,
    next_file: u8,
    /// Files of rewrites that came to nothing: orphan removal's business.
    orphans: Files,
    /// What a scheduler has looked at, and is about to start a rewrite on.
    looked_at: Option<Snapshot>,
    active: Option<Active>,
    cleaners: [Option<Cleaner>; 2],
    records: Vec<Record>,
    left: Left,
    broken: Option<&'static str>,
}

/// The table's process under way.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Active {
    Rewrite {
        base: Snapshot,
        /// What it wrote, once it has read its inputs.
        output: Option<u8>,
        /// Whether its base may be gone: somebody who expires had asked for pins before it began, or is none of ours. Then it
        /// fails, and that is all.
        exposed: bool,
    },
    Expire,
}

/// Somebody at an expiry: an attempt at a task, or a person's command.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Cleaner {
    by_hand: bool,
    at: At,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum At {
    Start,
    Loaded {
        version: u8,
        snapshots: Vec<Snapshot>,
        main: u8,
        tag: Option<u8>,
    },
    /// It has decided what goes, and asked whether it may.
    Decided {
        version: u8,
        going: Vec<Snapshot>,
    },
    /// That is written down.
    WrittenDown {
        version: u8,
        going: Vec<Snapshot>,
    },
    /// The table was let go of, or needed not to be: what is written down is brought to its end.
    Settling,
    /// It has read what somebody wrote down.
    Reading {
        going: Vec<Snapshot>,
    },
    /// It has looked at the table before that; on purpose, for it is too early.
    LookedBefore(Look),
    /// It has looked at the table after that.
    Looking {
        going: Vec<Snapshot>,
        look: Look,
    },
    Deleting {
        going: Vec<Snapshot>,
    },
}

/// The table as somebody saw it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Look {
    live: Files,
    present: Vec<u8>,
    main_live: Files,
}

/// What somebody wrote down.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
struct Record {
    going: Vec<Snapshot>,
    dead: Option<Files>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Action {
    LookAt,
    StartRewrite,
    Read,
    CommitRewrite,
    StartExpiry,
    Attempt,
    ByHand,
    Clean(usize),
    Crash(usize),
    Append,
    Remove(u8),
    Tag(u8),
    Untag,
    RollBack(u8),
    BringBack(u8),
    ForeignExpiry,
}

fn union(snapshots: &[Snapshot]) -> Files {
    snapshots.iter().fold(0, |all, (_, files)| all | files)
}

impl World {
    fn new(left: Left) -> Self {
        Self {
            version: 0,
            snapshots: vec![(0, 0b1), (1, 0b11)],
            main: 1,
            tag: None,
            stored: 0b11,
            next_snapshot: 2,
            next_file: 2,
            orphans: 0,
            looked_at: None,
            active: None,
            cleaners: [None, None],
            records: Vec::new(),
            left,
            broken: None,
        }
    }

    fn snapshot(&self, id: u8) -> Option<Snapshot> {
        self.snapshots.iter().copied().find(|(it, _)| *it == id)
    }

    fn files_of_main(&self) -> Files {
        self.snapshot(self.main).map_or(0, |(_, files)| files)
    }

    fn has_free_hands(&self) -> Option<usize> {
        self.cleaners.iter().position(Option::is_none)
    }

    /// A new snapshot on the main branch.
    fn commit(&mut self, files: Files) {
        self.snapshots.push((self.next_snapshot, files));
        self.main = self.next_snapshot;
        self.next_snapshot += 1;
        self.version += 1;
    }

    fn new_file(&mut self) -> Files {
        let file = 1 << self.next_file;
        self.next_file += 1;
        self.stored |= file;
        file
    }

    /// What the process under way works on, for whoever asks.
    fn pinned(&self) -> Option<u8> {
        match &self.active {
            Some(Active::Rewrite { base, .. }) => Some(base.0),
            _ => None,
        }
    }

    fn actions(&self, actions: &mut Vec<Action>) {
        if self.broken.is_some() {
            return;
        }
        match &self.active {
            None => {
                if self.left.rewrites > 0 && self.looked_at.is_none() {
                    actions.push(Action::LookAt);
                }
                if self.looked_at.is_some() {
                    actions.push(Action::StartRewrite);
                } else if self.left.expiries > 0 {
                    actions.push(Action::StartExpiry);
                }
            }
            Some(Active::Rewrite { output: None, .. }) => actions.push(Action::Read),
            Some(Active::Rewrite { .. }) => actions.push(Action::CommitRewrite),
            Some(Active::Expire) if self.has_free_hands().is_some() => {
                actions.push(Action::Attempt);
            }
            Some(Active::Expire) => {}
        }
        if self.left.by_hand > 0 && self.has_free_hands().is_some() {
            actions.push(Action::ByHand);
        }
        for (who, cleaner) in self.cleaners.iter().enumerate() {
            if cleaner.is_some() {
                actions.push(Action::Clean(who));
                if self.left.crashes > 0 {
                    actions.push(Action::Crash(who));
                }
            }
        }
        self.actions_of_others(actions);
    }

    fn actions_of_others(&self, actions: &mut Vec<Action>) {
        let main = self.files_of_main();
        if self.left.appends > 0 {
            actions.push(Action::Append);
        }
        if self.left.removals > 0 && main != 0 {
            actions.push(Action::Remove(main.trailing_zeros() as u8));
        }
        if self.left.tags > 0 {
            let all = self.snapshots.iter();
            actions.extend(all.map(|(id, _)| Action::Tag(*id)));
        }
        if self.tag.is_some() {
            actions.push(Action::Untag);
        }
        if self.left.rollbacks > 0 {
            let others = self.snapshots.iter().filter(|(id, _)| *id != self.main);
            actions.extend(others.map(|(id, _)| Action::RollBack(*id)));
        }
        // A path that some snapshot still has: nobody knows any other.
        if self.left.returns > 0 {
            let known = union(&self.snapshots) & !main;
            if known != 0 {
                actions.push(Action::BringBack(known.trailing_zeros() as u8));
            }
        }
        if self.left.foreign_expiries > 0 {
            actions.push(Action::ForeignExpiry);
        }
    }

    fn act(&mut self, action: Action, mutation: Option<Mutation>) {
        match action {
            Action::LookAt => {
                self.left.rewrites -= 1;
                self.looked_at = self.snapshot(self.main);
            }
            Action::StartRewrite => self.start_rewrite(),
            Action::Read => self.read(),
            Action::CommitRewrite => self.commit_rewrite(),
            Action::StartExpiry => {
                self.left.expiries -= 1;
                self.active = Some(Active::Expire);
            }
            Action::Attempt => self.take_hands(false),
            Action::ByHand => {
                self.left.by_hand -= 1;
                self.take_hands(true);
            }
            Action::Clean(who) => self.clean(who, mutation),
            Action::Crash(who) => {
                self.left.crashes -= 1;
                self.cleaners[who] = None;
            }
            Action::Append => {
                self.left.appends -= 1;
                let files = self.files_of_main() | self.new_file();
                self.commit(files);
            }
            Action::Remove(file) => {
                self.left.removals -= 1;
                self.commit(self.files_of_main() & !(1 << file));
            }
            Action::Tag(id) => {
                self.left.tags -= 1;
                self.tag = Some(id);
                self.version += 1;
            }
            Action::Untag => {
                self.tag = None;
                self.version += 1;
            }
            Action::RollBack(id) => {
                self.left.rollbacks -= 1;
                self.main = id;
                self.version += 1;
            }
            Action::BringBack(file) => {
                self.left.returns -= 1;
                self.commit(self.files_of_main() | 1 << file);
            }
            Action::ForeignExpiry => self.foreign_expiry(),
        }
    }

    fn start_rewrite(&mut self) {
        let Some(base) = self.looked_at.take() else {
            return;
        };
        let is_under_way = |cleaner: &Option<Cleaner>| {
            let at = cleaner.as_ref().map(|cleaner| &cleaner.at);
            matches!(at, Some(At::Decided { going, .. } | At::WrittenDown { going, .. }) if going.contains(&base))
        };
        let exposed = self.snapshot(base.0).is_none() || self.cleaners.iter().any(is_under_way);
        self.active = Some(Active::Rewrite {
            base,
            output: None,
            exposed,
        });
    }

    fn read(&mut self) {
        let Some(Active::Rewrite { base, exposed, .. }) = self.active.clone() else {
            return;
        };
        if base.1 & !self.stored != 0 {
            // An explicit failure, where nobody could know of it.
            self.broken = (!exposed).then_some("the inputs of a rewrite are gone");
            self.active = None;
            return;
        }
        let file = self.new_file();
        self.active = Some(Active::Rewrite {
            base,
            output: Some(file.trailing_zeros() as u8),
            exposed,
        });
    }

    /// Its own validation: every file that it replaces is still live.
    fn commit_rewrite(&mut self) {
        let Some(Active::Rewrite {
            base,
            output: Some(output),
            ..
        }) = self.active.take()
        else {
            return;
        };
        let (live, output) = (self.files_of_main(), 1 << output);
        if base.1 & !live == 0 {
            self.commit(live & !base.1 | output);
        } else {
            self.orphans |= output;
        }
    }

    fn take_hands(&mut self, by_hand: bool) {
        if let Some(free) = self.has_free_hands() {
            self.cleaners[free] = Some(Cleaner {
                by_hand,
                at: At::Start,
            });
        }
    }

    fn foreign_expiry(&mut self) {
        self.left.foreign_expiries -= 1;
        let kept = [Some(self.main), self.tag];
        let before = union(&self.snapshots);
        self.snapshots.retain(|(id, _)| kept.contains(&Some(*id)));
        self.version += 1;
        // It deletes what it let go of itself.
        self.stored &= !(before & !union(&self.snapshots));
        if let Some(Active::Rewrite { exposed, .. }) = &mut self.active {
            *exposed = true;
        }
    }

    fn check(&self) -> Option<&'static str> {
        if union(&self.snapshots) & !self.stored != 0 {
            return Some("a file is gone that a snapshot needs");
        }
        let refs = [Some(self.main), self.tag];
        if refs
            .into_iter()
            .flatten()
            .any(|id| self.snapshot(id).is_none())
        {
            return Some("a snapshot is gone that a branch or tag names");
        }
        None
    }

    /// Once everybody else has left, one more run tidies up: nothing is there that nobody needs.
    fn is_tidied_by_one_more_run(&self, mutation: Option<Mutation>) -> bool {
        let mut world = self.clone();
        world.cleaners = [None, None];
        world.active = Some(Active::Expire);
        world.take_hands(false);
        while world.cleaners[0].is_some() {
            world.clean(0, mutation);
        }
        let looked_at = self.looked_at.map_or(0, |(_, files)| files);
        let output = match &self.active {
            Some(Active::Rewrite { base, output, .. }) => {
                base.1 | output.map_or(0, |output| 1 << output)
            }
            _ => 0,
        };
        let kept = union(&world.snapshots) | self.orphans | output | looked_at;
        world.stored & !kept == 0
    }
}

#[derive(Debug)]
struct Expiry {
    left: Left,
    mutation: Option<Mutation>,
}

const SAFE: &str = "nothing is gone that anybody needs";
const TIDY: &str = "one more run leaves nothing that nobody needs";
const EXPIRED: &str = "files are deleted";
const BESIDE: &str = "a snapshot is expired while a rewrite reads another";

impl Model for Expiry {
    type State = World;
    type Action = Action;

    fn init_states(&self) -> Vec<World> {
        vec![World::new(self.left.clone())]
    }

    fn actions(&self, world: &World, actions: &mut Vec<Action>) {
        world.actions(actions);
    }

    fn next_state(&self, before: &World, action: Action) -> Option<World> {
        let mut after = before.clone();
        after.act(action, self.mutation);
        after.broken = after.broken.or_else(|| after.check());
        after.records.sort();
        (after != *before).then_some(after)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always(SAFE, |_, world: &World| world.broken.is_none()),
            Property::always(TIDY, |model: &Self, world: &World| {
                world.broken.is_some() || world.is_tidied_by_one_more_run(model.mutation)
            }),
            Property::sometimes(EXPIRED, |_, world: &World| {
                world.stored.count_ones() < u32::from(world.next_file)
            }),
            Property::sometimes(BESIDE, |_, world: &World| {
                let expired = world.snapshot(0).is_none();
                expired && matches!(world.active, Some(Active::Rewrite { exposed: false, .. }))
            }),
        ]
    }
}
