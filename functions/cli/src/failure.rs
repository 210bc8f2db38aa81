//! How a command ends: well, with a table that failed, or not at all.

use std::{error::Error, fmt, process::ExitCode};

/// What a command that did its work came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ending {
    /// All well.
    Well,
    /// Some table failed; the others were done.
    SomeFailed,
}

/// Why a command could not do its work: one line for people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Failure {
    /// Wrong use or configuration: the person has to change something.
    Use(String),
    /// Something failed.
    Work(String),
}

impl Failure {
    /// A failure of work, from any error.
    pub(crate) fn work(error: impl fmt::Display) -> Self {
        Self::Work(error.to_string())
    }

    /// The same with what it was about in front.
    pub(crate) fn about(self, what: impl fmt::Display) -> Self {
        match self {
            Self::Use(message) => Self::Use(format!("{what}: {message}")),
            Self::Work(message) => Self::Work(format!("{what}: {message}")),
        }
    }
}

impl fmt::Display for Failure {
    /// One line, whatever the causes brought along.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (Self::Use(message) | Self::Work(message)) = self;
        let words: Vec<&str> = message.split_whitespace().collect();
        f.write_str(&words.join(" "))
    }
}

impl Error for Failure {}

/// The exit code of a command's result. Code 2 is wrong use or configuration, as it is clap's.
pub(crate) fn exit_code(result: &Result<Ending, Failure>) -> ExitCode {
    ExitCode::from(match result {
        Ok(Ending::Well) => 0,
        Ok(Ending::SomeFailed) | Err(Failure::Work(_)) => 1,
        Err(Failure::Use(_)) => 2,
    })
}
