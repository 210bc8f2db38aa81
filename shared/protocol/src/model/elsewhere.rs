//! Evaluations and commits that schedulers leave to optimizers: such an evaluation is a process of one task, whose result
//! is a plan. At its end the table is due, and whoever holds its bucket then makes something of the plan.
//!
//! Here every evaluation and every commit is too much for schedulers. That somebody died at a table twice is the same in
//! steps. An optimizer loads the table at the moment that it reports: what others do between the two might as well come
//! after both, since neither asks for anything of the other.

use super::{
    actions::Step,
    commit::failed,
    mutations::Mutation,
    scheduler::{Beginning, conclusion, groups_to_rewrite},
    world::{
        Commit, CommitAt, Ending, File, Finding, Look, Optimizer, Outcome, Process, ProcessState,
        Row, SchedulerAt, TaskState, Work, World,
    },
};
use crate::invariants::Verdict;

impl World {
    /// What the process found out whose conclusion a table waits for.
    pub(super) fn finding_awaited(&self, seen: &Row) -> Option<(&Look, &Finding)> {
        let process = self.process(seen.awaited?)?;
        match &process.work {
            Work::Looks(look) if process.state == ProcessState::Ended(Outcome::Evaluated) => {
                Some((look, look.finding.as_ref()?))
            }
            _ => None,
        }
    }

    /// A message of a process that has ended makes nobody write anything, which other worlds show. Evaluations and rewrites
    /// follow one another here, and each would leave some.
    pub(super) fn spare_messages_of_ended_processes(&mut self) {
        let mut ended = [false; 64];
        for process in &self.processes {
            ended[usize::from(process.id)] = matches!(process.state, ProcessState::Ended(_));
        }
        let is_over = |process: &u8| ended[usize::from(*process)];
        self.queue.retain(|(process, _)| !is_over(process));
        for optimizer in &mut self.optimizers {
            let has_nothing_left = match &*optimizer {
                Optimizer::Acknowledging { process, .. } => is_over(process),
                Optimizer::Committing { commit, .. } => {
                    commit.at == CommitAt::Unclaimed && is_over(&commit.process)
                }
                Optimizer::Idle | Optimizer::Working { .. } => false,
            };
            if has_nothing_left {
                *optimizer = Optimizer::Idle;
            }
        }
    }
}

