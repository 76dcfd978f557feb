//! A store that is not as LMDB left it: cut short, overwritten, or what ends those who
//! look into it. Its sessions are lost; what is to be saved is who comes next.

#![forbid(unsafe_code)]

use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use heed::MdbError;

use super::Host;
use crate::session_cache::cache_key::Key;
use crate::session_cache::lmdb::crash_guard::Inside;
use crate::session_cache::lmdb::locked_env::PATIENCE;
use crate::state_dir::StoreError;
use crate::state_dir::lock_file::What;
use crate::state_dir::trouble;

impl Host {
    /// Whether the file that is mapped still has a name and its whole length: who looks
    /// behind the end of a file is ended (SIGBUS).
    pub(crate) fn is_whole(&self) -> bool {
        let whole = |file: std::fs::Metadata| file.nlink() > 0 && file.len() >= self.room;
        self.file.metadata().is_ok_and(whole)
    }

    /// Whether no other process can have made it larger than this one has mapped.
    pub(crate) fn is_no_longer_than_its_map(&self) -> bool {
        let file = self.file.metadata();
        file.is_ok_and(|file| file.len() <= self.room)
    }

    /// Begins a look into the store, for the record of `key` or for something else.
    pub(crate) fn enter(&self, key: Option<&Key>) -> Result<Option<Inside<'_>>, StoreError> {
        match &self.crashes {
            Some(crashes) => crashes.enter(key).map_err(|damage| self.condemn(&damage)),
            None => Ok(None),
        }
    }

    /// Takes the store away, if it is still the one by its name: the next login makes
    /// another. Who only looks on takes nothing away.
    pub(crate) fn condemn(&self, damage: &dyn std::fmt::Display) -> StoreError {
        if !self.only_looks
            && let Ok(_making) = self.locks.lock(What::Making, PATIENCE)
            && self.is_current()
            && remove(&self.path).is_ok()
        {
            self.crashes.iter().for_each(|crashes| crashes.forget());
        }
        let remedy = match self.is_current() {
            false => "nothing need be done: it is made anew",
            true if self.only_looks => "nothing need be done: the next login makes it anew",
            true => "remove it, which could not be done",
        };
        trouble(&self.path, damage, remedy)
    }
}

/// Whether an error means that what is in the file is not what LMDB wrote.
pub(crate) fn is_damage(error: &heed::Error) -> bool {
    use MdbError::{Corrupted, CursorFull, Invalid, PageFull, PageNotFound, VersionMismatch};
    matches!(
        error,
        heed::Error::Mdb(
            Corrupted | CursorFull | Invalid | PageFull | PageNotFound | VersionMismatch
        )
    )
}

/// Removes a store, with the file that LMDB has beside it.
pub(crate) fn remove(path: &Path) -> io::Result<()> {
    for file in [path, &lock_file(path)] {
        match std::fs::remove_file(file) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    Ok(())
}

/// Where LMDB has its slots and its own lock.
pub(crate) fn lock_file(path: &Path) -> PathBuf {
    path.with_extension("mdb-lock")
}
