//! The store as an administrator has it looked at and flushed: from a process of its
//! own, beside those that log users in.

#![forbid(unsafe_code)]

use std::ops::Bound;
use std::path::Path;
use std::time::Duration;

use super::backend::Table;
use super::cache_key::{Key, Secret};
use super::entry::{Lifetimes, Session, moment};
use super::flush_log::{FlushNumber, Selector};
use super::lmdb::Host;
use crate::credential::CredentialKind;
use crate::platform::clock::{BootTime, WallTime};
use crate::policy::user_mapping::SessionUser;
use crate::state_dir::StoreError;

/// How many records are looked at in one go: others wait while a flush writes.
const AT_ONCE: usize = 2_000;

/// Between two writes of a flush: those who wait to write ask at least so often.
const PAUSE: Duration = Duration::from_millis(4);

/// The store of the host.
pub struct Store {
    host: Host,
    secret: Secret,
}

/// A session, as people are shown it.
#[derive(Clone, Debug)]
pub struct Listed {
    /// Of what its credential is.
    pub kind: CredentialKind,
    /// What it is found by; it prints as the digest in the log.
    pub key: Key,
    /// The user whom the credential authenticates.
    pub user: SessionUser,
    /// By which mechanism it was opened.
    pub mechanism: String,
    /// At which service.
    pub service: String,
    /// When its credential was validated.
    pub opened: BootTime,
    /// When it was last used, as far as that is written.
    pub used: BootTime,
    session: Session,
}

/// How many sessions were flushed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Flushed {
    /// Of tickets.
    pub tickets: u64,
    /// Of tokens.
    pub tokens: u64,
}

/// What is in the store, and how much room there is.
#[derive(Clone, Debug)]
pub struct Usage {
    /// Each table with how many records it has, and how many it may have.
    pub records: Vec<(&'static str, u64, u64)>,
    /// In bytes: what records take.
    pub used: u64,
    /// In bytes: what they may take.
    pub room: u64,
}

impl Listed {
    /// Whether it is still a session by these lifetimes, and how long it will be one if
    /// it is not used.
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
    /// Opens the store of `directory`, if there is one. Nothing is made.
    ///
    /// # Errors
    /// Why it cannot be opened, with the remedy.
    pub fn open(directory: &Path, capacity: usize) -> Result<Option<Self>, String> {
        let host = Host::open_existing(directory, capacity).map_err(|trouble| trouble.line)?;
        Ok(host.map(Self::new))
    }

    pub(crate) fn new(host: Host) -> Self {
        Self {
            secret: Secret::new(host.secret()),
            host,
        }
    }

    /// What `choose` makes of every session that is in the store, also of those that are
    /// over. There may be millions, and memory for those that are chosen alone.
    ///
    /// # Errors
    /// Why it cannot be read, with the remedy.
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

    /// Ends the sessions that `is_meant`: from now on none of them is one in any process
    /// of the host, nor is one opened by a validation that has begun before now.
    /// `selector` says of those that are not in the store whether they may be meant.
    ///
    /// # Errors
    /// Why it cannot be done, with the remedy; some may be flushed all the same.
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
                // What was validated since is another login.
                let is_older = |listed: &Listed| listed.session.since < number;
                let meant = |listed: &&Listed| is_older(listed) && is_meant(listed);
                let keys: Vec<Key> = page.sessions.iter().filter(meant).map(|l| l.key).collect();
                let taken = self.host.take_out(Table::of(kind), &keys, number);
                let taken = taken.map_err(|trouble| trouble.line)?;
                match kind {
                    CredentialKind::Ticket => flushed.tickets += taken,
                    CredentialKind::Token => flushed.tokens += taken,
                }
            }
        }
        Ok(flushed)
    }

    /// What is in it.
    ///
    /// # Errors
    /// Why it cannot be read, with the remedy.
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

impl Host {
    fn usage(&self) -> Result<Usage, StoreError> {
        self.read(None, |transaction| {
            let (mut records, mut pages, mut page_size) = (Vec::new(), 0, 0);
            for table in Table::ALL {
                let shelf = self.shelf(table);
                for stat in [
                    shelf.records.stat(transaction)?,
                    shelf.order.stat(transaction)?,
                ] {
                    pages += stat.branch_pages + stat.leaf_pages + stat.overflow_pages;
                    page_size = stat.page_size as usize;
                }
                let count = shelf.records.len(transaction)?;
                records.push((table.name(), count, self.capacity(table) as u64));
            }
            Ok(Usage {
                records,
                used: (pages * page_size) as u64,
                room: self.room() as u64,
            })
        })
    }

    /// Records with their seals, in the order of their keys, from behind `after` on.
    fn records(&self, table: Table, after: Option<Key>) -> Result<Vec<(Key, Vec<u8>)>, StoreError> {
        let records = self.shelf(table).records;
        self.read(None, |transaction| {
            let start = match &after {
                Some(after) => Bound::Excluded(&after.as_bytes()[..]),
                None => Bound::Unbounded,
            };
            let range = (start, Bound::Unbounded);
            let mut page = Vec::new();
            for entry in records.range(transaction, &range)?.take(AT_ONCE) {
                let (key, dated) = entry?;
                let record = moment(dated).map(|(_, record)| record.to_vec());
                page.extend(Key::read(key).zip(record));
            }
            Ok(page)
        })
    }

    fn note_flush(&self, selector: &Selector) -> Result<FlushNumber, StoreError> {
        let flushes = self.flushes();
        self.write(|transaction| flushes.add(transaction, selector))
    }

    /// Takes sessions out that began before the flush of this number; how many.
    fn take_out(&self, table: Table, keys: &[Key], number: FlushNumber) -> Result<u64, StoreError> {
        if keys.is_empty() {
            return Ok(0);
        }
        let shelf = self.shelf(table);
        let taken = self.write(|transaction| {
            let mut taken = 0;
            for key in keys {
                let dated = shelf.records.get(transaction, key.as_bytes())?;
                let record = dated.and_then(moment).map(|(_, record)| record);
                // It may have been opened anew since it was read.
                let since = record.and_then(Session::since);
                if since.is_some_and(|since| since < number) {
                    shelf.take_out(transaction, key)?;
                    taken += 1;
                }
            }
            Ok(taken)
        });
        std::thread::sleep(PAUSE);
        taken
    }
}
