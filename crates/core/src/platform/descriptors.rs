//! Whether there are descriptors left for what is about to be done: to find out in the
//! middle of it would be to fail in the middle of it.

#![forbid(unsafe_code)]

use std::io;

/// Whether this process may open so many descriptors more, now.
pub fn are_left(count: usize) -> bool {
    let pipes: io::Result<Vec<_>> = (0..count.div_ceil(2)).map(|_| io::pipe()).collect();
    pipes.is_ok()
}
