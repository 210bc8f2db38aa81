//! `histories`: random histories of tables (see `icepress_tests::history`), for more than the tests try, and for other
//! readers.
//!
//! * `histories show SEED`: the history of a seed, a line a step.
//! * `histories try COUNT FROM`: lives the histories of seeds from FROM on; what fails is printed as short as can be.
//! * `histories dump COUNT FROM FOLDER`: lives them in a catalog in FOLDER (`catalog.db`, named `default`), one table
//!   each, with further tables for each state after a rewrite; `expected.jsonl` has a line a table: its name, after which
//!   step, and its rows as the Java harness prints them; `tally.json` says what happened, and how often.

use std::{fs, path::Path, process::ExitCode};

use icepress_tests::history::{Ground, Tally, history_of, try_seed};
use serde_json::json;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let outcome = match words.as_slice() {
        ["show", seed] => show(seed),
        ["try", count, from] => try_all(count, from),
        ["dump", count, from, folder] => dump(count, from, Path::new(folder)),
        _ => Err("give show SEED, try COUNT FROM, or dump COUNT FROM FOLDER".to_owned()),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("histories: {message}");
            ExitCode::FAILURE
        }
    }
}

fn add(total: &mut Tally, tally: Tally) {
    for (what, times) in tally {
        *total.entry(what).or_default() += times;
    }
}

fn number(word: &str) -> Result<u64, String> {
    word.parse().map_err(|_| format!("'{word}' is no number"))
}

fn show(seed: &str) -> Result<(), String> {
    let history = history_of(number(seed)?);
    println!("{:?}", history.setup);
    for (count, step) in (1..).zip(&history.steps) {
        println!("{count}. {step:?}");
    }
    Ok(())
}

fn try_all(count: &str, from: &str) -> Result<(), String> {
    let (count, from) = (number(count)?, number(from)?);
    let folder = tempfile::tempdir().map_err(|error| error.to_string())?;
    let ground = Ground::new(folder.path(), from);
    let mut total = Tally::new();
    let mut failed = 0;
    for seed in from..from + count {
        match try_seed(&ground, seed) {
            Ok(tally) => add(&mut total, tally),
            Err(failure) => {
                failed += 1;
                println!("{failure}\n");
            }
        }
    }
    println!("{total:#?}\n{count} histories, {failed} failed");
    if failed > 0 {
        return Err(format!("{failed} of {count} histories failed"));
    }
    Ok(())
}

fn dump(count: &str, from: &str, folder: &Path) -> Result<(), String> {
    let (count, from) = (number(count)?, number(from)?);
    let ground = Ground::new(folder, from);
    let mut lines = String::new();
    let mut total = Tally::new();
    for seed in from..from + count {
        let name = format!("h{seed}");
        let lived = ground.live(&name, &history_of(seed));
        let (mut checkpoints, tally) = lived.map_err(|reason| format!("seed {seed}: {reason}"))?;
        add(&mut total, tally);
        let last = checkpoints.pop();
        let earlier = (1..).zip(&checkpoints).map(|(number, checkpoint)| {
            let name = format!("{name}_{number}");
            ground.register(&name, checkpoint);
            (name, checkpoint)
        });
        let mut states: Vec<_> = earlier.collect();
        states.extend(last.as_ref().map(|last| (name, last)));
        for (name, checkpoint) in states {
            let line = json!({
                "table": format!("histories.{name}"),
                "after": checkpoint.after,
                "rows": checkpoint.rows,
            });
            lines.push_str(&format!("{line}\n"));
        }
    }
    fs::write(folder.join("tally.json"), json!(total).to_string())
        .and_then(|()| fs::write(folder.join("expected.jsonl"), lines))
        .map_err(|error| error.to_string())
}
