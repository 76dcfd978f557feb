//! How the store is opened.
//!
//! It is one file per boot and format. A boot's end is the end of its sessions, so
//! nothing need ever be flushed to the disk, and a file that a crash of the machine
//! left half written is never read.
//!
//! The module's unsafe calls are about opening the file: a memory map is sound
//! as long as nobody but LMDB changes what is mapped, which the directory's
//! owner and mode provide (`state_dir`).

use std::fs::OpenOptions;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize};

use heed::{Env, EnvFlags, EnvOpenOptions, WithTls};
use nix::sys::resource::{Resource, getrlimit};

use super::damage::{is_damage, lock_file, remove};
use super::{Host, PATIENCE, busy, with_a_slot};
use crate::session::crashes::Crashes;
use crate::session::locks::{Held, Locks, What};
use crate::session::shelf::{DATABASES, Shelves};
use crate::session::state_dir::{self, trouble};
use crate::session::store_file::{
    Pages, close_on_exec, identity, lock_file_length, make_whole, remove_other_boots, store_name,
};
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

/// The room is in whole pages, however large a system's are.
const GRAIN: usize = 64 << 10;

/// What is to be done about the file system.
const MAKE_ROOM: &str = "make room in its file system and look to its rights";

impl Host {
    /// Opens the store in `directory`, with room for `capacity` sessions. It is made
    /// if it is not there yet, and anew if it is damaged.
    pub(in crate::session) fn open(directory: &Path, capacity: usize) -> Result<Self, Trouble> {
        Self::open_with_room(directory, capacity, room(capacity))
    }

    pub(in crate::session) fn open_with_room(
        directory: &Path,
        capacity: usize,
        room: usize,
    ) -> Result<Self, Trouble> {
        state_dir::prepare(directory)?;
        let mut place = Place::new(directory, capacity)?;
        check_limit(&place.path, room)?;
        place.room = room - room % GRAIN;
        place.crashes = Crashes::open(directory).map(Arc::new);
        let mut making = None;
        match place.open(&mut making) {
            Err(Fault::Damage(_)) => place.mend(making),
            opened => opened.map_err(|fault| place.trouble(fault)),
        }
    }

    /// Opens the store if there is one, to look at it. Nothing is made.
    pub(in crate::session) fn open_existing(
        directory: &Path,
        capacity: usize,
    ) -> Result<Option<Self>, Trouble> {
        if !directory.exists() {
            return Ok(None);
        }
        state_dir::check(directory)?;
        let mut place = Place::new(directory, capacity)?;
        place.only_looks = true;
        // As it is, or as little as it is.
        place.room = usize::try_from(place.length()).unwrap_or(0);
        if place.room == 0 {
            return Ok(None);
        }
        let opened = place.open(&mut None);
        opened.map(Some).map_err(|fault| place.trouble(fault))
    }
}

/// Why a store cannot be opened.
enum Fault {
    Trouble(Trouble),
    /// What is there is no store, or none any more.
    Damage(String),
}

impl From<Trouble> for Fault {
    fn from(trouble: Trouble) -> Self {
        Self::Trouble(trouble)
    }
}

/// Where a store is to be, and how large.
struct Place {
    path: PathBuf,
    locks: Locks,
    capacity: usize,
    /// In bytes: how much of the file is mapped at least.
    room: usize,
    crashes: Option<Arc<Crashes>>,
    only_looks: bool,
}

impl Place {
    fn new(directory: &Path, capacity: usize) -> Result<Self, Trouble> {
        let (path, lock_path) = (store_path(directory)?, directory.join("locks"));
        for file in [&path, &lock_file(&path), &lock_path] {
            state_dir::check_file(file)?;
        }
        Ok(Self {
            path,
            locks: Locks::new(lock_path),
            capacity,
            room: 0,
            crashes: None,
            only_looks: false,
        })
    }

