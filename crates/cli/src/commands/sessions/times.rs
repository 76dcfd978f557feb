//! Times and durations for people.

#![forbid(unsafe_code)]

use std::time::Duration;

use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use sso_core::platform::clock::{BootTime, Clock, WallTime};

/// The current time of both clocks.
pub(crate) struct CurrentTime {
    pub(crate) boot_time: BootTime,
    pub(crate) wall: WallTime,
}

impl CurrentTime {
    pub(crate) fn new(clock: &dyn Clock) -> Self {
        Self {
            boot_time: clock.now(),
            wall: clock.wall(),
        }
    }

    /// A time in the past, in UTC to the second.
    pub(crate) fn past_time(&self, boot_time: BootTime) -> String {
        let ago = self.boot_time.since(boot_time).unwrap_or_default();
        let ago = u64::try_from(ago.as_millis()).unwrap_or(u64::MAX);
        in_utc(self.wall.as_millis().saturating_sub(ago))
    }

    /// The time after the duration `left`, in UTC to the second.
    pub(crate) fn future_time(&self, left: Duration) -> String {
        in_utc(self.wall.plus(left).min(WallTime::LATEST).as_millis())
    }
}

/// The time in the format of RFC 3339.
fn in_utc(millis: u64) -> String {
    let seconds = i64::try_from(millis / 1_000).unwrap_or(i64::MAX);
    let time = OffsetDateTime::from_unix_timestamp(seconds).ok();
    let text = time.and_then(|time| time.format(&Rfc3339).ok());
    text.unwrap_or_default()
}

/// At most two units, such as `7 h 59 min`.
pub(crate) fn format_duration(duration: Duration) -> String {
    let seconds = duration.as_secs();
    let (days, hours) = (seconds / 86_400, seconds / 3_600 % 24);
    let (minutes, seconds) = (seconds / 60 % 60, seconds % 60);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{seconds} s"),
        (0, 0, _) => format!("{minutes} min"),
        (0, ..) => format!("{hours} h {minutes} min"),
        _ => format!("{days} d {hours} h"),
    }
}

/// Three digits, such as `1.75 ms`.
pub(crate) fn format_three_digits(duration: Duration) -> String {
    let micros = duration.as_secs_f64() * 1e6;
    let (value, unit) = match micros {
        micros if micros < 1e3 => (micros, "µs"),
        micros if micros < 1e6 => (micros / 1e3, "ms"),
        micros => (micros / 1e6, "s"),
    };
    let decimals = match value {
        value if value < 10.0 => 2,
        value if value < 100.0 => 1,
        _ => 0,
    };
    format!("{value:.decimals$} {unit}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn boot_times_are_converted_to_utc() {
        let now = CurrentTime {
            boot_time: BootTime::from_millis(90_000),
            wall: WallTime::from_millis(1_795_360_512_345),
        };
        let opened = now.past_time(BootTime::from_millis(60_000));
        assert_eq!(opened, "2026-11-22T15:14:42Z");
        let end = now.future_time(Duration::from_secs(8 * 3_600));
        assert_eq!(end, "2026-11-22T23:15:12Z");
        assert_eq!(now.future_time(Duration::MAX), "9999-12-31T23:59:59Z");
    }

    #[test]
    fn durations_are_rounded_to_significant_digits() {
        assert_eq!(format_duration(Duration::from_secs(59)), "59 s");
        assert_eq!(format_duration(Duration::from_secs(3_599)), "59 min");
        assert_eq!(format_duration(Duration::from_secs(28_740)), "7 h 59 min");
        assert_eq!(format_duration(Duration::from_secs(200_000)), "2 d 7 h");
        assert_eq!(format_three_digits(Duration::from_micros(40)), "40.0 µs");
        assert_eq!(format_three_digits(Duration::from_micros(1_750)), "1.75 ms");
        assert_eq!(format_three_digits(Duration::from_secs(80)), "80.0 s");
    }
}
