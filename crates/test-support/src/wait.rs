//! Waiting with a time limit.

use std::thread;
use std::time::{Duration, Instant};

/// Time limit for a server to do something or to stop. It is generous, because many tests may share
/// two cores.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// Time limit for a server to start, to exit or to answer a browser on a heavily loaded machine.
pub const STARTING: Duration = Duration::from_secs(180);

const POLL_INTERVAL: Duration = Duration::from_millis(10);

/// Calls `probe` repeatedly until it returns `Some` or `limit` has passed.
pub fn wait_for<T>(limit: Duration, mut probe: impl FnMut() -> Option<T>) -> Option<T> {
    let deadline = Instant::now() + limit;
    loop {
        if let Some(found) = probe() {
            return Some(found);
        }
        if Instant::now() >= deadline {
            return None;
        }
        thread::sleep(POLL_INTERVAL);
    }
}

/// Waits until `condition` holds. Returns false if it does not hold within `limit`.
pub fn wait_until(limit: Duration, mut condition: impl FnMut() -> bool) -> bool {
    wait_for(limit, || condition().then_some(())).is_some()
}
