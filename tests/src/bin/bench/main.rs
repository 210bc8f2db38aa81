//! Benches: `bench NAME` prints one line, the figure beside its baseline in the same run. Not timed tests: nothing
//! fails because a machine is slow.

mod beyond;
mod commit;
mod commit_large;
mod delete_index;
mod duel;
mod events;
mod measure;
mod night;
mod plain;
mod plan;
mod removed;
mod requests;
mod rewriting;
mod scan;
mod tables;
mod upkeep;

use std::process::ExitCode;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let outcome = match words.as_slice() {
        ["commit"] => commit::run(),
        ["commit-large"] => commit_large::run(commit_large::FILES).map_err(Into::into),
        ["commit-large", files] => files
            .parse()
            .map_err(Into::into)
            .and_then(|files| commit_large::run(files).map_err(Into::into)),
        ["commit-large", role, folder, files] => files
            .parse()
            .map_err(Into::into)
            .and_then(|files| commit_large::run_role(role, folder, files).map_err(Into::into)),
        ["delete_index"] => delete_index::run(),
        ["deletes-beyond"] => beyond::run(beyond::MILLIONS).map_err(Into::into),
        ["deletes-beyond", millions] => millions
            .parse()
            .map_err(Into::into)
            .and_then(|millions| beyond::run(millions).map_err(Into::into)),
        ["deletes-beyond", side, folder, millions] => millions
            .parse()
            .map_err(Into::into)
            .and_then(|millions| beyond::run_side(side, folder, millions).map_err(Into::into)),
        ["plan"] => plan::run(),
        ["plan", role, folder] => plan::run_role(role, folder),
        ["requests"] => requests::run(requests::TABLES, requests::IDLE_TABLES),
        ["requests", "many", tables] => tables.parse().map_err(Into::into).and_then(requests::many),
        ["requests", tables, idle] => requests::run_sized(tables, idle),
        ["night"] => night::run(tables::SMALL.files).map_err(Into::into),
        ["night", files] => files
            .parse()
            .map_err(Into::into)
            .and_then(|files| night::run(files).map_err(Into::into)),
        ["scan"] => scan::run().map_err(Into::into),
        ["expire"] => upkeep::run_expire(10_000, 1_000_000),
        ["expire", snapshots, files] => numbers([snapshots, files])
            .and_then(|[snapshots, files]| upkeep::run_expire(snapshots, files)),
        ["orphans"] => upkeep::run_orphans(10_000_000),
        ["orphans", keys] => numbers([keys]).and_then(|[keys]| upkeep::run_orphans(keys)),
        [upkeep::SIDE, name, folder, amount] => upkeep::run_role(name, folder, amount),
        [duel::SIDE, name, side, row_group_mb] => {
            duel::run_side(name, side, row_group_mb).map_err(Into::into)
        }
        [name] if duel::find(name).is_some() => duel::run(name, None).map_err(Into::into),
        [name, row_group_mb] if duel::find(name).is_some() => {
            duel::run(name, Some(row_group_mb)).map_err(Into::into)
        }
        _ => {
            eprintln!(
                "bench: give the name of a bench: commit, commit-large, delete_index, deletes-beyond, expire, night, orphans, plan, requests, scan, or of a rewrite, with the MB \
                 of its row groups where they are to be others ({}=never, always or where-it-pays: whether pages are merged): {}",
                rewriting::PAGES,
                duel::names()
            );
            return ExitCode::from(2);
        }
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bench: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn numbers<const N: usize>(words: [&&str; N]) -> Result<[u64; N], Box<dyn std::error::Error>> {
    let mut numbers = [0; N];
    for (number, word) in numbers.iter_mut().zip(words) {
        *number = word.parse()?;
    }
    Ok(numbers)
}
