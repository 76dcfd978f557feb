//! Captures what the programs of a test write to syslog, without using the syslog of the host.

use super::compiled;
use super::scratch::{Scratch, set_mode};
use std::net::Shutdown;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// The priorities of syslog(3), as in [`Line::level`].
pub mod level {
    /// LOG_ERR
    pub const ERR: u8 = 3;
    /// LOG_WARNING
    pub const WARNING: u8 = 4;
    /// LOG_NOTICE
    pub const NOTICE: u8 = 5;
    /// LOG_INFO
    pub const INFO: u8 = 6;
    /// LOG_DEBUG
    pub const DEBUG: u8 = 7;
}

/// Facilities of syslog(3), as in [`Line::facility`].
pub mod facility {
    /// LOG_MAIL
    pub const MAIL: u8 = 2;
    /// LOG_LOCAL5
    pub const LOCAL5: u8 = 21;
}

/// One log line.
#[derive(Clone, Debug)]
pub struct Line {
    /// The facility of the line; see [`facility`].
    pub facility: u8,
    /// The priority, from 0 (emergency) to 7 (debug); see [`level`].
    pub level: u8,
    /// The identity of the program, such as `cyrus/imap`.
    pub ident: String,
    /// The process that wrote the line.
    pub pid: u32,
    /// The message.
    pub text: String,
}

#[derive(Default)]
struct Log {
    lines: Mutex<Vec<Line>>,
    grown: Condvar,
}

/// A receiver for log lines, and what a program needs to send to it.
pub struct Syslog {
    socket: UnixDatagram,
    path: PathBuf,
    preload: PathBuf,
    log: Arc<Log>,
    reader: Option<JoinHandle<()>>,
}

impl Syslog {
    /// Starts to receive on `log` in the scratch directory and builds the library to preload.
    pub fn start(scratch: &Scratch) -> Self {
        Self::start_in(scratch, Path::new(""))
    }

    /// Like [`Syslog::start`], in a subdirectory, for a second log.
    pub fn start_in(scratch: &Scratch, dir: &Path) -> Self {
        let preload = build_preload(
            scratch,
            &dir.join("syslog_preload"),
            include_str!("syslog_preload.c"),
        );
        let path = scratch.join(dir.join("log"));
        let socket = UnixDatagram::bind(&path).expect("cannot bind the log socket");
        set_mode(&path, 0o666);
        let log = Arc::new(Log::default());
        let reader = {
            let socket = socket.try_clone().expect("cannot duplicate the log socket");
            let log = Arc::clone(&log);
            std::thread::spawn(move || read(&socket, &log))
        };
        Self {
            socket,
            path,
            preload,
            log,
            reader: Some(reader),
        }
    }

    /// Makes `command` send its log here.
    pub fn attach(&self, command: &mut Command) {
        self.attach_with(command, &[]);
    }

    /// Like [`Syslog::attach`], for a program that preloads `others` as well.
    pub fn attach_with(&self, command: &mut Command, others: &[PathBuf]) {
        let mut preload = self.preload.as_os_str().to_owned();
        for other in others {
            preload.push(":");
            preload.push(other);
        }
        command
            .env("LD_PRELOAD", preload)
            .env("SSO_TEST_SYSLOG", &self.path);
    }

    /// Returns all lines.
    pub fn lines(&self) -> Vec<Line> {
        self.since(0)
    }

    /// Returns the current position in the log, for [`Syslog::since`].
    pub fn mark(&self) -> usize {
        self.log.lines().len()
    }

    /// Returns the lines after `mark`.
    pub fn since(&self, mark: usize) -> Vec<Line> {
        self.log.lines()[mark..].to_vec()
    }

    /// Returns whether any line contains `text`.
    pub fn contains(&self, text: &str) -> bool {
        self.log.lines().iter().any(|line| line.text.contains(text))
    }

    /// Waits until any line, old or new, matches `wanted`.
    pub fn wait_for(&self, wanted: impl Fn(&Line) -> bool, limit: Duration) -> Option<Line> {
        self.wait_for_since(0, wanted, limit)
    }

    /// Waits until a line after `mark` matches `wanted`.
    pub fn wait_for_since(
        &self,
        mark: usize,
        wanted: impl Fn(&Line) -> bool,
        limit: Duration,
    ) -> Option<Line> {
        let deadline = Instant::now() + limit;
        let mut lines = self.log.lines();
        loop {
            if let Some(line) = lines[mark..].iter().find(|line| wanted(line)) {
                return Some(line.clone());
            }
            let left = deadline.checked_duration_since(Instant::now())?;
            lines = self
                .log
                .grown
                .wait_timeout(lines, left)
                .unwrap_or_else(PoisonError::into_inner)
                .0;
        }
    }

    /// Returns the last 40 lines, for the message of a failing test.
    pub fn tail(&self) -> String {
        let lines = self.log.lines();
        lines[lines.len().saturating_sub(40)..]
            .iter()
            .map(|line| {
                format!(
                    "<{}> {}[{}]: {}\n",
                    line.level, line.ident, line.pid, line.text
                )
            })
            .collect()
    }
}

/// Compiles a C source to a shared library for `LD_PRELOAD`. `name` is its path without the
/// extension.
pub fn build_preload(scratch: &Scratch, name: &Path, source: &str) -> PathBuf {
    let source = scratch.write(name.with_extension("c"), source);
    let library = scratch.join(name.with_extension("so"));
    let mut cc = scratch.command("cc");
    cc.args(["-shared", "-fPIC", "-O1", "-Wall", "-Werror", "-o"])
        .args([&library, &source]);
    compiled::once(name, &library, || {
        scratch.run("cc", cc, "");
        set_mode(&library, 0o755);
    });
    library
}

impl Drop for Syslog {
    fn drop(&mut self) {
        let _ = self.socket.shutdown(Shutdown::Both);
        if let Some(reader) = self.reader.take() {
            let _ = reader.join();
        }
    }
}

impl Log {
    fn lines(&self) -> std::sync::MutexGuard<'_, Vec<Line>> {
        // A test that panics while it holds the lock must not make others fail.
        self.lines.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn read(socket: &UnixDatagram, log: &Log) {
    let mut buffer = [0; 16384];
    while let Ok(length) = socket.recv(&mut buffer) {
        if length == 0 {
            return;
        }
        let datagram = String::from_utf8_lossy(&buffer[..length]);
        if let Some(line) = parse(&datagram) {
            log.lines().push(line);
            log.grown.notify_all();
        }
    }
}

fn parse(datagram: &str) -> Option<Line> {
    let (priority, rest) = datagram.strip_prefix('<')?.split_once('>')?;
    let (head, text) = rest.split_once("]: ")?;
    let (ident, pid) = head.rsplit_once('[')?;
    let priority: u8 = priority.parse().ok()?;
    Some(Line {
        facility: priority >> 3,
        level: priority & 7,
        ident: ident.to_owned(),
        pid: pid.parse().ok()?,
        text: text.trim_end().to_owned(),
    })
}
