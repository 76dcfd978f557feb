//! The circuit breaker of a CAS server. While the server does not answer, logins of all processes
//! of the host fail at once and do not wait for the time-out.
//!
//! # Policy
//!
//! 1. A failed connection counts as a failure. A time-out counts only if the server has answered
//!    nobody since the request began: a ticket that CAS leaves unanswered while it answers others
//!    says nothing about CAS. A reply of any kind is an answer, and resets the count.
//! 2. After [`FAILURE_THRESHOLD`] consecutive failures the breaker does not open yet. The next
//!    login makes a trial: it asks CAS about a ticket that nobody issued, for at most half of its
//!    remaining time. Other logins wait for the result. If CAS answers, the breaker stays closed
//!    and all of them go on. Otherwise the breaker opens.
//! 3. An open breaker refuses all logins that need CAS. After [`OPEN_TIME`] it is half-open: the
//!    next login makes a trial in the same way, while the others still fail at once.
//!
//! The ticket of a client is never a trial. So nobody can open the breaker or keep it open with
//! tickets of their own, under any name or address, and nobody is locked out: any client starts the
//! trial, even if it is the only one and has just timed out.

#![forbid(unsafe_code)]

use std::time::Duration;

use super::backend::{Change, Table};
use super::cache_key::Key;
use super::entry::boot_time;
use super::handle::SessionCacheHandle;
use crate::error::Failure;
use crate::platform::clock::BootTime;

/// The number of consecutive failures before CAS is suspected of being down.
const FAILURE_THRESHOLD: u8 = 3;

/// How long the breaker stays open before the next trial.
const OPEN_TIME: Duration = Duration::from_secs(5);

/// How much longer than its time-out a trial may take before it is given up: its process may have
/// been killed.
const TRIAL_GRACE: Duration = Duration::from_secs(1);

/// The maximum duration of a trial. `caspt_timeout` is at most 60 seconds.
const MAX_TRIAL: Duration = Duration::from_secs(61);

/// Answers closer together than this are recorded as one, so that a busy server does
/// not cost a write for each of its answers.
const ANSWER_GRANULARITY: Duration = Duration::from_millis(250);

/// The server has never answered.
const NEVER: BootTime = BootTime::from_millis(0);

/// What a login that needs the server may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Permission {
    /// Ask the server.
    Granted,
    /// Make a trial, and report its result with [`SessionCacheHandle::end_trial`].
    Trial,
    /// Ask for permission again soon: another login makes a trial.
    Wait,
    /// Fail: the server is down.
    Denied,
}

/// The result of a request to the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The server replied, in any way.
    Answered,
    /// The server did not reply, although it had enough time.
    TimedOut,
    /// The server could not be connected to.
    Unreachable,
}

/// The record of a server, which all processes of the host share.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct BreakerRecord {
    state: State,
    /// When the server last answered, to within [`ANSWER_GRANULARITY`].
    answered: BootTime,
    /// How many times the breaker has opened after it was closed.
    outages: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Closed { failures: u8 },
    Trial { was_open: bool, until: BootTime },
    Open { until: BootTime },
}

impl BreakerRecord {
    pub(crate) const NEW: Self = Self {
        state: State::Closed { failures: 0 },
        answered: NEVER,
        outages: 0,
    };

    /// What a login may do at `now`. A time too far in the future was written by another clock, and
    /// is ignored.
    pub(crate) fn permission(&self, now: BootTime) -> Permission {
        let is_ahead = |until: BootTime, limit: Duration| {
            let left = until.since(now).unwrap_or_default();
            !left.is_zero() && left <= limit
        };
        match self.state {
            State::Closed { failures } if failures < FAILURE_THRESHOLD => Permission::Granted,
            State::Open { until } if is_ahead(until, OPEN_TIME) => Permission::Denied,
            State::Trial { was_open, until } if is_ahead(until, MAX_TRIAL) => match was_open {
                true => Permission::Denied,
                false => Permission::Wait,
            },
            _ => Permission::Trial,
        }
    }

    /// The record during a trial of at most `timeout` from `now`.
    pub(crate) fn during_trial(self, now: BootTime, timeout: Duration) -> Self {
        let until = now.plus((timeout + TRIAL_GRACE).min(MAX_TRIAL));
        let was_open = self.is_down();
        let state = State::Trial { was_open, until };
        Self { state, ..self }
    }

    /// The record after a trial that the server has `answered` or not; `None` if the trial was not
    /// completed.
    pub(crate) fn after_trial(self, now: BootTime, answered: Option<bool>) -> Self {
        let State::Trial { was_open, .. } = self.state else {
            // Another login was answered meanwhile.
            return self;
        };
        let opened = |until| State::Open { until };
        match (answered, was_open) {
            (Some(true), _) => self.after_answer(now),
            (Some(false), _) => Self {
                state: opened(now.plus(OPEN_TIME)),
                outages: self.outages.wrapping_add(u32::from(!was_open)),
                ..self
            },
            (None, true) => Self {
                state: opened(now),
                ..self
            },
            (None, false) => {
                let failures = FAILURE_THRESHOLD;
                let state = State::Closed { failures };
                Self { state, ..self }
            }
        }
    }

