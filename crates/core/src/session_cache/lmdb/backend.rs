//! What the host tier does as a tier: it finds, changes and claims.

#![forbid(unsafe_code)]

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use super::{Host, busy};
use crate::platform::clock::BootTime;
use crate::session_cache::backend::{Change, Table, Tier, ValidationLock};
use crate::session_cache::cache_key::{Key, unsealed};
use crate::session_cache::entry::{Ending, Session, moment};
use crate::state_dir::StoreError;
use crate::state_dir::lock_file::{Held, What};
use crate::state_dir::sync_file::{SyncFile, announce};

impl Tier for Host {
    fn find(
        &self,
        table: Table,
        key: &Key,
        patience: Duration,
    ) -> Result<Option<Vec<u8>>, StoreError> {
        let records = self.shelf(table).records;
        self.read_within(patience, Some(key), |transaction| {
            let dated = records.get(transaction, key.as_bytes())?;
            Ok(dated.and_then(moment).map(|(_, record)| record.to_vec()))
        })
    }

    fn update(
        &self,
        table: Table,
        key: &Key,
        now: BootTime,
        change: &mut dyn FnMut(Option<&[u8]>) -> Change,
    ) -> Result<(), StoreError> {
        self.alone(Some(key), &mut || self.change(table, key, now, change))
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

/// The lock on a validation. Those who wait for it are woken when it is released.
struct Validating {
    held: Option<Held>,
    sync: Arc<SyncFile>,
    key: Key,
}

impl Drop for Validating {
    fn drop(&mut self) {
        self.held = None;
        announce(self.sync.releases(&self.key));
    }
}

impl Host {
    /// One try of [`Tier::update`].
    fn change(
        &self,
        table: Table,
        key: &Key,
        now: BootTime,
        change: &mut dyn FnMut(Option<&[u8]>) -> Change,
    ) -> Result<(), heed::Error> {
        let shelf = self.shelf(table);
        let mut transaction = self.env.write_txn()?;
        let before = shelf.records.get(&transaction, key.as_bytes())?;
        let change = change(before.and_then(moment).map(|(_, record)| record));
        let mut ends = None;
        let record = match change {
            Change::Keep => return Ok(()),
            Change::Remove => None,
            Change::Put(record) => Some(record),
            Change::Open {
                record,
                since,
                names,
                ending,
            } => {
                // In this transaction: either the flush finds what is written here, or
                // what is to be written here finds the flush.
                let names: Vec<&str> = names.iter().map(String::as_str).collect();
                let is_flushed = self.flushes().has(&transaction, since, key, &names)?;
                ends = Some(ending);
                (!is_flushed).then_some(record)
            }
        };
        shelf.take_out(&mut transaction, key)?;
        let mut evicted = 0;
        if let Some(record) = record {
            // Only who opens a session can tell, and only that makes room in earnest.
            let is_session = |sealed: &[u8]| {
                let ending = ends.as_ref();
                ending.is_some_and(|ending| is_session(sealed, now, ending))
            };
            let capacity = self.capacity(table);
            evicted = shelf.make_room(&mut transaction, capacity, table, now, is_session)?;
            shelf.put_in(&mut transaction, key, now, &record)?;
        }
        transaction.commit()?;
        self.evicted.fetch_add(evicted, Ordering::Relaxed);
        Ok(())
    }
}

/// Whether a record with its seal is that of a session that is still one.
fn is_session(sealed: &[u8], now: BootTime, ending: &Ending) -> bool {
    unsealed(sealed).is_some_and(|record| Session::is_alive_in(record, now, ending))
}
