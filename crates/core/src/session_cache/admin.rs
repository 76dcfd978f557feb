//! The session cache for administrators: it is read and flushed by a process of their own, beside
//! the processes that log users in.

#![forbid(unsafe_code)]

use std::ops::Bound;
use std::path::Path;
use std::time::Duration;

use super::backend::Table;
use super::cache_key::{Key, Secret};
use super::entry::{Lifetimes, Session, boot_time};
use super::flush_log::{FlushNumber, Selector};
use super::lmdb::LmdbBackend;
use crate::credential::CredentialKind;
use crate::platform::clock::{BootTime, WallTime};
use crate::policy::user_mapping::SessionUser;
use crate::state_dir::StoreError;

/// The number of records that are read in one transaction. Other processes wait while a flush
/// writes.
const RECORDS_PER_TRANSACTION: usize = 2_000;

/// The pause between two writes of a flush: processes that wait for the lock try at least this
/// often.
const WRITE_PAUSE: Duration = Duration::from_millis(4);

/// The session cache of the host.
pub struct Store {
    host: LmdbBackend,
    secret: Secret,
}

/// A session, as it is displayed.
#[derive(Clone, Debug)]
pub struct Listed {
    /// The kind of its credential.
    pub kind: CredentialKind,
    /// The cache key, which is displayed as the digest in the log.
    pub key: Key,
    /// The user whom the credential authenticates.
    pub user: SessionUser,
    /// The mechanism that opened the session.
    pub mechanism: String,
    /// The service at which it was opened.
    pub service: String,
    /// When the credential was validated.
    pub opened: BootTime,
    /// The last recorded use.
    pub used: BootTime,
    session: Session,
}

/// The number of flushed sessions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Flushed {
    /// Sessions of tickets.
    pub tickets: u64,
    /// Sessions of tokens.
    pub tokens: u64,
}

/// The contents of the session cache, and its capacity.
#[derive(Clone, Debug)]
pub struct Usage {
    /// The name of each table, the number of its records, and the maximum number.
    pub records: Vec<(&'static str, u64, u64)>,
    /// The size of all records, in bytes.
    pub used: u64,
    /// The maximum size of all records, in bytes.
    pub room: u64,
}

impl Listed {
    /// The remaining lifetime if the session is not used any more; `None` if it has ended.
    pub fn left(&self, now: BootTime, wall: WallTime, lifetimes: &Lifetimes) -> Option<Duration> {
        let is_alive = self.session.is_alive(now, wall, lifetimes);
        let left = self.session.end(lifetimes).since(now)?;
        is_alive.then(|| left.min(wall.until(self.session.validity.expires)))
    }

    fn read(kind: CredentialKind, key: Key, record: &[u8]) -> Option<Self> {
        let session = Session::decode(record)?;
        let (mechanism, service) = Session::origin(record)?;
        Some(Self {
            kind,
            key,
            user: session.user.clone(),
            mechanism: mechanism.to_owned(),
            service: service.to_owned(),
            opened: session.opened,
            used: session.used,
            session,
        })
    }
}

impl Store {
    /// Opens the session cache in `directory`; `None` if there is none. Nothing is created.
    ///
    /// # Errors
    /// Why it cannot be opened, with the remedy.
    pub fn open(directory: &Path, capacity: usize) -> Result<Option<Self>, String> {
        let host =
            LmdbBackend::open_existing(directory, capacity).map_err(|trouble| trouble.line)?;
        Ok(host.map(Self::new))
    }

    pub(crate) fn new(host: LmdbBackend) -> Self {
        Self {
            secret: Secret::new(host.secret()),
            host,
        }
    }

    /// Calls `choose` for each session in the cache, including those that have ended, and collects
    /// the results. There may be millions of sessions, and only the results need memory.
    ///
    /// # Errors
    /// Why the cache cannot be read, with the remedy.
    pub fn sessions<T>(
        &self,
        mut choose: impl FnMut(Listed) -> Option<T>,
    ) -> Result<Vec<T>, String> {
        let mut all = Vec::new();
        for kind in [CredentialKind::Ticket, CredentialKind::Token] {
            let mut after = None;
            while let Some(page) = self.page(kind, after)? {
                after = page.last;
                all.extend(page.sessions.into_iter().filter_map(&mut choose));
            }
        }
        Ok(all)
    }

