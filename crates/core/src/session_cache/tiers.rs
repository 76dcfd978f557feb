//! Decides which tier is read, and which is written if the other one cannot be.

#![forbid(unsafe_code)]

use std::sync::atomic::Ordering;

use super::backend::{Backend, Change, Table};
use super::cache_key::Key;
use super::handle::SessionCacheHandle;
use super::{Consequence, Source};
use crate::error::{Failure, Reason};
use crate::metrics::counters::Counters;
use crate::state_dir::StoreError;

impl SessionCacheHandle<'_> {
    /// Applies `read` to the record of `key`, in the first tier in which it has a result.
    ///
    /// # Errors
    /// [`Reason::SessionsUnreadable`].
    pub(crate) fn look_up<T>(
        &self,
        table: Table,
        key: &Key,
        read: impl Fn(&[u8]) -> Option<T>,
    ) -> Result<Option<(T, Source)>, Failure> {
        self.find_first(table, key, |record, _| Ok(read(record)))
    }

    /// The same, with the tier of the record.
    ///
    /// # Errors
    /// [`Reason::SessionsUnreadable`], and the failures of `read`.
    pub(crate) fn find_first<T>(
        &self,
        table: Table,
        key: &Key,
        read: impl Fn(&[u8], Source) -> Result<Option<T>, Failure>,
    ) -> Result<Option<(T, Source)>, Failure> {
        // Entries that the host tier did not take are newer than its own.
        let order = if self.tiers.fell_back.load(Ordering::Relaxed) {
            [Source::Memory, Source::Host]
        } else {
            [Source::Host, Source::Memory]
        };
        for source in order {
            if let Some(record) = self.record(source, table, key)?
                && let Some(found) = read(&record, source)?
            {
                return Ok(Some((found, source)));
            }
        }
        Ok(None)
    }

    /// The record of `key` in one tier, without its seal; `None` if the seal is wrong.
    ///
    /// # Errors
    /// [`Reason::SessionsUnreadable`].
    pub(crate) fn record(
        &self,
        source: Source,
        table: Table,
        key: &Key,
    ) -> Result<Option<Vec<u8>>, Failure> {
        let tier: &dyn Backend = match (source, &self.tiers.host) {
            (Source::Memory, _) => &self.tiers.memory,
            (Source::Host, Some(host)) => host,
            (Source::Host, None) => return Ok(None),
        };
        let found = tier.find(table, key, self.patience);
        let Some(mut sealed) = found.map_err(|trouble| self.unreadable(&trouble))? else {
            return Ok(None);
        };
        let Some(record) = self.tiers.secret.opened(key, &sealed) else {
            return Ok(None);
        };
        let length = record.len();
        sealed.truncate(length);
        Ok(Some(sealed))
    }

    /// The failure of a login that cannot read the host tier. That is no cache miss: another
    /// process may have a session for the credential, or be validating it.
    pub(crate) fn unreadable(&self, trouble: &StoreError) -> Failure {
        self.host_failed(trouble, Consequence::Outage);
        Failure::new(Reason::SessionsUnreadable, trouble.line.as_str())
    }

    /// Logs a problem of the host tier. If the cache was replaced, the next login opens the new
    /// one.
    pub(crate) fn host_failed(&self, trouble: &StoreError, consequence: Consequence) {
        self.sessions.complain(trouble, consequence, self.log);
        if self
            .tiers
            .host
            .as_ref()
            .is_some_and(|host| !host.is_current())
        {
            self.sessions.was_replaced.store(true, Ordering::Relaxed);
        }
    }

    pub(crate) fn change(
        &self,
        table: Table,
        key: &Key,
        change: impl FnMut(Option<&[u8]>) -> Change,
    ) {
        self.change_in(Source::Host, table, key, change);
    }

    /// Changes a record in the requested tier, or in memory if that is the host tier and it fails.
    /// Returns the tier.
    pub(crate) fn change_in(
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
                    names,
                    expiry,
                } => Change::Open {
                    record: secret.sealed(key, record),
                    since,
                    names,
                    expiry,
                },
                Change::Keep | Change::Remove => change,
            }
        };
        let mut update = |tier: &dyn Backend| tier.update(table, key, now, &mut sealed_change);
        let (_, changed) = self.on_tiers(source, &mut update)?;
        // A session in memory may be the only one. A circuit breaker in memory is outdated as soon
        // as the host tier has decided, even if nothing changed there.
        let is_decided = is_changed || table == Table::Breakers;
        if let (true, Source::Host, Some(host)) = (is_decided, source, &self.tiers.host) {
            let evicted = host.take_evicted();
            if evicted > 0 {
                let count = |counters: &Counters| counters.count_evicted(evicted);
                self.sessions.with_counters(self.log, count);
            }
            let fell_back = &self.tiers.fell_back;
            if changed == Source::Memory {
                // Nothing was written if nothing changed.
                fell_back.fetch_or(is_changed, Ordering::Relaxed);
            } else if fell_back.load(Ordering::Relaxed) {
                // The host tier takes writes again: the record in memory is outdated.
                let mut remove = |_: Option<&[u8]>| Change::Remove;
                let _ = self.tiers.memory.update(table, key, now, &mut remove);
            }
        }
        Some(changed)
    }

    /// Applies `what` to the requested tier, or to the memory tier if that is the host tier and it
    /// fails. Returns the tier.
    pub(crate) fn on_tiers<T>(
        &self,
        source: Source,
        mut what: impl FnMut(&dyn Backend) -> Result<T, StoreError>,
    ) -> Option<(T, Source)> {
        if let (Source::Host, Some(host), false) =
            (source, &self.tiers.host, self.sessions.is_read_only)
        {
            match what(host) {
                Ok(done) => return Some((done, Source::Host)),
                Err(trouble) => self.host_failed(&trouble, Consequence::NotShared),
            }
        }
        let done = what(&self.tiers.memory).ok()?;
        Some((done, Source::Memory))
    }
}
