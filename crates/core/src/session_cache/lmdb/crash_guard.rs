//! Who ended while he looked into the store.
//!
//! LMDB believes what is in its file. Where that is not what it wrote, it may end the
//! process that looks there, and every one after it that has the same to look up: a
//! client that tries again would end one process after the other, until the host gives
//! the service up. So each says before it looks that it is at it, and afterwards that it
//! is through; who comes next sees whether somebody has not come back.
//!
//! One death means nothing: processes are killed at any moment. But nobody is killed
//! three times running within the same microseconds.

#![forbid(unsafe_code)]

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use nix::errno::Errno;
use nix::sys::signal::kill;
use nix::unistd::Pid;

use crate::session_cache::cache_key::Key;
use crate::state_dir::boot_file::boot_suffix;
use crate::state_dir::shared_memory::Numbers;

/// So many deaths over one key, with nobody coming back in between, are no chance.
const TOO_MANY: u8 = 3;

/// How many keys can be looked up at once and be told from one another.
const PLACES: usize = 4_096;

/// Who is at it, in a place that a key shares with few others.
pub(crate) struct Crashes {
    places: Numbers,
    pid: u32,
}

/// A look into the store; it ends when this is dropped.
pub(crate) struct Inside<'c> {
    place: &'c AtomicU64,
    mark: u64,
}

/// What is in a place.
#[derive(Clone, Copy)]
struct Mark {
    /// Of whom that is, of those who share the place.
    tag: [u8; 3],
    /// How many have not come back before.
    deaths: u8,
    /// Who is at it; 0 is nobody.
    pid: u32,
}

impl Crashes {
    /// Where they are in the state directory.
    pub(crate) fn path(directory: &Path) -> Option<PathBuf> {
        Some(directory.join(format!("crashes-1{}", boot_suffix()?)))
    }

    /// Those of a file, which is made if it is not there. A store can be used without.
    pub(crate) fn open(path: &Path) -> Option<Self> {
        Some(Self {
            places: Numbers::open_or_make(path, PLACES).ok()?,
            pid: std::process::id(),
        })
    }

    /// Begins a look at the record of `key`, or at what is no record.
    ///
    /// # Errors
    /// What is wrong with the store, if too many have not come back.
    pub(crate) fn enter(&self, key: Option<&Key>) -> Result<Option<Inside<'_>>, String> {
        let (place, tag) = key.map_or((0, [0; 3]), place);
        let place = &self.places[place];
        let before = Mark::read(place.load(Ordering::Relaxed));
        let mut deaths = before.deaths;
        if before.pid != 0 && before.pid != self.pid && is_dead(before.pid) {
            deaths = deaths.saturating_add(1);
        }
        if deaths > 0 && before.tag != tag {
            // Only who has the same to look up can tell whether it was chance.
            return Ok(None);
        }
        if deaths >= TOO_MANY {
            let what = "processes ended while they looked into it";
            return Err(format!("is damaged: {deaths} {what}"));
        }
        let pid = self.pid;
        let mark = Mark { tag, deaths, pid }.write();
        place.store(mark, Ordering::Release);
        Ok(Some(Inside { place, mark }))
    }

    /// Forgets everything: the store is another one.
    pub(crate) fn forget(&self) {
        for place in self.places.iter() {
            place.store(0, Ordering::Relaxed);
        }
    }
}

impl Drop for Inside<'_> {
    fn drop(&mut self) {
        let (release, relaxed) = (Ordering::Release, Ordering::Relaxed);
        // Where there is another mark by now, it is for that one to take away.
        let _ = self.place.compare_exchange(self.mark, 0, release, relaxed);
    }
}

impl Mark {
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

/// The place of a key, which is any but the first, and what tells it from others there.
fn place(key: &Key) -> (usize, [u8; 3]) {
    let [high, low, a, b, c, ..] = *key.as_bytes();
    let place = usize::from(u16::from_be_bytes([high, low]));
    (1 + place % (PLACES - 1), [a, b, c])
}

fn is_dead(pid: u32) -> bool {
    i32::try_from(pid).is_ok_and(|pid| kill(Pid::from_raw(pid), None) == Err(Errno::ESRCH))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Greater than any process' number.
    const NOBODY: u32 = 0x3fff_ffff;

    fn ours(directory: &Path) -> Crashes {
        Crashes::open(&Crashes::path(directory).unwrap()).unwrap()
    }

    fn of(directory: &Path, pid: u32) -> Crashes {
        Crashes {
            pid,
            ..ours(directory)
        }
    }

    fn die_inside(directory: &Path, key: &Key, pid: u32) {
        let dead = of(directory, pid);
        std::mem::forget(dead.enter(Some(key)).unwrap());
    }

    #[test]
    fn three_who_do_not_come_back_running_are_damage() {
        let directory = tempfile::tempdir().unwrap();
        let (key, neighbour) = (&Key::of_test(1), Some(&Key::of_test(2)));
        let ours = ours(directory.path());
        for _ in 0..2 * TOO_MANY {
            // Whoever comes back in between undoes what was before.
            assert!(ours.enter(Some(key)).unwrap().is_some());
            die_inside(directory.path(), key, NOBODY);
        }
        assert!(ours.enter(Some(key)).is_ok());
        for pid in [NOBODY, NOBODY - 1, NOBODY - 2] {
            die_inside(directory.path(), key, pid);
            // Others undo nothing.
            assert!(ours.enter(neighbour).unwrap().is_none());
            assert!(ours.enter(None).unwrap().is_some());
        }
        let damage = ours.enter(Some(key)).err().unwrap();
        assert!(damage.contains("3 processes"), "{damage}");
        ours.forget();
        assert!(ours.enter(Some(key)).unwrap().is_some());
    }

    #[test]
    fn who_is_still_at_it_has_not_died() {
        let directory = tempfile::tempdir().unwrap();
        let key = &Key::of_test(1);
        let ours = ours(directory.path());
        for _ in 0..2 * TOO_MANY {
            die_inside(directory.path(), key, 1);
            std::mem::forget(ours.enter(Some(key)).unwrap());
        }
        assert!(ours.enter(Some(key)).is_ok());
    }
}
