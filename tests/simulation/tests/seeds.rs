//! Seeds of the simulation: each lives through its own trouble, and all of them end well.
//!
//! `tests/simulate` plays more of them, and one again with all that happened.
#![allow(clippy::unwrap_used)]

use std::sync::{
    Mutex,
    atomic::{AtomicU64, Ordering},
};

use icepress_simulation::run::{Outcome, run};

/// How many seeds are played: tests/simulate plays more.
const SEEDS: u64 = 2_000;

#[test]
fn the_same_seed_is_the_same_run_byte_for_byte() {
    let mut lines = 0;
    for seed in [1, 3, 7] {
        let (first, second) = (run(seed, true), run(seed, true));
        let (first_lines, second_lines) =
            (first.trace.lines().unwrap(), second.trace.lines().unwrap());
        let differs = first_lines
            .lines()
            .zip(second_lines.lines())
            .find(|(a, b)| a != b);
        assert_eq!(differs, None, "seed {seed}");
        assert_eq!(first_lines.len(), second_lines.len(), "seed {seed}");
        lines += first.trace.count();
        // Without its text the trace is the same.
        assert_eq!(
            run(seed, false).trace.hash(),
            first.trace.hash(),
            "seed {seed}"
        );
    }
    assert!(lines > 1000, "{lines} lines: too quiet to tell");
}

#[test]
fn seeds_hold_the_invariants_and_end_with_the_right_rows() {
    let next = AtomicU64::new(0);
    let (rewrites, foreign) = (AtomicU64::new(0), AtomicU64::new(0));
    let failed: Mutex<Vec<Outcome>> = Mutex::default();
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= SEEDS || failed.lock().unwrap().len() >= 3 {
                        return;
                    }
                    let outcome = run(seed, false);
                    rewrites.fetch_add(outcome.rewrites, Ordering::Relaxed);
                    foreign.fetch_add(outcome.foreign_commits, Ordering::Relaxed);
                    if !outcome.violations.is_empty() {
                        failed.lock().unwrap().push(outcome);
                    }
                }
            });
        }
    });
    let failed = failed.into_inner().unwrap();
    let told: Vec<String> = failed
        .iter()
        .map(|outcome| {
            format!(
                "seed {}: {}\n  to see it: tests/simulate --replay {}",
                outcome.seed,
                outcome.violations.join("; "),
                outcome.seed
            )
        })
        .collect();
    assert!(told.is_empty(), "{}", told.join("\n"));
    // A simulation in which nothing happens finds nothing.
    let (rewrites, foreign) = (rewrites.into_inner(), foreign.into_inner());
    println!("{SEEDS} seeds: {rewrites} commits of Icepress, {foreign} of other writers");
    assert!(
        rewrites > SEEDS && foreign > 4 * SEEDS,
        "{rewrites} and {foreign} commits"
    );
}
