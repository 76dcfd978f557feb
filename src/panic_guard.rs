//! Keeps panics from crossing the C border. A panic that leaves an `extern "C"` function ends the
//! process, and five ended processes of imapd within seconds stop the whole service.

#![forbid(unsafe_code)]

use std::cell::RefCell;
use std::panic::{self, AssertUnwindSafe};
use std::sync::Once;

thread_local! {
    static LOCATION: RefCell<Option<String>> = const { RefCell::new(None) };
}

/// Replaces the standard library's panic hook, which would write to standard error: in a host that
/// descriptor may be anything. The hook stores the location of the panic and not its message, which
/// may contain a secret. It affects panics of this library only, because the library contains a
/// standard library of its own.
pub(crate) fn install_hook() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        panic::set_hook(Box::new(|info| {
            let location = info.location().map(ToString::to_string);
            // The thread-local value does not exist any more if a destructor of this thread panics.
            let _ = LOCATION.try_with(|kept| *kept.borrow_mut() = location);
        }));
    });
}

/// Runs `body`. If it panics, returns what `on_panic` makes of the location.
pub(crate) fn guarded<T>(on_panic: impl FnOnce(&str) -> T, body: impl FnOnce() -> T) -> T {
    // A panic leaves one connection's state incomplete, and the host ends that connection. State
    // that connections share is behind locks that a panic does not poison.
    panic::catch_unwind(AssertUnwindSafe(body)).unwrap_or_else(|_| {
        let location = LOCATION.try_with(|kept| kept.borrow_mut().take());
        on_panic(
            location
                .ok()
                .flatten()
                .as_deref()
                .unwrap_or("an unknown location"),
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn panic_is_converted_to_a_result() {
        assert_eq!(guarded(|_| -1, || 7), 7);
        assert_eq!(guarded(|_| -1, || panic!("not to be seen")), -1);
    }
}
