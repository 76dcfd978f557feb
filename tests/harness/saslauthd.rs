//! A private saslauthd of the stock kind: it asks the private Cyrus by LOGIN.

use super::cyrus::Cyrus;
use super::process::Process;
use super::scratch::Scratch;
use super::wait::{PATIENCE, wait_until};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The command that starts it with its socket in `dir`: whom Cyrus lets in by LOGIN, it lets in.
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
    /// Starts it and waits until it listens.
    pub fn start(scratch: &Scratch, cyrus: &Cyrus) -> Self {
        Self::start_with(scratch, cyrus, 2)
    }

    /// The same with so many processes, each of which answers one request after the other.
    pub fn start_with(scratch: &Scratch, cyrus: &Cyrus, processes: u32) -> Self {
        let dir = scratch.create_dir("saslauthd");
        let processes = processes.to_string();
        // -d keeps it in the foreground, and talking.
        let command = command(scratch, cyrus, &dir, &["-d", "-n", &processes]);
        let mut process = scratch.spawn("saslauthd", command);
        let mux = dir.join("mux");
        let up = wait_until(PATIENCE, || {
            !process.running() || UnixStream::connect(&mux).is_ok()
        });
        assert!(
            up && process.running(),
            "saslauthd does not start\n{}",
            process.output()
        );
        Self { mux, process }
    }

    /// Its socket: the value of `sasl_saslauthd_path`.
    pub fn mux(&self) -> &PathBuf {
        &self.mux
    }

    /// What it printed.
    pub fn output(&self) -> String {
        self.process.output()
    }
}
