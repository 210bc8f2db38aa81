//! What happened in a run, line by line: as a hash always, as text where somebody wants to read it.

use std::{
    fmt::{self, Write as _},
    time::Duration,
};

/// The lines of a run.
#[derive(Debug, Clone)]
pub struct Trace {
    hash: u64,
    count: u64,
    lines: Option<String>,
    scratch: String,
}

impl Trace {
    /// An empty trace.
    pub fn new(keep_lines: bool) -> Self {
        Self {
            hash: 0xcbf2_9ce4_8422_2325,
            count: 0,
            lines: keep_lines.then(String::new),
            scratch: String::new(),
        }
    }

    pub(crate) fn line(&mut self, at: Duration, line: fmt::Arguments<'_>) {
        self.scratch.clear();
        // Writing to a string can't fail.
        let _ = writeln!(self.scratch, "{:>10} {line}", at.as_millis());
        self.hash = mix(self.hash, hash(self.scratch.as_bytes()));
        self.count += 1;
        if let Some(lines) = &mut self.lines {
            lines.push_str(&self.scratch);
        }
    }

    /// A hash of all lines in their order.
    pub fn hash(&self) -> u64 {
        self.hash
    }

    /// How many lines there are.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// The lines, where they are kept.
    pub fn lines(&self) -> Option<&str> {
        self.lines.as_deref()
    }
}

fn mix(a: u64, b: u64) -> u64 {
    (a.rotate_left(5) ^ b).wrapping_mul(0x9E37_79B9_7F4A_7C15)
}

/// A hash of bytes.
pub(crate) fn hash(bytes: &[u8]) -> u64 {
    xxhash_rust::xxh3::xxh3_64(bytes)
}
