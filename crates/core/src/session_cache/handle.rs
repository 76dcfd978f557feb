//! The sessions as one login uses them.

#![forbid(unsafe_code)]

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use super::backend::{Change, LockRelease, Table, Tier, ValidationLock};
use super::cache_key::Key;
use super::entry::{Ending, Lifetimes, NegativeEntry, Session, SessionOrigin, Validity};
use super::flush_log::FlushNumber;
use super::{Consequence, SessionCache, Source, Tiers};
use crate::credential::CredentialKind;
use crate::error::{Failure, Reason};
use crate::metrics::counters::Counters;
use crate::platform::clock::{BootTime, WallTime};
use crate::platform::log::Log;
use crate::policy::user_mapping::SessionUser;

/// For whom a credential is known to be good, or why it is known not to be, and from
/// where that is known.
pub type CachedResult = (Result<SessionUser, Failure>, Source);

/// The sessions, as one login uses them.
pub struct SessionCacheHandle<'s> {
    pub(crate) sessions: &'s SessionCache,
    pub(crate) tiers: Arc<Tiers>,
    pub(crate) log: &'s dyn Log,
    /// How long a read waits for other processes.
    pub(crate) patience: Duration,
}

impl SessionCacheHandle<'_> {
    /// The present moment, by the clock of the sessions.
    pub fn now(&self) -> BootTime {
        self.sessions.clock.now()
    }

    /// The present time of the wall clock.
    pub fn wall(&self) -> WallTime {
        self.sessions.clock.wall()
    }

    /// Whether what all processes of the host know is known here.
    pub fn has_host(&self) -> bool {
        self.tiers.host.is_some()
    }

    /// The key of a credential of `kind`, good for `service` under `policy`.
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

    /// What is known of the credential of `key`: for whom it is good, or why it was
    /// refused a moment ago.
    ///
    /// # Errors
    /// [`Reason::SessionsUnreadable`]: it is
    /// not known whether it is known.
    pub fn known(
        &self,
        kind: CredentialKind,
        key: &Key,
        lifetimes: &Lifetimes,
    ) -> Result<Option<CachedResult>, Failure> {
        match self.find(kind, key, lifetimes)? {
            Some((user, source)) => Ok(Some((Ok(user), source))),
            None => self.known_refusal(kind, key),
        }
    }

    /// The same, but nothing is written; and whether it is still to be
    /// [noted](Access::note_use) that the session is used.
    ///
    /// # Errors
    /// As [`SessionCacheHandle::known`].
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
                let refusal = self.known_refusal(kind, key)?;
                Ok(refusal.map(|refusal| (refusal, false)))
            }
        }
    }

    /// Notes that the session of `key` is used.
    pub fn record_use(&self, kind: CredentialKind, key: &Key, lifetimes: &Lifetimes) {
        // If the store cannot be read, that was logged.
        let _ = self.find(kind, key, lifetimes);
    }

    /// For whom the credential of `key` is known to be good, if it is.
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

    /// The session of `key`, if it is one at this moment.
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
            // From the store a flush takes what it is about.
            let is_flushed = source == Source::Memory && self.is_flushed(&session, key)?;
            Ok((!is_flushed).then_some(session))
        })
    }

    /// Whether a session of this process's own was flushed, which only the store can tell.
    fn is_flushed(&self, session: &Session, key: &Key) -> Result<bool, Failure> {
        let Some(host) = &self.tiers.host else {
            return Ok(false);
        };
        let names: Vec<&str> = session.user.names().collect();
        host.is_flushed(session.since, key, &names)
            .map_err(|trouble| self.unreadable(&trouble))
    }

    /// Notes that a session is used. It may have been taken away, or been used
    /// by another process, since it was read.
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
        // The host does not take it: from now on it is used here.
        if (source, touched) == (Source::Host, Some(Source::Memory))
            && let Ok(Some(record)) = self.record(Source::Host, table, key)
        {
            self.change_in(Source::Memory, table, key, |_| used(&record));
            self.tiers.fell_back.store(true, Ordering::Relaxed);
        }
    }

    /// What is to be known of a session before its credential is validated: by which
    /// mechanism and at which service that is, and what was flushed until now.
    ///
    /// # Errors
    /// As [`SessionCacheHandle::known`].
    pub fn origin(&self, mechanism: &str, service: &str) -> Result<SessionOrigin, Failure> {
        let last = match &self.tiers.host {
            Some(host) => host
                .flush_number()
                .map_err(|trouble| self.unreadable(&trouble))?,
            None => FlushNumber::FIRST,
        };
        Ok(SessionOrigin::new(mechanism, service, last))
    }

    /// Does what validates a credential of `kind`, and counts how long that takes.
    pub fn timed<T>(&self, kind: CredentialKind, validate: impl FnOnce() -> T) -> T {
        let start = Instant::now();
        let result = validate();
        let took = start.elapsed();
        let count = |counters: &Counters| counters.count_validation(kind, took);
        self.sessions.with_counters(self.log, count);
        result
    }

    /// Stores a session: the credential of `key` authenticates `user`. Nothing is stored
    /// if the session was flushed since `opening`.
    pub fn insert_session(
        &self,
        kind: CredentialKind,
        key: &Key,
        user: &SessionUser,
        validity: Validity,
        lifetimes: &Lifetimes,
        origin: &SessionOrigin,
    ) {
        let ending = Ending {
            wall: self.wall(),
            lifetimes: *lifetimes,
        };
        let session = Session::new(user.clone(), self.now(), validity, origin.since);
        let names: Vec<String> = user.names().map(str::to_owned).collect();
        self.change(Table::of(kind), key, |_| Change::Open {
            record: session.encode(origin),
            since: origin.since,
            names: names.clone(),
            ending,
        });
    }

    /// Stores the name that the host gave the user of a session at this login. A session
    /// that was flushed by that name meanwhile is removed.
    pub fn set_host_name(
        &self,
        kind: CredentialKind,
        key: &Key,
        host_name: Option<&str>,
        lifetimes: &Lifetimes,
    ) {
        let (now, wall) = (self.now(), self.wall());
        let ending = Ending {
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
                    ending,
                })
            };
            before.and_then(renamed).unwrap_or(Change::Keep)
        });
    }

    /// Why the credential of `key` was refused a moment ago, if it was.
    pub(crate) fn refusal(&self, key: &Key) -> Result<Option<(Failure, Source)>, Failure> {
        self.look_up(Table::NegativeEntries, key, |record| self.alive(record))
    }

    /// Why a credential of `kind` was refused a moment ago, if it was: tickets by
    /// whichever process, tokens by this one, because to find out again is cheaper
    /// than to tell the others.
    fn known_refusal(
        &self,
        kind: CredentialKind,
        key: &Key,
    ) -> Result<Option<CachedResult>, Failure> {
        let refusal = match kind {
            CredentialKind::Ticket => self.refusal(key)?,
            CredentialKind::Token => self
                .record(Source::Memory, Table::NegativeEntries, key)?
                .and_then(|record| self.alive(&record))
                .map(|failure| (failure, Source::Memory)),
        };
        Ok(refusal.map(|(failure, source)| (Err(failure), source)))
    }

    /// What a record of a refusal says, if it is still remembered.
    fn alive(&self, record: &[u8]) -> Option<Failure> {
        let refusal = NegativeEntry::decode(record)?;
        refusal.is_alive(self.now()).then_some(refusal.failure)
    }

    /// Remembers a definite refusal of a credential of `kind`, for as many processes
    /// as will be told of it; any other failure is forgotten.
    pub fn insert_negative(&self, kind: CredentialKind, key: &Key, failure: &Failure) {
        if failure.reason().is_definite() {
            let told = match kind {
                CredentialKind::Ticket => Source::Host,
                CredentialKind::Token => Source::Memory,
            };
            let refusal = NegativeEntry::new(failure, self.now());
            self.change_in(told, Table::NegativeEntries, key, |_| {
                Change::Put(refusal.encode())
            });
        }
    }

    /// The right to validate the credential of `key`, or `None` while another
    /// login, in whatever process, has it. Where the host's locks fail, only this
    /// process's logins exclude one another: for what may be validated twice.
    pub fn try_lock(&self, key: &Key) -> Option<ValidationLock> {
        let (claim, _) = self.on_tiers(Source::Host, |tier| tier.try_lock(key))?;
        claim
    }

    /// The same for what may be validated only once. A directory in which no process can
    /// lock anything, such as a read-only one, excludes nobody, and the log says so.
    ///
    /// # Errors
    /// As [`SessionCacheHandle::known`]: another process may have it.
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

    /// The next release of the claim on `key`. To miss none, a login asks for this before
    /// it tries to get the claim.
    pub fn next_release(&self, key: &Key) -> LockRelease<'_> {
        LockRelease::next(self.lock_backend().releases(key))
    }

    /// The tier whose claims count.
    fn lock_backend(&self) -> &dyn Tier {
        match &self.tiers.host {
            Some(host) if !self.sessions.observes => host,
            _ => &self.tiers.memory,
        }
    }

    /// The key of a note that the processes of the host share.
    pub fn note_key(&self, name: &str) -> Key {
        self.tiers.secret.key(&[b"note", name.as_bytes()])
    }

    /// A note, if there is one. Where the store cannot be read, this process has its own:
    /// what notes say can be found out again.
    pub fn note(&self, key: &Key) -> Option<Vec<u8>> {
        match self.look_up(Table::Notes, key, |record| Some(record.to_vec())) {
            Ok(found) => found.map(|(note, _)| note),
            Err(_) => self.record(Source::Memory, Table::Notes, key).ok()?,
        }
    }

    /// Writes a note, in the place of an older one.
    pub fn put_note(&self, key: &Key, note: Vec<u8>) {
        self.change(Table::Notes, key, |_| Change::Put(note.clone()));
    }
}
