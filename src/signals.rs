//! Whether the host wants its process back while a login waits.
//!
//! Cyrus' handlers of the signals that end a process only set a flag that imapd
//! reads between commands, and are installed with `SA_RESETHAND`: once a signal
//! has come, the kernel has put the default in its handler's place. So the
//! plugin need not touch a handler to know; it looks whether one is gone.

use std::mem::MaybeUninit;

use nix::libc;

/// The signals that end a process of Cyrus.
const ENDING: [libc::c_int; 3] = [libc::SIGTERM, libc::SIGINT, libc::SIGQUIT];

/// The handlers as they were before a login waited.
pub(crate) struct Handlers([Option<libc::sighandler_t>; ENDING.len()]);

impl Handlers {
    /// Remembers the present handlers.
    pub(crate) fn now() -> Self {
        Self(ENDING.map(handler))
    }

    /// Whether one of them has been used up since.
    pub(crate) fn has_fired(&self) -> bool {
        ENDING
            .iter()
            .zip(self.0)
            .any(|(signal, before)| before.is_some() && handler(*signal).is_none())
    }
}

/// The handler of a signal, if it has one.
fn handler(signal: libc::c_int) -> Option<libc::sighandler_t> {
    let mut action = MaybeUninit::<libc::sigaction>::uninit();
    // SAFETY: with no new action given, sigaction(2) only reads, and writes the
    // present one to the place given.
    let action = unsafe {
        if libc::sigaction(signal, std::ptr::null(), action.as_mut_ptr()) != 0 {
            return None;
        }
        action.assume_init()
    };
    match action.sa_sigaction {
        libc::SIG_DFL | libc::SIG_IGN => None,
        handler => Some(handler),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, raise, sigaction};

    extern "C" fn handle(_: libc::c_int) {}

    #[test]
    fn a_signal_that_came_is_seen_by_its_handler_being_gone() {
        let action = SigAction::new(
            SigHandler::Handler(handle),
            SaFlags::SA_RESETHAND,
            SigSet::empty(),
        );
        // SAFETY: the handler does nothing.
        unsafe { sigaction(Signal::SIGQUIT, &action) }.unwrap();
        let handlers = Handlers::now();
        assert!(!handlers.has_fired());
        raise(Signal::SIGQUIT).unwrap();
        assert!(handlers.has_fired());
    }
}
