//! The log of flushes: which sessions have ended, whenever they were validated.
//!
//! Removing sessions from the cache is not sufficient. A login may have validated its credential
//! earlier and write the session later, and a process that could not write to the cache has
//! sessions of its own. So each flush has a number and an entry in this log, and each session has
//! the number of the last flush before its validation. A session has ended if a flush with a higher
//! number selects it.

#![forbid(unsafe_code)]

use std::ops::Bound;

use heed::types::Bytes;
use heed::{Database, RoTxn, RwTxn};

use super::cache_key::Key;

/// The number of flushes in the log. A session from before the first of them counts as flushed.
const MAX_LOGGED_FLUSHES: u64 = 1_000;

/// The number of a flush; 0 before the first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct FlushNumber(u32);

impl FlushNumber {
    /// The length, in bytes.
    pub(crate) const LENGTH: usize = 4;

    /// Before all flushes.
    pub(crate) const FIRST: Self = Self(0);

    pub(crate) fn to_bytes(self) -> [u8; Self::LENGTH] {
        self.0.to_be_bytes()
    }

    pub(crate) fn from_bytes(bytes: [u8; Self::LENGTH]) -> Self {
        Self(u32::from_be_bytes(bytes))
    }

    fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }

    #[cfg(test)]
    pub(crate) fn of_test(number: u32) -> Self {
        Self(number)
    }
}

/// Which sessions a flush selects.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Selector {
    /// All sessions.
    All,
    /// The sessions of a user, by the name in the log or by the principal.
    User(String),
    /// The sessions whose digest begins with this text, in lower case.
    Digest(String),
}

impl Selector {
    /// Whether it may select the session of `key` for a user with these names. The domains that the
    /// mapping or the host adds or removes are unknown here, so names are compared without domain
    /// and case. At worst, a login at that moment stores no session.
    pub(crate) fn may_concern(&self, key: &Key, names: &[&str]) -> bool {
        let local = |name: &str| {
            let name = name.rsplit('\\').next().unwrap_or_default();
            name.split('@').next().unwrap_or_default().to_lowercase()
        };
        match self {
            Self::All => true,
            Self::User(user) => names.iter().any(|name| local(user) == local(name)),
            Self::Digest(prefix) => key.to_string().starts_with(prefix.as_str()),
        }
    }

    pub(crate) fn encode(&self) -> Vec<u8> {
        let (word, text) = match self {
            Self::All => ('a', ""),
            Self::User(user) => ('u', user.as_str()),
            Self::Digest(prefix) => ('d', prefix.as_str()),
        };
        format!("{word}{text}").into_bytes()
    }

    pub(crate) fn decode(bytes: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(bytes).ok()?;
        let (word, text) = text.split_at_checked(1)?;
        match word {
            "a" => Some(Self::All),
            "u" => Some(Self::User(text.to_owned())),
            "d" => Some(Self::Digest(text.to_owned())),
            _ => None,
        }
    }
}

/// The flushes in the cache, by number.
#[derive(Clone, Copy)]
pub struct FlushLog(pub(crate) Database<'static, Bytes, Bytes>);

impl FlushLog {
    /// The number of the last flush.
    pub(crate) fn last(self, transaction: &RoTxn<'_>) -> Result<FlushNumber, heed::Error> {
        let last = self.0.last(transaction)?;
        let number = last.and_then(|(number, _)| number.try_into().ok());
        Ok(number.map_or(FlushNumber::FIRST, FlushNumber::from_bytes))
    }

    /// Whether the session of `key`, for a user with these names, was flushed after `since`.
    pub(crate) fn has(
        self,
        transaction: &RoTxn<'_>,
        since: FlushNumber,
        key: &Key,
        names: &[&str],
    ) -> Result<bool, heed::Error> {
        let after = since.next();
        let first = self.0.first(transaction)?;
        if first.is_some_and(|(number, _)| after.to_bytes()[..] < *number) {
            return Ok(true);
        }
        let bytes = after.to_bytes();
        let later = (Bound::Included(&bytes[..]), Bound::Unbounded);
        for note in self.0.range(transaction, &later)? {
            let (_, selector) = note?;
            // An unreadable entry may select any session.
            let selector = Selector::decode(selector).unwrap_or(Selector::All);
            if selector.may_concern(key, names) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Adds a flush, and returns its number.
    pub(crate) fn add(
        self,
        transaction: &mut RwTxn<'_>,
        selector: &Selector,
    ) -> Result<FlushNumber, heed::Error> {
        let number = self.last(transaction)?.next();
        self.0
            .put(transaction, &number.to_bytes(), &selector.encode())?;
        while self.0.len(transaction)? > MAX_LOGGED_FLUSHES {
            let Some((first, _)) = self.0.first(transaction)? else {
                break;
            };
            let first = first.to_vec();
            self.0.delete(transaction, &first)?;
        }
        Ok(number)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn user_is_selected_by_any_of_the_names() {
        let key = Key::of_test(0x1234_5678);
        let user = |user: &str, name| Selector::User(user.to_owned()).may_concern(&key, &[name]);
        assert!(user("alice", "alice") && user("alice", "Alice@univ.fr"));
        assert!(user("alice@univ.fr", "alice") && user("alice", "UNIV\\\\alice"));
        assert!(!user("alice", "alicia") && !user("alice", "bob@alice"));
    }

    #[test]
    fn digest_is_selected_by_its_beginning() {
        let key = Key::of_test(0x1234_5678);
        let digest = |prefix: &str| Selector::Digest(prefix.to_owned()).may_concern(&key, &["x"]);
        assert!(digest("1234") && digest(&key.to_string()));
        assert!(!digest("2345"));
    }

    #[test]
    fn selector_is_decoded_as_it_was_encoded() {
        for selector in [
            Selector::All,
            Selector::User("é@univ.fr".to_owned()),
            Selector::Digest("12ab".to_owned()),
        ] {
            assert_eq!(Selector::decode(&selector.encode()), Some(selector));
        }
        assert_eq!(Selector::decode(b""), None);
    }
}
