//! The invariants of leases, change, tables, processes and tasks (protocols.md, sections 1 to 5), each a plain predicate.
//!
//! They stand here once and are used where a row changes, as debug assertions; by the conformance suite of the stores; by
//! the model, in every state and at every step; and by whoever simulates. Each returns what is wrong, or nothing.
//!
//! | what protocols.md says | predicates |
//! |---|---|
//! | an epoch never repeats or shrinks | [`bucket_step`] |
//! | of two writers with different epochs, only the later's writes are accepted | [`accepted_epoch`], [`table_step`] |
//! | a lease is taken when it is free, or its end is more than the guard ago; it ends by itself | [`lease_respected`], [`lease_ends`] |
//! | a moved table is evaluated | [`table_row`]: no mark is lost; [`digest_was_marked`]: marks come before the digest; that it happens in the end, the model shows |
//! | a table is in one bucket, and moves to another only with a newer layout | [`table_step`]; that it has one row, its key says |
//! | only the owner of a table's bucket plans it | [`planned_by_owner`] |
//! | the number of buckets changes only with a new layout, and no bucket is given up while something is in it | [`layout_step`], [`is_swept`] |
//! | table state is never deleted because a bucket moved or a listing was partial | [`row_may_go`] |
//! | at most one process a table | [`one_process`] |
//! | a task's result is accepted once, and only of the newest attempt | [`task_step`], [`accepted_attempt`], [`claim_respected`] |
//! | whoever brings the open tasks to zero commits | [`open_tasks`], [`process_row`] |
//! | a process ends once, in exactly one way, and truly | [`process_step`], [`accepted_claim`], [`commit_claim_respected`], [`ended_truly`] |
//! | rows are neither lost nor doubled by a commit | [`each_once`] |
//! | nothing a live snapshot refers to is deleted | [`nothing_live_deleted`] |
//!
//! The commit lock (section 5) has its own, beside its rules, in `icepress-catalog`.

use std::{collections::BTreeSet, fmt::Debug, time::Duration};

use icepress_model::{
    Attempt, Epoch, MetadataLocation, ProcessOutcome, RewriteFailureKind, TimestampMs,
};

use crate::{BucketRow, Layout, Lease, ProcessRow, ProcessState, TableRow, TaskRow, TaskState};

/// What a predicate says: `Err` names the invariant that is broken.
pub type Verdict = Result<(), String>;

fn holds(condition: bool, what: impl FnOnce() -> String) -> Verdict {
    if condition { Ok(()) } else { Err(what()) }
}

/// An epoch never shrinks, and a new owner has a greater one than any owner before it.
pub fn bucket_step(before: &BucketRow, after: &BucketRow) -> Verdict {
    holds(after.epoch >= before.epoch, || {
        format!(
            "bucket {}: the epoch fell from {} to {}",
            after.bucket, before.epoch, after.epoch
        )
    })?;
    let same_holder = after.owner.is_none() || after.owner == before.owner;
    holds(same_holder || after.epoch > before.epoch, || {
        format!(
            "bucket {}: changed hands under the one epoch {}",
            after.bucket, after.epoch
        )
    })?;
    holds(after.last_swept_at >= before.last_swept_at, || {
        format!("bucket {}: the last sweep moved back", after.bucket)
    })
}

/// Every lease ends by itself: at most `ttl` after it was written (case B01).
pub fn lease_ends(row: &BucketRow, written_at: TimestampMs, ttl: Duration) -> Verdict {
    holds(
        row.owner.is_none() || row.expires_at <= written_at + ttl,
        || format!("bucket {}: its lease outlives its time", row.bucket),
    )
}

/// The number of buckets changes only with a new layout, and every bucket that may have something in it is swept until
/// everything is known to have moved.
pub fn layout_step(before: &Layout, after: &Layout) -> Verdict {
    let name = after.generation;
    holds(after.generation >= before.generation, || {
        format!("layout {name} follows on layout {}", before.generation)
    })?;
    if after.generation == before.generation {
        holds(after.buckets == before.buckets, || {
            format!("layout {name}: its number of buckets changed")
        })?;
        return holds(
            after.former == before.former || after.former.is_none(),
            || format!("layout {name}: moves again"),
        );
    }
    holds(after.former >= Some(before.swept()), || {
        format!("layout {name}: gave up buckets with something in them")
    })
}

