//! The commit of a process, by whoever claims it (protocols.md, section 4): load, validate, swap, find out, clean up, end.

use std::{collections::BTreeSet, time::Duration};

use super::{
    actions::{Step, Who},
    elsewhere::ending_of_look,
    mutations::Mutation,
    rows::{self, NOW, number_of, outcome_of, process_id, worker},
    world::{
        Author, Bits, Commit, CommitAt, Ending, Entry, File, Optimizer, Outcome, Process,
        SchedulerAt, Snapshot, Swap, TaskState, World,
    },
};
use crate::{
    CoordinationError, GivenBack,
    invariants::{self, Verdict},
    transition,
};

impl World {
    pub(super) fn commit_of(&self, who: Who) -> Option<&Commit> {
        match who {
            Who::Scheduler(who) => match &self.schedulers[usize::from(who)].at {
                SchedulerAt::Committing { commit, .. } => Some(commit),
                _ => None,
            },
            Who::Optimizer(who) => match &self.optimizers[usize::from(who)] {
                Optimizer::Committing { commit, .. } => Some(commit),
                _ => None,
            },
        }
    }

    fn commit_of_mut(&mut self, who: Who) -> Option<&mut Commit> {
        match who {
            Who::Scheduler(who) => match &mut self.schedulers[usize::from(who)].at {
                SchedulerAt::Committing { commit, .. } => Some(commit),
                _ => None,
            },
            Who::Optimizer(who) => match &mut self.optimizers[usize::from(who)] {
                Optimizer::Committing { commit, .. } => Some(commit),
                _ => None,
            },
        }
    }

    /// Everybody who commits.
    pub(super) fn commits(&self) -> impl Iterator<Item = &Commit> {
        let by_schedulers = self.schedulers.iter().filter_map(|one| match &one.at {
            SchedulerAt::Committing { commit, .. } => Some(commit),
            _ => None,
        });
        let by_optimizers = self.optimizers.iter().filter_map(|one| match one {
            Optimizer::Committing { commit, .. } => Some(commit),
            _ => None,
        });
        by_schedulers.chain(by_optimizers)
    }

    /// The number under which somebody works, in claims.
    fn worker_number(&self, who: Who) -> u8 {
        let optimizers = u8::try_from(self.optimizers.len()).expect("there are few");
        match who {
            Who::Optimizer(who) => who,
            Who::Scheduler(who) => optimizers + who,
        }
    }
}

impl Process {
    /// The tasks that are done.
    fn done(&self) -> Bits {
        let tasks = (0..).zip(&self.tasks);
        let done = tasks.filter(|(_, task)| matches!(task.state, TaskState::Done(_)));
        done.fold(0, |bits, (index, _): (u8, _)| bits | 1 << index)
    }

    /// What a done task wrote.
    fn output(&self, index: u8) -> File {
        let task = &self.tasks[usize::from(index)];
        let rows = task.inputs.iter().fold(0, |rows, file| rows | file.rows());
        let attempt = match task.state {
            TaskState::Done(attempt) => attempt,
            _ => task.attempt,
        };
        File::Output {
            by: Some(Author {
                process: self.id,
                task: index,
                attempt,
            }),
            rows,
        }
    }
}

fn indices(bits: Bits) -> impl Iterator<Item = u8> {
    (0..8).filter(move |index| bits & (1 << index) != 0)
}

/// The groups whose inputs are all still live.
fn validate(process: &Process, entry: &Entry) -> Bits {
    let done = indices(process.done());
    done.filter(|index| {
        let inputs = &process.tasks[usize::from(*index)].inputs;
        inputs.iter().all(|input| entry.files.contains(input))
    })
    .fold(0, |bits, index| bits | 1 << index)
}

