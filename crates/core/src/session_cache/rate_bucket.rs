//! What is charged to a bucket of the rate limit.

#![forbid(unsafe_code)]

#[cfg(any(fuzzing, test, feature = "test-support"))]
use std::time::Duration;

use crate::platform::clock::BootTime;

/// The time in which a bucket is refilled, in microseconds; a full bucket owes as many.
pub(crate) const MINUTE: u64 = 60_000_000;

/// What a ticket is charged with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Charge {
    /// CAS refused it, or answered something that is no answer of CAS.
    Refused,
    /// CAS did not answer, though it had the time to.
    Unanswered,
}

/// What is charged, as the moment in microseconds at which all of it will be refilled.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Debt(u64);

impl Debt {
    /// What is still to be refilled at `now`. More than there is room for was noted by
    /// another clock, and is not believed.
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
        // Requests under way together may charge more than there was room for.
        Self(micros(now) + owed.min(MINUTE))
    }

    fn minus_one(self, limit: u64) -> Self {
        Self(self.0.saturating_sub(MINUTE / limit.max(1)))
    }
}

/// What is charged to a bucket.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Account {
    refused: Debt,
    unanswered: Debt,
    /// How many outages there had been when the last unanswered ticket was charged.
    outages: u32,
}

impl Account {
    /// The account after `outages` outages: each of them voids what was left unanswered before.
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

    /// Which charge, if any, leaves no room for one more in this `share` of a bucket that
    /// takes so many `refused` and `unanswered` tickets a minute.
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

    /// Whether all unanswered tickets that were charged are refilled at `now`.
    pub(crate) fn is_answered(self, now: BootTime) -> bool {
        self.unanswered.owed(now) == 0
    }

    /// Whether all refusals that were charged are refilled at `now`.
    pub(crate) fn is_free_of_refusals(self, now: BootTime) -> bool {
        self.refused.owed(now) == 0
    }

    /// Whether all that was charged is refilled at `now`.
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

    /// The account with `more` charged to it, and what was charged in advance given `back`.
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

    /// The account after CAS has accepted a ticket.
    pub(crate) fn refunded(self, refused: u64) -> Self {
        Self {
            refused: self.refused.minus_one(refused),
            unanswered: Debt::default(),
            ..self
        }
    }

    /// What must hold of any account at `now`.
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
