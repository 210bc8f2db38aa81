//! Random histories of tables, rewritten at random points: see `icepress_tests::history`.
//!
//! `HISTORIES=N` tries N of them instead of the usual number, `HISTORIES_FROM=S` begins with another seed.

use icepress_tests::history::{Ground, try_seed};

const USUAL: u64 = 240;

/// As many threads as the machines have that run this for us.
const THREADS: u64 = 2;

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
    let failures: Vec<String> = (from..from + count)
        .filter(|seed| seed % THREADS == part)
        .filter_map(|seed| try_seed(&ground, seed).err())
        .collect();
    assert!(failures.is_empty(), "{}", failures.join("\n\n"));
}

#[test]
fn random_histories_keep_their_rows_even_seeds() {
    try_part(0);
}

#[test]
fn random_histories_keep_their_rows_odd_seeds() {
    try_part(1);
}
