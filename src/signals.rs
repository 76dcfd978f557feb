//! Detects that the host wants its process back while a login waits.
//!
//! Cyrus' handlers of the signals that end a process set a flag, which imapd reads between
//! commands. They are installed with `SA_RESETHAND`: after a signal the kernel has replaced the
//! handler by the default action. So the plugin detects a signal by a handler that is gone, and
//! changes no handler.

use std::mem::MaybeUninit;

use nix::libc;

/// The signals that end a process of Cyrus.
const ENDING: [libc::c_int; 3] = [libc::SIGTERM, libc::SIGINT, libc::SIGQUIT];

/// The handlers at the start of a login.
pub(crate) struct Handlers([Option<libc::sighandler_t>; ENDING.len()]);

impl Handlers {
    /// Records the current handlers.
    pub(crate) fn now() -> Self {
        Self(ENDING.map(handler))
    }

    /// Whether one of the handlers has been called since.
    pub(crate) fn has_fired(&self) -> bool {
        ENDING
            .iter()
            .zip(self.0)
            .any(|(signal, before)| before.is_some() && handler(*signal).is_none())
    }
}

/// The handler of a signal, if there is one.
fn handler(signal: libc::c_int) -> Option<libc::sighandler_t> {
    let mut action = MaybeUninit::<libc::sigaction>::uninit();
    // SAFETY: without a new action, sigaction(2) only writes the current action to the given
    // address.
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
    fn signal_is_detected_by_its_missing_handler() {
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
