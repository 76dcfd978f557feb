//! The host tier: records in LMDB, shared by every process of the host.
//!
//! The store is one file per boot and format. A boot's end is the end of its
//! sessions, so nothing need ever be flushed to the disk, and a file that a
//! crash of the machine left half written is never read.
//!
//! The module's unsafe calls are about opening the file: a memory map is sound
//! as long as nobody but LMDB changes what is mapped, which the directory's
//! owner and mode provide (`state_dir`).

use std::path::{Path, PathBuf};
use std::time::Duration;

use heed::{Env, EnvFlags, EnvOpenOptions, MdbError, WithTls};

use super::key::{Key, Secret};
use super::locks::{Locks, What};
use super::record::moment;
use super::shelf::{DATABASES, Shelf, Shelves};
use super::state_dir::{self, trouble};
use super::store_file::{Pages, close_on_exec, identity, remove_other_boots, store_name};
use super::tier::{Change, Claim, Table, Tier, Trouble};
use crate::clock::Moment;

/// How long a process waits for another one that writes: thousands of times as
/// long as a write takes.
const PATIENCE: Duration = Duration::from_secs(1);

/// How many processes may have read, until the slots of those that have ended
/// are used again.
///
/// A slot is a process's for its life, or a thread's where there are several, and
/// nobody gives one back: to take one for
/// each read would be to take LMDB's lock on the slots for each, and that has no
/// bound.
const READERS: u32 = if cfg!(test) { 16 } else { 4_096 };

/// Room for one record with its place in the order of use, in bytes: twice what
/// the longest takes, for LMDB copies pages before it changes them, and leaves
/// them half empty when it splits them.
const ROOM_PER_RECORD: usize = 1_024;

/// Room in any case, in bytes: for the notes, some of which are long.
const SLACK: usize = 32 << 20;

pub(super) struct Host {
    env: Env<WithTls>,
    shelves: Shelves,
    locks: Locks,
    path: PathBuf,
    identity: (u64, u64),
    capacity: usize,
    /// A child that was forked must not use its parent's map (lmdb.h, caveats).
    pid: u32,
}

impl Host {
    /// Opens the store in `directory`, with room for `capacity` sessions, and
    /// makes it if it is not there yet.
    pub(super) fn open(directory: &Path, capacity: usize) -> Result<Self, Trouble> {
        let records: usize = Table::ALL
            .map(|table| table.capacity(capacity))
            .iter()
            .sum();
        Self::open_with_room(directory, capacity, records * ROOM_PER_RECORD + SLACK)
    }

    pub(super) fn open_with_room(
        directory: &Path,
        capacity: usize,
        room: usize,
    ) -> Result<Self, Trouble> {
        state_dir::prepare(directory)?;
        let (name, boot) = store_name().ok_or_else(|| {
            let path = Path::new("/proc/sys/kernel/random/boot_id");
            trouble(
                path,
                &"cannot be read",
                "make it readable for the mail server",
            )
        })?;
        let path = directory.join(name);
        let lock_path = directory.join("locks");
        for file in [&path, &path.with_extension("mdb-lock"), &lock_path] {
            state_dir::check_file(file)?;
        }
        let locks = Locks::new(lock_path);
        // One process makes the store, and the others wait. Once it is there,
        // nobody waits for anybody: all of imapd may start at once.
        let mut making = None;
        if !path.exists() {
            making = Some(locks.lock(What::Making, PATIENCE).map_err(busy(&path))?);
            remove_other_boots(directory, &boot);
            if !path.exists() {
                // Of a store that was removed: it is still that of its users.
                let _ = std::fs::remove_file(path.with_extension("mdb-lock"));
            }
        }
        // LMDB opens a store that has outgrown its map, and then finds no room
        // to take anything out.
        let room = match std::fs::metadata(&path) {
            Ok(file) => room.max(usize::try_from(file.len()).unwrap_or(0) + SLACK),
            Err(_) => room,
        };
        let broken = |problem: &dyn std::fmt::Display| {
            let remedy = "remove it and restart the mail server; it is made anew";
            trouble(&path, problem, remedy)
        };
        let mut options = EnvOpenOptions::new().read_txn_with_tls();
        options
            .map_size(room.next_multiple_of(64 << 10))
            .max_readers(READERS)
            .max_dbs(DATABASES);
        // SAFETY: these flags only leave out flushing to the disk, which the
        // name of the file makes needless (see above).
        unsafe { options.flags(EnvFlags::NO_SUB_DIR | EnvFlags::NO_SYNC) };
        // SAFETY: LMDB needs a file that nothing but LMDB changes. The
        // directory is ours and nobody else may write it, and the file's name
        // is this format's own.
        let env = unsafe { options.open(&path) }.map_err(|error| match error {
            heed::Error::EnvAlreadyOpened => {
                trouble(&path, &error, "wait until this process has let go of it")
            }
            error => broken(&error),
        })?;
        close_on_exec(&path).map_err(|error| broken(&error))?;
        let identity = identity(&path).map_err(|error| broken(&error))?;
        let pages = Pages {
            size: u64::from(env.unnamed_database_stat().page_size),
            count: env.info().last_page_number as u64 + 1,
        };
        pages.check(&path).map_err(|error| broken(&error))?;
        let opened = with_a_slot(&env, || Shelves::open(&env));
        let shelves = match opened.map_err(|error| broken(&error))? {
            Some(shelves) => shelves,
            None => {
                // Its maker is at it, or has died of it.
                if making.is_none() {
                    making = Some(locks.lock(What::Making, PATIENCE).map_err(busy(&path))?);
                }
                Shelves::make(&env).map_err(|error| broken(&error))?
            }
        };
        drop(making);
        Ok(Self {
            env,
            shelves,
            locks,
            path,
            identity,
            capacity,
            pid: std::process::id(),
        })
    }

