//! The host tier: records in LMDB, shared by every process of the host.

mod backend;
mod corruption;
mod crash_guard;
mod environment;
pub(crate) mod locked_env;
pub(crate) mod observer;
mod open;
mod tables;

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use heed::{MdbError, RoTxn, RwTxn};
use nix::libc;

use super::backend::Table;
use super::cache_key::{Key, Secret};
use super::flush_log::{FlushNumber, Flushes};
use super::lmdb::crash_guard::Crashes;
use super::lmdb::locked_env::{Environment, PATIENCE};
use super::lmdb::tables::{Shelf, Shelves};
use crate::state_dir::StoreError;
use crate::state_dir::boot_file::identity;
use crate::state_dir::lock_file::{Locks, What};
use crate::state_dir::trouble;
use corruption::is_damage;
use environment::{MAKE_ROOM, READERS_STOPPED};
pub(crate) use open::is_there;

/// By so many pages the store grows until those are looked for who were killed while they read.
const GROWTH: usize = 1_024;

pub(crate) struct Host {
    env: Environment,
    shelves: Shelves,
    locks: Locks,
    path: PathBuf,
    file: File,
    identity: (u64, u64),
    /// That of the file by which processes wait for one another: those that have another
    /// one would not.
    sync_identity: Option<(u64, u64)>,
    /// In bytes: how much of the file is mapped, and must be there.
    room: u64,
    capacity: usize,
    /// Sessions that had to make room for others, and were not yet counted.
    evicted: AtomicU64,
    crashes: Option<Arc<Crashes>>,
    /// Whether nothing is made or taken away by this process.
    only_looks: bool,
    /// What was wrong with the store in the place of which this one was made.
    mended: Option<StoreError>,
    /// How many pages there were when this process last looked for the dead.
    tidied: AtomicUsize,
    /// A child that was forked must not use its parent's map (lmdb.h, caveats).
    pid: u32,
}

impl Host {
    /// The same store as another process has it: one process opens it once.
    #[cfg(test)]
    pub(crate) fn of_another_process(&self) -> Self {
        Self {
            env: self.env.clone(),
            shelves: Shelves { ..self.shelves },
            locks: self.locks.clone(),
            path: self.path.clone(),
            file: self.file.try_clone().unwrap(),
            identity: self.identity,
            sync_identity: self.sync_identity,
            room: self.room,
            capacity: self.capacity,
            evicted: AtomicU64::new(0),
            crashes: self.crashes.clone(),
            only_looks: self.only_looks,
            mended: None,
            tidied: AtomicUsize::new(0),
            pid: self.pid,
        }
    }

    #[cfg(test)]
    pub(crate) fn environment(&self) -> &Environment {
        &self.env
    }

    /// The host's secret.
    pub(crate) fn secret(&self) -> &[u8; Secret::LENGTH] {
        &self.shelves.secret
    }

    pub(crate) fn shelf(&self, table: Table) -> Shelf {
        self.shelves.all[table as usize]
    }

    pub(crate) fn flushes(&self) -> Flushes {
        self.shelves.flushes
    }

    /// How many records a table may have.
    pub(crate) fn capacity(&self, table: Table) -> usize {
        table.capacity(self.capacity)
    }

    /// The room for all records, in bytes.
    pub(crate) fn room(&self) -> usize {
        self.env.lmdb().info().map_size
    }

    /// What was wrong with the store in the place of which this one was made.
    pub(crate) fn mended(&self) -> Option<&StoreError> {
        self.mended.as_ref()
    }

    pub(crate) fn check_process(&self) -> Result<(), StoreError> {
        if self.pid == std::process::id() {
            return Ok(());
        }
        let remedy = "start the process anew after a fork";
        Err(trouble(&self.path, &"was opened before a fork", remedy))
    }

    /// Whether the store is still the one by this name: somebody may have
    /// removed it, and another process have made a new one.
    pub(crate) fn is_current(&self) -> bool {
        let is = |path: &Path, known| identity(path).is_ok_and(|found| Some(found) == known);
        self.is_whole()
            && is(&self.path, Some(self.identity))
            && is(self.env.sync().name(), self.sync_identity)
    }

    fn check_identity(&self) -> Result<(), StoreError> {
        self.check(self.is_current())
    }

    fn check(&self, is_good: bool) -> Result<(), StoreError> {
        if is_good {
            return Ok(());
        }
        let remedy = "nothing need be done: it is opened anew";
        let problem = "was removed, replaced or cut short";
        Err(trouble(&self.path, &problem, remedy))
    }

    fn trouble(&self, error: &heed::Error) -> StoreError {
        if is_damage(error) {
            return self.condemn(error);
        }
        let remedy = match error {
            heed::Error::Mdb(MdbError::MapFull) => {
                "raise sso_sessions, or look for a process that was stopped while it read"
            }
            // It was made with all the room that it may have.
            heed::Error::Mdb(MdbError::MapResized) if self.is_no_longer_than_its_map() => {
                return self.condemn(error);
            }
            heed::Error::Mdb(MdbError::MapResized) => {
                "restart the mail server: sso_sessions was changed while it ran"
            }
            heed::Error::Mdb(MdbError::ReadersFull) => READERS_STOPPED,
            heed::Error::Io(error) => return io_trouble(&self.path, error, MAKE_ROOM),
            _ => "restart the mail server",
        };
        trouble(&self.path, error, remedy)
    }

