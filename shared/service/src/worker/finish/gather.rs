//! What the tasks of a process came to, as their rows and payloads tell.

use icepress_coordination::{TaskRow, TaskState};
use icepress_model::{Bytes, Group, GroupResult, GroupTask, Lessons, Pace, Tier};
use icepress_planner::path_hash;
use icepress_table::FinishedGroup;

use crate::{Context, worker::payload};

/// What the tasks came to.
pub(super) struct Gathered {
    pub(super) finished: Vec<FinishedGroup>,
    pub(super) failures: Vec<String>,
    /// What its tasks taught about the sizes of groups.
    pub(super) lessons: Lessons,
    /// Whether a task failed for another reason than that it was too much.
    failed_otherwise: bool,
    /// A plan or result that could not be read now: nothing may be committed or given up yet.
    pub(super) unreadable: Option<Unreadable>,
}

/// What could not be read, and whether that is nobody's fault.
pub(super) struct Unreadable {
    pub(super) message: String,
    pub(super) is_throttling: bool,
}

pub(super) async fn gather(context: &Context, tasks: Vec<TaskRow>) -> Gathered {
    let mut gathered = Gathered {
        finished: Vec::new(),
        failures: Vec::new(),
        lessons: Lessons::default(),
        failed_otherwise: false,
        unreadable: None,
    };
    let mut sized = 0;
    for task in tasks {
        let result = match &task.state {
            TaskState::Done(result) => result,
            TaskState::Failed(failure) => {
                gathered.failures.push(failure.message.clone());
                gathered.lessons.count(failure.kind.into(), 1);
                if !failure.kind.is_too_much() {
                    gathered.failed_otherwise = true;
                } else if sized < SIZED_FAILURES {
                    sized += 1;
                    let task: Result<GroupTask, _> = payload::fetch(context, &task.payload).await;
                    if let Ok(task) = task {
                        note_too_much(&mut gathered.lessons, &task.group);
                    }
                }
                continue;
            }
            TaskState::Queued | TaskState::Running { .. } => {
                gathered.unreadable = Some(Unreadable {
                    message: format!("task {} is still open", task.task),
                    is_throttling: false,
                });
                continue;
            }
        };
        let group: Result<GroupTask, _> = payload::fetch(context, &task.payload).await;
        let result: Result<GroupResult, _> = payload::fetch(context, result).await;
        match (group, result) {
            (Ok(group), Ok(result)) => gathered.finished.push(FinishedGroup {
                index: task.task.index,
                group: group.group,
                result,
            }),
            (Err(error), _) | (_, Err(error)) => {
                gathered.unreadable = Some(Unreadable {
                    is_throttling: error.is_throttling(),
                    message: format!("task {}: {error}", task.task),
                });
            }
        }
    }
    gathered.lessons.pace = pace_of(&gathered.finished);
    gathered
}

/// Of so many groups that were too much their sizes are looked up: the smallest of them tells what there is to know.
const SIZED_FAILURES: usize = 100;
/// Smaller groups don't tell how fast a worker is: opening files is most of what they do.
const TELLING: Bytes = Bytes::mebibytes(32);

/// How fast full groups were rewritten.
fn pace_of(finished: &[FinishedGroup]) -> Option<Pace> {
    let of_group = |group: &FinishedGroup| Pace {
        bytes: group.group.input_bytes(),
        took_ms: group.result.seen.took_ms,
    };
    finished
        .iter()
        .filter(|group| group.group.tier == Tier::Full && group.result.seen.took_ms > 0)
        .map(of_group)
        .filter(|pace| pace.bytes >= TELLING)
        .reduce(|all, pace| Pace {
            bytes: all.bytes + pace.bytes,
            took_ms: all.took_ms + pace.took_ms,
        })
}

/// How many files that are too much each alone a process tells of.
const TOLD_HOPELESS: usize = 50;

/// What a group that was too much for its worker teaches.
fn note_too_much(lessons: &mut Lessons, group: &Group) {
    match group.inputs.as_slice() {
        [] => {}
        [alone] => {
            if lessons.hopeless.len() < TOLD_HOPELESS {
                lessons.hopeless.push(path_hash(&alone.path));
            }
        }
        _ => {
            let size = group.size();
            let smallest = lessons.too_much.get_or_insert(size);
            smallest.files = smallest.files.min(size.files);
            smallest.bytes = smallest.bytes.min(size.bytes);
        }
    }
}

impl Gathered {
    /// Whether another plan will fare better: every task that failed was too much, and what that was is known, so that the
    /// next is smaller or goes without.
    pub(super) fn next_is_smaller(&self) -> bool {
        let is_known = self.lessons.too_much.is_some() || !self.lessons.hopeless.is_empty();
        !self.failed_otherwise && is_known
    }
}
