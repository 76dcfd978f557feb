//! The signals that end the demonstration: Ctrl-C, a closed terminal, `kill`.
//!
//! They are caught rather than blocked, because child processes inherit blocked signals, and the
//! servers would ignore SIGTERM.

use nix::errno::Errno;
use nix::libc::c_int;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, sigaction};
use std::io::{PipeReader, PipeWriter, Write, pipe};
use std::os::fd::AsFd;
use std::sync::OnceLock;

const TERMINATION_SIGNALS: [Signal; 3] = [Signal::SIGHUP, Signal::SIGINT, Signal::SIGTERM];

/// The pipe to which the handler writes a byte. The byte is never read, so the pipe stays readable.
static PIPE: OnceLock<PipeWriter> = OnceLock::new();

/// The signals, caught.
pub struct Signals {
    arrived: PipeReader,
}

impl Signals {
    /// Starts to catch the signals, except those that are ignored, such as SIGHUP under nohup.
    pub fn catch() -> std::io::Result<Self> {
        let (reader, writer) = pipe()?;
        let _ = PIPE.set(writer);
        let handler = SigHandler::Handler(note);
        let action = SigAction::new(handler, SaFlags::SA_RESTART, SigSet::empty());
        for signal in TERMINATION_SIGNALS {
            // SAFETY: `note` is async-signal-safe: it only writes to a pipe, and preserves errno.
            let before = unsafe { sigaction(signal, &action) }?;
            if matches!(before.handler(), SigHandler::SigIgn) {
                // SAFETY: ignoring a signal runs no code.
                unsafe { sigaction(signal, &before) }?;
            }
        }
        Ok(Self { arrived: reader })
    }

    /// Returns whether a signal has arrived.
    pub fn arrived(&self) -> bool {
        self.poll(PollTimeout::ZERO)
    }

    /// Waits for a signal.
    pub fn wait(&self) {
        while !self.poll(PollTimeout::NONE) {}
    }

    fn poll(&self, limit: PollTimeout) -> bool {
        let mut readable = [PollFd::new(self.arrived.as_fd(), PollFlags::POLLIN)];
        // A signal interrupts poll(); the caller then polls the pipe again.
        matches!(poll(&mut readable, limit), Ok(1..))
    }
}

extern "C" fn note(_: c_int) {
    let errno = Errno::last();
    if let Some(mut arrived) = PIPE.get() {
        let _ = arrived.write(&[1]);
    }
    errno.set();
}
