//! Row groups joined page by page: what the pages of many small row groups hold goes into one large row group without being
//! decoded into rows.
//!
//! A page is copied as it lies, compressed and all, wherever that is sound. Only pages that point into a dictionary can't
//! be copied into a chunk that has another one: there the dictionaries are united, each value hashed once, and the indices
//! of the pages written anew (`united`, `dictionary`, `hybrid`). A column whose values hardly repeat is spelled out instead.
//!
//! `layout` says what goes into which row group, from footers alone (`inputs`); `eligible` says of each column of a file
//! whether it is in the very form that the table's own would be written in. `column` takes chunks apart and `join` makes one
//! of many, without deleted rows (`filter`); `rows` decodes and encodes a column whose pages can't be kept. What footers say
//! of values is taken over where it can be believed (`trust`), else the values are looked at (`look`). A row group that is large
//! enough as it is is not even read: the storage copies it (`splice`). `coming` fetches a
//! row group and has that done on all cores, and `run` writes one while the next is on its way.
//! What a chunk's dictionary says of its values is told without decoding any (`distinct`).
//! Whatever is not understood, or not as it should be, is a [`Refusal`]: of a column first, which is decoded then, and where
//! that fails as well, of the whole group. So nothing in here judges files; the decoder does.

mod chunk;
mod codec;
mod column;
mod coming;
mod dictionary;
mod distinct;
mod eligible;
mod filter;
mod hybrid;
mod inputs;
mod join;
mod layout;
mod levels;
mod look;
mod page;
mod rows;
mod run;
mod splice;
mod statistics;
mod targets;
#[cfg(test)]
mod tests;
mod trust;
mod united;

use std::fmt;

use icepress_model::RewriteFailure;

pub(crate) use chunk::{MergedChunk, SeenPages, Ways};
pub(crate) use distinct::distinct_values;
pub(crate) use run::{Merged, merge};

/// Why pages are not merged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Refusal(String);

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

fn refused(why: impl fmt::Display) -> Refusal {
    Refusal(why.to_string())
}

type Sound<T> = Result<T, Refusal>;

/// Why a merge ended early.
#[derive(Debug)]
enum Stopped {
    /// The rows are to be decoded instead.
    Refused(Refusal),
    /// Nothing would come of that either: storage failed, or a file is not what its manifest says.
    Failed(RewriteFailure),
}

impl From<Refusal> for Stopped {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

impl From<RewriteFailure> for Stopped {
    fn from(failure: RewriteFailure) -> Self {
        Self::Failed(failure)
    }
}
