//! The interface of the two places that store records.

#![forbid(unsafe_code)]

use std::any::Any;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use super::cache_key::Key;
use super::entry::ExpiryContext;
use super::flush_log::FlushNumber;
use crate::credential::CredentialKind;
use crate::platform::clock::BootTime;
use crate::state_dir::StoreError;
use crate::state_dir::sync_file::wait_while;

/// The tables. Each has its own capacity, so that a flood of negative entries evicts no session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Table {
    /// Sessions of tickets.
    Tickets,
    /// Sessions of tokens. They have a table of their own, because they are many, live shortly, and
    /// can be validated again: they must not evict tickets.
    Tokens,
    /// Negative entries.
    NegativeEntries,
    /// The circuit breakers of SSO servers, and the rate limits of all clients together. No client
    /// creates a record here, and none is evicted.
    Breakers,
    /// The rate limits of names.
    Names,
    /// The rate limits of clients. They have a table of their own, because a client can use any
    /// number of names.
    Clients,
    /// The names and clients of which CAS has accepted a ticket.
    Accepted,
    /// Small records that processes share: the keys of issuers.
    Notes,
}

impl Table {
    pub(crate) const ALL: [Self; 8] = [
        Self::Tickets,
        Self::Tokens,
        Self::NegativeEntries,
        Self::Breakers,
        Self::Names,
        Self::Clients,
        Self::Accepted,
        Self::Notes,
    ];

    /// The table for sessions of credentials of `kind`.
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
            Self::Names => "budgets",
            Self::Clients => "clients",
            Self::Accepted => "accepted",
            Self::Notes => "notes",
        }
    }

    /// The capacity of the table if `sessions` sessions are allowed.
    pub(crate) fn capacity(self, sessions: usize) -> usize {
        match self {
            Self::Tickets | Self::Tokens => sessions,
            Self::NegativeEntries | Self::Names | Self::Clients | Self::Accepted => {
                sessions.min(10_000)
            }
            Self::Breakers | Self::Notes => 100,
        }
    }

    /// The time after which an unchanged record is useless. For sessions the options decide, which
    /// may differ between services.
    pub(crate) fn keeps(self) -> Option<Duration> {
        match self {
            Self::NegativeEntries => Some(Duration::from_secs(30)),
            Self::Names | Self::Clients => Some(Duration::from_secs(60)),
            Self::Tickets | Self::Tokens | Self::Breakers | Self::Accepted | Self::Notes => None,
        }
    }
}

/// What to do with a record.
pub(crate) enum Change {
    Keep,
    Put(Vec<u8>),
    /// As [`Change::Put`], but the record is removed if it was flushed after `since`.
    Open {
        record: Vec<u8>,
        since: FlushNumber,
        /// The names of the session's user.
        names: Vec<String>,
        /// Decides whether sessions that are evicted for this one have ended already.
        expiry: ExpiryContext,
    },
    Remove,
}

/// The right to validate one credential, which one login of the host holds at a time. It is
/// released when it is dropped, and when its process ends.
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

/// What a login waits for that did not get the [`ValidationLock`].
pub struct LockRelease<'t> {
    counter: &'t AtomicU32,
    seen: u32,
}

impl<'t> LockRelease<'t> {
    /// The next release after this call, according to `counter`.
    pub(crate) fn next(counter: &'t AtomicU32) -> Self {
        let seen = counter.load(Ordering::Acquire);
        Self { counter, seen }
    }

    /// Waits for the release, for `patience`, or until a signal is handled. It may be the release
    /// of another lock.
    pub fn wait(&self, patience: Duration) {
        wait_while(self.counter, self.seen, patience);
    }
}

/// A place that stores records.
pub(crate) trait Backend: Send + Sync {
    /// The record of `key`. It waits for other processes for at most `patience`.
    fn find(
        &self,
        table: Table,
        key: &Key,
        patience: Duration,
    ) -> Result<Option<Vec<u8>>, StoreError>;

    /// Lets `change` decide about the record of `key` in one transaction. A record that is put
    /// becomes the most recently used one at `now`, and the least recently used one is evicted if
    /// there is no room. `change` may be called again if its first result could not be written.
    fn update(
        &self,
        table: Table,
        key: &Key,
        now: BootTime,
        change: &mut dyn FnMut(Option<&[u8]>) -> Change,
    ) -> Result<(), StoreError>;

    /// The validation lock of `key`, or `None` while another login holds it.
    fn try_lock(&self, key: &Key) -> Result<Option<ValidationLock>, StoreError>;

    /// The counter of the releases of the lock of `key`, which other keys share.
    fn releases(&self, key: &Key) -> &AtomicU32;
}