    /// The record after a request that began at `began` and failed at `now`.
    pub(crate) fn after_failure(self, began: BootTime, now: BootTime, is_timeout: bool) -> Self {
        let others_were_answered = began < self.answered && self.answered <= now;
        match self.state {
            State::Closed { failures } if !(is_timeout && others_were_answered) => {
                let failures = failures.saturating_add(1);
                let state = State::Closed { failures };
                Self { state, ..self }
            }
            _ => self,
        }
    }

    /// The record after an answer at `now`.
    pub(crate) fn after_answer(self, now: BootTime) -> Self {
        let failures = 0;
        let state = State::Closed { failures };
        let is_recorded = state == self.state
            && now
                .since(self.answered)
                .is_some_and(|age| age < ANSWER_GRANULARITY);
        match is_recorded {
            true => self,
            false => Self {
                state,
                answered: now,
                ..self
            },
        }
    }

    /// Whether a trial has shown that the server is down.
    pub(crate) fn is_down(&self) -> bool {
        match self.state {
            State::Closed { .. } => false,
            State::Trial { was_open, .. } => was_open,
            State::Open { .. } => true,
        }
    }

    /// The number of the last outage.
    pub(crate) fn outages(&self) -> u32 {
        self.outages
    }

    pub(crate) fn encode(self) -> Vec<u8> {
        let (phase, failures, until) = match self.state {
            State::Closed { failures } => (0, failures, NEVER),
            State::Trial { was_open, until } => (1, u8::from(was_open), until),
            State::Open { until } => (2, 0, until),
        };
        let mut bytes = self.answered.as_millis().to_be_bytes().to_vec();
        bytes.extend(until.as_millis().to_be_bytes());
        bytes.extend(self.outages.to_be_bytes());
        bytes.extend([phase, failures]);
        bytes
    }

    pub(crate) fn decode(bytes: &[u8]) -> Option<Self> {
        let (answered, rest) = boot_time(bytes)?;
        let (until, rest) = boot_time(rest)?;
        let (outages, rest) = rest.split_first_chunk()?;
        let state = match (rest, until.as_millis()) {
            (&[0, failures], 0) => State::Closed { failures },
            (&[1, was_open @ (0 | 1)], _) => State::Trial {
                was_open: was_open == 1,
                until,
            },
            (&[2, 0], _) => State::Open { until },
            _ => return None,
        };
        Some(Self {
            state,
            answered,
            outages: u32::from_be_bytes(*outages),
        })
    }
}

impl SessionCacheHandle<'_> {
    /// The key of the circuit breaker of a server.
    pub fn breaker(&self, server: &str) -> Key {
        self.tiers.secret.key(&[b"breaker", server.as_bytes()])
    }

    /// What this login may do about the server of `breaker`. A trial belongs to this login alone,
    /// and may take `timeout`.
    ///
    /// # Errors
    /// [`Reason::SessionsUnreadable`](crate::error::Reason::SessionsUnreadable): without the shared
    /// record, each process would wait for a server that does not answer.
    pub fn permission(&self, breaker: &Key, timeout: Duration) -> Result<Permission, Failure> {
        let now = self.now();
        let permission = self.breaker_record(breaker)?.permission(now);
        if permission != Permission::Trial {
            return Ok(permission);
        }
        let mut permission = permission;
        self.change(Table::Breakers, breaker, |before| {
            let record = decoded(before);
            permission = record.permission(now);
            match permission {
                Permission::Trial => Change::Put(record.during_trial(now, timeout).encode()),
                _ => Change::Keep,
            }
        });
        Ok(permission)
    }

    /// Records whether the server has answered a trial; `None` if the trial was not completed.
    pub fn end_trial(&self, breaker: &Key, answered: Option<bool>) {
        let now = self.now();
        self.change_breaker(breaker, |record| record.after_trial(now, answered));
    }

    /// Records the result of a request to the server of `breaker` that began at `began`.
    pub fn record_outcome(&self, breaker: &Key, began: BootTime, outcome: Outcome) {
        let now = self.now();
        let next = |record: BreakerRecord| match outcome {
            Outcome::Answered => record.after_answer(now),
            Outcome::TimedOut => record.after_failure(began, now, true),
            Outcome::Unreachable => record.after_failure(began, now, false),
        };
        // If the record cannot be read, one result is lost.
        if let Ok(before) = self.breaker_record(breaker)
            && next(before) != before
        {
            self.change_breaker(breaker, next);
        }
    }

    /// The record of a server; an empty one if nothing is recorded.
    pub(crate) fn breaker_record(&self, breaker: &Key) -> Result<BreakerRecord, Failure> {
        let found = self.look_up(Table::Breakers, breaker, BreakerRecord::decode)?;
        Ok(found.map_or(BreakerRecord::NEW, |(record, _)| record))
    }

    fn change_breaker(&self, breaker: &Key, next: impl Fn(BreakerRecord) -> BreakerRecord) {
        self.change(Table::Breakers, breaker, |before| {
            let record = decoded(before);
            match next(record) {
                same if same == record => Change::Keep,
                next => Change::Put(next.encode()),
            }
        });
    }
}

fn decoded(record: Option<&[u8]>) -> BreakerRecord {
    record
        .and_then(BreakerRecord::decode)
        .unwrap_or(BreakerRecord::NEW)
}

#[cfg(test)]
#[path = "circuit_breaker_tests.rs"]
mod tests;
