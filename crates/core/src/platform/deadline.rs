//! The bound on everything that waits: until when, and whether the host wants
//! its process back before that.

#![forbid(unsafe_code)]

use std::time::{Duration, Instant};

use crate::error::{Failure, Reason};

/// The end of one login attempt's patience.
pub struct Deadline<'a> {
    end: Instant,
    interrupted: &'a dyn Fn() -> bool,
}

impl<'a> Deadline<'a> {
    /// Ends `patience` from now, or as soon as `interrupted` says so.
    ///
    /// `interrupted` is asked often and must be cheap: it is how a process that
    /// waits for an SSO server still obeys SIGTERM.
    pub fn new(patience: Duration, interrupted: &'a dyn Fn() -> bool) -> Self {
        Self {
            end: Instant::now() + patience,
            interrupted,
        }
    }

    /// The same, but `patience` from now at the latest.
    pub fn within(&self, patience: Duration) -> Self {
        Self {
            end: self.end.min(Instant::now() + patience),
            interrupted: self.interrupted,
        }
    }

    /// When it ends.
    pub fn end(&self) -> Instant {
        self.end
    }

    /// What is left.
    ///
    /// # Errors
    /// [`Reason::Interrupted`] if the host wants to end,
    /// [`Reason::ServerTimeout`] if nothing is left.
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

    /// Sleeps for `duration`, or for what is left if that is less.
    ///
    /// # Errors
    /// As [`Deadline::remaining`].
    pub fn nap(&self, duration: Duration) -> Result<(), Failure> {
        self.wait(duration, std::thread::sleep)
    }

    /// Lets `wait` wait for `duration`, or for what is left if that is less.
    ///
    /// # Errors
    /// As [`Deadline::remaining`].
    pub fn wait(&self, duration: Duration, wait: impl FnOnce(Duration)) -> Result<(), Failure> {
        wait(duration.min(self.remaining()?));
        Ok(())
    }
}
