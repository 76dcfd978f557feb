//! Writes the daemon's log, to syslog or to standard error.
//!
//! A thread of its own writes the lines, so that a syslog that does not read stops no login. Lines
//! that do not fit into the queue are lost and counted.

#![forbid(unsafe_code)]

use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::Duration;

use nix::syslog::{Facility, LogFlags, Priority, Severity, openlog, syslog};

use sso_core::platform::log::{Level, Log};

/// The maximum number of lines in the queue.
const MAX_QUEUED_LINES: usize = 4_096;

/// How long lines are collected before they are written.
const COLLECT_INTERVAL: Duration = Duration::from_millis(1);

/// The log of the daemon.
#[derive(Clone)]
pub struct AsyncLogger {
    lines: SyncSender<Entry>,
    lost: Arc<AtomicU64>,
}

enum Entry {
    Line(Level, String),
    /// Signals the other end when all earlier lines are written.
    Flush(SyncSender<()>),
}

impl AsyncLogger {
    /// Starts writing to standard error, or to syslog, where the lines of imapd go.
    ///
    /// # Errors
    /// No thread could be started.
    pub fn start(to_stderr: bool) -> std::io::Result<Self> {
        let (lines, waiting) = sync_channel(MAX_QUEUED_LINES);
        let lost = Arc::new(AtomicU64::new(0));
        let counted = Arc::clone(&lost);
        std::thread::Builder::new()
            .name("sasl-sso log".to_owned())
            .spawn(move || {
                if to_stderr {
                    write_all(&waiting, &counted, to_standard_error);
                } else {
                    let _ = openlog(Some(c"sasl-sso"), LogFlags::LOG_PID, Facility::LOG_MAIL);
                    write_all(&waiting, &counted, to_syslog);
                }
            })?;
        Ok(Self { lines, lost })
    }

    /// Waits until the lines so far are written, up to a maximum time.
    pub fn flush(&self) {
        let (done, wait) = sync_channel(1);
        if self.lines.try_send(Entry::Flush(done)).is_ok() {
            let _ = wait.recv_timeout(Duration::from_secs(1));
        }
    }
}

impl Log for AsyncLogger {
    fn write(&self, level: Level, line: &str) {
        let entry = Entry::Line(level, line.to_owned());
        if self.lines.try_send(entry).is_err() {
            self.lost.fetch_add(1, Ordering::Relaxed);
        }
    }
}

fn write_all(waiting: &Receiver<Entry>, lost: &AtomicU64, write: impl Fn(Level, &str)) {
    for first in waiting {
        for entry in std::iter::once(first).chain(waiting.try_iter().take(MAX_QUEUED_LINES)) {
            match entry {
                Entry::Line(level, line) => write(level, &line),
                Entry::Flush(done) => {
                    let _ = done.try_send(());
                }
            }
        }
        match lost.swap(0, Ordering::Relaxed) {
            0 => {}
            lost => write(
                Level::Warning,
                &format!("sso: the log is slow, and {lost} lines of it were lost"),
            ),
        }
        // While the thread sleeps, a login that adds a line need not wake it. Waking it would cost
        // more than the rest of a cached login.
        std::thread::sleep(COLLECT_INTERVAL);
    }
}

fn to_syslog(level: Level, line: &str) {
    // The same as for imapd's own lines.
    let severity = match level {
        Level::Error => Severity::LOG_ERR,
        Level::Warning => Severity::LOG_WARNING,
        Level::Notice => Severity::LOG_INFO,
    };
    let _ = syslog(Priority::new(severity, Facility::LOG_MAIL), line);
}

fn to_standard_error(level: Level, line: &str) {
    // The prefixes of sd-daemon(3), for the journal.
    let priority = match level {
        Level::Error => 3,
        Level::Warning => 4,
        Level::Notice => 6,
    };
    // The line is written in one piece.
    let line = format!("<{priority}>{line}\n");
    let _ = std::io::stderr().write_all(line.as_bytes());
}
