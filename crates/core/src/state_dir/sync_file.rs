//! The memory by which the processes of the host wait for each other: two locks, and counters that
//! are incremented when a validation lock is released.
//!
//! The locks are robust, process-shared mutexes (pthread_mutexattr_setrobust(3)). Without
//! contention they need no system call. The kernel releases a mutex whose owner has ended, at any
//! instruction and even if its process number is in use again. Each wait has a deadline on the
//! monotonic clock, because a process that was stopped (SIGSTOP) keeps its locks.
//!
//! The counters are futexes (futex(2)). A waiter reads a counter before it checks its condition, so
//! that it misses no release in between. A holder that is killed increments nothing, so a waiter
//! also polls from time to time.
//!
//! The unsafe code of this module concerns these mutexes and futexes in a map that other processes
//! share. The owner and the mode of the directory ensure that nobody else writes to it
//! (`state_dir`).

use std::io;
use std::marker::PhantomData;
use std::mem::MaybeUninit;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use nix::libc;
use nix::time::{ClockId, clock_gettime};

use super::boot_file::boot_suffix;
use super::shared_memory::SharedCounters;
use crate::session_cache::cache_key::Key;

/// The room for one mutex, in numbers of the file: one cache line.
const NUMBERS_PER_MUTEX: usize = 8;

/// The number of counters. Keys that share one wake each other's waiters, which check and go on
/// waiting.
const RELEASE_COUNTERS: usize = 1_024;

const LENGTH: usize = LOCKS.len() * NUMBERS_PER_MUTEX + RELEASE_COUNTERS;

/// After a wait that ended at its deadline, this process waits only briefly for the same lock for
/// this long: later steps of a login must not wait as long each time.
const BRIEF_WAITS_AFTER_TIMEOUT: Duration = Duration::from_secs(1);

/// The brief wait: many times as long as a running process holds a lock.
const BRIEF_WAIT: Duration = Duration::from_millis(100);

const _: () =
    assert!(size_of::<libc::pthread_mutex_t>() <= NUMBERS_PER_MUTEX * size_of::<AtomicU64>());
const _: () = assert!(align_of::<libc::pthread_mutex_t>() <= align_of::<AtomicU64>());

/// A lock of the file.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Lock {
    /// Protects LMDB's own lock on its reader slots, which has no deadline.
    Readers,
    /// Protects the opening of the cache: LMDB waits without a deadline for another process that
    /// opens it.
    Opening,
}

const LOCKS: [Lock; 2] = [Lock::Readers, Lock::Opening];

/// The file, as this process has mapped it.
pub(crate) struct SyncFile {
    numbers: SharedCounters,
    path: PathBuf,
    created: Instant,
    /// For each lock, until when it is waited for only briefly, in milliseconds since `created`.
    brief_waits_until: [AtomicU64; LOCKS.len()],
}

/// A lock that is held, until it is dropped by the same thread.
pub(crate) struct Guard<'s> {
    mutex: *mut libc::pthread_mutex_t,
    file: PhantomData<&'s SyncFile>,
}

unsafe extern "C" {
    // glibc 2.30 (2019); POSIX.1-2024.
    fn pthread_mutex_clocklock(
        mutex: *mut libc::pthread_mutex_t,
        clock: libc::clockid_t,
        end: *const libc::timespec,
    ) -> libc::c_int;
}

impl SyncFile {
    /// The path of the file in the state directory; `None` if the boot cannot be identified.
    pub(crate) fn path(directory: &Path) -> Option<PathBuf> {
        Some(directory.join(format!("sync-1{}", boot_suffix()?)))
    }

    /// Maps the file `path`. It is created if it is missing and `creates` is true.
    pub(crate) fn open(path: &Path, creates: bool) -> io::Result<Self> {
        let numbers = match creates {
            true => SharedCounters::open_or_create_with(path, LENGTH, initialize)?,
            false => SharedCounters::open(path, LENGTH)?,
        };
        Ok(Self {
            numbers,
            path: path.to_owned(),
            created: Instant::now(),
            brief_waits_until: LOCKS.map(|_| AtomicU64::new(0)),
        })
    }

    /// The path by which the file was opened.
    pub(crate) fn name(&self) -> &Path {
        &self.path
    }

