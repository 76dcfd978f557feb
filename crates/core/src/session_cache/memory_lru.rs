//! The memory tier: the records of one process, for when the host tier cannot be used.

#![forbid(unsafe_code)]

use std::collections::HashSet;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::sync::atomic::AtomicU32;
use std::time::Duration;

use lru::LruCache;
use parking_lot::Mutex;

use super::backend::{Backend, Change, Table, ValidationLock};
use super::cache_key::Key;
use crate::platform::clock::BootTime;
use crate::state_dir::StoreError;
use crate::state_dir::sync_file::wake_waiters;

/// The maximum number of sessions in the memory of a process.
const MAX_SESSIONS: usize = 1_000;

type Records = Mutex<LruCache<Key, Vec<u8>>>;

pub(crate) struct MemoryBackend {
    tables: [Records; Table::ALL.len()],
    locks: Arc<HeldLocks>,
}

#[derive(Default)]
struct HeldLocks {
    held: Mutex<HashSet<Key>>,
    releases: AtomicU32,
}

/// A key that stays in `locks` for the life of this value.
struct Held {
    key: Key,
    locks: Arc<HeldLocks>,
}

impl Drop for Held {
    fn drop(&mut self) {
        self.locks.held.lock().remove(&self.key);
        wake_waiters(&self.locks.releases);
    }
}

impl MemoryBackend {
    /// Creates a tier for `capacity` sessions, or for the maximum of a process.
    pub(crate) fn new(capacity: usize) -> Self {
        let records = |table: Table| {
            let bound = table.capacity(capacity.min(MAX_SESSIONS));
            Mutex::new(LruCache::new(
                NonZeroUsize::new(bound).unwrap_or(NonZeroUsize::MIN),
            ))
        };
        Self {
            tables: Table::ALL.map(records),
            locks: Arc::default(),
        }
    }

    fn table(&self, table: Table) -> &Records {
        &self.tables[table as usize]
    }
}

impl Backend for MemoryBackend {
    fn find(
        &self,
        table: Table,
        key: &Key,
        _patience: Duration,
    ) -> Result<Option<Vec<u8>>, StoreError> {
        Ok(self.table(table).lock().peek(key).cloned())
    }

    fn update(
        &self,
        table: Table,
        key: &Key,
        _now: BootTime,
        change: &mut dyn FnMut(Option<&[u8]>) -> Change,
    ) -> Result<(), StoreError> {
        let mut records = self.table(table).lock();
        let change = change(records.peek(key).map(Vec::as_slice));
        match change {
            Change::Keep => {}
            // Flushes are checked when the session is read.
            Change::Put(record) | Change::Open { record, .. } => {
                records.put(*key, record);
            }
            Change::Remove => {
                records.pop(key);
            }
        }
        Ok(())
    }

    fn try_lock(&self, key: &Key) -> Result<Option<ValidationLock>, StoreError> {
        let claimed = self.locks.held.lock().insert(*key);
        Ok(claimed.then(|| {
            ValidationLock::new(Held {
                key: *key,
                locks: Arc::clone(&self.locks),
            })
        }))
    }

    fn releases(&self, _key: &Key) -> &AtomicU32 {
        &self.locks.releases
    }
}
