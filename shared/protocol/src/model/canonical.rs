//! Renumbering, so that states which differ in names only are one.
//!
//! * Epochs, attempts, claims: only their order counts, and that 0 is none. Ranks instead.
//! * Marks: their order counts, and whether two follow one another directly. Ranks with gaps of at most two.
//! * Processes and states of tables: only whether two are the same. Numbers in the order in which they are met.
//! * Processes that have ended and that nobody knows of any more: gone, as their retention ends.
//! * Schedulers among themselves, and optimizers: nobody cares who is who. Sorted.

use super::{
    elsewhere::each_file_found,
    world::{
        Author, Commit, CommitAt, File, Finding, Look, News, Optimizer, Outcome, ProcessState, Row,
        SchedulerAt, Seen, Size, TaskState, Work, World,
    },
};

/// Gives numbers their ranks: 0 stays 0, and of two that follow one another the later is at most `widest` higher.
fn ranks(numbers: &mut Vec<u8>, widest: u8) -> [u8; 64] {
    numbers.push(0);
    numbers.sort_unstable();
    numbers.dedup();
    let mut ranks = [0; 64];
    for pair in numbers.windows(2) {
        let gap = (pair[1] - pair[0]).min(widest);
        ranks[usize::from(pair[1])] = ranks[usize::from(pair[0])] + gap;
    }
    ranks
}

/// Gives numbers new ones in the order in which they are met.
struct Renamed {
    names: [u8; 64],
    next: u8,
}

impl Renamed {
    fn new() -> Self {
        Self {
            names: [u8::MAX; 64],
            next: 0,
        }
    }

    fn rename(&mut self, number: &mut u8) {
        let name = &mut self.names[usize::from(*number)];
        if *name == u8::MAX {
            *name = self.next;
            self.next += 1;
        }
        *number = *name;
    }
}

impl World {
    pub(super) fn make_canonical(&mut self, size: &Size) {
        if size.elsewhere {
            self.spare_messages_of_ended_processes();
        }
        self.sort_workers(size.one_name);
        self.drop_forgotten_processes();
        self.rank_epochs();
        self.rank_attempts_and_claims();
        self.rank_marks();
        let mut processes = Renamed::new();
        self.each_process(&mut |process| processes.rename(process));
        self.processes.sort_unstable_by_key(|process| process.id);
        let mut locations = Renamed::new();
        self.each_location(&mut |location| locations.rename(location));
        for entry in &mut self.catalog {
            entry.files.sort_unstable();
            entry.ours.sort_unstable();
        }
        self.in_flight.sort_unstable();
    }

    fn sort_workers(&mut self, one_name: bool) {
        let mut order: Vec<u8> = (0..).take(self.schedulers.len()).collect();
        order.sort_by_key(|who| {
            let owns: Vec<bool> = self
                .buckets
                .iter()
                .map(|bucket| bucket.owner == Some(*who))
                .collect();
            (self.schedulers[usize::from(*who)].clone(), owns)
        });
        let new_scheduler = inverse(&order);
        self.schedulers = order
            .iter()
            .map(|who| self.schedulers[usize::from(*who)].clone())
            .collect();
        for bucket in self.buckets.iter_mut().filter(|_| !one_name) {
            bucket.owner = bucket.owner.map(|who| new_scheduler[usize::from(who)]);
        }

        let mut order: Vec<u8> = (0..).take(self.optimizers.len()).collect();
        order.sort_by_key(|who| {
            let mut holds = Vec::new();
            for process in &self.processes {
                holds.push(process.state == ProcessState::Committing(*who));
                for task in &process.tasks {
                    holds.push(task.state == TaskState::Running(*who));
                }
            }
            (self.optimizers[usize::from(*who)].clone(), holds)
        });
        let new_optimizer = inverse(&order);
        self.optimizers = order
            .iter()
            .map(|who| self.optimizers[usize::from(*who)].clone())
            .collect();
        let optimizers = self.optimizers.len();
        for process in &mut self.processes {
            if let ProcessState::Committing(who) = &mut process.state {
                *who = match usize::from(*who) {
                    optimizer if optimizer < optimizers => new_optimizer[optimizer],
                    above => {
                        let scheduler = new_scheduler[above - optimizers];
                        scheduler + u8::try_from(optimizers).expect("there are few")
                    }
                };
            }
            for task in &mut process.tasks {
                if let TaskState::Running(who) = &mut task.state {
                    *who = new_optimizer[usize::from(*who)];
                }
            }
        }
    }

