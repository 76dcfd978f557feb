//! `sasl-sso serve`, beside a private Cyrus.

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

/// The program as it is shipped. Tests, benches and examples are two directories below the target
/// directory.
pub fn program() -> PathBuf {
    let ours = std::env::current_exe().expect("our own path");
    let target = ours.ancestors().nth(3);
    let program = target.map(|target| target.join("release/sasl-sso"));
    let program = program.filter(|path| path.exists());
    program.expect("sasl-sso is not built: run `make build`, or the tests by `make test`")
}

/// The socket of a daemon in this scratch directory, whose directory is the user's of Cyrus: the
/// value of `sasl_saslauthd_path`, before there is a daemon.
pub fn mux(scratch: &Scratch) -> PathBuf {
    let dir = scratch.create_dir("daemon");
    scratch.give_to_cyrus(&dir);
    dir.join("mux")
}

/// The command that serves with a configuration file.
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
    /// Starts it with Cyrus' own configuration, whose `sasl_saslauthd_path` is [`mux`].
    pub fn start(scratch: &Scratch, cyrus: &Cyrus) -> Self {
        let command = command(scratch, &cyrus.imapd_conf(), cyrus.log());
        Self::start_with(scratch, &mux(scratch), command)
    }

    /// Starts it by this command and waits until it serves at `mux`.
    pub fn start_with(scratch: &Scratch, mux: &Path, command: Command) -> Self {
        let mut process = scratch.spawn("sasl-sso", command);
        let up = wait_until(STARTING, || {
            !process.running() || UnixStream::connect(mux).is_ok()
        });
        assert!(
            up && process.running(),
            "the daemon does not start\n{}",
            process.output()
        );
        Self {
            mux: mux.to_owned(),
            process,
        }
    }

    /// Its socket.
    pub fn mux(&self) -> &Path {
        &self.mux
    }

    /// The process id.
    pub fn pid(&self) -> u32 {
        self.process.pid()
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: Signal) {
        self.process.signal(signal);
    }

    /// Ends it without a word, as the kernel does when there is no memory left.
    pub fn kill(&mut self) {
        self.signal(Signal::SIGKILL);
        let status = self.wait();
        assert!(!status.success(), "{status}");
    }

    /// Waits until it ends by itself.
    pub fn wait(&mut self) -> ExitStatus {
        let status = self.process.wait(STARTING);
        status.unwrap_or_else(|| panic!("the daemon does not end\n{}", self.output()))
    }

    /// Whether it still runs.
    pub fn running(&mut self) -> bool {
        self.process.running()
    }

    /// What it printed.
    pub fn output(&self) -> String {
        self.process.output()
    }

    /// One request, as libsasl2 sends it: `None` if there is no answer.
    pub fn ask(&self, user: &str, password: &str, service: &str) -> Option<String> {
        ask(&self.mux, &request(&[user, password, service, ""]))
    }
}

/// Fields, each behind its length.
pub fn request(fields: &[&str]) -> Vec<u8> {
    let field = |text: &&str| {
        let length = u16::try_from(text.len()).expect("a field that fits");
        [&length.to_be_bytes()[..], text.as_bytes()].concat()
    };
    fields.iter().flat_map(field).collect()
}

/// Sends these bytes to the socket; the answer, or `None` if there is none.
pub fn ask(mux: &Path, bytes: &[u8]) -> Option<String> {
    let mut stream = UnixStream::connect(mux).expect("a socket that is served");
    stream.set_read_timeout(Some(PATIENCE)).expect("a time-out");
    stream.write_all(bytes).expect("a request");
    let mut length = [0; 2];
    stream.read_exact(&mut length).ok()?;
    let mut text = vec![0; usize::from(u16::from_be_bytes(length))];
    stream.read_exact(&mut text).expect("a whole answer");
    Some(String::from_utf8(text).expect("text"))
}
