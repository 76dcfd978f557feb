//! How large the store is, where it is, and how it is opened.
//!
//! It is one file per boot and format. A boot's end is the end of its sessions, so
//! nothing need ever be flushed to the disk, and a file that a crash of the machine
//! left half written is never read.

#![forbid(unsafe_code)]

use std::path::{Path, PathBuf};

use nix::sys::resource::{Resource, getrlimit};

use super::Host;
use super::environment::{Fault, Place};
use crate::session_cache::backend::Table;
use crate::state_dir;
use crate::state_dir::StoreError;
use crate::state_dir::boot_file::store_name;
use crate::state_dir::trouble;

/// Room for one record with its place in the order of use, in bytes: twice what
/// the longest takes, for LMDB copies pages before it changes them, and leaves
/// them half empty when it splits them.
const ROOM_PER_RECORD: usize = 1_024;

/// Room in any case, in bytes: for the notes, some of which are long.
const SLACK: usize = 32 << 20;

/// So often it is opened if somebody puts another one in its place meanwhile.
const TRIES: usize = 3;

/// The room is in whole pages, however large a system's are.
const GRAIN: usize = 64 << 10;

impl Host {
    /// Opens the store in `directory`, with room for `capacity` sessions. It is made
    /// if it is not there yet, and anew if it is damaged.
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
        let place = Place::to_use(directory, path.clone(), capacity, room - room % GRAIN)?;
        let mut making = None;
        match tried(|| place.open(&mut making)) {
            Err(Fault::Damage(_)) => place.mend(making),
            opened => opened.map_err(|fault| fault.of(&path)),
        }
    }

    /// Opens the store if there is one, to look at it. Nothing is made.
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
            let place = Place::to_look_at(directory, path.clone(), capacity)?;
            match place.is_empty() {
                true => Ok(None),
                false => place.open(&mut None).map(Some),
            }
        };
        tried(look).map_err(|fault| fault.of(&path))
    }
}

/// Opens it again if somebody put another one in its place meanwhile.
fn tried<T>(mut open: impl FnMut() -> Result<T, Fault>) -> Result<T, Fault> {
    for _ in 1..TRIES {
        match open() {
            Err(Fault::Replaced) => {}
            opened => return opened,
        }
    }
    open()
}

/// Writing behind the greatest length of files that a process may have ends it.
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

/// The room for so many sessions, in bytes; at most all that can be counted, which no
/// process has.
fn room(capacity: usize) -> usize {
    let capacities = Table::ALL.map(|table| table.capacity(capacity));
    let records = capacities.iter().sum::<usize>();
    records
        .saturating_mul(ROOM_PER_RECORD)
        .saturating_add(SLACK)
}

/// Whether there is a store of this boot in `directory`: it may have sessions in it.
pub(crate) fn is_there(directory: &Path) -> bool {
    let store = store_path(directory).and_then(|path| {
        std::fs::metadata(&path).map_err(|error| trouble(&path, &error, "make it readable"))
    });
    store.is_ok_and(|store| store.len() > 0)
}

/// Where the store of this boot is.
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
        for room in [usize::MAX / 8 * 7, usize::MAX] {
            let opened = Host::open_with_room(directory.path(), 10, room);
            let trouble = opened.err().unwrap().to_string();
            assert!(trouble.contains("; lower sso_sessions"), "{trouble}");
        }
        // It may be lowered: nothing is left that keeps it from being opened.
        Host::open(directory.path(), 10).unwrap();
    }
}