/// A table that waits for somebody is in a bucket that is swept. To be asked where everything that was marked under
/// older layouts was marked again, as the next census does.
pub fn is_swept(row: &TableRow, layout: &Layout) -> Verdict {
    holds(
        row.due_at.is_none() || layout.swept().contains(row.bucket),
        || {
            format!(
                "{}: due in bucket {}, and layout {} sweeps only {}",
                row.table,
                row.bucket,
                layout.generation,
                layout.swept()
            )
        },
    )
}

/// What is concluded about a table, and a process of it, are the owner's of the bucket that its row is in.
pub fn planned_by_owner(row: &TableRow, lease: &Lease) -> Verdict {
    holds(row.bucket == lease.bucket, || {
        format!(
            "{}: planned by the owner of bucket {}, and it is in bucket {}",
            row.table, lease.bucket, row.bucket
        )
    })
}

/// A table's row is whole in itself: nothing that waits can be forgotten.
pub fn table_row(row: &TableRow) -> Verdict {
    let table = &row.table;
    holds(row.active_process.is_none() || row.due_at.is_some(), || {
        format!("{table}: nobody will look whether its process got stuck")
    })?;
    holds(
        row.active_process.is_some() || row.marked_at.is_none(),
        || format!("{table}: a mark waits for the end of no process"),
    )?;
    holds(row.due_location.is_none() || row.due_at.is_some(), || {
        format!("{table}: marked, and never due")
    })?;
    holds(row.seen_marks <= row.marks, || {
        format!("{table}: more marks were seen than set")
    })?;
    let waits = if row.active_process.is_some() {
        row.marked_at.is_some()
    } else {
        row.due_at.is_some()
    };
    holds(row.marks == row.seen_marks || waits, || {
        format!("{table}: a mark that nobody looked at was lost")
    })
}

/// A table's row moves forward only, and one process ends before the next begins.
pub fn table_step(before: Option<&TableRow>, after: &TableRow) -> Verdict {
    table_row(after)?;
    let table = &after.table;
    let Some(before) = before else {
        return Ok(());
    };
    holds(after.layout >= before.layout, || {
        format!("{table}: moved back to where an older layout has it")
    })?;
    let stays = after.bucket == before.bucket;
    holds(stays || after.layout > before.layout, || {
        format!("{table}: in two buckets under one layout")
    })?;
    // Each bucket counts its own epochs.
    holds(!stays || after.epoch >= before.epoch, || {
        format!("{table}: written under an older epoch")
    })?;
    holds(after.marks >= before.marks, || {
        format!("{table}: marks were forgotten")
    })?;
    holds(after.seen_marks >= before.seen_marks, || {
        format!("{table}: marks were unseen")
    })
}

/// The counts of a process fit its state.
pub fn process_row(row: &ProcessRow) -> Verdict {
    let process = &row.process;
    holds(row.open_tasks <= row.tasks, || {
        format!("process {process}: more open tasks than tasks")
    })?;
    // One that was given up may have been so at any time.
    let committing = !matches!(
        row.state,
        ProcessState::Running | ProcessState::Ended(ProcessOutcome::Abandoned { .. })
    );
    holds(!committing || row.commit_claims > 0, || {
        format!("process {process}: committed without a claim")
    })?;
    holds(!committing || row.open_tasks == 0, || {
        format!("process {process}: committed with open tasks")
    })
}

/// A process ends once, its open tasks only fall, and every claim of its commit has its own number.
pub fn process_step(before: &ProcessRow, after: &ProcessRow) -> Verdict {
    process_row(after)?;
    let process = &after.process;
    holds(
        !matches!(before.state, ProcessState::Ended(_)) || before == after,
        || format!("process {process}: changed after its end"),
    )?;
    holds(after.open_tasks <= before.open_tasks, || {
        format!("process {process}: its open tasks grew")
    })?;
    holds(after.commit_claims >= before.commit_claims, || {
        format!("process {process}: its claims shrank")
    })?;
    holds(
        (before.waits..=after.commit_claims).contains(&after.waits),
        || format!("process {process}: more claims waited than there were, or fewer than before"),
    )?;
    let claimed_anew = match (&before.state, &after.state) {
        (
            ProcessState::Committing {
                worker: old,
                deadline: ended,
            },
            ProcessState::Committing { worker, deadline },
        ) => old != worker || deadline < ended,
        (_, after) => matches!(after, ProcessState::Committing { .. }),
    };
    holds(
        !claimed_anew || after.commit_claims > before.commit_claims,
        || format!("process {process}: two claims of its commit have one number"),
    )
}