    /// Opens the store, and makes it if nothing is there. For that one process takes
    /// the lock, and the others wait. Once it is there, in its whole length, nobody
    /// waits for anybody: all of imapd may start at once.
    fn open(&self, making: &mut Option<Held>) -> Result<Host, Fault> {
        if self.is_short() && making.is_none() {
            self.lock(making)?;
            // Meanwhile somebody else may have made it: all others are to go on together.
            making.take_if(|_| !self.is_short());
        }
        if self.is_short() {
            self.prepare()?;
        }
        let inside = self.crashes.as_ref().map(|crashes| crashes.enter(None));
        let inside = inside.transpose().map_err(Fault::Damage)?;
        let (env, shelves, room) = self.environment(making)?;
        drop(inside);
        let file = OpenOptions::new().write(true).open(&self.path);
        let file = file.map_err(|error| self.unusable(&error))?;
        if making.is_some() && self.length() < room {
            // In its whole length from the start, with no blocks there yet: one that
            // is shorter was cut short, and who looks behind its end is ended.
            file.set_len(room).map_err(|error| self.unusable(&error))?;
        }
        let identity = identity(&self.path).map_err(|error| self.unusable(&error))?;
        Ok(Host {
            env,
            shelves,
            locks: self.locks.clone(),
            path: self.path.clone(),
            file,
            identity,
            room,
            capacity: self.capacity,
            evicted: AtomicU64::new(0),
            tidied: AtomicUsize::new(0),
            crashes: self.crashes.clone(),
            only_looks: self.only_looks,
            mended: None,
            pid: std::process::id(),
        })
    }

    /// Clears the place for a store that is to be made.
    fn prepare(&self) -> Result<(), Trouble> {
        remove_other_boots(self.path.parent().unwrap_or(&self.path));
        if self.length() > 0 {
            return Ok(());
        }
        // LMDB's other file may be of a store that was removed, and is still that of its
        // users. And of a file that was emptied it would make a new store under those who
        // have it mapped.
        remove(&self.path).map_err(|error| self.unusable(&error))?;
        // LMDB maps it, and would leave holes in it.
        let lock_file = lock_file(&self.path);
        make_whole(&lock_file, lock_file_length(READERS))
            .map_err(|error| trouble(&lock_file, &error, MAKE_ROOM))
    }

    /// Makes a store anew that is damaged.
    fn mend(&self, mut making: Option<Held>) -> Result<Host, Trouble> {
        self.lock(&mut making)?;
        // Somebody else may have done so meanwhile.
        let damage = match self.open(&mut making) {
            Err(Fault::Damage(damage)) => damage,
            opened => return opened.map_err(|fault| self.trouble(fault)),
        };
        remove(&self.path).map_err(|error| self.unusable(&error))?;
        self.crashes.iter().for_each(|crashes| crashes.forget());
        let made = self.open(&mut making);
        let mut host = made.map_err(|fault| self.trouble(fault))?;
        host.mended = Some(trouble(
            &self.path,
            &damage,
            "nothing need be done: it was made anew",
        ));
        Ok(host)
    }

    /// The environment of LMDB, what is in it, and how long its file must be.
    fn environment(
        &self,
        making: &mut Option<Held>,
    ) -> Result<(Env<WithTls>, Shelves, u64), Fault> {
        // LMDB opens a store that has outgrown its map, and then finds no room
        // to take anything out.
        let room = self.room.max(usize::try_from(self.length()).unwrap_or(0));
        let mut options = EnvOpenOptions::new().read_txn_with_tls();
        options
            .map_size(room)
            .max_readers(READERS)
            .max_dbs(DATABASES);
        // SAFETY: these flags only leave out flushing to the disk, which the
        // name of the file makes needless (see above).
        unsafe { options.flags(EnvFlags::NO_SUB_DIR | EnvFlags::NO_SYNC) };
        // SAFETY: LMDB needs a file that nothing but LMDB changes. The
        // directory is ours and nobody else may write it, and the file's name
        // is this format's own.
        let env = unsafe { options.open(&self.path) }.map_err(|error| match error {
            heed::Error::EnvAlreadyOpened => {
                let remedy = "wait until this process has let go of it";
                trouble(&self.path, &error, remedy).into()
            }
            error => self.fault(&error),
        })?;
        close_on_exec(&self.path).map_err(|error| self.unusable(&error))?;
        let pages = Pages {
            size: u64::from(env.unnamed_database_stat().page_size),
            count: env.info().last_page_number as u64 + 1,
        };
        pages
            .check(&self.path)
            .map_err(|error| match error.kind() {
                io::ErrorKind::InvalidData => Fault::Damage(error.to_string()),
                _ => self.unusable(&error).into(),
            })?;
        let opened = with_a_slot(&env, || Shelves::open(&env));
        let shelves = match opened.map_err(|error| self.fault(&error))? {
            Some(shelves) => shelves,
            None if self.only_looks => {
                return Err(trouble(&self.path, &"is being made", "ask again").into());
            }
            None => {
                // Its maker is at it, or has died of it.
                self.lock(making)?;
                Shelves::make(&env).map_err(|error| self.fault(&error))?
            }
        };
        Ok((env, shelves, room as u64))
    }

