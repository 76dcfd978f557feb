//! A small file of counters that processes share through a memory map.
//!
//! The unsafe code of this module concerns the map: other processes change this memory too, but
//! only by atomic operations. The owner and the mode of the directory ensure that nobody else can
//! (`state_dir`).

use std::fs::OpenOptions;
use std::io;
use std::ops::Deref;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use memmap2::MmapRaw;
use nix::fcntl::{AT_FDCWD, OFlag, RenameFlags, renameat2};

use super::boot_file::create_allocated;
use super::check_opened;

/// Counters in a file, all 0 in a new one.
pub(crate) struct SharedCounters {
    map: MmapRaw,
    count: usize,
}

impl SharedCounters {
    /// Opens the file `path` with `count` counters, and creates it if it is missing. It waits for
    /// nobody.
    pub(crate) fn open_or_create(path: &Path, count: usize) -> io::Result<Self> {
        Self::open_or_create_with(path, count, |_| Ok(()))
    }

    /// The same; a new file passes through `initialize` before it gets its name.
    pub(crate) fn open_or_create_with(
        path: &Path,
        count: usize,
        initialize: impl FnOnce(&Self) -> io::Result<()>,
    ) -> io::Result<Self> {
        match Self::open(path, count) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                make(path, count, initialize)?;
                Self::open(path, count)
            }
            opened => opened,
        }
    }

    /// Opens an existing file.
    pub(crate) fn open(path: &Path, count: usize) -> io::Result<Self> {
        // Another user may have left something that is no file there, and opening it must not
        // block.
        let flags = OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK;
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .custom_flags(flags.bits())
            .open(path)?;
        let metadata = file.metadata()?;
        check_opened(&metadata)?;
        if metadata.len() != length(count)? {
            let what = "is not as long as it should be";
            return Err(io::Error::new(io::ErrorKind::InvalidData, what));
        }
        let map = MmapRaw::map_raw(&file)?;
        Ok(Self { map, count })
    }
}

impl Deref for SharedCounters {
    type Target = [AtomicU64];

    fn deref(&self) -> &[AtomicU64] {
        // SAFETY: the map has the length that the file had when it was opened, which is `count`
        // numbers, begins at a page, and lives as long as `self`. All processes change it by atomic
        // operations only. The blocks of the file are allocated from the start, and nobody
        // truncates it.
        unsafe { std::slice::from_raw_parts(self.map.as_mut_ptr().cast(), self.count) }
    }
}

/// The length in bytes.
fn length(count: usize) -> io::Result<u64> {
    u64::try_from(count * size_of::<AtomicU64>()).map_err(io::Error::other)
}

/// Creates the file, complete before it gets its name. If another process creates it meanwhile,
/// that one stays.
fn make(
    path: &Path,
    count: usize,
    initialize: impl FnOnce(&SharedCounters) -> io::Result<()>,
) -> io::Result<()> {
    // The name of the temporary file must be unique: among the threads of a process, and in a
    // namespace, where process numbers are not. Random bytes would take milliseconds in each of the
    // processes that start at once.
    static CREATED: AtomicU64 = AtomicU64::new(0);
    let (pid, made) = (std::process::id(), CREATED.fetch_add(1, Ordering::Relaxed));
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    let name = format!("new-{pid}-{made}-{}", now.as_nanos());
    let unfinished = path.with_extension(name);
    let made = length(count).and_then(|length| {
        create_allocated(&unfinished, length)?;
        initialize(&SharedCounters::open(&unfinished, count)?)?;
        let flags = RenameFlags::RENAME_NOREPLACE;
        match renameat2(AT_FDCWD, &unfinished, AT_FDCWD, path, flags) {
            Ok(()) => Ok(()),
            Err(error) => Err(io::Error::from(error)),
        }
    });
    match made {
        Ok(()) => Ok(()),
        Err(error) => {
            let _ = std::fs::remove_file(&unfinished);
            match error.kind() {
                io::ErrorKind::AlreadyExists => Ok(()),
                _ => Err(error),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::Ordering::Relaxed;

    #[test]
    fn additions_are_seen_by_the_other_process() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("numbers");
        assert!(SharedCounters::open(&path, 10).is_err());
        let one = SharedCounters::open_or_create(&path, 10).unwrap();
        let other = SharedCounters::open_or_create(&path, 10).unwrap();
        assert!(one.iter().all(|number| number.load(Relaxed) == 0));
        one[9].fetch_add(7, Relaxed);
        assert_eq!(other[9].load(Relaxed), 7);
        drop((one, other));
        assert_eq!(SharedCounters::open(&path, 10).unwrap()[9].load(Relaxed), 7);
        let names = std::fs::read_dir(directory.path()).unwrap().count();
        assert_eq!(names, 1);
    }

    #[test]
    fn concurrent_processes_create_one_file() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("numbers");
        make(&path, 10, |_| Ok(())).unwrap();
        SharedCounters::open(&path, 10).unwrap()[0].fetch_add(1, Relaxed);
        make(&path, 10, |_| Ok(())).unwrap();
        assert_eq!(SharedCounters::open(&path, 10).unwrap()[0].load(Relaxed), 1);
    }

    #[test]
    fn concurrent_threads_create_one_file() {
        let directory = tempfile::tempdir().unwrap();
        for round in 0..50 {
            let path = &directory.path().join(format!("numbers-{round}"));
            let start = std::sync::Barrier::new(8);
            let add = || {
                start.wait();
                SharedCounters::open_or_create(path, 10).unwrap()[0].fetch_add(1, Relaxed);
            };
            std::thread::scope(|scope| {
                for _ in 0..8 {
                    scope.spawn(add);
                }
            });
            assert_eq!(SharedCounters::open(path, 10).unwrap()[0].load(Relaxed), 8);
        }
        assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 50);
    }

    #[test]
    fn foreign_file_is_not_opened() {
        let directory = tempfile::tempdir().unwrap();
        let path = |name| directory.path().join(name);
        make(&path("numbers"), 10, |_| Ok(())).unwrap();
        assert!(SharedCounters::open(&path("numbers"), 11).is_err());
        std::os::unix::fs::symlink(path("numbers"), path("link")).unwrap();
        assert!(SharedCounters::open_or_create(&path("link"), 10).is_err());
        nix::unistd::mkfifo(&path("fifo"), nix::sys::stat::Mode::S_IRWXU).unwrap();
        assert!(SharedCounters::open_or_create(&path("fifo"), 10).is_err());
        std::fs::create_dir(path("directory")).unwrap();
        assert!(SharedCounters::open_or_create(&path("directory"), 10).is_err());
        std::fs::hard_link(path("numbers"), path("second")).unwrap();
        assert!(SharedCounters::open_or_create(&path("numbers"), 10).is_err());
    }
}
