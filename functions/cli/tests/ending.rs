//! What is asked to end ends, whatever a server does.
#![allow(clippy::unwrap_used)]

mod support;

use std::{
    fs,
    io::Read as _,
    net::TcpListener,
    process::{Command, Stdio},
};

use support::{Said, icepress};

/// A server that takes a connection, hears the beginning of a request and says nothing; one of each kind of catalog.
#[test]
fn a_command_that_waits_for_a_silent_server_ends_when_it_is_asked_to() {
    for (kind, what) in [
        ("rest", "uri = 'http://ADDRESS'\n"),
        ("glue", "'glue.endpoint' = 'http://ADDRESS'\n"),
        ("dynamodb", "'dynamodb.endpoint' = 'http://ADDRESS'\n"),
        (
            "hadoop",
            "warehouse = 's3://lake/wh'\n's3.endpoint' = 'http://ADDRESS'\n",
        ),
        ("sql", "uri = 'postgresql://me@ADDRESS/db'\n"),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let silent = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = silent.local_addr().unwrap().to_string();
        let what = what.replace("ADDRESS", &address);
        fs::write(
            folder.path().join("icepress.toml"),
            format!("[catalog.default]\ntype = '{kind}'\n{what}"),
        )
        .unwrap();
        let child = icepress(folder.path(), &["tables"])
            .env("AWS_ACCESS_KEY_ID", "test")
            .env("AWS_SECRET_ACCESS_KEY", "test")
            .env("AWS_REGION", "eu-west-1")
            .env("AWS_EC2_METADATA_DISABLED", "true")
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        // Asked, it waits for the answer.
        let (mut asked, _) = silent.accept().unwrap();
        asked.read_exact(&mut [0]).unwrap();
        let killed = Command::new("kill")
            .args(["-TERM", &child.id().to_string()])
            .status()
            .unwrap();
        assert!(killed.success());
        // Without an end the test would never come back.
        let said = Said::of(child.wait_with_output().unwrap());
        assert_eq!(said.code, 143, "{kind}: {}", said.stderr);
    }
}
