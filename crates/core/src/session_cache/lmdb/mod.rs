//! The host tier: records in LMDB, which all processes of the host share.
//!
//! - `open` and `environment` open or create the file; `locked_env` gives LMDB's locks a deadline.
//! - `tables` are the contents; `backend` is the interface to the session cache.
//! - `corruption` and `crash_guard` handle a corrupt file.

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
use super::flush_log::{FlushLog, FlushNumber};
use super::lmdb::crash_guard::CrashGuard;
use super::lmdb::locked_env::{Environment, LOCK_TIMEOUT};
use super::lmdb::tables::{LruTable, Tables};
use crate::state_dir::StoreError;
use crate::state_dir::boot_file::identity;
use crate::state_dir::lock_file::{Locks, What};
use crate::state_dir::trouble;
use corruption::is_damage;
use environment::{MAKE_ROOM_REMEDY, READERS_STOPPED_REMEDY};
pub(crate) use open::exists;

/// After growing by this number of pages, the cache releases the slots of killed readers.
const CLEANUP_INTERVAL_PAGES: usize = 1_024;

pub(crate) struct LmdbBackend {
    env: Environment,
    tables: Tables,
    locks: Locks,
    path: PathBuf,
    file: File,
    identity: (u64, u64),
    /// The identity of the file by which processes wait for each other. Processes with different
    /// files would not.
    sync_identity: Option<(u64, u64)>,
    /// The size of the map in bytes, which the file must have.
    room: u64,
    capacity: usize,
    /// The number of evicted sessions that are not counted yet.
    evicted: AtomicU64,
    crashes: Option<Arc<CrashGuard>>,
    /// Whether this process creates and removes nothing.
    is_read_only: bool,
    /// Why this cache had to replace another one.
    replaced_because: Option<StoreError>,
    /// The number of pages when this process last looked for killed readers.
    pages_at_cleanup: AtomicUsize,
    /// The process that opened the cache: a forked child must not use the map of its parent
    /// (lmdb.h, caveats).
    pid: u32,
}

impl LmdbBackend {
    /// The same cache in another process: a process opens it only once.
    #[cfg(test)]
    pub(crate) fn of_another_process(&self) -> Self {
        Self {
            env: self.env.clone(),
            tables: Tables { ..self.tables },
            locks: self.locks.clone(),
            path: self.path.clone(),
            file: self.file.try_clone().unwrap(),
            identity: self.identity,
            sync_identity: self.sync_identity,
            room: self.room,
            capacity: self.capacity,
            evicted: AtomicU64::new(0),
            crashes: self.crashes.clone(),
            is_read_only: self.is_read_only,
            replaced_because: None,
            pages_at_cleanup: AtomicUsize::new(0),
            pid: self.pid,
        }
    }

    #[cfg(test)]
    pub(crate) fn environment(&self) -> &Environment {
        &self.env
    }

    /// The host's secret.
    pub(crate) fn secret(&self) -> &[u8; Secret::LENGTH] {
        &self.tables.secret
    }

    pub(crate) fn table_of(&self, table: Table) -> LruTable {
        self.tables.all[table as usize]
    }

    pub(crate) fn flushes(&self) -> FlushLog {
        self.tables.flushes
    }

    /// The capacity of a table.
    pub(crate) fn capacity(&self, table: Table) -> usize {
        table.capacity(self.capacity)
    }

    /// The room for all records, in bytes.
    pub(crate) fn room(&self) -> usize {
        self.env.lmdb().info().map_size
    }

    /// Why this cache had to replace another one.
    pub(crate) fn replaced_because(&self) -> Option<&StoreError> {
        self.replaced_because.as_ref()
    }

    pub(crate) fn check_process(&self) -> Result<(), StoreError> {
        if self.pid == std::process::id() {
            return Ok(());
        }
        let remedy = "start the process anew after a fork";
        Err(trouble(&self.path, &"was opened before a fork", remedy))
    }