    /// A table that waits for a conclusion that will never be drawn waits for none.
    fn await_only_conclusions(&mut self) {
        let mut comes_to_none = [false; 64];
        for process in &self.processes {
            comes_to_none[usize::from(process.id)] = match process.state {
                ProcessState::Ended(outcome) => outcome != Outcome::Evaluated,
                ProcessState::Running | ProcessState::Committing(_) => false,
            };
        }
        self.each_row(&mut |_, row| {
            row.awaited
                .take_if(|process| comes_to_none[usize::from(*process)]);
        });
    }

    fn drop_forgotten_processes(&mut self) {
        self.await_only_conclusions();
        let mut known = [false; 64];
        self.each_row(&mut |_, row| {
            for process in [row.active, row.awaited].into_iter().flatten() {
                known[usize::from(process)] = true;
            }
        });
        for (process, _) in &self.queue {
            known[usize::from(*process)] = true;
        }
        for swap in &self.in_flight {
            known[usize::from(swap.process)] = true;
        }
        self.each_process_at_work(&mut |process| known[usize::from(*process)] = true);
        self.processes.retain(|process| {
            !matches!(process.state, ProcessState::Ended(_)) || known[usize::from(process.id)]
        });
        let stands: Vec<u8> = self.processes.iter().map(|process| process.id).collect();
        let forget = |file: &mut File| {
            if let File::Output { by, .. } = file
                && by.is_some_and(|by| !stands.contains(&by.process))
            {
                *by = None;
            }
        };
        for entry in &mut self.catalog {
            entry.ours.retain(|snapshot| stands.contains(&snapshot.by));
            entry.files.iter_mut().for_each(forget);
            // Nothing will ever refer to what a forgotten process wrote and did not commit.
            entry.deleted.retain(|file| match file {
                File::Output { by, .. } => by.is_some_and(|by| stands.contains(&by.process)),
                File::Raw(_) => true,
            });
        }
        for process in &mut self.processes {
            for task in &mut process.tasks {
                task.inputs.iter_mut().for_each(forget);
                task.inputs.sort_unstable();
            }
            each_file_found(&mut process.work, &mut &forget);
        }
        self.forget_what_ended_processes_did();
        for scheduler in &mut self.schedulers {
            if let SchedulerAt::Evaluated { groups, .. } = &mut scheduler.at {
                groups.iter_mut().flatten().for_each(forget);
            }
        }
    }

    /// Of a process that has ended, and that nobody is about to commit, only the end counts.
    fn forget_what_ended_processes_did(&mut self) {
        let mut at_work = [false; 64];
        self.each_commit(&mut |commit| at_work[usize::from(commit.process)] = true);
        for swap in &self.in_flight {
            at_work[usize::from(swap.process)] = true;
        }
        let mut awaited = [false; 64];
        self.each_row(&mut |_, row| {
            if let Some(process) = row.awaited {
                awaited[usize::from(process)] = true;
            }
        });
        for process in &mut self.processes {
            let ended = matches!(process.state, ProcessState::Ended(_));
            if let Work::Looks(look) = &mut process.work
                && ended
            {
                let is_of_use = process.state == ProcessState::Ended(Outcome::Evaluated)
                    && awaited[usize::from(process.id)];
                *look = match is_of_use {
                    true => Look {
                        failing: false,
                        ..std::mem::take(look)
                    },
                    false => Look::default(),
                };
            }
            if ended && !at_work[usize::from(process.id)] {
                process.base = None;
                process.claims = 1;
                for task in &mut process.tasks {
                    task.inputs.clear();
                }
            }
        }
    }