    /// Takes a lock, waiting for at most `patience`.
    ///
    /// # Errors
    /// [`io::ErrorKind::TimedOut`], or another kind if the file contains no lock.
    pub(crate) fn lock(&self, lock: Lock, patience: Duration) -> io::Result<Guard<'_>> {
        let mutex = mutex(&self.numbers, lock);
        // SAFETY: `mutex` was initialized before the file got its name, and is mapped as long as
        // `self` lives.
        let mut result = unsafe { libc::pthread_mutex_trylock(mutex) };
        if result == libc::EBUSY {
            result = self.wait(lock, mutex, patience)?;
        }
        match result {
            0 => {}
            // The last owner has ended. The locks protect data of LMDB, which checks their state
            // itself.
            libc::EOWNERDEAD => {
                // SAFETY: this thread owns the mutex, which is in that state.
                unsafe { libc::pthread_mutex_consistent(mutex) };
            }
            error => return Err(io::Error::from_raw_os_error(error)),
        }
        let file = PhantomData;
        Ok(Guard { mutex, file })
    }

    fn wait(
        &self,
        lock: Lock,
        mutex: *mut libc::pthread_mutex_t,
        patience: Duration,
    ) -> io::Result<libc::c_int> {
        let brief_waits_until = &self.brief_waits_until[lock as usize];
        let is_impatient =
            millis(self.created.elapsed()) < brief_waits_until.load(Ordering::Relaxed);
        let patience = match is_impatient {
            true => patience.min(BRIEF_WAIT),
            false => patience,
        };
        let end = clock_gettime(ClockId::CLOCK_MONOTONIC)? + patience.into();
        let clock = ClockId::CLOCK_MONOTONIC.as_raw();
        // SAFETY: as in `lock`; `end` lives until the call returns.
        match unsafe { pthread_mutex_clocklock(mutex, clock, end.as_ref()) } {
            libc::ETIMEDOUT => {
                if patience > BRIEF_WAIT {
                    let until = self.created.elapsed() + BRIEF_WAITS_AFTER_TIMEOUT;
                    brief_waits_until.store(millis(until), Ordering::Relaxed);
                }
                Err(io::Error::from(io::ErrorKind::TimedOut))
            }
            result => {
                brief_waits_until.store(0, Ordering::Relaxed);
                Ok(result)
            }
        }
    }

    /// The counter of the releases of the validation lock of `key`.
    pub(crate) fn releases(&self, key: &Key) -> &AtomicU32 {
        let [high, low, ..] = *key.as_bytes();
        let place = usize::from(u16::from_be_bytes([high, low])) % RELEASE_COUNTERS;
        let number = &self.numbers[LOCKS.len() * NUMBERS_PER_MUTEX + place];
        // SAFETY: the counter is the first half of a number that is never used as a whole. It is
        // aligned as the number is, and mapped as long as `self` lives.
        unsafe { AtomicU32::from_ptr(number.as_ptr().cast()) }
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

fn mutex(numbers: &SharedCounters, lock: Lock) -> *mut libc::pthread_mutex_t {
    numbers[lock as usize * NUMBERS_PER_MUTEX].as_ptr().cast()
}

/// Initializes the locks, in a file of zeros that no other process has yet.
fn initialize(numbers: &SharedCounters) -> io::Result<()> {
    let check = |result| match result {
        0 => Ok(()),
        error => Err(io::Error::from_raw_os_error(error)),
    };
    let mut attributes = MaybeUninit::uninit();
    // SAFETY: the first call initializes the attributes. The mutexes are memory of their size (see
    // above) that nobody else uses yet.
    unsafe {
        check(libc::pthread_mutexattr_init(attributes.as_mut_ptr()))?;
        let attributes = attributes.as_mut_ptr();
        let shared = libc::PTHREAD_PROCESS_SHARED;
        check(libc::pthread_mutexattr_setpshared(attributes, shared))?;
        let robust = libc::PTHREAD_MUTEX_ROBUST;
        check(libc::pthread_mutexattr_setrobust(attributes, robust))?;
        for lock in LOCKS {
            check(libc::pthread_mutex_init(mutex(numbers, lock), attributes))?;
        }
        check(libc::pthread_mutexattr_destroy(attributes))
    }
}

impl Drop for Guard<'_> {
    fn drop(&mut self) {
        // SAFETY: this thread locked the mutex: a guard contains a pointer, and so stays in its
        // thread.
        unsafe { libc::pthread_mutex_unlock(self.mutex) };
    }
}

