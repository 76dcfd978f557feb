//! The place of a store: what is there is opened, and made where nothing is, or nothing
//! good.
//!
//! The module's unsafe calls are about opening the file: a memory map is sound
//! as long as nobody but LMDB changes what is mapped, which the directory's
//! owner and mode provide (`state_dir`).

use std::fs::OpenOptions;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize};

use heed::{EnvFlags, EnvOpenOptions, MdbError};
use memmap2::MmapOptions;

use super::corruption::{is_damage, lock_file, remove};
use super::{Host, busy, io_trouble};
use crate::session_cache::lmdb::crash_guard::Crashes;
use crate::session_cache::lmdb::locked_env::{Environment, PATIENCE};
use crate::session_cache::lmdb::tables::{DATABASES, Shelves};
use crate::state_dir;
use crate::state_dir::StoreError;
use crate::state_dir::boot_file::{
    Pages, close_on_exec, identity, lock_file_length, make_whole, remove_other_boots,
};
use crate::state_dir::lock_file::{Held, Locks, What};
use crate::state_dir::sync_file::{Lock, SyncFile};
use crate::state_dir::trouble;

/// How many may read at the same time. However many processes live, few of them do: only
/// those that are stopped or killed while they read keep a slot for longer than that, and
/// the slots of the killed are used again.
pub(crate) const READERS: u32 = if cfg!(test) { 16 } else { 4_096 };

/// The least that a system has as a page, in bytes: LMDB writes nothing less.
const PAGE: u64 = 4_096;

/// What is to be done about the file system.
pub(crate) const MAKE_ROOM: &str = "make room in its file system and look to its rights";

/// What is to be done about readers that keep their slots.
pub(crate) const READERS_STOPPED: &str =
    "look for processes that were stopped while they read, and end them";

/// Why a store cannot be opened.
pub(crate) enum Fault {
    StoreError(StoreError),
    /// What is there is no store, or none any more.
    Damage(String),
    /// While it was opened somebody put another one there.
    Replaced,
}

impl From<StoreError> for Fault {
    fn from(trouble: StoreError) -> Self {
        Self::StoreError(trouble)
    }
}

impl Fault {
    /// What it comes to for the store at `path`.
    pub(crate) fn of(self, path: &Path) -> StoreError {
        match self {
            Self::StoreError(trouble) => trouble,
            Self::Damage(damage) => {
                let remedy = "nothing need be done: the next login makes it anew";
                trouble(path, &damage, remedy)
            }
            Self::Replaced => {
                let problem = "was replaced while it was opened";
                trouble(path, &problem, "look who removes it")
            }
        }
    }
}

/// Where a store is to be, and how large.
pub(crate) struct Place {
    path: PathBuf,
    locks: Locks,
    capacity: usize,
    /// In bytes: how much of the file is mapped at least.
    room: usize,
    crashes: Option<Arc<Crashes>>,
    sync_path: PathBuf,
    only_looks: bool,
}

impl Place {
    /// Where the store is to be that is used: with room for `capacity` sessions, which are
    /// `room` bytes.
    pub(crate) fn to_use(
        directory: &Path,
        path: PathBuf,
        capacity: usize,
        room: usize,
    ) -> Result<Self, StoreError> {
        let looking = Self::to_look_at(directory, path, capacity)?;
        let crashes = Crashes::path(directory);
        if let Some(path) = &crashes {
            state_dir::check_file(path)?;
        }
        Ok(Self {
            room,
            crashes: crashes.and_then(|path| Crashes::open(&path)).map(Arc::new),
            only_looks: false,
            ..looking
        })
    }

    /// Where a store may be that is only looked at, as long as it is.
    pub(crate) fn to_look_at(
        directory: &Path,
        path: PathBuf,
        capacity: usize,
    ) -> Result<Self, StoreError> {
        let lock_path = directory.join("locks");
        let sync_path = SyncFile::path(directory)
            .ok_or_else(|| trouble(directory, &"this boot has no name", "mount /proc"))?;
        for file in [&path, &lock_file(&path), &lock_path, &sync_path] {
            state_dir::check_file(file)?;
        }
        Ok(Self {
            room: usize::try_from(length(&path)).unwrap_or(0),
            path,
            locks: Locks::new(lock_path),
            capacity,
            crashes: None,
            sync_path,
            only_looks: true,
        })
    }