    fn rank_epochs(&mut self) {
        let buckets = u8::try_from(self.buckets.len()).expect("there are few");
        for bucket in 0..buckets {
            let mut epochs = Vec::new();
            self.each_epoch(bucket, &mut |epoch| epochs.push(*epoch));
            let ranks = ranks(&mut epochs, 1);
            self.each_epoch(bucket, &mut |epoch| *epoch = ranks[usize::from(*epoch)]);
        }
    }

    fn each_epoch(&mut self, bucket: u8, visit: &mut impl FnMut(&mut u8)) {
        visit(&mut self.buckets[usize::from(bucket)].epoch);
        if bucket == 0 {
            visit(&mut self.digest_epoch);
        }
        for scheduler in &mut self.schedulers {
            if let Some((held, epoch)) = &mut scheduler.lease
                && *held == bucket
            {
                visit(epoch);
            }
        }
        let tables = u8::try_from(self.rows.len()).expect("there are few");
        let tables: Vec<u8> = (0..tables)
            .filter(|table| self.bucket_of(*table) == bucket)
            .collect();
        self.each_row(&mut |table, row| {
            if tables.contains(&table) {
                visit(&mut row.epoch);
            }
        });
        for process in &mut self.processes {
            if tables.contains(&process.table) {
                visit(&mut process.epoch);
            }
        }
    }

    /// Every row of a table, the stored one and those that schedulers have seen.
    fn each_row(&mut self, visit: &mut impl FnMut(u8, &mut Row)) {
        for (table, row) in (0..).zip(&mut self.rows) {
            if let Some(row) = row {
                visit(table, row);
            }
        }
        for scheduler in &mut self.schedulers {
            match &mut scheduler.at {
                SchedulerAt::Looking { table, seen }
                | SchedulerAt::HandingOver { table, seen }
                | SchedulerAt::Failing { table, seen }
                | SchedulerAt::Evaluated { table, seen, .. }
                | SchedulerAt::Committing { table, seen, .. }
                | SchedulerAt::Sending {
                    then: Some((table, seen)),
                    ..
                } => visit(*table, seen),
                _ => {}
            }
        }
    }

    fn rank_marks(&mut self) {
        for table in 0..u8::try_from(self.rows.len()).expect("there are few") {
            let mut marks = Vec::new();
            let of_table = |this: &mut Self, visit: &mut dyn FnMut(&mut u8)| {
                this.each_row(&mut |other, row| {
                    if other == table {
                        visit(&mut row.marks);
                        visit(&mut row.seen_marks);
                    }
                });
                this.each_marks_known(table, visit);
            };
            of_table(self, &mut |number| marks.push(*number));
            let ranks = ranks(&mut marks, 2);
            of_table(self, &mut |number| *number = ranks[usize::from(*number)]);
        }
    }

    /// How many marks of a table those knew of who loaded it, or were asked to.
    fn each_marks_known(&mut self, table: u8, visit: &mut dyn FnMut(&mut u8)) {
        for process in &mut self.processes {
            if let Work::Looks(look) = &mut process.work
                && process.table == table
            {
                visit(&mut look.marks);
            }
        }
        for scheduler in &mut self.schedulers {
            if let SchedulerAt::Evaluated {
                table: other,
                known,
                ..
            } = &mut scheduler.at
                && *other == table
            {
                visit(known);
            }
        }
    }

