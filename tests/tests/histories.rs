//! Random histories of tables, rewritten at random points: see `icepress_tests::history`.
//!
//! `HISTORIES=N` tries N of them instead of the usual number, `HISTORIES_FROM=S` begins with another seed.

#![allow(
    clippy::unwrap_used,
    reason = "a fixture that fails should fail the test at once"
)]

use icepress_tests::history::{Ground, Tally, try_seed};

const USUAL: u64 = 240;

/// As many threads as the machines have that run this for us.
const THREADS: u64 = 2;

/// What must have happened in that many histories, for a run to tell anything.
const EXPECTED: [&str; 18] = [
    "data files",
    "overwrites",
    "position delete files",
    "vectors",
    "equality delete files",
    "new schemas",
    "new specs",
    "upgrades to version 2",
    "upgrades to version 3",
    "groups committed",
    "groups committed across a foreign commit",
    "groups lost",
    "light groups of merged position deletes",
    "light groups of equality deletes turned into position deletes",
    "light groups of equality deletes turned into vectors",
    "light groups of deletes turned into a shared position delete file",
    "light groups committed across a foreign commit",
    "light groups lost",
];

#[allow(
    clippy::disallowed_methods,
    reason = "how many histories to try is for whoever runs the test to say"
)]
fn number(name: &str, otherwise: u64) -> u64 {
    std::env::var(name).map_or(otherwise, |text| {
        text.parse().expect("a number of histories")
    })
}

fn try_part(part: u64) {
    let (count, from) = (number("HISTORIES", USUAL), number("HISTORIES_FROM", 0));
    let folder = tempfile::tempdir().unwrap();
    let ground = Ground::new(folder.path(), part);
    let mut failures = Vec::new();
    let mut total = Tally::new();
    for seed in (from..from + count).filter(|seed| seed % THREADS == part) {
        match try_seed(&ground, seed) {
            Err(failure) => failures.push(failure),
            Ok(tally) => {
                for (what, times) in tally {
                    *total.entry(what).or_default() += times;
                }
            }
        }
    }
    println!("{total:#?}");
    assert!(failures.is_empty(), "{}", failures.join("\n\n"));
    if count >= USUAL {
        for what in EXPECTED {
            assert!(total.contains_key(what), "no history had any {what}");
        }
    }
}

#[test]
fn random_histories_keep_their_rows_even_seeds() {
    try_part(0);
}

#[test]
fn random_histories_keep_their_rows_odd_seeds() {
    try_part(1);
}
