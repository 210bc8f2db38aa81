//! For tests: an emulator of AWS on loopback, started by the test and ended with it.

pub(crate) mod proxy;

use std::{
    io::{BufRead as _, BufReader, Write as _},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use aws_sdk_dynamodb::config::{BehaviorVersion, Credentials, Region};

/// Which emulator.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Moto,
    MiniStack,
}

/// A running emulator.
#[derive(Debug)]
pub(crate) struct Emulator {
    server: Child,
    endpoint: String,
}

/// Both emulators take a key of twelve digits for the account.
const ACCOUNT: &str = "123456789012";

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// An interpreter that has a module: the one named by `ICEPRESS_PYTHON`, else that of `tests/venv`.
fn python_with(module: &str) -> Option<PathBuf> {
    let named = std::env::var_os("ICEPRESS_PYTHON").map(PathBuf::from);
    let candidates = named
        .into_iter()
        .chain([root().join("target/venv/bin/python")]);
    let has_it = |python: &PathBuf| {
        let import = Command::new(python)
            .args(["-c", &format!("import {module}")])
            .stderr(Stdio::null())
            .status();
        import.is_ok_and(|status| status.success())
    };
    candidates.into_iter().find(has_it)
}

impl Emulator {
    /// Starts one on a free port. Where its Python environment is missing: `None` and a printed line, or a failure
    /// where `CI` is set.
    pub(crate) fn start(kind: Kind) -> Option<Self> {
        let (script, module) = match kind {
            Kind::Moto => ("moto_server.py", "moto.server"),
            Kind::MiniStack => ("mini_server.py", "ministack"),
        };
        let Some(python) = python_with(module) else {
            let missing = format!("no Python with {module}: run tests/venv");
            assert!(std::env::var_os("CI").is_none(), "{missing}");
            // Not by a macro, whose output a test that passes would hide.
            let _ = writeln!(std::io::stderr(), "SKIPPED: {missing}");
            return None;
        };
        let mut command = Command::new(&python);
        command
            .arg(root().join("localstack").join(script))
            .stdout(Stdio::piped())
            .stderr(Stdio::null());
        if kind == Kind::MiniStack {
            command.arg("--no-auth");
        }
        let mut server = command.spawn().expect("the interpreter was just run");
        let mut first_line = String::new();
        BufReader::new(server.stdout.take().unwrap())
            .read_line(&mut first_line)
            .unwrap();
        let endpoint = first_line.trim().to_owned();
        assert!(endpoint.starts_with("http://127.0.0.1:"), "{endpoint:?}");
        Some(Self { server, endpoint })
    }

    pub(crate) fn endpoint(&self) -> &str {
        &self.endpoint
    }

    pub(crate) fn dynamodb(&self) -> aws_sdk_dynamodb::Client {
        let config = aws_sdk_dynamodb::Config::builder()
            .behavior_version(BehaviorVersion::latest())
            .region(Region::new("us-east-1"))
            .endpoint_url(&self.endpoint)
            .credentials_provider(Credentials::new(ACCOUNT, "test", None, None, "test"))
            .build();
        aws_sdk_dynamodb::Client::from_conf(config)
    }

    pub(crate) fn sqs(&self) -> aws_sdk_sqs::Client {
        let config = aws_sdk_sqs::Config::builder()
            .behavior_version(BehaviorVersion::latest())
            .region(Region::new("us-east-1"))
            .endpoint_url(&self.endpoint)
            .credentials_provider(Credentials::new(ACCOUNT, "test", None, None, "test"))
            .build();
        aws_sdk_sqs::Client::from_conf(config)
    }
}

impl Drop for Emulator {
    fn drop(&mut self) {
        // It may have ended by itself; then there is nothing to end and only to wait for.
        let _ = self.server.kill();
        let _ = self.server.wait();
    }
}