    fn rank_attempts_and_claims(&mut self) {
        let tasks: Vec<(u8, u8)> = self
            .processes
            .iter()
            .map(|process| (process.id, u8::try_from(process.tasks.len()).expect("few")))
            .collect();
        for (process, tasks) in tasks {
            for task in 0..tasks {
                let mut attempts = Vec::new();
                self.each_attempt(process, task, &mut |attempt| attempts.push(*attempt));
                let ranks = ranks(&mut attempts, 1);
                self.each_attempt(process, task, &mut |attempt| {
                    *attempt = ranks[usize::from(*attempt)];
                });
            }
            let mut claims = Vec::new();
            self.each_claim(process, &mut |claim| claims.push(*claim));
            let ranks = ranks(&mut claims, 1);
            self.each_claim(process, &mut |claim| *claim = ranks[usize::from(*claim)]);
        }
    }

    fn each_attempt(&mut self, process: u8, task: u8, visit: &mut impl FnMut(&mut u8)) {
        if let Some(row) = self.process_mut(process) {
            let row = &mut row.tasks[usize::from(task)];
            visit(&mut row.attempt);
            if let TaskState::Done(attempt) = &mut row.state {
                visit(attempt);
            }
        }
        for optimizer in &mut self.optimizers {
            if let Optimizer::Working {
                process: of,
                task: index,
                attempt,
            } = optimizer
                && (*of, *index) == (process, task)
            {
                visit(attempt);
            }
        }
        self.each_author(&mut |by| {
            if (by.process, by.task) == (process, task) {
                visit(&mut by.attempt);
            }
        });
    }

    fn each_claim(&mut self, process: u8, visit: &mut impl FnMut(&mut u8)) {
        if let Some(row) = self.process_mut(process) {
            visit(&mut row.claims);
        }
        self.each_commit(&mut |commit| {
            if commit.process == process {
                visit(&mut commit.claim);
            }
        });
    }

    fn each_commit(&mut self, visit: &mut impl FnMut(&mut Commit)) {
        for scheduler in &mut self.schedulers {
            if let SchedulerAt::Committing { commit, .. } = &mut scheduler.at {
                visit(commit);
            }
        }
        for optimizer in &mut self.optimizers {
            if let Optimizer::Committing { commit, .. } = optimizer {
                visit(commit);
            }
        }
    }

    /// Every file that is named anywhere.
    fn each_file(&mut self, visit: &mut impl FnMut(&mut File)) {
        for entry in &mut self.catalog {
            entry.files.iter_mut().for_each(&mut *visit);
            let mut deleted: Vec<File> = entry.deleted.iter().copied().collect();
            deleted.iter_mut().for_each(&mut *visit);
            entry.deleted = deleted.into_iter().collect();
        }
        for process in &mut self.processes {
            for task in &mut process.tasks {
                task.inputs.iter_mut().for_each(&mut *visit);
            }
            each_file_found(&mut process.work, visit);
        }
        for scheduler in &mut self.schedulers {
            if let SchedulerAt::Evaluated { groups, .. } = &mut scheduler.at {
                groups.iter_mut().flatten().for_each(&mut *visit);
            }
        }
        self.each_commit(&mut |commit| {
            if let CommitAt::CleaningUp { unused, .. } = &mut commit.at {
                unused.iter_mut().for_each(&mut *visit);
            }
        });
    }

    fn each_author(&mut self, visit: &mut impl FnMut(&mut Author)) {
        self.each_file(&mut |file| {
            if let File::Output { by: Some(by), .. } = file {
                visit(by);
            }
        });
    }

    /// Every process that somebody is at work on.
    fn each_process_at_work(&mut self, visit: &mut impl FnMut(&mut u8)) {
        for scheduler in &mut self.schedulers {
            match &mut scheduler.at {
                SchedulerAt::Sending { process, .. } => visit(process),
                SchedulerAt::Committing { commit, .. } => visit(&mut commit.process),
                _ => {}
            }
        }
        for optimizer in &mut self.optimizers {
            match optimizer {
                Optimizer::Idle => {}
                Optimizer::Working { process, .. } | Optimizer::Acknowledging { process, .. } => {
                    visit(process);
                }
                Optimizer::Committing { commit, .. } => visit(&mut commit.process),
            }
        }
    }

