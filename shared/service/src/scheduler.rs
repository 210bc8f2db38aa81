//! What a scheduler does: it sees which tables changed, evaluates them, starts processes, and looks after what is under
//! way, all within limits.

pub(crate) mod census;
mod conclusion;
pub(crate) mod elsewhere;
pub(crate) mod errands;
pub(crate) mod evaluate;
pub(crate) mod evaluation;
pub(crate) mod failure;
pub(crate) mod handover;
pub(crate) mod header;
pub(crate) mod limits;
pub(crate) mod observed;
mod send;
mod start;
pub(crate) mod sweep;
pub(crate) mod tick;
mod turn;
pub(crate) mod under_way;
pub(crate) mod upkeep;
pub(crate) mod visit;
pub(crate) mod waiting;