/// Increments a counter of releases, and wakes all waiters.
pub(crate) fn wake_waiters(counter: &AtomicU32) {
    counter.fetch_add(1, Ordering::Release);
    // SAFETY: FUTEX_WAKE reads no memory. The address is that of a live counter.
    unsafe {
        libc::syscall(
            libc::SYS_futex,
            counter.as_ptr(),
            libc::FUTEX_WAKE,
            i32::MAX,
        )
    };
}

/// Waits until a counter differs from `seen`, for `patience`, or until a signal is handled.
/// Spurious wake-ups are possible.
pub(crate) fn wait_while(counter: &AtomicU32, seen: u32, patience: Duration) {
    let patience = nix::sys::time::TimeSpec::from(patience);
    // SAFETY: FUTEX_WAIT reads the counter and `patience`, which live until it returns.
    unsafe {
        libc::syscall(
            libc::SYS_futex,
            counter.as_ptr(),
            libc::FUTEX_WAIT,
            seen,
            std::ptr::from_ref(patience.as_ref()),
        )
    };
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Barrier;

    const SHORT: Duration = Duration::from_millis(20);
    const LONG_ENOUGH: Duration = Duration::from_millis(150);
    const LONG: Duration = Duration::from_secs(60);

    fn open(directory: &Path) -> SyncFile {
        SyncFile::open(&SyncFile::path(directory).unwrap(), true).unwrap()
    }

    #[test]
    fn lock_has_one_owner_and_waits_have_a_deadline() {
        let directory = tempfile::tempdir().unwrap();
        let (one, other) = (open(directory.path()), open(directory.path()));
        let held = one.lock(Lock::Readers, SHORT).unwrap();
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let error = other.lock(Lock::Readers, LONG_ENOUGH).err().unwrap();
                assert_eq!(error.kind(), io::ErrorKind::TimedOut);
                assert!(other.lock(Lock::Opening, SHORT).is_ok());
                // The next wait is brief.
                let start = Instant::now();
                assert!(other.lock(Lock::Readers, LONG).is_err());
                assert!(start.elapsed() < LONG);
            });
        });
        drop(held);
        assert!(other.lock(Lock::Readers, SHORT).is_ok());
    }

    #[test]
    fn lock_of_a_killed_owner_is_released() {
        use nix::sys::signal::{Signal, raise};
        let directory = tempfile::tempdir().unwrap();
        if let Ok(state) = std::env::var("SSO_TEST_LOCK_AND_DIE") {
            let file = open(Path::new(&state));
            let _held = LOCKS.map(|lock| file.lock(lock, SHORT).unwrap());
            raise(Signal::SIGKILL).unwrap();
        }
        let file = open(directory.path());
        for _ in 0..3 {
            let output = std::process::Command::new(std::env::current_exe().unwrap())
                .arg("lock_of_a_killed_owner_is_released")
                .env("SSO_TEST_LOCK_AND_DIE", directory.path())
                .output()
                .unwrap();
            assert!(!output.status.success(), "{output:?}");
            for lock in LOCKS {
                assert!(file.lock(lock, Duration::ZERO).is_ok(), "{lock:?}");
                assert!(file.lock(lock, Duration::ZERO).is_ok(), "{lock:?}");
            }
        }
    }

    #[test]
    fn waiter_is_woken_by_each_release() {
        let directory = tempfile::tempdir().unwrap();
        let (one, other) = (open(directory.path()), open(directory.path()));
        let key = Key::of_test(1);
        let seen = other.releases(&key).load(Ordering::Acquire);
        wake_waiters(one.releases(&key));
        // The release happened before the wait.
        wait_while(other.releases(&key), seen, LONG);
        let start = Barrier::new(2);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let counter = other.releases(&key);
                let seen = counter.load(Ordering::Acquire);
                start.wait();
                while counter.load(Ordering::Acquire) == seen {
                    wait_while(counter, seen, LONG);
                }
            });
            start.wait();
            std::thread::sleep(SHORT);
            wake_waiters(one.releases(&key));
        });
    }

    #[test]
    fn file_without_mutexes_is_not_locked() {
        let directory = tempfile::tempdir().unwrap();
        let path = SyncFile::path(directory.path()).unwrap();
        assert!(SyncFile::open(&path, false).is_err());
        assert!(!path.exists());
        drop(open(directory.path()));
        assert!(SyncFile::open(&path, false).is_ok());
        std::fs::write(&path, "short").unwrap();
        assert!(SyncFile::open(&path, true).is_err());
    }
}
