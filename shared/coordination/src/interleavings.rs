//! For tests: random interleavings of what schedulers, optimizers, the census and people do, against a small model.
//!
//! The model is written apart from the code that it judges and keeps only what decides who may do what: who holds the
//! bucket, which process is a table's, which attempt is at work, which mark nobody has answered. Every answer of the
//! store is compared with it, and the invariants are checked after every step.

mod processes;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use icepress_model::{
    Attempt, BucketCount, BucketId, Generation, MetadataLocation, ProcessId, TableId, TaskId,
    TimestampMs, WorkerId,
};
use proptest::prelude::*;

use crate::{
    BucketRow, CommitClaim, Conclusion, CoordinationError, Home, Lease, MarkOutcome, NewProcess,
    NewTask, Payload, ProcessRow, StartOutcome, StateStore, TableRow, TaskRow, invariants,
};

const NOW: TimestampMs = TimestampMs(1_760_000_000_000);
const BUCKET: BucketId = BucketId(0);
const HOME: Home = Home {
    bucket: BUCKET,
    layout: Generation(0),
};
const TTL: Duration = Duration::from_secs(60);
const GUARD: Duration = Duration::from_secs(30);
const TABLES: usize = 2;
const WORKERS: usize = 2;

/// One step of somebody. Workers and tables are numbers; what a worker remembers may be out of date.
#[derive(Debug, Clone)]
pub(crate) enum Step {
    Pass(u64),
    TakeLease(usize),
    RenewLease(usize),
    ReleaseLease(usize),
    Mark(usize, u8, u64),
    Force(usize),
    Look(usize, usize),
    Conclude(usize, bool, Option<u64>),
    /// Who, on which table (`None`: on what it saw before), with how many tasks.
    Start(usize, Option<usize>, usize),
    Forget(usize),
    ClaimTask(usize, usize, u32),
    ReportTask(usize, usize),
    ReturnTask(usize, usize),
    ClaimCommit(usize, usize),
    /// Who, and in how many seconds the process is to be looked at again.
    GiveBackCommit(usize, u64),
    End(usize, Option<u8>),
}

/// What some workers might do, one after another.
pub(crate) fn steps() -> impl Strategy<Value = Vec<Step>> {
    let worker = 0..WORKERS;
    let table = 0..TABLES;
    let step = prop_oneof![
        4 => (1u64..50).prop_map(Step::Pass),
        3 => worker.clone().prop_map(Step::TakeLease),
        1 => worker.clone().prop_map(Step::RenewLease),
        1 => worker.clone().prop_map(Step::ReleaseLease),
        4 => (table.clone(), 0u8..6, 0u64..60).prop_map(|(t, l, s)| Step::Mark(t, l, s)),
        1 => table.clone().prop_map(Step::Force),
        4 => (worker.clone(), table.clone()).prop_map(|(w, t)| Step::Look(w, t)),
        3 => (worker.clone(), any::<bool>(), prop::option::of(0u64..300))
            .prop_map(|(w, loaded, next)| Step::Conclude(w, loaded, next)),
        4 => (worker.clone(), prop::option::of(table.clone()), 0usize..3)
            .prop_map(|(w, t, tasks)| Step::Start(w, t, tasks)),
        1 => worker.clone().prop_map(Step::Forget),
        5 => (worker.clone(), table.clone(), 0u32..3).prop_map(|(w, t, i)| Step::ClaimTask(w, t, i)),
        5 => (worker.clone(), 0usize..3).prop_map(|(w, c)| Step::ReportTask(w, c)),
        2 => (worker.clone(), 0usize..3).prop_map(|(w, c)| Step::ReturnTask(w, c)),
        4 => (worker.clone(), table).prop_map(|(w, t)| Step::ClaimCommit(w, t)),
        1 => (worker.clone(), 0u64..300).prop_map(|(w, s)| Step::GiveBackCommit(w, s)),
        4 => (worker, prop::option::of(0u8..6)).prop_map(|(w, l)| Step::End(w, l)),
    ];
    prop::collection::vec(step, 30..200)
}

/// What a worker believes.
#[derive(Debug, Default)]
struct Memory {
    lease: Option<Lease>,
    seen: Option<TableRow>,
    /// How many marks of that table there were when it was seen.
    marks_seen: usize,
    claims: Vec<(TaskId, Attempt)>,
    commit: Option<CommitClaim>,
}

