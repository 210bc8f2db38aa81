//! SIGINT and SIGTERM: finish the commit in hand, begin nothing new, end.
//!
//! Whatever else is in hand is not waited for: a server that is silent must not keep anybody, and what a rewrite that is
//! cut off had claimed is taken up by the next run.

use std::time::Duration;

use icepress_model::ambient::Ambient;
use icepress_service::{CommitGate, embedded::Stop};

use crate::{failure::Failure, progress::Screen};

/// How long a command has to end by itself, with its report, once no commit is in the middle.
const GRACE: Duration = Duration::from_secs(2);

/// Makes the signals ask `stop`, and end the process a moment after the last commit that is in the middle. A second one
/// ends it at once: the table's catalog commit is atomic, so even that costs work and no rows.
pub(crate) fn on_signals(
    stop: &Stop,
    commits: &CommitGate,
    screen: &Screen,
) -> Result<(), Failure> {
    use tokio::signal::unix::{SignalKind, signal};
    let listen = |kind| signal(kind).map_err(|error| Failure::Work(format!("signals: {error}")));
    let mut interrupt = listen(SignalKind::interrupt())?;
    let mut terminate = listen(SignalKind::terminate())?;
    let stop = stop.clone();
    let commits = commits.clone();
    let screen = screen.clone();
    tokio::spawn(async move {
        let mut signal = async || {
            tokio::select! {
                _ = interrupt.recv() => 130,
                _ = terminate.recv() => 143,
            }
        };
        let code = signal().await;
        stop.request();
        screen.line("ending after what is in hand; once more ends at once");
        let over = async {
            commits.close().await;
            Ambient::system().clock.sleep(GRACE).await;
            code
        };
        let code = tokio::select! {
            again = signal() => again,
            code = over => code,
        };
        std::process::exit(code);
    });
    Ok(())
}