    /// The host's secret.
    pub(super) fn secret(&self) -> &[u8; Secret::LENGTH] {
        &self.shelves.secret
    }

    fn shelf(&self, table: Table) -> Shelf {
        self.shelves.all[table as usize]
    }

    fn check_process(&self) -> Result<(), Trouble> {
        if self.pid == std::process::id() {
            return Ok(());
        }
        let remedy = "start the process anew after a fork";
        Err(trouble(&self.path, &"was opened before a fork", remedy))
    }

    /// Whether the store is still the one by this name: somebody may have
    /// removed it, and another process have made a new one.
    pub(super) fn is_current(&self) -> bool {
        identity(&self.path).is_ok_and(|found| found == self.identity)
    }

    fn check_identity(&self) -> Result<(), Trouble> {
        if self.is_current() {
            return Ok(());
        }
        let remedy = "nothing need be done: it is opened anew";
        Err(trouble(&self.path, &"was removed or replaced", remedy))
    }

    fn trouble(&self, error: &heed::Error) -> Trouble {
        let remedy = match error {
            heed::Error::Mdb(MdbError::MapFull) => {
                "raise sso_sessions, or look for a process that was stopped while it read"
            }
            heed::Error::Mdb(MdbError::MapResized) => {
                "restart the mail server: sso_sessions was changed while it ran"
            }
            heed::Error::Io(_) => "make room in its file system and look to its rights",
            _ => "remove it and restart the mail server; it is made anew",
        };
        trouble(&self.path, error, remedy)
    }

    /// One try of [`Tier::update`].
    fn change(
        &self,
        table: Table,
        key: &Key,
        now: Moment,
        change: &mut dyn FnMut(Option<&[u8]>) -> Change,
    ) -> Result<(), heed::Error> {
        let shelf = self.shelf(table);
        let mut transaction = self.env.write_txn()?;
        let before = shelf.records.get(&transaction, key.as_bytes())?;
        let change = change(before.and_then(moment).map(|(_, record)| record));
        if matches!(change, Change::Keep) {
            return Ok(());
        }
        shelf.take_out(&mut transaction, key)?;
        if let Change::Put(record) = change {
            let capacity = table.capacity(self.capacity);
            shelf.make_room(&mut transaction, capacity, table, now)?;
            shelf.put_in(&mut transaction, key, now, &record)?;
        }
        transaction.commit()
    }
}

impl Tier for Host {
    fn find(&self, table: Table, key: &Key) -> Result<Option<Vec<u8>>, Trouble> {
        self.check_process()?;
        let read = || -> Result<_, heed::Error> {
            let transaction = self.env.read_txn()?;
            let dated = self
                .shelf(table)
                .records
                .get(&transaction, key.as_bytes())?;
            Ok(dated.and_then(moment).map(|(_, record)| record.to_vec()))
        };
        with_a_slot(&self.env, read).map_err(|error| self.trouble(&error))
    }

    fn update(
        &self,
        table: Table,
        key: &Key,
        now: Moment,
        change: &mut dyn FnMut(Option<&[u8]>) -> Change,
    ) -> Result<(), Trouble> {
        self.check_process()?;
        self.check_identity()?;
        // LMDB's own lock has no bound: a process that was stopped (SIGSTOP)
        // while it writes would stop all of them.
        let _writing = self
            .locks
            .lock(What::Writing, PATIENCE)
            .map_err(busy(&self.path))?;
        match self.change(table, key, now, change) {
            Err(heed::Error::Mdb(MdbError::MapFull)) => {
                // A reader that was killed pins old pages.
                self.env
                    .clear_stale_readers()
                    .and_then(|_| self.change(table, key, now, change))
                    .map_err(|error| self.trouble(&error))
            }
            answer => answer.map_err(|error| self.trouble(&error)),
        }
    }

    fn claim(&self, key: &Key) -> Result<Option<Claim>, Trouble> {
        self.check_identity()?;
        let held = self
            .locks
            .try_lock(What::Validating(key))
            .map_err(|error| {
                let remedy = "make the directory writable for us";
                trouble(&self.path, &error, remedy)
            })?;
        Ok(held.map(Claim::new))
    }
}

/// Reads, once more with the slots of the dead taken away if there is none left.
fn with_a_slot<T>(
    env: &Env<WithTls>,
    read: impl Fn() -> Result<T, heed::Error>,
) -> Result<T, heed::Error> {
    match read() {
        Err(heed::Error::Mdb(MdbError::ReadersFull)) => {
            env.clear_stale_readers()?;
            read()
        }
        answer => answer,
    }
}

/// What a lock that was not to be had comes to.
fn busy(path: &Path) -> impl Fn(std::io::Error) -> Trouble {
    move |error| {
        let remedy = match error.kind() {
            std::io::ErrorKind::TimedOut => {
                "another process is busy with it; if that goes on, end the one that was stopped"
            }
            _ => "make its directory writable",
        };
        trouble(path, &error, remedy)
    }
}

#[cfg(test)]
#[path = "host_tests.rs"]
mod tests;
