//! The circuit breaker: an SSO server that does not answer is left alone for a
//! while, by all processes of the host, so that logins fail at once and do not
//! each wait for the time-out.
//!
//! It counts only silence: no connection, or no answer in a time that was enough
//! for one. A reply of any kind, however wrong, shows that the server is there.

#![forbid(unsafe_code)]

use std::time::Duration;

use super::access::Access;
use super::key::Key;
use super::record::moment;
use super::tier::{Change, Table};
use crate::clock::Moment;
use crate::outcome::{Failure, Reason};

/// So many failures in a row make the server one that is left alone.
const ENOUGH: u8 = 3;

/// For so long; then one login tries again.
const PAUSE: Duration = Duration::from_secs(5);

/// What is known of a server that did not answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Silence {
    failures: u8,
    retry: Moment,
}

impl Silence {
    /// What is known after one more failure at `now`.
    pub(super) fn more(before: Option<Self>, now: Moment) -> Self {
        let failures = before.map_or(0, |silence| silence.failures);
        Self {
            failures: failures.saturating_add(1),
            retry: now.plus(PAUSE),
        }
    }

    /// Whether the server is left alone at `now`. One that should have been
    /// tried again long after `now` is from another time: not believed.
    pub(super) fn is_avoided(&self, now: Moment) -> bool {
        let left = self.retry.since(now).unwrap_or_default();
        self.failures >= ENOUGH && !left.is_zero() && left <= PAUSE
    }

    /// Whether one login may try at `now` what the others must not.
    pub(super) fn wants_trial(&self, now: Moment) -> bool {
        self.failures >= ENOUGH && !self.is_avoided(now)
    }

    /// The same while one login tries at `now`.
    pub(super) fn during_trial(self, now: Moment) -> Self {
        Self {
            retry: now.plus(PAUSE),
            ..self
        }
    }

    pub(super) fn encode(self) -> Vec<u8> {
        let mut bytes = self.retry.as_millis().to_be_bytes().to_vec();
        bytes.push(self.failures);
        bytes
    }

    pub(super) fn decode(bytes: &[u8]) -> Option<Self> {
        match moment(bytes)? {
            (retry, &[failures]) => Some(Self { failures, retry }),
            _ => None,
        }
    }
}

impl Access<'_> {
    /// The key of the circuit breaker of a server.
    pub fn breaker(&self, server: &str) -> Key {
        self.tiers.secret.key(&[b"breaker", server.as_bytes()])
    }

    /// Whether the server of `breaker` may be asked now.
    ///
    /// # Errors
    /// [`Reason::ServerAvoided`] if it has not answered several times, and it
    /// is not for this login to try whether it does again.
    pub fn may_ask(&self, breaker: &Key) -> Result<(), Failure> {
        let now = self.now();
        let silence = |bytes: &[u8]| Silence::decode(bytes);
        let avoided = || {
            let detail = "the server did not answer several times; it is tried again in seconds";
            Failure::new(Reason::ServerAvoided, detail)
        };
        let known = self.look_up(Table::Breakers, breaker, silence);
        match known.map(|(known, _)| known) {
            Some(known) if known.is_avoided(now) => return Err(avoided()),
            Some(known) if known.wants_trial(now) => {}
            _ => return Ok(()),
        }
        let mut is_ours = true;
        self.change(Table::Breakers, breaker, |before| {
            match before.and_then(silence) {
                Some(known) if known.wants_trial(now) => {
                    is_ours = true;
                    Change::Put(known.during_trial(now).encode())
                }
                Some(_) => {
                    is_ours = false;
                    Change::Keep
                }
                None => Change::Keep,
            }
        });
        if is_ours { Ok(()) } else { Err(avoided()) }
    }

    /// Notes whether the server of `breaker` answered when it was asked.
    pub fn asked(&self, breaker: &Key, has_answered: bool) {
        let now = self.now();
        if !has_answered {
            self.change(Table::Breakers, breaker, |before| {
                Change::Put(Silence::more(before.and_then(Silence::decode), now).encode())
            });
        } else if self
            .look_up(Table::Breakers, breaker, Silence::decode)
            .is_some()
        {
            self.change(Table::Breakers, breaker, |_| Change::Remove);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Moment {
        Moment::from_millis(seconds * 1_000)
    }

    #[test]
    fn three_failures_in_a_row_make_a_pause_of_seconds() {
        let mut silence = None;
        for second in 0..3 {
            assert!(silence.is_none_or(|s: Silence| !s.is_avoided(at(second))));
            silence = Some(Silence::more(silence, at(second)));
        }
        let silence = silence.unwrap();
        assert!(silence.is_avoided(at(3)));
        assert!(silence.is_avoided(at(6)));
        assert!(!silence.is_avoided(at(7)));
        assert!(silence.wants_trial(at(7)));
    }

    #[test]
    fn one_login_tries_while_the_others_go_on_failing_at_once() {
        let mut silence = Silence::more(None, at(0));
        silence = Silence::more(Some(silence), at(0));
        silence = Silence::more(Some(silence), at(0));
        let silence = silence.during_trial(at(5));
        assert!(silence.is_avoided(at(6)));
        assert!(silence.wants_trial(at(10)));
    }

    #[test]
    fn it_comes_back_as_it_was_written() {
        let silence = Silence::more(None, at(9));
        assert_eq!(Silence::decode(&silence.encode()), Some(silence));
        assert_eq!(Silence::decode(b""), None);
    }
}
