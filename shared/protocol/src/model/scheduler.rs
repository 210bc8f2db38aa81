//! What a scheduler does: leases, the census (`census`), the sweep (protocols.md, sections 1 to 3).

mod census;

use std::time::Duration;

use icepress_model::{Epoch, TimestampMs};

use super::{
    actions::Step,
    mutations::Mutation,
    rows::{self, NOW, process_id, table_id},
    world::{File, Process, ProcessState, Row, SchedulerAt, Task, TaskState, Work},
};
use crate::{
    Conclusion, CoordinationError, Lease, NewProcess, NewTask, Payload, TableRow,
    invariants::{self, Verdict},
    transition,
};

pub(super) const TTL: Duration = Duration::from_secs(60);
pub(super) const GUARD: Duration = Duration::from_secs(30);

/// What a write under a lease came to.
enum Written {
    Accepted,
    Fenced,
}

/// Lets a refusal be a refusal; anything else is a fault of the code.
fn unless_fenced<T>(result: Result<T, CoordinationError>) -> Result<Option<T>, String> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(CoordinationError::Fenced(_)) => Ok(None),
        Err(other) => Err(other.to_string()),
    }
}

impl Step<'_> {
    pub(super) fn go(&mut self, who: u8, at: SchedulerAt) {
        self.world.schedulers[usize::from(who)].at = at;
    }

    pub(super) fn at(&self, who: u8) -> SchedulerAt {
        self.world.schedulers[usize::from(who)].at.clone()
    }

    /// The number in a scheduler's name.
    fn name_of(&self, who: u8) -> u8 {
        if self.size.one_name { 0 } else { who }
    }

    fn lease_of(&self, who: u8) -> Lease {
        let lease = self.world.schedulers[usize::from(who)].lease;
        rows::lease(lease.expect("it works under a lease"), self.name_of(who))
    }

    /// What happens after a write under a lease: the work goes on, or the lease was lost and it stops.
    fn after_write(&mut self, who: u8, written: Written, next: SchedulerAt) {
        match written {
            Written::Accepted => self.go(who, next),
            Written::Fenced => {
                self.go(who, SchedulerAt::Idle);
                self.world.schedulers[usize::from(who)].lease = None;
            }
        }
    }

    /// Whether the store accepts a write under this lease.
    fn is_leased(&self, lease: &Lease) -> bool {
        let bucket = u8::try_from(lease.bucket.0).expect("there are few buckets");
        self.is(Mutation::LeaseUnchecked)
            || transition::is_newest(&self.world.bucket_row(bucket), lease)
    }

    /// That a write which was accepted carried the newest epoch.
    fn check_accepted(&self, lease: &Lease) -> Verdict {
        let newest = self.world.buckets[lease.bucket.0 as usize].epoch;
        invariants::accepted_epoch(Epoch(u64::from(newest)), lease.epoch)
    }

    // --- leases ---

    pub(super) fn take_lease(&mut self, who: u8, bucket: u8, ended: bool) -> Verdict {
        let before = self.world.bucket_row(bucket);
        let now = if ended {
            NOW + GUARD + Duration::from_millis(1)
        } else {
            NOW + GUARD
        };
        let owner = rows::scheduler(self.name_of(who));
        let Some(mut after) = transition::take_lease(&before, &owner, now, TTL, GUARD) else {
            self.go(who, SchedulerAt::Idle);
            return Ok(());
        };
        invariants::lease_ends(&after, now, TTL)?;
        invariants::lease_respected(&before, now, GUARD)?;
        if self.is(Mutation::EpochReused) {
            after.epoch = before.epoch;
        }
        invariants::bucket_step(&before, &after)?;
        self.world.put_bucket(&after);
        let epoch = self.world.buckets[usize::from(bucket)].epoch;
        self.world.schedulers[usize::from(who)].lease = Some((bucket, epoch));
        Ok(())
    }

    pub(super) fn release(&mut self, who: u8) -> Verdict {
        let lease = self.lease_of(who);
        let bucket = u8::try_from(lease.bucket.0).expect("there are few buckets");
        let before = self.world.bucket_row(bucket);
        let released = transition::release_lease(&before, &lease, Some(NOW));
        if let Some(Some(after)) = unless_fenced(released)? {
            self.check_accepted(&lease)?;
            invariants::bucket_step(&before, &after)?;
            self.world.put_bucket(&after);
        }
        self.world.schedulers[usize::from(who)].lease = None;
        Ok(())
    }

    pub(super) fn look(&mut self, who: u8, table: u8) -> Verdict {
        let seen = self.world.rows[usize::from(table)].clone();
        let seen = seen.ok_or("a row that is due is there")?;
        // Only this of what was seen is asked for later: how often it was marked and for what, whether it failed, and for whom
        // it waits.
        let seen = Row {
            marks: seen.marks,
            seen_marks: match self.is(Mutation::FindingHeldAgainstSeenMarks) {
                true => seen.seen_marks,
                false => 0,
            },
            awaited: seen.awaited,
            due_location: seen.due_location,
            failing: seen.failing,
            active: seen.active,
            ..Row::default()
        };
        self.go(who, SchedulerAt::Looking { table, seen });
        Ok(())
    }

    /// Loads the table to evaluate it, or sees to the process that the row names.
    pub(super) fn tend(&mut self, who: u8, may_use_finding: bool) -> Verdict {
        let SchedulerAt::Looking { table, seen } = self.at(who) else {
            return Err("only what was looked at is tended".to_owned());
        };
        self.world.left.failures -= u8::from(!may_use_finding);
        let Some(id) = seen.active else {
            if self.begin(who, table, &seen)? {
                let next = match self.size.elsewhere {
                    true => self.evaluation_elsewhere(table, seen, may_use_finding),
                    false => self.evaluated(table, seen),
                };
                self.go(who, next);
            }
            return Ok(());
        };
        let next = match self.world.process(id) {
            Some(process) if process.open == 0 => self.commit_of_open_end(process, table, seen),
            Some(process) => {
                let tasks = (0..).zip(&process.tasks);
                let open = tasks.filter(|(_, task)| {
                    matches!(task.state, TaskState::Queued | TaskState::Running(_))
                });
                SchedulerAt::Sending {
                    process: id,
                    tasks: open.map(|(index, _)| index).collect(),
                    then: Some((table, seen)),
                }
            }
            None => SchedulerAt::Sending {
                process: id,
                tasks: Vec::new(),
                then: Some((table, seen)),
            },
        };
        self.go(who, next);
        Ok(())
    }

    /// The table loaded, and what is to be done about it.
    pub(super) fn evaluated(&self, table: u8, seen: Row) -> SchedulerAt {
        let entry = &self.world.catalog[usize::from(table)];
        let groups = match entry.exists {
            true => groups_to_rewrite(self.size.groups, &entry.files),
            false => Vec::new(),
        };
        SchedulerAt::Evaluated {
            table,
            known: seen.marks,
            seen,
            loaded: entry.exists.then_some(entry.location),
            groups,
        }
    }

    /// Notes that an evaluation begins; whether it may. Who holds the lease no more may still note it, where nobody has
    /// written the row under a newer epoch.
    fn begin(&mut self, who: u8, table: u8, seen: &Row) -> Result<bool, String> {
        let lease = self.lease_of(who);
        let before = self.world.table_row(table);
        let seen = self.world.as_table_row(table, seen);
        let Some(begun) = unless_fenced(transition::begin(before.as_ref(), &lease, &seen))? else {
            self.after_write(who, Written::Fenced, SchedulerAt::Idle);
            return Ok(false);
        };
        if let Some(after) = begun {
            invariants::table_step(before.as_ref(), &after)?;
            self.world.put_table(table, &after);
        }
        Ok(true)
    }

    pub(super) fn conclude_or_start(&mut self, who: u8) -> Verdict {
        let (table, seen, known, loaded, groups) = match self.at(who) {
            SchedulerAt::Evaluated {
                table,
                seen,
                known,
                loaded,
                groups,
            } => (table, seen, known, loaded, groups),
            SchedulerAt::Failing { table, seen } => {
                let conclusion = self.concluded(&seen, None, Some(NOW), true);
                return self.conclude(who, table, &seen, &conclusion);
            }
            _ => return Err("only what was evaluated is concluded".to_owned()),
        };
        let evaluated = match loaded {
            Some(loaded) if !groups.is_empty() => {
                let conclusion = self.concluded(&seen, Some(loaded), None, seen.failing);
                let seen = Row {
                    marks: known,
                    ..seen
                };
                let beginning = Beginning {
                    conclusion,
                    base: Some(loaded),
                    work: Work::Rewrites,
                    groups,
                };
                return self.start(who, table, &seen, beginning);
            }
            Some(loaded) => Some(loaded),
            None if seen.due_location.is_none() => return self.forget(who, table, &seen),
            None => seen.due_location,
        };
        let conclusion = self.concluded(&seen, evaluated, None, false);
        self.conclude(who, table, &seen, &conclusion)
    }

    /// The table could not be loaded: it is tried again after a while.
    pub(super) fn fail_to_load(&mut self, who: u8) -> Verdict {
        let SchedulerAt::Evaluated { table, seen, .. } = self.at(who) else {
            return Err("only what was evaluated is concluded".to_owned());
        };
        self.world.left.failures -= 1;
        let conclusion = self.concluded(&seen, None, Some(NOW), true);
        self.conclude(who, table, &seen, &conclusion)
    }

    /// The table is left for later: nothing is concluded but that.
    pub(super) fn keep_waiting(&mut self, who: u8) -> Verdict {
        let SchedulerAt::Looking { table, seen } = self.at(who) else {
            return Err("only what was looked at is kept waiting".to_owned());
        };
        self.conclude(who, table, &seen, &later(&seen))
    }

    /// What is concluded of a table takes the place of what it waited for.
    fn concluded(
        &self,
        seen: &Row,
        evaluated: Option<u8>,
        next_due_at: Option<TimestampMs>,
        failing: bool,
    ) -> Conclusion {
        let awaited = seen.awaited.filter(|_| self.is(Mutation::FindingKept));
        conclusion(evaluated, next_due_at, failing, awaited)
    }

    fn conclude(&mut self, who: u8, table: u8, seen: &Row, conclusion: &Conclusion) -> Verdict {
        let lease = self.lease_of(who);
        let before = self.row_to_plan(table);
        let seen = self.world.as_table_row(table, seen);
        let concluded = if self.is_leased(&lease) {
            unless_fenced(transition::conclude(
                before.as_ref(),
                &lease,
                &seen,
                conclusion,
            ))?
        } else {
            None
        };
        let written = match concluded {
            Some(mut after) => {
                self.check_accepted(&lease)?;
                if self.is(Mutation::MarkClearedByConclusion) && after.active_process.is_none() {
                    after.due_at = conclusion.next_due_at;
                    after.due_location = None;
                }
                invariants::table_step(before.as_ref(), &after)?;
                self.world.put_table(table, &after);
                Written::Accepted
            }
            None => Written::Fenced,
        };
        self.after_write(who, written, SchedulerAt::Idle);
        Ok(())
    }

    /// The table's row as a write of the planning side reads it: without a process whose own row is gone.
    fn row_to_plan(&self, table: u8) -> Option<TableRow> {
        let row = self.world.table_row(table)?;
        let active = self.world.rows[usize::from(table)]
            .as_ref()
            .and_then(|row| row.active);
        Some(match active {
            Some(id) if self.world.process(id).is_none() => transition::without_lost_process(&row),
            _ => row,
        })
    }

    fn forget(&mut self, who: u8, table: u8, seen: &Row) -> Verdict {
        let lease = self.lease_of(who);
        let before = self.row_to_plan(table);
        let seen = self.world.as_table_row(table, seen);
        let mut written = Written::Fenced;
        if self.is_leased(&lease) {
            written = Written::Accepted;
            if let Some(row) = &before {
                let may = if self.is(Mutation::RowForgottenUnseen) {
                    Some(row.active_process.is_none())
                } else {
                    unless_fenced(transition::may_forget(row, &lease, &seen))?
                };
                match may {
                    Some(true) => {
                        self.check_accepted(&lease)?;
                        invariants::row_may_go(row, &seen)?;
                        self.world.rows[usize::from(table)] = None;
                    }
                    Some(false) => {}
                    None => written = Written::Fenced,
                }
            }
        }
        self.after_write(who, written, SchedulerAt::Idle);
        Ok(())
    }

    pub(super) fn start(
        &mut self,
        who: u8,
        table: u8,
        seen: &Row,
        beginning: Beginning,
    ) -> Verdict {
        let Beginning {
            conclusion,
            base,
            work,
            groups,
        } = beginning;
        let lease = self.lease_of(who);
        if !self.is_leased(&lease) {
            self.after_write(who, Written::Fenced, SchedulerAt::Idle);
            return Ok(());
        }
        let before = self.row_to_plan(table);
        let active = before.as_ref().and_then(|row| row.active_process.as_ref());
        if active.is_some() {
            self.after_write(who, Written::Accepted, SchedulerAt::Idle);
            return Ok(());
        }
        let id = self.world.fresh_process();
        let new_process = NewProcess {
            process: process_id(id),
            kind: icepress_model::ProcessKind::Rewrite,
            table: table_id(table),
            created_at: NOW,
            header: String::new(),
            check_at: NOW,
            reservation: None,
            conclusion,
        };
        let tasks: Vec<NewTask> = groups
            .iter()
            .map(|_| NewTask {
                payload: Payload::Inline(String::new()),
            })
            .collect();
        let seen = self.world.as_table_row(table, seen);
        let started = transition::start(before.as_ref(), &lease, &seen, &new_process);
        let Some(mut after) = unless_fenced(started)? else {
            self.after_write(who, Written::Fenced, SchedulerAt::Idle);
            return Ok(());
        };
        self.check_accepted(&lease)?;
        let unmarked = before.as_ref().is_some_and(|row| row.marks == seen.marks);
        let clears = self.is(Mutation::MarkClearedByStart)
            || self.is(Mutation::MarkClearedByHandOver) && unmarked && work != Work::Rewrites;
        if clears {
            after.due_location = None;
            after.marked_at = None;
        }
        invariants::table_step(before.as_ref(), &after)?;
        self.world.put_table(table, &after);

        let process_row = transition::new_process(&lease, &new_process, &tasks);
        let task_rows = transition::new_tasks(&process_row, &tasks);
        self.world.processes.push(Process {
            id,
            table,
            epoch: epoch_of(&lease),
            base,
            work,
            state: ProcessState::Running,
            claims: 0,
            open: 0,
            tasks: groups
                .iter()
                .map(|inputs| Task {
                    attempt: 0,
                    state: TaskState::Queued,
                    inputs: inputs.clone(),
                })
                .collect(),
        });
        self.world.put_process(&process_row);
        for row in &task_rows {
            self.world.put_task(row);
        }
        let tasks = (0..).zip(&groups).map(|(index, _)| index).collect();
        self.go(
            who,
            SchedulerAt::Sending {
                process: id,
                tasks,
                then: None,
            },
        );
        Ok(())
    }

    /// Sends all messages at once; the first of them may be lost.
    pub(super) fn send(&mut self, who: u8, all_arrive: bool) -> Verdict {
        let SchedulerAt::Sending {
            process,
            tasks,
            then,
        } = self.at(who)
        else {
            return Err("only what was planned is sent".to_owned());
        };
        let lost = usize::from(!all_arrive);
        self.world.left.lost_messages -= u8::from(!all_arrive);
        for task in &tasks[lost..] {
            self.world.queue.insert((process, *task));
        }
        let next = match then {
            None => SchedulerAt::Idle,
            Some(_) => SchedulerAt::Sending {
                process,
                tasks: Vec::new(),
                then,
            },
        };
        self.go(who, next);
        Ok(())
    }

    /// After seeing to a process: notes when to look again, unless the process has ended meanwhile.
    pub(super) fn look_again(&mut self, who: u8) -> Verdict {
        let (table, seen, committed) = match self.at(who) {
            SchedulerAt::Sending {
                then: Some((table, seen)),
                ..
            } => (table, seen, false),
            SchedulerAt::Committing { table, seen, .. } => (table, seen, true),
            _ => return Err("nothing was seen to".to_owned()),
        };
        let row = &self.world.rows[usize::from(table)];
        if committed && row.as_ref().is_none_or(|row| row.active.is_none()) {
            self.go(who, SchedulerAt::Idle);
            return Ok(());
        }
        self.conclude(who, table, &seen, &later(&seen))
    }
}

