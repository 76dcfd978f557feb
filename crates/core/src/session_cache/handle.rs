//! The session cache, as one login uses it.

#![forbid(unsafe_code)]

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use super::backend::{Backend, Change, LockRelease, Table, ValidationLock};
use super::cache_key::Key;
use super::entry::{ExpiryContext, Lifetimes, NegativeEntry, Session, SessionOrigin, Validity};
use super::flush_log::FlushNumber;
use super::{Consequence, SessionCache, Source, Tiers};
use crate::credential::CredentialKind;
use crate::error::{Failure, Reason};
use crate::metrics::counters::Counters;
use crate::platform::clock::{BootTime, WallTime};
use crate::platform::log::Log;
use crate::policy::user_mapping::SessionUser;

/// The result of a cache hit: the user whom the credential authenticates or why it was refused, and
/// the tier that has the entry.
pub type CachedResult = (Result<SessionUser, Failure>, Source);

/// The session cache, as one login uses it.
pub struct SessionCacheHandle<'s> {
    pub(crate) sessions: &'s SessionCache,
    pub(crate) tiers: Arc<Tiers>,
    pub(crate) log: &'s dyn Log,
    /// How long a read waits for other processes.
    pub(crate) patience: Duration,
}

impl SessionCacheHandle<'_> {
    /// The current boot time, by the clock of the cache.
    pub fn now(&self) -> BootTime {
        self.sessions.clock.now()
    }

    /// The current time of the wall clock.
    pub fn wall(&self) -> WallTime {
        self.sessions.clock.wall()
    }

    /// Whether the host tier is in use.
    pub fn has_host(&self) -> bool {
        self.tiers.host.is_some()
    }

    /// The cache key of a credential of `kind`, for `service` under `policy`.
    pub fn key(
        &self,
        kind: CredentialKind,
        service: &str,
        policy: &[u8; 32],
        credential: &str,
    ) -> Key {
        self.tiers.secret.key(&[
            Table::of(kind).name().as_bytes(),
            service.as_bytes(),
            policy,
            credential.as_bytes(),
        ])
    }

    /// Looks up the session or the negative entry of `key`. Returns `None` after a cache miss.
    ///
    /// # Errors
    /// [`Reason::SessionsUnreadable`]: the result is unknown, and not a cache miss.
    pub fn lookup(
        &self,
        kind: CredentialKind,
        key: &Key,
        lifetimes: &Lifetimes,
    ) -> Result<Option<CachedResult>, Failure> {
        match self.find(kind, key, lifetimes)? {
            Some((user, source)) => Ok(Some((Ok(user), source))),
            None => self.lookup_negative(kind, key),
        }
    }

    /// Looks up as [`SessionCacheHandle::lookup`] does, without writing. Returns also whether the
    /// use must still be [recorded](SessionCacheHandle::record_use).
    ///
    /// # Errors
    /// As [`SessionCacheHandle::lookup`].
    pub fn try_lookup(
        &self,
        kind: CredentialKind,
        key: &Key,
        lifetimes: &Lifetimes,
    ) -> Result<Option<(CachedResult, bool)>, Failure> {
        let now = self.now();
        match self.session(kind, key, now, lifetimes)? {
            Some((session, source)) => {
                let is_stale = session.is_stale(now, lifetimes);
                Ok(Some(((Ok(session.user), source), is_stale)))
            }
            None => {
                let negative = self.lookup_negative(kind, key)?;
                Ok(negative.map(|negative| (negative, false)))
            }
        }
    }

    /// Records a use of the session of `key`.
    pub fn record_use(&self, kind: CredentialKind, key: &Key, lifetimes: &Lifetimes) {
        // If the cache cannot be read, that was logged.
        let _ = self.find(kind, key, lifetimes);
    }

    /// The user of the session of `key`, if there is one.
    pub(crate) fn find(
        &self,
        kind: CredentialKind,
        key: &Key,
        lifetimes: &Lifetimes,
    ) -> Result<Option<(SessionUser, Source)>, Failure> {
        let now = self.now();
        let Some((session, source)) = self.session(kind, key, now, lifetimes)? else {
            return Ok(None);
        };
        if session.is_stale(now, lifetimes) {
            self.touch(kind, key, source, lifetimes);
        }
        Ok(Some((session.user, source)))
    }

    /// The session of `key`, if it has not ended.
    fn session(
        &self,
        kind: CredentialKind,
        key: &Key,
        now: BootTime,
        lifetimes: &Lifetimes,
    ) -> Result<Option<(Session, Source)>, Failure> {
        let wall = self.wall();
        self.find_first(Table::of(kind), key, |record, source| {
            let alive = |session: &Session| session.is_alive(now, wall, lifetimes);
            let Some(session) = Session::decode(record).filter(alive) else {
                return Ok(None);
            };
            // The host tier contains no flushed sessions.
            let is_flushed = source == Source::Memory && self.is_flushed(&session, key)?;
            Ok((!is_flushed).then_some(session))
        })
    }

    /// Whether a session in process memory was flushed, which only the host tier knows.
    fn is_flushed(&self, session: &Session, key: &Key) -> Result<bool, Failure> {
        let Some(host) = &self.tiers.host else {
            return Ok(false);
        };
        let names: Vec<&str> = session.user.names().collect();
        host.is_flushed(session.since, key, &names)
            .map_err(|trouble| self.unreadable(&trouble))
    }

    /// Records a use. Another process may have removed or used the session since it was read.
    fn touch(&self, kind: CredentialKind, key: &Key, source: Source, lifetimes: &Lifetimes) {
        let (now, table) = (self.now(), Table::of(kind));
        let is_stale = |record: &&[u8]| {
            let session = Session::decode(record);
            session.is_some_and(|session| session.is_stale(now, lifetimes))
        };
        let used = |record: &[u8]| Change::Put(Session::used_at(record, now));
        let touched = self.change_in(source, table, key, |before| {
            before.filter(is_stale).map_or(Change::Keep, used)
        });
        // The host tier takes no writes: from now on uses are recorded in memory.
        if (source, touched) == (Source::Host, Some(Source::Memory))
            && let Ok(Some(record)) = self.record(Source::Host, table, key)
        {
            self.change_in(Source::Memory, table, key, |_| used(&record));
            self.tiers.fell_back.store(true, Ordering::Relaxed);
        }
    }

    /// Records the circumstances of a session before its credential is validated: the mechanism,
    /// the service, and the last flush.
    ///
    /// # Errors
    /// As [`SessionCacheHandle::lookup`].
    pub fn origin(&self, mechanism: &str, service: &str) -> Result<SessionOrigin, Failure> {
        let last = match &self.tiers.host {
            Some(host) => host
                .flush_number()
                .map_err(|trouble| self.unreadable(&trouble))?,
            None => FlushNumber::FIRST,
        };
        Ok(SessionOrigin::new(mechanism, service, last))
    }

    /// Runs a validation of a credential of `kind`, and counts its duration in the metrics.
    pub fn timed<T>(&self, kind: CredentialKind, validate: impl FnOnce() -> T) -> T {
        let start = Instant::now();
        let result = validate();
        let took = start.elapsed();
        let count = |counters: &Counters| counters.count_validation(kind, took);
        self.sessions.with_counters(self.log, count);
        result
    }

    /// Stores a session: the credential of `key` authenticates `user`. Nothing is stored if the
    /// session was flushed since `origin`.
    pub fn insert_session(
        &self,
        kind: CredentialKind,
        key: &Key,
        user: &SessionUser,
        validity: Validity,
        lifetimes: &Lifetimes,
        origin: &SessionOrigin,
    ) {
        let expiry = ExpiryContext {
            wall: self.wall(),
            lifetimes: *lifetimes,
        };
        let session = Session::new(user.clone(), self.now(), validity, origin.since);
        let names: Vec<String> = user.names().map(str::to_owned).collect();
        self.change(Table::of(kind), key, |_| Change::Open {
            record: session.encode(origin),
            since: origin.since,
            names: names.clone(),
            expiry,
        });
    }

    /// Stores the host's name of a session's user. A session that was flushed by that name
    /// meanwhile is removed.
    pub fn set_host_name(
        &self,
        kind: CredentialKind,
        key: &Key,
        host_name: Option<&str>,
        lifetimes: &Lifetimes,
    ) {
        let (now, wall) = (self.now(), self.wall());
        let expiry = ExpiryContext {
            wall,
            lifetimes: *lifetimes,
        };
        self.change(Table::of(kind), key, |before| {
            let renamed = |record| {
                let session = Session::decode(record)?;
                Some(Change::Open {
                    record: Session::with_host_name(record, host_name, now)?,
                    since: session.since,
                    names: host_name.into_iter().map(str::to_owned).collect(),
                    expiry,
                })
            };
            before.and_then(renamed).unwrap_or(Change::Keep)
        });
    }

    /// The failure of the negative entry of `key`, if there is one.
    pub(crate) fn negative(&self, key: &Key) -> Result<Option<(Failure, Source)>, Failure> {
        self.look_up(Table::NegativeEntries, key, |record| {
            self.current_failure(record)
        })
    }

    /// The negative entry of a credential of `kind`. Those of tickets are shared; those of tokens
    /// are in process memory, because validating again costs less than sharing.
    fn lookup_negative(
        &self,
        kind: CredentialKind,
        key: &Key,
    ) -> Result<Option<CachedResult>, Failure> {
        let negative = match kind {
            CredentialKind::Ticket => self.negative(key)?,
            CredentialKind::Token => self
                .record(Source::Memory, Table::NegativeEntries, key)?
                .and_then(|record| self.current_failure(&record))
                .map(|failure| (failure, Source::Memory)),
        };
        Ok(negative.map(|(failure, source)| (Err(failure), source)))
    }

    /// The failure of a negative entry that has not ended.
    fn current_failure(&self, record: &[u8]) -> Option<Failure> {
        let negative = NegativeEntry::decode(record)?;
        negative.is_alive(self.now()).then_some(negative.failure)
    }

    /// Stores a negative entry for a definite negative, shared for tickets and in memory for tokens.
    /// Other failures are not cached.
    pub fn insert_negative(&self, kind: CredentialKind, key: &Key, failure: &Failure) {
        if failure.reason().is_definite() {
            let told = match kind {
                CredentialKind::Ticket => Source::Host,
                CredentialKind::Token => Source::Memory,
            };
            let negative = NegativeEntry::new(failure, self.now());
            self.change_in(told, Table::NegativeEntries, key, |_| {
                Change::Put(negative.encode())
            });
        }
    }

    /// The validation lock of `key`, or `None` while another login holds it. If the locks of the
    /// host fail, only logins of this process exclude each other: use it for validations that may
    /// happen twice.
    pub fn try_lock(&self, key: &Key) -> Option<ValidationLock> {
        let (claim, _) = self.on_tiers(Source::Host, |tier| tier.try_lock(key))?;
        claim
    }

    /// The validation lock for a validation that must happen only once. In a directory without
    /// locks, such as a read-only one, processes do not exclude each other, and the log says so.
    ///
    /// # Errors
    /// As [`SessionCacheHandle::lookup`]: another process may hold the lock.
    pub fn try_lock_strict(&self, key: &Key) -> Result<Option<ValidationLock>, Failure> {
        let trouble = match self.lock_backend().try_lock(key) {
            Ok(claim) => return Ok(claim),
            Err(trouble) => trouble,
        };
        let consequence = match trouble.is_passing {
            true => Consequence::Outage,
            false => Consequence::NotShared,
        };
        self.host_failed(&trouble, consequence);
        if trouble.is_passing || self.sessions.is_outdated() {
            return Err(Failure::new(Reason::SessionsUnreadable, trouble.line));
        }
        Ok(self.tiers.memory.try_lock(key).unwrap_or_default())
    }

    /// The next release of the validation lock of `key`. Call this before trying to get the lock,
    /// so that no release is missed.
    pub fn next_release(&self, key: &Key) -> LockRelease<'_> {
        LockRelease::next(self.lock_backend().releases(key))
    }

    /// The backend whose locks are in use.
    fn lock_backend(&self) -> &dyn Backend {
        match &self.tiers.host {
            Some(host) if !self.sessions.is_read_only => host,
            _ => &self.tiers.memory,
        }
    }

    /// The key of a shared record with this name.
    pub fn note_key(&self, name: &str) -> Key {
        self.tiers.secret.key(&[b"note", name.as_bytes()])
    }

    /// A shared record. If the cache cannot be read, the record of this process is returned: it can
    /// be obtained again.
    pub fn note(&self, key: &Key) -> Option<Vec<u8>> {
        match self.look_up(Table::Notes, key, |record| Some(record.to_vec())) {
            Ok(found) => found.map(|(note, _)| note),
            Err(_) => self.record(Source::Memory, Table::Notes, key).ok()?,
        }
    }

    /// Stores a shared record.
    pub fn put_note(&self, key: &Key, note: Vec<u8>) {
        self.change(Table::Notes, key, |_| Change::Put(note.clone()));
    }
}