#[derive(Debug, Default)]
struct ModelTable {
    exists: bool,
    /// Marks since the row was made that were accepted, by their number, and whether somebody has answered them.
    marks: usize,
    answered: usize,
    /// States that a mark may be refused for: one that was marked, evaluated or committed before.
    mentioned: BTreeSet<u8>,
    active: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ModelTask {
    Queued,
    Running(TimestampMs),
    Finished,
}

#[derive(Debug)]
struct ModelProcess {
    table: usize,
    tasks: Vec<(u32, ModelTask)>,
    claims: u32,
    held_until: Option<TimestampMs>,
    ended: bool,
}

#[derive(Debug)]
struct Run {
    store: Arc<dyn StateStore>,
    now: TimestampMs,
    memories: Vec<Memory>,
    starts: u32,
    epoch: u64,
    holder: Option<(usize, TimestampMs)>,
    tables: Vec<ModelTable>,
    processes: BTreeMap<String, ModelProcess>,
    before: Rows,
}

/// All rows, to compare before and after a step.
#[derive(Debug, Default, Clone)]
struct Rows {
    bucket: Option<BucketRow>,
    tables: BTreeMap<String, TableRow>,
    processes: BTreeMap<String, ProcessRow>,
    tasks: BTreeMap<TaskId, TaskRow>,
}

fn worker(number: usize) -> WorkerId {
    WorkerId(format!("w{number}"))
}

fn table(number: usize) -> TableId {
    format!("lake.sales.t{number}").parse().unwrap()
}

fn location(number: u8) -> MetadataLocation {
    MetadataLocation(format!("m{number}"))
}

fn number_of(location: &MetadataLocation) -> u8 {
    location.as_str()[1..].parse().unwrap()
}

fn fenced<T: std::fmt::Debug>(result: Result<T, CoordinationError>) -> Option<T> {
    match result {
        Ok(value) => Some(value),
        Err(CoordinationError::Fenced(_)) => None,
        Err(other) => panic!("{other}"),
    }
}

impl Run {
    /// Whether the lease that a worker remembers is the newest.
    fn holds(&self, who: usize) -> bool {
        let remembered = self.memories[who].lease.as_ref();
        self.holder.is_some_and(|(holder, _)| holder == who)
            && remembered.is_some_and(|lease| lease.epoch.get() == self.epoch)
    }

    fn after(&self, seconds: u64) -> TimestampMs {
        self.now + Duration::from_secs(seconds)
    }

    async fn take_lease(&mut self, who: usize) {
        let free = self.holder.is_none_or(|(_, end)| end + GUARD < self.now);
        let taken = self
            .store
            .take_lease(BUCKET, &worker(who), self.now, TTL, GUARD)
            .await
            .unwrap();
        assert_eq!(taken.is_some(), free);
        if let Some(lease) = taken {
            self.epoch += 1;
            assert_eq!(lease.epoch.get(), self.epoch);
            self.holder = Some((who, self.now + TTL));
            self.memories[who].lease = Some(lease);
        }
    }

    async fn renew_lease(&mut self, who: usize) {
        let Some(lease) = self.memories[who].lease.clone() else {
            return;
        };
        let renewed = fenced(self.store.renew_lease(&lease, self.now, TTL).await);
        assert_eq!(renewed.is_some(), self.holds(who));
        if let Some(lease) = renewed {
            self.holder = Some((who, self.now + TTL));
            self.memories[who].lease = Some(lease);
        }
    }

    async fn release_lease(&mut self, who: usize) {
        let Some(lease) = self.memories[who].lease.clone() else {
            return;
        };
        let newest = lease.epoch.get() == self.epoch;
        let released = fenced(self.store.release_lease(&lease, Some(self.now)).await);
        assert_eq!(released.is_some(), newest);
        if newest {
            self.holder = None;
        }
    }

    async fn mark(&mut self, which: usize, state: u8, seconds: u64) {
        let outcome = self
            .store
            .mark_due(HOME, &table(which), &location(state), self.after(seconds))
            .await
            .unwrap();
        let model = &mut self.tables[which];
        match outcome {
            MarkOutcome::Marked => {
                model.exists = true;
                model.marks += 1;
            }
            MarkOutcome::AlreadyKnown => assert!(
                model.mentioned.contains(&state),
                "{state} was never heard of, and its mark refused"
            ),
        }
        model.mentioned.insert(state);
    }

