//! The file of the store: its name, its leftovers, its descriptor.

use std::fs::File;
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::Path;

use nix::libc;

/// The number of the format of the file. Another number is another file.
const FORMAT: u32 = 5;

/// The name of the store of this format and this boot.
pub(super) fn store_name() -> Option<String> {
    Some(format!("sessions-{FORMAT}{}.mdb", boot_suffix()?))
}

/// What stands for the boot in the names of files. `None` if it cannot be told from
/// others: what is left of an earlier one must never be read.
pub(super) fn boot_suffix() -> Option<String> {
    let boot = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
    let boot: String = boot
        .chars()
        .filter(char::is_ascii_hexdigit)
        .take(12)
        .collect();
    (boot.len() == 12).then(|| format!("-{boot}"))
}

/// The pages that LMDB says are in the file.
pub(super) struct Pages {
    /// In bytes.
    pub(super) size: u64,
    pub(super) count: u64,
}

impl Pages {
    /// How many pages are looked at.
    const SAMPLE: u64 = 256;

    /// Makes sure that the file is as long as it says, and that its pages are
    /// LMDB's. LMDB believes what it reads: a page of something else could end
    /// the process.
    ///
    /// Each page begins with its own number (`MDB_page` in mdb.c), but for one
    /// that was never written and the two that describe the store, which LMDB
    /// looks at itself. Of a large file, pages at equal distances are taken.
    pub(super) fn check(&self, path: &Path) -> io::Result<()> {
        let wrong = |what: String| Err(io::Error::new(io::ErrorKind::InvalidData, what));
        let file = File::open(path)?;
        if file.metadata()?.len() < self.size * self.count {
            return wrong("is shorter than it says".to_owned());
        }
        let stride = self.count.div_ceil(Self::SAMPLE).max(1);
        let sample = (2..self.count).step_by(usize::try_from(stride).unwrap_or(usize::MAX));
        for number in sample.chain(self.count.checked_sub(1).filter(|last| *last >= 2)) {
            let mut head = [0; 8];
            file.read_exact_at(&mut head, number * self.size)?;
            let found = u64::from_ne_bytes(head);
            if found != number && found != 0 {
                return wrong(format!("is damaged at page {number}"));
            }
        }
        Ok(())
    }
}

/// What tells a file from any other that goes by its name: device and inode.
pub(super) fn identity(path: &Path) -> io::Result<(u64, u64)> {
    let metadata = std::fs::metadata(path)?;
    Ok((metadata.dev(), metadata.ino()))
}

/// LMDB opens the file of its records, alone of all its files, so that it stays
/// open in the programs that the host starts.
pub(super) fn close_on_exec(path: &Path) -> io::Result<()> {
    let ours = identity(path)?;
    for entry in std::fs::read_dir("/proc/self/fd")? {
        let entry = entry?;
        let number = entry.file_name().to_string_lossy().parse::<libc::c_int>();
        let (Ok(number), Ok(open)) = (number, identity(&entry.path())) else {
            continue;
        };
        if open == ours {
            // SAFETY: the flag changes nothing in this process; the number
            // belongs to this file, which nothing but this store opens.
            unsafe { libc::fcntl(number, libc::F_SETFD, libc::FD_CLOEXEC) };
        }
    }
    Ok(())
}

/// Removes what earlier boots left, in whatever format. What cannot be removed is
/// in nobody's way.
pub(super) fn remove_other_boots(directory: &Path) {
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
        let is_ours = |name: &str| name.starts_with("counters-") || name.starts_with("crashes-");
        if !is_of_boot && (is_store || is_ours(&name)) {
            let _ = std::fs::remove_file(entry.path());
        }
    }
}