/// A process to be, with what is concluded about its table at the same time.
pub(super) struct Beginning {
    pub(super) conclusion: Conclusion,
    pub(super) base: Option<u8>,
    pub(super) work: Work,
    /// The inputs of each task.
    pub(super) groups: Vec<Vec<File>>,
}

/// That the table is looked at later: whatever it waited for it waits for still.
fn later(seen: &Row) -> Conclusion {
    conclusion(None, Some(NOW), seen.failing, seen.awaited)
}

fn epoch_of(lease: &Lease) -> u8 {
    u8::try_from(lease.epoch.get()).expect("epochs are renumbered")
}

pub(super) fn conclusion(
    evaluated: Option<u8>,
    next_due_at: Option<TimestampMs>,
    failing: bool,
    awaited: Option<u8>,
) -> Conclusion {
    Conclusion {
        evaluated_location: evaluated.map(rows::location),
        text: rows::awaiting(awaited),
        next_due_at,
        failures: u32::from(failing),
    }
}

/// The files of each group that is not one file of ours. What another writer wrote well is left alone.
pub(super) fn groups_to_rewrite(groups: u8, files: &[File]) -> Vec<Vec<File>> {
    (0..groups)
        .map(|group| {
            let of_group = |file: &&File| {
                let first = u8::try_from(file.rows().trailing_zeros()).expect("eight rows");
                let is_well = matches!(file, File::Output { .. }) && first >= groups;
                first % groups == group && !is_well
            };
            files.iter().filter(of_group).copied().collect()
        })
        .filter(|files: &Vec<File>| !matches!(files[..], [] | [File::Output { .. }]))
        .collect()
}
