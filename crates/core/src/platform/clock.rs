//! Clocks, behind a trait, so that tests of lifetimes need not wait.
//!
//! Sessions are measured by `CLOCK_BOOTTIME`: all processes of the host see the same value, it
//! includes the time that the machine sleeps, and setting the wall clock neither ends nor prolongs
//! a session. The times in tokens are compared with the wall clock.

#![forbid(unsafe_code)]

use std::fmt;
use std::time::Duration;

use time::OffsetDateTime;

/// Adds `duration` to a number of milliseconds.
fn later(milliseconds: u64, duration: Duration) -> u64 {
    let more = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    milliseconds.saturating_add(more)
}

/// A point in time: milliseconds since the host was booted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct BootTime(u64);

impl BootTime {
    /// The point `milliseconds` after boot.
    pub const fn from_millis(milliseconds: u64) -> Self {
        Self(milliseconds)
    }

    /// Milliseconds since boot.
    pub fn as_millis(self) -> u64 {
        self.0
    }

    /// This point plus `duration`.
    pub fn plus(self, duration: Duration) -> Self {
        Self(later(self.0, duration))
    }

    /// The time since `earlier`, or `None` if `earlier` is in the future.
    pub fn since(self, earlier: Self) -> Option<Duration> {
        self.0.checked_sub(earlier.0).map(Duration::from_millis)
    }
}

/// A time of the wall clock: milliseconds since 1970 in UTC. NumericDate of RFC 7519 counts seconds
/// from the same point.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct WallTime(u64);

impl WallTime {
    /// The end of the year 9999, the latest time that is accepted.
    pub const LATEST: Self = Self(253_402_300_799_999);

    /// The time `milliseconds` after the beginning of 1970.
    pub fn from_millis(milliseconds: u64) -> Self {
        Self(milliseconds)
    }

    /// Milliseconds since the beginning of 1970.
    pub fn as_millis(self) -> u64 {
        self.0
    }

    /// This time plus `duration`.
    pub fn plus(self, duration: Duration) -> Self {
        Self(later(self.0, duration))
    }

    /// The duration from this time to `later`; zero if `later` is earlier.
    pub fn until(self, later: Self) -> Duration {
        Duration::from_millis(later.0.saturating_sub(self.0))
    }
}

/// The time in UTC, to the second.
impl fmt::Display for WallTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = i64::try_from(self.0 / 1_000).unwrap_or(i64::MAX);
        match OffsetDateTime::from_unix_timestamp(seconds) {
            Ok(time) => {
                let (hour, minute, second) = time.to_hms();
                write!(f, "{} {hour:02}:{minute:02}:{second:02} UTC", time.date())
            }
            Err(_) => write!(f, "{seconds} s after 1970"),
        }
    }
}

/// A source of both kinds of time.
pub trait Clock: Send + Sync {
    /// The time since boot.
    fn now(&self) -> BootTime;

    /// The wall clock.
    fn wall(&self) -> WallTime;
}

/// The kernel's clocks.
#[derive(Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> BootTime {
        // The call fails only for a clock that the kernel does not have; Linux has this one since
        // 2.6.39. At 0 no session is valid.
        nix::time::clock_gettime(nix::time::ClockId::CLOCK_BOOTTIME)
            .map(|time| BootTime(0).plus(Duration::from(time)))
            .unwrap_or(BootTime(0))
    }

    fn wall(&self) -> WallTime {
        // Before 1970 no token was issued, and none is accepted.
        let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        WallTime(0).plus(since.unwrap_or_default())
    }
}

/// A clock that a test sets.
#[cfg(test)]
#[derive(Debug, Default)]
pub(crate) struct ManualClock(std::sync::atomic::AtomicU64);

#[cfg(test)]
impl ManualClock {
    pub(crate) fn advance(&self, duration: Duration) {
        let milliseconds = u64::try_from(duration.as_millis()).unwrap();
        self.0
            .fetch_add(milliseconds, std::sync::atomic::Ordering::SeqCst);
    }
}

#[cfg(test)]
impl Clock for ManualClock {
    fn now(&self) -> BootTime {
        // Not 0, so that a test can use an earlier point.
        BootTime(1_000_000 + self.0.load(std::sync::atomic::Ordering::SeqCst))
    }

    fn wall(&self) -> WallTime {
        // In 2026.
        WallTime(1_790_000_000_000 + self.0.load(std::sync::atomic::Ordering::SeqCst))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn system_clock_is_monotonic() {
        let first = SystemClock.now();
        assert!(SystemClock.now().since(first).is_some());
        assert!(first.as_millis() > 0);
        // Later than 2026, and not the year 9999.
        assert!(SystemClock.wall() > WallTime::from_millis(1_767_225_600_000));
        assert!(SystemClock.wall() < WallTime::LATEST);
    }

    #[test]
    fn wall_time_is_displayed_in_utc() {
        let written = |milliseconds| WallTime::from_millis(milliseconds).to_string();
        assert_eq!(written(0), "1970-01-01 00:00:00 UTC");
        assert_eq!(written(1_709_251_199_999), "2024-02-29 23:59:59 UTC");
        assert_eq!(WallTime::LATEST.to_string(), "9999-12-31 23:59:59 UTC");
    }

    #[test]
    fn age_of_a_future_point_is_none() {
        let now = BootTime::from_millis(10);
        assert_eq!(now.since(BootTime::from_millis(11)), None);
        assert_eq!(
            now.since(BootTime::from_millis(4)),
            Some(Duration::from_millis(6))
        );
    }
}
