//! Opens the file of the session cache, and creates it if it is missing or corrupt.
//!
//! The unsafe calls of this module open the file. A memory map is sound as long as only LMDB
//! changes the file, which the owner and the mode of the directory ensure (`state_dir`).

use std::fs::OpenOptions;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize};

use heed::{EnvFlags, EnvOpenOptions, MdbError};
use memmap2::MmapOptions;

use super::corruption::{is_damage, lock_file, remove};
use super::{LmdbBackend, busy, io_error};
use crate::session_cache::lmdb::crash_guard::CrashGuard;
use crate::session_cache::lmdb::locked_env::{Environment, LOCK_TIMEOUT};
use crate::session_cache::lmdb::tables::{DATABASES, Tables};
use crate::state_dir;
use crate::state_dir::StoreError;
use crate::state_dir::boot_file::{
    Pages, close_on_exec, create_allocated, identity, lock_file_length, remove_other_boots,
};
use crate::state_dir::lock_file::{Held, Locks, What};
use crate::state_dir::sync_file::{Lock, SyncFile};
use crate::state_dir::trouble;

/// The maximum number of concurrent readers. Few of the living processes read at the same time.
/// Only processes that are stopped or killed while they read keep a slot longer, and the slots of
/// killed processes are used again.
pub(crate) const MAX_READERS: u32 = if cfg!(test) { 16 } else { 4_096 };

/// The minimum size of a page of any system, in bytes: LMDB writes at least this much.
const MIN_PAGE_BYTES: u64 = 4_096;

/// The remedy for problems of the file system.
pub(crate) const MAKE_ROOM_REMEDY: &str = "make room in its file system and look to its rights";

/// The remedy for readers that keep their slots.
pub(crate) const READERS_STOPPED_REMEDY: &str =
    "look for processes that were stopped while they read, and end them";

/// Why a cache cannot be opened.
pub(crate) enum OpenError {
    StoreError(StoreError),
    /// The file is no cache, or a corrupt one.
    Damage(String),
    /// Another process replaced the file while it was opened.
    Replaced,
}

impl From<StoreError> for OpenError {
    fn from(trouble: StoreError) -> Self {
        Self::StoreError(trouble)
    }
}

impl OpenError {
    /// Converts the reason to the error for the cache at `path`.
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

/// The location and the size of a cache.
pub(crate) struct StoreOpener {
    path: PathBuf,
    locks: Locks,
    capacity: usize,
    /// The minimum size of the map, in bytes.
    room: usize,
    crashes: Option<Arc<CrashGuard>>,
    sync_path: PathBuf,
    is_read_only: bool,
}

impl StoreOpener {
    /// A cache for reading and writing, with room for `capacity` sessions, which is `room` bytes.
    pub(crate) fn for_use(
        directory: &Path,
        path: PathBuf,
        capacity: usize,
        room: usize,
    ) -> Result<Self, StoreError> {
        let looking = Self::read_only(directory, path, capacity)?;
        let crashes = CrashGuard::path(directory);
        if let Some(path) = &crashes {
            state_dir::check_file(path)?;
        }
        Ok(Self {
            room,
            crashes: crashes
                .and_then(|path| CrashGuard::open(&path))
                .map(Arc::new),
            is_read_only: false,
            ..looking
        })
    }

