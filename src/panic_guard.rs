//! The panic boundary. A panic that left an `extern "C"` function would end
//! imapd, and five of those in a few seconds the whole service.

#![forbid(unsafe_code)]

use std::cell::RefCell;
use std::panic::{self, AssertUnwindSafe};
use std::sync::Once;

thread_local! {
    static PLACE: RefCell<Option<String>> = const { RefCell::new(None) };
}

/// Keeps the standard library from writing to standard error, which may be
/// anything in a host, and notes the place of a panic instead: the place alone,
/// for a message may hold what nobody must see. Only this library's panics come
/// here: it has a standard library of its own.
pub(crate) fn install_hook() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        panic::set_hook(Box::new(|info| {
            let place = info.location().map(ToString::to_string);
            // Gone already, if it is a destructor of this thread that panics.
            let _ = PLACE.try_with(|kept| *kept.borrow_mut() = place);
        }));
    });
}

/// Runs `body`; if it panics, the answer is what `on_panic` makes of the place.
pub(crate) fn guarded<T>(on_panic: impl FnOnce(&str) -> T, body: impl FnOnce() -> T) -> T {
    // What a panic leaves half done is one connection's own, and the host ends
    // that; what connections share is behind locks that are not poisoned.
    panic::catch_unwind(AssertUnwindSafe(body)).unwrap_or_else(|_| {
        let place = PLACE.try_with(|kept| kept.borrow_mut().take());
        on_panic(
            place
                .ok()
                .flatten()
                .as_deref()
                .unwrap_or("an unknown place"),
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_becomes_an_answer() {
        assert_eq!(guarded(|_| -1, || 7), 7);
        assert_eq!(guarded(|_| -1, || panic!("not to be seen")), -1);
    }
}
