//! A site without a disk, a network or a clock that goes.

#![forbid(unsafe_code)]

use std::fs::File;
use std::io::Write;
use std::os::fd::AsRawFd;
use std::path::PathBuf;

use nix::sys::memfd::{MFdFlags, memfd_create};

use crate::config::Options;
use crate::platform::clock::{BootTime, Clock, WallTime};
use crate::platform::log::{Level, Log};

/// Options as they are written here.
pub struct Table<'t>(pub &'t [(&'t str, &'t str)]);

impl Options for Table<'_> {
    fn get(&self, name: &str) -> Option<String> {
        let (_, value) = self.0.iter().find(|(option, _)| *option == name)?;
        Some((*value).to_owned())
    }
}

/// A clock that stands still: the same input does the same.
pub(crate) struct Still;

/// The one there is.
pub(crate) const STILL: Still = Still;

impl Clock for Still {
    fn now(&self) -> BootTime {
        BootTime::from_millis(1_000_000)
    }

    fn wall(&self) -> WallTime {
        // In 2026.
        WallTime::from_millis(1_790_000_000_000)
    }
}

/// One who does not read the log.
pub(crate) struct Deaf;

impl Log for Deaf {
    fn write(&self, _: Level, _: &str) {}
}

/// A file that is in memory, and has a path as long as this lives.
pub struct InMemory(File);

impl InMemory {
    /// Creates a file in memory with these contents.
    pub fn new(bytes: &[u8]) -> Self {
        let descriptor = memfd_create(c"fuzz", MFdFlags::MFD_CLOEXEC).expect("memory");
        let mut file = File::from(descriptor);
        file.write_all(bytes).expect("memory");
        Self(file)
    }

    /// The path by which this process can open the file.
    pub fn path(&self) -> PathBuf {
        PathBuf::from(format!("/proc/self/fd/{}", self.0.as_raw_fd()))
    }
}
