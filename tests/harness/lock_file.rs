//! Locks on ranges of a file, as the plugin's processes take them (`F_OFD_SETLK`).

use nix::fcntl::{FcntlArg, fcntl};
use nix::libc;
use std::fs::{File, OpenOptions};
use std::path::Path;

/// Locks `length` bytes from `start`, or all of the file if that is 0. Nobody else may hold
/// one of them. It ends with the file.
pub fn lock(path: &Path, start: i64, length: i64) -> File {
    let file = OpenOptions::new().read(true).write(true).open(path);
    let file = file.expect("the file of the locks");
    let range = libc::flock {
        l_type: libc::F_WRLCK as libc::c_short,
        l_whence: libc::SEEK_SET as libc::c_short,
        l_start: start as libc::off_t,
        l_len: length as libc::off_t,
        l_pid: 0,
    };
    fcntl(&file, FcntlArg::F_OFD_SETLK(&range)).expect("locks that nobody holds");
    file
}
