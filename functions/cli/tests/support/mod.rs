//! Runs the real `icepress`, far from the configuration and state of whoever runs the tests.
#![allow(dead_code, reason = "each test file uses its own share of this")]

use std::{
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
};

use serde_json::Value;

/// An `icepress` in `folder`, with no environment but PyIceberg's configuration there.
pub(crate) fn icepress(folder: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_icepress"));
    command
        .args(arguments)
        .current_dir(folder)
        .env_clear()
        .env("HOME", folder)
        .env("TMPDIR", folder)
        .env("PYICEBERG_HOME", folder)
        .stdin(Stdio::null());
    command
}

/// What a finished command said.
pub(crate) struct Said {
    pub(crate) code: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Said {
    pub(crate) fn of(output: Output) -> Self {
        Self {
            code: output.status.code().expect("ended by itself"),
            stdout: String::from_utf8(output.stdout).expect("text"),
            stderr: String::from_utf8(output.stderr).expect("text"),
        }
    }

    /// The one JSON document on the standard output.
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.stdout)
            .unwrap_or_else(|error| panic!("{error} in {:?}; {}", self.stdout, self.stderr))
    }

    /// The lines on the standard error that begin with `error: `.
    pub(crate) fn errors(&self) -> Vec<&str> {
        let lines = self.stderr.lines();
        lines.filter(|line| line.starts_with("error: ")).collect()
    }
}

/// Runs `icepress` in `folder` to its end.
pub(crate) fn run(folder: &Path, arguments: &[&str]) -> Said {
    let output = icepress(folder, arguments).output().expect("icepress runs");
    Said::of(output)
}

/// The object about `table` in a document's `tables`.
pub(crate) fn about<'a>(document: &'a Value, table: &str) -> &'a Value {
    let tables = document["tables"].as_array().expect("tables");
    tables
        .iter()
        .find(|object| object["table"] == table)
        .unwrap_or_else(|| panic!("{table} in {document}"))
}

/// A warehouse with the demo's three tables, not compacted.
pub(crate) fn warehouse() -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let made = run(
        folder.path(),
        &["demo", "--json", "--no-run", "--warehouse", "w"],
    );
    assert_eq!(made.code, 0, "{}", made.stderr);
    let warehouse = folder.path().join("w");
    (folder, warehouse)
}
