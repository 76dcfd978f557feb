//! What is wrong with a file itself, and where.

#![forbid(unsafe_code)]

use std::fmt;
use std::path::{Path, PathBuf};

/// Where something stands in a file.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Spot {
    pub(crate) file: PathBuf,
    pub(crate) line: usize,
}

impl Spot {
    pub(crate) fn new(file: &Path, line: usize) -> Self {
        Self {
            file: file.to_owned(),
            line,
        }
    }
}

impl fmt::Display for Spot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.file.display(), self.line)
    }
}

/// Something that the host does not take, or not as it looks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Flaw {
    pub(crate) spot: Spot,
    /// As it is written, or empty.
    pub(crate) option: String,
    pub(crate) problem: String,
    pub(crate) remedy: &'static str,
    /// Whether the host refuses the file, or a policy may not be what it seems.
    pub(crate) is_fault: bool,
}

impl fmt::Display for Flaw {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let colon = if self.option.is_empty() { "" } else { ": " };
        let (spot, option, problem) = (&self.spot, &self.option, &self.problem);
        write!(f, "{spot}: {option}{colon}{problem}; {}", self.remedy)
    }
}