    fn each_process(&mut self, visit: &mut impl FnMut(&mut u8)) {
        for process in &mut self.processes {
            visit(&mut process.id);
        }
        self.each_row(&mut |_, row| {
            let named = [&mut row.active, &mut row.awaited];
            named.into_iter().flatten().for_each(&mut *visit);
        });
        self.queue = self
            .queue
            .iter()
            .map(|(process, task)| {
                let mut process = *process;
                visit(&mut process);
                (process, *task)
            })
            .collect();
        for swap in &mut self.in_flight {
            visit(&mut swap.process);
        }
        for entry in &mut self.catalog {
            for snapshot in &mut entry.ours {
                visit(&mut snapshot.by);
            }
        }
        self.each_process_at_work(visit);
        self.each_author(&mut |by| visit(&mut by.process));
    }

    /// Every state of a table that is named anywhere.
    pub(super) fn each_location(&mut self, visit: &mut impl FnMut(&mut u8)) {
        let visit_outcome = |outcome: &mut Outcome, visit: &mut dyn FnMut(&mut u8)| {
            if let Outcome::Committed(at) | Outcome::Partly(at) | Outcome::Maintained(Some(at)) =
                outcome
            {
                visit(at);
            }
        };
        for entry in &mut self.catalog {
            visit(&mut entry.location);
            for snapshot in &mut entry.ours {
                visit(&mut snapshot.made);
            }
        }
        visit_digest(&mut self.digest, visit);
        self.each_row(&mut |_, row| {
            let places = [
                &mut row.due_location,
                &mut row.evaluated,
                &mut row.committed,
            ];
            places.into_iter().flatten().for_each(&mut *visit);
        });
        for process in &mut self.processes {
            process.base.iter_mut().for_each(&mut *visit);
            if let Work::Looks(Look {
                finding: Some(Finding::Plan { loaded, .. }),
                ..
            }) = &mut process.work
            {
                visit(loaded);
            }
            if let ProcessState::Ended(outcome) = &mut process.state {
                visit_outcome(outcome, visit);
            }
        }
        for swap in &mut self.in_flight {
            visit(&mut swap.base);
        }
        for scheduler in &mut self.schedulers {
            match &mut scheduler.at {
                SchedulerAt::Listed(listed) => listed.iter_mut().flatten().for_each(&mut *visit),
                SchedulerAt::Found {
                    news,
                    compared_with,
                } => {
                    visit_news(news, visit);
                    visit_digest(compared_with, visit);
                }
                SchedulerAt::Recording(news) => visit_news(news, visit),
                SchedulerAt::Evaluated {
                    loaded: Some(loaded),
                    ..
                } => visit(loaded),
                _ => {}
            }
        }
        self.each_commit(&mut |commit| match &mut commit.at {
            CommitAt::Validated { loaded, .. } => visit(loaded),
            CommitAt::Unknown { tried_on } => visit(tried_on),
            CommitAt::CleaningUp { ending, .. } | CommitAt::Ending(ending) => {
                visit_outcome(&mut ending.outcome, visit);
            }
            _ => {}
        });
    }
}

fn visit_digest(digest: &mut [Seen], visit: &mut impl FnMut(&mut u8)) {
    for seen in digest {
        if let Seen::At(at) = seen {
            visit(at);
        }
    }
}

fn visit_news(news: &mut News, visit: &mut impl FnMut(&mut u8)) {
    news.marks.iter_mut().for_each(|(_, at)| visit(at));
    if let Some(digest) = &mut news.digest {
        visit_digest(digest, visit);
    }
}

fn inverse(order: &[u8]) -> Vec<u8> {
    let mut inverse = vec![0; order.len()];
    for (new, old) in (0..).zip(order) {
        inverse[usize::from(*old)] = new;
    }
    inverse
}