/// An attempt never shrinks, a new worker has a new attempt, and a result is accepted once.
pub fn task_step(before: &TaskRow, after: &TaskRow) -> Verdict {
    let task = &after.task;
    let finished = |row: &TaskRow| matches!(row.state, TaskState::Done(_) | TaskState::Failed(_));
    holds(!finished(before) || before.state == after.state, || {
        format!("task {task}: a second result was accepted")
    })?;
    holds(after.attempt >= before.attempt, || {
        format!("task {task}: its attempt fell")
    })?;
    holds(
        (before.waits..=after.attempt.get()).contains(&after.waits),
        || format!("task {task}: more attempts waited than there were, or fewer than before"),
    )?;
    let started = match (&before.state, &after.state) {
        (TaskState::Running { worker: old, .. }, TaskState::Running { worker: new, .. }) => {
            old != new
        }
        (_, TaskState::Running { .. }) => true,
        _ => false,
    };
    holds(!started || after.attempt > before.attempt, || {
        format!("task {task}: claimed without a new attempt")
    })?;
    let blames = matches!(&after.state, TaskState::Failed(failure) if failure.kind == RewriteFailureKind::Throttled);
    holds(!blames, || {
        format!("task {task}: failed since a service asked for fewer requests")
    })?;
    let was_running = matches!(before.state, TaskState::Running { .. });
    holds(!finished(after) || finished(before) || was_running, || {
        format!("task {task}: a result nobody worked for")
    })
}

/// The count of open tasks is what the tasks say.
pub fn open_tasks(process: &ProcessRow, tasks: &[TaskRow]) -> Verdict {
    let open = tasks
        .iter()
        .filter(|task| matches!(task.state, TaskState::Queued | TaskState::Running { .. }))
        .count();
    holds(
        usize::try_from(process.open_tasks) == Ok(open)
            && usize::try_from(process.tasks) == Ok(tasks.len()),
        || {
            format!(
                "process {}: counts {} of {} tasks open, but {open} of {} are",
                process.process,
                process.open_tasks,
                process.tasks,
                tasks.len()
            )
        },
    )
}

/// At most one process of a table is under way, and it is the one that the table's row names.
pub fn one_process(row: Option<&TableRow>, processes: &[ProcessRow]) -> Verdict {
    let active = row.and_then(|row| row.active_process.as_ref());
    let mut under_way = processes
        .iter()
        .filter(|process| !matches!(process.state, ProcessState::Ended(_)));
    let first = under_way.next();
    holds(under_way.next().is_none(), || {
        "a table has two processes under way".to_owned()
    })?;
    holds(first.map(|process| &process.process) == active, || {
        format!(
            "a table names {active:?} as its process, but {:?} is under way",
            first.map(|process| &process.process)
        )
    })
}

/// A lease is only taken over once its end is more than `guard` ago.
pub fn lease_respected(before: &BucketRow, now: TimestampMs, guard: Duration) -> Verdict {
    holds(
        before.owner.is_none() || before.expires_at + guard < now,
        || format!("bucket {}: taken before its lease was over", before.bucket),
    )
}

/// A task is only claimed once the claim before has ended.
pub fn claim_respected(before: &TaskRow, now: TimestampMs) -> Verdict {
    let held = matches!(&before.state, TaskState::Running { deadline, .. } if *deadline >= now);
    holds(!held, || {
        format!(
            "task {}: claimed while another attempt held it",
            before.task
        )
    })
}

/// The commit of a process is only claimed once the claim before has ended.
pub fn commit_claim_respected(before: &ProcessRow, now: TimestampMs) -> Verdict {
    let held =
        matches!(&before.state, ProcessState::Committing { deadline, .. } if *deadline >= now);
    holds(!held, || {
        format!(
            "process {}: its commit was claimed while another claim held it",
            before.process
        )
    })
}

/// What an attempt at a task writes is accepted only while no later attempt began (case B10).
pub fn accepted_attempt(newest: Attempt, accepted: Attempt) -> Verdict {
    holds(accepted == newest, || {
        format!("attempt {accepted} was accepted after attempt {newest} began")
    })
}

