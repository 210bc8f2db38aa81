//! The worlds that are looked at in full, and the mutations that the model must tell from the right steps.

use super::{
    explore::explore,
    mutations::Mutation,
    world::{CALM, Size},
};

/// Looks at a whole world: every invariant holds in every state, rest can be reached from every state, and what the
/// world is there for does happen.
fn holds(size: &Size) {
    let explored = explore(size, None);
    println!(
        "{} states, {} steps, {} deep: {size:?}",
        explored.states, explored.steps, explored.depth
    );
    if let Some(counterexample) = explored.counterexample {
        panic!("{counterexample}");
    }
    let never: Vec<_> = explored
        .never
        .iter()
        .filter(|what| what.is_possible_in(size))
        .collect();
    assert!(never.is_empty(), "never happened: {never:?}");
}

/// Two schedulers, no optimizer, and tables that need none.
const SCHEDULERS: Size = Size {
    schedulers: 2,
    optimizers: 0,
    appends: 1,
    appends_need_work: false,
    leases_end_early: true,
    begins_at_rest: true,
    ..CALM
};

/// Two optimizers beside a scheduler.
const OPTIMIZERS: Size = Size {
    optimizers: 2,
    claims_end_early: true,
    ..CALM
};

/// Another writer beside one scheduler and one optimizer.
const WRITER: Size = Size {
    appends: 1,
    appends_need_work: false,
    ..CALM
};

#[test]
fn a_calm_world_comes_to_rest() {
    holds(&CALM);
}

#[test]
fn moved_tables_are_seen_whoever_dies_or_is_late() {
    holds(&Size {
        appends: 2,
        crashes: 1,
        ..SCHEDULERS
    });
}

#[test]
fn b03_epochs_alone_tell_two_of_one_name_apart() {
    holds(&Size {
        one_name: true,
        ..SCHEDULERS
    });
}

#[test]
fn a_census_marks_tables_of_other_buckets() {
    holds(&Size {
        tables: 2,
        buckets: 2,
        crashes: 1,
        ..SCHEDULERS
    });
}

#[test]
fn a_mark_comes_between_look_and_start() {
    holds(&Size {
        schedulers: 2,
        buckets: 2,
        ..WRITER
    });
}

#[test]
fn a_table_dropped_and_made_anew_is_seen() {
    holds(&Size {
        appends: 0,
        drops: 1,
        ..SCHEDULERS
    });
}

#[test]
fn a_table_dropped_under_its_process_is_let_go() {
    holds(&Size { drops: 1, ..CALM });
}

#[test]
fn the_next_owner_goes_on_with_what_is_under_way() {
    holds(&Size {
        schedulers: 2,
        leases_end_early: true,
        ..CALM
    });
}

#[test]
fn two_optimizers_share_two_groups() {
    holds(&Size {
        groups: 2,
        ..OPTIMIZERS
    });
}

#[test]
fn a_writer_comes_between_plan_and_commit() {
    holds(&Size {
        appends: 1,
        appends_need_work: false,
        ..OPTIMIZERS
    });
}

#[test]
fn c25_answers_of_swaps_are_lost() {
    holds(&Size {
        lost_answers: 1,
        ..OPTIMIZERS
    });
}

#[test]
fn c11_inputs_are_removed_and_snapshots_expire_under_a_lost_answer() {
    holds(&Size {
        removals: 1,
        expiries: 1,
        lost_answers: 1,
        claims_end_early: true,
        ..CALM
    });
}

#[test]
fn c11_a_group_whose_input_was_removed_is_left_out() {
    holds(&Size {
        groups: 2,
        removals: 1,
        ..CALM
    });
}

#[test]
fn workers_crash_beside_a_writer() {
    holds(&Size {
        crashes: 1,
        ..WRITER
    });
}

#[test]
fn messages_are_lost_and_tasks_fail() {
    holds(&Size {
        lost_messages: 1,
        failures: 1,
        ..CALM
    });
}

#[test]
fn a_process_is_cancelled_beside_a_writer() {
    holds(&Size {
        cancels: 1,
        ..WRITER
    });
}

/// Evaluations and commits are made by optimizers.
const ELSEWHERE: Size = Size {
    elsewhere: true,
    begins_marked: true,
    ..CALM
};

/// The same beside another writer.
const ELSEWHERE_BESIDE_WRITER: Size = Size {
    elsewhere: true,
    begins_marked: true,
    ..WRITER
};

#[test]
fn c57_evaluations_are_made_elsewhere_of_tables_that_move_and_wait() {
    holds(&Size {
        waits: true,
        ..ELSEWHERE_BESIDE_WRITER
    });
}

#[test]
fn c57_evaluations_and_rewrites_by_plans_made_elsewhere_are_cancelled_beside_a_writer() {
    holds(&Size {
        cancels: 1,
        ..ELSEWHERE_BESIDE_WRITER
    });
}

#[test]
fn c57_evaluations_made_elsewhere_die_and_their_messages_are_lost() {
    holds(&Size {
        crashes: 1,
        lost_messages: 1,
        ..ELSEWHERE
    });
}

