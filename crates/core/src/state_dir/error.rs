//! Why the files of the state directory cannot be used.

#![forbid(unsafe_code)]

use std::fmt;

/// A failure of the state directory, or of the session cache in it.
#[derive(Debug)]
pub(crate) struct StoreError {
    /// A line for the administrator that names the remedy.
    pub(crate) line: String,
    /// Whether the failure may end without an administrator: another process holds a lock, or
    /// the kernel is short of a resource. The contents are still valid in that case.
    pub(crate) is_passing: bool,
}

impl fmt::Display for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.line)
    }
}
