//! What a process row keeps beside its tasks.

use icepress_model::BaseState;
use serde::{Deserialize, Serialize};

/// What the commit needs to know of the plan.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ProcessHeader {
    /// The state that was planned on.
    pub(crate) base: BaseState,
    /// Whether the table deserves another plan right after the commit.
    pub(crate) follow_up: bool,
    /// The table's failures in a row when the process began.
    pub(crate) failures: u32,
}
