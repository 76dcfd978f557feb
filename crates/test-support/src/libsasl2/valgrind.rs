//! Runs a driver under valgrind.

use super::Driver;
use crate::scratch::Scratch;
use std::path::PathBuf;

/// The options of valgrind and the path of its report.
pub struct Valgrind {
    log: String,
    report: PathBuf,
}

impl Valgrind {
    /// Writes the report to the scratch directory.
    pub fn new(scratch: &Scratch) -> Self {
        let report = scratch.join("valgrind");
        Self {
            log: format!("--log-file={}", report.display()),
            report,
        }
    }

    /// Returns the words before the command of the driver.
    pub fn words(&self) -> [&str; 6] {
        [
            "valgrind",
            // The pipes of vgdb in /tmp would remain after the test.
            "--vgdb=no",
            "--leak-check=full",
            "--errors-for-leak-kinds=definite",
            "--error-exitcode=9",
            &self.log,
        ]
    }

    /// Ends the driver, and asserts that valgrind reported no error.
    pub fn assert_nothing_wrong(&self, driver: Driver) {
        let (status, rest) = driver.end();
        let report = std::fs::read_to_string(&self.report).expect("valgrind wrote no report");
        assert_eq!(status, Some(0), "{report}");
        assert_eq!(rest, "");
    }
}