    /// Whether the path still leads to this cache: it may have been removed and created again.
    pub(crate) fn is_current(&self) -> bool {
        let is = |path: &Path, known| identity(path).is_ok_and(|found| Some(found) == known);
        self.is_complete()
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
            // The map was created with its maximum size.
            heed::Error::Mdb(MdbError::MapResized) if self.is_no_longer_than_its_map() => {
                return self.condemn(error);
            }
            heed::Error::Mdb(MdbError::MapResized) => {
                "restart the mail server: sso_sessions was changed while it ran"
            }
            heed::Error::Mdb(MdbError::ReadersFull) => READERS_STOPPED_REMEDY,
            heed::Error::Io(error) => return io_error(&self.path, error, MAKE_ROOM_REMEDY),
            _ => "restart the mail server",
        };
        trouble(&self.path, error, remedy)
    }

    /// Takes the number of evicted sessions since the last call.
    pub(crate) fn take_evicted(&self) -> u64 {
        match self.evicted.load(Ordering::Relaxed) {
            0 => 0,
            _ => self.evicted.swap(0, Ordering::Relaxed),
        }
    }

    /// Calls `what` while no other process writes.
    fn exclusively<T>(
        &self,
        key: Option<&Key>,
        what: &mut dyn FnMut() -> Result<T, heed::Error>,
    ) -> Result<T, StoreError> {
        self.check_process()?;
        self.check_identity()?;
        // LMDB's own lock has no deadline: a process that was stopped (SIGSTOP) while writing would
        // stop all others. The wait is shorter than the login's deadline: each write of a login
        // would wait that long, and after a slow answer of CAS there would be no time left to store
        // it.
        let _writing = self
            .locks
            .lock(What::Writing, LOCK_TIMEOUT)
            .map_err(busy(&self.path))?;
        // The previous holder of the lock may have removed the cache.
        self.check_identity()?;
        let _inside = self.enter(key)?;
        self.release_killed_readers();
        match what() {
            Err(heed::Error::Mdb(MdbError::MapFull) | heed::Error::Io(_)) => {
                // Killed readers may occupy the room.
                self.env
                    .clear_stale_readers()
                    .and_then(|_| what())
                    .map_err(|error| self.trouble(&error))
            }
            answer => answer.map_err(|error| self.trouble(&error)),
        }
    }

    /// Releases the slots of killed readers when the cache has grown. A reader that was killed pins
    /// all later pages, so the cache would grow to its maximum, or fill the file system for good.
    fn release_killed_readers(&self) {
        let pages = self.env.lmdb().info().last_page_number;
        if pages >= self.pages_at_cleanup.load(Ordering::Relaxed) + CLEANUP_INTERVAL_PAGES {
            self.pages_at_cleanup.store(pages, Ordering::Relaxed);
            // A failure does not matter: there is still room.
            let _ = self.env.clear_stale_readers();
        }
    }

    /// The number of the last flush.
    pub(crate) fn flush_number(&self) -> Result<FlushNumber, StoreError> {
        self.read(None, |transaction| self.flushes().last(transaction))
    }

    /// Whether the session of `key`, for a user with these names, was flushed after `since`.
    pub(crate) fn is_flushed(
        &self,
        since: FlushNumber,
        key: &Key,
        names: &[&str],
    ) -> Result<bool, StoreError> {
        let has = |transaction: &RoTxn<'_>| self.flushes().has(transaction, since, key, names);
        self.read(None, has)
    }

    /// Calls `read` in a read transaction, for the record of `key` or for something else.
    pub(crate) fn read<T>(
        &self,
        key: Option<&Key>,
        read: impl FnOnce(&RoTxn<'_>) -> Result<T, heed::Error>,
    ) -> Result<T, StoreError> {
        self.read_within(LOCK_TIMEOUT, key, read)
    }

    /// The same, waiting for other processes for at most `patience`.
    fn read_within<T>(
        &self,
        patience: Duration,
        key: Option<&Key>,
        read: impl FnOnce(&RoTxn<'_>) -> Result<T, heed::Error>,
    ) -> Result<T, StoreError> {
        self.check_process()?;
        // The login may have waited for CAS since the last check.
        self.check(self.is_complete())?;
        let _inside = self.enter(key)?;
        self.env
            .read_txn(patience)
            .and_then(|transaction| read(&transaction))
            .map_err(|error| self.trouble(&error))
    }

    /// Calls `write` in a write transaction: all of its writes happen, or none.
    pub(crate) fn write<T>(
        &self,
        mut write: impl FnMut(&mut RwTxn<'_>) -> Result<T, heed::Error>,
    ) -> Result<T, StoreError> {
        self.exclusively(None, &mut || {
            let mut transaction = self.env.write_txn()?;
            let written = write(&mut transaction)?;
            transaction.commit()?;
            Ok(written)
        })
    }
}

/// The error for a lock that was not free in time.
fn busy(path: &Path) -> impl Fn(io::Error) -> StoreError {
    move |error| io_error(path, &error, "make its directory writable")
}

/// The error for an I/O error; `remedy` is for one that is permanent.
fn io_error(path: &Path, error: &io::Error, remedy: &str) -> StoreError {
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

/// Whether an error may end soon and says nothing about the cache: a lock that was not free in
/// time, a device error, or a shortage of kernel resources.
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
