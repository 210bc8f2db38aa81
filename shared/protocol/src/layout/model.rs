//! For tests: a model of a change of the number of buckets, looked at in full. Schedulers that read the layout at one time
//! and act at another, a census that marks, a sweep that plans, a mover, a person who changes the number again, crashes
//! between any two steps, and writes that act long after their sender is gone.
//!
//! Its steps are the functions of `transition` and `layout`; a lease may be over whenever somebody looks. There is one
//! table, for no write here is about two. Beside the invariants at each step, one thing is asked in every state: let
//! everybody die there, let what is under way act or be lost, and let one scheduler go on alone, as it would. Then
//! the table has to end evaluated, in a bucket of the layout, with nothing left in former ones.

mod recovery;
mod steps;
mod tests;

use std::{
    hash::{Hash, Hasher},
    num::NonZeroU32,
    sync::LazyLock,
    time::Duration,
};

use icepress_model::{
    CatalogName, Epoch, MetadataLocation, Namespace, ProcessId, TimestampMs, WorkerId,
};
use stateright::{Model, Property};

use super::*;
use crate::{
    BucketRow, Conclusion, CoordinationError, Lease, NewProcess,
    invariants::{self, Verdict},
    transition,
};

const NOW: TimestampMs = TimestampMs(1_000_000);
const MINUTE: Duration = Duration::from_secs(60);

/// What may happen, and what is wrong on purpose.
#[derive(Debug, Clone, Copy)]
struct Size {
    schedulers: usize,
    /// Buckets at the start, and after each change.
    counts: &'static [u32],
    /// Commits of another writer.
    commits: u8,
    /// Things that schedulers begin.
    begins: u8,
    /// Processes that are started.
    processes: u8,
    crashes: u8,
    mutation: Option<Mutation>,
}

/// A step that is wrong on purpose.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mutation {
    /// A digest is written whatever layout stands.
    DigestOfOldLayout,
    /// A table is planned by whoever holds a bucket.
    AnyOwnerPlans,
    /// Former buckets are given up at once.
    FormerGivenUp,
    /// A mark leaves a table where it is.
    MarkMovesNothing,
    /// A mark moves a table to where the marker's layout has it, however old.
    MarkMovesBack,
    /// Tasks are not sent again to the bucket that a table is in now.
    NotSentAgain,
    /// Former buckets are given up by whoever found another layout's tables moved.
    SettledForOthers,
}

/// A table's row, with what has to be compared when it is written.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Stored {
    rev: u8,
    row: TableRow,
}

impl Hash for Stored {
    fn hash<H: Hasher>(&self, state: &mut H) {
        let row = &self.row;
        (self.rev, row.home(), row.epoch, row.marks, row.seen_marks).hash(state);
        (row.due_at, row.marked_at, row.active_process.is_some()).hash(state);
        for location in [&row.due_location, &row.evaluated_location] {
            location.as_ref().map(MetadataLocation::as_str).hash(state);
        }
    }
}

/// A write of the row, under the condition that nobody wrote it since it was read.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Put {
    over: u8,
    after: Stored,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Held {
    bucket: u32,
    epoch: u64,
}

