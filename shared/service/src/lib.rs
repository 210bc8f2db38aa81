//! What scheduler and optimizer do, written once on the ports.
//!
//! [`tick`] is the scheduler: it sees which tables changed, plans, and queues tasks. [`handle`] is the optimizer: it
//! rewrites a group and commits a process when the last group is done. Functions call them with an event; [`embedded`]
//! calls both in one process.
#![cfg_attr(test, allow(clippy::unwrap_used))]

pub mod embedded;
mod ground;
mod people;
mod scheduler;
mod worker;

pub use ground::{
    catalogs::{Catalogs, OpenCatalog},
    context::Context,
    deadline::Deadline,
    file::FileSettings,
    gate::CommitGate,
    listed::ListedHere,
    maintain::MaintainDefaults,
    mode::{Mode, Modes, Ruling, SetBy},
    observer::{About, BucketTurn, Event, GroupRead, LogObserver, Observer, Stage},
    open,
    placed::PlacedHere,
    plans::PlanRoom,
    settings::{Settings, Times},
    taken::TakenOut,
    version::{SIGN_INTERVAL, SignOfLife, VERSION},
};
pub use icepress_planner::VerifyRows;
pub use people::{block, buckets, doctor, maintain, orphans, processes, repair, tables, waste};
pub use scheduler::{
    errands::run_errand,
    evaluate::EvaluateError,
    observed::{Observed, mode_of_row},
    tick::{TickReport, tick},
    upkeep::told::{DueUpkeep, Upkeep},
    waiting::{Waiting, WaitsFor},
};
pub use worker::optimize::{Handled, handle};
