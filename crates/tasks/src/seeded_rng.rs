//! Seeded choices for generated data.
//!
//! The program has one generator of random numbers, Philox, whose streams are named in `policy`. The word problems keep
//! ChaCha, because the committed student and teacher were trained on what it drew: another generator would draw other
//! problems, and no accuracy could be compared with an earlier one. `tests/pinned.rs` holds the bytes in place. The
//! order of the options of GPQA-Diamond comes from it for the same reason. Nothing new may use it.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

/// A generator that draws the same choices for the same seed and purpose on every machine.
#[derive(Debug, Clone)]
pub(crate) struct SeededRng(ChaCha8Rng);

impl SeededRng {
    /// The stream of a purpose; different purposes under one seed are independent.
    pub(crate) fn new(seed: u64, purpose: u64) -> Self {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        rng.set_stream(purpose);
        Self(rng)
    }

    /// Draws uniformly from `0..n`; the bias of the multiplication, below n / 2^32, does not matter here.
    pub(crate) fn below(&mut self, n: usize) -> usize {
        ((u64::from(self.0.next_u32()) * n as u64) >> 32) as usize
    }

    /// Draws uniformly from `low..=high`.
    pub(crate) fn between(&mut self, low: u32, high: u32) -> u32 {
        low + self.below((high - low + 1) as usize) as u32
    }

    /// Draws one of the items.
    pub(crate) fn pick<'a, T: ?Sized>(&mut self, items: &[&'a T]) -> &'a T {
        items[self.below(items.len())]
    }

    /// Draws true `percent` times in a hundred.
    pub(crate) fn percent(&mut self, percent: u32) -> bool {
        self.below(100) < percent as usize
    }
}
