//! Who may do what next, and the one function that takes a step.

use std::panic::{AssertUnwindSafe, catch_unwind};

use super::{
    mutations::Mutation,
    world::{
        CommitAt, File, Optimizer, Process, ProcessState, SchedulerAt, Seen, Size, TaskState, Work,
        World,
    },
};
use crate::{
    GivenBack,
    invariants::{self, Verdict},
};

/// One atomic step of somebody. Schedulers, optimizers, tables and the like are numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Action {
    /// Asks for a bucket's lease; `ended` says whether the asker's clock is past its end.
    TakeLease {
        who: u8,
        bucket: u8,
        ended: bool,
    },
    Release(u8),
    List(u8),
    Compare(u8),
    /// Looks, under the lease, whether somebody else's census came between.
    CompareAgain(u8),
    Mark(u8),
    Force(u8),
    PutDigest(u8),
    Look {
        who: u8,
        table: u8,
    },
    /// Loads the table, or sees to its process.
    Tend(u8),
    /// The same where what an optimizer found out is too old by now, or can't be read.
    TendAnew(u8),
    /// Leaves the table for later: a blocker, its window or a quota has it wait.
    KeepWaiting(u8),
    /// Writes what the evaluation came to: a conclusion, or a process with its tasks.
    Conclude(u8),
    /// Has an optimizer look at the table.
    HandOver(u8),
    FailToLoad(u8),
    Send(u8),
    LoseMessage(u8),
    LookAgain(u8),
    Claim {
        who: u8,
        process: u8,
        task: u8,
        ended: bool,
    },
    Extend(u8),
    Report(u8),
    Fail(u8),
    /// Reports that the table could not be loaded which it was to look at.
    FailToLook(u8),
    GiveBack(u8),
    /// The same because a service asked for fewer requests.
    Wait(u8),
    Acknowledge(u8),
    ClaimCommit {
        who: Who,
        ended: bool,
    },
    LoadToCommit(Who),
    Swap(Who),
    /// Sends the swap and hears no answer. It may act at once, later, or never.
    SwapUnheard(Who),
    LookForSwap(Who),
    Postpone(Who),
    GiveBackCommit(Who),
    GiveUp(Who),
    CleanUp(Who),
    End(Who),
    Cancel(u8),
    Crash(Who),
    Append(u8),
    Remove {
        table: u8,
        file: u8,
    },
    Expire(u8),
    Drop(u8),
    Create(u8),
    Arrive(u8),
    Vanish(u8),
}

/// Somebody who works.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Who {
    Scheduler(u8),
    Optimizer(u8),
}

impl Action {
    /// Whether nobody needs to do this for things to go on: something that goes wrong, or what another writer does.
    pub(super) fn is_mishap(&self) -> bool {
        matches!(
            self,
            Self::LoseMessage(_)
                | Self::FailToLoad(_)
                | Self::FailToLook(_)
                | Self::TendAnew(_)
                | Self::KeepWaiting(_)
                | Self::Cancel(_)
                | Self::Fail(_)
                | Self::GiveBack(_)
                | Self::Wait(_)
                | Self::SwapUnheard(_)
                | Self::GiveUp(_)
                | Self::Crash(_)
                | Self::Append(_)
                | Self::Remove { .. }
                | Self::Expire(_)
                | Self::Drop(_)
                | Self::Create(_)
        )
    }
}

/// A world that is being changed, with what the change has to know.
pub(super) struct Step<'a> {
    pub(super) size: &'a Size,
    pub(super) mutation: Option<Mutation>,
    pub(super) world: World,
}

