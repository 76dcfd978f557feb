//! A saslauthd as Debian runs it, with its cache (`-c`) and five processes: in the background and
//! silent. The one of the tests talks, and that costs time.

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use std::fs;
use std::path::PathBuf;
use test_support::cyrus::Cyrus;
use test_support::saslauthd;
use test_support::scratch::Scratch;
use test_support::wait::{PATIENCE, wait_for};

/// A running saslauthd that has put itself in the background.
pub struct CachedSaslauthd {
    mux: PathBuf,
    group: Pid,
    registration: PathBuf,
}

impl CachedSaslauthd {
    /// Starts it. Whom Cyrus lets in by LOGIN, it lets in, and remembers.
    pub fn start(scratch: &Scratch, cyrus: &Cyrus) -> Self {
        let dir = scratch.create_dir("saslauthd");
        let command = saslauthd::command(scratch, cyrus, &dir, &["-c", "-n", "5"]);
        scratch.run("saslauthd", command, "");
        let group = wait_for(PATIENCE, || {
            let written = fs::read_to_string(dir.join("saslauthd.pid")).ok()?;
            written.trim().parse::<i32>().ok()
        })
        .expect("the process id of saslauthd");
        // It has left the group that it was started in for one of its own, which the watchdog of
        // the scratch directory must know too.
        let registration = scratch.write(format!("groups/{group}"), "");
        let mux = dir.join("mux");
        let up = wait_for(PATIENCE, || mux.exists().then_some(()));
        up.expect("the socket of saslauthd");
        Self {
            mux,
            group: Pid::from_raw(group),
            registration,
        }
    }

    /// Its socket: the value of `saslauthd_path`.
    pub fn mux(&self) -> String {
        self.mux.display().to_string()
    }
}

impl Drop for CachedSaslauthd {
    fn drop(&mut self) {
        let _ = killpg(self.group, Signal::SIGTERM);
        let _ = wait_for(PATIENCE, || killpg(self.group, None).err());
        let _ = fs::remove_file(&self.registration);
    }
}
