//! Random numbers that are the same in every run for the same seed.

use std::time::Duration;

/// xorshift64*.
pub struct Dice(u64);

impl Dice {
    /// `SSO_TEST_SEED`, which is for looking for more, or this seed.
    pub fn seed(usual: u64) -> u64 {
        let given = std::env::var("SSO_TEST_SEED").ok();
        given.and_then(|text| text.parse().ok()).unwrap_or(usual)
    }

    /// The dice of this seed, which is not 0.
    pub fn new(seed: u64) -> Self {
        Self(seed.max(1))
    }

    /// Those of one of several who throw at the same time: nobody has another one's numbers.
    pub fn of(seed: u64, who: usize) -> Self {
        // SplitMix64.
        let mut mixed = seed.wrapping_add((who as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15));
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        Self::new(mixed ^ (mixed >> 31))
    }

    /// A number below `sides`.
    pub fn roll(&mut self, sides: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) as usize % sides
    }

    /// Whether one of so many times it is this one.
    pub fn is_one_of(&mut self, times: usize) -> bool {
        self.roll(times) == 0
    }

    /// One of these.
    pub fn pick<'a, T>(&mut self, of: &'a [T]) -> &'a T {
        &of[self.roll(of.len())]
    }

    /// Between so many milliseconds.
    pub fn millis(&mut self, from: usize, to: usize) -> Duration {
        Duration::from_millis((from + self.roll(to - from)) as u64)
    }
}