#[test]
fn c57_evaluations_made_elsewhere_fail_wait_and_grow_old() {
    holds(&Size {
        failures: 1,
        ..ELSEWHERE
    });
}

#[test]
fn c57_a_table_is_dropped_and_made_anew_that_is_evaluated_elsewhere() {
    holds(&Size {
        drops: 1,
        ..ELSEWHERE
    });
}

#[test]
fn c57_claims_of_evaluations_and_commits_made_elsewhere_end_early() {
    holds(&Size {
        optimizers: 2,
        claims_end_early: true,
        ..ELSEWHERE
    });
}

#[test]
fn c57_the_next_owner_makes_something_of_what_was_found_elsewhere() {
    holds(&Size {
        schedulers: 2,
        leases_end_early: true,
        ..ELSEWHERE
    });
}

#[test]
fn one_process_follows_another() {
    holds(&Size {
        appends_need_work: true,
        ..WRITER
    });
}

/// The model finds that a guard is missing, and says so in these words.
macro_rules! mutations {
    ($($name:ident: $mutation:ident in $size:expr => $said:literal;)*) => {
        $(
            #[test]
            fn $name() {
                let explored = explore(&$size, Some(Mutation::$mutation));
                let found = explored.counterexample.expect("a world without this guard breaks");
                println!("{} states: {found}", explored.states);
                assert!(found.contains($said), "{found}");
            }
        )*
    };
}

mutations! {
    b07_an_old_epoch_s_write_is_found: LeaseUnchecked in SCHEDULERS
        => "was accepted after one under";
    b07_an_epoch_used_twice_is_found: EpochReused in SCHEDULERS
        => "changed hands under the one epoch";
    a_digest_before_its_marks_is_found: DigestBeforeMarks in Size { crashes: 1, ..SCHEDULERS }
        => "nobody will ever look at it";
    a_mark_cleared_by_a_conclusion_is_found: MarkClearedByConclusion in Size { appends: 2, ..SCHEDULERS }
        => "a mark that nobody looked at was lost";
    a_mark_cleared_by_a_start_is_found: MarkClearedByStart in Size { schedulers: 2, buckets: 2, ..WRITER }
        => "a mark that nobody looked at was lost";
    a_mark_cleared_by_an_end_is_found: MarkClearedByEnd in WRITER
        => "a mark that nobody looked at was lost";
    b05_a_row_forgotten_with_a_new_mark_is_found: RowForgottenUnseen in Size { appends: 0, drops: 1, ..SCHEDULERS }
        => "forgotten although it was marked again";
    b10_an_attempt_used_twice_is_found: AttemptReused in OPTIMIZERS
        => "claimed without a new attempt";
    b10_an_old_attempt_s_result_is_found: OldAttemptAccepted in OPTIMIZERS
        => "attempt 1 was accepted after attempt 2 began";
    a_commit_claim_used_twice_is_found: ClaimReused in OPTIMIZERS
        => "two claims of its commit have one number";
    an_old_claim_that_gives_a_commit_back_is_found: OldClaimGivenBack in Size { claims_end_early: true, ..WRITER }
        => "claim 1 of a commit";
    a_table_released_before_its_commit_is_found: EndedBeforeSwap in CALM
        => "where its table never was";
    c11_a_commit_without_validation_is_found: CommitUnvalidated in Size { removals: 1, ..CALM }
        => "nobody wrote it";
    a_swap_without_comparison_is_found: SwapUncompared in WRITER
        => "is lost";
    what_a_commit_was_rebased_on_and_nobody_looks_at_is_found: RebaseNotLookedAt in Size { appends_need_work: true, ..WRITER }
        => "nothing leads to rest any more";
    a_mark_cleared_by_a_hand_over_is_found: MarkClearedByHandOver in Size { cancels: 1, ..ELSEWHERE }
        => "nobody will ever look at it";
    nothing_to_do_of_before_a_mark_is_found: OldFindingTaken in ELSEWHERE_BESIDE_WRITER
        => "nobody will ever look at it";
    a_mark_that_a_wait_has_seen_and_no_optimizer_is_found: FindingHeldAgainstSeenMarks in Size { waits: true, ..ELSEWHERE_BESIDE_WRITER }
        => "nobody will ever look at it";
    a_mark_cleared_by_a_plan_of_before_it_is_found: MarkClearedByOldPlan in Size { cancels: 1, ..ELSEWHERE_BESIDE_WRITER }
        => "nobody will ever look at it";
    a_finding_that_is_used_twice_is_found: FindingKept in ELSEWHERE
        => "nothing leads to rest any more";
    c25_a_delete_on_an_unknown_outcome_is_found: UnknownOutcomeDeletes in Size { lost_answers: 1, ..CALM }
        => "is live, and was deleted";
    c25_a_delete_of_what_an_expired_snapshot_committed_is_found: UnusedUnchecked in Size { lost_answers: 1, expiries: 1, claims_end_early: true, ..WRITER }
        => "is live, and was deleted";
}
