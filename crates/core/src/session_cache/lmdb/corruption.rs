//! A session cache whose file is corrupt: truncated, overwritten, or deadly for the processes that
//! read it. Its sessions are lost, but later logins must work.

#![forbid(unsafe_code)]

use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use heed::MdbError;

use super::LmdbBackend;
use crate::session_cache::cache_key::Key;
use crate::session_cache::lmdb::crash_guard::ReadGuard;
use crate::session_cache::lmdb::locked_env::LOCK_TIMEOUT;
use crate::state_dir::StoreError;
use crate::state_dir::lock_file::What;
use crate::state_dir::trouble;

impl LmdbBackend {
    /// Whether the mapped file still has a name and its full length. Reading behind the end of a
    /// file ends the process (SIGBUS).
    pub(crate) fn is_complete(&self) -> bool {
        let whole = |file: std::fs::Metadata| file.nlink() > 0 && file.len() >= self.room;
        self.file.metadata().is_ok_and(whole)
    }

    /// Whether no other process can have made the file larger than this process has mapped.
    pub(crate) fn is_no_longer_than_its_map(&self) -> bool {
        let file = self.file.metadata();
        file.is_ok_and(|file| file.len() <= self.room)
    }

    /// Begins a read of the record of `key`, or of something else.
    pub(crate) fn enter(&self, key: Option<&Key>) -> Result<Option<ReadGuard<'_>>, StoreError> {
        match &self.crashes {
            Some(crashes) => crashes.enter(key).map_err(|damage| self.condemn(&damage)),
            None => Ok(None),
        }
    }

    /// Removes the cache, if its path still leads to it. The next login creates another one. A
    /// read-only cache removes nothing.
    pub(crate) fn condemn(&self, damage: &dyn std::fmt::Display) -> StoreError {
        if !self.is_read_only
            && let Ok(_creation_lock) = self.locks.lock(What::Creating, LOCK_TIMEOUT)
            && self.is_current()
            && remove(&self.path).is_ok()
        {
            self.crashes.iter().for_each(|crashes| crashes.forget());
        }
        let remedy = match self.is_current() {
            false => "nothing need be done: it is made anew",
            true if self.is_read_only => "nothing need be done: the next login makes it anew",
            true => "remove it, which could not be done",
        };
        trouble(&self.path, damage, remedy)
    }
}

/// Whether an error means that LMDB did not write the contents of the file.
pub(crate) fn is_damage(error: &heed::Error) -> bool {
    use MdbError::{Corrupted, CursorFull, Invalid, PageFull, PageNotFound, VersionMismatch};
    matches!(
        error,
        heed::Error::Mdb(
            Corrupted | CursorFull | Invalid | PageFull | PageNotFound | VersionMismatch
        )
    )
}

/// Removes a cache and LMDB's lock file.
pub(crate) fn remove(path: &Path) -> io::Result<()> {
    for file in [path, &lock_file(path)] {
        match std::fs::remove_file(file) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    Ok(())
}

/// The path of LMDB's file with reader slots and locks.
pub(crate) fn lock_file(path: &Path) -> PathBuf {
    path.with_extension("mdb-lock")
}
