//! `requests`: what Icepress asks of AWS, by kind, and what that costs: a census in which nothing changed, one rewrite
//! of one group, a round in which one table of a hundred changed, and 100,000 tables in 64 buckets of which as many changed.
//!
//! On emulators, with the very adapters that functions use (see `icepress_tests::deployed`). Not counted: the functions'
//! own time, and how the event source mappings poll the queues, which is the same whatever Icepress does. moto gives all
//! tables of a database in one answer; Glue gives at most a hundred, which is reckoned in.

mod prices;

use icepress_simulation::scale::{self, Runs, Scale};
use icepress_storage::RequestTotals;
use icepress_tests::deployed::{Outcome, World};

/// Tables whose census is counted when nothing changed.
pub(crate) const IDLE_TABLES: usize = 10_000;
/// Tables of which one in a hundred changes.
pub(crate) const TABLES: usize = 1_000;

/// The most tables, in a simulated world: the catalog and the functions keep its time. In one database, and in many.
const MOST_TABLES: usize = 100_000;

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
        Ok::<(), Box<dyn std::error::Error>>(())
    })?;
    many(MOST_TABLES)
}

/// Prints how soon one table in a hundred of so many was looked at, and what that took.
pub(crate) fn many(tables: usize) -> Outcome<()> {
    for databases in [500, 1] {
        let scale = Scale {
            tables,
            databases,
            buckets: 64,
            changed: tables / 100,
            schedulers: 16,
            page_takes: scale::PAGE_TAKES,
        };
        let seen = scale::run(scale)?;
        println!(
            "requests scale tables={tables} databases={databases} buckets=64 changed={} ticks={} seconds_after_first_tick={}",
            scale.changed,
            seen.ticks,
            seen.took.as_secs()
        );
        show_scale(
            "scale_one_percent_changed",
            tables,
            &seen.requests,
            &seen.runs,
        );
        show_scale("scale_idle_period", tables, &seen.idle, &seen.idle_runs);
        if seen.took >= scale::PERIOD * 2 {
            let took = seen.took.as_secs();
            return Err(format!(
                "the last table that changed was looked at after {took} s: two periods had passed"
            )
            .into());
        }
    }
    Ok(())
}

/// The same with the functions' own time, and the messages that woke them.
fn show_scale(situation: &str, tables: usize, requests: &RequestTotals, runs: &Runs) {
    show(situation, tables, requests);
    let errands = runs.count - runs.ticks;
    let usd = prices::dollars(requests) + prices::of_scheduler(errands, runs.count, runs.took);
    println!(
        "requests {situation} tables={tables} runs={} errands={errands} seconds={} usd_with_runs={usd:.6}",
        runs.count,
        runs.took.as_secs(),
    );
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