impl Step<'_> {
    pub(super) fn is(&self, mutation: Mutation) -> bool {
        self.mutation == Some(mutation)
    }

    fn act(&mut self, action: Action) -> Verdict {
        match action {
            Action::TakeLease { who, bucket, ended } => self.take_lease(who, bucket, ended),
            Action::Release(who) => self.release(who),
            Action::List(who) => self.list(who),
            Action::Compare(who) => self.compare(who),
            Action::CompareAgain(who) => self.compare_again(who),
            Action::Mark(who) => self.mark(who),
            Action::Force(who) => self.force(who),
            Action::PutDigest(who) => self.put_digest(who),
            Action::Look { who, table } => self.look(who, table),
            Action::Tend(who) => self.tend(who, true),
            Action::TendAnew(who) => self.tend(who, false),
            Action::KeepWaiting(who) => self.keep_waiting(who),
            Action::Conclude(who) => self.conclude_or_start(who),
            Action::HandOver(who) => self.hand_over(who),
            Action::Send(who) => self.send(who, true),
            Action::LoseMessage(who) => self.send(who, false),
            Action::LookAgain(who) => self.look_again(who),
            Action::Claim {
                who,
                process,
                task,
                ended,
            } => self.claim_task(who, process, task, ended),
            Action::Extend(who) => self.extend(who),
            Action::Report(who) => self.report(who, true),
            Action::Fail(who) => self.report(who, false),
            Action::FailToLook(who) => self.fail_to_look(who),
            Action::GiveBack(who) => self.give_back(who, GivenBack::Tried),
            Action::Wait(who) => self.give_back(who, GivenBack::Waits),
            Action::Acknowledge(who) => self.acknowledge(who),
            Action::ClaimCommit { who, ended } => self.claim_commit(who, ended),
            Action::LoadToCommit(who) => self.load_to_commit(who),
            Action::Swap(who) => self.swap(who),
            Action::SwapUnheard(who) => self.swap_unheard(who),
            Action::LookForSwap(who) => self.look_for_swap(who),
            Action::Postpone(who) => self.postpone(who),
            Action::GiveBackCommit(who) => self.give_back_commit(who),
            Action::GiveUp(who) => self.give_up(who),
            Action::CleanUp(who) => self.clean_up(who),
            Action::End(who) => self.end(who),
            Action::FailToLoad(who) => self.fail_to_load(who),
            Action::Cancel(process) => self.cancel(process),
            Action::Crash(who) => self.crash(who),
            Action::Append(table) => self.append(table),
            Action::Remove { table, file } => self.remove(table, file),
            Action::Expire(table) => self.expire(table),
            Action::Drop(table) => self.drop_table(table),
            Action::Create(table) => self.create_table(table),
            Action::Arrive(swap) => self.arrive(swap),
            Action::Vanish(swap) => {
                self.world.in_flight.remove(usize::from(swap));
                Ok(())
            }
        }
    }
}

/// The world after a step. A step that breaks an invariant, or panics, leaves a world that says so and goes no further.
pub(super) fn step(
    size: &Size,
    mutation: Option<Mutation>,
    before: &World,
    action: Action,
) -> World {
    let mut step = Step {
        size,
        mutation,
        world: before.clone(),
    };
    let acted = catch_unwind(AssertUnwindSafe(|| {
        step.act(action)?;
        step.world.check()
    }));
    let broken = match acted {
        Ok(Ok(())) => {
            let mut world = step.world;
            world.make_canonical(size);
            return world;
        }
        Ok(Err(broken)) => broken,
        Err(panic) => match panic.downcast::<String>() {
            Ok(message) => *message,
            Err(_) => "a step panicked".to_owned(),
        },
    };
    World {
        broken: Some(broken),
        ..step.world
    }
}

impl World {
    /// The invariants that can be seen in one state.
    fn check(&self) -> Verdict {
        for (table, entry) in (0..).zip(&self.catalog) {
            let row = self.table_row(table);
            if let Some(row) = &row {
                invariants::table_row(row)?;
            }
            let of_table = self
                .processes
                .iter()
                .filter(|process| process.table == table);
            let mut rows = Vec::new();
            for process in of_table {
                let row = self.as_process_row(process);
                invariants::process_row(&row)?;
                invariants::open_tasks(&row, &self.task_rows(process))?;
                rows.push(row);
            }
            invariants::one_process(row.as_ref(), &rows)?;
            let wanted = (0..8u8).filter(|number| entry.rows & (1 << number) != 0);
            let live = entry.files.iter().flat_map(|file| {
                let rows = file.rows();
                (0..8u8).filter(move |number| rows & (1 << number) != 0)
            });
            invariants::each_once(wanted, live)?;
            invariants::nothing_live_deleted(&entry.files, &entry.deleted)?;
            if let Seen::At(seen) = self.digest[usize::from(table)]
                && entry.exists
                && seen == entry.location
            {
                let seen = super::rows::location(seen);
                invariants::digest_was_marked(&seen, row.as_ref())?;
            }
        }
        Ok(())
    }

    /// Every step that anybody may take.
    pub(super) fn actions(&self, size: &Size, actions: &mut Vec<Action>) {
        if self.broken.is_some() {
            return;
        }
        for who in 0..size.schedulers {
            self.actions_of_scheduler(size, who, actions);
        }
        for who in 0..size.optimizers {
            self.actions_of_optimizer(size, who, actions);
        }
        self.actions_of_others(actions);
    }

