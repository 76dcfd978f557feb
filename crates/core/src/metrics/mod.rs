//! Counters and histograms of all processes of the host, in shared memory.

pub mod counters;
pub mod histogram;
pub mod recorder;

pub use counters::{CREDENTIALS, Counters, Decider};
pub use histogram::DurationHistogram;
