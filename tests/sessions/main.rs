//! The session cache: flush, metrics, a hostile state directory, corruption.

mod corruption;
mod flush;
mod hostile_state_dir;
mod metrics;
