//! The file of the store: its name, its leftovers, its descriptor.

use std::os::unix::fs::MetadataExt;
use std::path::Path;

use nix::libc;

/// The number of the format of the file. Another number is another file.
const FORMAT: u32 = 1;

/// The name of the store of this format and this boot.
pub(super) fn store_name() -> String {
    let boot = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    let boot: String = boot
        .chars()
        .filter(char::is_ascii_hexdigit)
        .take(12)
        .collect();
    format!("sessions-{FORMAT}-{boot}.mdb")
}

/// LMDB opens the file of its records, alone of all its files, so that it stays
/// open in the programs that the host starts.
pub(super) fn close_on_exec(path: &Path) -> std::io::Result<()> {
    let ours = std::fs::metadata(path)?;
    for entry in std::fs::read_dir("/proc/self/fd")? {
        let entry = entry?;
        let number = entry.file_name().to_string_lossy().parse::<libc::c_int>();
        let (Ok(number), Ok(open)) = (number, std::fs::metadata(entry.path())) else {
            continue;
        };
        if (open.dev(), open.ino()) == (ours.dev(), ours.ino()) {
            // SAFETY: the flag changes nothing in this process; the number
            // belongs to this file, which nothing but this store opens.
            unsafe { libc::fcntl(number, libc::F_SETFD, libc::FD_CLOEXEC) };
        }
    }
    Ok(())
}

/// Removes what earlier boots left. What cannot be removed is in nobody's way.
pub(super) fn remove_other_stores(directory: &Path, name: &str) {
    let Ok(entries) = std::fs::read_dir(directory) else {
        return;
    };
    let prefix = format!("sessions-{FORMAT}-");
    for entry in entries.flatten() {
        let other = entry.file_name();
        let other = other.to_string_lossy();
        if other.starts_with(&prefix) && !other.starts_with(name) {
            let _ = std::fs::remove_file(entry.path());
        }
    }
}