    /// Opens the store, and makes it if nothing is there. For that one process takes
    /// the lock, and the others wait. Once it is there, in its whole length, nobody
    /// waits for anybody: all of imapd may start at once.
    pub(crate) fn open(&self, making: &mut Option<Held>) -> Result<Host, Fault> {
        if self.only_looks && self.is_empty() {
            return Err(Fault::Replaced);
        }
        if self.is_short() && making.is_none() {
            self.lock(making)?;
            // Meanwhile somebody else may have made it: all others are to go on together.
            making.take_if(|_| !self.is_short());
        }
        if self.is_short() {
            self.prepare()?;
        }
        let sync = self.sync()?;
        let sync_identity = identity(&self.sync_path).ok();
        let inside = self.crashes.as_ref().map(|crashes| crashes.enter(None));
        let inside = inside.transpose().map_err(Fault::Damage)?;
        // LMDB opens several files by their names, one after the other. Who makes a store
        // holds the lock, without which nobody takes one away.
        let before = identity(&self.path).ok();
        if before.is_none() && making.is_none() {
            return Err(Fault::Replaced);
        }
        let (env, shelves, room) = self.environment(sync, making, before)?;
        drop(inside);
        let file = OpenOptions::new().write(true).open(&self.path);
        let file = file.map_err(|error| self.unusable(&error))?;
        let found = file.metadata().map_err(|error| self.unusable(&error))?;
        let identity = (found.dev(), found.ino());
        if before.is_some_and(|before| before != identity) {
            return Err(Fault::Replaced);
        }
        if making.is_some() && length(&self.path) < room {
            // In its whole length from the start, with no blocks there yet: one that
            // is shorter was cut short, and who looks behind its end is ended.
            file.set_len(room).map_err(|error| self.unusable(&error))?;
        }
        Ok(Host {
            env,
            shelves,
            locks: self.locks.clone(),
            path: self.path.clone(),
            file,
            identity,
            sync_identity,
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

    /// What processes wait for one another by. It is there before a store is.
    fn sync(&self) -> Result<Arc<SyncFile>, StoreError> {
        let opened = SyncFile::open(&self.sync_path, !self.only_looks);
        let remedy = "remove it while the mail server is stopped; it is made anew";
        opened
            .map(Arc::new)
            .map_err(|error| io_trouble(&self.sync_path, &error, remedy))
    }

    /// Clears the place for a store that is to be made.
    fn prepare(&self) -> Result<(), StoreError> {
        remove_other_boots(self.path.parent().unwrap_or(&self.path));
        if !self.is_empty() {
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
    pub(crate) fn mend(&self, mut making: Option<Held>) -> Result<Host, StoreError> {
        self.lock(&mut making)?;
        // Somebody else may have done so meanwhile.
        let damage = match self.open(&mut making) {
            Err(Fault::Damage(damage)) => damage,
            opened => return opened.map_err(|fault| fault.of(&self.path)),
        };
        remove(&self.path).map_err(|error| self.unusable(&error))?;
        self.crashes.iter().for_each(|crashes| crashes.forget());
        let made = self.open(&mut making);
        let mut host = made.map_err(|fault| fault.of(&self.path))?;
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
        sync: Arc<SyncFile>,
        making: &mut Option<Held>,
        before: Option<(u64, u64)>,
    ) -> Result<(Environment, Shelves, u64), Fault> {
        if !length(&self.path).is_multiple_of(PAGE) {
            return Err(Fault::Damage("is not of whole pages".to_owned()));
        }
        let room = self.mapped();
        let mut options = EnvOpenOptions::new().read_txn_without_tls();
        options
            .map_size(room)
            .max_readers(READERS)
            .max_dbs(DATABASES);
        // SAFETY: these flags only leave out flushing to the disk, which the
        // name of the file makes needless (see above).
        unsafe { options.flags(EnvFlags::NO_SUB_DIR | EnvFlags::NO_SYNC) };
        let opening = sync.lock(Lock::Opening, PATIENCE);
        let opening = opening.map_err(busy(&self.path))?;
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
        drop(opening);
        let env = Environment::new(env, Arc::clone(&sync));
        close_on_exec(&self.path).map_err(|error| self.unusable(&error))?;
        let pages = Pages {
            size: u64::from(env.lmdb().unnamed_database_stat().page_size),
            count: (env.lmdb().info().last_page_number as u64).saturating_add(1),
        };
        pages
            .check(&self.path)
            .map_err(|error| match error.kind() {
                io::ErrorKind::InvalidData => Fault::Damage(error.to_string()),
                _ => self.unusable(&error).into(),
            })?;
        let shelves = match Shelves::open(&env).map_err(|error| self.fault(&error))? {
            Some(shelves) => shelves,
            None if self.only_looks => {
                return Err(trouble(&self.path, &"is being made", "ask again").into());
            }
            None => {
                // Its maker is at it, or has died of it.
                self.lock(making)?;
                // From here on nobody takes it away; somebody may have.
                if before.is_some() && before != identity(&self.path).ok() {
                    return Err(Fault::Replaced);
                }
                let writing = self.locks.lock(What::Writing, PATIENCE);
                let _writing = writing.map_err(busy(&self.path))?;
                Shelves::make(&env).map_err(|error| self.fault(&error))?
            }
        };
        Ok((env, shelves, room as u64))
    }

    /// How much of the file is mapped, in bytes: LMDB opens a store that has outgrown its
    /// map, and then finds no room to take anything out.
    fn mapped(&self) -> usize {
        let length = usize::try_from(length(&self.path)).unwrap_or(0);
        self.room.max(length)
    }

    /// Whether there is no store at all.
    pub(crate) fn is_empty(&self) -> bool {
        length(&self.path) == 0
    }

    /// Whether there is no store as long as it must be.
    fn is_short(&self) -> bool {
        length(&self.path) < self.room as u64
    }

    /// Takes the lock for making the store, if it is not held yet.
    fn lock(&self, making: &mut Option<Held>) -> Result<(), StoreError> {
        if making.is_none() {
            let held = self.locks.lock(What::Making, PATIENCE);
            *making = Some(held.map_err(busy(&self.path))?);
        }
        Ok(())
    }

    fn fault(&self, error: &heed::Error) -> Fault {
        let fault = match error {
            error if is_damage(error) => return Fault::Damage(error.to_string()),
            // LMDB maps as much as the store says that it has.
            heed::Error::Io(reason) if is_out_of_memory(reason) && self.could_be_mapped() => {
                return Fault::Damage("says that it is larger than it is".to_owned());
            }
            // Of 32 bits, or under a limit (RLIMIT_AS).
            heed::Error::Io(reason) if is_out_of_memory(reason) => {
                let problem = format!("{error}: {} MiB at one place", self.mapped() >> 20);
                let remedy =
                    "lower sso_sessions, or raise the limit of the address space (LimitAS=)";
                StoreError {
                    is_passing: true,
                    ..trouble(&self.path, &problem, remedy)
                }
            }
            heed::Error::Io(error) => io_trouble(&self.path, error, MAKE_ROOM),
            heed::Error::Mdb(MdbError::ReadersFull) => StoreError {
                is_passing: true,
                ..trouble(&self.path, error, READERS_STOPPED)
            },
            _ => trouble(&self.path, error, "restart the mail server"),
        };
        fault.into()
    }

    /// Whether there is room at one place for as much as LMDB was told to map, and for the
    /// file that it has beside it. It promises no memory, as a map of a file does not.
    fn could_be_mapped(&self) -> bool {
        let beside = usize::try_from(lock_file_length(READERS)).unwrap_or(0);
        let mut options = MmapOptions::new();
        options
            .no_reserve_swap()
            .len(self.mapped().saturating_add(beside));
        options.map_anon().is_ok()
    }

    fn unusable(&self, error: &io::Error) -> StoreError {
        io_trouble(&self.path, error, MAKE_ROOM)
    }
}

fn is_out_of_memory(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::OutOfMemory
}

/// In bytes; 0 if there is no such file.
fn length(path: &Path) -> u64 {
    std::fs::metadata(path).map_or(0, |file| file.len())
}
