//! Our commit lock in a process of its own, told what to do line by line, for tests beside Java's lock manager.
//!
//! `lock-holder TABLE` takes AWS from the environment. It reads `acquire ENTITY OWNER`, `left` (how much longer the table
//! may be changed) and `release`, and answers each line with one line of JSON. It holds what it acquired until it is told
//! to release it, or killed.

use std::{
    io::{BufRead as _, Write as _},
    time::Duration,
};

use anyhow::{Context as _, bail};
use icepress_catalog::{
    config::CatalogProperties,
    lock::{CommitLock, HeldLock, LockOptions},
};
use icepress_model::{CatalogName, ambient::Ambient};
use icepress_storage::AwsEnvironment;
use serde_json::{Value, json};

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    let table = std::env::args().nth(1).context("name the lock table")?;
    let properties = [
        (
            "lock-impl",
            "org.apache.iceberg.aws.dynamodb.DynamoDbLockManager",
        ),
        ("lock.table", &table),
        ("lock.acquire-timeout-ms", "30000"),
    ]
    .map(|(key, value)| (key.to_owned(), value.to_owned()));
    let properties = CatalogProperties::of(CatalogName::from("test"), properties);
    let options = LockOptions::from_properties(&properties)?.context("lock-impl is set")?;
    let ambient = Ambient::system();
    let aws = AwsEnvironment::new();
    let lock = CommitLock::connect(options, &properties, &aws, ambient.clone()).await;

    let mut held: Option<HeldLock<'_>> = None;
    say(&json!({ "ready": true }))?;
    for line in std::io::stdin().lock().lines() {
        let line = line?;
        let begun = ambient.clock.monotonic();
        let mut said = match line.split(' ').collect::<Vec<_>>().as_slice() {
            ["acquire", entity, owner] => match lock.acquire(entity, owner).await {
                Ok(lock) => {
                    let left = milliseconds(lock.time_left());
                    held = Some(lock);
                    json!({ "acquire": true, "left": left })
                }
                Err(error) => json!({ "acquire": false, "error": error.to_string() }),
            },
            ["left"] => {
                json!({ "left": held.as_ref().map(|lock| milliseconds(lock.time_left())) })
            }
            ["release"] => {
                if let Some(lock) = held.take() {
                    lock.release().await;
                }
                json!({ "release": true })
            }
            _ => bail!("no such command: {line}"),
        };
        said["ms"] = Value::from(milliseconds(ambient.clock.monotonic() - begun));
        say(&said)?;
    }
    Ok(())
}

fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

fn say(said: &Value) -> std::io::Result<()> {
    let mut output = std::io::stdout().lock();
    writeln!(output, "{said}")?;
    output.flush()
}
