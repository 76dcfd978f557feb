//! The circuit breaker of a CAS server: while the server does not answer anybody,
//! the logins of all processes of the host fail at once instead of each waiting for
//! its time-out.
//!
//! # Policy
//!
//! 1. A connection that fails counts as a failure. A time-out counts only if the
//!    server has answered nobody since that request began: tickets that CAS leaves
//!    unanswered while it answers others say nothing about CAS. A reply of any kind,
//!    however wrong, is an answer, and resets the count.
//! 2. After [`FAILURE_THRESHOLD`] failures in a row the breaker does not open yet.
//!    The next login first asks CAS about a ticket that nobody issued, for at most half
//!    of the time that it has (the trial); logins that come meanwhile wait for the
//!    result. If CAS answers, the breaker is closed and all of them go on. If it does
//!    not, the breaker opens.
//! 3. An open breaker refuses all logins that need CAS. After [`PAUSE`] it is half-open:
//!    the next login makes a trial in the same way, while the others still fail at once.
//!
//! No client's ticket is a trial. So nobody can keep the breaker open, or open it, with
//! tickets of his own choosing, whatever name or address he uses; and nobody is locked
//! out, for whichever client comes next brings about the trial, though it be the only
//! one and have just timed out.

#![forbid(unsafe_code)]

use std::time::Duration;

use super::backend::{Change, Table};
use super::cache_key::Key;
use super::entry::moment;
use super::handle::SessionCacheHandle;
use crate::error::Failure;
use crate::platform::clock::BootTime;

/// Consecutive failures before CAS is suspected of being down.
const FAILURE_THRESHOLD: u8 = 3;

/// How long an open breaker waits before the next trial.
const PAUSE: Duration = Duration::from_secs(5);

/// How much longer than its own time-out a trial is waited for: its process may have
/// been killed.
const TRIAL_GRACE: Duration = Duration::from_secs(1);

/// Upper bound on the duration of a trial. `caspt_timeout` is at most 60 seconds.
const MAX_TRIAL: Duration = Duration::from_secs(61);

/// Answers closer together than this are recorded as one, so that a busy server does
/// not cost a write for each of its answers.
const ANSWER_GRANULARITY: Duration = Duration::from_millis(250);

/// Stands for no answer at all.
const NEVER: BootTime = BootTime::from_millis(0);

/// What a login may do that needs the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Permission {
    /// Ask the server.
    Granted,
    /// Make a trial, and report its result with [`SessionCacheHandle::end_trial`].
    Trial,
    /// Ask for permission again in a moment: another login makes a trial.
    Wait,
    /// Fail: the server is down.
    Denied,
}

/// How a request to the server ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// With a reply of any kind.
    Answered,
    /// Without a reply, after a time that was enough for one.
    TimedOut,
    /// Without a connection.
    Unreachable,
}

/// The record of a server, shared by all processes of the host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct BreakerRecord {
    state: State,
    /// When the server last answered anybody, to within [`ANSWER_GRANULARITY`].
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

    /// What a login may do at `now`. A time that lies too far in the future is from
    /// another clock, and is not believed.
    pub(crate) fn permission(&self, now: BootTime) -> Permission {
        let is_ahead = |until: BootTime, limit: Duration| {
            let left = until.since(now).unwrap_or_default();
            !left.is_zero() && left <= limit
        };
        match self.state {
            State::Closed { failures } if failures < FAILURE_THRESHOLD => Permission::Granted,
            State::Open { until } if is_ahead(until, PAUSE) => Permission::Denied,
            State::Trial { was_open, until } if is_ahead(until, MAX_TRIAL) => match was_open {
                true => Permission::Denied,
                false => Permission::Wait,
            },
            _ => Permission::Trial,
        }
    }

    /// The record while a login makes a trial of at most `timeout` from `now` on.
    pub(crate) fn during_trial(self, now: BootTime, timeout: Duration) -> Self {
        let until = now.plus((timeout + TRIAL_GRACE).min(MAX_TRIAL));
        let was_open = self.is_down();
        let state = State::Trial { was_open, until };
        Self { state, ..self }
    }

    /// The record after a trial to which the server has `answered` or not, or of which
    /// nothing came (`None`).
    pub(crate) fn after_trial(self, now: BootTime, answered: Option<bool>) -> Self {
        let State::Trial { was_open, .. } = self.state else {
            // Another login was answered meanwhile.
            return self;
        };
        let opened = |until| State::Open { until };
        match (answered, was_open) {
            (Some(true), _) => self.after_answer(now),
            (Some(false), _) => Self {
                state: opened(now.plus(PAUSE)),
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

    /// Whether a trial has shown that the server does not answer anybody.
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
        let (answered, rest) = moment(bytes)?;
        let (until, rest) = moment(rest)?;
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

    /// What this login may do about the server of `breaker`. If that is a trial, it is
    /// this login's alone, and takes at most `timeout`.
    ///
    /// # Errors
    /// [`Reason::SessionsUnreadable`](crate::error::Reason::SessionsUnreadable): what the
    /// other processes know of the server is unknown, and each of them would wait for one
    /// that does not answer.
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

    /// Records whether the server has answered a trial; `None` if the trial says nothing
    /// about the server.
    pub fn end_trial(&self, breaker: &Key, answered: Option<bool>) {
        let now = self.now();
        self.change_breaker(breaker, |record| record.after_trial(now, answered));
    }

    /// Records how a request to the server of `breaker` ended that began at `began`.
    pub fn record_outcome(&self, breaker: &Key, began: BootTime, outcome: Outcome) {
        let now = self.now();
        let next = |record: BreakerRecord| match outcome {
            Outcome::Answered => record.after_answer(now),
            Outcome::TimedOut => record.after_failure(began, now, true),
            Outcome::Unreachable => record.after_failure(began, now, false),
        };
        // If it cannot be read now, the outcome of one request is not recorded.
        if let Ok(before) = self.breaker_record(breaker)
            && next(before) != before
        {
            self.change_breaker(breaker, next);
        }
    }

    /// The record of a server, or that of one of which nothing is recorded.
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
