//! Counts processes that ended while they read the session cache.
//!
//! LMDB trusts the contents of its file. A corrupt file may end the process that reads it, and each
//! later process that reads the same record: a client that retries would end one process after the
//! other, until the host stops the service. So each process records the beginning and the end of a
//! read, and the next reader sees whether an earlier one has not finished.
//!
//! One death proves nothing, because processes are killed at any moment. But nobody is killed three
//! times in a row within the same microseconds.

#![forbid(unsafe_code)]

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use nix::errno::Errno;
use nix::sys::signal::kill;
use nix::unistd::Pid;

use crate::session_cache::cache_key::Key;
use crate::state_dir::boot_file::boot_suffix;
use crate::state_dir::shared_memory::SharedCounters;

/// The number of consecutive deaths with one key that count as corruption.
const CORRUPTION_THRESHOLD: u8 = 3;

/// The number of slots: so many keys can be distinguished while they are read.
const MAX_SLOTS: usize = 4_096;

/// The readers, each in a slot that its key shares with few others.
pub(crate) struct CrashGuard {
    places: SharedCounters,
    pid: u32,
}

/// A read of the cache, until it is dropped.
pub(crate) struct ReadGuard<'c> {
    place: &'c AtomicU64,
    mark: u64,
}

/// The contents of a slot.
#[derive(Clone, Copy)]
struct Slot {
    /// Distinguishes the keys that share the slot.
    tag: [u8; 3],
    /// The number of earlier readers that have not finished.
    deaths: u8,
    /// The process that reads; 0 means none.
    pid: u32,
}

impl CrashGuard {
    /// The path of the file in the state directory.
    pub(crate) fn path(directory: &Path) -> Option<PathBuf> {
        Some(directory.join(format!("crashes-1{}", boot_suffix()?)))
    }

    /// Opens the file, and creates it if it is missing. The cache can be used without it.
    pub(crate) fn open(path: &Path) -> Option<Self> {
        Some(Self {
            places: SharedCounters::open_or_create(path, MAX_SLOTS).ok()?,
            pid: std::process::id(),
        })
    }

    /// Begins a read of the record of `key`, or of something that is no record.
    ///
    /// # Errors
    /// Too many readers have not finished: the cache is corrupt.
    pub(crate) fn enter(&self, key: Option<&Key>) -> Result<Option<ReadGuard<'_>>, String> {
        let (place, tag) = key.map_or((0, [0; 3]), place);
        let place = &self.places[place];
        let before = Slot::read(place.load(Ordering::Relaxed));
        let mut deaths = before.deaths;
        if before.pid != 0 && before.pid != self.pid && is_dead(before.pid) {
            deaths = deaths.saturating_add(1);
        }
        if deaths > 0 && before.tag != tag {
            // Only a reader of the same key can tell whether the death was a coincidence.
            return Ok(None);
        }
        if deaths >= CORRUPTION_THRESHOLD {
            let what = "processes ended while they looked into it";
            return Err(format!("is damaged: {deaths} {what}"));
        }
        let pid = self.pid;
        let mark = Slot { tag, deaths, pid }.write();
        place.store(mark, Ordering::Release);
        Ok(Some(ReadGuard { place, mark }))
    }

    /// Clears all slots: the cache was replaced.
    pub(crate) fn forget(&self) {
        for place in self.places.iter() {
            place.store(0, Ordering::Relaxed);
        }
    }
}

impl Drop for ReadGuard<'_> {
    fn drop(&mut self) {
        let (release, relaxed) = (Ordering::Release, Ordering::Relaxed);
        // Another reader has taken the slot, and clears it.
        let _ = self.place.compare_exchange(self.mark, 0, release, relaxed);
    }
}

impl Slot {
    fn read(number: u64) -> Self {
        let [a, b, c, deaths, pid @ ..] = number.to_be_bytes();
        Self {
            tag: [a, b, c],
            deaths,
            pid: u32::from_be_bytes(pid),
        }
    }

    fn write(self) -> u64 {
        let ([a, b, c], [d, e, f, g]) = (self.tag, self.pid.to_be_bytes());
        u64::from_be_bytes([a, b, c, self.deaths, d, e, f, g])
    }
}

/// The slot of a key, which is never the first one, and the tag of the key in it.
fn place(key: &Key) -> (usize, [u8; 3]) {
    let [high, low, a, b, c, ..] = *key.as_bytes();
    let place = usize::from(u16::from_be_bytes([high, low]));
    (1 + place % (MAX_SLOTS - 1), [a, b, c])
}

fn is_dead(pid: u32) -> bool {
    i32::try_from(pid).is_ok_and(|pid| kill(Pid::from_raw(pid), None) == Err(Errno::ESRCH))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Larger than any process number.
    const UNUSED_PID: u32 = 0x3fff_ffff;

    fn ours(directory: &Path) -> CrashGuard {
        CrashGuard::open(&CrashGuard::path(directory).unwrap()).unwrap()
    }

    fn of(directory: &Path, pid: u32) -> CrashGuard {
        CrashGuard {
            pid,
            ..ours(directory)
        }
    }

    fn die_inside(directory: &Path, key: &Key, pid: u32) {
        let dead = of(directory, pid);
        std::mem::forget(dead.enter(Some(key)).unwrap());
    }

    #[test]
    fn three_consecutive_deaths_are_corruption() {
        let directory = tempfile::tempdir().unwrap();
        let (key, neighbour) = (&Key::of_test(1), Some(&Key::of_test(2)));
        let ours = ours(directory.path());
        for _ in 0..2 * CORRUPTION_THRESHOLD {
            // A reader that finishes clears the count.
            assert!(ours.enter(Some(key)).unwrap().is_some());
            die_inside(directory.path(), key, UNUSED_PID);
        }
        assert!(ours.enter(Some(key)).is_ok());
        for pid in [UNUSED_PID, UNUSED_PID - 1, UNUSED_PID - 2] {
            die_inside(directory.path(), key, pid);
            // Readers of other keys do not.
            assert!(ours.enter(neighbour).unwrap().is_none());
            assert!(ours.enter(None).unwrap().is_some());
        }
        let damage = ours.enter(Some(key)).err().unwrap();
        assert!(damage.contains("3 processes"), "{damage}");
        ours.forget();
        assert!(ours.enter(Some(key)).unwrap().is_some());
    }

    #[test]
    fn running_reader_does_not_count_as_dead() {
        let directory = tempfile::tempdir().unwrap();
        let key = &Key::of_test(1);
        let ours = ours(directory.path());
        for _ in 0..2 * CORRUPTION_THRESHOLD {
            die_inside(directory.path(), key, 1);
            std::mem::forget(ours.enter(Some(key)).unwrap());
        }
        assert!(ours.enter(Some(key)).is_ok());
    }
}