    async fn force(&mut self, which: usize) {
        self.store
            .force_due(HOME, &table(which), self.now)
            .await
            .unwrap();
        self.tables[which].exists = true;
        self.tables[which].marks += 1;
    }

    async fn look(&mut self, who: usize, which: usize) {
        let seen = self.store.table(&table(which)).await.unwrap();
        assert_eq!(seen.is_some(), self.tables[which].exists);
        self.memories[who].seen = seen;
        self.memories[who].marks_seen = self.tables[which].marks;
    }

    /// What a worker saw last, with the number of its table.
    fn seen(&self, who: usize) -> Option<(Lease, TableRow, usize)> {
        let memory = &self.memories[who];
        let seen = memory.seen.clone()?;
        let which = usize::from(seen.table == table(1));
        Some((memory.lease.clone()?, seen, which))
    }

    /// Notes that what was seen has been acted on.
    fn answered(&mut self, who: usize, which: usize, state: Option<u8>) {
        let marks_seen = self.memories[who].marks_seen;
        let model = &mut self.tables[which];
        // A row that was removed and made anew has other marks than those that were seen.
        if marks_seen <= model.marks {
            model.answered = model.answered.max(marks_seen);
        }
        model.exists = true;
        model.mentioned.extend(state);
    }

    async fn conclude(&mut self, who: usize, loaded: bool, next: Option<u64>) {
        let Some((lease, seen, which)) = self.seen(who) else {
            return;
        };
        let evaluated = loaded.then(|| seen.due_location.clone()).flatten();
        let conclusion = Conclusion {
            evaluated_location: evaluated.clone(),
            text: "{}".to_owned(),
            next_due_at: next.map(|seconds| self.after(seconds)),
            failures: 0,
        };
        let concluded = fenced(self.store.conclude(&lease, &seen, &conclusion).await);
        assert_eq!(concluded.is_some(), self.holds(who));
        if concluded.is_some() && self.tables[which].active.is_none() {
            self.answered(who, which, evaluated.as_ref().map(number_of));
        }
        self.tables[which].exists |= concluded.is_some();
    }

    async fn start(&mut self, who: usize, tasks: usize) {
        let Some((lease, seen, which)) = self.seen(who) else {
            return;
        };
        // An id is never used twice, as tasks of a start that failed may lie under it.
        self.starts += 1;
        let name = format!("p{:03}", self.starts);
        let evaluated = seen.due_location.clone();
        let process = NewProcess {
            process: ProcessId(name.clone()),
            kind: icepress_model::ProcessKind::Rewrite,
            table: table(which),
            created_at: self.now,
            header: "{}".to_owned(),
            check_at: self.after(600),
            reservation: None,
            conclusion: Conclusion {
                evaluated_location: evaluated.clone(),
                text: "{}".to_owned(),
                next_due_at: None,
                failures: 0,
            },
        };
        let new_tasks = vec![
            NewTask {
                payload: Payload::Inline("{}".to_owned())
            };
            tasks
        ];
        let outcome = self
            .store
            .start_process(&lease, &seen, &process, &new_tasks)
            .await;
        let outcome = fenced(outcome);
        let expected = self.holds(who).then(|| match &self.tables[which].active {
            Some(active) => StartOutcome::AlreadyActive(ProcessId(active.clone())),
            None => StartOutcome::Started,
        });
        assert_eq!(outcome, expected);
        if outcome == Some(StartOutcome::Started) {
            self.answered(who, which, evaluated.as_ref().map(number_of));
            self.tables[which].active = Some(name.clone());
            let process = ModelProcess {
                table: which,
                tasks: vec![(0, ModelTask::Queued); tasks],
                claims: 0,
                held_until: None,
                ended: false,
            };
            self.processes.insert(name, process);
        }
    }

    async fn forget(&mut self, who: usize) {
        let Some((lease, seen, which)) = self.seen(who) else {
            return;
        };
        let gone = fenced(self.store.forget_table(&lease, &seen).await);
        let model = &self.tables[which];
        let unmarked = self.memories[who].marks_seen == model.marks;
        let allowed = !model.exists || (model.active.is_none() && unmarked);
        assert_eq!(gone, self.holds(who).then_some(allowed));
        if gone == Some(true) {
            self.tables[which] = ModelTable::default();
        }
    }

