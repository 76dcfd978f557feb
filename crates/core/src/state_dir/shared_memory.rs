//! A small file of numbers that processes share through a memory map.
//!
//! The module's unsafe code is about what the map is: memory that others change, and
//! only as we do, by atomic operations. The directory's owner and mode provide that
//! nobody else can (`state_dir`).

use std::fs::OpenOptions;
use std::io;
use std::ops::Deref;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use memmap2::MmapRaw;
use nix::fcntl::{AT_FDCWD, OFlag, RenameFlags, renameat2};

use super::boot_file::make_whole;
use super::check_opened;

/// Numbers in a file, all 0 in a new one.
pub(crate) struct Numbers {
    map: MmapRaw,
    count: usize,
}

impl Numbers {
    /// The `count` numbers of the file `path`, which is made if it is not there.
    /// Nobody is waited for.
    pub(crate) fn open_or_make(path: &Path, count: usize) -> io::Result<Self> {
        Self::open_or_make_with(path, count, |_| Ok(()))
    }

    /// The same; a file that is made goes through `initialize` before it has its name.
    pub(crate) fn open_or_make_with(
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

    /// The same of a file that is there.
    pub(crate) fn open(path: &Path, count: usize) -> io::Result<Self> {
        // What somebody may have left there instead of a file is not to be waited for.
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

impl Deref for Numbers {
    type Target = [AtomicU64];

    fn deref(&self) -> &[AtomicU64] {
        // SAFETY: the map is as long as the file was when it was opened, which is
        // `count` numbers, begins at a page, and lives as long as `self`. Whoever has
        // it mapped changes it by atomic operations alone. The blocks of the file are
        // there from the start, and nobody makes it shorter.
        unsafe { std::slice::from_raw_parts(self.map.as_mut_ptr().cast(), self.count) }
    }
}

/// In bytes.
fn length(count: usize) -> io::Result<u64> {
    u64::try_from(count * size_of::<AtomicU64>()).map_err(io::Error::other)
}

/// Makes the file, whole from the first moment that it goes by its name; if another
/// process makes it meanwhile, that one stays.
fn make(
    path: &Path,
    count: usize,
    initialize: impl FnOnce(&Numbers) -> io::Result<()>,
) -> io::Result<()> {
    // A name for nobody else: a process is not alone with its threads, nor, in a namespace,
    // with its number. Random bytes would take milliseconds, which all of imapd would
    // spend that starts at once.
    static MADE: AtomicU64 = AtomicU64::new(0);
    let (pid, made) = (std::process::id(), MADE.fetch_add(1, Ordering::Relaxed));
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    let name = format!("new-{pid}-{made}-{}", now.as_nanos());
    let unfinished = path.with_extension(name);
    let made = length(count).and_then(|length| {
        make_whole(&unfinished, length)?;
        initialize(&Numbers::open(&unfinished, count)?)?;
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
    fn what_one_adds_the_other_sees() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("numbers");
        assert!(Numbers::open(&path, 10).is_err());
        let one = Numbers::open_or_make(&path, 10).unwrap();
        let other = Numbers::open_or_make(&path, 10).unwrap();
        assert!(one.iter().all(|number| number.load(Relaxed) == 0));
        one[9].fetch_add(7, Relaxed);
        assert_eq!(other[9].load(Relaxed), 7);
        drop((one, other));
        assert_eq!(Numbers::open(&path, 10).unwrap()[9].load(Relaxed), 7);
        let names = std::fs::read_dir(directory.path()).unwrap().count();
        assert_eq!(names, 1);
    }

    #[test]
    fn processes_that_make_it_at_once_have_one() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("numbers");
        make(&path, 10, |_| Ok(())).unwrap();
        Numbers::open(&path, 10).unwrap()[0].fetch_add(1, Relaxed);
        make(&path, 10, |_| Ok(())).unwrap();
        assert_eq!(Numbers::open(&path, 10).unwrap()[0].load(Relaxed), 1);
    }

    #[test]
    fn threads_that_make_it_at_once_have_one() {
        let directory = tempfile::tempdir().unwrap();
        for round in 0..50 {
            let path = &directory.path().join(format!("numbers-{round}"));
            let start = std::sync::Barrier::new(8);
            let add = || {
                start.wait();
                Numbers::open_or_make(path, 10).unwrap()[0].fetch_add(1, Relaxed);
            };
            std::thread::scope(|scope| {
                for _ in 0..8 {
                    scope.spawn(add);
                }
            });
            assert_eq!(Numbers::open(path, 10).unwrap()[0].load(Relaxed), 8);
        }
        assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 50);
    }

    #[test]
    fn what_is_no_file_of_ours_is_not_opened() {
        let directory = tempfile::tempdir().unwrap();
        let path = |name| directory.path().join(name);
        make(&path("numbers"), 10, |_| Ok(())).unwrap();
        assert!(Numbers::open(&path("numbers"), 11).is_err());
        std::os::unix::fs::symlink(path("numbers"), path("link")).unwrap();
        assert!(Numbers::open_or_make(&path("link"), 10).is_err());
        nix::unistd::mkfifo(&path("fifo"), nix::sys::stat::Mode::S_IRWXU).unwrap();
        assert!(Numbers::open_or_make(&path("fifo"), 10).is_err());
        std::fs::create_dir(path("directory")).unwrap();
        assert!(Numbers::open_or_make(&path("directory"), 10).is_err());
        std::fs::hard_link(path("numbers"), path("second")).unwrap();
        assert!(Numbers::open_or_make(&path("numbers"), 10).is_err());
    }
}
