//! The state of the model: what is stored, what the catalog has, and what everybody remembers.
//!
//! Everything is a small number. Which process, which state of a table, which epoch a number means is only told by
//! where else it stands: see `canonical`.

use std::collections::BTreeSet;

/// A set of small numbers.
pub(super) type Bits = u8;

/// How large the world is, and what may go wrong in it.
#[derive(Debug, Clone)]
pub(super) struct Size {
    pub(super) schedulers: u8,
    pub(super) optimizers: u8,
    pub(super) buckets: u8,
    pub(super) tables: u8,
    /// Groups of a table, each one task.
    pub(super) groups: u8,
    /// Files that another writer adds to any table.
    pub(super) appends: u8,
    /// Whether those need a rewrite.
    pub(super) appends_need_work: bool,
    /// Files that another writer removes.
    pub(super) removals: u8,
    /// Tables dropped and made anew.
    pub(super) drops: u8,
    /// Times that another writer expires snapshots.
    pub(super) expiries: u8,
    /// Workers that die between two steps.
    pub(super) crashes: u8,
    /// Swaps of which nobody hears, under way at once.
    pub(super) lost_answers: u8,
    /// Messages that are lost.
    pub(super) lost_messages: u8,
    /// Tables that can't be loaded, tasks that fail, commits given up.
    pub(super) failures: u8,
    /// Processes that a person cancels.
    pub(super) cancels: u8,
    /// Whether all schedulers go by one name, as a copy of one, or one thawed after its successor, would: then only
    /// epochs tell them apart.
    pub(super) one_name: bool,
    /// Whether leases end while their holder works.
    pub(super) leases_end_early: bool,
    /// Whether claims of tasks and commits end while their holder works.
    pub(super) claims_end_early: bool,
    /// Whether every table was seen and evaluated at the start.
    pub(super) begins_at_rest: bool,
    /// Whether evaluations and commits are more than the memory of schedulers takes.
    pub(super) elsewhere: bool,
    /// Whether tables are kept waiting, by blockers, windows and quotas.
    pub(super) waits: bool,
    /// Whether every table was seen and marked at the start, and waits for its first evaluation.
    pub(super) begins_marked: bool,
}

/// One scheduler, one optimizer, one table of one group that needs a rewrite, and nothing that goes wrong.
pub(super) const CALM: Size = Size {
    schedulers: 1,
    optimizers: 1,
    buckets: 1,
    tables: 1,
    groups: 1,
    appends: 0,
    appends_need_work: false,
    removals: 0,
    drops: 0,
    expiries: 0,
    crashes: 0,
    lost_answers: 0,
    lost_messages: 0,
    failures: 0,
    cancels: 0,
    one_name: false,
    leases_end_early: false,
    claims_end_early: false,
    begins_at_rest: false,
    elsewhere: false,
    waits: false,
    begins_marked: false,
};

/// All of it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct World {
    pub(super) buckets: Vec<Bucket>,
    /// What the last census of the one database saw of each table.
    pub(super) digest: Vec<Seen>,
    pub(super) digest_epoch: u8,
    pub(super) rows: Vec<Option<Row>>,
    pub(super) processes: Vec<Process>,
    /// Messages that can be received, by process and index. One that is received may be received again.
    pub(super) queue: BTreeSet<(u8, u8)>,
    pub(super) catalog: Vec<Entry>,
    /// Swaps that were sent and may yet act.
    pub(super) in_flight: Vec<Swap>,
    pub(super) schedulers: Vec<Scheduler>,
    pub(super) optimizers: Vec<Optimizer>,
    pub(super) left: Left,
    /// The invariant that the last step broke.
    pub(super) broken: Option<String>,
}

/// What may yet go wrong.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Left {
    pub(super) appends: u8,
    pub(super) removals: u8,
    pub(super) drops: u8,
    pub(super) expiries: u8,
    pub(super) crashes: u8,
    pub(super) lost_messages: u8,
    pub(super) failures: u8,
    pub(super) cancels: u8,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Bucket {
    pub(super) owner: Option<u8>,
    pub(super) epoch: u8,
}

/// What a digest says of a table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum Seen {
    Never,
    MissingOnce,
    At(u8),
}

/// A table's row.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Row {
    pub(super) epoch: u8,
    pub(super) due_location: Option<u8>,
    pub(super) due: bool,
    pub(super) marked: bool,
    pub(super) marks: u8,
    pub(super) seen_marks: u8,
    pub(super) evaluated: Option<u8>,
    pub(super) committed: Option<u8>,
    pub(super) failing: bool,
    pub(super) begun: bool,
    pub(super) active: Option<u8>,
    /// The process whose conclusion the table waits for.
    pub(super) awaited: Option<u8>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Process {
    pub(super) id: u8,
    pub(super) table: u8,
    pub(super) epoch: u8,
    /// The state that it was planned on; `None` once nobody can ask any more.
    pub(super) base: Option<u8>,
    pub(super) work: Work,
    pub(super) state: ProcessState,
    pub(super) claims: u8,
    pub(super) open: u8,
    pub(super) tasks: Vec<Task>,
}