    async fn rows(&self) -> Rows {
        let mut rows = Rows::default();
        let one = BucketCount(std::num::NonZeroU32::MIN);
        rows.bucket = self.store.buckets(one).await.unwrap().rows.pop();
        for row in self.store.tables().await.unwrap() {
            let row = row.unwrap();
            rows.tables.insert(row.table.name.clone(), row);
        }
        for name in self.processes.keys() {
            let id = ProcessId(name.clone());
            let process = self.store.process(&id).await.unwrap().unwrap();
            let tasks = self.store.tasks(&id).await.unwrap();
            assert_eq!(invariants::open_tasks(&process, &tasks), Ok(()));
            rows.processes.insert(name.clone(), process);
            rows.tasks
                .extend(tasks.into_iter().map(|row| (row.task.clone(), row)));
        }
        rows
    }

    async fn check(&mut self) {
        let after = self.rows().await;
        let before = std::mem::replace(&mut self.before, after.clone());
        if let (Some(before), Some(after)) = (&before.bucket, &after.bucket) {
            assert_eq!(invariants::bucket_step(before, after), Ok(()));
            assert_eq!(invariants::lease_ends(after, self.now, TTL), Ok(()));
        }
        for (name, row) in &after.tables {
            assert_eq!(invariants::table_step(before.tables.get(name), row), Ok(()));
        }
        for (name, row) in &after.processes {
            let before = before.processes.get(name).unwrap_or(row);
            assert_eq!(invariants::process_step(before, row), Ok(()));
        }
        for (id, row) in &after.tasks {
            let before = before.tasks.get(id).unwrap_or(row);
            assert_eq!(invariants::task_step(before, row), Ok(()));
        }
        for (number, model) in self.tables.iter().enumerate() {
            let row = after.tables.get(&format!("t{number}"));
            assert_eq!(row.is_some(), model.exists);
            let of_table = after.processes.values();
            let of_table: Vec<ProcessRow> = of_table
                .filter(|process| process.table == table(number))
                .cloned()
                .collect();
            assert_eq!(invariants::one_process(row, &of_table), Ok(()));
            let active = row.and_then(|row| row.active_process.as_ref());
            assert_eq!(active.map(ProcessId::as_str), model.active.as_deref());
            if model.marks > model.answered {
                let row = row.expect("a marked table has a row");
                let waits = row.due_at.filter(|_| active.is_none()).or(row.marked_at);
                assert!(
                    waits.is_some(),
                    "a mark of table {number} was lost: {row:?}"
                );
            }
        }
    }
}

/// Does the steps on an empty store. Panics where it answers otherwise than the model, or breaks an invariant.
pub(crate) async fn run(store: Arc<dyn StateStore>, steps: Vec<Step>) {
    let mut run = Run {
        store,
        now: NOW,
        memories: (0..WORKERS).map(|_| Memory::default()).collect(),
        starts: 0,
        epoch: 0,
        holder: None,
        tables: (0..TABLES).map(|_| ModelTable::default()).collect(),
        processes: BTreeMap::new(),
        before: Rows::default(),
    };
    for step in steps {
        match step {
            Step::Pass(seconds) => run.now = run.after(seconds),
            Step::TakeLease(who) => run.take_lease(who).await,
            Step::RenewLease(who) => run.renew_lease(who).await,
            Step::ReleaseLease(who) => run.release_lease(who).await,
            Step::Mark(which, state, seconds) => run.mark(which, state, seconds).await,
            Step::Force(which) => run.force(which).await,
            Step::Look(who, which) => run.look(who, which).await,
            Step::Conclude(who, loaded, next) => run.conclude(who, loaded, next).await,
            Step::Start(who, which, tasks) => {
                if let Some(which) = which {
                    run.look(who, which).await;
                }
                run.start(who, tasks).await;
            }
            Step::Forget(who) => run.forget(who).await,
            Step::ClaimTask(who, which, index) => run.claim_task(who, which, index).await,
            Step::ReportTask(who, choice) => run.report_task(who, choice).await,
            Step::ReturnTask(who, choice) => run.return_task(who, choice).await,
            Step::ClaimCommit(who, which) => run.claim_commit(who, which).await,
            Step::GiveBackCommit(who, seconds) => run.give_back_commit(who, seconds).await,
            Step::End(who, committed) => run.end(who, committed).await,
        }
        run.check().await;
    }
}
