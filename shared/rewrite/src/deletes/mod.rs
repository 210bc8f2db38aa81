//! Deleted rows of a group, by our own reader: by position, by vector, by key.

mod equality;
mod key_set;
mod keys;
mod old;
mod position;
mod sieve;

pub(crate) use equality::{DeleteContext, EqualityDeletes, input_source};
pub(crate) use old::find_old;
pub(crate) use position::DeletedPositions;

#[cfg(test)]
mod tests;
