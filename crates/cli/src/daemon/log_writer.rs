//! The lines for the administrator: to syslog, or to standard error.
//!
//! They are written by a thread of their own, so that a syslog that does not read
//! stops no login. What it has no room for is lost, and counted.

#![forbid(unsafe_code)]

use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::Duration;

use nix::syslog::{Facility, LogFlags, Priority, Severity, openlog, syslog};

use sso_core::platform::log::{Level, Log};

/// How many lines may wait to be written.
const WAITING: usize = 4_096;

/// For how long lines are collected before they are written.
const COLLECTING: Duration = Duration::from_millis(1);

/// Where the daemon's lines go.
#[derive(Clone)]
pub struct Journal {
    lines: SyncSender<Entry>,
    lost: Arc<AtomicU64>,
}

enum Entry {
    Line(Level, String),
    /// Whoever waits at the other end is told that all before it is written.
    Flush(SyncSender<()>),
}

impl Journal {
    /// Lines to standard error, or else to syslog, where those of imapd go.
    ///
    /// # Errors
    /// If there is no thread to be had.
    pub fn start(to_stderr: bool) -> std::io::Result<Self> {
        let (lines, waiting) = sync_channel(WAITING);
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

    /// Waits until what was written so far is out, but not for ever.
    pub fn flush(&self) {
        let (done, wait) = sync_channel(1);
        if self.lines.try_send(Entry::Flush(done)).is_ok() {
            let _ = wait.recv_timeout(Duration::from_secs(1));
        }
    }
}

impl Log for Journal {
    fn write(&self, level: Level, line: &str) {
        let entry = Entry::Line(level, line.to_owned());
        if self.lines.try_send(entry).is_err() {
            self.lost.fetch_add(1, Ordering::Relaxed);
        }
    }
}

fn write_all(waiting: &Receiver<Entry>, lost: &AtomicU64, write: impl Fn(Level, &str)) {
    for first in waiting {
        for entry in std::iter::once(first).chain(waiting.try_iter().take(WAITING)) {
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
        // Whoever writes a line to a sleeping thread does not have to wake it: that
        // would cost each login more than all the rest.
        std::thread::sleep(COLLECTING);
    }
}

fn to_syslog(level: Level, line: &str) {
    // As imapd's own lines have it.
    let severity = match level {
        Level::Error => Severity::LOG_ERR,
        Level::Warning => Severity::LOG_WARNING,
        Level::Notice => Severity::LOG_INFO,
    };
    let _ = syslog(Priority::new(severity, Facility::LOG_MAIL), line);
}

fn to_standard_error(level: Level, line: &str) {
    // As sd-daemon(3) has it, for who collects them.
    let priority = match level {
        Level::Error => 3,
        Level::Warning => 4,
        Level::Notice => 6,
    };
    // In one piece.
    let line = format!("<{priority}>{line}\n");
    let _ = std::io::stderr().write_all(line.as_bytes());
}
