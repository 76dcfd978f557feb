//! The buckets of durations.

#![forbid(unsafe_code)]

use std::time::Duration;

/// The ends of the buckets in each power of ten. They are round numbers, and no bucket is wider
/// than a quarter of its beginning.
const STEPS: [u64; 13] = [
    100, 125, 150, 175, 200, 250, 300, 350, 400, 500, 600, 700, 800,
];

/// The number of powers of ten: from 10 µs to 100 s.
const POWERS: usize = 7;

/// The number of buckets. The last one contains all longer durations.
pub const BUCKETS: usize = STEPS.len() * POWERS + 1;

/// The longest duration in each bucket but the last, in nanoseconds.
const ENDS: [u64; BUCKETS - 1] = ends();

const fn ends() -> [u64; BUCKETS - 1] {
    let mut ends = [0; BUCKETS - 1];
    let (mut place, mut unit) = (0, 100);
    while place < ends.len() {
        ends[place] = STEPS[place % STEPS.len()] * unit;
        place += 1;
        if place.is_multiple_of(STEPS.len()) {
            unit *= 10;
        }
    }
    ends
}

/// The bucket of a duration.
pub(crate) fn bucket(duration: Duration) -> usize {
    let nanos = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
    ENDS.partition_point(|end| *end < nanos)
}

/// A histogram of durations.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DurationHistogram {
    /// The number of durations in each bucket.
    pub counts: [u64; BUCKETS],
    /// The sum of all durations.
    pub sum: Duration,
}

impl DurationHistogram {
    /// The number of durations.
    pub fn count(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// The number of durations up to `end`, which must be the end of a bucket.
    pub fn within(&self, end: Duration) -> u64 {
        debug_assert!(ENDS.iter().any(|one| u128::from(*one) == end.as_nanos()));
        self.counts[..=bucket(end)].iter().sum()
    }

    /// Upper bound of the bucket that contains this percentile; `None` without durations. DurationHistogram
    /// beyond the last bucket count as its beginning.
    pub fn percentile(&self, percent: u64) -> Option<Duration> {
        let wanted = (self.count() * percent).div_ceil(100).max(1);
        let mut sum = 0;
        let place = self.counts.iter().position(|count| {
            sum += count;
            sum >= wanted
        })?;
        let end = ENDS[place.min(ENDS.len() - 1)];
        Some(Duration::from_nanos(end))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bucket_contains_durations_up_to_its_end() {
        assert!(ENDS.is_sorted());
        assert_eq!(ENDS[0], 10_000);
        assert_eq!(ENDS[ENDS.len() - 1], 80_000_000_000);
        for (place, end) in ENDS.into_iter().enumerate() {
            assert_eq!(bucket(Duration::from_nanos(end)), place);
            assert_eq!(bucket(Duration::from_nanos(end + 1)), place + 1);
        }
        assert_eq!(bucket(Duration::MAX), BUCKETS - 1);
    }

    #[test]
    fn percentiles_are_ends_of_buckets() {
        let mut durations = DurationHistogram {
            counts: [0; BUCKETS],
            sum: Duration::ZERO,
        };
        assert_eq!(durations.percentile(50), None);
        durations.counts[bucket(Duration::from_millis(3))] = 90;
        durations.counts[bucket(Duration::from_millis(450))] = 9;
        durations.counts[BUCKETS - 1] = 1;
        assert_eq!(durations.percentile(50), Some(Duration::from_millis(3)));
        assert_eq!(durations.percentile(90), Some(Duration::from_millis(3)));
        assert_eq!(durations.percentile(99), Some(Duration::from_millis(500)));
        assert_eq!(durations.percentile(100), Some(Duration::from_secs(80)));
        assert_eq!(durations.within(Duration::from_millis(10)), 90);
        assert_eq!(durations.within(Duration::from_secs(1)), 99);
    }
}
