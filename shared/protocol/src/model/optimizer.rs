//! What an optimizer does with a message: claim, work, report, commit, acknowledge (protocols.md, section 3).

use std::time::Duration;

use icepress_model::Attempt;

use super::{
    actions::Step,
    mutations::Mutation,
    rows::{NOW, result_of, worker},
    world::{Commit, CommitAt, Finding, Optimizer},
};
use crate::{
    ClaimOutcome, GivenBack, TaskRow,
    invariants::{self, Verdict},
    transition,
};

impl Step<'_> {
    fn optimizer_goes(&mut self, who: u8, at: Optimizer) {
        self.world.optimizers[usize::from(who)] = at;
    }

    /// The claim that an optimizer believes to have, and the task's row.
    fn claimed(&self, who: u8) -> Result<(u8, u8, Attempt, Option<TaskRow>), String> {
        let Optimizer::Working {
            process,
            task,
            attempt,
        } = self.world.optimizers[usize::from(who)]
        else {
            return Err("nobody works without a claim".to_owned());
        };
        let row = self.world.task_row(process, task);
        Ok((process, task, Attempt(u32::from(attempt)), row))
    }

    pub(super) fn claim_task(&mut self, who: u8, process: u8, task: u8, ended: bool) -> Verdict {
        let now = if ended {
            NOW + Duration::from_millis(1)
        } else {
            NOW
        };
        let Some(before) = self.world.task_row(process, task) else {
            self.optimizer_goes(who, Optimizer::Acknowledging { process, task });
            return Ok(());
        };
        let process_row = self.world.process_row(process);
        let claim = transition::claim_task(&before, process_row.as_ref(), &worker(who), now, NOW);
        let next = match claim {
            transition::Claim::Free(mut after) => {
                if self.is(Mutation::AttemptReused) && before.attempt != Attempt(0) {
                    after.attempt = before.attempt;
                }
                invariants::claim_respected(&before, now)?;
                invariants::task_step(&before, &after)?;
                self.world.put_task(&after);
                Optimizer::Working {
                    process,
                    task,
                    attempt: u8::try_from(after.attempt.get()).expect("attempts are renumbered"),
                }
            }
            // Its reporter may have died between report and commit.
            transition::Claim::Not(ClaimOutcome::Finished) => Optimizer::Committing {
                commit: Commit {
                    process,
                    claim: 0,
                    at: CommitAt::Unclaimed,
                },
                task,
            },
            transition::Claim::Not(ClaimOutcome::Gone) => {
                Optimizer::Acknowledging { process, task }
            }
            transition::Claim::Not(_) => Optimizer::Idle,
        };
        self.optimizer_goes(who, next);
        Ok(())
    }

    pub(super) fn extend(&mut self, who: u8) -> Verdict {
        let (_, _, attempt, row) = self.claimed(who)?;
        let extended = row
            .as_ref()
            .is_some_and(|row| transition::extend_claim(row, attempt, NOW).is_ok());
        if !extended {
            self.optimizer_goes(who, Optimizer::Idle);
        } else if let Some(row) = row {
            invariants::accepted_attempt(row.attempt, attempt)?;
        }
        Ok(())
    }

    /// Reports the task done, or failed for good.
    pub(super) fn report(&mut self, who: u8, done: bool) -> Verdict {
        self.world.left.failures -= u8::from(!done);
        let (process, ..) = self.claimed(who)?;
        let finding = self.find_out(process);
        self.report_with(who, done, finding)
    }

    /// Reports that the table could not be loaded which it was to look at: to have found that out is a result too.
    pub(super) fn fail_to_look(&mut self, who: u8) -> Verdict {
        self.world.left.failures -= 1;
        self.report_with(who, true, Some(Finding::Failed))
    }

    fn report_with(&mut self, who: u8, done: bool, finding: Option<Finding>) -> Verdict {
        let (process, task, attempt, row) = self.claimed(who)?;
        let result = result_of(done.then(|| u8::try_from(attempt.get()).expect("a small number")));
        let process_row = self.world.process_row(process);
        let mut reported = row
            .as_ref()
            .filter(|_| process_row.as_ref().is_some_and(|row| !row.has_ended()))
            .and_then(|row| transition::report(row, attempt, &result));
        if self.is(Mutation::OldAttemptAccepted)
            && let Some(row) = &row
        {
            reported = transition::report(row, row.attempt, &result);
        }
        let (Some(before), Some(after), Some(process_row)) = (row, reported, process_row) else {
            self.optimizer_goes(who, Optimizer::Acknowledging { process, task });
            return Ok(());
        };
        invariants::accepted_attempt(before.attempt, attempt)?;
        invariants::task_step(&before, &after)?;
        let counted = transition::count_down(&process_row);
        invariants::process_step(&process_row, &counted)?;
        self.world.put_task(&after);
        self.world.put_process(&counted);
        if done {
            self.note_finding(process, finding);
        }
        let next = if counted.open_tasks == 0 {
            Optimizer::Committing {
                commit: Commit {
                    process,
                    claim: 0,
                    at: CommitAt::Unclaimed,
                },
                task,
            }
        } else {
            Optimizer::Acknowledging { process, task }
        };
        self.optimizer_goes(who, next);
        Ok(())
    }

    /// Gives the task back; one that waits for whoever asked for fewer requests acknowledges its message.
    pub(super) fn give_back(&mut self, who: u8, why: GivenBack) -> Verdict {
        let (process, task, attempt, row) = self.claimed(who)?;
        self.world.left.failures -= 1;
        let process_row = self.world.process_row(process);
        if let Some(before) = row
            && process_row.is_some_and(|row| !row.has_ended())
            && let transition::Return::Queued(after) =
                transition::return_task(&before, attempt, why)
        {
            invariants::accepted_attempt(before.attempt, attempt)?;
            invariants::task_step(&before, &after)?;
            self.world.put_task(&after);
        }
        let next = match why {
            GivenBack::Tried => Optimizer::Idle,
            GivenBack::Waits => Optimizer::Acknowledging { process, task },
        };
        self.optimizer_goes(who, next);
        Ok(())
    }

    pub(super) fn acknowledge(&mut self, who: u8) -> Verdict {
        if let Optimizer::Acknowledging { process, task } = self.world.optimizers[usize::from(who)]
        {
            self.world.queue.remove(&(process, task));
        }
        self.optimizer_goes(who, Optimizer::Idle);
        Ok(())
    }
}
