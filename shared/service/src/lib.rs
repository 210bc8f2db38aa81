//! What scheduler and optimizer do, written once on the ports.
//!
//! [`tick`] is the scheduler: it sees which tables changed, plans, and queues tasks. [`handle`] is the optimizer: it
//! rewrites a group and commits a process when the last group is done. Functions call them with an event; [`embedded`]
//! calls both in one process.
#![cfg_attr(test, allow(clippy::unwrap_used))]

pub mod block;
pub mod buckets;
mod catalogs;
mod census;
mod context;
mod deadline;
pub mod doctor;
pub mod embedded;
mod evaluate;
mod finish;
mod header;
mod inspect;
mod limits;
mod observer;
pub mod open;
mod optimize;
mod payload;
mod settings;
mod sweep;
pub mod tables;
mod tick;
mod version;
mod waiting;
pub mod work;

pub use catalogs::{Catalogs, OpenCatalog};
pub use context::Context;
pub use deadline::Deadline;
pub use evaluate::EvaluateError;
pub use icepress_planner::VerifyRows;
pub use observer::{Event, LogObserver, Observer};
pub use optimize::{Handled, handle};
pub use settings::{Settings, Times};
pub use tick::{TickReport, tick};
pub use version::{SIGN_INTERVAL, SignOfLife, VERSION};
pub use waiting::{Waiting, WaitsFor};