/// A process is ended, and its commit given back, only by the newest claim.
pub fn accepted_claim(newest: u32, accepted: u32) -> Verdict {
    holds(accepted == newest, || {
        format!("claim {accepted} of a commit was accepted after claim {newest} began")
    })
}

/// A table's row goes only where it is as it was seen: not marked since, and with no process under way.
pub fn row_may_go(row: &TableRow, seen: &TableRow) -> Verdict {
    let table = &row.table;
    holds(row.active_process.is_none(), || {
        format!("{table}: forgotten with a process under way")
    })?;
    holds(row.marks == seen.marks, || {
        format!("{table}: forgotten although it was marked again")
    })
}

/// Marks come before the digest: the state that a digest has seen of a table stands in the table's row, or the row waits
/// for a look. To be asked where that is the table's state still.
pub fn digest_was_marked(seen: &MetadataLocation, row: Option<&TableRow>) -> Verdict {
    let known = row.is_some_and(|row| {
        let known = [
            &row.due_location,
            &row.evaluated_location,
            &row.committed_location,
        ];
        let waits = row.due_at.is_some() || row.marked_at.is_some();
        waits || known.into_iter().flatten().any(|known| known == seen)
    });
    holds(known, || {
        format!("a digest has seen {seen}, and nobody will ever look at it")
    })
}

/// A process that ended as committed has a snapshot in its table: `is_in_history` says whether the table ever was in a
/// state.
pub fn ended_truly(
    row: &ProcessRow,
    is_in_history: impl FnOnce(&MetadataLocation) -> bool,
) -> Verdict {
    let made = match &row.state {
        ProcessState::Ended(
            ProcessOutcome::Committed { location, .. }
            | ProcessOutcome::PartlyCommitted { location, .. }
            | ProcessOutcome::Maintained {
                location: Some(location),
                ..
            },
        ) => location,
        _ => return Ok(()),
    };
    holds(is_in_history(made), || {
        format!(
            "process {}: ended as committed in {made}, where its table never was",
            row.process
        )
    })
}

/// Every row that somebody was told is in the table is there exactly once, and no other.
pub fn each_once<R: Ord + Debug>(
    told: impl Iterator<Item = R>,
    live: impl Iterator<Item = R>,
) -> Verdict {
    let told: BTreeSet<R> = told.collect();
    let mut found = BTreeSet::new();
    for row in live {
        holds(told.contains(&row), || {
            format!("row {row:?} is in the table, and nobody wrote it")
        })?;
        let text = format!("row {row:?} is in the table twice");
        holds(found.insert(row), || text)?;
    }
    match told.difference(&found).next() {
        Some(lost) => Err(format!("row {lost:?} is lost")),
        None => Ok(()),
    }
}

/// Nothing that a live snapshot refers to is deleted.
pub fn nothing_live_deleted<F: Ord + Debug>(live: &[F], deleted: &BTreeSet<F>) -> Verdict {
    match live.iter().find(|file| deleted.contains(file)) {
        Some(file) => Err(format!("{file:?} is live, and was deleted")),
        None => Ok(()),
    }
}

/// Of two writes to one row under different epochs, the later epoch's stands.
pub fn accepted_epoch(newest: Epoch, accepted: Epoch) -> Verdict {
    holds(accepted >= newest, || {
        format!("a write under epoch {accepted} was accepted after one under {newest}")
    })
}

pub(crate) fn assert_bucket_step(before: &BucketRow, after: &BucketRow) {
    debug_assert_eq!(bucket_step(before, after), Ok(()));
}

pub(crate) fn assert_layout_step(before: &Layout, after: &Layout) {
    debug_assert_eq!(layout_step(before, after), Ok(()));
}

pub(crate) fn assert_table_step(before: Option<&TableRow>, after: &TableRow) {
    debug_assert_eq!(table_step(before, after), Ok(()));
}

pub(crate) fn assert_process_step(before: &ProcessRow, after: &ProcessRow) {
    debug_assert_eq!(process_step(before, after), Ok(()));
}

pub(crate) fn assert_task_step(before: &TaskRow, after: &TaskRow) {
    debug_assert_eq!(task_step(before, after), Ok(()));
}
