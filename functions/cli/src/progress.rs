//! What a person sees while work goes on: bars on a terminal, plain lines elsewhere. All of it on the standard error.

use std::{
    collections::BTreeMap,
    fmt,
    io::{self, IsTerminal as _, Write as _},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use icepress_model::{ProcessId, ambient::Ambient};
use icepress_rewrite::Progress;
use icepress_service::{Event, Observer};
use indicatif::{MultiProgress, ProgressBar, ProgressStyle};

mod lines;

#[cfg(test)]
mod tests;

/// How often bars are drawn anew.
const FRAME: Duration = Duration::from_millis(100);

/// The standard error, shared by bars, lines and the log so that none is drawn over another.
#[derive(Debug, Clone)]
pub(crate) struct Screen {
    bars: Option<MultiProgress>,
}

impl Screen {
    /// The screen; with bars where it is a terminal.
    pub(crate) fn new() -> Self {
        Self {
            bars: io::stderr().is_terminal().then(MultiProgress::new),
        }
    }

    /// Prints one line, above the bars if there are any.
    pub(crate) fn line(&self, line: impl fmt::Display) {
        let mut text = line.to_string();
        text.push('\n');
        self.print(text.as_bytes());
    }

    /// A bar for work of many equal parts; nothing where there are no bars.
    pub(crate) fn bar(&self, what: String) -> PartsBar {
        PartsBar(self.bars.as_ref().map(|bars| {
            let style =
                ProgressStyle::with_template("{prefix:40!} [{bar:30}] {pos} of {len} {elapsed}")
                    .unwrap_or_else(|_| ProgressStyle::default_bar());
            let bar = ProgressBar::new(0).with_style(style.progress_chars("=> "));
            let bar = bars.add(bar);
            bar.set_prefix(what);
            bar
        }))
    }

    fn print(&self, text: &[u8]) {
        // A standard error that is closed must not end the work.
        let write = || io::stderr().lock().write_all(text).unwrap_or_default();
        match &self.bars {
            Some(bars) => bars.suspend(write),
            None => write(),
        }
    }
}

/// How far work of many equal parts has come.
#[derive(Debug)]
pub(crate) struct PartsBar(Option<ProgressBar>);

impl PartsBar {
    /// Shows that `done` of `all` parts are done.
    pub(crate) fn show(&self, done: u64, all: u64) {
        if let Some(bar) = &self.0 {
            bar.set_length(all);
            bar.set_position(done);
        }
    }

    /// Takes the bar away.
    pub(crate) fn end(self) {
        if let Some(bar) = self.0 {
            bar.finish_and_clear();
        }
    }
}

/// Writes the log to a [`Screen`].
impl io::Write for Screen {
    fn write(&mut self, text: &[u8]) -> io::Result<usize> {
        self.print(text);
        Ok(text.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Shows what the service does.
#[derive(Debug)]
pub(crate) struct Reporter {
    screen: Screen,
    /// How much to say: `-v` counted.
    verbosity: u8,
    running: Mutex<BTreeMap<(ProcessId, u32), Running>>,
}

/// A group being rewritten.
#[derive(Debug)]
struct Running {
    progress: Arc<Progress>,
    bar: ProgressBar,
}

impl Reporter {
    /// A reporter; on a terminal it keeps drawing for as long as it lives. To be called inside the runtime.
    pub(crate) fn start(screen: Screen, verbosity: u8, ambient: &Ambient) -> Arc<Self> {
        let has_bars = screen.bars.is_some();
        let reporter = Arc::new(Self {
            screen,
            verbosity,
            running: Mutex::default(),
        });
        if has_bars {
            let weak = Arc::downgrade(&reporter);
            let clock = Arc::clone(&ambient.clock);
            tokio::spawn(async move {
                while let Some(reporter) = weak.upgrade() {
                    reporter.draw();
                    drop(reporter);
                    clock.sleep(FRAME).await;
                }
            });
        }
        reporter
    }

    fn draw(&self) {
        let running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        for group in running.values() {
            let (_, bytes) = group.progress.read();
            group.bar.set_position(bytes.get());
        }
    }

    fn follow(&self, event: &Event) {
        let Some(bars) = &self.screen.bars else {
            return;
        };
        let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        match event {
            Event::GroupStarted {
                table,
                process,
                index,
                bytes,
                progress,
                ..
            } => {
                let style = ProgressStyle::with_template(
                    "{prefix:32!} [{bar:30}] {bytes:>10} of {total_bytes:<10} {elapsed}",
                )
                .unwrap_or_else(|_| ProgressStyle::default_bar());
                let bar =
                    bars.add(ProgressBar::new(bytes.get()).with_style(style.progress_chars("=> ")));
                bar.set_prefix(format!("{} #{index}", table.name_in_catalog()));
                let group = Running {
                    progress: Arc::clone(progress),
                    bar,
                };
                running.insert((process.clone(), *index), group);
            }
            Event::GroupFinished { process, index, .. } => {
                if let Some(group) = running.remove(&(process.clone(), *index)) {
                    group.bar.finish_and_clear();
                }
            }
            _ => {}
        }
    }
}

impl Observer for Reporter {
    fn observe(&self, event: &Event) {
        self.follow(event);
        if let Some(line) = lines::line(event, self.verbosity) {
            self.screen.line(line);
        }
    }
}