    /// Ends the sessions that `is_meant` selects, in all processes of the host. A validation that
    /// has begun earlier does not open one either. `selector` decides for sessions that are not in
    /// the cache.
    ///
    /// # Errors
    /// Why the flush failed, with the remedy; some sessions may have been flushed.
    pub fn flush(
        &self,
        selector: &Selector,
        is_meant: impl Fn(&Listed) -> bool,
    ) -> Result<Flushed, String> {
        let noted = self.host.note_flush(selector);
        let number = noted.map_err(|trouble| trouble.line)?;
        let mut flushed = Flushed::default();
        for kind in [CredentialKind::Ticket, CredentialKind::Token] {
            let mut after = None;
            while let Some(page) = self.page(kind, after)? {
                after = page.last;
                // A session that was validated after the flush stays.
                let is_older = |listed: &Listed| listed.session.since < number;
                let meant = |listed: &&Listed| is_older(listed) && is_meant(listed);
                let keys: Vec<Key> = page.sessions.iter().filter(meant).map(|l| l.key).collect();
                let taken = self.host.remove(Table::of(kind), &keys, number);
                let taken = taken.map_err(|trouble| trouble.line)?;
                match kind {
                    CredentialKind::Ticket => flushed.tickets += taken,
                    CredentialKind::Token => flushed.tokens += taken,
                }
            }
        }
        Ok(flushed)
    }

    /// The contents and the capacity.
    ///
    /// # Errors
    /// Why the cache cannot be read, with the remedy.
    pub fn usage(&self) -> Result<Usage, String> {
        self.host.usage().map_err(|trouble| trouble.line)
    }

    /// The next sessions in the order of their keys; `None` after the last.
    fn page(&self, kind: CredentialKind, after: Option<Key>) -> Result<Option<Page>, String> {
        let records = self.host.records(Table::of(kind), after);
        let records = records.map_err(|trouble| trouble.line)?;
        let Some((last, _)) = records.last() else {
            return Ok(None);
        };
        let read = |(key, sealed): &(Key, Vec<u8>)| {
            let record = self.secret.opened(key, sealed)?;
            Listed::read(kind, *key, record)
        };
        Ok(Some(Page {
            last: Some(*last),
            sessions: records.iter().filter_map(read).collect(),
        }))
    }
}

struct Page {
    last: Option<Key>,
    sessions: Vec<Listed>,
}

impl LmdbBackend {
    fn usage(&self) -> Result<Usage, StoreError> {
        self.read(None, |transaction| {
            let (mut records, mut pages, mut page_size) = (Vec::new(), 0, 0);
            for table in Table::ALL {
                let lru = self.table_of(table);
                for stat in [lru.records.stat(transaction)?, lru.order.stat(transaction)?] {
                    pages += stat.branch_pages + stat.leaf_pages + stat.overflow_pages;
                    page_size = stat.page_size as usize;
                }
                let count = lru.records.len(transaction)?;
                records.push((table.name(), count, self.capacity(table) as u64));
            }
            Ok(Usage {
                records,
                used: (pages * page_size) as u64,
                room: self.room() as u64,
            })
        })
    }

    /// Records with their seals, in the order of their keys, after `after`.
    fn records(&self, table: Table, after: Option<Key>) -> Result<Vec<(Key, Vec<u8>)>, StoreError> {
        let records = self.table_of(table).records;
        self.read(None, |transaction| {
            let start = match &after {
                Some(after) => Bound::Excluded(&after.as_bytes()[..]),
                None => Bound::Unbounded,
            };
            let range = (start, Bound::Unbounded);
            let mut page = Vec::new();
            for entry in records
                .range(transaction, &range)?
                .take(RECORDS_PER_TRANSACTION)
            {
                let (key, dated) = entry?;
                let record = boot_time(dated).map(|(_, record)| record.to_vec());
                page.extend(Key::read(key).zip(record));
            }
            Ok(page)
        })
    }

    fn note_flush(&self, selector: &Selector) -> Result<FlushNumber, StoreError> {
        let flushes = self.flushes();
        self.write(|transaction| flushes.add(transaction, selector))
    }

    /// Removes sessions that began before this flush, and returns their number.
    fn remove(&self, table: Table, keys: &[Key], number: FlushNumber) -> Result<u64, StoreError> {
        if keys.is_empty() {
            return Ok(0);
        }
        let lru = self.table_of(table);
        let taken = self.write(|transaction| {
            let mut taken = 0;
            for key in keys {
                let dated = lru.records.get(transaction, key.as_bytes())?;
                let record = dated.and_then(boot_time).map(|(_, record)| record);
                // The session may have been opened again since it was read.
                let since = record.and_then(Session::since);
                if since.is_some_and(|since| since < number) {
                    lru.remove(transaction, key)?;
                    taken += 1;
                }
            }
            Ok(taken)
        });
        std::thread::sleep(WRITE_PAUSE);
        taken
    }
}
