//! The number of free file descriptors. A request that runs out of them half-way would fail in
//! misleading ways.

#![forbid(unsafe_code)]

use std::io;

/// Whether this process may open `count` more descriptors now.
pub fn are_left(count: usize) -> bool {
    let pipes: io::Result<Vec<_>> = (0..count.div_ceil(2)).map(|_| io::pipe()).collect();
    pipes.is_ok()
}
