//! Tests of `test-support`, on which all other tests rely.

mod clients;
mod php;
mod servers;
mod tokens;
