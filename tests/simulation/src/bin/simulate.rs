//! Plays many seeds, or one with its whole trace: `tests/simulate`.

use std::{
    process::ExitCode,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use clap::Parser;
use icepress_simulation::run::{Outcome, run};

/// Plays the simulation.
#[derive(Debug, Parser)]
#[command(name = "tests/simulate")]
struct Arguments {
    /// How many seeds to play.
    #[arg(long, default_value_t = 100)]
    seeds: u64,
    /// The first seed.
    #[arg(long, default_value_t = 0)]
    from: u64,
    /// Play this seed alone, and print all that happened.
    #[arg(long)]
    replay: Option<u64>,
    /// Seeds played at once.
    #[arg(long, default_value_t = 2)]
    threads: u64,
    /// Stop after so many seeds that failed.
    #[arg(long, default_value_t = 10)]
    failures: usize,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    if let Some(seed) = arguments.replay {
        let outcome = run(seed, true);
        println!("{}", outcome.trace.lines().unwrap_or_default());
        return report(&[outcome]);
    }
    let next = AtomicU64::new(arguments.from);
    let end = arguments.from.saturating_add(arguments.seeds);
    let failed: Mutex<Vec<Outcome>> = Mutex::default();
    let totals = [const { AtomicU64::new(0) }; 3];
    std::thread::scope(|scope| {
        for _ in 0..arguments.threads.max(1) {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    let enough = {
                        let failed = failed.lock().unwrap_or_else(PoisonError::into_inner);
                        failed.len() >= arguments.failures
                    };
                    if seed >= end || enough {
                        return;
                    }
                    let outcome = run(seed, false);
                    totals[0].fetch_add(1, Ordering::Relaxed);
                    totals[1].fetch_add(outcome.rewrites, Ordering::Relaxed);
                    totals[2].fetch_add(outcome.foreign_commits, Ordering::Relaxed);
                    if !outcome.violations.is_empty() {
                        println!("seed {seed}: {}", outcome.violations.join("\n  "));
                        let mut failed = failed.lock().unwrap_or_else(PoisonError::into_inner);
                        failed.push(outcome);
                    }
                }
            });
        }
    });
    println!(
        "{} seeds: {} commits of Icepress, {} of other writers",
        totals[0].load(Ordering::Relaxed),
        totals[1].load(Ordering::Relaxed),
        totals[2].load(Ordering::Relaxed)
    );
    let failed = failed.into_inner().unwrap_or_else(PoisonError::into_inner);
    report(&failed)
}

fn report(outcomes: &[Outcome]) -> ExitCode {
    let failed: Vec<&Outcome> = outcomes
        .iter()
        .filter(|outcome| !outcome.violations.is_empty())
        .collect();
    for outcome in &failed {
        println!(
            "seed {} failed: tests/simulate --replay {}",
            outcome.seed, outcome.seed
        );
        for violation in &outcome.violations {
            println!("  {violation}");
        }
    }
    if failed.is_empty() {
        println!("all is well");
        return ExitCode::SUCCESS;
    }
    ExitCode::FAILURE
}
