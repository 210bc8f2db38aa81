//! The demo's chance: every value that it makes up follows from one seed.

use std::sync::atomic::{AtomicU64, Ordering};

use icepress_model::ambient::Randomness;

/// Steps between the states of the generator (SplitMix64: Steele, Lea and Flood, 2014).
const STEP: u64 = 0x9e37_79b9_7f4a_7c15;

/// Numbers that look random and repeat exactly from the same seed.
#[derive(Debug)]
pub(super) struct Dice(AtomicU64);

impl Dice {
    pub(super) fn new(seed: u64) -> Self {
        Self(AtomicU64::new(seed))
    }

    /// A number from 0 up to, not including, `end`.
    pub(super) fn below(&self, end: u64) -> u64 {
        self.next_u64() % end.max(1)
    }

    /// One of `choices`.
    pub(super) fn pick<'a>(&self, choices: &[&'a str]) -> &'a str {
        let index = usize::try_from(self.below(choices.len() as u64)).unwrap_or(0);
        choices.get(index).copied().unwrap_or_default()
    }

    /// True once in `times`.
    pub(super) fn once_in(&self, times: u64) -> bool {
        self.below(times) == 0
    }
}

impl Randomness for Dice {
    fn next_u64(&self) -> u64 {
        let mut mixed = self.0.fetch_add(STEP, Ordering::Relaxed).wrapping_add(STEP);
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }
}
