//! The sessions as one login uses them: which tier is asked, and which takes what
//! the other does not.

#![forbid(unsafe_code)]

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use super::counters::Counters;
use super::flushes::Generation;
use super::key::Key;
use super::record::{Bounds, Lifetimes, Opening, Refusal, Session};
use super::tier::{Change, Claim, Table, Tier, Trouble};
use super::{Sessions, Source, Tiers};
use crate::clock::{Moment, WallTime};
use crate::credential::Kind;
use crate::log::Log;
use crate::outcome::Failure;
use crate::principal::Principal;

/// For whom a credential is known to be good, or why it is known not to be, and from
/// where that is known.
pub type Known = (Result<Principal, Failure>, Source);

/// The sessions, as one login uses them.
pub struct Access<'s> {
    pub(super) sessions: &'s Sessions,
    pub(super) tiers: Arc<Tiers>,
    pub(super) log: &'s dyn Log,
}

impl Access<'_> {
    /// The present moment, by the clock of the sessions.
    pub fn now(&self) -> Moment {
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
    pub fn key(&self, kind: Kind, service: &str, policy: &[u8; 32], credential: &str) -> Key {
        self.tiers.secret.key(&[
            Table::of(kind).name().as_bytes(),
            service.as_bytes(),
            policy,
            credential.as_bytes(),
        ])
    }

    /// What is known of the credential of `key`: for whom it is good, or why it was
    /// refused a moment ago.
    pub fn known(&self, kind: Kind, key: &Key, lifetimes: &Lifetimes) -> Option<Known> {
        match self.find(kind, key, lifetimes) {
            Some((principal, source)) => Some((Ok(principal), source)),
            None => self.known_refusal(kind, key),
        }
    }

    /// The same, but nothing is written and nobody waited for; and whether it is
    /// still to be [noted](Access::note_use) that the session is used.
    pub fn known_at_a_glance(
        &self,
        kind: Kind,
        key: &Key,
        lifetimes: &Lifetimes,
    ) -> Option<(Known, bool)> {
        match self.session(kind, key, lifetimes) {
            Some((session, source)) => {
                let is_stale = session.is_stale(self.now(), lifetimes);
                Some(((Ok(session.principal), source), is_stale))
            }
            None => Some((self.known_refusal(kind, key)?, false)),
        }
    }

    /// Notes that the session of `key` is used.
    pub fn note_use(&self, kind: Kind, key: &Key, lifetimes: &Lifetimes) {
        self.find(kind, key, lifetimes);
    }

    /// For whom the credential of `key` is known to be good, if it is.
    pub(super) fn find(
        &self,
        kind: Kind,
        key: &Key,
        lifetimes: &Lifetimes,
    ) -> Option<(Principal, Source)> {
        let (session, source) = self.session(kind, key, lifetimes)?;
        if session.is_stale(self.now(), lifetimes) {
            self.touch(kind, key, source, lifetimes);
        }
        Some((session.principal, source))
    }

    fn session(&self, kind: Kind, key: &Key, lifetimes: &Lifetimes) -> Option<(Session, Source)> {
        let (now, wall) = (self.now(), self.wall());
        self.find_first(Table::of(kind), key, |record, source| {
            let session = Session::decode(record)?;
            let is_alive = session.is_alive(now, wall, lifetimes);
            // From the store a flush takes what it is about.
            let is_flushed = || source == Source::Memory && self.is_flushed(&session, key);
            (is_alive && !is_flushed()).then_some(session)
        })
    }

    /// Whether a session of this process's own was flushed. One that cannot ask
    /// believes nothing of its own.
    fn is_flushed(&self, session: &Session, key: &Key) -> bool {
        let Some(host) = &self.tiers.host else {
            return false;
        };
        let found = host.is_flushed(session.since, key, session.principal.as_str());
        found.unwrap_or_else(|trouble| {
            self.sessions.complain(&trouble, self.log);
            true
        })
    }

    /// Notes that a session is used. It may have been taken away, or been used
    /// by another process, since it was read.
    fn touch(&self, kind: Kind, key: &Key, source: Source, lifetimes: &Lifetimes) {
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
            && let Some(record) = self.record(Source::Host, table, key)
        {
            self.change_in(Source::Memory, table, key, |_| used(&record));
            self.tiers.fell_back.store(true, Ordering::Relaxed);
        }
    }

    /// What is to be known of a session before its credential is validated: by which
    /// mechanism and at which service that is, and what was flushed until now.
    pub fn opening(&self, mechanism: &str, service: &str) -> Opening {
        let last = self.tiers.host.as_ref().map(|host| host.generation());
        let last = last.transpose().unwrap_or_else(|trouble| {
            self.sessions.complain(&trouble, self.log);
            None
        });
        Opening::new(mechanism, service, last.unwrap_or(Generation::FIRST))
    }

    /// Does what validates a credential of `kind`, and counts how long that takes.
    pub fn timed<T>(&self, kind: Kind, validate: impl FnOnce() -> T) -> T {
        let start = Instant::now();
        let result = validate();
        let took = start.elapsed();
        let count = |counters: &Counters| counters.count_validation(kind, took);
        self.sessions.with_counters(self.log, count);
        result
    }

    /// Opens a session: the credential of `key` is good for `principal`. If it was
    /// flushed since `opening`, it stays closed.
    pub fn begin(
        &self,
        kind: Kind,
        key: &Key,
        principal: &Principal,
        bounds: Bounds,
        opening: &Opening,
    ) {
        let session = Session::new(principal.clone(), self.now(), bounds, opening.since);
        self.change(Table::of(kind), key, |_| Change::Open {
            record: session.encode(opening),
            since: opening.since,
            name: principal.as_str().to_owned(),
        });
    }

    /// Why the credential of `key` was refused a moment ago, if it was.
    pub(super) fn refusal(&self, key: &Key) -> Option<(Failure, Source)> {
        self.look_up(Table::Refusals, key, |record| self.alive(record))
    }

    /// Why a credential of `kind` was refused a moment ago, if it was: tickets by
    /// whichever process, tokens by this one, because to find out again is cheaper
    /// than to tell the others.
    fn known_refusal(&self, kind: Kind, key: &Key) -> Option<Known> {
        let (failure, source) = match kind {
            Kind::Ticket => self.refusal(key)?,
            Kind::Token => {
                let record = self.record(Source::Memory, Table::Refusals, key)?;
                (self.alive(&record)?, Source::Memory)
            }
        };
        Some((Err(failure), source))
    }

    /// What a record of a refusal says, if it is still remembered.
    fn alive(&self, record: &[u8]) -> Option<Failure> {
        let refusal = Refusal::decode(record)?;
        refusal.is_alive(self.now()).then_some(refusal.failure)
    }

    /// Remembers a definite refusal of a credential of `kind`, for as many processes
    /// as will be told of it; any other failure is forgotten.
    pub fn refuse(&self, kind: Kind, key: &Key, failure: &Failure) {
        if failure.reason().is_definite() {
            let told = match kind {
                Kind::Ticket => Source::Host,
                Kind::Token => Source::Memory,
            };
            let refusal = Refusal::new(failure, self.now());
            self.change_in(told, Table::Refusals, key, |_| {
                Change::Put(refusal.encode())
            });
        }
    }

    /// The right to validate the credential of `key`, or `None` while another
    /// login, in whatever process, has it.
    pub fn claim(&self, key: &Key) -> Option<Claim> {
        let (claim, _) = self.on_tiers(Source::Host, |tier| tier.claim(key))?;
        claim
    }

    /// The key of a note that the processes of the host share.
    pub fn note_key(&self, name: &str) -> Key {
        self.tiers.secret.key(&[b"note", name.as_bytes()])
    }

    /// A note, if there is one.
    pub fn note(&self, key: &Key) -> Option<Vec<u8>> {
        let (note, _) = self.look_up(Table::Notes, key, |record| Some(record.to_vec()))?;
        Some(note)
    }

    /// Writes a note, in the place of an older one.
    pub fn put_note(&self, key: &Key, note: Vec<u8>) {
        self.change(Table::Notes, key, |_| Change::Put(note.clone()));
    }

    /// What `read` makes of the record of `key`, in the first tier of which it makes
    /// anything.
    pub(super) fn look_up<T>(
        &self,
        table: Table,
        key: &Key,
        read: impl Fn(&[u8]) -> Option<T>,
    ) -> Option<(T, Source)> {
        self.find_first(table, key, |record, _| read(record))
    }

    /// The same, with the tier that the record is from.
    fn find_first<T>(
        &self,
        table: Table,
        key: &Key,
        read: impl Fn(&[u8], Source) -> Option<T>,
    ) -> Option<(T, Source)> {
        // What the host did not take is newer than what it has.
        let order = if self.tiers.fell_back.load(Ordering::Relaxed) {
            [Source::Memory, Source::Host]
        } else {
            [Source::Host, Source::Memory]
        };
        order.into_iter().find_map(|source| {
            let record = self.record(source, table, key)?;
            Some((read(&record, source)?, source))
        })
    }

    /// The record of `key` in one tier, without its seal; one without our seal is
    /// none.
    fn record(&self, source: Source, table: Table, key: &Key) -> Option<Vec<u8>> {
        let tier: &dyn Tier = match source {
            Source::Memory => &self.tiers.memory,
            Source::Host => self.tiers.host.as_ref()?,
        };
        let found = tier.find(table, key);
        let found = found.map_err(|trouble| self.sessions.complain(&trouble, self.log));
        let mut sealed = found.ok()??;
        let length = self.tiers.secret.opened(key, &sealed)?.len();
        sealed.truncate(length);
        Some(sealed)
    }

    pub(super) fn change(
        &self,
        table: Table,
        key: &Key,
        change: impl FnMut(Option<&[u8]>) -> Change,
    ) {
        self.change_in(Source::Host, table, key, change);
    }

    /// Changes a record in the tier asked for or, if that is the host's and fails,
    /// in memory; and says in which.
    fn change_in(
        &self,
        source: Source,
        table: Table,
        key: &Key,
        mut change: impl FnMut(Option<&[u8]>) -> Change,
    ) -> Option<Source> {
        let now = self.now();
        let secret = &self.tiers.secret;
        let mut is_changed = false;
        let mut sealed_change = |before: Option<&[u8]>| {
            let change = change(before.and_then(|sealed| secret.opened(key, sealed)));
            is_changed = !matches!(change, Change::Keep);
            match change {
                Change::Put(record) => Change::Put(secret.sealed(key, record)),
                Change::Open {
                    record,
                    since,
                    name,
                } => Change::Open {
                    record: secret.sealed(key, record),
                    since,
                    name,
                },
                Change::Keep | Change::Remove => change,
            }
        };
        let mut update = |tier: &dyn Tier| tier.update(table, key, now, &mut sealed_change);
        let (_, changed) = self.on_tiers(source, &mut update)?;
        if let (true, Source::Host, Some(host)) = (is_changed, source, &self.tiers.host) {
            let evicted = host.take_evicted();
            if evicted > 0 {
                let count = |counters: &Counters| counters.count_evicted(evicted);
                self.sessions.with_counters(self.log, count);
            }
            let fell_back = &self.tiers.fell_back;
            if changed == Source::Memory {
                fell_back.store(true, Ordering::Relaxed);
            } else if fell_back.load(Ordering::Relaxed) {
                // The host takes it again: what was kept here is out of date.
                let mut remove = |_: Option<&[u8]>| Change::Remove;
                let _ = self.tiers.memory.update(table, key, now, &mut remove);
            }
        }
        Some(changed)
    }

    /// Does `what` on the tier asked for or, if that is the host's and fails,
    /// on the memory tier; and says on which.
    fn on_tiers<T>(
        &self,
        source: Source,
        mut what: impl FnMut(&dyn Tier) -> Result<T, Trouble>,
    ) -> Option<(T, Source)> {
        if let (Source::Host, Some(host), false) =
            (source, &self.tiers.host, self.sessions.observes)
        {
            match what(host) {
                Ok(done) => return Some((done, Source::Host)),
                Err(trouble) => {
                    self.sessions.complain(&trouble, self.log);
                    if !host.is_current() {
                        self.sessions.was_replaced.store(true, Ordering::Relaxed);
                    }
                }
            }
        }
        let done = what(&self.tiers.memory).ok()?;
        Some((done, Source::Memory))
    }
}
