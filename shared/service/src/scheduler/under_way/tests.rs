use icepress_coordination::{Payload, QueueDepth};
use icepress_model::{Attempt, RewriteFailure, RewriteFailureKind, WorkerId};

use super::*;
use crate::TakenOut;

const PATIENCE: Duration = Duration::from_secs(300);
const HOUR: Duration = Duration::from_secs(3600);
const SENT: TimestampMs = TimestampMs(1_760_000_000_000);

fn task(state: TaskState, sent_at: Option<TimestampMs>) -> TaskRow {
    TaskRow {
        task: TaskId {
            process: ProcessId::from("p"),
            index: 0,
        },
        kind: icepress_model::ProcessKind::Rewrite,
        bucket: BucketId(0),
        waits: 0,
        attempt: Attempt(1),
        state,
        payload: Payload::Inline(String::new()),
        sent_at,
    }
}

fn claimed_until(deadline: TimestampMs) -> TaskState {
    TaskState::Running {
        worker: WorkerId::from("w"),
        deadline,
    }
}

#[test]
fn a_message_that_waits_is_not_missed_by_its_age() {
    let queued = task(TaskState::Queued, Some(SENT));
    assert_eq!(
        Message::of(&queued, SENT + HOUR, PATIENCE),
        Message::SentAgo(HOUR)
    );
    assert_eq!(
        Message::of(&queued, SENT + PATIENCE / 2, PATIENCE),
        Message::NotMissed
    );
    let backlog = QueueDepth {
        messages: 10_000,
        dead: 0,
        retention: Some(96 * HOUR),
        dies_after: Some(7 * HOUR),
    };
    assert!(!backlog.has_lost_what_is(24 * HOUR), "it may yet come");
    assert!(backlog.has_lost_what_is(96 * HOUR), "it was thrown away");
    let empty = QueueDepth {
        messages: 0,
        ..backlog
    };
    assert!(empty.has_lost_what_is(PATIENCE));
    let with_dead = QueueDepth { dead: 1, ..backlog };
    assert!(!with_dead.has_lost_what_is(HOUR), "it can't have died yet");
    assert!(with_dead.has_lost_what_is(7 * HOUR), "it may be the one");
}

#[test]
fn what_died_with_its_holder_is_sent_once() {
    let until = SENT + HOUR;
    let later = until + Duration::from_secs(1);
    let held = task(claimed_until(until), Some(SENT));
    assert_eq!(Message::of(&held, until, PATIENCE), Message::NotMissed);
    assert_eq!(Message::of(&held, later, PATIENCE), Message::Lost);
    // Sent again, it lies in the queue like any other, though nobody has claimed it since.
    let again = task(claimed_until(until), Some(later));
    assert_eq!(
        Message::of(&again, later + HOUR, PATIENCE),
        Message::SentAgo(HOUR)
    );
}

#[test]
fn what_was_never_sent_or_was_acknowledged_for_another_is_lost_once_nobody_holds_it() {
    let until = SENT + HOUR;
    assert_eq!(
        Message::of(&task(TaskState::Queued, None), SENT, PATIENCE),
        Message::Lost
    );
    let held = task(claimed_until(until), None);
    assert_eq!(Message::of(&held, SENT, PATIENCE), Message::NotMissed);
    let after = until + Duration::from_millis(1);
    assert_eq!(Message::of(&held, after, PATIENCE), Message::Lost);
}

#[test]
fn what_is_done_needs_no_message() {
    let failure = RewriteFailure {
        kind: RewriteFailureKind::Unsupported,
        message: String::new(),
    };
    for state in [
        TaskState::Done(Payload::Inline(String::new())),
        TaskState::Failed(failure),
    ] {
        let message = Message::of(&task(state, None), SENT + HOUR, PATIENCE);
        assert_eq!(message, Message::NotMissed);
    }
}

#[test]
fn a_message_that_others_passed_long_ago_is_lost_though_the_queue_never_empties() {
    let taken = TakenOut::default();
    let later = SENT + PASSED_BY;
    let done = |sent_at| {
        task(
            TaskState::Done(Payload::Inline(String::new())),
            Some(sent_at),
        )
    };
    let bucket = done(SENT).bucket;
    let note = |tasks: &[TaskRow]| {
        let newest = newest_taken(bucket, tasks, later);
        newest.map(|newest| taken.note(bucket, newest))
    };
    let has_passed = |sent_at| has_passed(taken.newest(bucket), sent_at);
    assert!(!has_passed(SENT), "nothing is known of others");
    note(&[done(SENT + PASSED_BY / 2)]);
    assert!(!has_passed(SENT), "it may be in somebody's hands");
    // What nobody has taken, or whose holder died, says nothing.
    let queued = task(TaskState::Queued, Some(later));
    let died = task(claimed_until(SENT), Some(later));
    note(&[queued, died]);
    assert!(!has_passed(SENT));
    note(&[done(later), done(SENT)]);
    assert!(has_passed(SENT));
    assert!(!has_passed(SENT + HOUR), "it is younger");
}

#[test]
fn a_process_is_queued_until_one_of_its_tasks_is_begun() {
    let queued = || TaskRow {
        attempt: Attempt(0),
        ..task(TaskState::Queued, Some(SENT))
    };
    assert_eq!(stage_of(&[queued(), queued()]), Stage::Queued);
    let begun = task(claimed_until(SENT + HOUR), Some(SENT));
    assert_eq!(stage_of(&[queued(), begun]), Stage::Running);
    // Given back, it waits once more; but it is not as if nobody had come.
    let given_back = task(TaskState::Queued, Some(SENT));
    assert_eq!(stage_of(&[given_back]), Stage::Running);
}
