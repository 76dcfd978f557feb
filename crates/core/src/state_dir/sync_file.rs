//! The memory by which the processes of the host wait for one another: two locks, and
//! counters that are incremented when the lock on a validation is released.
//!
//! The locks are robust, process-shared mutexes (pthread_mutexattr_setrobust(3)). Without
//! contention they take no system call; the kernel releases one whose owner has ended, at
//! whatever instruction that was and whoever has its process number since; and each wait
//! has an end, because a process that was stopped (SIGSTOP) keeps what it has locked.
//! Their waits are measured by the monotonic clock.
//!
//! The counters are futexes (futex(2)). A waiter reads a counter before it looks whether
//! there is anything to wait for, so that no release in between is missed. A holder that
//! is killed increments nothing: a waiter looks again by itself from time to time.
//!
//! The module's unsafe code is about these mutexes and futexes in a map that other
//! processes have, too. The directory's owner and mode provide that nobody else writes to
//! it (`state_dir`).

use std::io;
use std::marker::PhantomData;
use std::mem::MaybeUninit;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use nix::libc;
use nix::time::{ClockId, clock_gettime};

use super::boot_file::boot_suffix;
use super::shared_memory::Numbers;
use crate::session_cache::cache_key::Key;

/// Room for one mutex, in numbers of the file: one cache line.
const LINE: usize = 8;

/// How many counters there are. Keys that share one wake each other's waiters, which look
/// again and go on waiting.
const COUNTERS: usize = 1_024;

const LENGTH: usize = LOCKS.len() * LINE + COUNTERS;

/// For so long after a wait that came to its end, this process waits for the same lock only
/// shortly: what a login does after its first wait must not wait as long each time.
const IMPATIENT_AFTER_TIMEOUT: Duration = Duration::from_secs(1);

/// How long that is: many times as long as a process that runs holds a lock.
const SHORT_PATIENCE: Duration = Duration::from_millis(100);

const _: () = assert!(size_of::<libc::pthread_mutex_t>() <= LINE * size_of::<AtomicU64>());
const _: () = assert!(align_of::<libc::pthread_mutex_t>() <= align_of::<AtomicU64>());

/// A lock of the file.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Lock {
    /// Taken before anything that takes LMDB's own lock on its reader slots, which has no
    /// time-out.
    Readers,
    /// Taken before the store is opened: LMDB waits without a time-out for another process
    /// that is opening it.
    Opening,
}

const LOCKS: [Lock; 2] = [Lock::Readers, Lock::Opening];

/// The file, as this process has it mapped.
pub(crate) struct SyncFile {
    numbers: Numbers,
    path: PathBuf,
    created: Instant,
    /// For each lock, until when it is waited for only shortly, in milliseconds since
    /// `created`.
    impatient_until: [AtomicU64; LOCKS.len()],
}

