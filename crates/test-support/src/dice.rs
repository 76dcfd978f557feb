//! A reproducible random number generator: the same seed yields the same numbers.

use std::time::Duration;

/// An xorshift64* generator.
pub struct Dice(u64);

impl Dice {
    /// Returns the seed in `SSO_TEST_SEED`, or `usual` if that is not set.
    pub fn seed(usual: u64) -> u64 {
        let given = std::env::var("SSO_TEST_SEED").ok();
        given.and_then(|text| text.parse().ok()).unwrap_or(usual)
    }

    /// Creates a generator. A seed of 0 is replaced by 1.
    pub fn new(seed: u64) -> Self {
        Self(seed.max(1))
    }

    /// Creates an independent generator for one of several concurrent users of `seed`.
    pub fn of(seed: u64, who: usize) -> Self {
        // The finalizer of SplitMix64.
        let mut mixed = seed.wrapping_add((who as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15));
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        Self::new(mixed ^ (mixed >> 31))
    }

    /// Returns a number below `sides`.
    pub fn roll(&mut self, sides: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) as usize % sides
    }

    /// Returns true with a probability of 1/`times`.
    pub fn is_one_of(&mut self, times: usize) -> bool {
        self.roll(times) == 0
    }

    /// Returns a random element.
    pub fn pick<'a, T>(&mut self, of: &'a [T]) -> &'a T {
        &of[self.roll(of.len())]
    }

    /// Returns a duration from `from` up to, but not including, `to` milliseconds.
    pub fn millis(&mut self, from: usize, to: usize) -> Duration {
        Duration::from_millis((from + self.roll(to - from)) as u64)
    }
}