/// What a process is for.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum Work {
    Rewrites,
    /// It looks at its table in a scheduler's place.
    Looks(Look),
}

/// A look at a table in a scheduler's place: what stands in its process's row, and its result.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Look {
    /// The table's marks when it was handed over.
    pub(super) marks: u8,
    /// Whether the table had failed by then.
    pub(super) failing: bool,
    pub(super) finding: Option<Finding>,
}

/// What an optimizer found out about a table.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum Finding {
    Plan {
        /// The state that was loaded.
        loaded: u8,
        /// The inputs of each group.
        groups: Vec<Vec<File>>,
    },
    /// There is no such table.
    Gone,
    /// It could not be loaded.
    Failed,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum ProcessState {
    Running,
    Committing(u8),
    Ended(Outcome),
}

/// How a process ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum Outcome {
    Committed(u8),
    Partly(u8),
    Failed,
    Evaluated,
    /// The state that upkeep made, where it made one.
    Maintained(Option<u8>),
    Abandoned,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Task {
    pub(super) attempt: u8,
    pub(super) state: TaskState,
    pub(super) inputs: Vec<File>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum TaskState {
    Queued,
    Running(u8),
    /// Done, with the file of this attempt.
    Done(u8),
    Failed,
}

/// A data file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum File {
    /// Of another writer, with one row of this number.
    Raw(u8),
    /// Ours.
    Output {
        /// `None` for one of a process of which nothing is kept any more.
        by: Option<Author>,
        rows: Bits,
    },
}

/// Who wrote a file of ours: it is in the file's name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Author {
    pub(super) process: u8,
    pub(super) task: u8,
    pub(super) attempt: u8,
}

impl File {
    pub(super) fn rows(&self) -> Bits {
        match self {
            File::Raw(row) => 1 << row,
            File::Output { rows, .. } => *rows,
        }
    }
}

/// A table as the catalog and its metadata have it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Entry {
    pub(super) exists: bool,
    pub(super) location: u8,
    pub(super) files: Vec<File>,
    /// Snapshots of ours.
    pub(super) ours: Vec<Snapshot>,
    /// Whether no snapshot has expired.
    pub(super) history_is_whole: bool,
    /// Rows that somebody was told are there.
    pub(super) rows: Bits,
    /// Files that we deleted and that a snapshot could still come to need.
    pub(super) deleted: BTreeSet<File>,
}

/// A snapshot of ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Snapshot {
    pub(super) by: u8,
    /// The state that it made.
    pub(super) made: u8,
    /// Whether the table is still the one that it is in.
    pub(super) stands: bool,
}

/// A swap that was sent.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Swap {
    pub(super) process: u8,
    pub(super) base: u8,
    pub(super) accepted: Bits,
    pub(super) over: Option<Vec<File>>,
}

/// A scheduler, and where it stands.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Scheduler {
    /// The bucket and the epoch that it believes to hold.
    pub(super) lease: Option<(u8, u8)>,
    pub(super) at: SchedulerAt,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum SchedulerAt {
    /// Free to begin something.
    Idle,
    /// It has listed the database: the state of each table that is there.
    Listed(Vec<Option<u8>>),
    /// It found something new before it took the lease.
    Found {
        news: News,
        compared_with: Vec<Seen>,
    },
    /// It records what is new, under the lease.
    Recording(News),
    /// It has read the row of a due table.
    Looking { table: u8, seen: Row },
    /// It is about to have an optimizer look at the table.
    HandingOver { table: u8, seen: Row },
    /// It is about to conclude that the table could not be loaded.
    Failing { table: u8, seen: Row },
    /// It has loaded the table, or an optimizer has: its state, and the inputs of each group.
    Evaluated {
        table: u8,
        seen: Row,
        /// The table's marks that whoever loaded it knew of.
        known: u8,
        loaded: Option<u8>,
        groups: Vec<Vec<File>>,
    },
    /// It has tasks to send; then it looks again later where it saw to a process under way.
    Sending {
        process: u8,
        tasks: Vec<u8>,
        then: Option<(u8, Row)>,
    },
    /// It commits for a process that nobody committed, and looks again later.
    Committing {
        commit: Commit,
        table: u8,
        seen: Row,
    },
}

