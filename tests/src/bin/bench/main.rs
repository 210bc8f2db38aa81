//! Benches: `bench NAME` prints one line, the figure beside its baseline in the same run. Not timed tests: nothing
//! fails because a machine is slow.

mod binpack;
mod commit;
mod delete_index;
mod deletes;
mod events;
mod measure;
mod plan;
mod requests;
mod rewriting;

use std::process::ExitCode;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let outcome = match words.as_slice() {
        ["binpack"] => binpack::run().map_err(Into::into),
        ["binpack", part, folder] => binpack::run_part(part, folder).map_err(Into::into),
        ["commit"] => commit::run(),
        ["delete_index"] => delete_index::run(),
        ["deletes"] => deletes::run(deletes::ROUNDS).map_err(Into::into),
        ["deletes", rounds] => deletes::run_rounds(rounds).map_err(Into::into),
        ["deletes", part, folder] => deletes::run_part(part, folder).map_err(Into::into),
        ["plan"] => plan::run(),
        ["requests"] => requests::run(requests::TABLES, requests::IDLE_TABLES),
        ["requests", "many", tables] => tables.parse().map_err(Into::into).and_then(requests::many),
        ["requests", tables, idle] => requests::run_sized(tables, idle),
        ["plan", role, folder] => plan::run_role(role, folder),
        _ => {
            eprintln!(
                "bench: give the name of a bench: binpack, commit, delete_index, deletes, plan, requests"
            );
            return ExitCode::from(2);
        }
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bench: {error}");
            ExitCode::FAILURE
        }
    }
}
