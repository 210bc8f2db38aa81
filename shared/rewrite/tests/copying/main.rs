//! What a rewrite makes of files in every form that the format allows: written by arrow-rs, dressed as other engines do,
//! rewritten by the public call, and read back by arrow-rs, which knows nothing of us. Rows, their order, page index,
//! statistics and bloom filters are compared with the rows that went in, however they came out.
#![allow(
    clippy::unwrap_used,
    reason = "a fixture that fails should fail the test at once"
)]

use icepress_rewrite::{
    Look, Opinion, Progress, RewriteContext, RowsHash, hash_rows, rewrite_group, second_opinion,
};

mod draw;
mod judge;
mod known;
mod property;

#[path = "../../src/tests/support.rs"]
#[allow(dead_code, unreachable_pub, reason = "shared with the unit tests")]
mod support;
