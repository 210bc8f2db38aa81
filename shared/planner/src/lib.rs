//! Plans: health, grouping, and why or why not. Knows nothing of AWS.
#![cfg_attr(test, allow(clippy::unwrap_used))]
