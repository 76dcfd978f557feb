//! The state of a bucket of the rate limit.

#![forbid(unsafe_code)]

#[cfg(any(fuzzing, test, feature = "test-support"))]
use std::time::Duration;

use crate::platform::clock::BootTime;

/// The time in which a bucket is refilled, in microseconds. A full bucket owes this much.
pub(crate) const MINUTE: u64 = 60_000_000;

/// What a ticket is charged as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Charge {
    /// CAS refused it, or replied something that is no reply of CAS.
    Refused,
    /// CAS did not answer, although it had enough time.
    Unanswered,
}

/// The debt of a bucket, as the time in microseconds at which it will be refilled.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Debt(u64);

impl Debt {
    /// The remaining debt at `now`. A debt larger than the bucket was written by another clock, and
    /// is ignored.
    fn owed(self, now: BootTime) -> u64 {
        let owed = self.0.saturating_sub(micros(now));
        if owed <= MINUTE { owed } else { 0 }
    }

    /// Whether one more of `limit` a minute fits into this `share` of the bucket.
    fn leaves_room(self, limit: u64, share: u64, now: BootTime) -> bool {
        self.owed(now) + MINUTE / limit.max(1) <= share
    }

    fn plus_one(self, limit: u64, now: BootTime) -> Self {
        let owed = self.owed(now) + MINUTE / limit.max(1);
        // Concurrent requests may charge more than there was room for.
        Self(micros(now) + owed.min(MINUTE))
    }

    fn minus_one(self, limit: u64) -> Self {
        Self(self.0.saturating_sub(MINUTE / limit.max(1)))
    }
}

/// The state of a bucket.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct BucketState {
    refused: Debt,
    unanswered: Debt,
    /// The number of outages when the last unanswered ticket was charged.
    outages: u32,
}

impl BucketState {
    /// The state after `outages` outages: each cancels the charges of earlier unanswered tickets.
    pub(crate) fn after_outages(self, outages: u32) -> Self {
        match self.outages == outages {
            true => self,
            false => Self {
                refused: self.refused,
                unanswered: Debt::default(),
                outages,
            },
        }
    }

    /// The charge, if any, that leaves no room for one more in this `share` of a bucket with these
    /// limits of `refused` and `unanswered` tickets a minute.
    pub(crate) fn exceeded(
        self,
        (refused, unanswered): (u64, u64),
        share: u64,
        now: BootTime,
    ) -> Option<Charge> {
        if !self.refused.leaves_room(refused, share, now) {
            Some(Charge::Refused)
        } else if !self.unanswered.leaves_room(unanswered, share, now) {
            Some(Charge::Unanswered)
        } else {
            None
        }
    }

    /// Whether no unanswered ticket is charged at `now`.
    pub(crate) fn is_answered(self, now: BootTime) -> bool {
        self.unanswered.owed(now) == 0
    }

    /// Whether no refusal is charged at `now`.
    pub(crate) fn is_free_of_refusals(self, now: BootTime) -> bool {
        self.refused.owed(now) == 0
    }

    /// Whether nothing is charged at `now`.
    pub(crate) fn is_clear(self, now: BootTime) -> bool {
        self.is_free_of_refusals(now) && self.is_answered(now)
    }

    pub(crate) fn charged(
        self,
        charge: Charge,
        (refused, unanswered): (u64, u64),
        now: BootTime,
    ) -> Self {
        match charge {
            Charge::Refused => Self {
                refused: self.refused.plus_one(refused, now),
                ..self
            },
            Charge::Unanswered => Self {
                unanswered: self.unanswered.plus_one(unanswered, now),
                ..self
            },
        }
    }

    /// The state with `more` charged, and advance charges given `back`.
    pub(crate) fn changed(
        self,
        more: &[Charge],
        back: &[Charge],
        limits: (u64, u64),
        now: BootTime,
    ) -> Self {
        let charged = more.iter().fold(self, |account, charge| {
            account.charged(*charge, limits, now)
        });
        back.iter().fold(charged, |account, charge| match charge {
            Charge::Refused => Self {
                refused: account.refused.minus_one(limits.0),
                ..account
            },
            Charge::Unanswered => Self {
                unanswered: account.unanswered.minus_one(limits.1),
                ..account
            },
        })
    }

    /// The state after CAS has accepted a ticket.
    pub(crate) fn refunded(self, refused: u64) -> Self {
        Self {
            refused: self.refused.minus_one(refused),
            unanswered: Debt::default(),
            ..self
        }
    }

    /// Checks the invariants of a state at `now`.
    #[cfg(any(fuzzing, test, feature = "test-support"))]
    pub(crate) fn check(self, now: BootTime) {
        for limit in [1, 3_000, 60_000, u64::MAX] {
            let limits = (limit, limit);
            assert!(!self.is_clear(now) || self.exceeded(limits, MINUTE, now).is_none());
            let charged = self.charged(Charge::Refused, limits, now);
            let charged = charged.charged(Charge::Unanswered, limits, now);
            let later = now.plus(Duration::from_secs(60));
            assert!(charged.exceeded(limits, MINUTE, later).is_none());
            assert!(self.refunded(limit).refused.0 <= self.refused.0);
        }
    }

    pub(crate) fn encode(self) -> Vec<u8> {
        let mut bytes = self.refused.0.to_be_bytes().to_vec();
        bytes.extend(self.unanswered.0.to_be_bytes());
        bytes.extend(self.outages.to_be_bytes());
        bytes
    }

    pub(crate) fn decode(bytes: &[u8]) -> Option<Self> {
        let (refused, rest) = bytes.split_first_chunk()?;
        let (unanswered, rest) = rest.split_first_chunk()?;
        Some(Self {
            refused: Debt(u64::from_be_bytes(*refused)),
            unanswered: Debt(u64::from_be_bytes(*unanswered)),
            outages: u32::from_be_bytes(rest.try_into().ok()?),
        })
    }
}

fn micros(now: BootTime) -> u64 {
    now.as_millis() * 1_000
}

#[cfg(test)]
#[path = "rate_bucket_tests.rs"]
mod tests;
