//! The log: for finding out why, beside what a run says anyway.

use tracing_subscriber::EnvFilter;

use crate::{failure::Failure, progress::Screen};

/// Logs to the screen: warnings, or more with `-v`, or what `wanted` (`ICEPRESS_LOG`) says.
pub(crate) fn start(verbosity: u8, wanted: Option<&str>, screen: &Screen) -> Result<(), Failure> {
    let filter = match (wanted, verbosity) {
        (Some(wanted), _) => wanted,
        (None, 0) => "warn",
        (None, 1) => "warn,icepress=info",
        (None, _) => "info,icepress=debug",
    };
    let filter = EnvFilter::builder().parse(filter).map_err(|error| {
        Failure::Use(format!(
            "ICEPRESS_LOG is '{filter}': it should be a level, or a list as in icepress_service=debug: {error}"
        ))
    })?;
    let screen = screen.clone();
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(move || screen.clone())
        .with_ansi(false)
        .without_time()
        .init();
    Ok(())
}
