//! `requests`: what Icepress asks of AWS, by kind, and what that costs: a census in which nothing changed, one rewrite
//! of one group, and a round in which one table of a hundred changed.
//!
//! On emulators, with the very adapters that functions use (see `icepress_tests::deployed`). Not counted: the functions'
//! own time, and how the event source mappings poll the queues, which is the same whatever Icepress does. moto gives all
//! tables of a database in one answer; Glue gives at most a hundred, which is reckoned in.

mod prices;

use icepress_storage::RequestTotals;
use icepress_tests::deployed::{Outcome, World};

/// Tables whose census is counted when nothing changed.
pub(crate) const IDLE_TABLES: usize = 10_000;
/// Tables of which one in a hundred changes.
pub(crate) const TABLES: usize = 1_000;

/// The same with other numbers of tables, as they were typed: `bench requests 200 500`.
pub(crate) fn run_sized(tables: &str, idle: &str) -> Outcome<()> {
    run(tables.parse()?, idle.parse()?)
}

/// Prints a line for each situation.
pub(crate) fn run(tables: usize, idle: usize) -> Outcome<()> {
    tokio::runtime::Runtime::new()?.block_on(async {
        let world = World::new(tables).await?;
        world.append_to(0..1).await?;
        show("one_group", tables, &world.round_by_pages().await?);
        let changed = (tables / 100).max(1);
        world.append_to(1..1 + changed).await?;
        show(
            "one_percent_changed",
            tables,
            &world.round_by_pages().await?,
        );
        drop(world);
        let world = World::new(idle).await?;
        show("idle", idle, &world.round_by_pages().await?);
        Ok(())
    })
}

fn show(situation: &str, tables: usize, requests: &RequestTotals) {
    let kinds: Vec<String> = requests
        .iter()
        .map(|(kind, count)| format!("{kind}={count}"))
        .collect();
    println!(
        "requests {situation} tables={tables} requests={} usd={:.6} {}",
        requests.values().sum::<u64>(),
        prices::dollars(requests),
        kinds.join(" ")
    );
}
