//! The program `sasl-sso`: the daemon, and the administrator's tools.

#![forbid(unsafe_code)]

pub mod commands;
pub mod daemon;
#[cfg(any(fuzzing, test))]
pub mod fuzz_support;
mod imapd_conf;
mod privileges;
mod term;
