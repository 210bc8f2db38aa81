//! Worlds in which everything holds, and what is found where a guard is missing.

use stateright::{Checker as _, HasDiscoveries};

use super::*;

/// Two buckets become one beside a writer, a process and a crash.
const SHRINKING: Size = Size {
    schedulers: 2,
    counts: &[2, 1],
    commits: 1,
    begins: 4,
    processes: 0,
    crashes: 1,
    mutation: None,
};

/// The same with a process under way.
const UNDER_WAY: Size = Size {
    commits: 0,
    processes: 1,
    crashes: 0,
    ..SHRINKING
};

fn holds(size: Size) {
    let checker = size.checker().spawn_bfs().join();
    println!(
        "{} states, {} deep: {size:?}",
        checker.unique_state_count(),
        checker.max_depth()
    );
    if let Some(path) = checker.discovery(HOLDS) {
        let broken = size.verdict(path.last_state());
        panic!("{broken:?}\nafter {:?}", path.into_actions());
    }
    checker.assert_properties();
}

/// The model tells the mutation from the right step, in these words.
fn is_found(mutation: Mutation, size: Size, said: &str) {
    let size = Size {
        mutation: Some(mutation),
        ..size
    };
    let checker = size
        .checker()
        .finish_when(HasDiscoveries::AnyFailures)
        .spawn_bfs()
        .join();
    let path = checker
        .discovery(HOLDS)
        .expect("a world without this guard breaks");
    let broken = size.verdict(path.last_state()).err().unwrap_or_default();
    println!(
        "{} states: {:?}\n{broken}",
        checker.unique_state_count(),
        path.into_actions()
    );
    assert!(broken.contains(said), "{broken}");
}

#[test]
fn no_table_is_skipped_or_doubled_while_buckets_are_given_up() {
    // With four things begun it holds in 206,034 states too, which takes longer than it tells more.
    holds(Size {
        begins: 3,
        ..SHRINKING
    });
}

#[test]
fn no_table_is_skipped_or_doubled_while_buckets_are_added() {
    holds(Size {
        counts: &[1, 2],
        begins: 3,
        ..SHRINKING
    });
}

#[test]
fn a_number_changed_again_before_everything_has_moved_is_as_good() {
    holds(Size {
        counts: &[2, 1, 2],
        begins: 3,
        crashes: 0,
        ..SHRINKING
    });
}

#[test]
fn b09_a_process_under_way_ends_whatever_becomes_of_its_queue() {
    holds(UNDER_WAY);
}

#[test]
fn a_digest_of_an_old_layout_is_found() {
    is_found(Mutation::DigestOfOldLayout, SHRINKING, "for ever");
}

#[test]
fn b07_a_table_planned_by_the_owner_of_its_old_bucket_is_found() {
    is_found(
        Mutation::AnyOwnerPlans,
        SHRINKING,
        "planned by the owner of bucket",
    );
}

#[test]
fn b08_buckets_given_up_with_tables_in_them_are_found() {
    is_found(Mutation::FormerGivenUp, SHRINKING, "for ever");
}

#[test]
fn a_mark_that_leaves_a_table_in_a_former_bucket_is_found() {
    is_found(Mutation::MarkMovesNothing, SHRINKING, "for ever");
}

#[test]
fn a_mark_that_moves_a_table_back_is_found() {
    is_found(Mutation::MarkMovesBack, SHRINKING, "moved back");
}

#[test]
fn b09_tasks_that_stay_in_a_queue_that_was_given_up_are_found() {
    is_found(Mutation::NotSentAgain, UNDER_WAY, "for ever");
}

#[test]
fn buckets_given_up_for_another_layout_are_found() {
    let size = Size {
        counts: &[1, 2, 1],
        crashes: 0,
        ..SHRINKING
    };
    is_found(Mutation::SettledForOthers, size, "for ever");
}