impl Step<'_> {
    fn commit(&self, who: Who) -> Result<(Commit, Process), String> {
        let commit = self.world.commit_of(who).cloned();
        let commit = commit.ok_or("nobody commits without having begun")?;
        let process = self.world.process(commit.process).cloned();
        let process = process.ok_or("a process stands as long as somebody commits it")?;
        Ok((commit, process))
    }

    fn commit_goes(&mut self, who: Who, at: CommitAt) {
        let over = at == CommitAt::Over;
        if let Some(commit) = self.world.commit_of_mut(who) {
            commit.at = at;
        }
        if let Who::Optimizer(number) = who
            && over
            && let Optimizer::Committing { commit, task } =
                self.world.optimizers[usize::from(number)].clone()
        {
            self.world.optimizers[usize::from(number)] = Optimizer::Acknowledging {
                process: commit.process,
                task,
            };
        }
    }

    pub(super) fn claim_commit(&mut self, who: Who, ended: bool) -> Verdict {
        let (commit, _) = self.commit(who)?;
        let now = if ended {
            NOW + Duration::from_millis(1)
        } else {
            NOW
        };
        let by = worker(self.world.worker_number(who));
        let before = self
            .world
            .process_row(commit.process)
            .ok_or("a process stands as long as somebody commits it")?;
        let Some(mut after) = transition::claim_commit(&before, &by, now, NOW) else {
            self.commit_goes(who, CommitAt::Over);
            return Ok(());
        };
        if self.is(Mutation::ClaimReused) {
            after.commit_claims = before.commit_claims.max(1);
        }
        invariants::commit_claim_respected(&before, now)?;
        invariants::process_step(&before, &after)?;
        self.world.put_process(&after);
        if let Some(commit) = self.world.commit_of_mut(who) {
            commit.claim = u8::try_from(after.commit_claims).expect("claims are renumbered");
        }
        self.commit_goes(who, CommitAt::Loading);
        Ok(())
    }

    /// How the process ends that this state of the table has a snapshot of.
    fn found(&self, process: &Process, entry: &Entry) -> Option<Ending> {
        let mut ours = entry.ours.iter();
        let found = ours.find(|snapshot| snapshot.by == process.id && snapshot.stands)?;
        let made = &found.made;
        let all = usize::try_from(process.done().count_ones()) == Ok(process.tasks.len());
        Some(Ending {
            outcome: if all {
                Outcome::Committed(*made)
            } else {
                Outcome::Partly(*made)
            },
            due: true,
            failing: has_failures(process),
        })
    }

    pub(super) fn load_to_commit(&mut self, who: Who) -> Verdict {
        let (_, process) = self.commit(who)?;
        if let Some(ending) = ending_of_look(&process) {
            self.commit_goes(who, CommitAt::Ending(ending));
            return Ok(());
        }
        let entry = self.world.catalog[usize::from(process.table)].clone();
        if process.done() == 0 {
            self.commit_goes(who, CommitAt::Ending(failed()));
            return Ok(());
        }
        if !entry.exists {
            self.commit_goes(who, CommitAt::Ending(abandoned()));
            return Ok(());
        }
        if let Some(ending) = self.found(&process, &entry) {
            self.commit_goes(who, CommitAt::Ending(ending));
            return Ok(());
        }
        let mut accepted = validate(&process, &entry);
        if self.is(Mutation::CommitUnvalidated) {
            accepted = process.done();
        }
        if accepted == 0 {
            let unused = self.unused(&process, &entry, process.done());
            let ending = failed();
            self.commit_goes(who, CommitAt::CleaningUp { unused, ending });
            return Ok(());
        }
        let loaded = entry.location;
        if self.is(Mutation::EndedBeforeSwap) {
            let ending = Ending {
                outcome: Outcome::Committed(loaded),
                due: false,
                failing: false,
            };
            self.write_end(who, ending)?;
        }
        let over = self.is(Mutation::SwapUncompared).then_some(entry.files);
        self.commit_goes(
            who,
            CommitAt::Validated {
                loaded,
                accepted,
                over,
            },
        );
        Ok(())
    }

    /// The outputs of these groups that no snapshot refers to.
    fn unused(&self, process: &Process, entry: &Entry, groups: Bits) -> Vec<File> {
        let outputs = indices(groups).map(|index| process.output(index));
        if self.is(Mutation::UnusedUnchecked) {
            return outputs.collect();
        }
        outputs
            .filter(|file| entry.history_is_whole && !entry.files.contains(file))
            .collect()
    }

    /// Lets a swap act if the table is still in the state that it is compared with; the state that it made.
    pub(super) fn act_on_catalog(&mut self, swap: &Swap) -> Result<Option<u8>, String> {
        let process = self.world.process(swap.process).cloned();
        let process = process.ok_or("a process stands as long as its swap is under way")?;
        let fresh = self.world.fresh_location();
        let entry = &mut self.world.catalog[usize::from(process.table)];
        if !entry.exists || (swap.over.is_none() && entry.location != swap.base) {
            return Ok(None);
        }
        if let Some(over) = &swap.over {
            entry.files.clone_from(over);
        }
        for index in indices(swap.accepted) {
            let inputs = &process.tasks[usize::from(index)].inputs;
            entry.files.retain(|file| !inputs.contains(file));
            entry.files.push(process.output(index));
        }
        entry.files.sort_unstable();
        entry.location = fresh;
        entry.ours.push(Snapshot {
            by: process.id,
            made: fresh,
            stands: true,
        });
        Ok(Some(fresh))
    }

    pub(super) fn swap(&mut self, who: Who) -> Verdict {
        let (commit, process) = self.commit(who)?;
        let CommitAt::Validated {
            loaded,
            accepted,
            over,
        } = commit.at
        else {
            return Err("only what was validated is swapped".to_owned());
        };
        let swap = Swap {
            process: process.id,
            base: loaded,
            accepted,
            over,
        };
        let next = match self.act_on_catalog(&swap)? {
            Some(made) => {
                let left_out = process.done() & !accepted;
                let entry = &self.world.catalog[usize::from(process.table)];
                let unused = self.unused(&process, entry, left_out);
                let all = usize::try_from(accepted.count_ones()) == Ok(process.tasks.len());
                let rebased = Some(loaded) != process.base && !self.is(Mutation::RebaseNotLookedAt);
                let ending = Ending {
                    outcome: if all {
                        Outcome::Committed(made)
                    } else {
                        Outcome::Partly(made)
                    },
                    due: rebased || !all,
                    failing: has_failures(&process),
                };
                CommitAt::CleaningUp { unused, ending }
            }
            None => CommitAt::Lost,
        };
        self.commit_goes(who, next);
        Ok(())
    }

    /// After lost races: the claim is free again before its time is over.
    pub(super) fn give_back_commit(&mut self, who: Who) -> Verdict {
        let (commit, process) = self.commit(who)?;
        let claim = u32::from(commit.claim);
        let before = self.world.process_row(process.id);
        let before = before.ok_or("a process stands as long as somebody commits it")?;
        let after = if self.is(Mutation::OldClaimGivenBack) {
            transition::give_back_commit(&before, before.commit_claims, GivenBack::Tried)
        } else {
            transition::give_back_commit(&before, claim, GivenBack::Tried)
        };
        match after {
            Ok(Some(after)) => {
                invariants::accepted_claim(before.commit_claims, claim)?;
                invariants::process_step(&before, &after)?;
                self.world.put_process(&after);
            }
            Ok(None) | Err(CoordinationError::Fenced(_)) => {}
            Err(other) => return Err(other.to_string()),
        }
        self.commit_goes(who, CommitAt::Over);
        Ok(())
    }

    pub(super) fn swap_unheard(&mut self, who: Who) -> Verdict {
        let (commit, process) = self.commit(who)?;
        let CommitAt::Validated {
            loaded,
            accepted,
            over,
        } = commit.at
        else {
            return Err("only what was validated is swapped".to_owned());
        };
        self.world.in_flight.push(Swap {
            process: process.id,
            base: loaded,
            accepted,
            over,
        });
        let next = if self.is(Mutation::UnknownOutcomeDeletes) {
            CommitAt::CleaningUp {
                unused: indices(accepted)
                    .map(|index| process.output(index))
                    .collect(),
                ending: failed(),
            }
        } else {
            CommitAt::Unknown { tried_on: loaded }
        };
        self.commit_goes(who, next);
        Ok(())
    }

    pub(super) fn look_for_swap(&mut self, who: Who) -> Verdict {
        let (commit, process) = self.commit(who)?;
        let CommitAt::Unknown { tried_on } = commit.at else {
            return Err("only an unknown outcome is looked for".to_owned());
        };
        let entry = self.world.catalog[usize::from(process.table)].clone();
        if !entry.exists {
            self.commit_goes(who, CommitAt::Ending(abandoned()));
        } else if let Some(ending) = self.found(&process, &entry) {
            self.commit_goes(who, CommitAt::Ending(ending));
        } else if entry.location != tried_on {
            self.commit_goes(who, CommitAt::Loading);
        }
        Ok(())
    }

    pub(super) fn postpone(&mut self, who: Who) -> Verdict {
        self.commit_goes(who, CommitAt::Over);
        Ok(())
    }

    /// After too many lost races, or too many claims with an unknown outcome: the process fails, its files stay.
    pub(super) fn give_up(&mut self, who: Who) -> Verdict {
        self.world.left.failures -= 1;
        self.commit_goes(who, CommitAt::Ending(failed()));
        Ok(())
    }

    pub(super) fn clean_up(&mut self, who: Who) -> Verdict {
        let (commit, process) = self.commit(who)?;
        let CommitAt::CleaningUp { unused, ending } = commit.at else {
            return Err("only what was left over is removed".to_owned());
        };
        self.world.catalog[usize::from(process.table)]
            .deleted
            .extend(unused);
        self.commit_goes(who, CommitAt::Ending(ending));
        Ok(())
    }

    pub(super) fn end(&mut self, who: Who) -> Verdict {
        let (commit, _) = self.commit(who)?;
        let CommitAt::Ending(ending) = commit.at else {
            return Err("only what was committed or given up ends".to_owned());
        };
        self.write_end(who, ending)?;
        self.commit_goes(who, CommitAt::Over);
        Ok(())
    }

    /// Ends the process and frees its table, in one transaction.
    fn write_end(&mut self, who: Who, ending: Ending) -> Verdict {
        let (commit, process) = self.commit(who)?;
        let before = self.world.process_row(process.id);
        let claim = u32::from(commit.claim);
        let outcome = outcome_of(ending.outcome);
        let after = match transition::end(before.as_ref(), &process_id(process.id), claim, &outcome)
        {
            Ok(Some(after)) => after,
            Ok(None) | Err(CoordinationError::Fenced(_)) => return Ok(()),
            Err(other) => return Err(other.to_string()),
        };
        if let Some(before) = &before {
            invariants::accepted_claim(before.commit_claims, claim)?;
            invariants::process_step(before, &after)?;
        }
        let entry = &self.world.catalog[usize::from(process.table)];
        let history: BTreeSet<_> = entry
            .ours
            .iter()
            .filter(|snapshot| snapshot.by == process.id)
            .map(|snapshot| rows::location(snapshot.made))
            .collect();
        invariants::ended_truly(&after, |location| history.contains(location))?;
        self.world.put_process(&after);

        let committed = match ending.outcome {
            Outcome::Committed(made) | Outcome::Partly(made) => Some(rows::location(made)),
            Outcome::Maintained(made) => made.map(rows::location),
            Outcome::Failed | Outcome::Evaluated | Outcome::Abandoned => None,
        };
        let Some(table) = self.world.table_row(process.table) else {
            return Ok(());
        };
        let due = ending.due.then_some(NOW);
        let freed = transition::free(
            &table,
            &process_id(process.id),
            committed.as_ref(),
            due,
            u32::from(ending.failing),
        );
        if let Some(mut freed) = freed {
            if self.is(Mutation::MarkClearedByEnd) {
                freed.due_at = due;
                freed.marked_at = None;
                freed.due_location = None;
            }
            invariants::table_step(Some(&table), &freed)?;
            self.world.put_table(process.table, &freed);
        }
        Ok(())
    }
}

impl Step<'_> {
    /// A person cancels a process.
    pub(super) fn cancel(&mut self, process: u8) -> Verdict {
        self.world.left.cancels -= 1;
        let before = self.world.process_row(process);
        let before = before.ok_or("only a process that stands is cancelled")?;
        let transition::Cancel::Ended(after) = transition::cancel(&before, "") else {
            return Ok(());
        };
        invariants::process_step(&before, &after)?;
        self.world.put_process(&after);
        let table = number_of(after.table.name.as_str());
        let row = self.world.table_row(table);
        let row = row.ok_or("a table with a process has a row")?;
        if let Some(freed) = transition::free(&row, &after.process, None, None, row.failures) {
            invariants::table_step(Some(&row), &freed)?;
            self.world.put_table(table, &freed);
        }
        Ok(())
    }
}

fn has_failures(process: &Process) -> bool {
    let mut tasks = process.tasks.iter();
    tasks.any(|task| task.state == TaskState::Failed)
}

pub(super) fn failed() -> Ending {
    Ending {
        outcome: Outcome::Failed,
        due: true,
        failing: true,
    }
}

fn abandoned() -> Ending {
    Ending {
        outcome: Outcome::Abandoned,
        due: false,
        failing: false,
    }
}
