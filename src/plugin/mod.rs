//! The border to libsasl2, and but for the opening of a memory map in `session` and
//! the allocator the only unsafe code.
//!
//! - `sasl`: the host's declarations, by bindgen
//! - `boundary`: what every call from the host passes: the panic boundary
//! - `host`: the host's functions, safe to call
//! - `status`: from outcomes to the host's codes
//! - `signals`: whether the host wants its process back
//! - `mechanism`, `exchange`: the mechanisms, and one login by one of them; safe
//!   code
//! - `entry`: the functions and tables that the host calls and reads
//!
//! A SAFETY comment names the promise of libsasl2 that it relies on, by its
//! place in `saslplug.h`.

mod boundary;
mod entry;
mod exchange;
mod host;
mod mechanism;
mod sasl;
mod signals;
mod status;
