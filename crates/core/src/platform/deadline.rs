//! The deadline of everything that waits, and the host's wish to end before it.

#![forbid(unsafe_code)]

use std::time::{Duration, Instant};

use crate::error::{Failure, Reason};

/// The end of one login attempt.
pub struct Deadline<'a> {
    end: Instant,
    interrupted: &'a dyn Fn() -> bool,
}

impl<'a> Deadline<'a> {
    /// Creates a deadline `patience` from now. It also passes as soon as `interrupted` returns
    /// true.
    ///
    /// `interrupted` is called often and must be cheap. It lets a process that waits for an SSO
    /// server obey SIGTERM.
    pub fn new(patience: Duration, interrupted: &'a dyn Fn() -> bool) -> Self {
        Self {
            end: Instant::now() + patience,
            interrupted,
        }
    }

    /// The earlier of this deadline and `patience` from now.
    pub fn within(&self, patience: Duration) -> Self {
        Self {
            end: self.end.min(Instant::now() + patience),
            interrupted: self.interrupted,
        }
    }

    /// The point at which the deadline passes.
    pub fn end(&self) -> Instant {
        self.end
    }

    /// The remaining time.
    ///
    /// # Errors
    /// [`Reason::Interrupted`] if the host wants to end, [`Reason::ServerTimeout`] if no time
    /// remains.
    pub fn remaining(&self) -> Result<Duration, Failure> {
        if (self.interrupted)() {
            return Err(Failure::new(
                Reason::Interrupted,
                "the process is being ended",
            ));
        }
        let left = self.end.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(Failure::new(
                Reason::ServerTimeout,
                "no answer within the time allowed",
            ));
        }
        Ok(left)
    }

    /// Sleeps for `duration` or the remaining time, whichever is shorter.
    ///
    /// # Errors
    /// As [`Deadline::remaining`].
    pub fn nap(&self, duration: Duration) -> Result<(), Failure> {
        self.wait(duration, std::thread::sleep)
    }

    /// Calls `wait` with `duration` or the remaining time, whichever is shorter.
    ///
    /// # Errors
    /// As [`Deadline::remaining`].
    pub fn wait(&self, duration: Duration, wait: impl FnOnce(Duration)) -> Result<(), Failure> {
        wait(duration.min(self.remaining()?));
        Ok(())
    }
}