    /// Sessions that had to make room since this was last asked.
    pub(crate) fn take_evicted(&self) -> u64 {
        match self.evicted.load(Ordering::Relaxed) {
            0 => 0,
            _ => self.evicted.swap(0, Ordering::Relaxed),
        }
    }

    /// Does `what` while no other process writes.
    fn alone<T>(
        &self,
        key: Option<&Key>,
        what: &mut dyn FnMut() -> Result<T, heed::Error>,
    ) -> Result<T, StoreError> {
        self.check_process()?;
        self.check_identity()?;
        // LMDB's own lock has no time-out: a process that was stopped (SIGSTOP) while it
        // writes would stop all of them. It is not waited for until the login's deadline:
        // each write of a login would wait as long as that; and where CAS took all of that
        // time, there would be none left to write what it said.
        let _writing = self
            .locks
            .lock(What::Writing, PATIENCE)
            .map_err(busy(&self.path))?;
        // Whom it waited for may have taken the store away.
        self.check_identity()?;
        let _inside = self.enter(key)?;
        self.tidy();
        match what() {
            Err(heed::Error::Mdb(MdbError::MapFull) | heed::Error::Io(_)) => {
                // There may be room, but for a reader that was killed.
                self.env
                    .clear_stale_readers()
                    .and_then(|_| what())
                    .map_err(|error| self.trouble(&error))
            }
            answer => answer.map_err(|error| self.trouble(&error)),
        }
    }

    /// Takes away the slots of the dead when the store has grown. Who was killed while it read
    /// pins every page from then on, and the store takes all the room that it may have: in a
    /// file system that has less than that, it would be full for good.
    fn tidy(&self) {
        let pages = self.env.lmdb().info().last_page_number;
        if pages >= self.tidied.load(Ordering::Relaxed) + GROWTH {
            self.tidied.store(pages, Ordering::Relaxed);
            // If this fails, there is room as yet.
            let _ = self.env.clear_stale_readers();
        }
    }

    /// The number of the last flush.
    pub(crate) fn flush_number(&self) -> Result<FlushNumber, StoreError> {
        self.read(None, |transaction| self.flushes().last(transaction))
    }

    /// Whether the session of `key`, for a user of these names, was flushed after `since`.
    pub(crate) fn is_flushed(
        &self,
        since: FlushNumber,
        key: &Key,
        names: &[&str],
    ) -> Result<bool, StoreError> {
        let has = |transaction: &RoTxn<'_>| self.flushes().has(transaction, since, key, names);
        self.read(None, has)
    }

    /// Reads all that `read` reads as it is at one moment: the record of `key`, or
    /// something else.
    pub(crate) fn read<T>(
        &self,
        key: Option<&Key>,
        read: impl FnOnce(&RoTxn<'_>) -> Result<T, heed::Error>,
    ) -> Result<T, StoreError> {
        self.read_within(PATIENCE, key, read)
    }

    /// The same, but other processes are waited for no longer than `patience`.
    fn read_within<T>(
        &self,
        patience: Duration,
        key: Option<&Key>,
        read: impl FnOnce(&RoTxn<'_>) -> Result<T, heed::Error>,
    ) -> Result<T, StoreError> {
        self.check_process()?;
        // The login may have waited for CAS since it looked.
        self.check(self.is_whole())?;
        let _inside = self.enter(key)?;
        self.env
            .read_txn(patience)
            .and_then(|transaction| read(&transaction))
            .map_err(|error| self.trouble(&error))
    }

    /// Writes while nobody else does: all that `write` writes, or nothing of it.
    pub(crate) fn write<T>(
        &self,
        mut write: impl FnMut(&mut RwTxn<'_>) -> Result<T, heed::Error>,
    ) -> Result<T, StoreError> {
        self.alone(None, &mut || {
            let mut transaction = self.env.write_txn()?;
            let written = write(&mut transaction)?;
            transaction.commit()?;
            Ok(written)
        })
    }
}

/// What a lock that was not to be had comes to.
fn busy(path: &Path) -> impl Fn(io::Error) -> StoreError {
    move |error| io_trouble(path, &error, "make its directory writable")
}

/// What an I/O error comes to; `remedy` is that for one that stays.
fn io_trouble(path: &Path, error: &io::Error, remedy: &str) -> StoreError {
    let is_passing = is_passing(error);
    let remedy = match error.kind() {
        io::ErrorKind::TimedOut => {
            "another process is busy with it; if that goes on, end the one that was stopped"
        }
        _ => remedy,
    };
    StoreError {
        is_passing,
        ..trouble(path, error, remedy)
    }
}

/// Whether an error may be over soon, and says nothing about the store: a lock that was not
/// free in time, a device, or too little of what the kernel has to give.
fn is_passing(error: &io::Error) -> bool {
    const PASSING: [libc::c_int; 7] = [
        libc::EAGAIN,
        libc::EINTR,
        libc::EIO,
        libc::EMFILE,
        libc::ENFILE,
        libc::ENOLCK,
        libc::ENOMEM,
    ];
    let number = error.raw_os_error();
    error.kind() == io::ErrorKind::TimedOut
        || number.is_some_and(|number| PASSING.contains(&number))
}

#[cfg(test)]
mod corruption_tests;
#[cfg(test)]
mod tests;
