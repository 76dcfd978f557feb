//! A driver under valgrind.

use super::Driver;
use crate::scratch::Scratch;
use std::path::PathBuf;

/// valgrind, and what it has to report.
pub struct Valgrind {
    log: String,
    report: PathBuf,
}

impl Valgrind {
    /// Writes its report in the scratch directory.
    pub fn new(scratch: &Scratch) -> Self {
        let report = scratch.join("valgrind");
        Self {
            log: format!("--log-file={}", report.display()),
            report,
        }
    }

    /// What stands before the driver's command.
    pub fn words(&self) -> [&str; 6] {
        [
            "valgrind",
            // Its pipes in /tmp would outlive it.
            "--vgdb=no",
            "--leak-check=full",
            "--errors-for-leak-kinds=definite",
            "--error-exitcode=9",
            &self.log,
        ]
    }

    /// Ends the driver, in which nothing is to have been wrong.
    pub fn assert_nothing_wrong(&self, driver: Driver) {
        let (status, said) = driver.end();
        let report = std::fs::read_to_string(&self.report).expect("valgrind's report");
        assert_eq!(status, Some(0), "{report}");
        assert_eq!(said, "");
    }
}