    /// Whether there is no store as long as it must be.
    fn is_short(&self) -> bool {
        self.length() < self.room as u64
    }

    /// In bytes; 0 if there is none.
    fn length(&self) -> u64 {
        std::fs::metadata(&self.path).map_or(0, |file| file.len())
    }

    /// Takes the lock for making the store, if it is not held yet.
    fn lock(&self, making: &mut Option<Held>) -> Result<(), Trouble> {
        if making.is_none() {
            let held = self.locks.lock(What::Making, PATIENCE);
            *making = Some(held.map_err(busy(&self.path))?);
        }
        Ok(())
    }

    fn fault(&self, error: &heed::Error) -> Fault {
        let fault = match error {
            error if is_damage(error) => return Fault::Damage(error.to_string()),
            // Of 32 bits, or under a limit (RLIMIT_AS).
            heed::Error::Io(reason) if reason.kind() == io::ErrorKind::OutOfMemory => {
                let problem = format!("{error}: {} MiB at one place", self.room >> 20);
                let remedy = "lower sso_sessions, or let processes have more address space";
                trouble(&self.path, &problem, remedy)
            }
            heed::Error::Io(_) => trouble(&self.path, error, MAKE_ROOM),
            _ => trouble(&self.path, error, "restart the mail server"),
        };
        fault.into()
    }

    fn unusable(&self, error: &io::Error) -> Trouble {
        trouble(&self.path, error, MAKE_ROOM)
    }

    fn trouble(&self, fault: Fault) -> Trouble {
        match fault {
            Fault::Trouble(trouble) => trouble,
            Fault::Damage(damage) => {
                let remedy = "nothing need be done: the next login makes it anew";
                trouble(&self.path, &damage, remedy)
            }
        }
    }
}

/// Writing behind the greatest length of files that a process may have ends it.
fn check_limit(path: &Path, room: usize) -> Result<(), Trouble> {
    match getrlimit(Resource::RLIMIT_FSIZE) {
        Ok((limit, _)) if limit < room as u64 => {
            let problem = format!("would be longer than files may be here ({limit} bytes)");
            let remedy = format!("raise that limit (LimitFSIZE=) to {room}, or lower sso_sessions");
            Err(trouble(path, &problem, &remedy))
        }
        _ => Ok(()),
    }
}

/// The room for so many sessions, in bytes; at most all that can be counted, which no
/// process has.
fn room(capacity: usize) -> usize {
    let capacities = Table::ALL.map(|table| table.capacity(capacity));
    let records = capacities.iter().sum::<usize>();
    records
        .saturating_mul(ROOM_PER_RECORD)
        .saturating_add(SLACK)
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

#[cfg(test)]
mod tests {
    use super::*;

    /// Most processes of 32 bits have no room for the most sessions.
    #[test]
    fn there_is_room_for_all_sessions_or_the_remedy_is_named() {
        const MOST: usize = 10_000_000;
        let directory = tempfile::tempdir().unwrap();
        match Host::open(directory.path(), MOST) {
            Ok(host) => assert!(host.room() / ROOM_PER_RECORD >= 2 * MOST),
            Err(trouble) => {
                assert!(size_of::<usize>() < 8, "{trouble}");
                let trouble = trouble.to_string();
                assert!(trouble.contains("; lower sso_sessions"), "{trouble}");
            }
        }
    }

    #[test]
    fn what_no_process_has_room_for_is_not_opened_and_the_remedy_is_named() {
        let directory = tempfile::tempdir().unwrap();
        for room in [usize::MAX / 2, usize::MAX] {
            let opened = Host::open_with_room(directory.path(), 10, room);
            let trouble = opened.err().unwrap().to_string();
            assert!(trouble.contains("; lower sso_sessions"), "{trouble}");
        }
        // It may be lowered: nothing is left that keeps it from being opened.
        Host::open(directory.path(), 10).unwrap();
    }
}