/// A lock that is held; it is released when this is dropped, by the same thread.
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
    /// Where it is in the state directory; `None` if the boot cannot be told from others.
    pub(crate) fn path(directory: &Path) -> Option<PathBuf> {
        Some(directory.join(format!("sync-1{}", boot_suffix()?)))
    }

    /// Maps the file `path`, which is made if it is not there and `makes` says so.
    pub(crate) fn open(path: &Path, makes: bool) -> io::Result<Self> {
        let numbers = match makes {
            true => Numbers::open_or_make_with(path, LENGTH, initialize)?,
            false => Numbers::open(path, LENGTH)?,
        };
        Ok(Self {
            numbers,
            path: path.to_owned(),
            created: Instant::now(),
            impatient_until: LOCKS.map(|_| AtomicU64::new(0)),
        })
    }

    /// The name by which it was opened.
    pub(crate) fn name(&self) -> &Path {
        &self.path
    }

    /// Takes a lock, waiting for at most `patience`.
    ///
    /// # Errors
    /// [`io::ErrorKind::TimedOut`], or another kind if what is in the file is no lock.
    pub(crate) fn lock(&self, lock: Lock, patience: Duration) -> io::Result<Guard<'_>> {
        let mutex = mutex(&self.numbers, lock);
        // SAFETY: `mutex` was initialized before the file had its name, and is mapped as
        // long as `self` lives.
        let mut result = unsafe { libc::pthread_mutex_trylock(mutex) };
        if result == libc::EBUSY {
            result = self.wait(lock, mutex, patience)?;
        }
        match result {
            0 => {}
            // The last owner has ended. What the locks protect is LMDB's, which looks for
            // itself what state it is in.
            libc::EOWNERDEAD => {
                // SAFETY: this thread owns the mutex, and it is in that state.
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
        let impatient_until = &self.impatient_until[lock as usize];
        let is_impatient = millis(self.created.elapsed()) < impatient_until.load(Ordering::Relaxed);
        let patience = match is_impatient {
            true => patience.min(SHORT_PATIENCE),
            false => patience,
        };
        let end = clock_gettime(ClockId::CLOCK_MONOTONIC)? + patience.into();
        let clock = ClockId::CLOCK_MONOTONIC.as_raw();
        // SAFETY: as in `lock`; `end` lives until the call returns.
        match unsafe { pthread_mutex_clocklock(mutex, clock, end.as_ref()) } {
            libc::ETIMEDOUT => {
                if patience > SHORT_PATIENCE {
                    let until = self.created.elapsed() + IMPATIENT_AFTER_TIMEOUT;
                    impatient_until.store(millis(until), Ordering::Relaxed);
                }
                Err(io::Error::from(io::ErrorKind::TimedOut))
            }
            result => {
                impatient_until.store(0, Ordering::Relaxed);
                Ok(result)
            }
        }
    }

    /// The counter of the releases of the lock on the validation of `key`.
    pub(crate) fn releases(&self, key: &Key) -> &AtomicU32 {
        let [high, low, ..] = *key.as_bytes();
        let place = usize::from(u16::from_be_bytes([high, low])) % COUNTERS;
        let number = &self.numbers[LOCKS.len() * LINE + place];
        // SAFETY: the first half of a number that is never used as a whole, aligned as the
        // number is, and mapped as long as `self` lives.
        unsafe { AtomicU32::from_ptr(number.as_ptr().cast()) }
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

fn mutex(numbers: &Numbers, lock: Lock) -> *mut libc::pthread_mutex_t {
    numbers[lock as usize * LINE].as_ptr().cast()
}

/// Makes locks of zeros, in a file that nobody else has yet.
fn initialize(numbers: &Numbers) -> io::Result<()> {
    let check = |result| match result {
        0 => Ok(()),
        error => Err(io::Error::from_raw_os_error(error)),
    };
    let mut attributes = MaybeUninit::uninit();
    // SAFETY: the attributes are initialized by the first call, and the mutexes are memory
    // of their size (see above) that nobody else uses yet.
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
        // SAFETY: this thread took the mutex: a guard has a pointer, and so stays in it.
        unsafe { libc::pthread_mutex_unlock(self.mutex) };
    }
}

/// Increments a counter of releases, and wakes all who wait for that.
pub(crate) fn announce(counter: &AtomicU32) {
    counter.fetch_add(1, Ordering::Release);
    // SAFETY: FUTEX_WAKE reads no memory; the address is that of a counter that lives.
    unsafe {
        libc::syscall(
            libc::SYS_futex,
            counter.as_ptr(),
            libc::FUTEX_WAKE,
            i32::MAX,
        )
    };
}

/// Waits until a counter is another than `seen`, for `patience`, or until a signal is
/// handled; it may also end without a cause.
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
    fn a_lock_has_one_owner_and_a_wait_for_it_has_an_end() {
        let directory = tempfile::tempdir().unwrap();
        let (one, other) = (open(directory.path()), open(directory.path()));
        let held = one.lock(Lock::Readers, SHORT).unwrap();
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let error = other.lock(Lock::Readers, LONG_ENOUGH).err().unwrap();
                assert_eq!(error.kind(), io::ErrorKind::TimedOut);
                assert!(other.lock(Lock::Opening, SHORT).is_ok());
                // The next one waits only shortly.
                let start = Instant::now();
                assert!(other.lock(Lock::Readers, LONG).is_err());
                assert!(start.elapsed() < LONG);
            });
        });
        drop(held);
        assert!(other.lock(Lock::Readers, SHORT).is_ok());
    }

    #[test]
    fn a_lock_whose_owner_was_killed_is_free() {
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
                .arg("a_lock_whose_owner_was_killed")
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
    fn a_waiter_is_woken_by_a_release_and_misses_none() {
        let directory = tempfile::tempdir().unwrap();
        let (one, other) = (open(directory.path()), open(directory.path()));
        let key = Key::of_test(1);
        let seen = other.releases(&key).load(Ordering::Acquire);
        announce(one.releases(&key));
        // It was released before the wait.
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
            announce(one.releases(&key));
        });
    }

    #[test]
    fn what_is_no_sync_file_is_not_locked() {
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
