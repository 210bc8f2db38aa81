//! What holds whatever happens, and what breaks it.

use stateright::{Checker, HasDiscoveries, Model as _};

use super::{BESIDE, EXPIRED, Expiry, Left, Mutation, SAFE, TIDY};

/// What breaks first, if anything does, after so many states; and what never happens.
fn explore(left: Left, mutation: Option<Mutation>) -> (usize, Option<String>, Vec<&'static str>) {
    let checker = Expiry { left, mutation }
        .checker()
        .finish_when(HasDiscoveries::AnyFailures)
        .spawn_bfs()
        .join();
    let broken = [SAFE, TIDY].into_iter().find_map(|property| {
        let path = checker.discovery(property)?;
        let last = path.last_state().clone();
        let steps = path.into_actions();
        let what = last.broken.unwrap_or(property);
        Some(format!("{what}\nafter {steps:?}\nin {last:#?}"))
    });
    let never = [EXPIRED, BESIDE].into_iter();
    let never = never.filter(|what| checker.discovery(what).is_none());
    (checker.unique_state_count(), broken, never.collect())
}

fn holds(left: Left) {
    let (states, broken, never) = explore(left.clone(), None);
    println!("{states} states: {left:?}");
    assert_eq!(broken, None);
    let is_expected = |what: &&str| *what == BESIDE && left.rewrites == 0;
    assert!(never.iter().all(is_expected), "never happened: {never:?}");
}

#[test]
fn two_attempts_of_which_one_dies_expire_beside_a_writer() {
    holds(Left {
        expiries: 2,
        crashes: 1,
        appends: 1,
        removals: 1,
        ..Left::default()
    });
}

#[test]
fn c31_tags_and_files_that_come_back_are_minded() {
    holds(Left {
        expiries: 1,
        removals: 1,
        tags: 1,
        returns: 1,
        ..Left::default()
    });
}

#[test]
fn c31_a_way_back_is_minded() {
    holds(Left {
        expiries: 1,
        removals: 1,
        rollbacks: 1,
        returns: 1,
        ..Left::default()
    });
}

#[test]
fn c26_who_expires_by_hand_leaves_the_base_of_a_rewrite() {
    holds(Left {
        rewrites: 2,
        expiries: 1,
        by_hand: 1,
        appends: 1,
        ..Left::default()
    });
}

#[test]
fn another_one_s_expiry_comes_in_between() {
    holds(Left {
        rewrites: 1,
        expiries: 1,
        crashes: 1,
        appends: 1,
        foreign_expiries: 1,
        ..Left::default()
    });
}

/// The model finds that a guard is missing, and says so in these words.
macro_rules! mutations {
    ($($name:ident: $mutation:ident in $left:expr => $said:expr;)*) => {
        $(
            #[test]
            fn $name() {
                let (_, broken, _) = explore($left, Some(Mutation::$mutation));
                let found = broken.expect("a world without this guard breaks");
                assert!(found.starts_with($said), "{found}");
            }
        )*
    };
}

mutations! {
    files_that_go_before_the_commit_are_found: DeleteBeforeCommit in Left { expiries: 1, crashes: 1, removals: 1, ..Left::default() }
        => "a file is gone that a snapshot needs";
    c26_pins_that_nobody_asks_for_are_found: PinsIgnored in Left { rewrites: 1, by_hand: 1, appends: 1, ..Left::default() }
        => "a snapshot is expired that a rewrite works on";
    c31_expiry_by_main_alone_is_found: MainAlone in Left { expiries: 1, removals: 1, tags: 1, ..Left::default() }
        => "a snapshot is gone that a branch or tag names";
    c57_what_is_not_written_down_is_found: NotWrittenDown in Left { expiries: 1, crashes: 1, removals: 1, ..Left::default() }
        => TIDY;
    a_look_before_what_was_written_down_is_read_is_found: LookedAtBefore in Left { expiries: 2, crashes: 1, appends: 1, removals: 1, ..Left::default() }
        => TIDY;
    a_swap_of_snapshots_without_comparison_is_found: SwapUncompared in Left { expiries: 1, tags: 1, ..Left::default() }
        => "a snapshot is gone that a branch or tag names";
}
