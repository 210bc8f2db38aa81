//! What keeps a table that is due from being worked on: blockers, maintenance windows and quotas; and which of the others
//! comes first. Rules alone: the stores keep the rows, the service asks.

mod blocker;
mod config;
mod order;
mod quota;
mod window;

pub use blocker::{Blocker, blocking};
pub use config::{InvalidLimit, Limits, MAX_PRIORITY, ScopeLimits, TableLimits};
pub use order::{PRIORITY_STEP, in_order};
pub use quota::{
    Allowance, Held, LARGEST_NUMBER_HELD, Quota, QuotaRow, Reservation, Resource, Shortage, Usage,
};
pub use window::{InvalidWindow, Windows};
