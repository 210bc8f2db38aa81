//! `icepress completions SHELL`.

use std::io::{self, Write as _};

use crate::{
    arguments::{Arguments, CompletionsArguments},
    failure::{Ending, Failure},
};

/// Prints the completion script.
pub(super) fn print(wanted: &CompletionsArguments) -> Result<Ending, Failure> {
    let mut script = Vec::new();
    clap_complete::generate(
        wanted.shell,
        &mut Arguments::whole_command(),
        "icepress",
        &mut script,
    );
    io::stdout()
        .write_all(&script)
        .map_err(|error| Failure::Work(format!("standard output: {error}")))?;
    Ok(Ending::Well)
}
