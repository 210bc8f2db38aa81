//! The ground that scheduler, worker and people's questions stand on: what is configured, opened once at start, and told.

pub(crate) mod catalogs;
pub(crate) mod context;
pub(crate) mod deadline;
pub(crate) mod file;
pub(crate) mod gate;
pub(crate) mod listed;
pub(crate) mod maintain;
pub(crate) mod mode;
pub(crate) mod observer;
pub mod open;
pub(crate) mod placed;
pub(crate) mod plans;
pub(crate) mod settings;
pub(crate) mod taken;
pub(crate) mod version;
pub(crate) mod words;