    fn actions_of_scheduler(&self, size: &Size, who: u8, actions: &mut Vec<Action>) {
        let scheduler = &self.schedulers[usize::from(who)];
        let idle = scheduler.at == SchedulerAt::Idle && scheduler.lease.is_none();
        if !idle && self.left.crashes > 0 {
            actions.push(Action::Crash(Who::Scheduler(who)));
        }
        match &scheduler.at {
            SchedulerAt::Idle => match scheduler.lease {
                None => {
                    // Alone, one that finds nothing new does nothing about it, which other worlds show.
                    let may_spare = size.elsewhere && size.schedulers == 1;
                    if !may_spare || !self.is_digest_newest() {
                        actions.push(Action::List(who));
                    }
                    for (bucket, _) in (0..).zip(&self.buckets) {
                        if self.due_tables(bucket).next().is_some() {
                            self.lease_to_take(size, who, bucket, actions);
                        }
                    }
                }
                Some((bucket, _)) => {
                    actions.push(Action::Release(who));
                    let due = self.due_tables(bucket);
                    actions.extend(due.map(|table| Action::Look { who, table }));
                }
            },
            SchedulerAt::Listed(_) => actions.push(Action::Compare(who)),
            SchedulerAt::Found { .. } => match scheduler.lease {
                None => self.lease_to_take(size, who, 0, actions),
                Some(_) => actions.push(Action::CompareAgain(who)),
            },
            SchedulerAt::Recording(news) => {
                actions.push(if !news.marks.is_empty() {
                    Action::Mark(who)
                } else if !news.gone.is_empty() {
                    Action::Force(who)
                } else {
                    Action::PutDigest(who)
                });
            }
            SchedulerAt::Looking { seen, .. } => {
                actions.push(Action::Tend(who));
                if self.left.failures > 0 && self.finding_awaited(seen).is_some() {
                    actions.push(Action::TendAnew(who));
                }
                if size.waits && seen.active.is_none() {
                    actions.push(Action::KeepWaiting(who));
                }
            }
            SchedulerAt::HandingOver { .. } => actions.push(Action::HandOver(who)),
            SchedulerAt::Failing { .. } => actions.push(Action::Conclude(who)),
            SchedulerAt::Evaluated { .. } => {
                actions.push(Action::Conclude(who));
                if self.left.failures > 0 {
                    actions.push(Action::FailToLoad(who));
                }
            }
            SchedulerAt::Sending { tasks, then, .. } => {
                if !tasks.is_empty() {
                    actions.push(Action::Send(who));
                    if self.left.lost_messages > 0 {
                        actions.push(Action::LoseMessage(who));
                    }
                } else if then.is_some() {
                    actions.push(Action::LookAgain(who));
                }
            }
            SchedulerAt::Committing { commit, .. } => match commit.at {
                CommitAt::Over => actions.push(Action::LookAgain(who)),
                _ => self.actions_of_commit(size, Who::Scheduler(who), &commit.at, actions),
            },
        }
    }

    /// Whether the digest says of each table what a listing would show.
    fn is_digest_newest(&self) -> bool {
        let mut tables = self.catalog.iter().zip(&self.digest);
        tables.all(|(entry, seen)| match seen {
            Seen::At(location) => entry.exists && *location == entry.location,
            Seen::Never => !entry.exists,
            Seen::MissingOnce => false,
        })
    }

    fn due_tables(&self, bucket: u8) -> impl Iterator<Item = u8> {
        let rows = (0..).zip(&self.rows);
        let due = rows.filter(move |(table, row): &(u8, _)| {
            let row: &Option<super::world::Row> = row;
            row.as_ref().is_some_and(|row| row.due) && self.bucket_of(*table) == bucket
        });
        due.map(|(table, _)| table)
    }

    fn lease_to_take(&self, size: &Size, who: u8, bucket: u8, actions: &mut Vec<Action>) {
        let row = &self.buckets[usize::from(bucket)];
        // Whether the owner is at work still. It may be so slow, or so sure of its clock, that its lease ends.
        let held = Some((bucket, row.epoch));
        let at_work = row.owner.is_some() && self.schedulers.iter().any(|one| one.lease == held);
        let mut take = |ended| {
            actions.push(Action::TakeLease { who, bucket, ended });
        };
        if row.owner.is_none() || at_work {
            take(false);
        }
        if row.owner.is_some() && (!at_work || size.leases_end_early) {
            take(true);
        }
    }

