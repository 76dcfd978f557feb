//! Faults and warnings about a configuration file itself, with their location.

#![forbid(unsafe_code)]

use std::fmt;
use std::path::{Path, PathBuf};

/// A line in a file.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Location {
    pub(crate) file: PathBuf,
    pub(crate) line: usize,
}

impl Location {
    pub(crate) fn new(file: &Path, line: usize) -> Self {
        Self {
            file: file.to_owned(),
            line,
        }
    }
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.file.display(), self.line)
    }
}

/// A line that the host application rejects, or that does not mean what it seems to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct FileDiagnostic {
    pub(crate) location: Location,
    /// The name as it is written; may be empty.
    pub(crate) option: String,
    pub(crate) problem: String,
    pub(crate) remedy: &'static str,
    /// Whether the host application rejects the file, or a policy may differ from what the file
    /// seems to say.
    pub(crate) is_fault: bool,
}

impl fmt::Display for FileDiagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let colon = if self.option.is_empty() { "" } else { ": " };
        let (location, option, problem) = (&self.location, &self.option, &self.problem);
        write!(f, "{location}: {option}{colon}{problem}; {}", self.remedy)
    }
}
