//! Waiting that always ends.

use std::thread;
use std::time::{Duration, Instant};

/// What a server gets to do something or to stop: generous, because two cores may serve many tests.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// What a server gets to start, to end or to answer a browser on a machine that does much else.
pub const STARTING: Duration = Duration::from_secs(180);

const STEP: Duration = Duration::from_millis(10);

/// Asks `probe` again and again until it yields something or `limit` is over.
pub fn wait_for<T>(limit: Duration, mut probe: impl FnMut() -> Option<T>) -> Option<T> {
    let deadline = Instant::now() + limit;
    loop {
        if let Some(found) = probe() {
            return Some(found);
        }
        if Instant::now() >= deadline {
            return None;
        }
        thread::sleep(STEP);
    }
}

/// Waits until `condition` holds; false if it does not within `limit`.
pub fn wait_until(limit: Duration, mut condition: impl FnMut() -> bool) -> bool {
    wait_for(limit, || condition().then_some(())).is_some()
}
