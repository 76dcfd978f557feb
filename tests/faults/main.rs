//! Faults of the state directory and of the host, and the soak test.

mod host;
mod soak;
mod state_dir;