    /// A cache for reading only, with its present size.
    pub(crate) fn read_only(
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
            is_read_only: true,
        })
    }

    /// Opens the cache, and creates it if it is missing. One process creates it under the lock
    /// while the others wait. An existing cache of full length is opened without a lock, because
    /// all processes of imapd may start at once.
    pub(crate) fn open(&self, creation_lock: &mut Option<Held>) -> Result<LmdbBackend, OpenError> {
        if self.is_read_only && self.is_empty() {
            return Err(OpenError::Replaced);
        }
        if self.is_short() && creation_lock.is_none() {
            self.lock(creation_lock)?;
            // Another process may have created the cache meanwhile; all others go on together.
            creation_lock.take_if(|_| !self.is_short());
        }
        if self.is_short() {
            self.prepare()?;
        }
        let sync = self.sync()?;
        let sync_identity = identity(&self.sync_path).ok();
        let inside = self.crashes.as_ref().map(|crashes| crashes.enter(None));
        let inside = inside.transpose().map_err(OpenError::Damage)?;
        // LMDB opens several files by name, one after the other. Whoever creates a cache holds the
        // lock, without which nobody removes one.
        let before = identity(&self.path).ok();
        if before.is_none() && creation_lock.is_none() {
            return Err(OpenError::Replaced);
        }
        let (env, tables, room) = self.environment(sync, creation_lock, before)?;
        drop(inside);
        let file = OpenOptions::new().write(true).open(&self.path);
        let file = file.map_err(|error| self.unusable(&error))?;
        let found = file.metadata().map_err(|error| self.unusable(&error))?;
        let identity = (found.dev(), found.ino());
        if before.is_some_and(|before| before != identity) {
            return Err(OpenError::Replaced);
        }
        if creation_lock.is_some() && length(&self.path) < room {
            // The file has its full length from the start, without blocks. A shorter file was
            // truncated, and reading behind its end would end the process.
            file.set_len(room).map_err(|error| self.unusable(&error))?;
        }
        Ok(LmdbBackend {
            env,
            tables,
            locks: self.locks.clone(),
            path: self.path.clone(),
            file,
            identity,
            sync_identity,
            room,
            capacity: self.capacity,
            evicted: AtomicU64::new(0),
            pages_at_cleanup: AtomicUsize::new(0),
            crashes: self.crashes.clone(),
            is_read_only: self.is_read_only,
            replaced_because: None,
            pid: std::process::id(),
        })
    }

    /// Opens the file by which processes wait for each other. It exists before the cache does.
    fn sync(&self) -> Result<Arc<SyncFile>, StoreError> {
        let opened = SyncFile::open(&self.sync_path, !self.is_read_only);
        let remedy = "remove it while the mail server is stopped; it is made anew";
        opened
            .map(Arc::new)
            .map_err(|error| io_error(&self.sync_path, &error, remedy))
    }

    /// Prepares the location for a new cache.
    fn prepare(&self) -> Result<(), StoreError> {
        remove_other_boots(self.path.parent().unwrap_or(&self.path));
        if !self.is_empty() {
            return Ok(());
        }
        // LMDB's lock file may belong to a cache that was removed and is still in use. LMDB would
        // also create a new cache in an emptied file, which other processes have mapped.
        remove(&self.path).map_err(|error| self.unusable(&error))?;
        // LMDB maps the file, and would leave holes in it.
        let lock_file = lock_file(&self.path);
        create_allocated(&lock_file, lock_file_length(MAX_READERS))
            .map_err(|error| trouble(&lock_file, &error, MAKE_ROOM_REMEDY))
    }

    /// Replaces a corrupt cache.
    pub(crate) fn replace_corrupt(
        &self,
        mut creation_lock: Option<Held>,
    ) -> Result<LmdbBackend, StoreError> {
        self.lock(&mut creation_lock)?;
        // Another process may have replaced it meanwhile.
        let damage = match self.open(&mut creation_lock) {
            Err(OpenError::Damage(damage)) => damage,
            opened => return opened.map_err(|fault| fault.of(&self.path)),
        };
        remove(&self.path).map_err(|error| self.unusable(&error))?;
        self.crashes.iter().for_each(|crashes| crashes.forget());
        let made = self.open(&mut creation_lock);
        let mut host = made.map_err(|fault| fault.of(&self.path))?;
        host.replaced_because = Some(trouble(
            &self.path,
            &damage,
            "nothing need be done: it was made anew",
        ));
        Ok(host)
    }

    /// Opens LMDB's environment. Returns also its contents and the required length of the file.
    fn environment(
        &self,
        sync: Arc<SyncFile>,
        creation_lock: &mut Option<Held>,
        before: Option<(u64, u64)>,
    ) -> Result<(Environment, Tables, u64), OpenError> {
        if !length(&self.path).is_multiple_of(MIN_PAGE_BYTES) {
            return Err(OpenError::Damage("is not of whole pages".to_owned()));
        }
        let room = self.mapped();
        let mut options = EnvOpenOptions::new().read_txn_without_tls();
        options
            .map_size(room)
            .max_readers(MAX_READERS)
            .max_dbs(DATABASES);
        // SAFETY: these flags only omit flushing to the disk, which is unnecessary because the file
        // belongs to one boot (see above).
        unsafe { options.flags(EnvFlags::NO_SUB_DIR | EnvFlags::NO_SYNC) };
        let opening = sync.lock(Lock::Opening, LOCK_TIMEOUT);
        let opening = opening.map_err(busy(&self.path))?;
        // SAFETY: LMDB needs a file that only LMDB changes. Only this user can write to the
        // directory, and the name of the file belongs to this format.
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
                io::ErrorKind::InvalidData => OpenError::Damage(error.to_string()),
                _ => self.unusable(&error).into(),
            })?;
        let tables = match Tables::open(&env).map_err(|error| self.fault(&error))? {
            Some(tables) => tables,
            None if self.is_read_only => {
                return Err(trouble(&self.path, &"is being made", "ask again").into());
            }
            None => {
                // Another process is creating the cache, or died while doing so.
                self.lock(creation_lock)?;
                // From here on nobody removes the cache; it may have been removed before.
                if before.is_some() && before != identity(&self.path).ok() {
                    return Err(OpenError::Replaced);
                }
                let writing = self.locks.lock(What::Writing, LOCK_TIMEOUT);
                let _writing = writing.map_err(busy(&self.path))?;
                Tables::make(&env).map_err(|error| self.fault(&error))?
            }
        };
        Ok((env, tables, room as u64))
    }

    /// The size of the map, in bytes. LMDB opens a cache that is larger than its map, and then
    /// finds no room even to remove something.
    fn mapped(&self) -> usize {
        let length = usize::try_from(length(&self.path)).unwrap_or(0);
        self.room.max(length)
    }

    /// Whether there is no cache.
    pub(crate) fn is_empty(&self) -> bool {
        length(&self.path) == 0
    }

    /// Whether there is no cache of full length.
    fn is_short(&self) -> bool {
        length(&self.path) < self.room as u64
    }

    /// Takes the lock for creating the cache, if it is not held already.
    fn lock(&self, creation_lock: &mut Option<Held>) -> Result<(), StoreError> {
        if creation_lock.is_none() {
            let held = self.locks.lock(What::Creating, LOCK_TIMEOUT);
            *creation_lock = Some(held.map_err(busy(&self.path))?);
        }
        Ok(())
    }

    fn fault(&self, error: &heed::Error) -> OpenError {
        let fault = match error {
            error if is_damage(error) => return OpenError::Damage(error.to_string()),
            // LMDB maps as much as the cache claims to have.
            heed::Error::Io(reason) if is_out_of_memory(reason) && self.could_be_mapped() => {
                return OpenError::Damage("says that it is larger than it is".to_owned());
            }
            // The process has 32 bits, or a limit (RLIMIT_AS).
            heed::Error::Io(reason) if is_out_of_memory(reason) => {
                let problem = format!("{error}: {} MiB at one place", self.mapped() >> 20);
                let remedy =
                    "lower sso_sessions, or raise the limit of the address space (LimitAS=)";
                StoreError {
                    is_passing: true,
                    ..trouble(&self.path, &problem, remedy)
                }
            }
            heed::Error::Io(error) => io_error(&self.path, error, MAKE_ROOM_REMEDY),
            heed::Error::Mdb(MdbError::ReadersFull) => StoreError {
                is_passing: true,
                ..trouble(&self.path, error, READERS_STOPPED_REMEDY)
            },
            _ => trouble(&self.path, error, "restart the mail server"),
        };
        fault.into()
    }

    /// Whether there is address space for the requested map and for LMDB's lock file. The map of a
    /// file reserves no memory.
    fn could_be_mapped(&self) -> bool {
        let beside = usize::try_from(lock_file_length(MAX_READERS)).unwrap_or(0);
        let mut options = MmapOptions::new();
        options
            .no_reserve_swap()
            .len(self.mapped().saturating_add(beside));
        options.map_anon().is_ok()
    }

    fn unusable(&self, error: &io::Error) -> StoreError {
        io_error(&self.path, error, MAKE_ROOM_REMEDY)
    }
}

fn is_out_of_memory(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::OutOfMemory
}

/// The length of a file in bytes; 0 if there is none.
fn length(path: &Path) -> u64 {
    std::fs::metadata(path).map_or(0, |file| file.len())
}
