//! How the store is opened.
//!
//! It is one file per boot and format. A boot's end is the end of its sessions, so
//! nothing need ever be flushed to the disk, and a file that a crash of the machine
//! left half written is never read.
//!
//! The module's unsafe calls are about opening the file: a memory map is sound
//! as long as nobody but LMDB changes what is mapped, which the directory's
//! owner and mode provide (`state_dir`).

use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicU64;

use heed::{EnvFlags, EnvOpenOptions};

use super::{Host, PATIENCE, busy, with_a_slot};
use crate::session::locks::{Locks, What};
use crate::session::shelf::{DATABASES, Shelves};
use crate::session::state_dir::{self, trouble};
use crate::session::store_file::{Pages, close_on_exec, identity, remove_other_boots, store_name};
use crate::session::tier::{Table, Trouble};

/// How many processes may have read, until the slots of those that have ended
/// are used again.
///
/// A slot is a process's for its life, or a thread's where there are several, and
/// nobody gives one back: to take one for each read would be to take LMDB's lock on
/// the slots for each, and that has no bound.
pub(super) const READERS: u32 = if cfg!(test) { 16 } else { 4_096 };

/// Room for one record with its place in the order of use, in bytes: twice what
/// the longest takes, for LMDB copies pages before it changes them, and leaves
/// them half empty when it splits them.
const ROOM_PER_RECORD: usize = 1_024;

/// Room in any case, in bytes: for the notes, some of which are long.
const SLACK: usize = 32 << 20;

impl Host {
    /// Opens the store in `directory`, with room for `capacity` sessions, and
    /// makes it if it is not there yet.
    pub(in crate::session) fn open(directory: &Path, capacity: usize) -> Result<Self, Trouble> {
        Self::open_with_room(directory, capacity, room(capacity))
    }

    pub(in crate::session) fn open_with_room(
        directory: &Path,
        capacity: usize,
        room: usize,
    ) -> Result<Self, Trouble> {
        state_dir::prepare(directory)?;
        Self::open_at(&store_path(directory)?, directory, capacity, room)
    }

    /// Opens the store if there is one.
    pub(in crate::session) fn open_existing(
        directory: &Path,
        capacity: usize,
    ) -> Result<Option<Self>, Trouble> {
        if !directory.exists() {
            return Ok(None);
        }
        state_dir::check(directory)?;
        let path = store_path(directory)?;
        if !path.exists() {
            return Ok(None);
        }
        Self::open_at(&path, directory, capacity, room(capacity)).map(Some)
    }

    fn open_at(
        path: &Path,
        directory: &Path,
        capacity: usize,
        room: usize,
    ) -> Result<Self, Trouble> {
        let lock_path = directory.join("locks");
        for file in [path, &path.with_extension("mdb-lock"), &lock_path] {
            state_dir::check_file(file)?;
        }
        let locks = Locks::new(lock_path);
        // One process makes the store, and the others wait. Once it is there,
        // nobody waits for anybody: all of imapd may start at once.
        let mut making = None;
        if !path.exists() {
            making = Some(locks.lock(What::Making, PATIENCE).map_err(busy(path))?);
            remove_other_boots(directory);
            if !path.exists() {
                // Of a store that was removed: it is still that of its users.
                let _ = std::fs::remove_file(path.with_extension("mdb-lock"));
            }
        }
        // LMDB opens a store that has outgrown its map, and then finds no room
        // to take anything out.
        let room = match std::fs::metadata(path) {
            Ok(file) => room.max(usize::try_from(file.len()).unwrap_or(0) + SLACK),
            Err(_) => room,
        };
        let broken = |problem: &dyn std::fmt::Display| {
            let remedy = "remove it and restart the mail server; it is made anew";
            trouble(path, problem, remedy)
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
        let env = unsafe { options.open(path) }.map_err(|error| match error {
            heed::Error::EnvAlreadyOpened => {
                trouble(path, &error, "wait until this process has let go of it")
            }
            error => broken(&error),
        })?;
        close_on_exec(path).map_err(|error| broken(&error))?;
        let identity = identity(path).map_err(|error| broken(&error))?;
        let pages = Pages {
            size: u64::from(env.unnamed_database_stat().page_size),
            count: env.info().last_page_number as u64 + 1,
        };
        pages.check(path).map_err(|error| broken(&error))?;
        let opened = with_a_slot(&env, || Shelves::open(&env));
        let shelves = match opened.map_err(|error| broken(&error))? {
            Some(shelves) => shelves,
            None => {
                // Its maker is at it, or has died of it.
                if making.is_none() {
                    making = Some(locks.lock(What::Making, PATIENCE).map_err(busy(path))?);
                }
                Shelves::make(&env).map_err(|error| broken(&error))?
            }
        };
        drop(making);
        Ok(Self {
            env,
            shelves,
            locks,
            path: path.to_owned(),
            identity,
            capacity,
            evicted: AtomicU64::new(0),
            pid: std::process::id(),
        })
    }
}

/// The room for so many sessions, in bytes.
fn room(capacity: usize) -> usize {
    let capacities = Table::ALL.map(|table| table.capacity(capacity));
    capacities.iter().sum::<usize>() * ROOM_PER_RECORD + SLACK
}

/// Where the store of this boot is.
fn store_path(directory: &Path) -> Result<PathBuf, Trouble> {
    let unknown = || {
        let path = Path::new("/proc/sys/kernel/random/boot_id");
        let remedy = "make it readable for the mail server";
        trouble(path, &"cannot be read", remedy)
    };
    store_name()
        .map(|name| directory.join(name))
        .ok_or_else(unknown)
}
