//! What a worker does: it claims a task, rewrites its group, looks at what came out, reports, and commits the process
//! when the last task is done.

pub(crate) mod evaluate;
pub(crate) mod finish;
pub(crate) mod inspect;
pub(crate) mod leftovers;
pub(crate) mod optimize;
mod patience;
pub(crate) mod payload;
mod settle;
mod upkeep;
