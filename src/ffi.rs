//! libsasl2's plugin interface, as bindgen reads it from `sasl-headers/`.
//! Layouts are asserted at compile time.

#![allow(missing_docs, non_camel_case_types, non_snake_case)]
#![allow(non_upper_case_globals)]
#![allow(dead_code, unused_qualifications, clippy::all, clippy::pedantic)]
#![allow(clippy::undocumented_unsafe_blocks)]

include!(concat!(env!("OUT_DIR"), "/sasl.rs"));
