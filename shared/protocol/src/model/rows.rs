//! The state's rows as the stores' rows, and back: so that the model's steps are those of `transition`.
//!
//! Every moment is [`NOW`]: what is held, is held until then, and whoever asks chooses a time before or after.

use icepress_model::{
    Attempt, BucketId, CatalogName, Epoch, Generation, Lessons, MetadataLocation, Namespace,
    ProcessId, ProcessKind, ProcessOutcome, RewriteFailure, RewriteFailureKind, SnapshotId,
    TableId, TaskId, TimestampMs, WorkerId,
};

use super::world::{Bucket, Outcome, Process, ProcessState, Row, Task, TaskState, World};
use crate::{BucketRow, Home, Lease, Payload, ProcessRow, TableRow, TaskRow};

/// When everything that is held ends.
pub(super) const NOW: TimestampMs = TimestampMs(1_000_000);

/// The number of buckets never changes here: `layout::model` is about that.
pub(super) const LAYOUT: Generation = Generation(0);

pub(super) fn number_of(text: &str) -> u8 {
    text[1..].parse().expect("a letter and a small number")
}

pub(super) fn scheduler(number: u8) -> WorkerId {
    WorkerId(format!("s{number}"))
}

/// Whoever works on a task or a commit: optimizers, and above them schedulers that commit.
pub(super) fn worker(number: u8) -> WorkerId {
    WorkerId(format!("w{number}"))
}

pub(super) fn location(number: u8) -> MetadataLocation {
    MetadataLocation(format!("m{number}"))
}

pub(super) fn process_id(number: u8) -> ProcessId {
    ProcessId(format!("p{number}"))
}

pub(super) fn table_id(number: u8) -> TableId {
    TableId {
        catalog: CatalogName(String::new()),
        namespace: Namespace(Vec::new()),
        name: format!("t{number}"),
    }
}

/// What a conclusion says of whose conclusion the table waits for.
pub(super) fn awaiting(process: Option<u8>) -> String {
    process.map_or_else(String::new, |process| process_id(process).to_string())
}

fn small(number: impl TryInto<u8>) -> u8 {
    number.try_into().ok().expect("a small number")
}

pub(super) fn lease((bucket, epoch): (u8, u8), owner: u8) -> Lease {
    Lease {
        bucket: BucketId(u32::from(bucket)),
        owner: scheduler(owner),
        epoch: Epoch(u64::from(epoch)),
        expires_at: NOW,
    }
}

impl World {
    pub(super) fn home_of(&self, table: u8) -> Home {
        Home {
            bucket: BucketId(u32::from(self.bucket_of(table))),
            layout: LAYOUT,
        }
    }

    pub(super) fn bucket_row(&self, bucket: u8) -> BucketRow {
        let row = &self.buckets[usize::from(bucket)];
        BucketRow {
            bucket: BucketId(u32::from(bucket)),
            owner: row.owner.map(scheduler),
            epoch: Epoch(u64::from(row.epoch)),
            expires_at: NOW,
            last_swept_at: NOW,
            last_begun_at: NOW,
        }
    }

    pub(super) fn put_bucket(&mut self, row: &BucketRow) {
        self.buckets[row.bucket.0 as usize] = Bucket {
            owner: row.owner.as_ref().map(|owner| number_of(owner.as_str())),
            epoch: small(row.epoch.get()),
        };
    }

    pub(super) fn table_row(&self, table: u8) -> Option<TableRow> {
        let row = self.rows[usize::from(table)].as_ref()?;
        Some(self.as_table_row(table, row))
    }

    pub(super) fn as_table_row(&self, table: u8, row: &Row) -> TableRow {
        TableRow {
            table: table_id(table),
            bucket: self.home_of(table).bucket,
            layout: LAYOUT,
            epoch: Epoch(u64::from(row.epoch)),
            due_location: row.due_location.map(location),
            due_at: row.due.then_some(NOW),
            marked_at: row.marked.then_some(NOW),
            marks: u64::from(row.marks),
            seen_marks: u64::from(row.seen_marks),
            evaluated_location: row.evaluated.map(location),
            committed_location: row.committed.map(location),
            conclusion: row.awaited.map(|process| awaiting(Some(process))),
            failures: u32::from(row.failing),
            begun: u32::from(row.begun),
            active_process: row.active.map(process_id),
        }
    }

    pub(super) fn put_table(&mut self, table: u8, row: &TableRow) {
        let place = |location: &Option<MetadataLocation>| {
            location
                .as_ref()
                .map(|location| number_of(location.as_str()))
        };
        self.rows[usize::from(table)] = Some(Row {
            epoch: small(row.epoch.get()),
            due_location: place(&row.due_location),
            due: row.due_at.is_some(),
            marked: row.marked_at.is_some(),
            marks: small(row.marks),
            seen_marks: small(row.seen_marks),
            evaluated: place(&row.evaluated_location),
            committed: place(&row.committed_location),
            failing: row.failures > 0,
            begun: row.begun > 0,
            active: row.active_process.as_ref().map(|id| number_of(id.as_str())),
            awaited: row
                .conclusion
                .as_deref()
                .filter(|text| !text.is_empty())
                .map(number_of),
        });
    }

    pub(super) fn process_row(&self, id: u8) -> Option<ProcessRow> {
        self.process(id).map(|process| self.as_process_row(process))
    }

