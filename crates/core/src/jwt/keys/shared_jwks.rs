//! The copy of an issuer's published keys that all processes of the host share. It consists of a
//! state, which is small and read for each validation, and of the key set, which is read when the
//! state shows that it has changed.

#![forbid(unsafe_code)]

use std::time::Duration;

use crate::platform::clock::BootTime;
use crate::session_cache::{Key, SessionCacheHandle};

/// The cache keys under which a copy is stored.
pub(crate) struct SharedJwks {
    pub(crate) state: Key,
    pub(crate) set: Key,
}

/// The times of the attempts to fetch the keys; 0 means never.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct State {
    /// When the shared key set was fetched.
    pub(crate) fetched: BootTime,
    /// When fetching last failed, if that was later than the last success.
    pub(crate) failed: BootTime,
    /// When the keys were last requested because of an unknown key.
    pub(crate) asked: BootTime,
}

const NEVER: BootTime = BootTime::from_millis(0);

impl SharedJwks {
    /// The copy with the name `name`.
    pub(crate) fn new(sessions: &SessionCacheHandle<'_>, name: &str) -> Self {
        Self {
            state: sessions.note_key(&format!("state of {name}")),
            set: sessions.note_key(&format!("keys of {name}")),
        }
    }

    /// The state; of an issuer that was never asked, all times are 0.
    pub(crate) fn state(&self, sessions: &SessionCacheHandle<'_>) -> State {
        let note = sessions.note(&self.state);
        note.and_then(|note| State::decode(&note)).unwrap_or(State {
            fetched: NEVER,
            failed: NEVER,
            asked: NEVER,
        })
    }

    /// The key set, and when it was fetched.
    pub(crate) fn set(&self, sessions: &SessionCacheHandle<'_>) -> Option<(BootTime, Vec<u8>)> {
        let note = sessions.note(&self.set)?;
        let (fetched, set) = note.split_first_chunk()?;
        Some((
            BootTime::from_millis(u64::from_be_bytes(*fetched)),
            set.to_vec(),
        ))
    }

    /// Stores a key set that was fetched at `now`: first the set, then the state.
    pub(crate) fn keep(
        &self,
        sessions: &SessionCacheHandle<'_>,
        state: State,
        now: BootTime,
        set: &[u8],
    ) {
        let note = [&now.as_millis().to_be_bytes()[..], set].concat();
        sessions.put_note(&self.set, note);
        let state = State {
            fetched: now,
            failed: NEVER,
            ..state
        };
        sessions.put_note(&self.state, state.encode());
    }

    /// Stores that fetching failed at `now`.
    pub(crate) fn fail(&self, sessions: &SessionCacheHandle<'_>, state: State, now: BootTime) {
        let state = State {
            failed: now,
            ..state
        };
        sessions.put_note(&self.state, state.encode());
    }
}

impl State {
    /// Whether the shared key set is younger than `age` at `now`.
    pub(crate) fn is_younger(&self, age: Duration, now: BootTime) -> bool {
        within(self.fetched, age, now)
    }

    /// Whether the last attempt failed less than `pause` ago.
    pub(crate) fn has_failed_within(&self, pause: Duration, now: BootTime) -> bool {
        within(self.failed, pause, now)
    }

    /// Whether the last attempt failed.
    pub(crate) fn is_failing(&self) -> bool {
        self.failed != NEVER
    }

    /// Whether the keys were requested because of an unknown key less than `pause` ago.
    pub(crate) fn was_asked_within(&self, pause: Duration, now: BootTime) -> bool {
        within(self.asked, pause, now)
    }

    pub(crate) fn encode(self) -> Vec<u8> {
        [self.fetched, self.failed, self.asked]
            .map(|moment| moment.as_millis().to_be_bytes())
            .concat()
    }

    pub(crate) fn decode(note: &[u8]) -> Option<Self> {
        let mut moments = note.chunks_exact(8).map(|bytes| {
            let bytes = bytes.try_into().unwrap_or_default();
            BootTime::from_millis(u64::from_be_bytes(bytes))
        });
        Some(Self {
            fetched: moments.next()?,
            failed: moments.next()?,
            asked: moments.next()?,
        })
    }
}

fn within(moment: BootTime, duration: Duration, now: BootTime) -> bool {
    moment != NEVER && now.since(moment).is_some_and(|age| age < duration)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stored_state_is_read_back() {
        let state = State {
            fetched: BootTime::from_millis(1),
            failed: NEVER,
            asked: BootTime::from_millis(u64::MAX),
        };
        assert_eq!(State::decode(&state.encode()), Some(state));
        assert_eq!(State::decode(&state.encode()[..23]), None);
    }

    #[test]
    fn never_is_not_a_moment_ago() {
        let now = BootTime::from_millis(5);
        assert!(!within(NEVER, Duration::from_secs(1), now));
        assert!(within(
            BootTime::from_millis(1),
            Duration::from_millis(5),
            now
        ));
        assert!(!within(
            BootTime::from_millis(1),
            Duration::from_millis(4),
            now
        ));
        assert!(!within(
            BootTime::from_millis(6),
            Duration::from_secs(1),
            now
        ));
    }
}
