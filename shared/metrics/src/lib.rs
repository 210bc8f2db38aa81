//! The catalogue of metrics, what feeds them, and the forms in which they go out.
//!
//! [`MetricsObserver`] stands before another observer and counts what it hears; a function then writes what it counted as lines of its
//! log ([`emf`]), and a process that runs for long answers whoever asks ([`prometheus`]). What documents and dashboards say of metrics is
//! made of the catalogue too ([`papers`]).
#![cfg_attr(test, allow(clippy::unwrap_used))]

pub mod catalogue;
pub mod emf;
mod invocation;
mod observer;
pub mod papers;
pub mod prometheus;
mod recorder;
mod standing;

pub use catalogue::{Description, Dimension, Kind, Metric, Section, Unit};
pub use invocation::{FunctionMetrics, Invocation};
pub use observer::MetricsObserver;
pub use recorder::{Labels, MOST_SAMPLES, Measured, Value, Values};

#[cfg(test)]
mod tests;
