//! The metrics of a function, told at the end of each of its invocations.

use std::{
    io::Write as _,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use icepress_coordination::Component;
use icepress_model::ambient::Ambient;
use icepress_service::{LogObserver, Observer};

use crate::{MetricsObserver, emf};

/// What a function counts, where it was told the name of its deployment: else nothing.
#[derive(Debug)]
pub struct FunctionMetrics {
    counting: Option<Counting>,
}

#[derive(Debug)]
struct Counting {
    observer: Arc<MetricsObserver>,
    deployment: String,
    component: Component,
    ambient: Ambient,
    was_warm: AtomicBool,
}

impl FunctionMetrics {
    /// Of an instance that has just begun.
    pub fn new(deployment: Option<&str>, component: Component, ambient: &Ambient) -> Self {
        let counting = deployment.map(|deployment| Counting {
            observer: Arc::new(MetricsObserver::before(
                Arc::new(LogObserver),
                ambient.clone(),
            )),
            deployment: deployment.to_owned(),
            component,
            ambient: ambient.clone(),
            was_warm: AtomicBool::new(false),
        });
        Self { counting }
    }

    /// Who is to hear what happens: it stands in the log, and is counted.
    pub fn observer(&self) -> Arc<dyn Observer> {
        match &self.counting {
            None => Arc::new(LogObserver),
            Some(counting) => Arc::clone(&counting.observer) as Arc<dyn Observer>,
        }
    }

    /// An invocation begins. What it counted is told when the answer is dropped, however it ended; of one that is killed in the midst of it
    /// nothing is.
    pub fn invocation(&self) -> Invocation<'_> {
        if let Some(counting) = &self.counting
            && !counting.was_warm.swap(true, Ordering::Relaxed)
        {
            let component = counting.component.as_str();
            counting.observer.count_cold_start(component);
        }
        Invocation(self.counting.as_ref())
    }
}

/// An invocation under way.
#[derive(Debug)]
pub struct Invocation<'a>(Option<&'a Counting>);

impl Invocation<'_> {
    /// What was counted since this was asked last, as lines of the log.
    pub(crate) fn lines(&self) -> String {
        let Some(counting) = self.0 else {
            return String::new();
        };
        let values = counting.observer.take();
        let now = counting.ambient.now();
        let documents = emf::documents(&values, &counting.deployment, now);
        let lines = documents.iter().map(|document| format!("{document}\n"));
        lines.collect()
    }
}

impl Drop for Invocation<'_> {
    fn drop(&mut self) {
        if let Some(counting) = self.0 {
            counting.observer.name_worst_tables();
        }
        let lines = self.lines();
        // A log that takes nothing any more must not end the work.
        let mut log = std::io::stdout().lock();
        log.write_all(lines.as_bytes()).unwrap_or_default();
        log.flush().unwrap_or_default();
    }
}
