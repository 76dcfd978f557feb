//! The location and size of the session cache, and how it is opened.
//!
//! There is one file for each boot and format. Sessions end with the boot, so nothing need be
//! flushed to the disk, and a file that a crash of the machine left half written is never read.

#![forbid(unsafe_code)]

use std::path::{Path, PathBuf};

use nix::sys::resource::{Resource, getrlimit};

use super::LmdbBackend;
use super::environment::{OpenError, StoreOpener};
use crate::session_cache::backend::Table;
use crate::state_dir;
use crate::state_dir::StoreError;
use crate::state_dir::boot_file::store_name;
use crate::state_dir::trouble;

/// Room for one record and its entry in the order of use, in bytes: twice the size of the longest,
/// because LMDB copies pages before it changes them, and leaves them half empty when it splits
/// them.
const BYTES_PER_RECORD: usize = 1_024;

/// Additional room, in bytes, for shared records, some of which are long.
const EXTRA_BYTES: usize = 32 << 20;

/// The maximum number of attempts if other processes replace the cache meanwhile.
const MAX_ATTEMPTS: usize = 3;

/// The room is a multiple of this, which is a multiple of the page size of any system.
const ROOM_ALIGNMENT: usize = 64 << 10;

impl LmdbBackend {
    /// Opens the cache in `directory`, with room for `capacity` sessions. It is created if it is
    /// missing or corrupt.
    pub(crate) fn open(directory: &Path, capacity: usize) -> Result<Self, StoreError> {
        Self::open_with_room(directory, capacity, room(capacity))
    }

    pub(crate) fn open_with_room(
        directory: &Path,
        capacity: usize,
        room: usize,
    ) -> Result<Self, StoreError> {
        state_dir::prepare(directory)?;
        let path = store_path(directory)?;
        check_limit(&path, room)?;
        let place = StoreOpener::for_use(
            directory,
            path.clone(),
            capacity,
            room - room % ROOM_ALIGNMENT,
        )?;
        let mut creation_lock = None;
        match retry(|| place.open(&mut creation_lock)) {
            Err(OpenError::Damage(_)) => place.replace_corrupt(creation_lock),
            opened => opened.map_err(|fault| fault.of(&path)),
        }
    }

    /// Opens an existing cache for reading. Nothing is created.
    pub(crate) fn open_existing(
        directory: &Path,
        capacity: usize,
    ) -> Result<Option<Self>, StoreError> {
        if !directory.exists() {
            return Ok(None);
        }
        state_dir::check(directory)?;
        let path = store_path(directory)?;
        let look = || {
            let place = StoreOpener::read_only(directory, path.clone(), capacity)?;
            match place.is_empty() {
                true => Ok(None),
                false => place.open(&mut None).map(Some),
            }
        };
        retry(look).map_err(|fault| fault.of(&path))
    }
}

/// Tries again if another process replaced the cache meanwhile.
fn retry<T>(mut open: impl FnMut() -> Result<T, OpenError>) -> Result<T, OpenError> {
    for _ in 1..MAX_ATTEMPTS {
        match open() {
            Err(OpenError::Replaced) => {}
            opened => return opened,
        }
    }
    open()
}

/// Writing beyond the maximum file size of a process would end it.
fn check_limit(path: &Path, room: usize) -> Result<(), StoreError> {
    match getrlimit(Resource::RLIMIT_FSIZE) {
        Ok((limit, _)) if usize::try_from(limit).is_ok_and(|limit| limit < room) => {
            let problem = format!("would be longer than files may be here ({limit} bytes)");
            let remedy = format!("raise that limit (LimitFSIZE=) to {room}, or lower sso_sessions");
            Err(trouble(path, &problem, &remedy))
        }
        _ => Ok(()),
    }
}

/// The room for `capacity` sessions, in bytes; at most what can be counted, which no process has.
fn room(capacity: usize) -> usize {
    let capacities = Table::ALL.map(|table| table.capacity(capacity));
    let records = capacities.iter().sum::<usize>();
    records
        .saturating_mul(BYTES_PER_RECORD)
        .saturating_add(EXTRA_BYTES)
}

/// Whether `directory` contains a cache of this boot, which may have sessions.
pub(crate) fn exists(directory: &Path) -> bool {
    let store = store_path(directory).and_then(|path| {
        std::fs::metadata(&path).map_err(|error| trouble(&path, &error, "make it readable"))
    });
    store.is_ok_and(|store| store.len() > 0)
}

/// The path of the cache of this boot.
fn store_path(directory: &Path) -> Result<PathBuf, StoreError> {
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

    /// A process of 32 bits may have no room for the maximum number of sessions.
    #[test]
    fn missing_room_is_an_error_with_a_remedy() {
        const MAX_SESSIONS: usize = 10_000_000;
        let directory = tempfile::tempdir().unwrap();
        match LmdbBackend::open(directory.path(), MAX_SESSIONS) {
            Ok(host) => assert!(host.room() / BYTES_PER_RECORD >= 2 * MAX_SESSIONS),
            Err(trouble) => {
                assert!(size_of::<usize>() < 8, "{trouble}");
                let trouble = trouble.to_string();
                assert!(trouble.contains("; lower sso_sessions"), "{trouble}");
            }
        }
    }

    #[test]
    fn impossible_size_is_an_error_with_a_remedy() {
        let directory = tempfile::tempdir().unwrap();
        for room in [usize::MAX / 8 * 7, usize::MAX] {
            let opened = LmdbBackend::open_with_room(directory.path(), 10, room);
            let trouble = opened.err().unwrap().to_string();
            assert!(trouble.contains("; lower sso_sessions"), "{trouble}");
        }
        // The limit may be lowered: an existing cache can still be opened.
        LmdbBackend::open(directory.path(), 10).unwrap();
    }
}