impl Step<'_> {
    /// What a scheduler does with a due table that it does not evaluate itself: it makes something of what an optimizer
    /// found out, or asks one.
    pub(super) fn evaluation_elsewhere(
        &self,
        table: u8,
        seen: Row,
        may_use_finding: bool,
    ) -> SchedulerAt {
        let found = self.world.finding_awaited(&seen);
        let found = found.filter(|(look, finding)| {
            may_use_finding && !self.is_outdated(look.marks, finding, &seen)
        });
        let found = found.map(|(look, finding)| (look.marks, finding.clone()));
        let exists = self.world.catalog[usize::from(table)].exists;
        let then = Row {
            seen_marks: 0,
            awaited: seen.awaited.filter(|_| self.is(Mutation::FindingKept)),
            ..seen
        };
        match found {
            // Whether a table is gone its catalog says anew.
            Some((_, Finding::Gone)) if !exists => self.evaluated(table, then),
            Some((_, Finding::Failed)) => SchedulerAt::Failing { table, seen: then },
            Some((marks, Finding::Plan { loaded, groups })) => {
                let is_of_before = marks < then.marks
                    && then.due_location != Some(loaded)
                    && !self.is(Mutation::MarkClearedByOldPlan);
                SchedulerAt::Evaluated {
                    table,
                    known: if is_of_before { marks } else { then.marks },
                    seen: then,
                    loaded: Some(loaded),
                    groups,
                }
            }
            Some((_, Finding::Gone)) | None => SchedulerAt::HandingOver {
                table,
                seen: Row {
                    due_location: None,
                    ..then
                },
            },
        }
    }

    /// Whether nothing could or was to be done about a table that was marked since for another state.
    fn is_outdated(&self, marks: u8, finding: &Finding, seen: &Row) -> bool {
        if self.is(Mutation::OldFindingTaken) {
            return false;
        }
        let known = match self.is(Mutation::FindingHeldAgainstSeenMarks) {
            true => seen.seen_marks,
            false => marks,
        };
        let is_marked_since = seen.marks > known;
        match finding {
            Finding::Plan { loaded, groups } => {
                groups.is_empty() && is_marked_since && seen.due_location != Some(*loaded)
            }
            Finding::Gone | Finding::Failed => is_marked_since,
        }
    }

    /// Starts a process that looks at the table.
    pub(super) fn hand_over(&mut self, who: u8) -> Verdict {
        let SchedulerAt::HandingOver { table, seen } = self.at(who) else {
            return Err("only what was looked at is handed over".to_owned());
        };
        let awaited = self.world.fresh_process();
        let beginning = Beginning {
            conclusion: conclusion(None, None, seen.failing, Some(awaited)),
            base: None,
            work: Work::Looks(Look {
                marks: seen.marks,
                failing: seen.failing,
                finding: None,
            }),
            groups: vec![Vec::new()],
        };
        self.start(who, table, &seen, beginning)
    }

    /// What an optimizer finds out at a task that looks: the table as it is now, and what is to be done about it.
    pub(super) fn find_out(&self, process: u8) -> Option<Finding> {
        let looks = self.world.process(process)?;
        if looks.work == Work::Rewrites {
            return None;
        }
        let entry = &self.world.catalog[usize::from(looks.table)];
        Some(match entry.exists {
            true => Finding::Plan {
                loaded: entry.location,
                groups: groups_to_rewrite(self.size.groups, &entry.files),
            },
            false => Finding::Gone,
        })
    }

    /// Keeps what was reported of a task that looked.
    pub(super) fn note_finding(&mut self, process: u8, finding: Option<Finding>) {
        if let Some(process) = self.world.process_mut(process)
            && let Work::Looks(look) = &mut process.work
        {
            look.finding = finding;
        }
    }

    /// Who sees to a process whose tasks are done: where schedulers leave commits to others, whoever is sent one of them.
    pub(super) fn commit_of_open_end(
        &self,
        process: &Process,
        table: u8,
        seen: Row,
    ) -> SchedulerAt {
        // One that looked ends without a commit.
        if !self.size.elsewhere || process.work != Work::Rewrites {
            return SchedulerAt::Committing {
                commit: Commit {
                    process: process.id,
                    claim: 0,
                    at: CommitAt::Unclaimed,
                },
                table,
                seen,
            };
        }
        let is_held = matches!(process.state, ProcessState::Committing(_))
            && self
                .world
                .commits()
                .any(|commit| commit.process == process.id && commit.claim == process.claims);
        let is_left = is_held && !self.size.claims_end_early;
        SchedulerAt::Sending {
            process: process.id,
            tasks: if is_left { Vec::new() } else { vec![0] },
            then: Some((table, seen)),
        }
    }
}

/// How a process ends that looked: there is nothing to commit, and the table falls due at once. `None` of one that rewrites.
pub(super) fn ending_of_look(process: &Process) -> Option<Ending> {
    let Work::Looks(look) = &process.work else {
        return None;
    };
    Some(match process.tasks.first().map(|task| task.state) {
        Some(TaskState::Done(_)) => Ending {
            outcome: Outcome::Evaluated,
            due: true,
            failing: look.failing,
        },
        _ => failed(),
    })
}

/// The files of what an optimizer plans.
pub(super) fn each_file_found(work: &mut Work, visit: &mut impl FnMut(&mut File)) {
    if let Work::Looks(Look {
        finding: Some(Finding::Plan { groups, .. }),
        ..
    }) = work
    {
        groups.iter_mut().flatten().for_each(visit);
    }
}
