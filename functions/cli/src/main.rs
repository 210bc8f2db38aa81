//! `icepress`: keeps Apache Iceberg tables healthy, from the command line.
#![cfg_attr(test, allow(clippy::unwrap_used))]

mod arguments;
mod commands;
mod demo;
mod environment;
mod failure;
mod log;
mod metrics;
mod names;
mod progress;
mod render;
mod session;
mod stop;

use std::process::ExitCode;

use crate::{
    arguments::Arguments,
    environment::Environment,
    failure::{Ending, Failure},
    progress::Screen,
};

fn main() -> ExitCode {
    let arguments = Arguments::read(std::env::args_os()).unwrap_or_else(|error| error.exit());
    let screen = Screen::new();
    let result = run(arguments, &screen);
    if let Err(failure) = &result {
        screen.line(format!("error: {failure}"));
    }
    failure::exit_code(&result)
}

fn run(arguments: Arguments, screen: &Screen) -> Result<Ending, Failure> {
    let environment = Environment::read()?;
    log::start(arguments.global.verbose, environment.log.as_deref(), screen)?;
    // One thread more than there are rewrites: claims are renewed while they work.
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(arguments.global.threads() + 1)
        .enable_all()
        .build()
        .map_err(|error| Failure::Work(format!("no threads can be started: {error}")))?;
    runtime.block_on(commands::dispatch(arguments, environment, screen.clone()))
}
