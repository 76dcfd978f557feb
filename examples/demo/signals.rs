//! The signals that end the demonstration: Ctrl-C, a closed terminal, `kill`.
//!
//! They are caught rather than blocked: blocked signals stay so in every program that is started,
//! and the servers would not hear theirs.

use nix::errno::Errno;
use nix::libc::c_int;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, sigaction};
use std::io::{PipeReader, PipeWriter, Write, pipe};
use std::os::fd::AsFd;
use std::sync::OnceLock;

const ENDING: [Signal; 3] = [Signal::SIGHUP, Signal::SIGINT, Signal::SIGTERM];

/// Where the handler writes a byte, which nobody takes out: the signal has come for good.
static CAME: OnceLock<PipeWriter> = OnceLock::new();

/// The signals from the moment on that they are caught.
pub struct Signals {
    came: PipeReader,
}

impl Signals {
    /// Begins to catch them, but for those that are ignored, as SIGHUP is under nohup.
    pub fn catch() -> std::io::Result<Self> {
        let (reader, writer) = pipe()?;
        let _ = CAME.set(writer);
        let handler = SigHandler::Handler(note);
        let action = SigAction::new(handler, SaFlags::SA_RESTART, SigSet::empty());
        for signal in ENDING {
            // SAFETY: `note` does only what a signal handler may: it writes to a pipe, and leaves
            // errno as it was.
            let before = unsafe { sigaction(signal, &action) }?;
            if matches!(before.handler(), SigHandler::SigIgn) {
                // SAFETY: ignoring a signal runs no code.
                unsafe { sigaction(signal, &before) }?;
            }
        }
        Ok(Self { came: reader })
    }

    /// Whether one has come.
    pub fn came(&self) -> bool {
        self.poll(PollTimeout::ZERO)
    }

    /// Waits for one.
    pub fn wait(&self) {
        while !self.poll(PollTimeout::NONE) {}
    }

    fn poll(&self, limit: PollTimeout) -> bool {
        let mut readable = [PollFd::new(self.came.as_fd(), PollFlags::POLLIN)];
        // A signal interrupts it; then what the handler has written is asked for again.
        matches!(poll(&mut readable, limit), Ok(1..))
    }
}

extern "C" fn note(_: c_int) {
    let errno = Errno::last();
    if let Some(mut came) = CAME.get() {
        let _ = came.write(&[1]);
    }
    errno.set();
}
