//! A private stock saslauthd, which checks passwords by LOGIN at the private Cyrus.

use super::cyrus::Cyrus;
use super::process::Process;
use super::scratch::Scratch;
use super::wait::{PATIENCE, wait_until};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Builds the command that runs saslauthd with its socket in `dir`. It accepts whomever Cyrus
/// accepts by LOGIN.
pub fn command(scratch: &Scratch, cyrus: &Cyrus, dir: &Path, switches: &[&str]) -> Command {
    let mut command = scratch.command("/usr/sbin/saslauthd");
    command
        .args(switches)
        .args(["-a", "rimap", "-m"])
        .arg(dir)
        .arg("-O")
        .arg(format!("127.0.0.1/{}", cyrus.imap_port()));
    cyrus.log().attach(&mut command);
    command
}

/// A running saslauthd.
pub struct Saslauthd {
    mux: PathBuf,
    process: Process,
}

impl Saslauthd {
    /// Starts saslauthd with two processes and waits until it listens.
    pub fn start(scratch: &Scratch, cyrus: &Cyrus) -> Self {
        Self::start_with(scratch, cyrus, 2)
    }

    /// Like [`Saslauthd::start`] with this number of processes, each of which serves one request at
    /// a time.
    pub fn start_with(scratch: &Scratch, cyrus: &Cyrus, processes: u32) -> Self {
        let dir = scratch.create_dir("saslauthd");
        let processes = processes.to_string();
        // -d keeps saslauthd in the foreground and makes it verbose.
        let command = command(scratch, cyrus, &dir, &["-d", "-n", &processes]);
        let mut process = scratch.spawn("saslauthd", command);
        let mux = dir.join("mux");
        let up = wait_until(PATIENCE, || {
            !process.running() || UnixStream::connect(&mux).is_ok()
        });
        assert!(
            up && process.running(),
            "saslauthd did not start\n{}",
            process.output()
        );
        Self { mux, process }
    }

    /// Returns the path of the socket: the value of `sasl_saslauthd_path`.
    pub fn mux(&self) -> &PathBuf {
        &self.mux
    }

    /// Returns what saslauthd printed.
    pub fn output(&self) -> String {
        self.process.output()
    }
}
