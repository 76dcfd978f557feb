//! The host tier: records in LMDB, shared by every process of the host.

mod damage;
mod opening;
mod place;
mod tier;

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use heed::{MdbError, RoTxn, RwTxn};
use nix::libc;

use super::crashes::Crashes;
use super::environment::{Environment, PATIENCE};
use super::flushes::{Flushes, Generation};
use super::key::{Key, Secret};
use super::locks::{Locks, What};
use super::shelf::{Shelf, Shelves};
use super::state_dir::trouble;
use super::store_file::identity;
use super::tier::{Table, Trouble};
use damage::is_damage;
pub(super) use opening::is_there;
use place::{MAKE_ROOM, READERS_STOPPED};

/// By so many pages the store grows until those are looked for who were killed while they read.
const GROWTH: usize = 1_024;

pub(in crate::session) struct Host {
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
    mended: Option<Trouble>,
    /// How many pages there were when this process last looked for the dead.
    tidied: AtomicUsize,
    /// A child that was forked must not use its parent's map (lmdb.h, caveats).
    pid: u32,
}

impl Host {
    /// The same store as another process has it: one process opens it once.
    #[cfg(test)]
    pub(in crate::session) fn of_another_process(&self) -> Self {
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
    pub(in crate::session) fn environment(&self) -> &Environment {
        &self.env
    }

    /// The host's secret.
    pub(in crate::session) fn secret(&self) -> &[u8; Secret::LENGTH] {
        &self.shelves.secret
    }

    pub(in crate::session) fn shelf(&self, table: Table) -> Shelf {
        self.shelves.all[table as usize]
    }

    pub(in crate::session) fn flushes(&self) -> Flushes {
        self.shelves.flushes
    }

    /// How many records a table may have.
    pub(in crate::session) fn capacity(&self, table: Table) -> usize {
        table.capacity(self.capacity)
    }

    /// The room for all records, in bytes.
    pub(in crate::session) fn room(&self) -> usize {
        self.env.lmdb().info().map_size
    }

    /// What was wrong with the store in the place of which this one was made.
    pub(in crate::session) fn mended(&self) -> Option<&Trouble> {
        self.mended.as_ref()
    }

    pub(in crate::session) fn check_process(&self) -> Result<(), Trouble> {
        if self.pid == std::process::id() {
            return Ok(());
        }
        let remedy = "start the process anew after a fork";
        Err(trouble(&self.path, &"was opened before a fork", remedy))
    }

    /// Whether the store is still the one by this name: somebody may have
    /// removed it, and another process have made a new one.
    pub(in crate::session) fn is_current(&self) -> bool {
        let is = |path: &Path, known| identity(path).is_ok_and(|found| Some(found) == known);
        self.is_whole()
            && is(&self.path, Some(self.identity))
            && is(self.env.sync().name(), self.sync_identity)
    }

    fn check_identity(&self) -> Result<(), Trouble> {
        self.check(self.is_current())
    }

    fn check(&self, is_good: bool) -> Result<(), Trouble> {
        if is_good {
            return Ok(());
        }
        let remedy = "nothing need be done: it is opened anew";
        let problem = "was removed, replaced or cut short";
        Err(trouble(&self.path, &problem, remedy))
    }

    fn trouble(&self, error: &heed::Error) -> Trouble {
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
    pub(in crate::session) fn take_evicted(&self) -> u64 {
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
    ) -> Result<T, Trouble> {
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
    pub(in crate::session) fn generation(&self) -> Result<Generation, Trouble> {
        self.read(None, |transaction| self.flushes().last(transaction))
    }

    /// Whether the session of `key`, for a user of these names, was flushed after `since`.
    pub(in crate::session) fn is_flushed(
        &self,
        since: Generation,
        key: &Key,
        names: &[&str],
    ) -> Result<bool, Trouble> {
        let has = |transaction: &RoTxn<'_>| self.flushes().has(transaction, since, key, names);
        self.read(None, has)
    }

    /// Reads all that `read` reads as it is at one moment: the record of `key`, or
    /// something else.
    pub(in crate::session) fn read<T>(
        &self,
        key: Option<&Key>,
        read: impl FnOnce(&RoTxn<'_>) -> Result<T, heed::Error>,
    ) -> Result<T, Trouble> {
        self.read_within(PATIENCE, key, read)
    }

    /// The same, but other processes are waited for no longer than `patience`.
    fn read_within<T>(
        &self,
        patience: Duration,
        key: Option<&Key>,
        read: impl FnOnce(&RoTxn<'_>) -> Result<T, heed::Error>,
    ) -> Result<T, Trouble> {
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
    pub(in crate::session) fn write<T>(
        &self,
        mut write: impl FnMut(&mut RwTxn<'_>) -> Result<T, heed::Error>,
    ) -> Result<T, Trouble> {
        self.alone(None, &mut || {
            let mut transaction = self.env.write_txn()?;
            let written = write(&mut transaction)?;
            transaction.commit()?;
            Ok(written)
        })
    }
}

/// What a lock that was not to be had comes to.
fn busy(path: &Path) -> impl Fn(io::Error) -> Trouble {
    move |error| io_trouble(path, &error, "make its directory writable")
}

/// What an I/O error comes to; `remedy` is that for one that stays.
fn io_trouble(path: &Path, error: &io::Error, remedy: &str) -> Trouble {
    let is_passing = is_passing(error);
    let remedy = match error.kind() {
        io::ErrorKind::TimedOut => {
            "another process is busy with it; if that goes on, end the one that was stopped"
        }
        _ => remedy,
    };
    Trouble {
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
mod damage_tests;
#[cfg(test)]
mod tests;
