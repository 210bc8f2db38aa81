//! What is done with a process: its tasks are claimed, reported and given back, its commit is claimed, and it ends.

use icepress_model::{Attempt, Lessons, ProcessId, ProcessOutcome, SnapshotId, TaskId};

use super::{ModelTask, Run, TTL, fenced, location, worker};
use crate::{ClaimOutcome, GivenBack, Payload, ReportOutcome};

impl Run {
    pub(super) async fn claim_task(&mut self, who: usize, which: usize, index: u32) {
        let mut of_table = self
            .processes
            .iter()
            .filter(|(_, process)| process.table == which);
        let Some((name, _)) = of_table.next_back() else {
            return;
        };
        let id = TaskId {
            process: ProcessId(name.clone()),
            index,
        };
        let (now, deadline) = (self.now, self.now + TTL);
        let outcome = self
            .store
            .claim_task(&id, &worker(who), now, deadline)
            .await
            .unwrap();
        let process = self.processes.get_mut(id.process.as_str()).unwrap();
        let Some((attempt, state)) = process.tasks.get_mut(index as usize) else {
            return assert_eq!(outcome, ClaimOutcome::Gone);
        };
        match *state {
            ModelTask::Finished => assert_eq!(outcome, ClaimOutcome::Finished),
            ModelTask::Running(until) if until >= now => {
                assert_eq!(outcome, ClaimOutcome::Held { until });
            }
            _ => {
                *attempt += 1;
                *state = ModelTask::Running(deadline);
                let ClaimOutcome::Claimed(row) = outcome else {
                    panic!("{outcome:?}");
                };
                assert_eq!(row.attempt, Attempt(*attempt));
                self.memories[who].claims.push((id, row.attempt));
            }
        }
    }

    /// One of the claims that a worker ever had.
    fn claim(&self, who: usize, choice: usize) -> Option<(TaskId, Attempt)> {
        let claims = &self.memories[who].claims;
        claims
            .iter()
            .rev()
            .nth(choice.min(claims.len().saturating_sub(1)))
            .cloned()
    }

    fn model_task(&mut self, task: &TaskId) -> &mut (u32, ModelTask) {
        let process = self.processes.get_mut(task.process.as_str()).unwrap();
        &mut process.tasks[task.index as usize]
    }

    fn open_tasks(&self, process: &ProcessId) -> u32 {
        let tasks = &self.processes[process.as_str()].tasks;
        let open = tasks.iter().filter(|task| task.1 != ModelTask::Finished);
        u32::try_from(open.count()).unwrap()
    }

    pub(super) async fn report_task(&mut self, who: usize, choice: usize) {
        let Some((task, attempt)) = self.claim(who, choice) else {
            return;
        };
        let outcome = self
            .store
            .report_task(&task, attempt, Ok(Payload::Inline("{}".to_owned())))
            .await
            .unwrap();
        let (newest, state) = self.model_task(&task);
        let at_work = *newest == attempt.get() && matches!(state, ModelTask::Running(_));
        if !at_work {
            return assert_eq!(outcome, ReportOutcome::Stale);
        }
        *state = ModelTask::Finished;
        let open_tasks = self.open_tasks(&task.process);
        assert_eq!(outcome, ReportOutcome::Accepted { open_tasks });
    }

    pub(super) async fn return_task(&mut self, who: usize, choice: usize) {
        let Some((task, attempt)) = self.claim(who, choice) else {
            return;
        };
        let why = match choice {
            0 => GivenBack::Waits,
            _ => GivenBack::Tried,
        };
        let outcome = self.store.return_task(&task, attempt, why).await.unwrap();
        let (newest, state) = self.model_task(&task);
        if *newest != attempt.get() || *state == ModelTask::Finished {
            return assert_eq!(outcome, ReportOutcome::Stale);
        }
        *state = ModelTask::Queued;
        let open_tasks = self.open_tasks(&task.process);
        assert_eq!(outcome, ReportOutcome::Accepted { open_tasks });
    }

    pub(super) async fn claim_commit(&mut self, who: usize, which: usize) {
        let mut of_table = self
            .processes
            .iter()
            .filter(|(_, process)| process.table == which);
        let Some((name, _)) = of_table.next_back() else {
            return;
        };
        let id = ProcessId(name.clone());
        let (now, deadline) = (self.now, self.now + TTL);
        let claim = self
            .store
            .claim_commit(&id, &worker(who), now, deadline)
            .await
            .unwrap();
        let open = self.open_tasks(&id);
        let process = self.processes.get_mut(id.as_str()).unwrap();
        let free = process.held_until.is_none_or(|until| until < now);
        assert_eq!(claim.is_some(), free && open == 0 && !process.ended);
        if let Some(claim) = claim {
            process.claims += 1;
            process.held_until = Some(deadline);
            assert_eq!(claim.claim, process.claims);
            self.memories[who].commit = Some(claim);
        }
    }

    pub(super) async fn give_back_commit(&mut self, who: usize, seconds: u64) {
        let Some(claim) = self.memories[who].commit.clone() else {
            return;
        };
        let look_at = self.after(seconds);
        let why = match seconds % 2 {
            0 => GivenBack::Waits,
            _ => GivenBack::Tried,
        };
        let given_back = fenced(self.store.give_back_commit(&claim, why, look_at).await);
        let name = claim.process.process.as_str();
        let process = self.processes.get_mut(name).unwrap();
        // Its claim is kept in mind: giving it back twice is harmless, and what is done under it afterwards is refused.
        let newest = !process.ended && process.claims == claim.claim;
        assert_eq!(given_back.is_some(), newest);
        if newest {
            process.held_until = None;
        }
    }

    pub(super) async fn end(&mut self, who: usize, committed: Option<u8>) {
        let Some(claim) = self.memories[who].commit.clone() else {
            return;
        };
        let name = claim.process.process.as_str().to_owned();
        let state = committed.map(location);
        let outcome = match &state {
            Some(location) => ProcessOutcome::Committed {
                location: location.clone(),
                snapshot_id: SnapshotId(1),
                lessons: Lessons::default(),
            },
            None => ProcessOutcome::Failed {
                failures: vec![],
                lessons: Lessons::default(),
            },
        };
        let process = &self.processes[&name];
        // A repetition of the very same end is answered like the first; this test never repeats one.
        let held = process.claims == claim.claim && process.held_until.is_some();
        let allowed = !process.ended && held;
        let ended = fenced(
            self.store
                .end_process(&claim, &outcome, state.as_ref(), None, 0)
                .await,
        );
        assert_eq!(ended.is_some(), allowed);
        self.memories[who].commit = None;
        if allowed {
            let process = self.processes.get_mut(&name).unwrap();
            process.ended = true;
            let model = &mut self.tables[process.table];
            model.active = None;
            model.mentioned.extend(committed);
            // The one mark that names our own commit needs no answer.
            let row = self.before.tables.get(&format!("t{}", process.table));
            let ours = row.is_some_and(|row| row.due_location == state && state.is_some());
            if ours && model.marks == model.answered + 1 {
                model.answered = model.marks;
            }
        }
    }
}
