//! What is wrong with a file itself, and where.

#![forbid(unsafe_code)]

use std::fmt;
use std::path::{Path, PathBuf};

/// Where something stands in a file.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::cli) struct Spot {
    pub(in crate::cli) file: PathBuf,
    pub(in crate::cli) line: usize,
}

impl Spot {
    pub(in crate::cli) fn new(file: &Path, line: usize) -> Self {
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
pub(in crate::cli) struct Flaw {
    pub(in crate::cli) spot: Spot,
    /// As it is written, or empty.
    pub(in crate::cli) option: String,
    pub(in crate::cli) problem: String,
    pub(in crate::cli) remedy: &'static str,
    /// Whether the host refuses the file, or a policy may not be what it seems.
    pub(in crate::cli) is_fault: bool,
}

impl fmt::Display for Flaw {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let colon = if self.option.is_empty() { "" } else { ": " };
        let (spot, option, problem) = (&self.spot, &self.option, &self.problem);
        write!(f, "{spot}: {option}{colon}{problem}; {}", self.remedy)
    }
}