    pub(super) fn as_process_row(&self, process: &Process) -> ProcessRow {
        let state = match &process.state {
            ProcessState::Running => crate::ProcessState::Running,
            ProcessState::Committing(who) => crate::ProcessState::Committing {
                worker: worker(*who),
                deadline: NOW,
            },
            ProcessState::Ended(outcome) => crate::ProcessState::Ended(outcome_of(*outcome)),
        };
        ProcessRow {
            process: process_id(process.id),
            kind: ProcessKind::Rewrite,
            table: table_id(process.table),
            bucket: BucketId(u32::from(self.bucket_of(process.table))),
            epoch: Epoch(u64::from(process.epoch)),
            created_at: NOW,
            state,
            commit_claims: u32::from(process.claims),
            waits: 0,
            tasks: u32::from(small(process.tasks.len())),
            open_tasks: u32::from(process.open),
            header: String::new(),
            quotas: Vec::new(),
        }
    }

    pub(super) fn put_process(&mut self, row: &ProcessRow) {
        let id = number_of(row.process.as_str());
        let process = self
            .process_mut(id)
            .expect("it was made by put_new_process");
        process.state = match &row.state {
            crate::ProcessState::Running => ProcessState::Running,
            crate::ProcessState::Committing { worker, .. } => {
                ProcessState::Committing(number_of(worker.as_str()))
            }
            crate::ProcessState::Ended(outcome) => ProcessState::Ended(outcome_from(outcome)),
        };
        process.claims = small(row.commit_claims);
        process.open = small(row.open_tasks);
    }

    pub(super) fn task_row(&self, process: u8, index: u8) -> Option<TaskRow> {
        let process = self.process(process)?;
        let task = process.tasks.get(usize::from(index))?;
        Some(self.as_task_row(process, index, task))
    }

    pub(super) fn task_rows(&self, process: &Process) -> Vec<TaskRow> {
        (0..)
            .zip(&process.tasks)
            .map(|(index, task)| self.as_task_row(process, index, task))
            .collect()
    }

    fn as_task_row(&self, process: &Process, index: u8, task: &Task) -> TaskRow {
        let state = match task.state {
            TaskState::Queued => crate::TaskState::Queued,
            TaskState::Running(who) => crate::TaskState::Running {
                worker: worker(who),
                deadline: NOW,
            },
            TaskState::Done(attempt) => {
                crate::TaskState::Done(Payload::Inline(format!("a{attempt}")))
            }
            TaskState::Failed => crate::TaskState::Failed(RewriteFailure {
                kind: RewriteFailureKind::Transient,
                message: String::new(),
            }),
        };
        TaskRow {
            task: TaskId {
                process: process_id(process.id),
                index: u32::from(index),
            },
            kind: ProcessKind::Rewrite,
            bucket: BucketId(u32::from(self.bucket_of(process.table))),
            attempt: Attempt(u32::from(task.attempt)),
            waits: 0,
            state,
            payload: Payload::Inline(String::new()),
            sent_at: None,
        }
    }

    pub(super) fn put_task(&mut self, row: &TaskRow) {
        let id = number_of(row.task.process.as_str());
        let process = self
            .process_mut(id)
            .expect("a task's process stands as long as it");
        let task = &mut process.tasks[row.task.index as usize];
        task.attempt = small(row.attempt.get());
        task.state = match &row.state {
            crate::TaskState::Queued => TaskState::Queued,
            crate::TaskState::Running { worker, .. } => {
                TaskState::Running(number_of(worker.as_str()))
            }
            crate::TaskState::Done(Payload::Inline(attempt) | Payload::Stored(attempt)) => {
                TaskState::Done(number_of(attempt))
            }
            crate::TaskState::Failed(_) => TaskState::Failed,
        };
    }
}

/// What an optimizer reports of a task.
pub(super) fn result_of(attempt: Option<u8>) -> Result<Payload, RewriteFailure> {
    match attempt {
        Some(attempt) => Ok(Payload::Inline(format!("a{attempt}"))),
        None => Err(RewriteFailure {
            kind: RewriteFailureKind::Transient,
            message: String::new(),
        }),
    }
}

pub(super) fn outcome_of(outcome: Outcome) -> ProcessOutcome {
    let snapshot_id = SnapshotId(1);
    match outcome {
        Outcome::Committed(at) => ProcessOutcome::Committed {
            location: location(at),
            snapshot_id,
            lessons: Lessons::default(),
        },
        Outcome::Partly(at) => ProcessOutcome::PartlyCommitted {
            location: location(at),
            snapshot_id,
            failures: Vec::new(),
            lessons: Lessons::default(),
        },
        Outcome::Evaluated => ProcessOutcome::Evaluated,
        Outcome::Maintained(at) => ProcessOutcome::Maintained {
            location: at.map(location),
            did: String::new(),
            unfinished: false,
        },
        Outcome::Failed => ProcessOutcome::Failed {
            failures: Vec::new(),
            lessons: Lessons::default(),
        },
        Outcome::Abandoned => ProcessOutcome::Abandoned {
            reason: String::new(),
        },
    }
}

fn outcome_from(outcome: &ProcessOutcome) -> Outcome {
    match outcome {
        ProcessOutcome::Committed { location, .. } => {
            Outcome::Committed(number_of(location.as_str()))
        }
        ProcessOutcome::PartlyCommitted { location, .. } => {
            Outcome::Partly(number_of(location.as_str()))
        }
        ProcessOutcome::Failed { .. } => Outcome::Failed,
        ProcessOutcome::Evaluated => Outcome::Evaluated,
        ProcessOutcome::Maintained { location, .. } => {
            let made = location.as_ref().map(|made| number_of(made.as_str()));
            Outcome::Maintained(made)
        }
        ProcessOutcome::Abandoned { .. } => Outcome::Abandoned,
    }
}
