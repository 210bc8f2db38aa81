//! AWS on loopback for tests: moto or MiniStack, from `localstack/`, each test its own process on a free port.
//!
//! Needs the Python environment that `tests/venv` makes. Where it is missing the test prints that it is skipped; where
//! `CI` is set it fails.

use std::{
    io::{BufRead as _, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_sdk_s3::config::Credentials;

use crate::AwsEnvironment;

/// The account that both emulators are told to be.
const ACCOUNT: &str = "123456789012";

/// Which emulator. A test that passes on both says more than on one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EmulatorKind {
    /// moto, with its cures.
    Moto,
    /// MiniStack, with its cures.
    MiniStack,
}

/// A running emulator; ends when dropped.
#[derive(Debug)]
pub struct Emulator {
    process: Child,
    endpoint: String,
}

impl Emulator {
    /// Starts one. `None`, with a line printed, where there is no Python for it.
    pub fn start(kind: EmulatorKind) -> Option<Self> {
        let python = python()?;
        let script = match kind {
            EmulatorKind::Moto => "moto_server.py",
            EmulatorKind::MiniStack => "mini_server.py",
        };
        let mut process = Command::new(python)
            .arg(root().join("localstack").join(script))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("the interpreter was found a moment ago");
        let output = process.stdout.take().expect("it was asked for");
        let mut endpoint = String::new();
        BufReader::new(output)
            .read_line(&mut endpoint)
            .expect("the emulator's output is text");
        let endpoint = endpoint.trim().to_owned();
        assert!(
            endpoint.starts_with("http"),
            "{script} did not start: {endpoint}"
        );
        Some(Self { process, endpoint })
    }

    /// Where it listens.
    pub fn endpoint(&self) -> &str {
        &self.endpoint
    }

    /// A configuration for its clients.
    pub async fn config(&self) -> SdkConfig {
        aws_config::defaults(BehaviorVersion::latest())
            .credentials_provider(Credentials::new(ACCOUNT, "secret", None, None, "emulator"))
            .region(Region::from_static("us-east-1"))
            .endpoint_url(&self.endpoint)
            .load()
            .await
    }

    /// The same, as the adapters take it.
    pub async fn environment(&self) -> AwsEnvironment {
        AwsEnvironment::from_config(self.config().await)
    }
}

impl Drop for Emulator {
    fn drop(&mut self) {
        // Politely first, so that it ends the processes that it started itself.
        let asked = Command::new("kill")
            .arg(self.process.id().to_string())
            .status();
        if !asked.is_ok_and(|status| status.success()) {
            let _ = self.process.kill();
        }
        let _ = self.process.wait();
    }
}

/// The environment's interpreter, or the one that `ICEPRESS_PYTHON` names. `None`, with a line printed, where there is
/// neither; where `CI` is set that fails the test.
pub fn python() -> Option<PathBuf> {
    let made = root().join("target/venv/bin/python");
    let python = if made.is_file() {
        Some(made)
    } else {
        variable("ICEPRESS_PYTHON").map(PathBuf::from)
    };
    if python.is_none() {
        assert!(
            variable("CI").is_none(),
            "there is no Python environment: run tests/venv"
        );
        println!("skipped: there is no Python environment: run tests/venv");
    }
    python
}

/// The workspace's folder.
fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

#[allow(
    clippy::disallowed_methods,
    reason = "a test harness has no configuration of its own"
)]
fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}
