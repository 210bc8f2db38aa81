//! What tests across crates share: a laboratory with a real catalog, real files, and faults on demand.
#![allow(
    clippy::unwrap_used,
    reason = "a fixture that fails should fail the test at once"
)]

mod clock;
pub mod deployed;
mod dying_store;
mod faults;
mod faulty_storage;
mod glue;
pub mod history;
mod lab;
mod mute_queue;
mod overlay;
mod rows;
mod work;

pub use clock::ShiftedClock;
pub use dying_store::DyingStore;
pub use faults::{CatalogFault, FaultyCatalog};
pub use faulty_storage::{FaultyStorage, StorageFault};
pub use glue::EmulatedGlue;
pub use lab::{Events, Home, Lab, settings_for_tests};
pub use mute_queue::MuteQueue;
pub use overlay::Overlay;
pub use rows::{Row, read_table_rows, write_rows};
pub use work::{ended, peek, planned};