/// What a listing showed beside the digest.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct News {
    /// Tables to be marked, each for a state.
    pub(super) marks: Vec<(u8, u8)>,
    /// Tables that two listings lacked.
    pub(super) gone: Vec<u8>,
    /// The digest to be written, where it is another.
    pub(super) digest: Option<Vec<Seen>>,
}

/// An optimizer, and where it stands.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum Optimizer {
    Idle,
    /// It holds the claim.
    Working {
        process: u8,
        task: u8,
        attempt: u8,
    },
    /// It commits; then it acknowledges the message.
    Committing {
        commit: Commit,
        task: u8,
    },
    /// It acknowledges the message.
    Acknowledging {
        process: u8,
        task: u8,
    },
}

/// Somebody at work on the commit of a process.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Commit {
    pub(super) process: u8,
    /// The number of its claim; 0 before it has one.
    pub(super) claim: u8,
    pub(super) at: CommitAt,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum CommitAt {
    /// It is about to claim the commit.
    Unclaimed,
    /// It is about to load the table, for the first time or after an unheard swap.
    Loading,
    /// Another writer was first: it loads the table again, or gives its claim back.
    Lost,
    /// It has loaded and validated.
    Validated {
        loaded: u8,
        accepted: Bits,
        /// The files that were loaded; only kept where the swap is not compared, on purpose.
        over: Option<Vec<File>>,
    },
    /// It heard nothing of its swap.
    Unknown { tried_on: u8 },
    /// It deletes files that no snapshot needs, and ends the process.
    CleaningUp { unused: Vec<File>, ending: Ending },
    /// It ends the process.
    Ending(Ending),
    /// Done, or somebody else's.
    Over,
}

/// How the process is to be ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Ending {
    pub(super) outcome: Outcome,
    /// Whether the table is due again at some time although nothing changes.
    pub(super) due: bool,
    /// Whether it counts as a failure of the table.
    pub(super) failing: bool,
}

impl World {
    pub(super) fn new(size: &Size) -> Self {
        let rest = size.begins_at_rest;
        let initial: Vec<File> = (0..size.groups)
            .map(|group| match rest {
                true => File::Output {
                    by: None,
                    rows: 1 << group,
                },
                false => File::Raw(group),
            })
            .collect();
        let tables = usize::from(size.tables);
        let entry = |number: u8| Entry {
            exists: true,
            location: number,
            files: initial.clone(),
            ours: Vec::new(),
            history_is_whole: true,
            rows: (1 << size.groups) - 1,
            deleted: BTreeSet::new(),
        };
        let row = |number: u8| match size.begins_marked {
            true => Row {
                due_location: Some(number),
                due: true,
                marks: 1,
                ..Row::default()
            },
            false => Row {
                evaluated: Some(number),
                ..Row::default()
            },
        };
        let is_known = rest || size.begins_marked;
        Self {
            buckets: vec![
                Bucket {
                    owner: None,
                    epoch: 0
                };
                usize::from(size.buckets)
            ],
            digest: (0..size.tables)
                .map(|number| match is_known {
                    true => Seen::At(number),
                    false => Seen::Never,
                })
                .collect(),
            digest_epoch: 0,
            rows: match is_known {
                true => (0..size.tables).map(|number| Some(row(number))).collect(),
                false => vec![None; tables],
            },
            processes: Vec::new(),
            queue: BTreeSet::new(),
            catalog: (0..size.tables).map(entry).collect(),
            in_flight: Vec::new(),
            schedulers: vec![
                Scheduler {
                    lease: None,
                    at: SchedulerAt::Idle
                };
                usize::from(size.schedulers)
            ],
            optimizers: vec![Optimizer::Idle; usize::from(size.optimizers)],
            left: Left {
                appends: size.appends,
                removals: size.removals,
                drops: size.drops,
                expiries: size.expiries,
                crashes: size.crashes,
                lost_messages: size.lost_messages,
                failures: size.failures,
                cancels: size.cancels,
            },
            broken: None,
        }
    }

    pub(super) fn process(&self, id: u8) -> Option<&Process> {
        self.processes.iter().find(|process| process.id == id)
    }

    pub(super) fn process_mut(&mut self, id: u8) -> Option<&mut Process> {
        self.processes.iter_mut().find(|process| process.id == id)
    }

    /// A number that nothing is called by yet.
    pub(super) fn fresh_process(&self) -> u8 {
        1 + self
            .processes
            .iter()
            .map(|process| process.id)
            .max()
            .unwrap_or(0)
    }

    /// A table's bucket. The one database is looked after by bucket 0.
    pub(super) fn bucket_of(&self, table: u8) -> u8 {
        (table + 1) % u8::try_from(self.buckets.len()).expect("there are few buckets")
    }
}
