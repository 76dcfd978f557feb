//! Runs the daemon, `sasl-sso serve`, next to a private Cyrus.

use super::cyrus::Cyrus;
use super::process::Process;
use super::scratch::Scratch;
use super::syslog::Syslog;
use super::wait::{PATIENCE, STARTING, wait_until};
use nix::sys::signal::Signal;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};

/// Returns the path of the release build of `sasl-sso`.
pub fn program() -> PathBuf {
    crate::released("sasl-sso")
}

/// Creates the directory of the daemon's socket, owned by the Cyrus user, and returns the path of
/// the socket: the value of `sasl_saslauthd_path`. The daemon itself need not run yet.
pub fn mux(scratch: &Scratch) -> PathBuf {
    let dir = scratch.create_dir("daemon");
    scratch.give_to_cyrus(&dir);
    dir.join("mux")
}

/// Builds the command that runs the daemon with the configuration file `conf`.
pub fn command(scratch: &Scratch, conf: &Path, log: &Syslog) -> Command {
    let mut command = scratch.command(program());
    command.args(["serve", "--config"]).arg(conf);
    log.attach(&mut command);
    command
}

/// A running daemon.
pub struct Daemon {
    mux: PathBuf,
    process: Process,
}

impl Daemon {
    /// Starts the daemon with imapd.conf of `cyrus`, whose `sasl_saslauthd_path` must be [`mux`].
    pub fn start(scratch: &Scratch, cyrus: &Cyrus) -> Self {
        let command = command(scratch, &cyrus.imapd_conf(), cyrus.log());
        Self::start_with(scratch, &mux(scratch), command)
    }

    /// Starts the daemon with `command` and waits until it accepts connections at `mux`.
    pub fn start_with(scratch: &Scratch, mux: &Path, command: Command) -> Self {
        let mut process = scratch.spawn("sasl-sso", command);
        let up = wait_until(STARTING, || {
            !process.running() || UnixStream::connect(mux).is_ok()
        });
        assert!(
            up && process.running(),
            "the daemon did not start\n{}",
            process.output()
        );
        Self {
            mux: mux.to_owned(),
            process,
        }
    }

    /// Returns the path of the daemon's socket.
    pub fn mux(&self) -> &Path {
        &self.mux
    }

    /// Returns the process ID of the daemon.
    pub fn pid(&self) -> u32 {
        self.process.pid()
    }

    /// Sends a signal to the daemon.
    pub fn signal(&self, signal: Signal) {
        self.process.signal(signal);
    }

    /// Kills the daemon with SIGKILL, as the kernel does when memory is exhausted.
    pub fn kill(&mut self) {
        self.signal(Signal::SIGKILL);
        let status = self.wait();
        assert!(!status.success(), "{status}");
    }

    /// Waits until the daemon exits by itself.
    pub fn wait(&mut self) -> ExitStatus {
        let status = self.process.wait(STARTING);
        status.unwrap_or_else(|| panic!("the daemon did not exit\n{}", self.output()))
    }

    /// Returns whether the daemon is running.
    pub fn running(&mut self) -> bool {
        self.process.running()
    }

    /// Returns what the daemon wrote to its standard output and error.
    pub fn output(&self) -> String {
        self.process.output()
    }

    /// Sends one request as libsasl2 does. Returns `None` if the daemon does not reply.
    pub fn ask(&self, user: &str, password: &str, service: &str) -> Option<String> {
        ask(&self.mux, &request(&[user, password, service, ""]))
    }
}

/// Encodes a request of the saslauthd protocol: each field is preceded by its length.
pub fn request(fields: &[&str]) -> Vec<u8> {
    let field = |text: &&str| {
        let length = u16::try_from(text.len()).expect("the field is longer than 65535 bytes");
        [&length.to_be_bytes()[..], text.as_bytes()].concat()
    };
    fields.iter().flat_map(field).collect()
}

/// Sends raw bytes to the socket and returns the reply, or `None` if there is no reply.
pub fn ask(mux: &Path, bytes: &[u8]) -> Option<String> {
    let mut stream = UnixStream::connect(mux).expect("cannot connect to the daemon");
    stream
        .set_read_timeout(Some(PATIENCE))
        .expect("cannot set the read time-out");
    stream.write_all(bytes).expect("cannot send the request");
    let mut length = [0; 2];
    stream.read_exact(&mut length).ok()?;
    let mut text = vec![0; usize::from(u16::from_be_bytes(length))];
    stream
        .read_exact(&mut text)
        .expect("the reply is truncated");
    Some(String::from_utf8(text).expect("the reply is not UTF-8"))
}
