//! What clients send and are sent, as bytes. Pure: no I/O, no clock.

#![forbid(unsafe_code)]

pub mod caspt;
