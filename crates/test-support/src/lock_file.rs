//! Takes open file description locks on byte ranges, as the processes of the plugin do
//! (`F_OFD_SETLK`).

use super::wait::{PATIENCE, wait_until};
use nix::fcntl::{FcntlArg, fcntl};
use nix::libc;
use std::fs::{File, OpenOptions};
use std::path::Path;

/// Takes a write lock on `length` bytes from offset `start`, or up to the end of the file if
/// `length` is 0. A process that still writes what its last login left holds such a lock for a
/// moment: it is waited for. Panics if any of the bytes stays locked. Closing the returned file
/// releases the lock.
pub fn lock(path: &Path, start: i64, length: i64) -> File {
    let file = OpenOptions::new().read(true).write(true).open(path);
    let file = file.expect("cannot open the lock file");
    let range = libc::flock {
        l_type: libc::F_WRLCK as libc::c_short,
        l_whence: libc::SEEK_SET as libc::c_short,
        l_start: start as libc::off_t,
        l_len: length as libc::off_t,
        l_pid: 0,
    };
    let is_locked = || fcntl(&file, FcntlArg::F_OFD_SETLK(&range)).is_ok();
    assert!(wait_until(PATIENCE, is_locked), "the range stays locked");
    file
}
