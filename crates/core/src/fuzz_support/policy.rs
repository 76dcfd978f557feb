//! An environment without a disk, a network or a clock that advances.

#![forbid(unsafe_code)]

use std::fs::File;
use std::io::Write;
use std::os::fd::AsRawFd;
use std::path::PathBuf;

use nix::sys::memfd::{MFdFlags, memfd_create};

use crate::config::Options;
use crate::platform::clock::{BootTime, Clock, WallTime};
use crate::platform::log::{Level, Log};

/// Options in a table.
pub struct Table<'t>(pub &'t [(&'t str, &'t str)]);

impl Options for Table<'_> {
    fn get(&self, name: &str) -> Option<String> {
        let (_, value) = self.0.iter().find(|(option, _)| *option == name)?;
        Some((*value).to_owned())
    }
}

/// A clock that does not advance, so that the same input has the same result.
pub(crate) struct StoppedClock;

/// The only instance.
pub(crate) const STOPPED_CLOCK: StoppedClock = StoppedClock;

impl Clock for StoppedClock {
    fn now(&self) -> BootTime {
        BootTime::from_millis(1_000_000)
    }

    fn wall(&self) -> WallTime {
        // In 2026.
        WallTime::from_millis(1_790_000_000_000)
    }
}

/// A log that ignores its lines.
pub(crate) struct NoLog;

impl Log for NoLog {
    fn write(&self, _: Level, _: &str) {}
}

/// A file in memory, which has a path for as long as this value lives.
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
