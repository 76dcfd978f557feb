//! The one interface behind which records are kept, wherever that is.

#![forbid(unsafe_code)]

use std::any::Any;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use super::cache_key::Key;
use super::entry::Ending;
use super::flush_log::FlushNumber;
use crate::credential::CredentialKind;
use crate::platform::clock::BootTime;
use crate::state_dir::StoreError;
use crate::state_dir::sync_file::wait_while;

/// What kinds of records there are. Each is bounded for itself, so that a flood
/// of refusals evicts no session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Table {
    /// Tickets that were good.
    Tickets,
    /// Tokens that were good. Apart, for they are many, live shortly, and can be
    /// validated again: they must not evict tickets, which cannot.
    Tokens,
    /// Credentials that were definitely refused.
    NegativeEntries,
    /// The circuit breakers of SSO servers, and the rate limits that all clients share: no
    /// client brings about a record of its own here, and none is evicted.
    Breakers,
    /// The rate limits of names.
    Budgets,
    /// The rate limits of clients. Apart, for a client makes up as many names as it likes.
    Clients,
    /// Of which names and clients CAS has accepted a ticket.
    Accepted,
    /// What processes tell one another: the keys of issuers.
    Notes,
}

impl Table {
    pub(crate) const ALL: [Self; 8] = [
        Self::Tickets,
        Self::Tokens,
        Self::NegativeEntries,
        Self::Breakers,
        Self::Budgets,
        Self::Clients,
        Self::Accepted,
        Self::Notes,
    ];

    /// The table of the sessions of credentials of `kind`.
    pub(crate) fn of(kind: CredentialKind) -> Self {
        match kind {
            CredentialKind::Ticket => Self::Tickets,
            CredentialKind::Token => Self::Tokens,
        }
    }

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Tickets => "tickets",
            Self::Tokens => "tokens",
            Self::NegativeEntries => "refusals",
            Self::Breakers => "breakers",
            Self::Budgets => "budgets",
            Self::Clients => "clients",
            Self::Accepted => "accepted",
            Self::Notes => "notes",
        }
    }

    /// How many records it may hold where `sessions` sessions are allowed.
    pub(crate) fn capacity(self, sessions: usize) -> usize {
        match self {
            Self::Tickets | Self::Tokens => sessions,
            Self::NegativeEntries | Self::Budgets | Self::Clients | Self::Accepted => {
                sessions.min(10_000)
            }
            Self::Breakers | Self::Notes => 100,
        }
    }

    /// After how long without a change a record is of no use to anyone. Whether
    /// a session is depends on options, which may differ between services.
    pub(crate) fn keeps(self) -> Option<Duration> {
        match self {
            Self::NegativeEntries => Some(Duration::from_secs(30)),
            Self::Budgets | Self::Clients => Some(Duration::from_secs(60)),
            Self::Tickets | Self::Tokens | Self::Breakers | Self::Accepted | Self::Notes => None,
        }
    }
}

/// What becomes of a record.
pub(crate) enum Change {
    Keep,
    Put(Vec<u8>),
    /// As [`Change::Put`], but removes the record if it was flushed after `since`.
    Open {
        record: Vec<u8>,
        since: FlushNumber,
        /// The names of the user whose record it is.
        names: Vec<String>,
        /// By what it is told whether those that make room for it were still sessions.
        ending: Ending,
    },
    Remove,
}

/// The right to validate one credential, held by one login at a time; it ends
/// when it is dropped, and with the process that has it.
pub struct ValidationLock {
    _held: Box<dyn Any>,
}

impl ValidationLock {
    pub(crate) fn new(held: impl Any) -> Self {
        Self {
            _held: Box::new(held),
        }
    }
}

/// What a login that did not get a [`ValidationLock`] waits for.
pub struct LockRelease<'t> {
    counter: &'t AtomicU32,
    seen: u32,
}

impl<'t> LockRelease<'t> {
    /// The next release from now on, by the counter of these.
    pub(crate) fn next(counter: &'t AtomicU32) -> Self {
        let seen = counter.load(Ordering::Acquire);
        Self { counter, seen }
    }

    /// Waits for it, for `patience`, or until a signal is handled. That it has come does
    /// not say what was released.
    pub fn wait(&self, patience: Duration) {
        wait_while(self.counter, self.seen, patience);
    }
}

/// A place for records.
pub(crate) trait Tier: Send + Sync {
    /// The record of `key`. Other processes are waited for no longer than `patience`.
    fn find(
        &self,
        table: Table,
        key: &Key,
        patience: Duration,
    ) -> Result<Option<Vec<u8>>, StoreError>;

    /// Lets `change` decide on the record of `key` while nobody else can. A
    /// record that is put is the most recently used one at `now`; the least
    /// recently used one goes if there is no room. `change` may be asked again
    /// if its first answer could not be written.
    fn update(
        &self,
        table: Table,
        key: &Key,
        now: BootTime,
        change: &mut dyn FnMut(Option<&[u8]>) -> Change,
    ) -> Result<(), StoreError>;

    /// The claim on `key`, or `None` while somebody has it.
    fn try_lock(&self, key: &Key) -> Result<Option<ValidationLock>, StoreError>;

    /// The counter of the releases of claims on `key`, and on some other keys.
    fn releases(&self, key: &Key) -> &AtomicU32;
}
