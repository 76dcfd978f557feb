//! Locks between processes, which the kernel releases when their holder dies, and for which nobody
//! waits without a deadline.
//!
//! A lock is a byte range of one file, locked by open file description (`F_OFD_SETLK` of fcntl(2)).
//! Each lock has a description of its own, so threads exclude each other as processes do, and
//! closing one file releases no other's lock. No call blocks: a waiter polls.

#![forbid(unsafe_code)]

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::libc;

use crate::session_cache::cache_key::Key;

/// What a lock protects: a byte of the lock file.
#[derive(Clone, Copy)]
pub(crate) enum What<'k> {
    /// The creation of the session cache.
    Creating,
    /// Writing to the session cache.
    Writing,
    /// The validation of a credential. Two credentials share a byte with a probability of 1 in
    /// 2^62, or 1 in 2^30 where offsets have 32 bits; then one waits for the other.
    Validating(&'k Key),
}

impl What<'_> {
    fn byte(self) -> libc::off_t {
        match self {
            Self::Creating => 0,
            Self::Writing => 1,
            Self::Validating(key) => {
                let mut head = [0; size_of::<libc::off_t>()];
                head.copy_from_slice(&key.as_bytes()[..size_of::<libc::off_t>()]);
                (libc::off_t::from_be_bytes(head) & (libc::off_t::MAX >> 1)) | 2
            }
        }
    }
}

/// The lock file.
#[derive(Clone)]
pub(crate) struct Locks(PathBuf);

/// A lock, until it is dropped.
pub(crate) struct Held {
    _file: File,
}

impl Locks {
    pub(crate) fn new(path: PathBuf) -> Self {
        Self(path)
    }

    /// Takes the lock if nobody holds it.
    pub(crate) fn try_lock(&self, what: What<'_>) -> io::Result<Option<Held>> {
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .custom_flags(OFlag::O_NOFOLLOW.bits())
            .open(&self.0)?;
        let range = libc::flock {
            l_type: libc::F_WRLCK as libc::c_short,
            l_whence: libc::SEEK_SET as libc::c_short,
            l_start: what.byte(),
            l_len: 1,
            l_pid: 0,
        };
        match fcntl(&file, FcntlArg::F_OFD_SETLK(&range)) {
            Ok(_) => Ok(Some(Held { _file: file })),
            Err(Errno::EAGAIN | Errno::EACCES) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Takes the lock, polling for at most `patience`.
    pub(crate) fn lock(&self, what: What<'_>, patience: Duration) -> io::Result<Held> {
        let end = Instant::now() + patience;
        let mut pause = Duration::from_micros(20);
        loop {
            if let Some(held) = self.try_lock(what)? {
                return Ok(held);
            }
            if Instant::now() >= end {
                return Err(io::Error::from(io::ErrorKind::TimedOut));
            }
            std::thread::sleep(pause);
            pause = (pause * 2).min(Duration::from_millis(2));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lock_has_one_holder_at_a_time() {
        let directory = tempfile::tempdir().unwrap();
        let locks = Locks::new(directory.path().join("locks"));
        let (one, two) = (Key::of_test(1), Key::of_test(2));
        let held = locks.try_lock(What::Validating(&one)).unwrap();
        assert!(held.is_some());
        assert!(locks.try_lock(What::Validating(&one)).unwrap().is_none());
        assert!(locks.try_lock(What::Validating(&two)).unwrap().is_some());
        assert!(locks.try_lock(What::Writing).unwrap().is_some());
        drop(held);
        assert!(locks.try_lock(What::Validating(&one)).unwrap().is_some());
    }

    #[test]
    fn wait_ends_at_the_deadline() {
        let directory = tempfile::tempdir().unwrap();
        let locks = Locks::new(directory.path().join("locks"));
        let _held = locks.try_lock(What::Writing).unwrap().unwrap();
        let error = locks.lock(What::Writing, Duration::from_millis(20)).err();
        assert_eq!(error.unwrap().kind(), io::ErrorKind::TimedOut);
    }

    #[test]
    fn link_in_place_of_the_file_is_not_followed() {
        let directory = tempfile::tempdir().unwrap();
        let elsewhere = directory.path().join("elsewhere");
        std::os::unix::fs::symlink(&elsewhere, directory.path().join("locks")).unwrap();
        let locks = Locks::new(directory.path().join("locks"));
        assert!(locks.try_lock(What::Writing).is_err());
        assert!(!elsewhere.exists());
    }
}
