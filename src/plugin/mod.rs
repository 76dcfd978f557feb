//! The border to libsasl2, and nearly all of the unsafe code: `lib.rs` says where the rest is.
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
