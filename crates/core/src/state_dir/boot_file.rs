//! The files of one boot: their names, their allocation, and the removal of those of earlier boots.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::Path;

use nix::fcntl::posix_fallocate;
use nix::libc;

/// The version of the cache's file format. Another version has another file name.
const FORMAT: u32 = 6;

/// The name of the cache's file for this format and this boot.
pub(crate) fn store_name() -> Option<String> {
    Some(format!("sessions-{FORMAT}{}.mdb", boot_suffix()?))
}

/// The suffix of file names that identifies the boot; `None` if the boot cannot be identified:
/// files of an earlier boot must never be read.
pub(crate) fn boot_suffix() -> Option<String> {
    let boot = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
    let boot: String = boot
        .chars()
        .filter(char::is_ascii_hexdigit)
        .take(12)
        .collect();
    (boot.len() == 12).then(|| format!("-{boot}"))
}

/// Creates a file for this user only, filled with zeros, with all its blocks allocated. It will be
/// mapped: on a file system that is full later, touching memory without a block would end the
/// process (SIGBUS).
pub(crate) fn create_allocated(path: &Path, length: u64) -> io::Result<()> {
    let file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)?;
    let length = length.try_into().map_err(io::Error::other)?;
    posix_fallocate(&file, 0, length).map_err(|error| {
        let _ = std::fs::remove_file(path);
        error.into()
    })
}

/// The length of LMDB's lock file for `readers`, in bytes: each reader has a cache line, after two
/// lines (`MDB_txninfo` in mdb.c). If it must be longer, LMDB appends the rest, which is on the
/// last page.
pub(crate) fn lock_file_length(readers: u32) -> u64 {
    const LINE: u64 = 64;
    (u64::from(readers) + 2) * LINE
}

/// The pages that the file should have according to LMDB.
pub(crate) struct Pages {
    /// The size of a page, in bytes.
    pub(crate) size: u64,
    pub(crate) count: u64,
}

impl Pages {
    /// The number of pages that are checked.
    const MAX_CHECKED_PAGES: u64 = 256;

    /// Requires that the file has the length that it claims, and that its pages are LMDB's. LMDB
    /// trusts what it reads: a page of something else could end the process.
    ///
    /// Each page begins with its own number, as wide as a pointer (`MDB_page` in mdb.c), except
    /// pages that were never written and the two meta pages, which LMDB checks itself. In a large
    /// file, pages at equal distances are checked.
    pub(crate) fn check(&self, path: &Path) -> io::Result<()> {
        let wrong = |what: String| Err(io::Error::new(io::ErrorKind::InvalidData, what));
        let file = File::open(path)?;
        let length = file.metadata()?.len();
        if self
            .size
            .checked_mul(self.count)
            .is_none_or(|said| said > length)
        {
            return wrong("is shorter than it says".to_owned());
        }
        let stride = self.count.div_ceil(Self::MAX_CHECKED_PAGES).max(1);
        let sample = (2..self.count).step_by(usize::try_from(stride).unwrap_or(usize::MAX));
        for number in sample.chain(self.count.checked_sub(1).filter(|last| *last >= 2)) {
            let mut head = [0; size_of::<usize>()];
            file.read_exact_at(&mut head, number * self.size)?;
            let found = usize::from_ne_bytes(head) as u64;
            if found != number && found != 0 {
                return wrong(format!("is damaged at page {number}"));
            }
        }
        Ok(())
    }
}

/// The device and inode of a file, which distinguish it from any other with the same path.
pub(crate) fn identity(path: &Path) -> io::Result<(u64, u64)> {
    let metadata = std::fs::metadata(path)?;
    Ok((metadata.dev(), metadata.ino()))
}

/// Sets the close-on-exec flag of LMDB's data file, the only file that LMDB opens without it:
/// otherwise it would stay open in the programs that the host starts.
pub(crate) fn close_on_exec(path: &Path) -> io::Result<()> {
    let ours = identity(path)?;
    for entry in std::fs::read_dir("/proc/self/fd")? {
        let entry = entry?;
        let number = entry.file_name().to_string_lossy().parse::<libc::c_int>();
        let (Ok(number), Ok(open)) = (number, identity(&entry.path())) else {
            continue;
        };
        if open == ours {
            // SAFETY: the flag changes nothing in this process. The number belongs to this file,
            // which only this cache opens.
            unsafe { libc::fcntl(number, libc::F_SETFD, libc::FD_CLOEXEC) };
        }
    }
    Ok(())
}

/// Removes files of earlier boots, of any format. Failures are ignored.
pub(crate) fn remove_other_boots(directory: &Path) {
    let Some(boot) = boot_suffix() else {
        return;
    };
    let Ok(entries) = std::fs::read_dir(directory) else {
        return;
    };
    for entry in entries.flatten() {
        let name = entry.file_name();
        let name = name.to_string_lossy();
        let is_of_boot = name.contains(&boot);
        let is_store = name.starts_with("sessions-") && name.contains(".mdb");
        let is_beside = ["counters-", "crashes-", "sync-"]
            .iter()
            .any(|prefix| name.starts_with(prefix));
        if !is_of_boot && (is_store || is_beside) {
            let _ = std::fs::remove_file(entry.path());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn created_file_has_all_its_blocks() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("file");
        create_allocated(&path, 1 << 20).unwrap();
        let metadata = std::fs::metadata(path).unwrap();
        assert_eq!(metadata.len(), 1 << 20);
        assert!(metadata.blocks() * 512 >= metadata.len());
    }

    #[test]
    fn created_file_replaces_no_other() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("file");
        create_allocated(&path, 100).unwrap();
        let error = create_allocated(&path, 100).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::AlreadyExists);
        assert_eq!(std::fs::read(&path).unwrap(), [0; 100]);
    }
}