/// Where a scheduler stands.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum At {
    Idle,
    /// It has read the layout.
    Begun(Layout),
    /// It has listed the database and compared: there is something new.
    Found {
        layout: Layout,
        held: Held,
        location: u8,
    },
    /// Its mark is under way; `None` where there is nothing to be written.
    Marking {
        layout: Layout,
        held: Held,
        location: u8,
        put: Option<Put>,
    },
    /// The table is marked: the digest comes next.
    Marked {
        layout: Layout,
        held: Held,
        location: u8,
    },
    /// It has read a due row and loaded the table.
    Looked {
        held: Held,
        seen: Stored,
        location: u8,
    },
    /// It has read all tables to move them; the write of the one is under way.
    Moving {
        layout: Layout,
        put: Option<Put>,
        /// Whether something has to stay in former buckets.
        keeps: bool,
    },
    /// Everything has moved.
    Moved(Layout),
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct World {
    layout: Layout,
    resizes: u8,
    /// Owner and epoch of each bucket.
    buckets: Vec<(Option<u8>, u64)>,
    table: Option<Stored>,
    /// What the digest has seen, and who wrote it.
    digest: Option<(u8, Generation, u64)>,
    /// The queue of the process under way.
    queue: Option<u32>,
    /// The state of the table.
    location: u8,
    /// Writes of those who died, which may yet act.
    late: Vec<Put>,
    at: Vec<At>,
    begins: u8,
    processes: u8,
    crashes: u8,
    broken: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Action {
    Commit,
    Resize,
    EndProcess,
    LateActs,
    Crash(usize),
    Begin(usize),
    List(usize),
    Mark(usize),
    PutMark(usize),
    PutDigest(usize),
    Look(usize, u32),
    Plan(usize),
    Move(usize),
    PutMove(usize),
    Settle(usize),
}

fn count(buckets: u32) -> BucketCount {
    BucketCount(NonZeroU32::new(buckets).expect("a number of buckets"))
}

/// A table that is in the last of two buckets, whose database is listed by the owner of the last one too.
fn the_table() -> TableId {
    THE_TABLE.clone()
}

static THE_TABLE: LazyLock<TableId> = LazyLock::new(|| {
    let named = |number: u32| TableId {
        catalog: CatalogName::from("lake"),
        namespace: Namespace(vec![format!("d{}", number / 50)]),
        name: format!("t{}", number % 50),
    };
    let is_last = |table: &TableId| {
        bucket_of_table(table, count(2)) == BucketId(1)
            && bucket_of_database(&table.database(), count(2)) == BucketId(1)
    };
    (0..)
        .map(named)
        .find(is_last)
        .expect("a quarter of all are")
});

fn place(location: u8) -> MetadataLocation {
    MetadataLocation(format!("m{location}"))
}

fn name(who: usize) -> WorkerId {
    WorkerId(format!("s{who}"))
}

fn lease(who: usize, held: Held) -> Lease {
    Lease {
        bucket: BucketId(held.bucket),
        owner: name(who),
        epoch: Epoch(held.epoch),
        expires_at: NOW,
    }
}

impl World {
    fn bucket(&self, bucket: u32) -> BucketRow {
        let (owner, epoch) = self.buckets[bucket as usize];
        BucketRow {
            bucket: BucketId(bucket),
            owner: owner.map(|owner| name(usize::from(owner))),
            epoch: Epoch(epoch),
            expires_at: NOW,
            last_swept_at: NOW,
            last_begun_at: NOW,
        }
    }

    /// Takes the bucket, whoever holds it: leases end.
    fn take(&mut self, who: usize, bucket: u32) -> Result<Held, String> {
        let before = self.bucket(bucket);
        let later = NOW + MINUTE + MINUTE;
        let after = transition::take_lease(&before, &name(who), later, MINUTE, MINUTE / 2)
            .ok_or("every lease ends")?;
        let epoch = after.epoch.get();
        let owner = u8::try_from(who).map_err(|error| error.to_string())?;
        self.buckets[bucket as usize] = (Some(owner), epoch);
        Ok(Held { bucket, epoch })
    }

    /// Whether somebody takes the tasks of the process under way from their queue.
    fn is_served(&self) -> bool {
        let swept = self.layout.swept();
        self.queue
            .is_some_and(|queue| swept.contains(BucketId(queue)))
    }

    fn row(&self) -> Option<&TableRow> {
        self.table.as_ref().map(|stored| &stored.row)
    }

    fn put_of(&self, after: TableRow) -> Put {
        let over = self.table.as_ref().map_or(0, |stored| stored.rev);
        Put {
            over,
            after: Stored {
                rev: over + 1,
                row: after,
            },
        }
    }

    /// Whether it acted.
    fn act(&mut self, put: &Put) -> Result<bool, String> {
        if self.table.as_ref().map_or(0, |stored| stored.rev) != put.over {
            return Ok(false);
        }
        invariants::table_step(self.row(), &put.after.row)?;
        self.table = Some(put.after.clone());
        Ok(true)
    }

    fn die(&mut self, who: usize) {
        let at = std::mem::replace(&mut self.at[who], At::Idle);
        if let At::Marking { put: Some(put), .. } | At::Moving { put: Some(put), .. } = at {
            self.late.push(put);
        }
    }
}

impl Size {
    fn is(&self, mutation: Mutation) -> bool {
        self.mutation == Some(mutation)
    }

    fn verdict(&self, world: &World) -> Verdict {
        match &world.broken {
            Some(broken) => Err(broken.clone()),
            None => self.recovers_anyhow(world),
        }
    }

    fn start(&self) -> World {
        let layout = Layout::first(count(self.counts[0]));
        let most = self.counts.iter().copied().max().unwrap_or(1);
        World {
            layout,
            resizes: 0,
            buckets: vec![(None, 0); most as usize],
            table: None,
            digest: None,
            queue: None,
            location: 0,
            late: Vec::new(),
            at: vec![At::Idle; self.schedulers],
            begins: self.begins,
            processes: self.processes,
            crashes: self.crashes,
            broken: None,
        }
    }
}

impl Model for Size {
    type State = World;
    type Action = Action;

    fn init_states(&self) -> Vec<World> {
        vec![self.start()]
    }

    fn actions(&self, world: &World, actions: &mut Vec<Action>) {
        if world.broken.is_some() {
            return;
        }
        if world.location < self.commits {
            actions.push(Action::Commit);
        }
        if usize::from(world.resizes) + 1 < self.counts.len() {
            actions.push(Action::Resize);
        }
        if world.is_served() {
            actions.push(Action::EndProcess);
        }
        if !world.late.is_empty() {
            actions.push(Action::LateActs);
        }
        for (who, at) in world.at.iter().enumerate() {
            if world.crashes > 0 && *at != At::Idle {
                actions.push(Action::Crash(who));
            }
            match at {
                At::Idle if world.begins > 0 => actions.push(Action::Begin(who)),
                At::Idle => {}
                At::Begun(layout) => {
                    actions.push(Action::List(who));
                    let due = world.row().filter(|row| row.due_at.is_some());
                    if let Some(row) = due.filter(|row| layout.swept().contains(row.bucket)) {
                        actions.push(Action::Look(who, row.bucket.0));
                    }
                    if layout.is_moving() {
                        actions.push(Action::Move(who));
                    }
                }
                At::Found { .. } => actions.push(Action::Mark(who)),
                At::Marking { .. } => actions.push(Action::PutMark(who)),
                At::Marked { .. } => actions.push(Action::PutDigest(who)),
                At::Looked { .. } => actions.push(Action::Plan(who)),
                At::Moving { .. } => actions.push(Action::PutMove(who)),
                At::Moved(_) => actions.push(Action::Settle(who)),
            }
        }
    }

    fn next_state(&self, before: &World, action: Action) -> Option<World> {
        let mut world = before.clone();
        world.broken = self.step(&mut world, action).err();
        (world != *before).then_some(world)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always(HOLDS, |size: &Self, world: &World| {
                size.verdict(world).is_ok()
            }),
            Property::sometimes("everything moves", |size: &Self, world: &World| {
                let resized = usize::from(world.resizes) + 1 == size.counts.len();
                resized && !world.layout.is_moving() && world.table.is_some()
            }),
            Property::sometimes("a process moves", |size: &Self, world: &World| {
                let row = world.row().filter(|row| row.active_process.is_some());
                size.processes == 0 || row.is_some_and(|row| row.layout > Generation(1))
            }),
            Property::sometimes("a late write acts", |size: &Self, world: &World| {
                size.crashes == 0 || (world.crashes == 0 && world.table.is_some())
            }),
        ]
    }
}

const HOLDS: &str = "every invariant holds, and one scheduler alone brings everything to rest";