    fn actions_of_optimizer(&self, size: &Size, who: u8, actions: &mut Vec<Action>) {
        let optimizer = &self.optimizers[usize::from(who)];
        if *optimizer != Optimizer::Idle && self.left.crashes > 0 {
            actions.push(Action::Crash(Who::Optimizer(who)));
        }
        match optimizer {
            Optimizer::Idle => {
                for (process, task) in &self.queue {
                    let (process, task) = (*process, *task);
                    let ended = match self
                        .process(process)
                        .map(|row| &row.tasks[usize::from(task)])
                    {
                        Some(row) => match row.state {
                            TaskState::Running(holder) => {
                                let at_work = self.optimizers[usize::from(holder)]
                                    == Optimizer::Working {
                                        process,
                                        task,
                                        attempt: row.attempt,
                                    };
                                if at_work {
                                    actions.push(Action::Claim {
                                        who,
                                        process,
                                        task,
                                        ended: false,
                                    });
                                }
                                if at_work && !size.claims_end_early {
                                    continue;
                                }
                                true
                            }
                            _ => false,
                        },
                        None => false,
                    };
                    actions.push(Action::Claim {
                        who,
                        process,
                        task,
                        ended,
                    });
                }
            }
            Optimizer::Working { process, .. } => {
                actions.push(Action::Report(who));
                actions.push(Action::Extend(who));
                if self.left.failures > 0 {
                    actions.push(Action::Fail(who));
                    let looks = |process: &Process| process.work != Work::Rewrites;
                    if self.process(*process).is_some_and(looks) {
                        actions.push(Action::FailToLook(who));
                    }
                    actions.push(Action::GiveBack(who));
                    actions.push(Action::Wait(who));
                }
            }
            Optimizer::Committing { commit, .. } => {
                self.actions_of_commit(size, Who::Optimizer(who), &commit.at, actions);
            }
            Optimizer::Acknowledging { .. } => actions.push(Action::Acknowledge(who)),
        }
    }

    fn actions_of_commit(&self, size: &Size, who: Who, at: &CommitAt, actions: &mut Vec<Action>) {
        match at {
            CommitAt::Unclaimed => self.commits_to_claim(size, who, actions),
            CommitAt::Loading | CommitAt::Lost => {
                actions.push(Action::LoadToCommit(who));
                if *at == CommitAt::Lost {
                    actions.push(Action::GiveBackCommit(who));
                }
                if self.left.failures > 0 {
                    actions.push(Action::GiveUp(who));
                }
            }
            CommitAt::Validated { .. } => {
                actions.push(Action::Swap(who));
                if self.in_flight.len() < usize::from(size.lost_answers) {
                    actions.push(Action::SwapUnheard(who));
                }
            }
            CommitAt::Unknown { .. } => {
                actions.push(Action::LookForSwap(who));
                actions.push(Action::Postpone(who));
                if self.left.failures > 0 {
                    actions.push(Action::GiveUp(who));
                }
            }
            CommitAt::CleaningUp { .. } => actions.push(Action::CleanUp(who)),
            CommitAt::Ending(_) => actions.push(Action::End(who)),
            CommitAt::Over => {}
        }
    }

    fn commits_to_claim(&self, size: &Size, who: Who, actions: &mut Vec<Action>) {
        let id = self.commit_of(who).expect("it is about to commit").process;
        let held = self.process(id).and_then(|process| match process.state {
            ProcessState::Committing(_) => Some(process.claims),
            _ => None,
        });
        let at_work = held.is_some_and(|claim| {
            self.commits()
                .any(|commit| commit.process == id && commit.claim == claim)
        });
        if !at_work {
            let ended = held.is_some();
            actions.push(Action::ClaimCommit { who, ended });
            return;
        }
        actions.push(Action::ClaimCommit { who, ended: false });
        if size.claims_end_early {
            actions.push(Action::ClaimCommit { who, ended: true });
        }
    }

    fn actions_of_others(&self, actions: &mut Vec<Action>) {
        for (table, entry) in (0..).zip(&self.catalog) {
            if !entry.exists {
                actions.push(Action::Create(table));
                continue;
            }
            if self.left.appends > 0 {
                actions.push(Action::Append(table));
            }
            if self.left.removals > 0 {
                let files = (0..).zip(&entry.files);
                actions.extend(files.map(|(file, _): (u8, &File)| Action::Remove { table, file }));
            }
            if self.left.expiries > 0 && entry.history_is_whole {
                actions.push(Action::Expire(table));
            }
            if self.left.drops > 0 {
                actions.push(Action::Drop(table));
            }
        }
        let under_way = self.processes.iter().filter(|process| {
            self.left.cancels > 0 && !matches!(process.state, ProcessState::Ended(_))
        });
        actions.extend(under_way.map(|process| Action::Cancel(process.id)));
        for (swap, _) in (0..).zip(&self.in_flight) {
            actions.push(Action::Arrive(swap));
            actions.push(Action::Vanish(swap));
        }
    }
}
