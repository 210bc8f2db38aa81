//! SIGINT and SIGTERM: finish the commit in hand, begin nothing new, end.

use icepress_service::embedded::Stop;

use crate::{failure::Failure, progress::Screen};

/// Makes the signals ask `stop`. A second one ends the process at once: the table's catalog commit is atomic, so even
/// that costs work and no rows.
pub(crate) fn on_signals(stop: &Stop, screen: &Screen) -> Result<(), Failure> {
    use tokio::signal::unix::{SignalKind, signal};
    let listen = |kind| signal(kind).map_err(|error| Failure::Work(format!("signals: {error}")));
    let mut interrupt = listen(SignalKind::interrupt())?;
    let mut terminate = listen(SignalKind::terminate())?;
    let stop = stop.clone();
    let screen = screen.clone();
    tokio::spawn(async move {
        let mut code = 0;
        for _ in 0..2 {
            code = tokio::select! {
                _ = interrupt.recv() => 130,
                _ = terminate.recv() => 143,
            };
            stop.request();
            screen.line("ending after what is in hand; once more ends at once");
        }
        std::process::exit(code);
    });
    Ok(())
}
