//! The host tier as a [`Backend`]: look-ups, updates and validation locks.

#![forbid(unsafe_code)]

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use super::{LmdbBackend, busy};
use crate::platform::clock::BootTime;
use crate::session_cache::backend::{Backend, Change, Table, ValidationLock};
use crate::session_cache::cache_key::{Key, unsealed};
use crate::session_cache::entry::{ExpiryContext, Session, boot_time};
use crate::state_dir::StoreError;
use crate::state_dir::lock_file::{Held, What};
use crate::state_dir::sync_file::{SyncFile, wake_waiters};

impl Backend for LmdbBackend {
    fn find(
        &self,
        table: Table,
        key: &Key,
        patience: Duration,
    ) -> Result<Option<Vec<u8>>, StoreError> {
        let records = self.table_of(table).records;
        self.read_within(patience, Some(key), |transaction| {
            let dated = records.get(transaction, key.as_bytes())?;
            Ok(dated.and_then(boot_time).map(|(_, record)| record.to_vec()))
        })
    }

    fn update(
        &self,
        table: Table,
        key: &Key,
        now: BootTime,
        change: &mut dyn FnMut(Option<&[u8]>) -> Change,
    ) -> Result<(), StoreError> {
        self.exclusively(Some(key), &mut || self.change(table, key, now, change))
    }

    fn try_lock(&self, key: &Key) -> Result<Option<ValidationLock>, StoreError> {
        self.check_identity()?;
        let held = self
            .locks
            .try_lock(What::Validating(key))
            .map_err(busy(&self.path))?;
        Ok(held.map(|held| {
            ValidationLock::new(Validating {
                held: Some(held),
                sync: Arc::clone(self.env.sync()),
                key: *key,
            })
        }))
    }

    fn releases(&self, key: &Key) -> &AtomicU32 {
        self.env.sync().releases(key)
    }
}

/// A validation lock. Its release wakes the logins that wait for it.
struct Validating {
    held: Option<Held>,
    sync: Arc<SyncFile>,
    key: Key,
}

impl Drop for Validating {
    fn drop(&mut self) {
        self.held = None;
        wake_waiters(self.sync.releases(&self.key));
    }
}

impl LmdbBackend {
    /// One attempt of [`Backend::update`].
    fn change(
        &self,
        table: Table,
        key: &Key,
        now: BootTime,
        change: &mut dyn FnMut(Option<&[u8]>) -> Change,
    ) -> Result<(), heed::Error> {
        let lru = self.table_of(table);
        let mut transaction = self.env.write_txn()?;
        let before = lru.records.get(&transaction, key.as_bytes())?;
        let change = change(before.and_then(boot_time).map(|(_, record)| record));
        let mut ends = None;
        let record = match change {
            Change::Keep => return Ok(()),
            Change::Remove => None,
            Change::Put(record) => Some(record),
            Change::Open {
                record,
                since,
                names,
                expiry,
            } => {
                // In one transaction: either the flush finds the record that is written here, or
                // this transaction finds the flush.
                let names: Vec<&str> = names.iter().map(String::as_str).collect();
                let is_flushed = self.flushes().has(&transaction, since, key, &names)?;
                ends = Some(expiry);
                (!is_flushed).then_some(record)
            }
        };
        lru.remove(&mut transaction, key)?;
        let mut evicted = 0;
        if let Some(record) = record {
            // Only the opening of a session knows whether evicted sessions have ended, and only
            // sessions cause evictions.
            let is_session = |sealed: &[u8]| {
                let expiry = ends.as_ref();
                expiry.is_some_and(|expiry| is_session(sealed, now, expiry))
            };
            let capacity = self.capacity(table);
            evicted = lru.make_room(&mut transaction, capacity, table, now, is_session)?;
            lru.put_in(&mut transaction, key, now, &record)?;
        }
        transaction.commit()?;
        self.evicted.fetch_add(evicted, Ordering::Relaxed);
        Ok(())
    }
}

/// Whether a sealed record is a session that has not ended.
fn is_session(sealed: &[u8], now: BootTime, expiry: &ExpiryContext) -> bool {
    unsealed(sealed).is_some_and(|record| Session::is_alive_in(record, now, expiry))
}
