//! The memory tier: one process's own records, for when the host tier cannot be
//! used.

#![forbid(unsafe_code)]

use std::collections::HashSet;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::sync::atomic::AtomicU32;
use std::time::Duration;

use lru::LruCache;
use parking_lot::Mutex;

use super::backend::{Change, Table, Tier, ValidationLock};
use super::cache_key::Key;
use crate::platform::clock::BootTime;
use crate::state_dir::StoreError;
use crate::state_dir::sync_file::announce;

/// How many sessions one process keeps at most.
const SESSIONS: usize = 1_000;

type Records = Mutex<LruCache<Key, Vec<u8>>>;

pub(crate) struct Memory {
    tables: [Records; Table::ALL.len()],
    claims: Arc<Claims>,
}

#[derive(Default)]
struct Claims {
    held: Mutex<HashSet<Key>>,
    releases: AtomicU32,
}

/// A key that is in `claims` as long as this lives.
struct Held {
    key: Key,
    claims: Arc<Claims>,
}

impl Drop for Held {
    fn drop(&mut self) {
        self.claims.held.lock().remove(&self.key);
        announce(&self.claims.releases);
    }
}

impl Memory {
    /// Keeps `capacity` sessions, or what one process keeps at most.
    pub(crate) fn new(capacity: usize) -> Self {
        let records = |table: Table| {
            let bound = table.capacity(capacity.min(SESSIONS));
            Mutex::new(LruCache::new(
                NonZeroUsize::new(bound).unwrap_or(NonZeroUsize::MIN),
            ))
        };
        Self {
            tables: Table::ALL.map(records),
            claims: Arc::default(),
        }
    }

    fn table(&self, table: Table) -> &Records {
        &self.tables[table as usize]
    }
}

impl Tier for Memory {
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
            // Whether it was flushed is asked when it is found.
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
        let claimed = self.claims.held.lock().insert(*key);
        Ok(claimed.then(|| {
            ValidationLock::new(Held {
                key: *key,
                claims: Arc::clone(&self.claims),
            })
        }))
    }

    fn releases(&self, _key: &Key) -> &AtomicU32 {
        &self.claims.releases
    }
}
