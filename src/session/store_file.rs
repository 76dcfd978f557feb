//! The file of the store: its name, its leftovers, its descriptor.

use std::os::unix::fs::MetadataExt;
use std::path::Path;

use nix::libc;

/// The number of the format of the file. Another number is another file.
const FORMAT: u32 = 1;

/// The name of the store of this format and this boot, and the part of it that
/// stands for the boot. `None` if the boot cannot be told from others: what is
/// left of an earlier one must never be read.
pub(super) fn store_name() -> Option<(String, String)> {
    let boot = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
    let boot: String = boot
        .chars()
        .filter(char::is_ascii_hexdigit)
        .take(12)
        .collect();
    let boot = format!("-{boot}.mdb");
    (boot.len() == 17).then(|| (format!("sessions-{FORMAT}{boot}"), boot))
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

/// Removes what earlier boots left, in whatever format. What cannot be removed is
/// in nobody's way.
pub(super) fn remove_other_boots(directory: &Path, boot: &str) {
    let Ok(entries) = std::fs::read_dir(directory) else {
        return;
    };
    for entry in entries.flatten() {
        let name = entry.file_name();
        let name = name.to_string_lossy();
        if name.starts_with("sessions-") && name.contains(".mdb") && !name.contains(boot) {
            let _ = std::fs::remove_file(entry.path());
        }
    }
}
